"""The sinks of one run: opened with it, shown each event, switched off where they keep failing, closed with it."""

from __future__ import annotations

import inspect
from collections import deque
from typing import TYPE_CHECKING, Final, get_args

import anyio

from becket._backend import current_backend
from becket._calls import from_outside
from becket._gone import gone
from becket._log import logger
from becket.errors import PluginError, ProtocolError
from becket.events import Event, PluginFailed, RunFailed, RunFinished
from becket.sinks import BatchSinkRun, Overflow, SinkRun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anyio.abc import TaskGroup

    from becket.sinks import RunInfo, Sink

__all__ = ["Observers"]

STRIKES: Final = 3
"""Failures in a row after which a sink is switched off."""


class Observers:
    """What observes one run.

    Attributes:
        failed: Sinks that were switched off and not reported yet.
    """

    __slots__ = ("_batches", "_direct", "_fatal", "_run_id", "failed")

    def __init__(self) -> None:
        self._direct: list[_Direct] = []
        self._batches: list[_Batch] = []
        self._fatal: PluginError | None = None
        self._run_id = ""
        self.failed: list[PluginFailed] = []

    def open(self, sinks: Sequence[Sink], run: RunInfo) -> None:
        """Open the sinks for this run.

        Raises:
            PluginError: One that is required could not be opened; the others are open all the same.
        """
        self._run_id = run.run_id
        for sink in sinks:
            try:
                self._add(sink, sink.open(run))
            except (Exception, SystemExit) as error:  # noqa: BLE001  a sink must not take the run down
                self._off(_Source(sink), "open", error)
        self._raise_fatal()

    def _add(self, sink: Sink, observer: object) -> None:
        """Take in what `open` returned.

        Raises:
            ProtocolError: It is no observer.
        """
        if isinstance(observer, BatchSinkRun):
            if observer.limit < 1 or observer.overflow not in get_args(Overflow):
                raise ProtocolError(
                    f"its limit is {observer.limit!r} and its overflow {observer.overflow!r}; the limit must be 1 or "
                    f"above, and the overflow one of: {', '.join(get_args(Overflow))}"
                )
            for name in ("emit_batch", "aclose"):
                if not inspect.iscoroutinefunction(getattr(observer, name)):
                    raise ProtocolError(f"its {name} is not async; write async def {name}")
            self._batches.append(_Batch(sink, observer))
        elif isinstance(observer, SinkRun) and not inspect.iscoroutinefunction(observer.emit):
            self._direct.append(_Direct(sink, observer))
        else:
            if inspect.iscoroutine(observer):
                observer.close()
            raise ProtocolError(
                f"open() returned {observer!r}, which is neither a SinkRun (emit and close, not async) nor a "
                f"BatchSinkRun (overflow, limit, async emit_batch and aclose)"
            )

    @property
    def has_tasks(self) -> bool:
        """Whether there are tasks to `start` in a task group."""
        return bool(self._batches)

    def start(self, tasks: TaskGroup) -> None:
        """Start the tasks of the sinks that take batches."""
        for batch in self._batches:
            tasks.start_soon(self._feed, batch, name=f"becket sink {batch.name}")

    def show(self, event: Event) -> bool:
        """Show `event` to every sink. False where a queue that may not overflow is full; then wait for `room`.

        Raises:
            PluginError: A required sink has failed. Raised once, when every sink has the event.
        """
        room = True
        for direct in self._direct:
            if direct.off:
                continue
            try:
                direct.emit(event)
                if direct.strikes:
                    direct.strikes = 0
            except (Exception, SystemExit) as error:  # noqa: BLE001  as above
                self._strike(direct, "emit", error)
        for batch in self._batches:
            room = self._put(batch, event) and room
        if self.failed and isinstance(event, RunFinished | RunFailed) and event.run_id == self._run_id:
            self.failed.clear()  # no event may follow; the log has said it
        if self._fatal is not None:
            self._raise_fatal()
        return room

    def _put(self, batch: _Batch, event: Event) -> bool:
        if batch.off:
            return True
        batch.queue.append(event)
        batch.wake.set()
        limit, overflow = batch.run.limit, batch.run.overflow
        if overflow == "block":
            return len(batch.queue) < limit
        if len(batch.queue) > limit and overflow == "drop_oldest":
            batch.queue.popleft()
            batch.dropped += 1
        elif len(batch.queue) > limit:
            self._off(batch, "emit_batch", BufferError(f"it is too slow: its queue of {limit} events is full"))
        return True

    async def room(self) -> None:
        """Wait until every queue that may not overflow has room."""
        for batch in self._batches:
            while not batch.off and batch.run.overflow == "block" and len(batch.queue) >= batch.run.limit:
                await batch.room.wait()

    async def close(self, grace: float) -> None:
        """Let the queues run empty and close the sinks, within `grace` seconds, half of them for the queues."""
        for direct in self._direct:
            _log_failures(direct)
            try:
                direct.run.close()
            except (Exception, SystemExit) as error:  # noqa: BLE001  the run is over, and the other sinks are closed too
                _log_not_closed(direct.name, error)
        now = anyio.current_time()
        for batch in self._batches:
            batch.drain.deadline, batch.end.deadline = now + grace / 2, now + grace
            batch.closing = True
            batch.wake.set()
        with anyio.CancelScope(shield=True):
            for batch in self._batches:
                await batch.done.wait()

    async def _feed(self, batch: _Batch) -> None:
        """The task of one batch sink. Shielded: the end of the run is an event too; `close` bounds it."""
        try:
            with batch.drain:
                await self._drain(batch)
        finally:
            with batch.end:
                await self._end(batch)
            batch.done.set()
        for scope, what in ((batch.drain, "take its last events"), (batch.end, "close")):
            if scope.cancelled_caught:
                logger.error("sink %r took too long to %s, and was cancelled", batch.name, what)
        _log_failures(batch)
        if batch.dropped:
            logger.warning("sink %r was too slow: %d events were dropped", batch.name, batch.dropped)

    async def _drain(self, batch: _Batch) -> None:
        while batch.queue or not batch.closing:
            if batch.queue:
                await self._feed_once(batch)
            else:
                batch.wake = anyio.Event()
                await batch.wake.wait()

    async def _feed_once(self, batch: _Batch) -> None:
        events = list(batch.queue)
        batch.queue.clear()
        batch.room.set()
        batch.room = anyio.Event()
        if batch.off:
            return
        try:
            await batch.run.emit_batch(events)
            batch.strikes = 0
        except BaseException as error:  # noqa: BLE001  a cancellation of its own making is a failure like any other
            _let_out(error)
            self._strike(batch, "emit_batch", error)

    async def _end(self, batch: _Batch) -> None:
        try:
            await batch.run.aclose()
        except BaseException as error:  # noqa: BLE001  a cancellation of its own making is a failure like any other
            _let_out(error)
            _log_not_closed(batch.name, error)

    def fatal(self) -> PluginError | None:
        """The failure of a required sink that nobody was told of yet; None where there is none."""
        fatal, self._fatal = self._fatal, None
        return fatal

    def _raise_fatal(self) -> None:
        if (fatal := self.fatal()) is not None:
            raise fatal

    def _strike(self, source: _Source, part: str, error: BaseException) -> None:
        source.strikes += 1
        source.failures += 1
        if source.required or source.strikes >= STRIKES:
            self._off(source, part, error)
        else:
            _log_failure(source, part, error)

    def _off(self, source: _Source, part: str, error: BaseException) -> None:
        """Show it nothing more. It is closed with the run, like the others."""
        source.off = True
        text = f"{type(error).__name__}: {error}{gone(error)}"
        said = "sink %r is switched off for this run, it failed in %s: %s"
        logger.error(said, source.name, part, text, exc_info=error)
        if not source.required:
            self.failed.append(PluginFailed(source.name, f"sink.{part}", text))
        elif self._fatal is None:
            self._fatal = PluginError(
                f"the sink {source.name!r} is required and failed in {part}: {text}; "
                f"mend it, or run without it where its record is not needed",
                plugin=source.name,
                hook=f"sink.{part}",
            )
            self._fatal.__cause__ = error


