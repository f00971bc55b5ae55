"""The tests of the contract of sinks find every way to break it, and say what is wrong."""

from __future__ import annotations

import dataclasses
import threading
import unittest
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from becket import ConfigError
from becket.testing import BatchListSink, ListSink, SinkConformance
from becket.testing._contract import rules_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from becket import Event, RunInfo, Sink

pytestmark = pytest.mark.anyio


class TestListSink(SinkConformance):
    def make_sink(self) -> Sink:
        return ListSink()

    def recorded(self, sink: Any) -> Sequence[int]:
        return [event.seq for event in sink.events]


class TestBatchListSink(SinkConformance):
    def make_sink(self) -> Sink:
        return BatchListSink(work=lambda _: checkpoint())

    def recorded(self, sink: Any) -> Sequence[int]:
        return [event.seq for batch in sink.batches for event in batch]


class TestSinkThatMayDrop(SinkConformance):
    def make_sink(self) -> Sink:
        return BatchListSink(overflow="drop_oldest", limit=8)

    def recorded(self, sink: Any) -> Sequence[int]:
        return [event.seq for batch in sink.batches for event in batch]


# -- sinks that break the contract -------------------------------------------------------------------------------------


class Named(ListSink):
    def __init__(self) -> None:
        super().__init__("a:b")


class Vague(ListSink):
    def __init__(self) -> None:
        super().__init__(required="maybe")  # type: ignore[arg-type]


class TakesTheArgumentForGranted(ListSink):
    def with_argument(self, argument: str, /) -> Any:
        return int(argument)


class RefusesWithoutAWord(ListSink):
    def with_argument(self, argument: str, /) -> Any:
        raise ConfigError(f"{argument!r} is none")


class ForgetsToReturn(ListSink):
    def with_argument(self, argument: str, /) -> Any: ...


class OpensNothing(ListSink):
    def open(self, run: RunInfo, /) -> Any: ...


class OpensAnAsyncOne(ListSink):
    async def emit(self, event: Event, /) -> None:  # type: ignore[override]
        self.events.append(event)


class HasNoQueue(BatchListSink):
    def __init__(self) -> None:
        super().__init__(limit=0)


class OverflowsSomehow(BatchListSink):
    def __init__(self) -> None:
        super().__init__(overflow="drop_newest")  # type: ignore[arg-type]


class BatchesAtOnce(BatchListSink):
    def emit_batch(self, events: Sequence[Event], /) -> Any:
        self.batches.append(list(events))


class WantsText(ListSink):
    def emit(self, event: Any, /) -> None:
        if event.type == "tool_started":
            raise KeyError(event.call.tool)
        super().emit(event)


class ChangesEvents(ListSink):
    def emit(self, event: Any, /) -> None:
        if event.type == "text_delta":
            event.text = event.text.upper()
        super().emit(event)


class KnowsAllTypes(ListSink):
    def emit(self, event: Any, /) -> None:
        super().emit(event)
        if event.type == "unknown":
            raise ValueError(f"unexpected: {event.name}")


class KnowsAllFields(ListSink):
    def open(self, run: RunInfo, /) -> ListSink:
        _run_id, _agent, _model, _session = dataclasses.astuple(run)
        return super().open(run)


class WaitsForTheEnd(ListSink):
    def close(self) -> None:
        if self.types[-1:] not in (["run_finished"], ["run_failed"]):
            raise RuntimeError("the run has no end")


class ObservesOneRun(ListSink):
    run: RunInfo | None = None

    def open(self, run: RunInfo, /) -> ListSink:
        if self.run is not None:
            raise RuntimeError("it observes another run")
        self.run = run
        return super().open(run)

    def close(self) -> None:
        self.run = None


class Blocks(BatchListSink):
    async def emit_batch(self, events: Sequence[Event], /) -> None:
        threading.Event().wait(0.5)


class DropsWhatIsTooMuch(ListSink):
    def emit(self, event: Event, /) -> None:
        if len(self.events) < 1000:
            super().emit(event)


class MixesUp(ListSink):
    def emit(self, event: Event, /) -> None:
        self.events.insert(0, event)


class FailsInARun(ListSink):
    def open(self, run: RunInfo, /) -> ListSink:
        if run.agent == "scenarios":
            raise RuntimeError("no")
        return super().open(run)


class Swallows(BatchListSink):
    async def emit_batch(self, events: Sequence[Event], /) -> None:
        with suppress(BaseException):
            await checkpoint()


class CannotBeClosedThen(BatchListSink):
    half = False

    async def emit_batch(self, events: Sequence[Event], /) -> None:
        self.half = True
        await checkpoint()
        self.half = False

    async def aclose(self) -> None:
        if self.half:
            raise RuntimeError("half of a batch was written")


