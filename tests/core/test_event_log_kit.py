"""The tests of the contract of event logs find every way to break it, and say what is wrong."""

from __future__ import annotations

import dataclasses
import threading
import unittest
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from becket import MemoryLog, event_from_json
from becket.log import event_key, memory_log
from becket.testing import EventLogConformance
from becket.testing._contract import rules_of

if TYPE_CHECKING:
    from becket import EventLog, RunInfo

pytestmark = pytest.mark.anyio


class TestMemoryLog(EventLogConformance):
    def make_log(self, run: RunInfo) -> EventLog:
        return memory_log(run)


class Good:
    """A log without a fault, which lasts: its disk is a dict of lines, by run."""

    dropped: Any = 0

    def __init__(self, disk: dict[str, list[bytes]], run: RunInfo) -> None:
        self.disk = disk.setdefault(run.run_id, [])
        self.events: list[Any] = [event_from_json(line) for line in self.disk]
        self.keys = {event_key(event) for event in self.events} - {None}
        self.writing = anyio.Lock()

    def append(self, event: Any, /) -> Any:
        if (key := event_key(event)) in self.keys:
            return False
        self.keys |= {key} - {None}
        event.seq = len(self.events) + 1
        self.events.append(event)
        return True

    async def flush(self) -> None:
        async with self.writing:
            lines = [event.to_json() for event in self.events[len(self.disk) :]]
            await self.write(lines)

    async def write(self, lines: list[bytes]) -> None:
        await checkpoint()
        self.disk += lines
        await checkpoint()

    def after(self, seq: int, /, most: int | None = None) -> Any:
        return self.events[seq:][:most]


class Kit(EventLogConformance):
    """The tests of the contract, to be called one by one."""

    __test__ = False
    lasts = True
    patience = 2.0

    def __init__(self, cls: Any = Good) -> None:
        self.cls = cls
        self.disk: dict[str, list[bytes]] = {}

    def make_log(self, run: RunInfo) -> Any:
        return self.cls(self.disk, run)


class TestGood(EventLogConformance):
    lasts = True

    @pytest.fixture(autouse=True)
    def new_disk(self) -> None:
        self.disk: dict[str, list[bytes]] = {}

    def make_log(self, run: RunInfo) -> EventLog:
        return Good(self.disk, run)


class LeavesOutDeltas(Good):
    """No fault: what a message has is not kept beside it."""

    number = 0

    def append(self, event: Any, /) -> Any:
        self.number += 1
        if event_key(event) is not None:
            self.events.append(event)
        event.seq = self.number
        return True

    def after(self, seq: int, /, most: int | None = None) -> Any:
        return [event for event in self.events if event.seq > seq][:most]

    async def flush(self) -> None:
        await checkpoint()


class TestLeavesOutDeltas(EventLogConformance):
    def make_log(self, run: RunInfo) -> EventLog:
        return LeavesOutDeltas({}, run)


class Bounded(MemoryLog):
    """In memory, which ends with the process."""

    __slots__ = ()

    def __init__(self, disk: Any, run: RunInfo) -> None:
        super().__init__(100)


# -- logs that break the contract --------------------------------------------------------------------------------------


class HasNoDropped:
    append = flush = after = None

    def __init__(self, disk: Any, run: RunInfo) -> None: ...


class SaysNothing(Good):
    def append(self, event: Any, /) -> Any:
        super().append(event)


class CountsFromZero(Good):
    def append(self, event: Any, /) -> Any:
        recorded = super().append(event)
        event.seq -= 1
        return recorded


class CountsEachRun(Good):
    def append(self, event: Any, /) -> Any:
        recorded = super().append(event)
        event.seq = len([one for one in self.events if one.run_id == event.run_id])
        return recorded


class KnowsNoKeys(Good):
    def append(self, event: Any, /) -> Any:
        event.cycle = event.cycle or int("first")
        return super().append(event)


class IsAsync(Good):
    async def append(self, event: Any, /) -> Any:
        return super().append(event)


class FlushesAtOnce(Good):
    def flush(self) -> Any: ...


class BlocksInAppend(Good):
    def append(self, event: Any, /) -> Any:
        if event.cycle == 1000:
            threading.Event().wait(0.3)
        return super().append(event)


class BlocksInFlush(Good):
    async def flush(self) -> None:
        threading.Event().wait(0.3)


class Changes(Good):
    def append(self, event: Any, /) -> Any:
        recorded = super().append(event)
        event.time = 0.0
        return recorded


class KnowsAllTypes(Good):
    def append(self, event: Any, /) -> Any:
        if event.type == "unknown":
            raise LookupError(event.name)
        return super().append(event)


class KnowsAllFields(Good):
    def __init__(self, disk: Any, run: RunInfo) -> None:
        _run_id, _agent, _model, _session_id = dataclasses.astuple(run)
        super().__init__(disk, run)


