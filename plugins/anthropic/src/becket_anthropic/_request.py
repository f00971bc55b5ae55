"""A request: its head, the messages of the run, and the marks that tell the service what to keep of it.

The service keeps the beginning of a prompt, up to a mark, for five minutes or an hour, and reads it again for a tenth
of the price; to write it costs a quarter more, or twice the price for the hour
(https://platform.claude.com/docs/en/build-with-claude/prompt-caching). An agent sends its whole history again with
every cycle, so marks pay from the second cycle on, and stand where one may follow: where tools are offered, or an
answer has been given. There are three of the four that a request may have: behind the system prompt (or the tools),
where the last request ended, and at the end. Two in the messages, since the service looks back 20 blocks from a mark
for what it has kept, and the results of many tools at once are more.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
from becket import ConfigError, ToolResult
from becket_wire import Transcript

from becket_anthropic._json import to_json
from becket_anthropic._messages import ASSISTANT, END, USER
from becket_anthropic._models import max_tokens
from becket_anthropic._schema import as_taken, told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from becket import Message, ModelRequest, ToolSpec

    from becket_anthropic._messages import Writer
    from becket_anthropic._settings import Caching, Endpoint

__all__ = ["Conversation", "is_sampled"]

SAMPLING: Final = ("temperature", "top_p", "top_k")

_ASSISTANT_SIGN: Final = ASSISTANT[9:10]
_OURS: Final = frozenset({"model", "messages", "stream"})
_MERGED: Final = frozenset({"tools", "betas", "output_config"})
_MARKED: Final = 2
"""Marks in the messages."""


def is_sampled(request: ModelRequest) -> bool:
    """Whether the request says how to sample, which only older models and the older version of the service allow."""
    options = request.options
    return options.temperature is not None or options.top_p is not None or "top_k" in options.extra


class Conversation:
    """What a provider sends in one run. Kept from call to call, so that each message is encoded once.

    Args:
        writer: Writes messages.
        endpoint: The settings.
    """

    __slots__ = ("_alternating", "_endpoint", "_head", "_head_of", "_last", "_transcript", "_turn", "_writer")

    def __init__(self, writer: Writer, endpoint: Endpoint) -> None:
        self._writer = writer
        self._endpoint = endpoint
        self._transcript = Transcript(writer.piece)
        self._turn = _Turn(writer)
        self._alternating = 0
        self._last = b""
        self._head = b""
        self._head_of: tuple[object, ...] = ()

    def body(self, request: ModelRequest, paused: Message | None = None, container: str | None = None) -> list[bytes]:
        """The request's JSON, in pieces.

        Args:
            request: What is asked.
            paused: What the model has said in a turn that it is to go on with, or None.
            container: Where the service's tools have run in that turn.

        Raises:
            ConfigError: `options.extra` holds what is not its to say.
        """
        messages = request.messages
        if messages and messages[-1].role == "assistant":
            pieces = self._transcript.pieces(messages[:-1])
            pieces.append(self._writer.last(messages[-1]))
        else:
            pieces = self._transcript.pieces(messages)
        if paused is not None:
            pieces.append(self._writer.last(paused))
        if not self._alternate(pieces):
            pieces = _joined(pieces)
        mark = self._mark(request, pieces)
        if mark:
            _put_marks(pieces, mark)
        return [self._headed(request, mark, container or self._container(messages)), b",".join(pieces), b"]}"]

    def _alternate(self, pieces: Sequence[bytes]) -> bool:
        """Whether the roles alternate, as they nearly always do. A message is looked at once while they grow."""
        known = self._alternating
        if not (known <= len(pieces) and (not known or pieces[known - 1] is self._last)):
            known = 0
        for index in range(max(known, 1), len(pieces)):
            if pieces[index][9:10] == pieces[index - 1][9:10]:
                return False
        self._alternating = len(pieces)
        self._last = pieces[-1] if pieces else b""
        return True

    def _mark(self, request: ModelRequest, pieces: Sequence[bytes]) -> bytes:
        """The JSON of a mark; empty where there are to be none."""
        caching, extra = self._endpoint.caching, request.options.extra
        if caching == "off" or "cache_control" in extra:
            return b""
        again = request.tools or "tools" in extra or len(pieces) > 1
        return _MARKS[caching] if again else b""

    def _headed(self, request: ModelRequest, mark: bytes, container: str | None) -> bytes:
        """What stands before the messages. The same as last time, as a rule."""
        without_thinking = self._conflicts(request)
        of = (request.model, request.system, mark, without_thinking, container)
        by_identity = (request.tools, request.options, request.output)
        if self._head_of[:5] != of or any(
            ours is not theirs for ours, theirs in zip(self._head_of[5:], by_identity, strict=True)
        ):
            head = _head(request, self._endpoint, mark, without_thinking=without_thinking)
            if container:
                head.setdefault("container", container)
            self._head = to_json(head)[:-1] + b',"messages":['
            self._head_of = (*of, *by_identity)
        return self._head

    def _conflicts(self, request: ModelRequest) -> bool:
        """Whether thinking by a budget, which older models have, must be left out of this call, or it is refused.

        It is where a tool must be called, and in a turn that has begun without thinking: with another model, or before
        thinking was switched on. https://platform.claude.com/docs/en/build-with-claude/extended-thinking
        """
        thinking = request.options.extra.get("thinking")
        if not isinstance(thinking, Mapping) or thinking.get("type") != "enabled":
            return False
        forced = bool(request.tools) and request.options.tool_choice not in ("auto", "none")
        return forced or self._turn.began_without_thinking(request.messages)

    def _container(self, messages: Sequence[Message]) -> str | None:
        """The id of the container that the service's tools have used in the last answer, while it lives."""
        last = next((message for message in reversed(messages) if message.role == "assistant"), None)
        found = None if last is None else self._writer.container(last)
        if found is None or not isinstance(found.get("id"), str):
            return None
        return None if _is_past(found.get("expires_at")) else str(found["id"])


