"""Runs that are started in the tools of a run: one stream, one order, one end; each on asyncio and on trio."""

from __future__ import annotations

import contextvars
import gc
import logging
import sys
import threading
import weakref
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from becket import (
    Agent,
    Allow,
    ConfigError,
    Deny,
    Limits,
    ModelFinished,
    PluginError,
    ProviderError,
    RunFinished,
    Runtime,
    TextDelta,
    ToolContext,
    event_from_json,
    hookimpl,
    tool,
)
from becket.testing import BatchListSink, ListSink, ScriptedProvider, calls, text
from becket.turn import Turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from becket import AgentStream, DecisionRequested, Event
    from becket.content import AgentResult
    from becket.hooks import HookContext
    from becket.tools import AnyTool

pytestmark = pytest.mark.anyio

RUNTIME = Runtime(discover=False)


def make(name: str, *script: Any, tools: Iterable[AnyTool] = (), runtime: Runtime = RUNTIME, **options: Any) -> Agent:
    return Agent(ScriptedProvider(*script), tuple(tools), name=name, runtime=runtime, **options)


def asking(name: str, *tools: AnyTool, times: int = 1, **options: Any) -> Agent:
    """An agent that calls each of its tools with a prompt, once or all of them several times, and is done."""
    wanted = [(one.name, {"prompt": f"to {one.name}"}) for one in tools] * times
    return make(name, calls(*wanted), text(f"{name} is done"), tools=tools, **options)


def helper(*pieces: str, name: str = "helper", **options: Any) -> Agent:
    return make(name, text(*(pieces or ("forty", "-two"))), **options)


def assert_tree(events: list[Event]) -> None:
    """What holds of a run with others nested in it; the invariants of a single run hold of each."""
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.type for event in events if event.run_id == events[0].run_id][-1] == events[-1].type
    assert all(event_from_json(event.to_json()) == event for event in events)
    runs: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        runs[event.run_id].append(event)
    for run_id, own in runs.items():
        turn = Turn(run_id)
        for event in own:
            turn.receive(event)
        assert turn.phase == "done"
        assert own[0].type == "run_started"
        parents = {(event.parent_run_id, event.parent_call_id) for event in own}
        assert len(parents) == 1
        for parent_run_id, parent_call_id in parents - {(None, None)}:
            assert _call(events, str(parent_run_id), str(parent_call_id)) > own[-1].seq  # over before its call is
            started = [e.seq for e in runs[str(parent_run_id)] if e.type == "tool_started"]
            assert min(started) < own[0].seq


def _call(events: list[Event], run_id: str, call_id: str) -> int:
    """The `seq` of the end of a call."""
    return next(
        event.seq
        for event in events
        if event.type == "tool_finished" and event.run_id == run_id and event.result.call_id == call_id
    )


def of(events: Iterable[Event], parent: str | None) -> list[Event]:
    return [event for event in events if event.parent_run_id == parent]


def nested(events: Iterable[Event]) -> list[Event]:
    return [event for event in events if event.parent_run_id is not None]


def result_of(events: Iterable[Event], *, root: bool = True) -> AgentResult:
    ends = [event for event in events if isinstance(event, RunFinished) and (event.parent_run_id is None) == root]
    return ends[-1].result


def tool_texts(events: Iterable[Event]) -> list[str]:
    """What the tools of the root answered."""
    return [event.result.text for event in events if event.type == "tool_finished" and event.parent_run_id is None]


# -- the stream --------------------------------------------------------------------------------------------------------


async def test_an_agent_is_a_tool_of_another() -> None:
    root = asking("root", helper().as_tool("ask", "Knows the answer."))
    events = [event async for event in root.stream_async("go")]
    assert_tree(events)
    assert tool_texts(events) == ["forty-two"]
    assert result_of(events).text == "root is done"
    assert result_of(events, root=False).text == "forty-two"


async def test_events_of_a_nested_run_say_which_call_they_belong_to() -> None:
    root = asking("root", helper().as_tool("ask", ""))
    events = [event async for event in root.stream_async("go")]
    own = nested(events)
    assert {(event.parent_run_id, event.parent_call_id) for event in own} == {(events[0].run_id, "call-1")}
    assert [event.type for event in own] == [
        "run_started",
        "cycle_started",
        "model_started",
        "text_delta",
        "text_delta",
        "model_finished",
        "message_added",
        "cycle_finished",
        "run_finished",
    ]


