"""The contract of event logs as tests, which the tests of a log inherit."""

from __future__ import annotations

import inspect
import json
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import anyio
from anyio.lowlevel import checkpoint

from becket.events import CycleStarted, DecisionRequested, event_from_json
from becket.log import event_key
from becket.policies import Allow
from becket.runtime import Runtime
from becket.sinks import RunInfo
from becket.testing._blocking import kept_at
from becket.testing._calling import cancelled_at
from becket.testing._contract import Contract, missing, must, not_looked_at
from becket.testing._model_calls import as_failures
from becket.testing._runs import ENDING, unknown, whole_run
from becket.testing._watch import Steps
from becket.testing.scenarios import Scenarios

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from becket.events import Event
    from becket.log import EventLog
    from becket.stream import AgentStream

__all__ = ["EventLogConformance"]

BURST: Final = 2000
"""Events of a long run: many times what a run keeps for a reader that is behind."""

_KEPT: Final = ("tools", "nested", "unicode", "fails midway")
"""The scenarios whose events are appended: all kinds of events, nested ones, text of all kinds."""


class EventLogConformance(Contract):
    """What every event log must do, as tests.

    Subclass it in a test file, and say how the log of a run is made::

        class TestMyLog(EventLogConformance):
            lasts = True

            @pytest.fixture(autouse=True)
            def folder(self, tmp_path):
                self.path = tmp_path

            def make_log(self, run):
                return MyLog(self.path / f"{run.run_id}.db")

    A bounded log may drop old events, and any log may leave out deltas and what plugins say, which have no `event_key`;
    whatever else was appended must be there.
    """

    lasts: bool = False
    """Whether it outlives the process: a log that is made once more for a run has what was flushed."""

    blocks: float = 0.1
    """Seconds for which it may keep the event loop from everything else, in a burst of events."""

    waits: int = 300
    """The most places at which a flush is cancelled, one after the other."""

    patience: float = 10.0
    """Seconds that a run of a few events, and a flush, may take."""

    def make_log(self, run: RunInfo) -> EventLog:  # noqa: ARG002  to be overridden
        """The log of a run, as the hook `make_event_log` gives it; the names of runs are new, unless it `lasts`."""
        raise missing(self, "make_log")

    # -- appending -----------------------------------------------------------------------------------------------------

    async def test_events_are_numbered_from_one(self) -> None:
        """`append` gives each event the next `seq`, without a gap, those of nested runs too, and says True."""
        for name in _KEPT:
            run = await whole_run(name)
            log = self._log(run.info)
            for number, event in enumerate(_fresh(run.events), start=1):
                with as_failures(f"appending {event!r}"):
                    recorded: object = log.append(event)
                must(recorded is True, f"append gives True for an event that was not there: {recorded!r}")
                must(
                    event.seq == number, f"event {number} of a run has the seq {number}, and not {event.seq}: {event!r}"
                )

    async def test_appending_waits_for_nothing(self) -> None:
        """It is called between two pieces of text: what takes long is for `flush`, which is async."""
        info = _info("quick")
        log = self._log(info)
        must(not inspect.iscoroutinefunction(log.append), "append is not async: let flush wait")
        must(inspect.iscoroutinefunction(log.flush), "flush is async: what was appended lasts once it was awaited")

        async def work() -> None:
            for event in _cycles(info, BURST):
                log.append(event)
                await checkpoint()
            with anyio.fail_after(self.patience):
                await log.flush()

        found = await kept_at(self.blocks, work)
        must(
            not found,
            f"it keeps the event loop from everything else for more than {self.blocks:g} s, at {found}; keep what is "
            f"appended in memory, and write it in flush, in a thread (anyio.to_thread.run_sync)",
        )

    async def test_events_are_left_as_they_are(self) -> None:
        """Sinks and readers are given them next: nothing but the `seq` is changed."""
        for name in _KEPT:
            run = await whole_run(name)
            log = self._log(run.info)
            for event in _fresh(run.events):
                before = json.loads(event.to_json())
                log.append(event)
                after = {**json.loads(event.to_json()), "seq": before["seq"]}
                must(after == before, f"an event is left as it is; {before} has become {after}")

    async def test_what_a_later_becket_tells_does_not_matter(self) -> None:
        """Events of a type that it does not know, and a `RunInfo` with more fields, are no failure."""
        run = await whole_run("text")
        first, *rest = run.events
        with as_failures("told by a later becket"):
            log = self._log(run.later)
            events = self._append(log, [first, unknown(run), *rest])
            self._check(log, events, "told by a later becket")

    # -- reading -------------------------------------------------------------------------------------------------------

    async def test_what_was_appended_is_there_at_once(self) -> None:
        """Before it lasts: a reader is given it next."""
        for name in _KEPT:
            run = await whole_run(name)
            log, seen = self._log(run.info), 0
            for event in self._appending(log, run.events):
                read = self._after(log, seen)
                must(
                    event_key(event) is None or _told(read[-1:]) == _told([event]),
                    f"{event!r} was appended, and what is there after {seen} is {read!r}",
                )
                seen = event.seq

    async def test_events_are_read_from_anywhere_in_their_order(self) -> None:
        """`after` gives those behind a `seq`, oldest first, at most so many; none behind the last."""
        for name in _KEPT:
            run = await whole_run(name)
            log = self._log(run.info)
            events = self._append(log, run.events)
            for seq in range(len(events) + 2):
                self._check(log, events, f"{name}, read after {seq}", seq)
                rest = self._after(log, seq)
                for most in (1, 2, len(rest) or 1, len(events) + 1):
                    some = log.after(seq, most)
                    must(
                        _told(some) == _told(rest[:most]),
                        f"{name}: after({seq}, {most}) gives the first {most} of {len(rest)} events, and not {some!r}",
                    )

    async def test_what_was_read_is_the_readers(self) -> None:
        """Each reader has a list of its own, which it may change."""
        run = await whole_run("tools")
        log = self._log(run.info)
        events = self._append(log, run.events)
        for most in (None, len(events)):
            log.after(0, most).clear()
            self._check(log, events, "after a reader has changed its list")

    async def test_what_was_dropped_is_said(self) -> None:
        """What is behind `dropped` is there, and `dropped` says where that begins; it never goes back."""
        info = _info("long")
        log, before = self._log(info), 0
        events: list[Event] = []
        for event in self._appending(log, _cycles(info, BURST)):
            events.append(event)
            if event.seq % 50 in (0, 1):
                dropped: object = log.dropped
                must(type(dropped) is int and before <= dropped, f"dropped is a number, and grows: {dropped!r}")
                before = log.dropped
                must(before < event.seq, f"the event {event.seq} was just appended, and dropped is {before}")
                first = [read.seq for read in self._after(log, 0)[:1]]
                must(first == [before + 1], f"dropped is {before}, and the first event that is there is {first}")
        self._check(log, events, "a long run")

    async def test_runs_are_kept_apart(self) -> None:
        """Each has a log of its own, in which its events are numbered, though they come one among the other's."""
        runs = [await whole_run(name) for name in ("tools", "text", "tools")]
        logs = [self._log(run.info) for run in runs]
        appended: list[list[Event]] = [[] for _ in runs]
        for number in range(max(len(run.events) for run in runs)):
            for run, log, events in zip(runs, logs, appended, strict=True):
                events.extend(self._appending(log, run.events[number : number + 1]))
        for log, events in zip(logs, appended, strict=True):
            self._check(log, events, "one of three runs at once")

    # -- flushing ------------------------------------------------------------------------------------------------------

    async def test_flushing_loses_nothing(self) -> None:
        """It is called once a cycle, by nested runs at the same time, and while others append."""
        info = _info("flushed")
        log, fresh = self._log(info), iter(_cycles(info, 50))
        appended: list[Event] = []

        async def cycle() -> None:
            for event in fresh:
                appended.extend(self._appending(log, [event]))
                await log.flush()

        with as_failures("flushed by several tasks at once"), anyio.fail_after(self.patience):
            await log.flush()
            async with anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(cycle)
            await log.flush()
        self._check(log, appended, "flushed by several tasks at once")
        self._check_lasting(info, appended, "flushed by several tasks at once")

    async def test_what_is_appended_during_a_flush_is_not_lost(self) -> None:
        """Wherever it waits: the next flush has it."""
        wait, reached = 1, True
        while reached and wait <= self.waits:
            info = _info(f"meanwhile-{wait}")
            log, when = self._log(info), f"appended at the wait {wait} of a flush"
            fresh = _cycles(info, 4)
            appended = self._append(log, fresh[:2])
            steps = Steps(lambda: appended.extend(self._append(log, fresh[2:])), at=wait)  # noqa: B023  it is done within
            with as_failures(when), anyio.fail_after(self.patience):
                await steps.of(log.flush())
                await log.flush()
            self._check(log, appended, when)
            self._check_lasting(info, appended, when)
            wait, reached = wait + 1, steps.reached

    async def test_a_cancelled_flush_loses_nothing(self) -> None:
        """Wherever the cancellation arrives: it goes through, and the flush at the end of the run has all."""
        wait, reached = 1, True
        while reached and wait <= self.waits:
            info = _info(f"cancelled-{wait}")
            log, when = self._log(info), f"a flush that was cancelled at its wait {wait}"
            appended = self._append(log, _cycles(info, 4))
            reached = await cancelled_at(wait, log.flush, "a flush")
            with as_failures(f"flushed after {when}"), anyio.fail_after(self.patience):
                await log.flush()
            self._check(log, appended, when)
            self._check_lasting(info, appended, when)
            wait += 1

    async def test_what_was_flushed_lasts(self) -> None:
        """A log that is made once more for a run has its events, as they were, and goes on with the next number."""
        self._lasting()
        for name in _KEPT:
            run = await whole_run(name)
            log = self._log(run.info)
            appended = self._append(log, run.events)
            await log.flush()
            self._check_lasting(run.info, appended, f"a run of the scenario {name!r}")
            (more,) = self._append(self._log(run.info), [CycleStarted(run_id=run.info.run_id, cycle=1000)])
            must(more.seq == len(appended) + 1, f"the next event has the seq {len(appended) + 1}, and not {more.seq}")

    async def test_an_event_is_recorded_once(self) -> None:
        """A run that is resumed tells again what its log has: False, nothing recorded, and no number used up."""
        self._lasting()
        run = await whole_run("nested")
        log = self._log(run.info)
        appended = self._append(log, run.events)
        await log.flush()
        for again, when in ((log, "appended again"), (self._log(run.info), "appended again to a log made anew")):
            for event in _fresh(event for event in run.events if event_key(event) is not None):
                recorded: object = again.append(event)
                must(recorded is False, f"{when}: {event!r} is there, and append gives {recorded!r}, not False")
            self._check(again, appended, when)

    # -- in a run ------------------------------------------------------------------------------------------------------

    async def test_a_run_is_as_without_it(self) -> None:
        """The reader sees the same, and one who comes back reads on from the log."""
        for name in ENDING:
            logs: list[EventLog] = []

            def make(run: RunInfo, logs: list[EventLog] = logs) -> EventLog:
                logs.append(self._log(run))
                return logs[-1]

            runtime = Runtime(discover=False, make_log=make)
            alone = [event.type for event in (await whole_run(name)).events]
            with as_failures(f"a run of the scenario {name!r}"), anyio.fail_after(self.patience):
                stream, events = await _logged(name, runtime)
            types = [event.type for event in events]
            must(
                sorted(types) == sorted(alone),
                f"a run of the scenario {name!r} has other events with it than without it: {types}, and not {alone}",
            )
            for seen in {max(number, logs[0].dropped) for number in (0, len(events) // 2, len(events))}:
                with anyio.fail_after(self.patience):
                    read = [event async for event in stream.follow(seen) if event_key(event) is not None]
                wanted = [event for event in events[seen:] if event_key(event) is not None]
                must(_told(read) == _told(wanted), f"{name}: who comes back after {seen} reads {read}, not {wanted}")

    # -- how the tests use it ------------------------------------------------------------------------------------------

    def _log(self, run: RunInfo) -> EventLog:
        log = self.make_log(run)
        for name in ("append", "flush", "after", "dropped"):
            must(hasattr(log, name), f"{log!r} has what a log has, and not {name}: see becket.log.EventLog")
        return log

    def _lasting(self) -> None:
        if not self.lasts:
            not_looked_at("`lasts` is False: the log ends with the process")

    def _appending(self, log: EventLog, events: Iterable[Event]) -> Iterator[Event]:
        for event in _fresh(events):
            log.append(event)
            yield event

    def _append(self, log: EventLog, events: Iterable[Event]) -> list[Event]:
        return list(self._appending(log, events))

    def _after(self, log: EventLog, seq: int) -> list[Event]:
        read: object = log.after(seq)
        must(isinstance(read, list), f"after gives a list of events, and not {read!r}")
        return read  # type: ignore[return-value]  # looked at

    def _check(self, log: EventLog, appended: Sequence[Event], when: str, seq: int = 0) -> None:
        """See that what was appended after `seq` is there, as far as it must be."""
        read, dropped = self._after(log, seq), log.dropped
        must(
            all(one.seq < two.seq for one, two in pairwise(read)) and all(event.seq > seq for event in read),
            f"{when}: events are read oldest first, each once, and only those after {seq}: {[e.seq for e in read]}",
        )
        for event in read:
            known = appended[event.seq - 1 : event.seq]
            must(_told(known) == _told([event]), f"{when}: what was appended as {known} is read as {event!r}")
        there = {event.seq for event in read}
        lost = [
            event
            for event in appended
            if event.seq > max(seq, dropped) and event_key(event) is not None and event.seq not in there
        ]
        must(not lost, f"{when}: {len(lost)} events were appended, are not there, and dropped is {dropped}: {lost[:1]}")

    def _check_lasting(self, run: RunInfo, appended: Sequence[Event], when: str) -> None:
        if self.lasts:
            self._check(self._log(run), appended, f"{when}, made anew")


def _info(name: str) -> RunInfo:
    return RunInfo(f"{name}-{uuid4().hex}", "scenarios", "scripted:model")


def _cycles(run: RunInfo, number: int) -> list[Event]:
    """So many events that are all to be there."""
    return [CycleStarted(run_id=run.run_id, cycle=cycle) for cycle in range(1, number + 1)]


def _fresh(events: Iterable[Event]) -> Iterator[Event]:
    """The same events, before they were numbered."""
    for event in events:
        fresh: Any = event_from_json(event.to_json())
        fresh.seq = 0
        yield fresh


def _told(events: Iterable[Event]) -> list[Any]:
    """What events are, however they were kept."""
    return [json.loads(event.to_json()) for event in events]


async def _logged(prompt: str, runtime: Runtime) -> tuple[AgentStream[Any], list[Event]]:
    """A run of a scenario, and what its reader was given."""
    stream: Any = Scenarios().agent.replace(runtime=runtime).stream_async(prompt)
    events: list[Event] = []
    with suppress(Exception):  # some scenarios fail; their last event says so
        async with stream:
            async for event in stream:
                events.append(event)
                if isinstance(event, DecisionRequested):
                    await stream.decide(event.request_id, Allow())
    return stream, events
