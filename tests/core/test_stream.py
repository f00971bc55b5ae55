"""The stream's rules and scenarios (docs/stream.md), each on asyncio and on trio."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Iterator  # noqa: TC003  tools' annotations are resolved
from contextvars import ContextVar
from types import ModuleType
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint
from becket import (
    Agent,
    AgentStream,
    Limits,
    Runtime,
    TextDelta,
    ToolContext,
    event_from_json,
    tool,
)
from becket._backend import current_backend
from becket.testing import ListSink, ScriptedProvider, calls, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from becket import Event
    from becket.tools import AnyTool

pytestmark = pytest.mark.anyio

TOOL_CYCLE = [
    "run_started",
    "cycle_started",
    "model_started",
    "tool_call_delta",
    "model_finished",
    "message_added",
    "tool_started",
    "tool_progress",
    "tool_finished",
    "message_added",
    "cycle_finished",
    "cycle_started",
    "model_started",
    "text_delta",
    "text_delta",
    "model_finished",
    "message_added",
    "cycle_finished",
    "run_finished",
]


class Probe:
    """A tool that waits until it is let go, and says how far it got."""

    def __init__(self) -> None:
        self.started = anyio.Event()
        self.release = anyio.Event()
        self.cleaned = anyio.Event()

    def tool(self) -> AnyTool:
        @tool(name="probe")
        async def probe() -> str:
            self.started.set()
            try:
                await self.release.wait()
            finally:
                with anyio.CancelScope(shield=True):
                    await checkpoint()  # clean-up that needs the loop
                self.cleaned.set()
            return "released"

        return probe


@tool
async def report(ctx: ToolContext[None]) -> str:
    """Report progress once."""
    ctx.progress("half")
    await checkpoint()
    return "done"


def make(provider: ScriptedProvider, *tools: AnyTool, sink: ListSink | None = None, **options: Any) -> Agent:
    return Agent(provider, tools, sinks=[sink] if sink else [], runtime=Runtime(discover=False), **options)


def probing(probe: Probe, sink: ListSink | None = None) -> tuple[Agent, ScriptedProvider]:
    provider = ScriptedProvider(calls(("probe", {})), text("done"))
    return make(provider, probe.tool(), sink=sink), provider


def assert_whole(events: list[Event]) -> None:
    """Exactly one terminal event, the last; a `seq` without a gap; every tool call answered exactly once."""
    terminal = [event.type for event in events if event.type in ("run_finished", "run_failed")]
    assert terminal == [events[-1].type]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    messages = [event.message for event in events if event.type == "message_added"]
    for at, message in enumerate(messages):
        if message.tool_calls:
            answered = [block.call_id for block in messages[at + 1].content if block.type == "tool_result"]
            assert answered == [call.id for call in message.tool_calls]


async def test_a_tool_cycle_streams_its_events_in_the_documented_order() -> None:
    agent = make(ScriptedProvider(calls(("report", {})), text("a", "b")), report)
    events = [event async for event in agent.stream_async("go")]
    assert [event.type for event in events] == TOOL_CYCLE
    assert_whole(events)
    assert {event.run_id for event in events} == {events[0].run_id}
    assert [event.cycle for event in events] == [0, *[1] * 10, *[2] * 7, 0]
    assert [event.attempt for event in events] == [0, *[1] * 17, 0]
    assert all(event_from_json(event.to_json()) == event for event in events)


async def test_nothing_starts_before_the_first_event_is_asked_for() -> None:
    provider, sink = ScriptedProvider(text("hi")), ListSink()
    stream = make(provider, sink=sink).stream_async("go")
    await checkpoint()
    assert provider.requests == []
    assert sink.opened == []
    del stream  # and a handle that is dropped unused costs nothing, and warns of nothing


async def test_entering_the_stream_starts_the_run() -> None:
    probe = Probe()
    agent, _ = probing(probe)
    async with agent.stream_async("go"):
        with anyio.fail_after(5):
            await probe.started.wait()


async def test_a_stream_closed_before_it_began_yields_nothing() -> None:
    provider = ScriptedProvider(text("hi"))
    stream = make(provider).stream_async("go")
    await stream.aclose()
    assert [event async for event in stream] == []
    assert provider.requests == []


async def test_a_bare_break_cancels_the_tool_that_is_running() -> None:
    probe, sink = Probe(), ListSink()
    agent, provider = probing(probe, sink)
    async for event in agent.stream_async("go"):
        if event.type == "tool_started":
            break
    with anyio.fail_after(5):
        await probe.cleaned.wait()
        while not sink.closed:
            await checkpoint()
    assert_whole(sink.events)
    assert provider.open == 0


async def test_break_inside_async_with_finishes_clean_up_before_the_next_line_runs() -> None:
    probe, sink = Probe(), ListSink()
    agent, provider = probing(probe, sink)
    async with agent.stream_async("go") as events:
        async for event in events:
            if event.type == "tool_started":
                await probe.started.wait()
                break
    assert probe.cleaned.is_set()
    assert sink.closed == 1
    assert provider.open == 0
    assert_whole(sink.events)


async def test_an_exception_in_the_body_passes_and_the_run_is_cleaned_up() -> None:
    probe = Probe()
    agent, _ = probing(probe)
    with pytest.raises(LookupError, match="mine"):
        async with agent.stream_async("go"):
            await probe.started.wait()
            raise LookupError("mine")
    assert probe.cleaned.is_set()


@pytest.mark.parametrize("stop_at", range(len(TOOL_CYCLE)))
@pytest.mark.parametrize("entered", [True, False])
async def test_breaking_at_any_event_leaves_a_whole_run_and_nothing_open(stop_at: int, *, entered: bool) -> None:
    sink, provider = ListSink(), ScriptedProvider(calls(("report", {})), text("a", "b"))
    agent = make(provider, report, sink=sink)

    async def read(events: AgentStream) -> None:
        taken = 0
        async for _ in events:
            if taken == stop_at:
                return
            taken += 1

    if entered:
        async with agent.stream_async("go") as events:
            await read(events)
    else:
        await read(agent.stream_async("go"))
        with anyio.fail_after(5):
            while not sink.closed:
                await checkpoint()
    assert_whole(sink.events)
    assert sink.closed == 1
    assert provider.open == 0


@pytest.mark.parametrize("at", range(1, 9))
@pytest.mark.parametrize("how", ["cancel", "aclose", "scope"])
async def test_cancelling_at_any_await_leaves_a_whole_run(at: int, how: str) -> None:
    passed = 0
    holder: list[Callable[[], None]] = []

    async def step() -> None:
        nonlocal passed
        passed += 1
        if passed == at:
            holder[0]()
        await checkpoint()
        await checkpoint()

    @tool
    async def steps() -> str:
        await step()
        await step()
        return "done"

    asking = calls(("steps", {}), ("steps", {}))
    sink, provider = ListSink(), ScriptedProvider([step, *asking[:1], step, *asking[1:]], [step, *text("end")])
    agent = make(provider, steps, sink=sink)
    with anyio.fail_after(10), anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks, agent.stream_async("go") as events:
            if how == "scope":
                holder.append(scope.cancel)
            elif how == "cancel":
                holder.append(events.cancel)
            else:
                holder.append(lambda: tasks.start_soon(events.aclose))
            async for _ in events:
                pass
    assert_whole(sink.events)
    assert sink.closed == 1
    assert provider.open == 0
    if how == "cancel" and passed >= at:  # the other two cancel the run a moment later, when it may be over
        assert sink.events[-1].result.stop_reason == "cancelled"  # type: ignore[union-attr]


async def test_a_tool_that_raises_is_an_error_result_and_the_run_goes_on() -> None:
    @tool
    async def broken() -> str:
        raise ValueError("no such thing")

    provider = ScriptedProvider(calls(("broken", {})), text("sorry"))
    result = await make(provider, broken).invoke_async("go")
    assert result.text == "sorry"
    (answer,) = provider.requests[1].messages[2].content
    assert answer.status == "error"  # type: ignore[union-attr]
    assert answer.text == "broken failed: ValueError: no such thing"  # type: ignore[union-attr]


async def test_a_provider_that_raises_is_told_in_band_and_then_raised_itself() -> None:
    error = OSError("line cut")
    sink = ListSink()
    stream = make(ScriptedProvider([TextDelta("half an ans"), error]), sink=sink).stream_async("go")
    events = []
    with pytest.raises(OSError, match="line cut") as caught:
        async for event in stream:
            events.append(event)  # noqa: PERF401  the loop raises
    assert caught.value is error
    assert events == sink.events
    assert_whole(events)
    assert events[-1]["force_stop_reason"] == "line cut"
    (message,) = [event.message for event in events if event.type == "message_added"]
    assert message.text == "half an ans"
    assert message.interrupted
    assert [event async for event in stream] == []  # raised once; read again, it is over


async def test_the_first_event_under_a_time_limit_and_the_rest_outside_it() -> None:
    stream = make(ScriptedProvider(text("a", "b"))).stream_async("go")
    with anyio.fail_after(5):
        events = [await anext(stream)]
    events += [event async for event in stream]
    assert_whole(events)


async def test_a_time_limit_around_one_event_cancels_that_receive_alone() -> None:
    go = anyio.Event()
    stream = make(ScriptedProvider([TextDelta("a"), go.wait, *text("b")])).stream_async("go")
    events: list[Event] = []
    while not events or events[-1].type != "text_delta":
        events.append(await anext(stream))
    for _ in range(3):
        with anyio.move_on_after(0) as limit:
            events.append(await anext(stream))
        assert limit.cancelled_caught
    go.set()
    events += [event async for event in stream]
    assert_whole(events)
    assert "".join(event.text for event in events if event.type == "text_delta") == "ab"


async def test_a_time_limit_that_ends_as_the_next_event_comes_cancels_that_receive_alone() -> None:
    limits: list[anyio.CancelScope] = []

    @tool
    async def tick() -> str:
        await anyio.wait_all_tasks_blocked()
        limits[-1].cancel()
        return "ticked"  # and its events come in the same turn of the loop

    sink = ListSink()
    agent = make(ScriptedProvider(calls(("tick", {})), text("x")), tick, sink=sink)
    stream, events = agent.stream_async("go"), []
    while not events or events[-1].type != "run_finished":
        with anyio.CancelScope() as limit:
            limits.append(limit)
            events.append(await anext(stream))
    assert events == sink.events
    assert_whole(events)


async def test_a_time_limit_around_the_whole_cleans_up_before_it_passes() -> None:
    probe = Probe()
    agent, _ = probing(probe)
    with anyio.CancelScope() as limit:
        async with agent.stream_async("go") as events:
            async for event in events:
                if event.type == "tool_started":
                    await probe.started.wait()
                    limit.cancel()
    assert limit.cancelled_caught
    assert probe.cleaned.is_set()


async def test_aclose_from_another_task_ends_the_reading() -> None:
    probe = Probe()
    agent, _ = probing(probe)
    read: list[Event] = []
    async with anyio.create_task_group() as tasks, agent.stream_async("go") as events:

        async def reader() -> None:
            read.extend([event async for event in events])

        tasks.start_soon(reader)
        await probe.started.wait()
        while not read and not events._driver.buffer._reading:  # type: ignore[union-attr]  # parked in the receive
            await checkpoint()
        await events.aclose()
        assert probe.cleaned.is_set()
    assert "run_finished" not in [event.type for event in read]


async def test_aclose_twice_and_at_once_from_two_tasks() -> None:
    probe = Probe()
    agent, _ = probing(probe)
    stream = agent.stream_async("go")
    await anext(stream)
    await probe.started.wait()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stream.aclose)
        tasks.start_soon(stream.aclose)
    await stream.aclose()
    assert probe.cleaned.is_set()
    assert [event async for event in stream] == []


async def test_a_tool_may_close_the_stream_of_its_own_run() -> None:
    holder: list[AgentStream] = []

    @tool
    async def closer() -> str:
        await holder[0].aclose()  # does not wait for itself
        await checkpoint()
        return "never"

    sink = ListSink()
    stream = make(ScriptedProvider(calls(("closer", {})), text("x")), closer, sink=sink).stream_async("go")
    holder.append(stream)
    with anyio.fail_after(2):
        assert [event.type async for event in stream][-1:] != ["run_finished"]
        while not sink.closed:
            await checkpoint()
    assert_whole(sink.events)


async def test_cancel_lets_the_reader_read_on_to_the_terminal_event() -> None:
    probe = Probe()
    agent, _ = probing(probe)
    events = []
    stream = agent.stream_async("go")
    async for event in stream:
        events.append(event)
        if event.type == "tool_started":
            stream.cancel()
            stream.cancel()  # the second changes nothing
    stream.cancel()  # nor does one after the end
    assert_whole(events)
    assert probe.cleaned.is_set()
    assert events[-1].result.stop_reason == "cancelled"  # type: ignore[union-attr]
    (result,) = [event.result for event in events if event.type == "tool_finished"]
    assert result.status == "interrupted"


async def test_cancel_may_be_called_from_another_thread() -> None:
    probe = Probe()
    agent, _ = probing(probe)
    async with agent.stream_async("go") as events:
        await probe.started.wait()
        await anyio.to_thread.run_sync(events.cancel)
        types = [event.type async for event in events]
    assert types[-1] == "run_finished"


async def test_a_cancellation_after_the_last_await_changes_nothing() -> None:
    holder: list[AgentStream] = []
    agent = make(
        ScriptedProvider(text("all of it")),
        callback_handler=lambda **keys: holder[0].cancel() if "message" in keys else None,
    )
    holder.append(agent.stream_async("go"))
    events = [event async for event in holder[0]]
    assert events[-1].result.stop_reason == "end_turn"  # type: ignore[union-attr]
    assert events[-1].result.text == "all of it"  # type: ignore[union-attr]


async def test_partial_text_of_a_cancelled_model_call_is_kept_and_marked() -> None:
    async def forever() -> None:
        await anyio.sleep_forever()

    stream = make(ScriptedProvider([TextDelta("par"), TextDelta("tial"), forever])).stream_async("go")
    events = []
    async for event in stream:
        events.append(event)
        if isinstance(event, TextDelta) and event.text == "tial":
            stream.cancel()
    assert_whole(events)
    message = events[-1].result.message  # type: ignore[union-attr]
    assert message is not None
    assert (message.text, message.interrupted) == ("partial", True)


async def test_a_handle_in_a_reference_cycle_is_collected_and_its_run_cancelled() -> None:
    probe = Probe()
    agent, _ = probing(probe)

    async def abandon() -> None:
        stream = agent.stream_async("go")
        cycle: list[object] = [stream]
        cycle.append(cycle)
        await anext(stream)
        await probe.started.wait()

    await abandon()
    gc.collect()
    with anyio.fail_after(5):
        await probe.cleaned.wait()


async def test_a_handle_dropped_in_another_thread_cancels_its_run() -> None:
    probe = Probe()
    agent, _ = probing(probe)
    holder = [agent.stream_async("go")]
    await anext(holder[0])
    await probe.started.wait()
    thread = threading.Thread(target=holder.clear)
    thread.start()
    await anyio.to_thread.run_sync(thread.join)
    with anyio.fail_after(5):
        await probe.cleaned.wait()


async def test_a_traceback_that_is_kept_does_not_keep_the_run() -> None:
    probe = Probe()
    agent, _ = probing(probe)
    kept: list[BaseException] = []

    async def read() -> None:
        stream = agent.stream_async("go")
        while (await anext(stream)).type != "tool_started":
            pass
        try:
            with anyio.fail_after(0):
                await anext(stream)
        except TimeoutError as error:
            del stream
            kept.append(error)

    await read()
    gc.collect()
    with anyio.fail_after(5):
        await probe.cleaned.wait()
    assert kept


async def test_a_second_reader_at_the_same_time_is_refused() -> None:
    probe = Probe()
    agent, _ = probing(probe)
    async with agent.stream_async("go") as events:
        await probe.started.wait()
        while events._driver.buffer.items:  # type: ignore[union-attr]  # the reader is to be parked, not served
            await anext(events)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anext, events)
            while not events._driver.buffer._reading:  # type: ignore[union-attr]
                await checkpoint()
            with pytest.raises(RuntimeError, match="another task is reading"):
                await anext(events)
            probe.release.set()


async def test_tools_see_the_context_of_the_first_pull_and_leak_nothing_out() -> None:
    colour: ContextVar[str] = ContextVar("colour", default="none")
    seen: list[str] = []

    @tool
    async def look() -> str:
        seen.append(colour.get())
        colour.set("set by a tool")
        return "looked"

    @tool
    def look_in_a_thread() -> str:
        seen.append(colour.get())
        return "looked"

    stream = make(
        ScriptedProvider(calls(("look", {})), calls(("look_in_a_thread", {})), text("x")), look, look_in_a_thread
    ).stream_async("go")
    colour.set("at the first pull")
    await anext(stream)
    colour.set("later")
    async for _ in stream:
        pass
    assert seen[0] == "at the first pull"
    assert colour.get() == "later"


async def test_a_slow_reader_slows_the_model_and_loses_nothing() -> None:
    made = 0

    class Eager(ScriptedProvider):
        async def stream(self, request: Any, /) -> AsyncIterator[Any]:
            nonlocal made
            for number in range(5000):
                made += 1
                yield TextDelta(f"{number} ")
            yield text()[-1]

    stream = make(Eager(text())).stream_async("go")
    await anext(stream)
    for _ in range(100):
        await checkpoint()
    assert made < 300  # the buffer's 256 and no more
    taken = [event.text async for event in stream if isinstance(event, TextDelta)]
    assert taken == [f"{number} " for number in range(5000)]


async def test_tools_that_run_together_wait_together_for_a_slow_reader() -> None:
    @tool
    async def chatty(name: str) -> AsyncIterator[str]:
        for number in range(400):
            yield f"{name}{number}"

    provider = ScriptedProvider(calls(("chatty", {"name": "a"}), ("chatty", {"name": "b"})), text("x"))
    stream = make(provider, chatty).stream_async("go")
    await anext(stream)
    await anyio.wait_all_tasks_blocked()
    events = [event async for event in stream]
    told = [event.data for event in events if event.type == "tool_progress"]
    assert [data for data in told if str(data).startswith("a")] == [f"a{number}" for number in range(400)]
    assert len(told) == 800


async def test_a_stream_may_be_entered_after_its_first_event() -> None:
    stream = make(ScriptedProvider(text("a"))).stream_async("go")
    first = await anext(stream)
    async with stream as events:
        assert_whole([first, *[event async for event in events]])


@pytest.mark.parametrize("leave", ["aclose", "break"])
async def test_leaving_ends_a_provider_that_never_awaits(leave: str) -> None:
    class Busy(ScriptedProvider):
        async def stream(self, request: Any, /) -> AsyncIterator[Any]:
            while True:
                yield TextDelta("and on and on ")

    sink = ListSink()
    stream = make(Busy(text()), sink=sink).stream_async("go")
    await anext(stream)
    await anyio.wait_all_tasks_blocked()
    if leave == "aclose":
        await stream.aclose()
    del stream
    with anyio.fail_after(5):
        while not sink.closed:
            await checkpoint()
    assert_whole(sink.events)


class Endless:
    """The script of a model that never waits."""

    def __init__(self) -> None:
        self.closed = anyio.Event()

    def __call__(self, request: object) -> Iterator[TextDelta]:
        try:
            while True:
                yield TextDelta("x")
        finally:
            self.closed.set()


async def test_a_reader_that_is_slower_than_its_run_can_be_cancelled() -> None:
    script, begun = Endless(), anyio.Event()
    agent = Agent(ScriptedProvider(script), runtime=Runtime(discover=False))

    async def read() -> None:
        seen = 0
        async for _ in agent.stream_async("go"):
            seen += 1
            if seen == 1000:
                begun.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await begun.wait()
        tasks.cancel_scope.cancel()
    await script.closed.wait()


async def test_a_run_that_never_waits_ends_when_nobody_holds_its_stream() -> None:
    script = Endless()
    agent = Agent(ScriptedProvider(script), runtime=Runtime(discover=False))
    seen = 0
    async for _ in agent.stream_async("go"):
        seen += 1
        if seen == 1000:
            break
    await script.closed.wait()


async def test_limits_of_time_end_a_run_with_a_stop_reason() -> None:
    sink = ListSink()
    agent = make(ScriptedProvider([TextDelta("so far"), anyio.sleep_forever]), sink=sink, limits=Limits(seconds=0.01))
    result = await agent.invoke_async("go")
    assert result.stop_reason == "limit_time"
    assert result.text == "so far"
    assert_whole(sink.events)


async def test_a_provider_that_is_silent_for_ever_is_given_up() -> None:
    agent = make(ScriptedProvider([anyio.sleep_forever]), limits=Limits(silence_seconds=0.01), retry=None)
    with pytest.raises(Exception, match=r"scripted:model sent nothing for 0\.01 s") as caught:
        await agent.invoke_async("go")
    assert caught.value.retryable  # type: ignore[attr-defined]


async def test_a_provider_that_goes_on_sending_is_not_given_up() -> None:
    async def pause() -> None:
        await anyio.sleep(0.03)  # a time limit is under test: each pause is shorter, all of them longer

    steps = [step for number in range(4) for step in (TextDelta(str(number)), pause)]
    agent = make(ScriptedProvider([*steps, *text("!")]), limits=Limits(silence_seconds=0.08))
    assert (await agent.invoke_async("go")).text == "0123!"


async def test_a_tool_that_ignores_its_cancellation_is_left_behind_after_the_grace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    started, release, ended = anyio.Event(), anyio.Event(), anyio.Event()

    @tool
    async def stubborn() -> str:
        started.set()
        with anyio.CancelScope(shield=True):
            await release.wait()
        ended.set()
        return "too late"

    sink = ListSink()
    agent = make(ScriptedProvider(calls(("stubborn", {})), text("x")), stubborn, sink=sink)
    stream = agent.stream_async("go")
    await anext(stream)
    await started.wait()
    await stream.aclose(grace=0.01)
    assert not ended.is_set()
    assert_whole(sink.events)
    assert "left behind: tool 'stubborn'" in caplog.text
    events = len(sink.events)
    release.set()
    await ended.wait()
    for _ in range(20):
        await checkpoint()
    assert len(sink.events) == events  # nothing after the terminal event, whatever the tool still does
    assert sink.closed == 1


async def test_a_tool_that_ignores_its_time_limit_fails_the_run_after_the_grace(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    release = anyio.Event()

    @tool(timeout=0.01)
    async def stubborn() -> str:
        with anyio.CancelScope(shield=True):
            await release.wait()
        return "too late"

    sink = ListSink()
    agent = make(ScriptedProvider(calls(("stubborn", {})), text("x")), stubborn, sink=sink)
    monkeypatch.setattr("becket._inprocess.GRACE", 0.01)  # a number, not a mock: five seconds would be five seconds
    stream = agent.stream_async("go")
    with pytest.raises(TimeoutError, match="'stubborn' did not end when its time limit cancelled it"):
        async for _ in stream:
            pass
    assert_whole(sink.events)
    release.set()
    with anyio.fail_after(5):
        while not sink.closed:
            await checkpoint()


async def test_the_callback_handler_gets_the_same_keys_before_the_reader() -> None:
    seen: list[dict[str, Any]] = []
    agent = make(
        ScriptedProvider(calls(("report", {})), text("a", "b")),
        report,
        callback_handler=lambda **keys: seen.append(keys),
    )
    mappings = []
    async for event in agent.stream_async("go"):
        if dict(event):
            mappings.append(dict(event))
            assert seen[: len(mappings)] == mappings
    assert seen == mappings


@pytest.mark.parametrize("key", ["init_event_loop", "data", "message", "complete", "result"])
async def test_a_callback_handler_that_raises_fails_the_run_with_its_exception(key: str) -> None:
    def handler(**keys: object) -> None:
        if key in keys:
            raise LookupError(f"no {key} for me")

    sink = ListSink()
    stream = make(ScriptedProvider(text("a")), sink=sink, callback_handler=handler).stream_async("go")
    events = []
    with pytest.raises(LookupError, match=f"no {key} for me"):
        async for event in stream:
            events.append(event)  # noqa: PERF401  the loop raises
    assert_whole(events)
    assert events == sink.events


async def test_a_thousand_runs_of_one_agent_at_once() -> None:
    go = anyio.Event()
    agent = make(ScriptedProvider(calls(("report", {})), [go.wait, *text("a", "b")]), report)
    whole: list[int] = []

    async def one(number: int) -> None:
        events = [event async for event in agent.stream_async(f"prompt {number}")]
        assert_whole(events)
        assert events[0].prompt[0].text == f"prompt {number}"  # type: ignore[union-attr]
        whole.append(number)
        go.set()

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for number in range(1000):
                tasks.start_soon(one, number)
            go.set()
    assert sorted(whole) == list(range(1000))


async def test_the_stack_is_as_deep_in_the_last_cycle_as_in_the_first() -> None:
    depths: list[int] = []

    @tool
    async def measure() -> str:
        frame, depth = sys._getframe(), 0
        while frame.f_back is not None:
            frame, depth = frame.f_back, depth + 1
        depths.append(depth)
        return "measured"

    agent = make(ScriptedProvider(calls(("measure", {}))), measure, limits=Limits(cycles=500))
    result = await agent.invoke_async("go")
    assert result.stop_reason == "limit_cycles"
    assert len(depths) == 500
    assert len(set(depths[1:])) == 1


async def test_a_runs_objects_are_gone_when_it_is_over() -> None:
    agent = make(ScriptedProvider(text("a")))
    stream = agent.stream_async("go")
    driver = weakref.ref(stream, lambda _: None)
    async for _ in stream:
        pass
    del stream
    await checkpoint()
    gc.collect()
    assert driver() is None


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("where", ["parked in a tool", "before its first step"])
def test_a_process_that_exits_with_a_stream_open_says_nothing(backend: str, where: str) -> None:
    program = f"""
