"""What one model call yields, checked against the provider's contract and cleaned."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from becket._values import clean_text, to_json_value
from becket.content import MalformedArguments, Message, ToolCall
from becket.errors import ProtocolError
from becket.events import ExtensionDelta, ModelFinished, PluginEvent, ReasoningDelta, TextDelta, ToolCallDelta

if TYPE_CHECKING:
    from becket.events import ModelEvent

__all__ = ["Yielded"]

_MODEL_STOPS: Final = ("end_turn", "max_tokens", "stop_sequence", "content_filtered", "tool_use")

_FROM_PROVIDERS = (TextDelta, ReasoningDelta, ToolCallDelta, ExtensionDelta, ModelFinished, PluginEvent)


class Yielded:
    """What one model call has yielded, checked against the provider's contract.

    Args:
        by: Who yields it, as an error says it.
        started: When the call was begun, by the clock of `time.perf_counter`.
    """

    __slots__ = ("_by", "_first", "_ids", "_started", "_twice", "finished", "held_up", "taken")

    def __init__(self, by: str, started: float) -> None:
        self._by = by
        self._started = started
        self._first: float | None = None
        self._ids: dict[tuple[int, str], str] = {}
        self._twice: dict[str, str] = {}
        self.finished: ModelFinished | None = None
        self.taken = 0
        self.held_up = False

    def take(self, event: ModelEvent) -> bool:
        """Check and clean one event. Whether it is to be emitted now.

        Raises:
            ProtocolError: It is none that a provider may yield, or comes after the end.
        """
        self.taken += 1
        kind = type(event)
        if self.finished is not None or kind not in _FROM_PROVIDERS:
            self._refuse(event)
        if self._first is None and kind is not PluginEvent:
            self._first = time.perf_counter() - self._started
        if kind is TextDelta:
            if not event.text.isascii():  # type: ignore[union-attr]
                _clean(event, "text")
            return True
        return self._take_other(event)

    def _take_other(self, event: ModelEvent) -> bool:
        match event:
            case ToolCallDelta():
                _clean(event, "call_id", "tool", "fragment")
                self._name(event)
            case ReasoningDelta():
                _clean(event, "text", "signature", "redacted")
            case PluginEvent():
                _clean(event, "plugin", "name")
                _make_json(event, f"the event {event.name!r} of {event.plugin!r}")
            case ExtensionDelta():
                _clean(event, "provider")
                _make_json(event, f"the extension that {self._by} yielded")
            case _:
                if event.stop_reason not in _MODEL_STOPS:  # type: ignore[union-attr]  # the one that is left
                    self._refuse(event)
                _clean(event, "model", "response_id")
                self.finished = event  # type: ignore[assignment]
                return False
        return True

    def _name(self, event: ToolCallDelta) -> None:
        """Give the call an id that no other call of this answer has: history pairs calls and results by it."""
        named = self._ids.get((event.block, event.call_id))
        if named is None:
            named = event.call_id or f"call-{len(self._ids) + 1}"
            if named in self._ids.values():
                named = f"{named}-{len(self._ids) + 1}"
                self._twice[named] = event.call_id
            self._ids[event.block, event.call_id] = named
        stamped: Any = event
        stamped.call_id = named

    def renamed(self, message: Message) -> Message:
        """`message` with each call malformed that used the id of an earlier one."""
        if not self._twice:
            return message
        return Message(message.role, tuple(self._refused(block) for block in message.content))

    def _refused(self, block: Any) -> Any:
        if not isinstance(block, ToolCall) or block.id not in self._twice:
            return block
        reason = f"the call id {self._twice[block.id]!r} was used twice in one answer; this second call was refused"
        return ToolCall(block.id, block.tool, malformed=MalformedArguments("", reason))

    def end(self) -> ModelFinished:
        """The event that ended the answer, with its times.

        Raises:
            ProtocolError: There was none: what came may be half an answer.
        """
        if self.finished is None:
            raise ProtocolError(
                f"{self._by} ended without a ModelFinished event: its answer may be cut off; "
                f"what came is kept in the history, marked as interrupted"
            )
        stamped: Any = self.finished
        stamped.first_token_s = self._first
        stamped.duration_s = time.perf_counter() - self._started
        return self.finished

    def _refuse(self, event: object) -> None:
        if isinstance(event, ModelFinished) and self.finished is None:
            raise ProtocolError(
                f"{self._by} gave the stop reason {event.stop_reason!r}, the run's to give; "
                f"a model's are {', '.join(_MODEL_STOPS)}"
            )
        if self.finished is not None:
            raise ProtocolError(f"{self._by} yielded {event!r} after ModelFinished, the last one")
        raise ProtocolError(
            f"{self._by} yielded {event!r}; a provider yields TextDelta, ReasoningDelta, "
            f"ToolCallDelta, ExtensionDelta, PluginEvent, and last ModelFinished"
        )


def _clean(event: Any, *names: str) -> None:
    for name in names:
        if (text := getattr(event, name)) is not None:
            setattr(event, name, clean_text(text))


def _make_json(event: PluginEvent | ExtensionDelta, what: str) -> None:
    """Make what a provider gives a JSON value, or an event of its run could not be serialised."""
    stamped: Any = event
    try:
        stamped.data = to_json_value(event.data)
    except ValueError as error:
        raise ProtocolError(f"{what} holds no JSON value: {error}") from error
