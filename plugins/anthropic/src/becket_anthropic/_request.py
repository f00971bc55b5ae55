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
from becket_wire import Transcript, dumps

from becket_anthropic._head import head_of
from becket_anthropic._messages import ASSISTANT, END, USER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from becket import Message, ModelRequest, OutputSpec, ProviderError, ToolSpec

    from becket_anthropic._messages import Writer
    from becket_anthropic._settings import Caching, Endpoint

__all__ = ["Conversation"]

_ASSISTANT_SIGN: Final = ASSISTANT[9:10]
_UNBOUND: Final = {"block_binding": {"prefix_mismatch_behavior": "drop_block"}}
_UNBINDING: Final = "thinking-binding-controls-2026-08-01"
_NO_LONGER_FITS: Final = "bound to a different conversation"

_MARKED: Final = 2
"""Marks in the messages."""


class Conversation:
    """What a provider sends in one run. Kept from call to call, so that each message is encoded once.

    Args:
        writer: Writes messages.
        endpoint: The settings.
    """

    __slots__ = (
        "_alternating",
        "_endpoint",
        "_head",
        "_head_of",
        "_last",
        "_output",
        "_tools",
        "_transcript",
        "_turn",
        "_unbound",
        "_writer",
    )

    def __init__(self, writer: Writer, endpoint: Endpoint) -> None:
        self._writer = writer
        self._endpoint = endpoint
        self._transcript = Transcript(writer.piece)
        self._turn = _Turn(writer)
        self._alternating = 0
        self._last = b""
        self._unbound = False
        self._head = b""
        self._head_of: tuple[object, ...] = ()
        self._tools: tuple[ToolSpec, ...] = ()
        self._output: OutputSpec | None = None

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
        pieces = self._transcript.pieces(messages)
        if paused is not None and (said := self._writer.piece(paused, messages)):
            pieces.append(said)
        if not self._alternate(pieces):
            pieces = _joined(pieces)
        if pieces and pieces[-1][9:10] == _ASSISTANT_SIGN:
            pieces[-1] = _to_go_on(pieces[-1])
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

    def _mark(self, request: ModelRequest, pieces: Sequence[bytes]) -> dict[str, Any]:
        """A mark; empty where there are to be none."""
        caching, extra = self._endpoint.caching, request.options.extra
        if caching == "off" or "cache_control" in extra:
            return {}
        again = request.tools or "tools" in extra or len(pieces) > 1
        return _MARKS[caching] if again else {}

    def _headed(self, request: ModelRequest, mark: dict[str, Any], container: str | None) -> bytes:
        """What stands before the messages. The same as last time, as a rule."""
        without_thinking = self._conflicts(request)
        of = (request.model, request.system, request.options, mark, without_thinking, self._unbound, container)
        if self._head_of != of or self._tools is not request.tools or self._output is not request.output:
            head = head_of(request, mark, default_max_tokens=self._endpoint.default_max_tokens)
            if without_thinking:
                head["thinking"] = {"type": "disabled"}
            elif self._unbound:
                head["thinking"] = {**(head.get("thinking") or {"type": "adaptive"}), **_UNBOUND}
            if container:
                head["container"] = _with_id(head.get("container"), container)
            try:
                self._head = dumps(head)[:-1] + b',"messages":['
            except (TypeError, ValueError, RecursionError) as error:
                raise ConfigError(f"an option is no JSON: {error}; look at ModelOptions(extra=...)") from error
            self._head_of, self._tools, self._output = of, request.tools, request.output
        return self._head

    @property
    def betas(self) -> Sequence[str]:
        """The betas that it has come to need."""
        return (_UNBINDING,) if self._unbound else ()

    def unbinds(self, request: ModelRequest, error: ProviderError) -> bool:
        """Whether an error is gone when the request is made again, without thinking that no longer fits its place.

        The newest models bind thinking to all that stands before it, and refuse a history in which a hook, a mask or
        another system prompt has changed that:
        https://platform.claude.com/docs/en/build-with-claude/preserved-thinking/prefix-checks
        """
        if self._unbound or error.status != 400 or _NO_LONGER_FITS not in str(error):  # noqa: PLR2004  a bad request
            return False
        thinking = request.options.extra.get("thinking") or {"type": "adaptive"}
        self._unbound = (
            isinstance(thinking, Mapping) and thinking.get("type") != "disabled" and "block_binding" not in thinking
        )
        return self._unbound

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


_MARKS: Final[dict[Caching, dict[str, Any]]] = {
    "off": {},
    "5m": {"type": "ephemeral"},
    "1h": {"type": "ephemeral", "ttl": "1h"},
}


def _with_id(given: object, container: str) -> object:
    """What a request says of its container: the id where the host says nothing, or says only what is to be in it."""
    if isinstance(given, Mapping):
        return {"id": container, **given}
    return container if given is None else given


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
        role = ASSISTANT if piece[9:10] == _ASSISTANT_SIGN else USER
        if made and made[-1].startswith(role):
            made[-1] = made[-1][: -len(END)] + b"," + piece[len(role) :]
        else:
            made.append(piece)
    return made


def _to_go_on(piece: bytes) -> bytes:
    """An assistant's message that the model is to go on with; it is refused where its text ends in white space."""
    message: Any = msgspec.json.decode(piece)
    last = message["content"][-1]
    if last["type"] != "text" or last["text"] == last["text"].rstrip():
        return piece
    last["text"] = last["text"].rstrip()
    return dumps(message)


def _put_marks(pieces: list[bytes], mark: dict[str, Any]) -> None:
    """Put a mark into the last block of each of the last two messages that the user spoke."""
    left, end = _MARKED, b',"cache_control":%b}%b' % (dumps(mark), END)
    for index in range(len(pieces) - 1, -1, -1):
        piece = pieces[index]
        if piece[9:10] == _ASSISTANT_SIGN:
            continue
        pieces[index] = piece[: -len(END) - 1] + end
        left -= 1
        if not left:
            break