import anyio
from becket import Agent, Runtime, tool
from becket.testing import ScriptedProvider, calls

@tool
async def park() -> str:
    try:
        await anyio.sleep_forever()
    finally:
        print("cleaned")

agent = Agent(ScriptedProvider(calls(("park", {{}}))), [park], runtime=Runtime(discover=False))
kept = agent.stream_async("go")

async def main():
    if {where!r} == "before its first step":
        kept._driver.start()
        return
    async for event in kept:
        if event.type == "tool_started":
            await anyio.lowlevel.checkpoint()
            return

anyio.run(main, backend={backend!r})
print("over")
"""
    done = subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-X", "dev", "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout == ("cleaned\nover\n" if where == "parked in a tool" else "over\n")


def test_a_handle_that_outlives_its_loop_is_dropped_without_a_word() -> None:
    probe = Probe
    holder: list[AgentStream] = []

    async def main() -> None:
        agent, _ = probing(probe())
        holder.append(agent.stream_async("go"))
        await anext(holder[0])

    for backend in ("asyncio", "trio"):
        anyio.run(main, backend=backend)
        holder.clear()
        gc.collect()


def test_the_sync_call_works_in_a_script_and_inside_a_running_loop() -> None:
    agent = make(ScriptedProvider(calls(("report", {})), text("a", "b")), report)
    assert agent("go").text == "ab"

    async def inside() -> str:
        return agent("go").text  # as in a notebook cell: it blocks the loop, and works

    assert anyio.run(inside) == "ab"
    assert anyio.run(inside, backend="trio") == "ab"


def test_without_an_event_loop_the_error_says_what_to_do() -> None:
    stream = make(ScriptedProvider(text("a"))).stream_async("go")
    with pytest.raises(RuntimeError, match=r"no event loop runs here.*agent\('...'\)"):
        stream.__anext__().send(None)


@pytest.mark.parametrize("other", ["asyncio", "trio"])
async def test_a_run_starts_while_another_thread_is_importing_an_event_loop(
    other: str, anyio_backend_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that is being imported is in `sys.modules`, and holds nothing yet."""
    if other == anyio_backend_name:
        return  # it runs here, so it is imported
    monkeypatch.setitem(sys.modules, other, ModuleType(other))
    assert current_backend().here()