async def test_the_model_is_told_of_one_argument() -> None:
    asked = helper().as_tool("ask", "Knows the answer.")
    assert asked.spec.description == "Knows the answer."
    assert list(asked.spec.schema["properties"]) == ["prompt"]  # type: ignore[arg-type]
    assert (asked.effect, asked.reach) == ("read", "network")
    assert helper().as_tool("ask", "", reach="local").reach == "local"


async def test_history_of_the_run_above_has_only_its_own_messages() -> None:
    root = asking("root", helper().as_tool("ask", ""))
    provider = ScriptedProvider(calls(("ask", {"prompt": "q"})), text("done"))
    await root.replace(model=provider).invoke_async("go")
    assert [message.role for message in provider.requests[-1].messages] == ["user", "assistant", "user", "assistant"]


async def test_runs_nest_in_nested_runs() -> None:
    third = helper("deep", name="third")
    second = asking("second", third.as_tool("dive", ""))
    root = asking("root", second.as_tool("ask", ""))
    events = [event async for event in root.stream_async("go")]
    assert_tree(events)
    started = [event for event in events if event.type == "run_started"]
    assert [event.agent for event in started] == ["root", "second", "third"]
    assert [event.parent_run_id for event in started] == [None, *(event.run_id for event in started[:2])]


async def test_agents_that_run_side_by_side_share_one_order() -> None:
    """Each waits until the other has begun, so their events lie between each other."""
    begun: list[str] = []
    both = anyio.Event()

    async def meet() -> None:
        begun.append("one")
        if len(begun) == 2:
            both.set()
        await both.wait()

    sub = make("sub", [TextDelta("a"), meet, TextDelta("b"), ModelFinished("end_turn")])
    root = asking("root", sub.as_tool("ask", ""), times=2)
    with anyio.fail_after(5):
        events = [event async for event in root.stream_async("go")]
    assert_tree(events)
    deltas = [event for event in nested(events) if event.type == "text_delta"]
    assert [event.text for event in deltas] == ["a", "a", "b", "b"]
    assert {event.parent_call_id for event in deltas} == {"call-1", "call-2"}


async def test_a_run_that_a_tool_starts_by_itself_is_nested_as_well() -> None:
    sub = helper()

    @tool
    async def ask(prompt: str) -> str:
        return (await sub.invoke_async(prompt)).text

    events = [event async for event in asking("root", ask).stream_async("go")]
    assert_tree(events)
    assert tool_texts(events) == ["forty-two"]


async def test_a_tool_that_reads_its_run_sees_each_event_once_and_so_does_the_reader_above() -> None:
    sub, seen = helper(), []

    @tool
    async def ask(prompt: str) -> AsyncIterator[str]:
        """Pass on what it hears, in the manner of the page that becket started from."""
        async with sub.stream_async(prompt) as events:
            async for event in events:
                seen.append(event)
                if "data" in event:
                    yield event["data"]

    events = [event async for event in asking("root", ask).stream_async("go")]
    assert_tree(events)
    assert seen == nested(events)
    assert [event.data for event in events if event.type == "tool_progress"] == ["forty", "-two"]


async def test_the_keys_of_a_nested_event_stand_below_the_tool() -> None:
    """Or whoever asks for `data` would be given the words of a tool for those of the answer."""
    called: list[dict[str, Any]] = []
    root = asking("root", helper().as_tool("ask", ""), callback_handler=lambda **event: called.append(event))
    events = [event async for event in root.stream_async("go")]
    assert "".join(event["data"] for event in events if "data" in event) == "root is done"
    assert len([event for event in events if "result" in event]) == 1
    (delta, *_) = [event for event in nested(events) if event.type == "text_delta"]
    progress = {"tool_use": {"toolUseId": "call-1"}, "data": {"data": "forty", "delta": {"text": "forty"}}}
    assert dict(delta) == {"tool_stream_event": progress}
    assert delta.get("tool_stream_event") == progress
    assert list(delta) == ["tool_stream_event"]
    assert dict(next(event for event in nested(events) if event.type == "model_started")) == {}
    assert called == [dict(event) for event in events if event.keys()]
    assert dict(event_from_json(delta.to_json())) == dict(delta)


async def test_the_reader_of_a_nested_run_sees_those_nested_in_it() -> None:
    third = helper("deep", name="third")
    second, seen = asking("second", third.as_tool("dive", "")), []

    @tool
    async def ask(prompt: str) -> str:
        async with second.stream_async(prompt) as events:
            seen.extend([event async for event in events])
        return "read"

    events = [event async for event in asking("root", ask).stream_async("go")]
    assert_tree(events)
    assert seen == nested(events)
    assert [event["data"] for event in seen if "data" in event] == ["second is done"]


