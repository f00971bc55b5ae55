"""The sinks of a run: what they see and when, how they are switched off, how they are closed."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from becket import (
    Agent,
    BatchSinkRun,
    ConfigError,
    Event,
    ModelFinished,
    PluginError,
    PluginFailed,
    RunFailed,
    RunFinished,
    RunStarted,
    Runtime,
    Sink,
    SinkRun,
    TextDelta,
    tool,
)
from becket.testing import BatchListSink, ListSink, ScriptedProvider, calls, text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

pytestmark = pytest.mark.anyio

RUNTIME = Runtime(discover=False)


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """What hangs is given up soon."""
    monkeypatch.setattr("becket._driver.GRACE", 0.2)


def agent_of(*sinks: Sink, script: Any = None, **options: Any) -> Agent:
    provider = ScriptedProvider(text("one", "two", "three", "four") if script is None else script, text("done"))
    return Agent(provider, options.pop("tools", ()), sinks=sinks, runtime=RUNTIME, **options)


async def read(agent: Agent, into: list[Event] | None = None) -> list[Event]:
    events: list[Event] = [] if into is None else into
    with anyio.fail_after(20):
        async with agent.stream_async("go") as stream:
            async for event in stream:
                events.append(event)  # noqa: PERF401  what was read stays where the run fails
    return events


def failing(wanted: Callable[[int], bool], error: Exception | None = None) -> Callable[[Any], None]:
    """Fails at the calls whose number is wanted."""
    seen = 0

    def fail(_: Any) -> None:
        nonlocal seen
        seen += 1
        if wanted(seen):
            raise error or ValueError(f"call {seen}")

    return fail


def afailing(wanted: Callable[[int], bool]) -> Callable[[Any], Any]:
    fail = failing(wanted)

    async def work(events: Any) -> None:
        await anyio.lowlevel.checkpoint()
        fail(events)

    return work


def failures(events: Sequence[Event]) -> list[tuple[str, str, str]]:
    return [(event.plugin, event.hook, event.error) for event in events if isinstance(event, PluginFailed)]


def errors_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log has, without the reason at the end of a line that says where something failed."""
    return [
        re.sub(r"(failed in \w+): .*", r"\1", record.getMessage(), flags=re.DOTALL)
        for record in caplog.records
        if record.levelno >= logging.WARNING
    ]


# -- what they see -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sink", [ListSink(), BatchListSink(), BatchListSink(limit=1)])
async def test_a_sink_sees_every_event_once_and_in_order(sink: ListSink | BatchListSink) -> None:
    sink = type(sink)() if isinstance(sink, ListSink) else BatchListSink(limit=sink.limit)
    events = await read(agent_of(sink))
    assert sink.types == [event.type for event in events]
    assert (len(sink.opened), sink.closed) == (1, 1)
    assert (sink.opened[0].run_id, sink.opened[0].agent, sink.opened[0].model) == (
        events[0].run_id,
        "agent",
        "scripted:model",
    )


async def test_the_fakes_are_sinks() -> None:
    assert isinstance(ListSink(), Sink)
    assert isinstance(ListSink(), SinkRun)
    assert isinstance(BatchListSink(), Sink)
    assert isinstance(BatchListSink(), BatchSinkRun)
    for sink in (ListSink("fake"), BatchListSink("fake")):
        with pytest.raises(ConfigError, match="the sink 'fake' takes no argument, and was given 'x'"):
            sink.with_argument("x")


async def test_a_sink_sees_an_event_before_the_reader() -> None:
    sink = ListSink()
    async with agent_of(sink).stream_async("go") as stream:
        async for event in stream:
            assert event in sink.events


async def test_a_sink_sees_the_whole_event() -> None:
    """Stamped, so that it can be recorded as it is."""
    sink = ListSink()
    await read(agent_of(sink))
    assert [event.seq for event in sink.events] == list(range(1, len(sink.events) + 1))
    assert all(event.run_id and event.time for event in sink.events)


async def test_a_sink_sees_the_end_of_a_run_that_is_cancelled() -> None:
    direct, batch = ListSink(), BatchListSink()
    async with agent_of(direct, batch, script=[TextDelta("a"), anyio.sleep_forever]).stream_async("go") as stream:
        async for event in stream:
            if isinstance(event, TextDelta):
                break
    assert direct.types[-1] == batch.types[-1] == "run_finished"
    assert (direct.closed, batch.closed) == (1, 1)


# -- failing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [lambda n: n == 2, lambda n: n % 2 == 0, lambda n: n % 3 != 0])
async def test_a_sink_that_recovers_is_kept(wanted: Any, caplog: pytest.LogCaptureFixture) -> None:
    """One failure, alternating failures, and two in a row again and again."""
    sink, other = ListSink(fail=failing(wanted)), ListSink("other")
    events = await read(agent_of(sink, other))
    assert sink.types == [event.type for number, event in enumerate(events, 1) if not wanted(number)]
    assert other.types == [event.type for event in events]
    assert failures(events) == []
    assert sink.closed == 1


