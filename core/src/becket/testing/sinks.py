"""The contract of event sinks as tests, which the tests of a sink inherit."""

from __future__ import annotations

import functools
import inspect
import re
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias, get_args

import anyio
import anyio.to_thread

from becket.agent import Agent
from becket.errors import ConfigError
from becket.events import ModelFinished, PluginFailed, TextDelta
from becket.runtime import Runtime
from becket.sinks import BatchSinkRun, Overflow, Sink, SinkRun
from becket.testing._blocking import kept_at
from becket.testing._calling import backends, cancelled_at
from becket.testing._contract import Contract, missing, must, not_looked_at
from becket.testing._model_calls import as_failures
from becket.testing._runs import ENDING, Run, unknown, whole_run
from becket.testing._watch import Watch
from becket.testing.fakes import ScriptedProvider
from becket.testing.scenarios import Scenarios

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from becket.events import Event
    from becket.sinks import RunInfo
    from becket.testing.fakes import Step

__all__ = ["SinkConformance"]

_Observer: TypeAlias = SinkRun | BatchSinkRun

BURST: Final = 2000
"""Deltas of a burst: many times what a run keeps for a reader that is behind."""

_BATCH: Final = 64


class SinkConformance(Contract):
    """What every event sink must do, as tests.

    Subclass it in a test file, and say how a sink is made, and what it has recorded::

        class TestMySink(SinkConformance):
            @pytest.fixture(autouse=True)
            def folder(self, tmp_path):
                self.path = tmp_path / "events.csv"

            def make_sink(self):
                return MySink(self.path)

            def recorded(self, sink):
                return [int(row[0]) for row in csv.reader(self.path.open())]
    """

    blocks: float = 0.1
    """Seconds for which it may keep the event loop from everything else, in a burst of events."""

    waits: int = 300
    """The most places at which a batch is cancelled, one after the other."""

    patience: float = 10.0
    """Seconds that a run of a few events may take."""

    def make_sink(self) -> Sink:
        """The sink under test, which has seen nothing yet."""
        raise missing(self, "make_sink")

    def recorded(self, sink: Sink) -> Sequence[int] | None:  # noqa: ARG002  for those that record
        """The `seq` of each event that the sink has taken in, in its order; None for one that cannot tell."""
        return None

    # -- what is said of it --------------------------------------------------------------------------------------------

    def test_it_is_named(self) -> None:
        """A name that can stand before a colon, and whether a run must fail without it."""
        sink = self._sink()
        must(re.fullmatch(r"[A-Za-z0-9_-]+", sink.name), f"the name {sink.name!r} has letters, digits, '-' and '_'")
        must(isinstance(sink.required, bool), f"required is True or False, not {sink.required!r}")

    def test_an_argument_is_taken_or_refused_in_words(self) -> None:
        """`with_argument` gives a sink, or raises a `ConfigError` that says which sink it is."""
        sink = self._sink()
        try:
            made: object = sink.with_argument("an-argument")
        except ConfigError as error:
            must(sink.name in str(error), f"the ConfigError says which sink it is ({sink.name!r}): {error}")
            return
        except Exception as error:
            raise AssertionError(f"an argument that is not taken is a ConfigError, not {error!r}") from error
        must(isinstance(made, Sink), f"with_argument gives a sink: {made!r}")

    async def test_it_opens_an_observer(self) -> None:
        """`open` gives one that takes events one by one, or in batches behind a queue."""
        run = await whole_run("text")
        observer: object = self._sink().open(run.info)
        if isinstance(observer, BatchSinkRun):
            limit: object = observer.limit
            must(isinstance(limit, int) and limit > 0, f"limit is a number above 0: {limit!r}")
            overflow = observer.overflow
            must(overflow in get_args(Overflow), f"overflow is one of {', '.join(get_args(Overflow))}: {overflow!r}")
            for name in ("emit_batch", "aclose"):
                must(inspect.iscoroutinefunction(getattr(observer, name)), f"{name} is async")
            await observer.aclose()
        else:
            must(isinstance(observer, SinkRun), f"open gives a SinkRun or a BatchSinkRun: {observer!r}")
            must(not inspect.iscoroutinefunction(observer.emit), "emit is not async: write emit_batch for that")  # type: ignore[attr-defined]  # as looked at
            observer.close()  # type: ignore[attr-defined]  # as above

    # -- events --------------------------------------------------------------------------------------------------------

    async def test_it_takes_every_event(self) -> None:
        """Runs of all kinds, one after the other: nothing is raised, and what is shown is left as it is."""
        sink = self._sink()
        for name in ENDING:
            run = await whole_run(name)
            before = [event.to_json() for event in run.events]
            await self._show(sink, run.info, run.events, f"a run of the scenario {name!r}")
            for event, json in zip(run.events, before, strict=True):
                must(event.to_json() == json, f"an event is left as it is; {json!r} has become {event.to_json()!r}")

    async def test_what_a_later_becket_tells_does_not_matter(self) -> None:
        """Events of a type that it does not know, and a `RunInfo` with more fields, are no failure."""
        run = await whole_run("text")
        first, *rest = run.events
        await self._show(self._sink(), run.later, [first, unknown(run), *rest], "told by a later becket")

    async def test_a_run_may_end_at_any_event(self) -> None:
        """A sink that was switched off sees no terminal event, and one that is opened may see none at all."""
        run = await whole_run("tools")
        sink = self._sink()
        for number in range(len(run.events)):
            await self._show(sink, run.info, run.events[:number], f"closed after {number} events")

    async def test_runs_are_observed_at_once(self) -> None:
        """A sink serves any number of runs, whose events come one among the other."""
        sink, runs = self._sink(), [await whole_run(name) for name in ("nested", "text", "nested")]
        with as_failures("three runs at once"):
            async with self._observing(sink, runs) as observers:
                for number in range(max(len(run.events) for run in runs)):
                    for run, observer in zip(runs, observers, strict=True):
                        await _emit(observer, run.events[number : number + 1])

    async def test_a_burst_does_not_hold_up_the_event_loop(self) -> None:
        """A model that says much at once: an observer must not block, be it with an event or with a batch."""

        async def run() -> None:
            with anyio.fail_after(6 * self.patience):
                await _agent(self._sink()).invoke_async("Go on.")

        found = await kept_at(self.blocks, run)
        must(
            not found,
            f"it keeps the event loop from everything else for more than {self.blocks:g} s, at {found}; "
            f"do what takes long in emit_batch, in a thread (anyio.to_thread.run_sync)",
        )

    async def test_a_burst_is_not_lost_silently(self) -> None:
        """It has taken in every event, in order; what may be dropped is dropped by `overflow`, and said."""
        sink = self._sink()
        with anyio.fail_after(6 * self.patience):
            run = await whole_run("Go on.", _agent(sink))
        recorded = self.recorded(sink)
        if recorded is None:
            not_looked_at("say in `recorded` what the sink has taken in, so that it can be looked at what it loses")
        observer = sink.open(run.info)
        drops = isinstance(observer, BatchSinkRun) and observer.overflow != "block"
        await _close(observer)
        taken, shown = list(recorded), [event.seq for event in run.events]
        must(taken == sorted(taken), "events are taken in in their order")
        lost = sorted({*shown} - {*taken})
        must(
            drops or not lost,
            f"of {len(shown)} events in a burst it has lost {len(lost)}, and said nothing: {lost[:5]} ...; let the run "
            f"wait with overflow = 'block', or have core say what is lost with 'drop_oldest'",
        )

    # -- in a run ------------------------------------------------------------------------------------------------------

    async def test_a_run_is_as_without_it(self) -> None:
        """It observes and never alters: the events are the same, and none says that it has failed."""
        for name in ENDING:
            agent = Scenarios().agent
            alone = await whole_run(name, agent)
            with anyio.fail_after(self.patience):
                observed = await whole_run(name, agent.replace(sinks=[self._sink()]))
            failed = [event.error for event in observed.events if isinstance(event, PluginFailed)]
            must(not failed, f"it fails in a run of the scenario {name!r}: {failed}")
            same = Counter(event.type for event in alone.events) == Counter(event.type for event in observed.events)
            must(same, f"a run of the scenario {name!r} has other events with it than without it")

    async def test_a_cancelled_batch_ends(self) -> None:
        """Wherever the cancellation arrives: it goes through, and the observer can be closed."""
        run = await whole_run("text")
        if not isinstance(observer := self._sink().open(run.info), BatchSinkRun):
            observer.close()
            not_looked_at("it takes events one by one, and does not wait")
        await observer.aclose()
        with Watch() as watch:
            wait, reached = 1, True
            while reached and wait <= self.waits:
                reached = await self._cancelled(run, wait)
                await watch.check_all(f"closed, when a batch was cancelled at its wait {wait}")
                wait += 1

    async def _cancelled(self, run: Run, wait: int) -> bool:
        observer: Any = self._sink().open(run.info)
        try:
            return await cancelled_at(wait, lambda: observer.emit_batch(run.events), "a batch")
        finally:
            with as_failures("closed after a batch that was cancelled"):
                await observer.aclose()

    async def test_it_serves_one_event_loop_after_the_other(self) -> None:
        """What it keeps, such as a connection, is not bound to the event loop of its first run."""
        run, sink = await whole_run("text"), self._sink()
        for backend in backends():
            work = functools.partial(anyio.run, self._show, sink, run.info, run.events, backend=backend)
            with as_failures("in one event loop after the other"):
                await anyio.to_thread.run_sync(work)

    # -- how the tests use it ------------------------------------------------------------------------------------------

    def _sink(self) -> Sink:
        sink: object = self.make_sink()
        must(isinstance(sink, Sink), f"{sink!r} has what a sink has: see becket.Sink")
        return sink  # type: ignore[return-value]  # looked at

    async def _show(self, sink: Sink, info: RunInfo, events: Sequence[Event], when: str = "a run") -> None:
        with as_failures(when), anyio.fail_after(self.patience):
            observer = sink.open(info)
            for number in range(0, len(events), _BATCH):
                await _emit(observer, events[number : number + _BATCH])
            await _close(observer)

    @asynccontextmanager
    async def _observing(self, sink: Sink, runs: Iterable[Run]) -> AsyncIterator[list[_Observer]]:
        observers = [sink.open(run.info) for run in runs]
        yield observers
        for observer in observers:
            await _close(observer)


async def _emit(observer: _Observer, events: Sequence[Event]) -> None:
    if isinstance(observer, BatchSinkRun):
        if events:
            await observer.emit_batch(events)
    else:
        for event in events:
            observer.emit(event)


async def _close(observer: _Observer) -> None:
    if isinstance(observer, BatchSinkRun):
        await observer.aclose()
    else:
        observer.close()


def _agent(sink: Sink) -> Agent:
    """One that says much at once."""
    script: list[Step] = [*(TextDelta("word ") for _ in range(BURST)), ModelFinished("end_turn")]
    return Agent(ScriptedProvider(script), sinks=[sink], runtime=Runtime(discover=False))