async def test_a_stream_that_a_tool_leaves_early_ends_before_its_call() -> None:
    sub = make("sub", [TextDelta("a"), anyio.sleep_forever])

    @tool
    async def ask(prompt: str) -> str:
        async for event in sub.stream_async(prompt):
            if event.type == "text_delta":
                break
        return "enough"

    events = [event async for event in asking("root", ask).stream_async("go")]
    assert_tree(events)
    assert result_of(events, root=False).stop_reason == "cancelled"
    assert tool_texts(events) == ["enough"]


async def test_a_run_that_outlives_the_call_it_was_started_in_is_ended_with_it() -> None:
    held: list[AgentStream] = []
    sub = make("sub", [TextDelta("a"), anyio.sleep_forever])

    @tool
    async def ask(prompt: str) -> str:
        held.append(sub.stream_async(prompt))
        await anext(held[0])
        return "started"

    events = [event async for event in asking("root", ask).stream_async("go")]
    assert_tree(events)
    assert result_of(events).stop_reason == "end_turn"
    assert result_of(events, root=False).stop_reason == "cancelled"


async def test_a_run_that_is_started_when_the_call_is_over_is_a_run_of_its_own() -> None:
    sub, go, seen = helper(), anyio.Event(), []

    async def later() -> None:
        await go.wait()
        seen.extend([event async for event in sub.stream_async("later")])

    async with anyio.create_task_group() as tasks:

        @tool
        async def ask(prompt: str) -> str:
            tasks.start_soon(later)
            return prompt

        events = [event async for event in asking("root", ask).stream_async("go")]
        go.set()
    assert_tree(events)
    assert nested(events) == nested(seen) == []
    assert_tree(seen)


async def test_a_slow_reader_above_holds_a_nested_run_up() -> None:
    """It waits where 256 events are waiting, and none is lost."""
    made = 0

    def counted(request: Any) -> Any:
        nonlocal made
        for _ in range(1000):
            made += 1
            yield TextDelta("x")
        yield ModelFinished("end_turn")

    root = asking("root", make("sub", counted).as_tool("ask", ""))
    async with root.stream_async("go") as stream:
        async for event in stream:
            if event.parent_run_id is not None:
                break
        for _ in range(50):
            await checkpoint()
        assert 100 < made < 400
        events = [event async for event in stream]
    assert made == 1000
    assert len([event for event in events if event.type == "text_delta" and event.parent_run_id]) == 1000


async def test_a_blocking_sink_above_holds_a_nested_run_up() -> None:
    made, gate = 0, anyio.Event()

    def counted(request: Any) -> Any:
        nonlocal made
        for _ in range(200):
            made += 1
            yield TextDelta("x")
        yield ModelFinished("end_turn")

    async def wait(batch: Any) -> None:
        await gate.wait()

    sink = BatchListSink(limit=20, work=wait)
    root = asking("root", make("sub", counted).as_tool("ask", ""), sinks=[sink])
    async with root.stream_async("go") as stream:
        events = [await anext(stream) for _ in range(20)]
        for _ in range(50):
            await checkpoint()
        assert made < 60
        gate.set()
        events += [event async for event in stream]
    assert_tree(events)
    assert sink.types == [event.type for event in events]


# -- sinks and handlers ------------------------------------------------------------------------------------------------


async def test_a_sink_of_both_runs_sees_each_event_once_and_is_opened_once() -> None:
    shared, own = ListSink("shared"), ListSink("own")
    sub = helper(sinks=[shared, own])
    root = asking("root", sub.as_tool("ask", ""), sinks=[shared])
    events = [event async for event in root.stream_async("go")]
    assert shared.events == events
    assert [run.agent for run in shared.opened] == ["root"]
    assert own.events == nested(events)
    assert [run.agent for run in own.opened] == ["helper"]
    assert own.closed == shared.closed == 1


async def test_a_sink_two_levels_above_is_not_opened_again() -> None:
    sink = ListSink()
    third = helper(name="third", sinks=[sink])
    root = asking("root", asking("second", third.as_tool("dive", "")).as_tool("ask", ""), sinks=[sink])
    events = [event async for event in root.stream_async("go")]
    assert sink.events == events
    assert len(sink.opened) == 1


