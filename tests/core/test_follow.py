"""Runs that are detached from their reader, and readers of the event log, each on asyncio and on trio."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint
from becket import (
    Agent,
    ConfigError,
    EventsDropped,
    MemoryLog,
    MemorySessionStore,
    RunFinished,
    Runtime,
    TextDelta,
    tool,
)
from becket.testing import ListSink, Scenarios, ScriptedProvider, calls, text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from becket import Event, LogReader, ModelEvent, ModelRequest

pytestmark = pytest.mark.anyio


def seqs(events: list[Event]) -> list[int]:
    return [event.seq for event in events]


async def read_all(reader: LogReader) -> list[Event]:
    return [event async for event in reader]


async def until(condition: Any) -> None:
    """Let others run until it holds."""
    with anyio.fail_after(10):
        while not condition():
            await checkpoint()


@pytest.fixture
def scenarios() -> Scenarios:
    return Scenarios()


# -- a run that is detached --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["text", "tools", "nested", "unicode"])
async def test_the_stream_of_a_detached_run_has_every_event(scenarios: Scenarios, name: str) -> None:
    stream = scenarios.agent.stream_async(name, detach=True)
    events = [event async for event in stream]
    assert seqs(events) == list(range(1, len(events) + 1))
    assert isinstance(events[-1], RunFinished)
    assert events[-1].result.text == Scenarios.text(name)
    assert stream.done


async def test_a_detached_run_goes_on_without_its_reader(scenarios: Scenarios) -> None:
    sink = ListSink()
    agent = scenarios.agent.replace(sinks=[sink])
    async with agent.stream_async("text", detach=True) as stream:
        assert (await anext(stream)).type == "run_started"
    await until(lambda: sink.closed)
    assert sink.types[-1] == "run_finished"
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert await stream.read() == []
    assert stream.ready() == []


async def test_a_detached_run_goes_on_when_nobody_holds_its_stream(scenarios: Scenarios) -> None:
    sink = ListSink()
    stream = scenarios.agent.replace(sinks=[sink]).stream_async("text", detach=True)
    await anext(stream)
    del stream
    gc.collect()
    await until(lambda: sink.closed)
    assert sink.types[-1] == "run_finished"


async def test_a_detached_run_is_cancelled_by_its_stream(scenarios: Scenarios) -> None:
    stream = scenarios.agent.stream_async("held", detach=True)
    await anext(stream)
    await until(lambda: scenarios.waiting)
    stream.cancel()
    events = [event async for event in stream]
    assert events[-1]["result"].stop_reason == "cancelled"
    assert scenarios.cleaned == 1


async def test_closing_the_stream_of_a_detached_run_ends_the_reading_in_another_task(scenarios: Scenarios) -> None:
    """At once, though the run goes on and says nothing."""
    stream = scenarios.agent.stream_async("held", detach=True)
    read: list[Event] = []
    async with anyio.create_task_group() as tasks:

        async def read_on() -> None:
            async for event in stream:
                read.append(event)  # noqa: PERF401  they are looked at meanwhile

        tasks.start_soon(read_on)
        await until(lambda: scenarios.waiting)
        await anyio.wait_all_tasks_blocked()
        before = len(read)
        await stream.aclose()
    assert len(read) == before
    assert scenarios.waiting
    stream.cancel()
    await read_all(stream.follow(before))


async def test_a_detached_run_that_nobody_waits_for_can_be_left(scenarios: Scenarios) -> None:
    async with scenarios.agent.stream_async("held", detach=True) as stream:
        pass
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    stream.cancel()
    await read_all(stream.follow())


async def test_a_detached_run_that_was_never_begun_never_begins(scenarios: Scenarios) -> None:
    stream = scenarios.agent.stream_async("text", detach=True)
    await stream.aclose()
    assert stream.done
    assert await stream.read() == []


async def test_a_detached_run_ends_with_the_runtime_that_is_open(scenarios: Scenarios) -> None:
    async with scenarios.runtime:
        stream = scenarios.agent.stream_async("held", detach=True)
        await anext(stream)
        await until(lambda: scenarios.waiting)
    assert stream.done
    assert [event async for event in stream][-1]["result"].stop_reason == "cancelled"


async def test_the_stream_of_a_detached_run_raises_what_the_run_failed_with(scenarios: Scenarios) -> None:
    stream = scenarios.agent.stream_async("fails midway", detach=True)
    events = []
    with pytest.raises(Exception, match="the line was cut"):
        async for event in stream:
            events.append(event)  # noqa: PERF401  they are looked at, though the stream raises
    assert events[-1].type == "run_failed"
    assert await stream.read() == []


async def test_a_detached_run_lets_its_reader_run_and_loses_nothing(scenarios: Scenarios) -> None:
    """A model that never waits sends more than the log holds; the run itself takes turns with who reads it."""
    piece = text(*("x" for _ in range(5_000)))
    agent = Agent(ScriptedProvider(piece), runtime=Runtime(discover=False))
    assert (
        sum(isinstance(event, TextDelta) for event in [e async for e in agent.stream_async("go", detach=True)]) == 5_000
    )


async def test_a_session_can_be_detached() -> None:
    runtime = Runtime(discover=False, session_store=MemorySessionStore())
    session = Agent(ScriptedProvider(text("hello")), runtime=runtime).session("chat")
    stream = session.stream_async("hi", detach=True)
    await anext(stream)
    await stream.aclose()
    await until(lambda: stream.done)
    assert [message.text for message in (await session.state()).messages] == ["hi", "hello"]


# -- readers of the log ------------------------------------------------------------------------------------------------


async def test_a_reader_that_comes_back_gets_what_it_has_not_seen(scenarios: Scenarios) -> None:
    stream = scenarios.agent.stream_async("held", detach=True)
    first = stream.follow()
    seen = [await anext(first) for _ in range(3)]
    assert first.last == 3
    await until(lambda: scenarios.waiting)
    stream.cancel()
    rest = await read_all(stream.follow(first.last))
    assert seqs(seen + rest) == list(range(1, rest[-1].seq + 1))
    assert rest[-1].type == "run_finished"


async def test_any_number_of_readers_follow_a_run_live(scenarios: Scenarios) -> None:
    stream = scenarios.agent.stream_async("held", detach=True)
    got: list[list[Event]] = []

    async def reads() -> None:
        got.append(await read_all(stream.follow()))

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(reads)
        await until(lambda: scenarios.waiting)
        stream.cancel()
    assert got[0] == got[1] == got[2]
    assert got[0][-1].type == "run_finished"


async def test_a_run_that_is_read_can_be_followed_as_well(scenarios: Scenarios) -> None:
    """Also after its reader has left it, to its last event."""
    got: list[Event] = []
    stream = scenarios.agent.stream_async("held")

    async def follows() -> None:
        got.extend(await read_all(stream.follow()))

    async with anyio.create_task_group() as tasks, stream as events:
        tasks.start_soon(follows)
        async for event in events:
            if isinstance(event, TextDelta):
                break
        await until(lambda: scenarios.waiting)
    assert got[-1].type == "run_finished"
    assert seqs(got) == list(range(1, len(got) + 1))


async def test_a_reader_raises_nothing_where_the_run_has_failed(scenarios: Scenarios) -> None:
    stream = scenarios.agent.stream_async("fails midway", detach=True)
    assert (await read_all(stream.follow()))[-1].type == "run_failed"


async def test_a_reader_that_is_too_late_is_told_what_is_gone() -> None:
    runtime = Runtime(discover=False, make_log=lambda run: MemoryLog(keep=4))
    stream = Agent(ScriptedProvider(text("a", "b", "c")), runtime=runtime).stream_async("go")
    last = [event async for event in stream][-1].seq
    with pytest.raises(EventsDropped, match=f"the events 1 to {last - 4} of the run {stream.run_id}") as caught:
        stream.follow()
    assert (caught.value.after, caught.value.dropped) == (0, last - 4)
    assert seqs(await read_all(stream.follow(caught.value.dropped))) == list(range(last - 3, last + 1))


async def test_a_reader_that_falls_behind_is_told_so() -> None:
    go = anyio.Event()
    agent = Agent(ScriptedProvider([TextDelta("a"), go.wait, *text(*"bcdefg")]), runtime=Runtime(discover=False))
    stream = agent.stream_async("go", log=MemoryLog(keep=4), detach=True)
    reader = stream.follow()
    assert len(await reader.read(most=2)) in {1, 2}
    go.set()
    await until(lambda: stream.done)
    with pytest.raises(EventsDropped, match="the events"):
        await reader.read()


async def test_what_was_read_and_not_used_can_be_given_back(scenarios: Scenarios) -> None:
    for detach in (False, True):
        stream = scenarios.agent.stream_async("text", detach=detach)
        first = await stream.read(most=2)
        await until(lambda stream=stream: stream.done)
        stream.unread(first)
        rest: list[Event] = []
        while events := await stream.read(most=3):
            rest += events
        assert seqs(rest) == list(range(1, rest[-1].seq + 1))


async def test_what_was_given_back_is_no_more_to_be_read_once_the_stream_is_closed(scenarios: Scenarios) -> None:
    stream = scenarios.agent.stream_async("held")
    events = await stream.read()
    await stream.aclose()
    stream.unread(events)
    assert await stream.read() == []


async def test_a_reader_comes_back_at_the_event_that_it_was_not_given(scenarios: Scenarios) -> None:
    stream = scenarios.agent.stream_async("text", detach=True)
    reader = stream.follow()
    await anext(reader)
    await until(lambda: stream.done)
    assert (await anext(reader)).seq == 2
    assert reader.last == 2
    reader.unread(await reader.read())
    assert reader.last == 2
    assert (await anext(reader)).seq == 3


@pytest.mark.parametrize("own", [False, True])
async def test_what_is_given_back_in_the_middle_comes_before_the_rest(scenarios: Scenarios, *, own: bool) -> None:
    """A reader that goes event by event has read others ahead."""
    stream = scenarios.agent.stream_async("text", detach=True)
    events = await read_all(stream.follow())
    reader = stream if own else stream.follow()
    first, second = await anext(reader), await anext(reader)
    reader.unread([first, second])
    assert seqs([event async for event in reader]) == seqs(events)


async def test_of_what_was_given_back_no_more_is_read_than_is_asked_for(scenarios: Scenarios) -> None:
    stream = scenarios.agent.stream_async("text", detach=True)
    events = await read_all(stream.follow())
    reader = stream.follow()
    reader.unread(await reader.read())
    assert seqs(reader.ready(most=2)) == [1, 2]
    assert reader.last == 2
    assert seqs(await read_all(reader)) == seqs(events[2:])


async def test_read_hands_over_together_what_is_ready_together(scenarios: Scenarios) -> None:
    stream = scenarios.agent.stream_async("text")
    assert stream.ready() == []  # it starts nothing
    await stream.read(most=1)
    await until(lambda: stream.done)
    assert len(await stream.read(most=2)) == 2
    assert len(await stream.read()) > 2
    assert await stream.read() == []


async def test_read_raises_what_the_run_failed_with(scenarios: Scenarios) -> None:
    stream = scenarios.agent.stream_async("fails midway")
    types: list[str] = []
    with pytest.raises(Exception, match="the line was cut"):
        while events := await stream.read():
            types += [event.type for event in events]
    assert types[-1] == "run_failed"


async def test_a_time_limit_around_a_read_loses_no_event(scenarios: Scenarios) -> None:
    stream = scenarios.agent.stream_async("held", detach=True)
    got: list[Event] = []
    while not scenarios.waiting:
        got += await stream.read()
    with anyio.move_on_after(0):
        got += await stream.read()
    stream.cancel()
    while events := await stream.read():
        got += events
    assert seqs(got) == list(range(1, len(got) + 1))


@pytest.mark.parametrize("own", [False, True])
async def test_a_second_task_that_reads_is_refused(scenarios: Scenarios, *, own: bool) -> None:
    stream = scenarios.agent.stream_async("held", detach=True)
    reader = stream if own else stream.follow()
    await reader.read()
    await until(lambda: scenarios.waiting)
    while reader.ready():
        pass
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reader.read)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="another task is reading"):
            await reader.read()
        stream.cancel()
    assert (await read_all(stream.follow()))[-1].type == "run_finished"


@pytest.mark.parametrize("own", [False, True])
async def test_a_reader_of_a_run_that_never_waits_can_be_cancelled(*, own: bool) -> None:
    """Each time it waits, the next events are there before the loop looks at it."""

    class Endless(ScriptedProvider):
        async def stream(self, request: ModelRequest, /) -> AsyncIterator[ModelEvent]:
            while True:
                yield TextDelta("x")

    agent = Agent(Endless(text("never")), runtime=Runtime(discover=False, make_log=lambda run: MemoryLog(1000)))
    stream = agent.stream_async("go", detach=True)
    reader = stream if own else stream.follow()
    read = 0
    with anyio.CancelScope() as scope:
        while events := await reader.read():
            read += len(events)
            if read > 1_000:
                scope.cancel()
            assert read < 100_000
    assert scope.cancelled_caught
    stream.cancel()
    await until(lambda: stream.done)


async def test_a_run_that_was_closed_before_it_began_has_nothing_to_follow(scenarios: Scenarios) -> None:
    stream = scenarios.agent.stream_async("text")
    await stream.aclose()
    reader = stream.follow()
    assert reader.ready() == []
    assert await read_all(reader) == []


async def test_after_is_a_number_of_an_event(scenarios: Scenarios) -> None:
    with pytest.raises(ConfigError, match="after is -1"):
        scenarios.agent.stream_async("text").follow(-1)


async def test_a_run_is_followed_on_its_own_event_loop(scenarios: Scenarios) -> None:
    stream = scenarios.agent.stream_async("held", detach=True)
    await anext(stream)
    await until(lambda: scenarios.waiting)

    def elsewhere() -> None:
        with pytest.raises(RuntimeError, match="on the event loop that it lives in"):
            anyio.run(stream.follow(100).read)

    await anyio.to_thread.run_sync(elsewhere)
    stream.cancel()
    await read_all(stream.follow())


async def test_who_follows_a_nested_run_sees_that_run_alone() -> None:
    """The log is that of the run above."""
    seen: list[Event] = []
    runtime = Runtime(discover=False)
    innermost = Agent(ScriptedProvider(text("deep")), name="innermost", runtime=runtime).as_tool("deeper", "Goes on.")
    provider = ScriptedProvider(calls(("deeper", {"prompt": "x"}), prefix="in"), text("nested"))
    inner = Agent(provider, [innermost], name="inner", runtime=runtime)

    @tool(effect="none")
    async def ask() -> str:
        """Run another agent, and follow it."""
        stream = inner.stream_async("x", detach=True)
        while events := await stream.follow(seen[-1].seq if seen else 0).read(most=2):
            seen.extend(events)
        return "asked"

    outer = Agent(ScriptedProvider(calls(("ask", {})), text("done")), [ask], name="outer", runtime=runtime)
    assert (await outer.invoke_async("go")).text == "done"
    assert seen[0].type == "run_started"
    assert seen[-1].type == "run_finished"
    assert {event.agent for event in seen if event.type == "run_started"} == {"inner", "innermost"}


async def test_who_comes_back_to_a_nested_run_sees_what_goes_on_below_it() -> None:
    """Though the run between has said nothing since."""
    runtime, go = Runtime(discover=False), anyio.Event()

    def asking(name: str, below: Agent) -> Agent:
        provider = ScriptedProvider(calls(("below", {"prompt": "x"}), prefix=name), text("done"))
        return Agent(provider, [below.as_tool("below", "Goes on.")], name=name, runtime=runtime)

    deep = Agent(ScriptedProvider([TextDelta("a"), go.wait, *text("b")]), name="deep", runtime=runtime)
    inner = asking("inner", asking("middle", deep))
    seen: list[Event] = []

    @tool(effect="none")
    async def ask() -> str:
        """Run another agent, and come back to it."""
        stream = inner.stream_async("x", detach=True)
        async for event in stream:
            if event.type == "text_delta":
                break
        reader = stream.follow(event.seq)
        go.set()
        seen.extend(await read_all(reader))
        return "asked"

    await Agent(ScriptedProvider(calls(("ask", {})), text("done")), [ask], name="outer", runtime=runtime).invoke_async(
        "x"
    )
    assert [event.text for event in seen if isinstance(event, TextDelta)] == ["b", "done", "done"]
