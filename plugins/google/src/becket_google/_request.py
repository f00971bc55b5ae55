"""The request of a model call, as JSON: decisions only, no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from becket import ConfigError
from becket_wire import Transcript, dumps

from becket_google._contents import contents, encoder
from becket_google._dialect import is_gemini_3
from becket_google._schema import fitted, takes_arguments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from becket import ModelRequest, OutputSpec, ToolSpec

__all__ = ["Requests"]

_GENERATION: Final = frozenset(
    {
        "audioTimestamp",
        "audioTranscriptionConfig",
        "candidateCount",
        "enableEnhancedCivicAnswers",
        "frequencyPenalty",
        "imageConfig",
        "logprobs",
        "maxOutputTokens",
        "mediaResolution",
        "modelSelectionConfig",
        "presencePenalty",
        "responseJsonSchema",
        "responseLogprobs",
        "responseMimeType",
        "responseModalities",
        "responseSchema",
        "routingConfig",
        "seed",
        "speechConfig",
        "stopSequences",
        "temperature",
        "thinkingConfig",
        "topK",
        "topP",
    }
)
"""Fields of `generationConfig`, which `extra` may name without it; all others stand at the top of the request."""

_MODES: Final = {"any": "ANY", "none": "NONE"}


class Requests:
    """The requests of one run: each message is encoded once, and what goes with them as long as it stays the same.

    Args:
        provider: The provider's name.
        model: The model that is asked.
        safety: Harm categories and their thresholds.
    """

    __slots__ = ("_made_of", "_rest", "_safety", "_transcript")

    def __init__(self, provider: str, model: str, safety: Mapping[str, str]) -> None:
        self._transcript = Transcript(encoder(provider, gemini_3=is_gemini_3(model)))
        self._safety = safety
        self._made_of: tuple[Any, ...] | None = None
        self._rest = b""

    def body(self, request: ModelRequest) -> list[bytes]:
        """The pieces of the request's JSON.

        Raises:
            ConfigError: An option is none that can be sent.
        """
        pieces = contents(self._transcript.pieces(request.messages))
        return [b'{"contents":[', b",".join(pieces), b"]", self._end(request)]

    def _end(self, request: ModelRequest) -> bytes:
        """What follows the contents, to the closing brace."""
        made_of = (request.tools, request.options, request.system, request.output)
        if self._made_of is None or not _same(self._made_of, made_of):
            try:
                rest = dumps(_rest(request, self._safety))
            except (TypeError, ValueError, RecursionError) as error:
                raise ConfigError(f"an option is no JSON: {error}; look at ModelOptions(extra=...)") from error
            self._rest = b"}" if rest == b"{}" else b"," + rest[1:]
            self._made_of = made_of
        return self._rest


def _same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether they hold the same objects; a run makes its system prompt anew each time."""
    return all(
        ours is theirs or (type(ours) is str and ours == theirs) for ours, theirs in zip(one, other, strict=True)
    )


def _rest(request: ModelRequest, safety: Mapping[str, str]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if request.system:
        made["systemInstruction"] = {"parts": [{"text": request.system}], "role": "user"}
    if request.tools:
        made["tools"] = [{"functionDeclarations": [_declaration(tool) for tool in request.tools]}]
        if choice := _choice(request.options.tool_choice):
            made["toolConfig"] = {"functionCallingConfig": choice}
    if safety:
        made["safetySettings"] = [{"category": category, "threshold": at} for category, at in safety.items()]
    if generation := _generation(request):
        made["generationConfig"] = generation
    return _with_extra(made, request.options.extra)


def _declaration(tool: ToolSpec) -> dict[str, Any]:
    made: dict[str, Any] = {"name": tool.name, "description": tool.description}
    if takes_arguments(tool.schema):
        made["parametersJsonSchema"] = fitted(tool.schema)
    return made


def _choice(choice: str) -> dict[str, Any] | None:
    """The service's words for a choice; None for `auto`, its own default."""
    if choice == "auto":
        return None
    if choice in _MODES:
        return {"mode": _MODES[choice]}
    return {"mode": "ANY", "allowedFunctionNames": [choice]}


def _generation(request: ModelRequest) -> dict[str, Any]:
    options = request.options
    made: dict[str, Any] = {
        "temperature": options.temperature,
        "topP": options.top_p,
        "maxOutputTokens": options.max_tokens,
        "stopSequences": list(options.stop) or None,
        "seed": options.seed,
        **_format(request.output),
    }
    return {key: value for key, value in made.items() if value is not None}


def _format(output: OutputSpec | None) -> dict[str, Any]:
    if output is None or output.mode != "schema":
        return {}
    return {"responseMimeType": "application/json", "responseJsonSchema": fitted(output.schema)}


def _with_extra(made: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """The request with the options of the service's own: objects are merged, tools added, all else is replaced."""
    if "contents" in extra:
        raise ConfigError("ModelOptions.extra holds 'contents'; messages are given as the prompt of the run")
    inside = {key: value for key, value in extra.items() if key in _GENERATION}
    outside = {key: value for key, value in extra.items() if key not in _GENERATION}
    merged = _merged(_merged(made, outside), {"generationConfig": inside} if inside else {})
    if "tools" in made and isinstance(outside.get("tools"), list):
        merged["tools"] = [*made["tools"], *outside["tools"]]
    return merged


def _merged(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(ours)
    for key, value in theirs.items():
        known = made.get(key)
        made[key] = _merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return made