async def test_a_handler_of_both_runs_is_called_once_with_each_event() -> None:
    called: list[dict[str, Any]] = []

    def handler(**event: Any) -> None:
        called.append(event)

    third = helper(name="third", callback_handler=handler)
    root = asking("root", asking("second", third.as_tool("dive", "")).as_tool("ask", ""), callback_handler=handler)
    events = [event async for event in root.stream_async("go")]
    assert called == [dict(event) for event in events if event.keys()]


async def test_a_handler_of_the_nested_run_alone_is_called_with_the_keys_of_any_run() -> None:
    called: list[dict[str, Any]] = []
    sub = helper(callback_handler=lambda **event: called.append(event))
    await asking("root", sub.as_tool("ask", "")).invoke_async("go")
    assert [event["data"] for event in called if "data" in event] == ["forty", "-two"]


async def test_a_handler_above_that_raises_fails_the_run_above() -> None:
    def handler(**event: Any) -> None:
        if "tool_stream_event" in event:
            raise LookupError("no screen")

    sink = ListSink()
    root = asking("root", helper().as_tool("ask", ""), callback_handler=handler, sinks=[sink])
    with pytest.raises(LookupError, match="no screen"):
        await root.invoke_async("go")
    assert_tree(sink.events)
    assert sink.types[-1] == "run_failed"
    assert result_of(sink.events, root=False).stop_reason == "cancelled"


async def test_a_handler_of_the_nested_run_that_raises_fails_that_run() -> None:
    def handler(**event: Any) -> None:
        if "data" in event:
            raise LookupError("no screen")

    root = asking("root", helper(callback_handler=handler).as_tool("ask", ""))
    events = [event async for event in root.stream_async("go")]
    assert_tree(events)
    assert tool_texts(events) == ["ask failed: LookupError: no screen"]
    assert nested(events)[-1].type == "run_failed"


async def test_a_required_sink_above_that_fails_at_a_nested_event_fails_the_run_above() -> None:
    def fail(event: Event) -> None:
        if event.parent_run_id is not None:
            raise OSError("disk full")

    root = asking("root", helper().as_tool("ask", ""), sinks=[ListSink("disk", required=True, fail=fail)])
    with pytest.raises(PluginError, match="disk full"):
        await root.invoke_async("go")


async def test_a_sink_above_that_is_switched_off_by_nested_events_is_said_in_the_run_above() -> None:
    """The end of a nested run is not the end of the stream: it may be said after it."""

    def fail(event: Event) -> None:
        if event.parent_run_id is not None and event.type != "run_started":
            raise OSError("disk full")

    root = asking("root", make("sub", text("x")).as_tool("ask", ""), sinks=[ListSink("disk", fail=fail)])
    events = [event async for event in root.stream_async("go")]
    assert_tree(events)
    (failed,) = [event for event in events if event.type == "plugin_failed"]
    assert failed.parent_run_id is None


# -- what the model above is told --------------------------------------------------------------------------------------


async def test_a_nested_run_that_fails_is_an_error_result_with_its_reason() -> None:
    sub = make("sub", [TextDelta("half"), ProviderError("the service is down")])
    events = [event async for event in asking("root", sub.as_tool("ask", "")).stream_async("go")]
    assert_tree(events)
    (failed,) = [event for event in events if event.type == "run_failed"]
    assert failed.parent_run_id == events[0].run_id
    assert tool_texts(events) == ["ask failed: ProviderError: the service is down"]
    assert result_of(events).stop_reason == "end_turn"


async def test_structured_output_is_the_result_as_json() -> None:
    @dataclass
    class Answer:
        answer: int

    sub = helper('{"answer": ', "42}", output=Answer)
    events = [event async for event in asking("root", sub.as_tool("ask", "")).stream_async("go")]
    assert_tree(events)
    assert result_of(events, root=False).output == {"answer": 42}
    assert tool_texts(events) == ['{"answer":42}']


@pytest.mark.parametrize(
    ("script", "limits", "told"),
    [
        (text(""), {}, "ask is done, and has said nothing"),
        (
            text("half", stop=ModelFinished("max_tokens")),
            {},
            "half\n\n[ask was stopped before it was done: max_tokens]",
        ),
        (calls(("nothing", {})), {"cycles": 1}, "ask was stopped before it had an answer: limit_cycles"),
    ],
)
async def test_how_a_nested_run_ended_is_said_in_the_result(script: Any, limits: dict[str, int], told: str) -> None:
    sub = make("sub", script, limits=Limits(**limits))  # type: ignore[arg-type]
    events = [event async for event in asking("root", sub.as_tool("ask", "")).stream_async("go")]
    assert tool_texts(events) == [told]
    assert result_of(events).stop_reason == "end_turn"


