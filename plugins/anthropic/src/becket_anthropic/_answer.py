"""An answer while it comes: the events of the service become becket's. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from becket import ExtensionDelta, Message, ModelFinished, TextDelta, Usage
from msgspec import Raw, to_builtins

from becket_anthropic._api import UNREADABLE, decode_event
from becket_anthropic._blocks import Block, begun
from becket_anthropic._errors import in_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from becket import ContentBlock, ModelEvent, StopReason

    from becket_anthropic._api import Container, Event
    from becket_anthropic._api import Usage as Counted
    from becket_anthropic._errors import Faults

__all__ = ["Answer"]

_STOPS: Final[dict[str, StopReason]] = {
    "end_turn": "end_turn",
    "max_tokens": "max_tokens",
    "model_context_window_exceeded": "max_tokens",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_use",
    "refusal": "content_filtered",
}
_PAUSES: Final = frozenset({"pause_turn", "compaction"})
"""The turn goes on when the service is sent what it has said so far."""


class Answer:
    """What one model call has brought. Where the service pauses its turn, what the next request brings goes on in it.

    Args:
        provider: The provider's name, for its extensions.
        faults: The reply, which words what is wrong with it.
        warn: Called with what is not known, such as "the event 'x'"; it says each only once.

    Attributes:
        done: Whether the message is complete: the service sends nothing after it.
    """

    __slots__ = (
        "_blocks",
        "_container",
        "_faults",
        "_id",
        "_now",
        "_number",
        "_over",
        "_provider",
        "_refusal",
        "_said",
        "_spent",
        "_stop",
        "_warn",
        "done",
    )

    def __init__(self, provider: str, faults: Faults, warn: Callable[[str], object]) -> None:
        self._provider = provider
        self._faults = faults
        self._warn = warn
        self._blocks: dict[int, Block] = {}
        self._over: list[Block] = []
        self._number = 0
        self._said = False
        self._id: str | None = None
        self._container: Container | None = None
        self._stop: str | None = None
        self._refusal: str | None = None
        self._spent = Usage()
        self._now = _Count()
        self.done = False

    def take(self, data: bytes) -> Sequence[ModelEvent]:
        """What one event of the service comes to. This is the path of a token.

        Raises:
            ProviderError: It is an error, or no JSON, or not what it should be.
        """
        try:
            event = decode_event(data)
            delta = event.delta
            if event.type == "content_block_delta" and delta is not None:
                block = self._blocks.get(event.index)
                if block is not None:
                    return block.take(delta)
                self._warn(f"a delta of a block that has not begun ({delta.type!r})")
                return ()
            return self._other(event)
        except UNREADABLE as error:
            raise self._faults.unreadable(data, error) from error

    def finish(self) -> ModelFinished:
        """The end of the answer. One that is paused, and is not gone on with any more, has reached a limit.

        Raises:
            ProviderError: The message has not come to its end.
        """
        self.check()
        stop = "max_tokens" if self.paused else _STOPS.get(self._stop or "")
        if stop is None and self._stop is not None and self._stop not in _PAUSES:
            self._warn(f"the stop reason {self._stop!r}")
        if stop in (None, "end_turn"):  # some servers that are compatible have no other
            stop = "tool_use" if self._calls() else "end_turn"
        return ModelFinished(stop, self._spent + self._now.usage(), response_id=self._id)

    @property
    def container(self) -> str | None:
        """The id of the container in which the service's tools have run, or None."""
        return None if self._container is None else self._container.id

    @property
    def paused(self) -> bool:
        """Whether the turn goes on when the service is sent `message`."""
        return self._stop in _PAUSES and not self._calls()

    def message(self) -> Message:
        """What has been said, as the history will have it."""
        content: list[ContentBlock] = []
        for block in self._over:
            content += block.content()
        return Message("assistant", tuple(content))

    def check(self) -> None:
        """Refuse a message that has not come to its end.

        Raises:
            ProviderError: It has not.
        """
        if not self.done:
            raise self._faults.cut_off("a message_stop event")

    def go_on(self, faults: Faults) -> None:
        """Get ready for the message that the next request brings.

        Args:
            faults: As before, for the new reply.
        """
        self._faults = faults
        self._spent += self._now.usage()
        self._now = _Count()
        self._stop = None
        self._blocks = {}
        self.done = False

    def _calls(self) -> bool:
        return any(block.is_call for block in self._over)

    def _other(self, event: Event) -> Sequence[ModelEvent]:
        match event.type:
            case "content_block_start":
                return self._begin(event.index, event.content_block)
            case "content_block_stop":
                block = self._blocks.pop(event.index, None)
                return () if block is None else block.end()
            case "message_start":
                if event.message is not None:
                    self._id = event.message.id or self._id
                    self._container = event.message.container or self._container
                    self._now.take(event.message.usage)
            case "message_delta":
                self._now.take(event.usage)
                return self._stopping(event)
            case "message_stop":
                return self._end()
            case "error":
                raise self._faults.broken(in_stream(event.error))
            case "ping":
                pass
            case _:
                self._warn(f"the event {event.type!r}")
        return ()

    def _begin(self, index: int, start: Raw) -> Sequence[ModelEvent]:
        block = begun(start, self._number, self._provider, self._warn)
        self._number += 2  # the odd number between two blocks is that of the extension beside the first
        self._said = self._said or block.is_text
        self._blocks[index] = block
        self._over.append(block)
        return block.begin()

    def _stopping(self, event: Event) -> Sequence[ModelEvent]:
        delta = event.delta
        if delta is not None:
            self._stop = delta.stop_reason or self._stop
            self._container = delta.container or self._container
            if delta.stop_details is not None:
                self._refusal = delta.stop_details.explanation
        return ()

    def _end(self) -> Sequence[ModelEvent]:
        """The end of the message: of blocks whose end was not said; why the model refused; what its tools ran in."""
        self.done = True
        events: list[ModelEvent] = []
        for block in self._blocks.values():
            events += block.end()
        self._blocks = {}
        if self._stop == "refusal" and self._refusal and not self._said:
            events.append(TextDelta(self._refusal, self._number))
            self._number += 2
        if self._container is not None and not self.paused:
            used: dict[str, Any] = {"container": to_builtins(self._container)}
            events.append(ExtensionDelta(self._provider, used, self._number))
            self._number += 2
        return events


class _Count:
    """The tokens of one message."""

    __slots__ = ("cached", "plain", "thought", "written", "written_to_cache")

    def __init__(self) -> None:
        self.plain = self.cached = self.written_to_cache = self.written = self.thought = 0

    def take(self, counted: Counted | None) -> None:
        """Numbers are totals: a later one takes the place of an earlier."""
        if counted is None:
            return
        if counted.input_tokens is not None:
            self.plain = counted.input_tokens
        if counted.cache_read_input_tokens is not None:
            self.cached = counted.cache_read_input_tokens
        if counted.cache_creation_input_tokens is not None:
            self.written_to_cache = counted.cache_creation_input_tokens
        if counted.output_tokens is not None:
            self.written = counted.output_tokens
        if counted.output_tokens_details is not None:
            self.thought = counted.output_tokens_details.thinking_tokens or 0

    def usage(self) -> Usage:
        """As becket has it: all input is input, wherever it was read from."""
        return Usage(self.plain + self.cached + self.written_to_cache, self.written, self.cached, self.thought)