async def test_the_first_failure_of_a_sink_is_a_warning_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """It goes on, and what it has recorded is wrong: its author must be able to see why."""
    await read(agent_of(ListSink(fail=failing(lambda n: n == 2))))
    (record,) = [record for record in caplog.records if record.name == "becket"]
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "sink 'list' failed in emit: ValueError: call 2; it goes on, and lacks what it was shown then"
    )
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "call 2"


@pytest.mark.parametrize(
    "sink",
    [
        lambda: ListSink("broken", fail=failing(lambda n: n in {2, 4, 6})),
        lambda: BatchListSink("broken", limit=1, work=afailing(lambda n: n in {2, 4, 6})),
    ],
)
async def test_further_failures_of_a_sink_are_counted(sink: Any, caplog: pytest.LogCaptureFixture) -> None:
    """And are in the log at the level debug: a sink that fails at every other event would fill it."""
    caplog.set_level(logging.DEBUG, "becket")
    await read(agent_of(sink()))
    levels = [record.levelno for record in caplog.records if record.name == "becket"]
    assert levels == [logging.WARNING, logging.DEBUG, logging.DEBUG, logging.WARNING]
    assert errors_in(caplog)[-1] == "sink 'broken' failed 3 times in this run"


async def test_three_failures_in_a_row_switch_a_sink_off_and_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    sink, other = ListSink(fail=failing(lambda n: n > 1)), ListSink("other")
    events = await read(agent_of(sink, other))
    assert sink.types == ["run_started"]
    assert failures(events) == failures(other.events) == [("list", "sink.emit", "ValueError: call 4")]
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage().startswith("sink 'list' is switched off for this run, it failed in emit: ValueError: ")
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "call 4"
    assert (sink.closed, other.closed) == (1, 1)


async def test_three_batches_in_a_row_that_fail_switch_a_sink_off(caplog: pytest.LogCaptureFixture) -> None:
    sink = BatchListSink(limit=1, work=afailing(lambda n: n > 1))
    events = await read(agent_of(sink))
    assert len(sink.batches) == 1
    assert failures(events) == [("batches", "sink.emit_batch", "ValueError: call 4")]
    assert errors_in(caplog) == [
        "sink 'batches' failed in emit_batch",
        "sink 'batches' is switched off for this run, it failed in emit_batch",
    ]
    assert sink.closed == 1


async def test_a_batch_sink_that_recovers_is_kept() -> None:
    sink = BatchListSink(limit=1, work=afailing(lambda n: n % 3 != 0))
    events = await read(agent_of(sink))
    assert failures(events) == []
    assert sink.batches