async def test_an_empty_prompt_is_an_error_result_that_says_what_is_wanted() -> None:
    root = make("root", calls(("ask", {"prompt": " "})), text("ok"), tools=[helper().as_tool("ask", "")])
    events = [event async for event in root.stream_async("go")]
    assert tool_texts(events) == ["the prompt is empty; say what is to be done"]


async def test_tools_of_a_nested_run_get_the_same_context() -> None:
    got: list[object] = []

    @tool(effect="none")
    async def look(prompt: str, ctx: ToolContext[dict[str, str]]) -> str:
        got.append(ctx.context)
        return prompt

    root = asking("root", asking("sub", look).as_tool("ask", ""))
    await root.invoke_async("go", context={"user": "ann"})
    assert got == [{"user": "ann"}]


async def test_an_agent_may_take_longer_than_other_tools() -> None:
    """A person may be asked in it; `timeout` bounds it where that is wanted. Time passes: its limit is under test."""
    sub = make("sub", [lambda: anyio.sleep(0.05), TextDelta("late"), ModelFinished("end_turn")])
    limits = Limits(tool_seconds=0.01)
    events = [event async for event in asking("root", sub.as_tool("ask", ""), limits=limits).stream_async("go")]
    assert tool_texts(events) == ["late"]
    hasty = sub.as_tool("ask", "", timeout=0.01)
    events = [event async for event in asking("root", hasty).stream_async("go")]
    assert_tree(events)
    assert tool_texts(events) == ["ask did not finish within its time limit of 0.01 s and was stopped"]


# -- ending ------------------------------------------------------------------------------------------------------------


class Held:
    """A tool deep in a tree of runs that waits until it is cancelled, and cleans up."""

    def __init__(self, depth: int = 1, **options: Any) -> None:
        self.started = anyio.Event()
        self.cleaned = False

        @tool(effect="none")
        async def hold(prompt: str) -> str:
            self.started.set()
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await checkpoint()
                self.cleaned = True
            return prompt

        self.sink = ListSink()
        agent = asking("level 0", hold)
        for level in range(1, depth):
            agent = asking(f"level {level}", agent.as_tool("ask", ""))
        self.root = asking("root", agent.as_tool("ask", ""), sinks=[self.sink], **options)


@pytest.mark.parametrize("depth", [1, 3])
async def test_cancelling_the_root_ends_what_is_nested_in_it_first(depth: int) -> None:
    held = Held(depth)
    async with held.root.stream_async("go") as stream, anyio.create_task_group() as tasks:

        async def stop() -> None:
            await held.started.wait()
            stream.cancel()

        tasks.start_soon(stop)
        with anyio.fail_after(5):
            events = [event async for event in stream]
    assert held.cleaned
    assert_tree(events)
    ends = [event for event in events if isinstance(event, RunFinished)]
    assert [event.result.stop_reason for event in ends] == ["cancelled"] * (depth + 1)
    assert ends[-1] is events[-1]


async def test_leaving_the_block_ends_what_is_nested_before_the_next_line_runs() -> None:
    held = Held(2)
    async with held.root.stream_async("go"):
        with anyio.fail_after(5):
            await held.started.wait()
    assert held.cleaned
    assert_tree(held.sink.events)


async def test_the_time_limit_of_the_root_ends_all_with_that_reason() -> None:
    held = Held(2, limits=Limits(seconds=0.05))
    with anyio.fail_after(5):
        result = await held.root.invoke_async("go")
    assert result.stop_reason == "limit_time"
    assert_tree(held.sink.events)
    ends = [event.result.stop_reason for event in held.sink.events if isinstance(event, RunFinished)]
    assert ends == ["limit_time"] * 3


async def test_the_time_limit_of_a_nested_run_ends_only_that() -> None:
    sub = make("sub", [anyio.sleep_forever], limits=Limits(seconds=0.02))
    events = [event async for event in asking("root", sub.as_tool("ask", "")).stream_async("go")]
    assert_tree(events)
    assert result_of(events).stop_reason == "end_turn"
    assert tool_texts(events) == ["ask was stopped before it had an answer: limit_time"]