def _log_failure(source: _Source, part: str, error: BaseException) -> None:
    """Say the first of a run aloud, and the further ones softly: a sink that fails at every other event fails often."""
    log = logger.warning if source.failures == 1 else logger.debug
    said = "sink %r failed in %s: %s: %s; it goes on, and lacks what it was shown then"
    log(said, source.name, part, type(error).__name__, error, exc_info=error)


def _log_failures(source: _Source) -> None:
    """Say how often it has failed, where it was said of the first time alone."""
    if source.failures > 1 and not source.off:
        logger.warning("sink %r failed %d times in this run", source.name, source.failures)


def _log_not_closed(name: str, error: BaseException) -> None:
    logger.error("sink %r could not be closed: %s: %s", name, type(error).__name__, error, exc_info=error)


def _let_out(error: BaseException) -> None:
    """Raise again what is not the sink's own doing."""
    if (outside := from_outside(error, current_backend())) is not None:
        raise outside


class _Source:
    """A sink and what is held against it."""

    __slots__ = ("failures", "name", "off", "required", "strikes")

    def __init__(self, sink: Sink) -> None:
        self.name = sink.name
        self.required = sink.required
        self.strikes = 0
        self.failures = 0
        self.off = False


class _Direct(_Source):
    __slots__ = ("emit", "run")

    def __init__(self, sink: Sink, run: SinkRun) -> None:
        super().__init__(sink)
        self.run = run
        self.emit = run.emit


class _Batch(_Source):
    __slots__ = ("closing", "done", "drain", "dropped", "end", "queue", "room", "run", "wake")

    def __init__(self, sink: Sink, run: BatchSinkRun) -> None:
        super().__init__(sink)
        self.run = run
        self.queue: deque[Event] = deque()
        self.wake = anyio.Event()
        self.room = anyio.Event()
        self.done = anyio.Event()
        self.drain = anyio.CancelScope(shield=True)
        self.end = anyio.CancelScope(shield=True)
        self.closing = False
        self.dropped = 0