async def test_one_that_is_switched_off_at_the_very_end_is_said_in_the_log_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing may follow the terminal event."""
    last = len(await read(agent_of()))
    sink = ListSink(fail=failing(lambda n: n > last - 3))
    events = await read(agent_of(sink))
    assert isinstance(events[-1], RunFinished)
    assert failures(events) == []
    assert errors_in(caplog) == [
        "sink 'list' failed in emit",
        "sink 'list' is switched off for this run, it failed in emit",
    ]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # on trio nobody but a scope can make a Cancelled
async def test_a_cancellation_of_the_sinks_own_making_is_a_failure_like_any_other() -> None:
    """Else its task would end in silence, and a run that waits for it would wait for ever."""

    async def work(_: Any) -> None:
        raise asyncio.CancelledError

    async def end() -> None:
        raise asyncio.CancelledError

    sink = BatchListSink(limit=1, work=work, end=end)
    events = await read(agent_of(sink))
    assert failures(events) == [("batches", "sink.emit_batch", "CancelledError: ")]
    assert sink.closed == 1


async def test_a_system_exit_of_a_sink_is_a_failure_like_any_other() -> None:
    def leave(_: Event) -> None:
        raise SystemExit(3)

    events = await read(agent_of(ListSink(fail=leave)))
    assert failures(events) == [("list", "sink.emit", "SystemExit: 3")]


class Opening(ListSink):
    """Its `open` returns or raises what it is told to."""

    def __init__(self, given: Any, *, required: bool = False) -> None:
        super().__init__("opening", required=required)
        self.given = given

    def open(self, run: Any, /) -> Any:
        if isinstance(self.given, BaseException):
            raise self.given
        return self.given() if callable(self.given) else self.given


class AsyncEmit:
    async def emit(self, event: Event) -> None: ...

    def close(self) -> None: ...


async def opens_slowly() -> ListSink:
    raise AssertionError


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (ValueError("no disk"), "ValueError: no disk"),
        (SystemExit("no disk"), "SystemExit: no disk"),
        (None, "open() returned None, which is neither a SinkRun (emit and close, not async) nor a BatchSinkRun"),
        (opens_slowly, "open() returned <coroutine object opens_slowly"),
        (AsyncEmit(), "which is neither a SinkRun (emit and close, not async)"),
        (BatchListSink(limit=0), "its limit is 0 and its overflow 'block'; the limit must be 1 or above"),
        (BatchListSink(overflow="spill"), "overflow 'spill'; the limit must be 1 or above, and the overflow one of:"),  # type: ignore[arg-type]
    ],
)
async def test_a_sink_that_cannot_be_opened_is_left_out(given: Any, why: str, caplog: pytest.LogCaptureFixture) -> None:
    other = ListSink()
    events = await read(agent_of(Opening(given), other))
    assert isinstance(events[-1], RunFinished)
    ((name, hook, error),) = failures(events)
    assert (name, hook) == ("opening", "sink.open")
    assert why in error
    assert errors_in(caplog) == ["sink 'opening' is switched off for this run, it failed in open"]
    assert other.types == [event.type for event in events]


class Stuck(ListSink):
    """Fails to close."""

    def close(self) -> None:
        super().close()
        raise ValueError("cannot close")


async def test_a_sink_that_fails_to_close_is_said_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def end() -> None:
        raise ValueError("cannot close")

    direct, batch, other = Stuck("direct"), BatchListSink("batch", end=end), ListSink()
    events = await read(agent_of(direct, batch, other))
    assert isinstance(events[-1], RunFinished)
    why = "could not be closed: ValueError: cannot close"
    assert errors_in(caplog) == [f"sink 'direct' {why}", f"sink 'batch' {why}"]
    assert (direct.closed, batch.closed, other.closed) == (1, 1, 1)


# -- required ----------------------------------------------------------------------------------------------------------


async def test_a_required_sink_that_cannot_be_opened_fails_the_run_before_the_model_is_asked() -> None:
    first, last, events = ListSink("first"), BatchListSink("last"), list[Event]()
    cause = OSError("no disk")
    with pytest.raises(PluginError) as caught:
        await read(agent_of(first, Opening(cause, required=True), Opening(cause, required=True), last), events)
    assert str(caught.value) == (
        "the sink 'opening' is required and failed in open: OSError: no disk; "
        "mend it, or run without it where its record is not needed"
    )
    assert caught.value.__cause__ is cause
    assert (caught.value.plugin, caught.value.hook) == ("opening", "sink.open")
    assert [event.type for event in events] == ["run_started", "run_failed"] == first.types == last.types
    assert (first.closed, last.closed) == (1, 1)


async def test_a_required_sink_that_fails_once_fails_the_run_and_the_others_see_it_all() -> None:
    required = ListSink("required", required=True, fail=failing(lambda n: n == 5))
    before, after, events = ListSink("before"), ListSink("after"), list[Event]()
    with pytest.raises(PluginError, match="the sink 'required' is required and failed in emit: ValueError: call 5"):
        await read(agent_of(before, required, after), events)
    assert isinstance(events[-1], RunFailed)
    assert events[-1].error.plugin == "required"
    assert before.types == after.types == [event.type for event in events]
    assert (before.closed, required.closed, after.closed) == (1, 1, 1)


async def test_a_required_sink_that_fails_on_a_batch_fails_the_run() -> None:
    required, events = BatchListSink(required=True, limit=1, work=afailing(lambda n: n == 2)), list[Event]()
    with pytest.raises(PluginError, match="is required and failed in emit_batch: ValueError: call 2"):
        await read(agent_of(required), events)
    assert isinstance(events[-1], RunFailed)
    assert required.closed == 1


async def test_a_required_sink_whose_queue_overflows_fails_the_run() -> None:
    async def hang(_: Any) -> None:
        await anyio.sleep_forever()

    required = BatchListSink(required=True, limit=1, overflow="disable", work=hang)
    with pytest.raises(PluginError, match="BufferError: it is too slow: its queue of 1 events is full"):
        await read(agent_of(required))
    assert required.closed == 1


# -- overflow ----------------------------------------------------------------------------------------------------------


async def test_a_sink_that_blocks_holds_the_run_up_and_loses_nothing() -> None:
    """The model stands still while the sink is busy."""
    release, produced = anyio.Event(), list[int]()

    async def work(_: Any) -> None:
        await release.wait()

    def script(_: Any) -> Any:
        for number in range(100):
            produced.append(number)
            yield TextDelta(str(number))
        yield ModelFinished("end_turn")

    sink, events = BatchListSink(limit=4, work=work), list[Event]()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read, agent_of(sink, script=script), events)
        await anyio.wait_all_tasks_blocked()
        assert len(produced) < 10
        release.set()
    assert len(produced) == 100
    assert sink.types == [event.type for event in events]


async def test_several_tools_that_wait_for_one_sink_all_go_on() -> None:
    async def work(_: Any) -> None:
        await anyio.lowlevel.checkpoint()

    async def steps() -> AsyncIterator[int]:
        for number in range(20):
            yield number

    tools = [tool(steps, name=f"steps{number}") for number in range(4)]
    sink = BatchListSink(limit=1, work=work)
    events = await read(agent_of(sink, script=calls(*((item.name, {}) for item in tools)), tools=tools))
    assert len([event for event in events if event.type == "tool_progress"]) == 80
    assert sink.types == [event.type for event in events]


async def test_a_sink_may_lose_its_oldest_events(caplog: pytest.LogCaptureFixture) -> None:
    done = anyio.Event()

    async def work(_: Any) -> None:
        await done.wait()

    sink, events = BatchListSink(limit=3, overflow="drop_oldest", work=work), list[Event]()
    async with agent_of(sink).stream_async("go") as stream:
        async for event in stream:
            events.append(event)
            if isinstance(event, RunFinished):
                done.set()
    seen = [event for batch in sink.batches for event in batch]
    assert seen[-3:] == events[-3:]
    assert len(seen) < len(events)
    assert errors_in(caplog) == [f"sink 'batches' was too slow: {len(events) - len(seen)} events were dropped"]
    assert sink.closed == 1


async def test_a_sink_may_be_switched_off_when_it_is_too_slow(caplog: pytest.LogCaptureFixture) -> None:
    async def work(_: Any) -> None:
        await anyio.sleep_forever()

    sink = BatchListSink(limit=3, overflow="disable", work=work)
    events = await read(agent_of(sink))
    assert failures(events) == [
        ("batches", "sink.emit_batch", "BufferError: it is too slow: its queue of 3 events is full")
    ]
    assert "sink 'batches' is switched off for this run, it failed in emit_batch" in errors_in(caplog)
    assert sink.closed == 1


# -- hanging -----------------------------------------------------------------------------------------------------------


async def test_a_sink_that_hangs_in_a_batch_is_given_up_and_still_closed(caplog: pytest.LogCaptureFixture) -> None:
    async def work(_: Any) -> None:
        await anyio.sleep_forever()

    sink, other = BatchListSink(limit=64, work=work), BatchListSink("other")
    events = await read(agent_of(sink, other))
    assert isinstance(events[-1], RunFinished)
    assert errors_in(caplog) == ["sink 'batches' took too long to take its last events, and was cancelled"]
    assert (sink.closed, other.closed) == (1, 1)
    assert other.types == [event.type for event in events]


async def test_a_sink_that_hangs_as_it_is_closed_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    sink = BatchListSink(end=anyio.sleep_forever)
    events = await read(agent_of(sink))
    assert sink.types == [event.type for event in events]
    assert errors_in(caplog) == ["sink 'batches' took too long to close, and was cancelled"]


async def test_a_run_whose_sink_is_busy_can_be_cancelled() -> None:
    """It waits for room in the sink's queue; the cancellation reaches it there."""

    async def work(_: Any) -> None:
        await anyio.sleep_forever()

    sink, last = BatchListSink(limit=1, work=work), list[Event]()
    with anyio.fail_after(20):
        async with agent_of(sink).stream_async("go") as stream:
            async for event in stream:
                last.append(event)
                if isinstance(event, RunStarted):
                    await anyio.wait_all_tasks_blocked()
                    stream.cancel()
    assert isinstance(last[-1], RunFinished)
    assert last[-1].result.stop_reason == "cancelled"
    assert sink.closed == 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the loop itself cancels tasks on asyncio alone
async def test_a_sink_is_closed_where_the_loop_is_shut_down() -> None:
    sink = BatchListSink()

    async def host() -> None:
        stream = agent_of(sink, script=[TextDelta("a"), anyio.sleep_forever]).stream_async("go")
        kept.append(stream)
        async for event in stream:
            if isinstance(event, TextDelta):
                return

    kept: list[Any] = []
    await anyio.to_thread.run_sync(lambda: asyncio.run(host()))
    assert sink.closed == 1


@pytest.mark.anyio
@pytest.mark.parametrize("method", ["emit_batch", "aclose"])
async def test_a_batch_sink_that_is_not_async_is_told_so_when_it_is_opened(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    sink = BatchListSink()
    setattr(sink, method, lambda *_: None)
    agent = Agent(ScriptedProvider(text("x")), sinks=[sink], runtime=Runtime(discover=False))
    assert (await agent.invoke_async("go")).text == "x"
    assert f"failed in open: ProtocolError: its {method} is not async; write async def {method}" in caplog.text
