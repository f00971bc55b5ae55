"""Chat completions: the API that OpenAI and every compatible server have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from becket import ConfigError
from becket_wire import Transcript

from becket_openai._chat_answer import ChatAnswer
from becket_openai._chat_messages import Messages
from becket_openai._json import dumps, laid_over, members
from becket_openai._schemas import strict_form

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from becket import Message, ModelRequest, OutputSpec, ToolSpec

    from becket_openai._api import Failures
    from becket_openai._presets import Service

__all__ = ["ChatApi"]

_OURS: Final = frozenset({"messages", "stream"})  # members that `extra` cannot have
_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}


class ChatApi:
    """See `becket_openai._api.Api`.

    Args:
        provider: The provider's name.
        service: The endpoint.

    Attributes:
        path: Its path below the base URL.
    """

    path = "chat/completions"

    def __init__(self, provider: str, service: Service) -> None:
        self._provider = provider
        self._is_openai = service.is_openai
        self._send_reasoning = service.send_reasoning
        self._takes_names = service.takes_names

    def encode(self, request: ModelRequest, /) -> list[bytes]:
        """The body: the messages first, which grow at their end, and after them what is the same in every cycle."""
        kept: _Kept | None = request.kept.get((self, request.model))
        if kept is None:
            kept = request.kept[self, request.model] = _Kept(self._messages(request.model).encode)
        pieces = kept.transcript.pieces(request.messages)
        if request.system:
            pieces.insert(0, dumps({"role": "system", "content": request.system}))
        same = (request.model, request.tools, request.options, request.output)
        if kept.rest is None or any(old is not new for old, new in zip(kept.same, same, strict=True)):
            kept.same, kept.rest = same, members(self._options(request))
        return [b'{"messages":[', b",".join(pieces), b"]", kept.rest, b"}"]

    def answer(self, request: ModelRequest, failures: Failures, /) -> ChatAnswer:
        """What reads the answer."""
        return ChatAnswer(self._provider, request.model, failures)

    def _messages(self, model: str) -> Messages:
        return Messages(self._provider, model, reasoning=self._send_reasoning)

    def _options(self, request: ModelRequest) -> dict[str, Any]:
        """What a body has besides the messages.

        Raises:
            ConfigError: `extra` has what is not its to say.
        """
        options = request.options
        if wrong := sorted(_OURS & options.extra.keys()):
            raise ConfigError(
                f"extra has {wrong[0]!r}, which is becket's to say; take it out of ModelOptions(extra=...)"
            )
        body: dict[str, Any] = {
            "model": request.model,
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": options.temperature,
            "top_p": options.top_p,
            # OpenAI's reasoning models refuse the old name, and few others know the new one.
            "max_completion_tokens" if self._is_openai else "max_tokens": options.max_tokens,
            "seed": options.seed,
            "stop": list(options.stop) or None,
        }
        if request.tools:
            tools, choice = self._offered(request)
            body["tools"] = [self._tool(tool) for tool in tools]
            if choice != "auto":
                body["tool_choice"] = _choice(choice)
        if request.output is not None and request.output.mode == "schema":
            body["response_format"] = _format(request.output)
        return laid_over(body, options.extra)

    def _offered(self, request: ModelRequest) -> tuple[Sequence[ToolSpec], str]:
        """The tools and the choice; a service that takes no name is offered that one alone, to be called."""
        choice = request.options.tool_choice
        if not self._takes_names and choice not in _CHOICES:
            named = [tool for tool in request.tools if tool.name == choice]
            if named:
                return named, "any"
        return request.tools, choice

    def _tool(self, tool: ToolSpec) -> dict[str, Any]:
        function: dict[str, Any] = {"name": tool.name, "description": tool.description}
        if self._is_openai:
            function |= _held("parameters", tool.schema)
        else:  # some of the others refuse what they do not know
            function["parameters"] = tool.schema
        return {"type": "function", "function": function}


class _Kept:
    """What is kept of a run: its messages as JSON, and what follows them, for as long as that is the same.

    Args:
        encode: Writes a message.
    """

    __slots__ = ("rest", "same", "transcript")

    def __init__(self, encode: Callable[[Message, Sequence[Message]], bytes]) -> None:
        self.transcript = Transcript(encode)
        self.same: tuple[object, ...] = ()
        self.rest: bytes | None = None


def _choice(choice: str) -> object:
    return _CHOICES.get(choice) or {"type": "function", "function": {"name": choice}}


def _format(output: OutputSpec) -> dict[str, Any]:
    described = {"description": output.description} if output.description else {}
    return {"type": "json_schema", "json_schema": {"name": output.name, **described, **_held("schema", output.schema)}}


def _held(member: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A schema under its name, and whether the model is held to it."""
    strict = strict_form(schema)
    return {member: schema if strict is None else strict, "strict": strict is not None}
