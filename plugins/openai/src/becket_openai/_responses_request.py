"""What a request of the Responses API has besides its input."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from becket import ConfigError
from becket_wire import Transcript

from becket_openai._json import laid_over
from becket_openai._responses_items import Items
from becket_openai._schemas import strict_form

if TYPE_CHECKING:
    from becket import ModelOptions, ModelRequest, OutputSpec, ToolSpec

__all__ = ["Kept", "options", "reasons"]

_OURS: Final = frozenset({"input", "stream"})
_CHOICES: Final = {"auto": None, "any": "required", "none": "none"}
_ENCRYPTED: Final = "reasoning.encrypted_content"

_NAMED: Final = re.compile(r"(?:.*/)?(?:ft:)?(?P<model>.*)")
_REASONING: Final = re.compile(r"o[1-9]|gpt-(?:[5-9]|[1-9][0-9]|oss)|codex|computer-use")
_OTHER: Final = re.compile(r"gpt-[34]|chatgpt-|gpt-5-chat")


def reasons(model: str, given: ModelOptions) -> bool | None:
    """Whether a model reasons before it answers; None where that is not known.

    OpenAI refuses `include: ["reasoning.encrypted_content"]` for a model that does not ("Encrypted content is not
    supported with this model"), as it refuses such a model the reasoning of another. No answer says beforehand which
    do, so it goes by OpenAI's names; who sets `reasoning` for another, as for a deployment of Azure's, says it.

    Args:
        model: The model's name without the provider's.
        given: The options of the request.
    """
    if given.extra.get("reasoning"):
        return True
    named = _NAMED.match(model)
    name = named["model"] if named else model
    if _OTHER.match(name):
        return False
    return True if _REASONING.match(name) else None


class Kept:
    """What is kept of a run: its messages as JSON, and what follows them, for as long as that is the same.

    Args:
        provider: The provider's name.
        reasoning: Whether reasoning goes back.
    """

    __slots__ = ("reasoning", "rest", "same", "transcript")

    def __init__(self, provider: str, *, reasoning: bool) -> None:
        self.reasoning = reasoning
        self.transcript = Transcript(Items(provider, reasoning=reasoning).encode)
        self.same: tuple[object, ...] = ()
        self.rest: bytes | None = None


def options(request: ModelRequest) -> dict[str, Any]:
    """What a body has besides the input.

    Raises:
        ConfigError: The request holds what this API has not, or `extra` what is not its to say.
    """
    given = request.options
    if wrong := sorted(_OURS & given.extra.keys()):
        raise ConfigError(f"extra has {wrong[0]!r}, which is becket's to say; take it out of ModelOptions(extra=...)")
    if given.stop:
        raise ConfigError(
            "the Responses API has no texts to stop at; take `stop` out of ModelOptions, or use chat completions "
            '(api="chat")'
        )
    body: dict[str, Any] = {
        "model": request.model,
        "stream": True,
        "store": False,
        "instructions": request.system or None,
        "include": [_ENCRYPTED] if reasons(request.model, given) else None,
        "max_output_tokens": given.max_tokens,
        "temperature": given.temperature,
        "top_p": given.top_p,
    }
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
        if given.tool_choice in _CHOICES:
            body["tool_choice"] = _CHOICES[given.tool_choice]
        else:
            body["tool_choice"] = {"type": "function", "name": given.tool_choice}
    if request.output is not None and request.output.mode == "schema":
        body["text"] = {"format": _format(request.output)}
    return laid_over(body, given.extra)


def _tool(tool: ToolSpec) -> dict[str, Any]:
    """A tool; where nothing is said of it, the service takes it for strict."""
    described = {"description": tool.description} if tool.description else {}
    return {
        "type": "function",
        "name": tool.name,
        **described,
        **_held("parameters", tool.schema),
    }


def _format(output: OutputSpec) -> dict[str, Any]:
    described = {"description": output.description} if output.description else {}
    return {
        "type": "json_schema",
        "name": output.name,
        **described,
        **_held("schema", output.schema),
    }


def _held(member: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A schema, strict where the service can hold a model to it."""
    strict = strict_form(schema)
    return {member: schema if strict is None else strict, "strict": strict is not None}