async def test_a_tool_of_a_nested_run_may_close_the_stream_of_the_root() -> None:
    """It cancels and does not wait for itself."""
    streams: list[AgentStream] = []

    @tool(effect="none")
    async def close(prompt: str) -> str:
        await streams[0].aclose()
        return prompt

    sink = ListSink()
    root = asking("root", asking("sub", close).as_tool("ask", ""), sinks=[sink])
    streams.append(root.stream_async("go"))
    with anyio.fail_after(5):
        async with streams[0] as stream:
            [event async for event in stream]
    assert_tree(sink.events)
    assert result_of(sink.events).stop_reason == "cancelled"


async def test_a_nested_run_that_does_not_end_is_left_behind_before_the_root_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    release, started = anyio.Event(), anyio.Event()

    @tool(effect="none")
    async def stuck(prompt: str) -> str:
        with anyio.CancelScope(shield=True):
            started.set()
            await release.wait()
        return prompt

    sink = ListSink()
    root = asking("root", asking("sub", stuck).as_tool("ask", ""), sinks=[sink])
    with anyio.fail_after(5):
        async with root.stream_async("go") as stream:
            await started.wait()
            with caplog.at_level(logging.ERROR):
                await stream.aclose(grace=0.02)
    release.set()
    await anyio.wait_all_tasks_blocked()
    assert_tree(sink.events)
    assert "left behind: tool 'stuck'" in caplog.text


async def test_a_run_started_while_its_parent_is_being_cancelled_is_cancelled_too() -> None:
    sub, started, sink = helper(), anyio.Event(), ListSink()

    @tool
    async def ask(prompt: str) -> str:
        try:
            started.set()
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await sub.invoke_async("last words")
        return prompt

    async with asking("root", ask, sinks=[sink]).stream_async("go"):
        await started.wait()
    assert_tree(sink.events)
    assert result_of(sink.events, root=False).stop_reason == "cancelled"


async def test_a_nested_run_lives_where_its_runtime_is_open() -> None:
    async with Runtime(discover=False) as runtime:
        root = asking("root", helper(runtime=runtime).as_tool("ask", ""), runtime=runtime)
        events = [event async for event in root.stream_async("go")]
    assert_tree(events)


async def test_nothing_of_a_nested_run_is_left_behind() -> None:
    kept: list[weakref.ref[Any]] = []

    class Kept:
        pass

    async def once() -> AgentResult:
        context = Kept()
        kept.append(weakref.ref(context))
        return await asking("root", helper().as_tool("ask", "")).invoke_async("go", context=context)

    for _ in range(3):
        await once()
    await anyio.wait_all_tasks_blocked()
    gc.collect()
    assert [one() for one in kept] == [None] * 3


async def test_what_a_tool_or_a_model_starts_and_leaves_running_keeps_nothing_of_the_run() -> None:
    """Such as the connections of a client: each keeps the context that it was opened in."""

    class Kept:
        pass

    contexts: list[contextvars.Context] = []

    async def connect() -> None:
        contexts.append(contextvars.copy_context())

    @tool
    async def start() -> str:
        """Start what lasts."""
        await connect()
        return "started"

    async def once() -> weakref.ref[Kept]:
        context = Kept()
        agent = make("root", [connect, *calls(("start", {}))], text("done"), tools=[start])
        await agent.invoke_async("go", context=context)
        return weakref.ref(context)

    kept = await once()
    await anyio.wait_all_tasks_blocked()
    gc.collect()
    assert kept() is None
    assert len(contexts) == 2


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
async def test_a_process_that_exits_with_a_nested_run_in_it_says_nothing(backend: str, anyio_backend: str) -> None:
    program = f"""
import anyio
from becket import Agent, Runtime, tool
from becket.testing import ScriptedProvider, calls

runtime = Runtime(discover=False)
sub = Agent(ScriptedProvider([anyio.sleep_forever]), runtime=runtime)

@tool
async def ask() -> str:
    return (await sub.invoke_async("go")).text

root = Agent(ScriptedProvider(calls(("ask", {{}}))), [ask], runtime=runtime)
kept = root.stream_async("go")

async def main():
    async for event in kept:
        if event.type == "model_started" and event.parent_run_id:
            await anyio.lowlevel.checkpoint()
            return

anyio.run(main, backend={backend!r})
print("over")
"""
    done = await anyio.run_process([sys.executable, "-W", "error", "-c", program], check=False)
    assert (done.stdout.split(), done.stderr, done.returncode) == ([b"over"], b"", 0)


# -- depth -------------------------------------------------------------------------------------------------------------


def endless(**options: Any) -> Agent:
    """An agent that calls itself."""

    @tool(effect="none")
    async def again(prompt: str) -> str:
        return (await agents[0].invoke_async(prompt)).text

    agents = [make("endless", calls(("again", {"prompt": "again"})), text("done"), tools=[again], **options)]
    return agents[0]


