"""Readers of a run's log: any number of them, who may come back with the last `seq` they saw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from anyio.lowlevel import checkpoint_if_cancelled

from becket.errors import ConfigError, EventsDropped

if TYPE_CHECKING:
    from becket._backend import Gate
    from becket._driver import Driver
    from becket.events import Event

__all__ = ["LogReader"]


class LogReader:
    """The events of a run, as its log has them, and then as they come: an async iterator, made by `AgentStream.follow`.

    It ends after the run's last event, and raises nothing where the run has failed: `run_failed` says it. It puts no
    pressure on the run: where it is slower than the log is long, it raises `EventsDropped`.
    """

    __slots__ = ("_after", "_driver", "_gate", "_left", "_reading", "_ready", "_runs")

    def __init__(self, driver: Driver, after: int) -> None:
        """Readers are made by `AgentStream.follow`."""
        if after < 0:
            raise ConfigError(f"after is {after}; it is the `seq` of the last event that was seen, 0 for none")
        self._driver = driver
        self._gate: Gate | None = None
        self._reading = False
        self._left = False
        self._ready: list[Event] = []  # the next one last
        self._runs = {run.turn.run_id for run in driver.below()}
        self._after = after

    @property
    def last(self) -> int:
        """What to come back with: the `seq` up to which events were read."""
        return self._ready[-1].seq - 1 if self._ready else self._after

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """The next event.

        Raises:
            StopAsyncIteration: The run is over.
            EventsDropped: Events that were not read are no longer there.
            RuntimeError: The run lives on another event loop, or another task waits with this reader.
        """
        if not self._ready:
            self._ready = await self.read()
            self._ready.reverse()
            if not self._ready:
                raise StopAsyncIteration
        return self._ready.pop()

    async def read(self, most: int = 256) -> list[Event]:
        """The events that are there, at least one, and at most so many; none once the run is over.

        Raises:
            EventsDropped: Events that were not read are no longer there.
            RuntimeError: The run lives on another event loop, or another task waits with this reader.
        """
        driver = self._driver
        driver.start()
        while not (events := self.ready(most)) and driver.state != "over" and not self._left:
            await self._wait()
        return events

    async def _wait(self) -> None:
        if self._reading:  # at a gate one task waits: the other would never be woken
            raise RuntimeError(
                "another task is reading with this reader already; give each a reader of its own: stream.follow()"
            )
        if self._gate is None:
            self._gate = self._driver.gate()
        self._reading = True
        try:
            await self._driver.buffer.follow(self._gate)
            await checkpoint_if_cancelled()  # as the driver's own reader does: see there
        finally:
            self._reading = False

    def leave(self) -> None:
        """Wait for no more events; on the event loop of the run. What is there can still be read."""
        self._left = True
        if self._gate is not None:
            self._gate.open()

    def ready(self, most: int = 256) -> list[Event]:
        """As `read`, without waiting: nothing where nothing is there yet."""
        if self._ready:
            events = self._ready[-most:][::-1]
            del self._ready[-most:]
            return events
        driver = self._driver
        if not driver.begun:
            return []
        self.check()
        log = driver.effects.log
        while events := log.after(self._after, most):
            self._after = events[-1].seq
            if not driver.nested or (events := self._own(events)):
                return events
        return []

    def check(self) -> None:
        """See whether the next event is still there, or yet to come.

        Raises:
            EventsDropped: It is gone.
        """
        driver = self._driver
        dropped = driver.effects.log.dropped if driver.begun else 0
        if dropped > self._after:
            raise EventsDropped(
                f"the events {self._after + 1} to {dropped} of the run {driver.turn.run_id} are no longer there; "
                f"go on after {dropped}, or have its log keep more of them (MemoryLog(keep=...))",
                run_id=driver.turn.run_id,
                after=self._after,
                dropped=dropped,
            )

    def unread(self, events: list[Event]) -> None:
        """Give back events that were read last; they are read again."""
        self._ready += events[::-1]

    def _own(self, events: list[Event]) -> list[Event]:
        """Those of the run and of what is nested in it: the log is that of the run above."""
        own: list[Event] = []
        for event in events:
            if event.run_id in self._runs or event.parent_run_id in self._runs:
                self._runs.add(event.run_id)
                own.append(event)
        return own