class ShowsWhatLasts(Good):
    def after(self, seq: int, /, most: int | None = None) -> Any:
        return self.events[: len(self.disk)][seq:][:most]


class GivesAnIterator(Good):
    def after(self, seq: int, /, most: int | None = None) -> Any:
        return iter(super().after(seq, most))


class ReadsBackwards(Good):
    def after(self, seq: int, /, most: int | None = None) -> Any:
        return super().after(seq, most)[::-1]


class IncludesTheFirst(Good):
    def after(self, seq: int, /, most: int | None = None) -> Any:
        return super().after(max(seq - 1, 0), most)


class GivesTheLast(Good):
    def after(self, seq: int, /, most: int | None = None) -> Any:
        events = super().after(seq)
        return events[-most:] if most else events


class ForgetsResults(Good):
    def after(self, seq: int, /, most: int | None = None) -> Any:
        return [event for event in super().after(seq) if event.type != "tool_finished"][:most]


class GivesItsOwnList(Good):
    def after(self, seq: int, /, most: int | None = None) -> Any:
        return super().after(seq, most) if seq or (most or 99) < 10 else self.events


class DropsInSilence(Good):
    def after(self, seq: int, /, most: int | None = None) -> Any:
        return [event for event in self.events[-100:] if event.seq > seq][:most]


class SaysDroppedAsText(Good):
    dropped = "0"


class DropsAll(Good):
    @property
    def dropped(self) -> int:  # type: ignore[override]  # it is another one
        return len(self.events)


class SharesItsEvents(Good):
    shared: Any = []  # noqa: RUF012  the fault

    def __init__(self, disk: Any, run: RunInfo) -> None:
        super().__init__(disk, run)
        if "long" not in run.run_id:
            self.events = self.shared


class WritesTwice(Good):
    async def flush(self) -> None:
        lines = [event.to_json() for event in self.events[len(self.disk) :]]
        await self.write(lines)


class CannotBeFlushedTwice(Good):
    flushing = False

    async def flush(self) -> None:
        if self.flushing:
            raise RuntimeError("it is being flushed")
        self.flushing = True
        await checkpoint()
        self.flushing = False


class ForgetsWhatComesMeanwhile(Good):
    written = 0

    async def flush(self) -> None:
        async with self.writing:
            lines = [event.to_json() for event in self.events[self.written :]]
            await self.write(lines)
            self.written = len(self.events)


class LosesWhatWasCancelled(Good):
    written = 0

    async def flush(self) -> None:
        lines = [event.to_json() for event in self.events[self.written :]]
        self.written = len(self.events)
        await self.write(lines)


class Swallows(Good):
    async def write(self, lines: list[bytes]) -> None:
        with suppress(BaseException):
            await super().write(lines)


class StaysLocked(Good):
    async def flush(self) -> None:
        await self.writing.acquire()
        await checkpoint()
        self.writing.release()


class WritesNothing(Good):
    async def flush(self) -> None: ...


class BeginsAnew(Good):
    def append(self, event: Any, /) -> Any:
        recorded = super().append(event)
        event.seq -= len(self.disk)
        return recorded


class RecordsAgain(Good):
    def append(self, event: Any, /) -> Any:
        self.keys.clear()
        return super().append(event)


class UsesUpNumbers(Good):
    def append(self, event: Any, /) -> Any:
        if not (recorded := super().append(event)):
            self.events.append(event)
        return recorded


class ForgetsItsKeys(Good):
    def __init__(self, disk: Any, run: RunInfo) -> None:
        super().__init__(disk, run)
        self.keys = set()


class RefusesReasoning(Good):
    def append(self, event: Any, /) -> Any:
        return event.type != "reasoning_delta" and super().append(event)


class HidesFromFollowers(Good):
    def after(self, seq: int, /, most: int | None = None) -> Any:
        if self.events[-1].type in {"run_finished", "run_failed"}:
            return [event for event in super().after(seq) if event.type != "model_finished"][:most]
        return super().after(seq, most)