@pytest.mark.parametrize(("options", "depth"), [({}, 8), ({"limits": Limits(depth=2)}, 2)])
async def test_an_agent_that_calls_itself_is_stopped_at_a_depth(options: dict[str, Any], depth: int) -> None:
    sink = ListSink()
    result = await endless(sinks=[sink], **options).invoke_async("go")
    assert result.stop_reason == "end_turn"
    assert_tree(sink.events)
    assert sink.types.count("run_started") == depth + 1
    (refused,) = [
        event.result for event in sink.events if event.type == "tool_finished" and event.result.status == "error"
    ]
    assert refused.text == (
        f"no agent can be run here: it would be nested {depth + 1} deep, and the run of 'endless' allows {depth} "
        f"(Limits(depth=...)); do it without another agent"
    )


async def test_a_depth_of_nought_allows_no_agent_as_a_tool() -> None:
    root = asking("root", helper().as_tool("ask", ""), limits=Limits(depth=0))
    (told,) = tool_texts([event async for event in root.stream_async("go")])
    assert "nested 1 deep, and the run of 'root' allows 0" in told


async def test_a_depth_below_nought_is_refused() -> None:
    with pytest.raises(ConfigError, match="the limit depth is -1; it must be a number from 0"):
        Limits(depth=-1)


# -- policies and decisions --------------------------------------------------------------------------------------------


class Recorded:
    """A policy that keeps what it was asked about, and says what it is told to."""

    name = "recorded"

    def __init__(self, verdict: Allow | Deny | None = None) -> None:
        self.asked: list[tuple[str, str]] = []
        self.verdict = verdict

    def approve(self, ctx: HookContext, call: Any, tool: AnyTool) -> Allow | Deny | None:
        self.asked.append((ctx.agent, tool.name))
        return self.verdict if tool.effect == "write" else None


@tool(effect="write")
async def change(prompt: str) -> str:
    """Change something."""
    return f"changed {prompt}"


async def test_policies_above_decide_on_the_calls_of_a_nested_run() -> None:
    above, own = Recorded(Deny("not today")), Recorded()
    sub = asking("sub", change, policies=[above, own])
    root = asking("root", sub.as_tool("ask", ""), policies=[above])
    events = [event async for event in root.stream_async("go")]
    assert above.asked == [("root", "ask"), ("sub", "change")]
    assert own.asked == [("sub", "change")]
    (denied,) = [event.result for event in nested(events) if event.type == "tool_finished"]
    assert denied.text == "change was not called, the call was denied: not today"


async def test_a_plugin_that_forbids_in_the_run_above_forbids_in_a_nested_run_of_another_runtime() -> None:
    class Guard:
        @hookimpl
        def approve_tool(self, ctx: HookContext, tool: AnyTool) -> Deny | None:
            return Deny("never") if tool.name == "change" else None

    runtime = Runtime(discover=False, plugins=[Guard()])
    sub = asking("sub", change, approver=lambda request: True)
    events = [event async for event in asking("root", sub.as_tool("ask", ""), runtime=runtime).stream_async("go")]
    (denied,) = [event.result for event in nested(events) if event.type == "tool_finished"]
    assert denied.text == "change was not called, the call was denied: never"


async def test_the_approver_above_is_asked_about_the_calls_of_a_nested_run_and_once() -> None:
    asked: list[str] = []

    async def approver(request: DecisionRequested) -> bool:
        assert request.call is not None
        asked.append(request.call.tool)
        return True

    root = asking("root", asking("sub", change).as_tool("ask", ""), approver=approver)
    events = [event async for event in root.stream_async("go")]
    assert asked == ["change"]
    assert_tree(events)


async def test_the_reader_of_the_root_decides_on_the_calls_of_a_nested_run() -> None:
    third = asking("third", change)
    root = asking("root", asking("sub", third.as_tool("dive", "")).as_tool("ask", ""), approver="reader")
    events = []
    with anyio.fail_after(5):
        async with root.stream_async("go") as stream:
            async for event in stream:
                events.append(event)
                if event.type == "decision_requested":
                    await stream.decide(event.request_id, answer=True)
    assert_tree(events)
    assert "changed to change" in [event.result.text for event in events if event.type == "tool_finished"]


