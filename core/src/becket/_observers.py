"""The sinks of one run: opened with it, shown each event, switched off where they keep failing, closed with it."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final

import anyio

from becket.errors import PluginError
from becket.events import Event, PluginFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anyio.abc import TaskGroup

    from becket.sinks import BatchSinkRun, RunInfo, Sink, SinkRun

__all__ = ["Observers"]

logger = logging.getLogger("becket")

STRIKES: Final = 3
"""Failures in a row after which a sink is switched off."""


class Observers:
    """What observes one run.

    Attributes:
        failed: Sinks that were switched off and not reported yet.
    """

    __slots__ = ("_batches", "_direct", "failed")

    def __init__(self) -> None:
        self._direct: list[_Direct] = []
        self._batches: list[_Batch] = []
        self.failed: list[PluginFailed] = []

    def open(self, sinks: Sequence[Sink], run: RunInfo) -> None:
        """Open the sinks for this run.

        Raises:
            PluginError: One that is required could not be opened.
        """
        for sink in sinks:
            try:
                observer = sink.open(run)
            except Exception as error:  # noqa: BLE001  a sink must not take the run down
                self._off(_Source(sink), "open", error)
            else:
                if hasattr(observer, "emit_batch"):
                    self._batches.append(_Batch(sink, observer))
                else:
                    self._direct.append(_Direct(sink, observer))

    @property
    def has_tasks(self) -> bool:
        """Whether `run` must be called in a task group."""
        return bool(self._batches)

    def start(self, tasks: TaskGroup) -> None:
        """Start the tasks of the sinks that take batches."""
        for batch in self._batches:
            tasks.start_soon(self._feed, batch, name=f"becket sink {batch.name}")

    def show(self, event: Event) -> bool:
        """Show `event` to every sink. False where a queue that may not overflow is full; then wait for `room`.

        Raises:
            PluginError: A required sink failed.
        """
        room = True
        for direct in self._direct:
            try:
                direct.run.emit(event)
                direct.strikes = 0
            except Exception as error:  # noqa: BLE001  as above
                self._strike(direct, "emit", error)
        for batch in self._batches:
            room = self._put(batch, event) and room
        return room

    def _put(self, batch: _Batch, event: Event) -> bool:
        if batch.off:
            return True
        batch.queue.append(event)
        batch.wake.set()
        if len(batch.queue) <= batch.run.limit:
            return len(batch.queue) < batch.run.limit or batch.run.overflow != "block"
        if batch.run.overflow == "drop_oldest":
            batch.queue.popleft()
            batch.dropped += 1
        elif batch.run.overflow == "disable":
            self._off(batch, "emit_batch", RuntimeError(f"its queue of {batch.run.limit} events is full"))
        return batch.run.overflow != "block"

    async def room(self) -> None:
        """Wait until every queue that may not overflow has room."""
        for batch in self._batches:
            while not batch.off and batch.run.overflow == "block" and len(batch.queue) >= batch.run.limit:
                batch.room = anyio.Event()
                await batch.room.wait()

    async def close(self, grace: float) -> None:
        """Let the queues run empty and close the sinks, within `grace` seconds together."""
        for direct in self._direct:
            try:
                direct.run.close()
            except Exception:
                logger.exception("sink %r could not be closed", direct.name)
        self._direct = []
        if not self._batches:
            return
        for batch in self._batches:
            batch.closing = True
            batch.wake.set()
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + grace):
            for batch in self._batches:
                await batch.done.wait()
        for batch in self._batches:
            batch.scope.cancel()
            if not batch.done.is_set():
                logger.error("sink %r took longer than %s s to finish; %d events are lost to it", batch.name, grace, len(batch.queue))
            if batch.dropped:
                logger.warning("sink %r was too slow: %d events were dropped", batch.name, batch.dropped)

    async def _feed(self, batch: _Batch) -> None:
        """The task of one batch sink. Shielded: the end of the run is an event too; `close` bounds it."""
        with batch.scope:
            try:
                while batch.queue or not batch.closing:
                    if batch.queue:
                        await self._feed_once(batch)
                    else:
                        batch.wake = anyio.Event()
                        await batch.wake.wait()
                await batch.run.aclose()
            except Exception:
                logger.exception("sink %r could not be closed", batch.name)
            finally:
                batch.done.set()

    async def _feed_once(self, batch: _Batch) -> None:
        events = list(batch.queue)
        batch.queue.clear()
        if batch.room is not None:
            batch.room.set()
        if batch.off:
            return
        try:
            await batch.run.emit_batch(events)
            batch.strikes = 0
        except Exception as error:  # noqa: BLE001  as above
            try:
                self._strike(batch, "emit_batch", error)
            except PluginError as fatal:
                batch.fatal = fatal

    def fatal(self) -> PluginError | None:
        """The failure of a required sink that takes batches, which has nobody to raise it at."""
        return next((batch.fatal for batch in self._batches if batch.fatal is not None), None)

    def _strike(self, source: _Source, part: str, error: Exception) -> None:
        source.strikes += 1
        if source.required or source.strikes >= STRIKES:
            self._off(source, part, error)

    def _off(self, source: _Source, part: str, error: Exception) -> None:
        source.off = True
        self._direct = [direct for direct in self._direct if not direct.off]
        text = f"{type(error).__name__}: {error}"
        if source.required:
            raise PluginError(
                f"the sink {source.name!r} is required and failed in {part}: {text}", plugin=source.name, hook=part
            ) from error
        logger.error("sink %r is switched off for this run, it failed in %s", source.name, part, exc_info=error)
        self.failed.append(PluginFailed(source.name, f"sink.{part}", text))


class _Source:
    """A sink and what is held against it."""

    __slots__ = ("name", "off", "required", "strikes")

    def __init__(self, sink: Sink) -> None:
        self.name = sink.name
        self.required = sink.required
        self.strikes = 0
        self.off = False


class _Direct(_Source):
    __slots__ = ("run",)

    def __init__(self, sink: Sink, run: SinkRun) -> None:
        super().__init__(sink)
        self.run = run


class _Batch(_Source):
    __slots__ = ("closing", "done", "dropped", "fatal", "queue", "room", "run", "scope", "wake")

    def __init__(self, sink: Sink, run: BatchSinkRun) -> None:
        super().__init__(sink)
        self.run = run
        self.queue: deque[Event] = deque()
        self.wake = anyio.Event()
        self.room: anyio.Event | None = None
        self.done = anyio.Event()
        self.scope = anyio.CancelScope(shield=True)
        self.closing = False
        self.dropped = 0
        self.fatal: PluginError | None = None