FAULTS: list[tuple[Any, str, str]] = [
    (HasNoDropped, "test_events_are_numbered_from_one", "has what a log has, and not dropped"),
    (SaysNothing, "test_events_are_numbered_from_one", "append gives True for an event that was not there: None"),
    (CountsFromZero, "test_events_are_numbered_from_one", "event 1 of a run has the seq 1, and not 0: RunStarted"),
    (CountsEachRun, "test_events_are_numbered_from_one", "of a run has the seq .*, and not 1: RunStarted"),
    (KnowsNoKeys, "test_events_are_numbered_from_one", "appending RunStarted.*, it raised ValueError"),
    (IsAsync, "test_appending_waits_for_nothing", "append is not async"),
    (FlushesAtOnce, "test_appending_waits_for_nothing", "flush is async"),
    (BlocksInAppend, "test_appending_waits_for_nothing", r"test_event_log_kit.py:\d+ in append: .*wait.0.3"),
    (BlocksInFlush, "test_appending_waits_for_nothing", r"test_event_log_kit.py:\d+ in flush: .*wait.0.3"),
    (Changes, "test_events_are_left_as_they_are", "an event is left as it is; .* has become .*'time': 0.0"),
    (KnowsAllTypes, "test_what_a_later_becket_tells_does_not_matter", "told by a later becket, it raised LookupError"),
    (KnowsAllFields, "test_what_a_later_becket_tells_does_not_matter", "too many values"),
    (ShowsWhatLasts, "test_what_was_appended_is_there_at_once", "RunStarted.* was appended, and what is there after 0"),
    (GivesAnIterator, "test_what_was_appended_is_there_at_once", "after gives a list of events, and not <list_iter"),
    (ReadsBackwards, "test_events_are_read_from_anywhere_in_their_order", "oldest first, each once, and only those"),
    (IncludesTheFirst, "test_events_are_read_from_anywhere_in_their_order", r"only those after 1: \[1, 2"),
    (GivesTheLast, "test_events_are_read_from_anywhere_in_their_order", r"after.0, 1. gives the first 1 of"),
    (ForgetsResults, "test_events_are_read_from_anywhere_in_their_order", "are not there, and dropped is 0: .ToolFini"),
    (CountsFromZero, "test_events_are_read_from_anywhere_in_their_order", "only those after 0"),
    (GivesItsOwnList, "test_what_was_read_is_the_readers", "after a reader has changed its list: "),
    (DropsInSilence, "test_what_was_dropped_is_said", r"dropped is 0, and the first event that is there is \[2\]"),
    (SaysDroppedAsText, "test_what_was_dropped_is_said", "dropped is a number, and grows: '0'"),
    (DropsAll, "test_what_was_dropped_is_said", "the event 1 was just appended, and dropped is 1"),
    (SharesItsEvents, "test_runs_are_kept_apart", "one of three runs at once: "),
    (CannotBeFlushedTwice, "test_flushing_loses_nothing", "it raised RuntimeError.'it is being flushed'"),
    (WritesTwice, "test_flushing_loses_nothing", "flushed by several tasks at once, made anew: "),
    (
        ForgetsWhatComesMeanwhile,
        "test_what_is_appended_during_a_flush_is_not_lost",
        "appended at the wait 2 of a flush, made",
    ),
    (LosesWhatWasCancelled, "test_a_cancelled_flush_loses_nothing", "cancelled at its wait 1, made anew: 4 events"),
    (Swallows, "test_a_cancelled_flush_loses_nothing", "a flush, cancelled at its wait 1, it went on to its end"),
    (
        StaysLocked,
        "test_a_cancelled_flush_loses_nothing",
        "flushed after a flush that was cancelled at .* held Lock",
    ),
    (WritesNothing, "test_what_was_flushed_lasts", "a run of the scenario 'tools', made anew: .* events were appended"),
    (BeginsAnew, "test_what_was_flushed_lasts", "the next event has the seq .*, and not 1"),
    (RecordsAgain, "test_an_event_is_recorded_once", "appended again: RunStarted.* is there, and append gives True"),
    (UsesUpNumbers, "test_an_event_is_recorded_once", "appended again: "),
    (ForgetsItsKeys, "test_an_event_is_recorded_once", "to a log made anew: RunStarted.* append gives True"),
    (RefusesReasoning, "test_a_run_is_as_without_it", "scenario 'reasoning' has other events with it than without"),
    (HidesFromFollowers, "test_a_run_is_as_without_it", "text: who comes back after 0 reads"),
]


async def held(kit: Any, rule: str) -> None:
    """Make a test, as pytest does."""
    await getattr(kit, rule)()


@pytest.mark.parametrize(("cls", "rule", "said"), FAULTS)
async def test_a_log_that_breaks_the_contract_is_found(cls: Any, rule: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        await held(Kit(cls), rule)


def test_every_test_of_the_contract_finds_a_fault() -> None:
    assert {rule for _, rule, _ in FAULTS} == set(rules_of(EventLogConformance))


async def test_what_ends_with_the_process_need_not_last() -> None:
    kit = Kit(Bounded)
    kit.lasts = False
    for rule in ("test_what_was_flushed_lasts", "test_an_event_is_recorded_once"):
        with pytest.raises(unittest.SkipTest, match="the log ends with the process"):
            await held(kit, rule)


@pytest.mark.parametrize("rule", [*rules_of(EventLogConformance)])
async def test_a_log_that_says_what_it_drops_passes(rule: str) -> None:
    kit = Kit(Bounded)
    kit.lasts = False
    with suppress(unittest.SkipTest):
        await held(kit, rule)


async def test_a_class_that_does_not_say_what_is_tested_fails() -> None:
    with pytest.raises(NotImplementedError, match="define make_log"):
        EventLogConformance().make_log(None)  # type: ignore[arg-type]  # nothing is made
