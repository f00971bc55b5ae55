"""The log of a run's events: the port, and the bounded one in memory."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Hashable

from becket.events import (
    DecisionMade,
    DecisionRequested,
    Event,
    ExtensionDelta,
    MessageAdded,
    OutputPartial,
    PluginEvent,
    PluginFailed,
    ReasoningDelta,
    RetryScheduled,
    TextDelta,
    ToolCallDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
    UnknownEvent,
)

__all__ = ["EventKey", "EventLog", "MemoryLog", "event_key"]

EventKey: TypeAlias = "tuple[Hashable, ...]"

_KEYLESS = {
    TextDelta,
    ReasoningDelta,
    ToolCallDelta,
    ExtensionDelta,
    ToolProgress,
    OutputPartial,
    PluginEvent,
    PluginFailed,
    UnknownEvent,
}


def event_key(event: Event) -> EventKey | None:
    """What names an event of the loop in every execution of its run; None for deltas and for what plugins say.

    A log that outlives the process uses it to append an event once, however often the run is resumed.
    """
    if type(event) in _KEYLESS:
        return None
    own: str = ""
    match event:
        case ToolStarted(call=call):
            own = call.id
        case ToolFinished(result=result):
            own = result.call_id
        case DecisionRequested(request_id=request_id) | DecisionMade(request_id=request_id):
            own = request_id
        case RetryScheduled(call_id=str(call_id)):
            own = f"{call_id}:{event.next_attempt}"
        case MessageAdded(message=message):
            own = message.role
    return (event.run_id, event.type, event.cycle, event.attempt, own)


class EventLog(Protocol):
    """Where a run's events are recorded before a sink or a reader sees them.

    One log serves a root run and those nested in it.
    """

    def append(self, event: Event, /) -> bool:
        """Record `event`, and give it the next `seq`, from 1 without a gap.

        Not async: it never waits. False, and nothing recorded, where an event with the same `event_key` is there.
        """
        ...

    async def flush(self) -> None:
        """Wait until what was appended lasts. Called once a cycle, and when the run is over."""
        ...

    def after(self, seq: int, /) -> list[Event]:
        """The recorded events after `seq`, oldest first, as far as they are still there."""
        ...


class MemoryLog:
    """The last events of a run, in memory.

    Args:
        keep: How many.
    """

    __slots__ = ("_events", "_last")

    def __init__(self, keep: int = 256) -> None:
        self._events: deque[Event] = deque(maxlen=keep)
        self._last = 0

    def append(self, event: Event, /) -> bool:
        """Record `event`. It is never there already: this log ends with the process, and nothing is resumed from it."""
        self._last += 1
        stamped: Any = event
        stamped.seq = self._last
        self._events.append(event)
        return True

    async def flush(self) -> None:
        """Nothing to wait for."""

    def after(self, seq: int, /) -> list[Event]:
        """The recorded events after `seq`, as far as they are still there."""
        return [event for event in self._events if event.seq > seq]
