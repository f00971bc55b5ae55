"""The log of a run's events: the port, and the bounded one in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from itertools import islice
from sys import getsizeof
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Hashable

    from becket.sinks import RunInfo

from becket.errors import ConfigError
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

__all__ = ["EventKey", "EventLog", "MemoryLog", "event_key", "memory_log"]

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

    Attributes:
        dropped: The `seq` up to which events are no longer there, since the log is bounded; 0 where it is not. Gaps
            that a log leaves on purpose, such as deltas whose message it has, are none of these.
    """

    if TYPE_CHECKING:  # only read, so that a property will do

        @property
        def dropped(self) -> int:
            """As said above."""
            ...

    def append(self, event: Event, /) -> bool:
        """Record `event`, and give it the next `seq`, from 1 without a gap.

        Not async: it never waits. False, and nothing recorded, where an event with the same `event_key` is there.
        """
        ...

    async def flush(self) -> None:
        """Wait until what was appended lasts. Called once a cycle, and when the run is over.

        Nested runs call it too, at the same time. One that was cancelled loses nothing: what it did not write is
        written by the next.
        """
        ...

    def after(self, seq: int, /, most: int | None = None) -> list[Event]:
        """The recorded events after `seq`, oldest first, as far as they are still there; at most so many.

        They are there as soon as they were appended. The list is the caller's.
        """
        ...


class MemoryLog:
    """The last events of a run, in memory.

    Args:
        keep: How many, at least 1.
        keep_bytes: How much memory they may take, about; None for no limit. The last one is kept, however large it is.

    Raises:
        ConfigError: One of them is no such number.
    """

    __slots__ = ("_bytes", "_events", "_most", "_sizes", "last")

    def __init__(self, keep: int = 256, *, keep_bytes: int | None = None) -> None:
        if keep < 1:
            raise ConfigError(f"keep is {keep}; it must be 1 or above, or no reader could ever come back")
        if keep_bytes is not None and keep_bytes < 1:
            raise ConfigError(f"keep_bytes is {keep_bytes}; it must be 1 or above, or None for no limit")
        self._events: deque[Event] = deque(maxlen=keep)
        self._most = keep_bytes
        self._sizes: deque[int] = deque()  # of `_events`, where there is a limit
        self._bytes = 0
        self.last = 0

    @property
    def dropped(self) -> int:
        """The `seq` up to which events are no longer there."""
        return self.last - len(self._events)

    def append(self, event: Event, /) -> bool:
        """Record `event`. It is never there already: this log ends with the process, and nothing is resumed from it."""
        self.last += 1
        stamped: Any = event
        stamped.seq = self.last
        self._events.append(event)
        if self._most is not None:
            self._weigh(event, self._most)
        return True

    def _weigh(self, event: Event, most: int) -> None:
        """Count `event`, which has just been added, and drop the oldest ones that have no room beside it."""
        sizes, events = self._sizes, self._events
        kind = type(event)
        size = getsizeof(event.text) if kind is TextDelta or kind is ReasoningDelta else _size(event)  # type: ignore[union-attr]  # as just seen
        size += _EVENT
        total = self._bytes + size
        if len(sizes) == len(events):  # the oldest one has given way to it
            total -= sizes.popleft()
        sizes.append(size)
        while total > most and len(sizes) > 1:
            total -= sizes.popleft()
            events.popleft()
        self._bytes = total

    async def flush(self) -> None:
        """Nothing to wait for."""

    def after(self, seq: int, /, most: int | None = None) -> list[Event]:
        """The recorded events after `seq`, as far as they are still there; at most so many."""
        events = self._events
        first = max(seq - self.dropped, 0)  # every event is there from `dropped` on, one for each `seq`
        left = len(events) - first
        if left <= 0:
            return []
        if most is None or left <= most:
            newest = [
                event for event, _ in zip(reversed(events), range(left), strict=False)
            ]  # a live reader is near the end
            newest.reverse()
            return newest
        return list(islice(events, first, first + most))


_EVENT: Final = 250
"""Bytes that an event takes, besides the text in it: 185 were measured (CPython 3.11, 64 bit), and its places here."""


def _size(value: object) -> int:
    """About how many bytes of text and data are in an event, or in a part of it."""
    if isinstance(value, str | bytes):
        return getsizeof(value)
    if isinstance(value, Mapping):
        return sum(_size(key) + _size(one) for key, one in value.items())
    if isinstance(value, tuple | list):
        return sum(map(_size, value))
    if is_dataclass(value):
        return sum(_size(getattr(value, item.name)) for item in fields(value))
    return 0


def memory_log(run: RunInfo) -> EventLog:  # noqa: ARG001  other logs are made for a run
    """Makes the log of a run where nobody says otherwise: the last 256 events, in memory."""
    return MemoryLog()