class IsBound(ListSink):
    token: Any = None

    def emit(self, event: Event, /) -> None:
        if self.token not in (None, anyio.lowlevel.current_token()):
            raise RuntimeError("it is bound to another event loop")
        self.token = anyio.lowlevel.current_token()


class Kit(SinkConformance):
    """The tests of the contract, to be called one by one."""

    __test__ = False

    def __init__(self, cls: Any) -> None:
        self.cls = cls

    def make_sink(self) -> Any:
        return self.cls()

    def recorded(self, sink: Any) -> Any:
        return [event.seq for event in sink.events] if isinstance(sink, ListSink) else None


FAULTS: list[tuple[Any, str, str]] = [
    (object, "test_it_is_named", "has what a sink has: see becket.Sink"),
    (Named, "test_it_is_named", "the name 'a:b' has letters"),
    (Vague, "test_it_is_named", "required is True or False, not 'maybe'"),
    (TakesTheArgumentForGranted, "test_an_argument_is_taken_or_refused_in_words", "is a ConfigError, not ValueError"),
    (RefusesWithoutAWord, "test_an_argument_is_taken_or_refused_in_words", "says which sink it is .'list'"),
    (ForgetsToReturn, "test_an_argument_is_taken_or_refused_in_words", "with_argument gives a sink: None"),
    (OpensNothing, "test_it_opens_an_observer", "open gives a SinkRun or a BatchSinkRun: None"),
    (OpensAnAsyncOne, "test_it_opens_an_observer", "emit is not async"),
    (HasNoQueue, "test_it_opens_an_observer", "limit is a number above 0: 0"),
    (OverflowsSomehow, "test_it_opens_an_observer", "overflow is one of block, drop_oldest, disable: 'drop_newest'"),
    (BatchesAtOnce, "test_it_opens_an_observer", "emit_batch is async"),
    (WantsText, "test_it_takes_every_event", "a run of the scenario 'tools', it raised KeyError"),
    (ChangesEvents, "test_it_takes_every_event", "an event is left as it is; .*Hello.* has become .*HELLO"),
    (KnowsAllTypes, "test_what_a_later_becket_tells_does_not_matter", "unexpected: invented_later"),
    (KnowsAllFields, "test_what_a_later_becket_tells_does_not_matter", "it raised ValueError.'too many values"),
    (WaitsForTheEnd, "test_a_run_may_end_at_any_event", "closed after 0 events, it raised RuntimeError"),
    (ObservesOneRun, "test_runs_are_observed_at_once", "three runs at once, it raised RuntimeError"),
    (Blocks, "test_a_burst_does_not_hold_up_the_event_loop", r"test_sink_kit.py:\d+ in emit_batch: .*wait.0.5"),
    (
        DropsWhatIsTooMuch,
        "test_a_burst_is_not_lost_silently",
        r"of 200\d events in a burst it has lost 100\d, and said",
    ),
    (MixesUp, "test_a_burst_is_not_lost_silently", "in their order"),
    (FailsInARun, "test_a_run_is_as_without_it", "it fails in a run of the scenario 'text': .'RuntimeError: no'"),
    (Swallows, "test_a_cancelled_batch_ends", "a batch, cancelled at its wait 1, it went on to its end"),
    (CannotBeClosedThen, "test_a_cancelled_batch_ends", "closed after a batch that was cancelled, it raised"),
    (IsBound, "test_it_serves_one_event_loop_after_the_other", "it is bound to another event loop"),
]


async def held(kit: Any, rule: str) -> None:
    """Make a test, as pytest does."""
    made = getattr(kit, rule)()
    if made is not None:
        await made


@pytest.mark.parametrize(("cls", "rule", "said"), FAULTS)
async def test_a_sink_that_breaks_the_contract_is_found(cls: Any, rule: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        await held(Kit(cls), rule)


def test_every_test_of_the_contract_finds_a_fault() -> None:
    assert {rule for _, rule, _ in FAULTS} == set(rules_of(SinkConformance))


async def test_what_is_lost_is_not_looked_at_where_a_sink_cannot_tell() -> None:
    with pytest.raises(Exception, match="say in `recorded`"):
        await held(Kit(BatchListSink), "test_a_burst_is_not_lost_silently")


async def test_a_sink_that_does_not_wait_is_not_cancelled() -> None:
    with pytest.raises(unittest.SkipTest, match="it takes events one by one"):
        await held(Kit(ListSink), "test_a_cancelled_batch_ends")


async def test_a_sink_without_arguments_that_takes_some_passes() -> None:
    class Taking(ListSink):
        def with_argument(self, argument: str, /) -> ListSink:
            return ListSink(argument)

    await held(Kit(Taking), "test_an_argument_is_taken_or_refused_in_words")


async def test_a_class_that_does_not_say_what_is_tested_fails() -> None:
    with pytest.raises(NotImplementedError, match="define make_sink"):
        SinkConformance().make_sink()