class _Turn:
    """Whether the turn that goes on began with thinking. A turn is an answer with all rounds of tools in it.

    Looks at each message once, as long as the history only grows.
    """

    __slots__ = ("_began", "_last", "_seen", "_writer")

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._seen = 0
        self._last: Message | None = None
        self._began: Message | None = None

    def began_without_thinking(self, messages: Sequence[Message]) -> bool:
        if not 0 < self._seen <= len(messages) or messages[self._seen - 1] is not self._last:
            self._seen, self._began = 0, None
        for message in messages[self._seen :]:
            if message.role == "assistant":
                self._began = self._began or message
            elif not any(isinstance(block, ToolResult) for block in message.content):
                self._began = None
        self._seen = len(messages)
        self._last = messages[-1] if messages else None
        return self._began is not None and not self._writer.thinks(self._began)


_MARKS: Final[dict[Caching, bytes]] = {
    "off": b"",
    "5m": b'{"type":"ephemeral"}',
    "1h": b'{"type":"ephemeral","ttl":"1h"}',
}


def _is_past(stamp: object) -> bool:
    """Whether a time as the service writes it is over."""
    try:
        return datetime.fromisoformat(str(stamp)) <= datetime.now(tz=UTC)
    except (ValueError, TypeError):  # none, or one without a zone
        return False


def _joined(pieces: list[bytes]) -> list[bytes]:
    """The messages with those that follow one another in one role as one.

    The service joins them by itself; servers that are compatible with it may not.
    """
    made: list[bytes] = []
    for piece in pieces:
        if not piece:
            continue
        role = ASSISTANT if piece[9:10] == _ASSISTANT_SIGN else USER
        if made and made[-1].startswith(role):
            made[-1] = made[-1][: -len(END)] + b"," + piece[len(role) :]
        else:
            made.append(piece)
    return made


def _put_marks(pieces: list[bytes], mark: bytes) -> None:
    """Put a mark into the last block of each of the last two messages that the user spoke."""
    left = _MARKED
    for index in range(len(pieces) - 1, -1, -1):
        piece = pieces[index]
        if piece[9:10] == _ASSISTANT_SIGN:
            continue
        pieces[index] = b"".join((piece[: -len(END) - 1], b',"cache_control":', mark, b"}", END))
        left -= 1
        if not left:
            break


def _head(request: ModelRequest, endpoint: Endpoint, mark: bytes, *, without_thinking: bool) -> dict[str, Any]:
    """The request without its messages.

    Raises:
        ConfigError: `options.extra` holds what is not its to say.
    """
    options, extra = request.options, request.options.extra
    if taken := sorted(_OURS & extra.keys()):
        raise ConfigError(f"extra has {taken[0]!r}, which becket itself sets; leave it out")
    raw_mark = msgspec.Raw(mark) if mark else None
    most = options.max_tokens or endpoint.default_max_tokens or max_tokens(request.model)
    head: dict[str, Any] = {"model": request.model, "max_tokens": most, "stream": True}
    system, config = _output(request)
    tools = [*map(_tool, request.tools), *_listed(extra, "tools")]
    if system.strip():
        head["system"] = [_with_mark({"type": "text", "text": system}, raw_mark)] if mark else system
    elif tools:
        tools[-1] = _with_mark(tools[-1], raw_mark)
    if tools:
        head["tools"] = tools
        head |= _choice(options.tool_choice)
    if config:
        head["output_config"] = config
    said = {"temperature": options.temperature, "top_p": options.top_p, "stop_sequences": list(options.stop) or None}
    head |= {name: value for name, value in said.items() if value is not None}
    head |= {name: value for name, value in extra.items() if name not in _MERGED}
    if without_thinking:
        head["thinking"] = {"type": "disabled"}
    return head


def _output(request: ModelRequest) -> tuple[str, dict[str, Any]]:
    """The system prompt and the `output_config`, with the schema of a structured output in one of them."""
    system, config = request.system, dict(_mapping(request.options.extra, "output_config"))
    if request.output is not None and request.output.mode == "schema":
        schema = as_taken(request.output.schema)
        if schema is not None:
            config["format"] = {"type": "json_schema", "schema": schema}
        else:
            asked = told(request.output.schema)
            system = f"{system}\n\n{asked}" if system else asked
    return system, config


def _tool(spec: ToolSpec) -> dict[str, Any]:
    tool: dict[str, Any] = {"name": spec.name}
    if spec.description:
        tool["description"] = spec.description
    tool["input_schema"] = spec.schema
    return tool


def _with_mark(block: dict[str, Any], mark: msgspec.Raw | None) -> dict[str, Any]:
    return block if mark is None or "cache_control" in block else {**block, "cache_control": mark}


def _choice(choice: str) -> dict[str, Any]:
    match choice:
        case "auto":
            return {}
        case "any" | "none":
            return {"tool_choice": {"type": choice}}
        case name:
            return {"tool_choice": {"type": "tool", "name": name}}


def _mapping(extra: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    given = extra.get(name) or {}
    if not isinstance(given, Mapping):
        raise ConfigError(f"extra has {name} {given!r}; it must be a mapping")
    return given


def _listed(extra: Mapping[str, Any], name: str) -> list[Any]:
    given = extra.get(name) or []
    if not isinstance(given, list | tuple):
        raise ConfigError(f"extra has {name} {given!r}; it must be a list")
    return list(given)