async def test_the_reader_cannot_decide_in_a_run_that_a_sync_tool_has_started() -> None:
    """Its reader is another, on another event loop."""
    started, release = threading.Event(), threading.Event()
    with Runtime_(Runtime(discover=False)) as runtime:

        async def hold() -> None:
            started.set()
            await anyio.to_thread.run_sync(release.wait, 5)

        sub = make("sub", [hold, *text("over")], runtime=runtime)

        @tool(effect="none")
        def ask(prompt: str) -> str:
            return sub(prompt).text

        async with asking("root", ask, runtime=runtime, approver="reader").stream_async("go") as stream:
            assert await anyio.to_thread.run_sync(started.wait, 5)
            with pytest.raises(ConfigError, match="there is no open request 'unknown'"):
                await stream.decide("unknown", answer=True)
            release.set()
            events = [event async for event in stream]
    assert tool_texts(events) == ["over"]


async def test_a_nested_run_without_an_approver_above_keeps_its_own() -> None:
    async def approver(request: DecisionRequested) -> bool:
        return True

    root = asking("root", asking("sub", change, approver=approver).as_tool("ask", ""))
    events = [event async for event in root.stream_async("go")]
    assert [event.outcome for event in events if event.type == "decision_made"] == ["allow"]


# -- runs that are not nested ------------------------------------------------------------------------------------------


async def test_a_sync_tool_that_calls_an_agent_has_a_run_of_its_own() -> None:
    with Runtime_(Runtime(discover=False)) as runtime:
        own = ListSink()
        sub = helper(runtime=runtime, sinks=[own])

        @tool
        def ask(prompt: str) -> str:
            return sub(prompt).text

        events = [event async for event in asking("root", ask, runtime=runtime).stream_async("go")]
    assert_tree(events)
    assert nested(events) == []
    assert tool_texts(events) == ["forty-two"]
    assert_tree(own.events)
    assert nested(own.events) == []


async def test_a_sync_tool_that_calls_its_own_agent_is_stopped_at_a_depth() -> None:
    with Runtime_(Runtime(discover=False)) as runtime:

        @tool(effect="none")
        def again(prompt: str) -> str:
            return agents[0](prompt).text

        script = (calls(("again", {"prompt": "again"})), text("done"))
        sink = ListSink()
        agents = [make("endless", *script, tools=[again], runtime=runtime, limits=Limits(depth=3), sinks=[sink])]
        assert (await agents[0].invoke_async("go")).text == "done"
    assert sink.types.count("run_started") == 4


async def test_what_a_sync_tool_has_started_is_cancelled_with_its_call() -> None:
    with Runtime_(Runtime(discover=False)) as runtime:
        started, ended = threading.Event(), threading.Event()

        async def hold() -> None:
            started.set()
            await anyio.sleep_forever()

        sink = ListSink()
        sub = make("sub", [hold], runtime=runtime, sinks=[sink])

        @tool
        def ask(prompt: str) -> str:
            try:
                return sub(prompt).stop_reason
            finally:
                ended.set()

        async with asking("root", ask, runtime=runtime).stream_async("go"):
            assert await anyio.to_thread.run_sync(started.wait, 5)
        assert await anyio.to_thread.run_sync(ended.wait, 5)
    assert result_of(sink.events).stop_reason == "cancelled"


class Runtime_:  # noqa: N801  a runtime that is closed, its thread and all, at the end of a test
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def __enter__(self) -> Runtime:
        return self._runtime

    def __exit__(self, *_: object) -> None:
        self._runtime.close()


# -- sessions ----------------------------------------------------------------------------------------------------------


async def test_a_run_in_a_session_may_be_nested_and_keeps_its_history() -> None:
    sub = helper(runtime=Runtime(discover=False))

    @tool
    async def ask(prompt: str) -> str:
        return (await sub.session("notes").invoke_async(prompt)).text

    for count in (1, 2):
        events = [event async for event in asking("root", ask).stream_async("go")]
        assert_tree(events)
        (started,) = [event for event in nested(events) if event.type == "run_started"]
        assert started.session_id == "notes"
        assert [event.messages for event in nested(events) if event.type == "model_started"] == [2 * count - 1]


async def test_a_tool_may_not_go_on_in_the_session_that_its_own_run_is_in() -> None:
    """Two runs would write one history; the tool gets an error that says so."""

    @tool
    async def ask(prompt: str) -> str:
        return (await roots[0].session("own").invoke_async(prompt)).text

    roots = [asking("root", ask)]
    events = [event async for event in roots[0].session("own").stream_async("go")]
    assert_tree(events)
    (told,) = tool_texts(events)
    assert told.startswith("ask failed: SessionError: ")
