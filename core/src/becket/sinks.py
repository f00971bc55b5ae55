"""What an event sink implements: it observes a run and never alters it.

A sink is a definition that serves any number of runs. `open(run)` returns the observer of one run, which is closed
with it. An observer is one of two kinds: `SinkRun` is given each event at once, synchronously, and must not block;
`BatchSinkRun` is given lists of events in a task of its own, behind a bounded queue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from becket.events import Event

__all__ = ["BatchSinkRun", "Overflow", "RunInfo", "Sink", "SinkRun"]

Overflow: TypeAlias = Literal["block", "drop_oldest", "disable"]
"""What happens when a batch sink's queue is full: the run waits; the oldest events go; the sink is switched off."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """The run that a sink is opened for.

    Attributes:
        run_id: The run's id.
        agent: The agent's name.
        model: The model, as `provider:model`.
        session_id: The session, or None.
    """

    run_id: str
    agent: str
    model: str
    session_id: str | None = None


@runtime_checkable
class SinkRun(Protocol):
    """Observes one run, event by event.

    Both methods run on the event loop, in the middle of the run: they must be quick and must not block. An exception
    is counted against the sink, and the first of a run is a warning in the log, with its traceback: after three in a
    row it is switched off, which is said once, as `plugin_failed` and in the log. A sink that was switched off is
    closed all the same.
    """

    def emit(self, event: Event, /) -> None:
        """Take one event; it is in the log already, and the reader has not seen it yet. Do not change it."""
        ...

    def close(self) -> None:
        """The run is over; called once, after the terminal event."""
        ...


@runtime_checkable
class BatchSinkRun(Protocol):
    """Observes one run, in lists of events.

    Attributes:
        overflow: What happens when the queue is full.
        limit: Events that the queue holds, above 0.
    """

    if TYPE_CHECKING:  # only read, so that a constant or a frozen field will do

        @property
        def overflow(self) -> Overflow:
            """As said above."""
            ...

        @property
        def limit(self) -> int:
            """As said above."""
            ...

    else:
        overflow: Overflow
        limit: int

    async def emit_batch(self, events: Sequence[Event], /) -> None:
        """Take the events that came since the last call, at least one, oldest first. Do not change them."""
        ...

    async def aclose(self) -> None:
        """The run is over, and the queue was emptied as far as time allowed.

        Called once, also after failures; shielded from cancellation, for a bounded time.
        """
        ...


@runtime_checkable
class Sink(Protocol):
    """A consumer of events, found by its name: `Agent(sinks=["name"])`, `becket run --sink name`.

    Attributes:
        name: Letters, digits, `-` and `_`.
        required: Whether a run must fail when this sink does.
    """

    if TYPE_CHECKING:  # only read, so that a constant or a frozen field will do

        @property
        def name(self) -> str:
            """As said above."""
            ...

        @property
        def required(self) -> bool:
            """As said above."""
            ...

    else:
        name: str
        required: bool

    def open(self, run: RunInfo, /) -> SinkRun | BatchSinkRun:
        """The observer of one run. Not async: acquire what needs waiting for in the first `emit_batch`."""
        ...

    def with_argument(self, argument: str, /) -> Sink:
        """The sink configured by the text after the colon in `name:argument`, such as a path.

        Raises:
            ConfigError: The sink takes no argument, or not this one.
        """
        ...
