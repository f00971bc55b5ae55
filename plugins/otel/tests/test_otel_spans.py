"""The spans of a run: which there are, below which, from when to when, and what they say."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from becket import (
    Agent,
    Backoff,
    Limits,
    ModelFinished,
    ModelStarted,
    ProviderError,
    RunInfo,
    RunStarted,
    Runtime,
    SinkRun,
    TextDelta,
    ToolCall,
    ToolError,
    ToolStarted,
    Usage,
    tool,
)
from becket.testing import Scenarios, ScriptedProvider, calls, text
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

pytestmark = pytest.mark.anyio

BARE = Runtime(discover=False)

CHAT = "chat model"
AGENT = "invoke_agent scenarios"

TREES: dict[str, list[Any]] = {
    "text": [AGENT, [CHAT]],
    "tools": [AGENT, [CHAT, "execute_tool slow", "execute_tool fast", CHAT]],
    "progress": [AGENT, [CHAT, "execute_tool count", CHAT]],
    "reasoning": [AGENT, [CHAT]],
    "fails first": [f"{AGENT} ! overloaded", [f"{CHAT} ! overloaded"]],
    "fails midway": [f"{AGENT} ! ProviderError", [f"{CHAT} ! ProviderError"]],
    "held": [f"{AGENT} ! cancelled", [f"{CHAT} ! cancelled"]],
    "idle tool": [f"{AGENT} ! cancelled", [CHAT, "execute_tool wait ! interrupted"]],
    "asks": [AGENT, [CHAT, "execute_tool change", CHAT]],
    "nested": [
        AGENT,
        [CHAT, "execute_tool helper", ["invoke_agent helper", [CHAT, "execute_tool fast", CHAT]], CHAT],
    ],
    "malformed": [AGENT, [CHAT, CHAT]],
    "unicode": [AGENT, [CHAT]],
    "flood": [AGENT, [CHAT]],
}

UNTIL = {"held": "text_delta", "idle tool": "tool_started"}


@pytest.mark.parametrize("name", Scenarios.names)
async def test_each_scenario_has_its_tree_of_spans(name: str, recorded: Any, agent: Agent[Any], play: Any) -> None:
    """Parents, names and errors; and no span is left open, nor known to the sink."""
    await play(agent, name, until=UNTIL.get(name, ""))
    assert recorded.tree() == TREES[name]
    assert not recorded.sink._open  # what `context_of` looks in must not grow from run to run


@pytest.mark.parametrize("name", ["tools", "nested", "fails midway", "idle tool"])
async def test_spans_have_the_times_of_the_events(name: str, recorded: Any, agent: Agent[Any], play: Any) -> None:
    """Each span begins and ends when an event says so, and within the one above."""
    events = await play(agent, name, until=UNTIL.get(name, ""))
    times = {int(event.time * 1e9) for event in events}
    spans = {span.context.span_id: span for span in recorded.spans}
    for span in spans.values():
        assert {span.start_time, span.end_time} <= times
        if span.parent is not None:
            above = spans[span.parent.span_id]
            assert above.start_time <= span.start_time <= span.end_time <= above.end_time


async def test_a_model_call_says_what_was_asked_and_answered(recorded: Any, play: Any) -> None:
    """Provider and model, the response's own id and model, why it stopped, and what it took."""
    answer = ModelFinished(
        "max_tokens", Usage(100, 50, 40, 30), model="openai:gpt-other", response_id="resp-1", confidence=0.5
    )
    model = ScriptedProvider([TextDelta("a"), answer], name="google")
    agent = Agent(model, name="a", sinks=[recorded.sink], runtime=BARE)
    (finished,) = [event for event in await play(agent, "x") if event.type == "model_finished"]
    chat = recorded.named(CHAT)
    assert chat.kind is SpanKind.CLIENT
    assert dict(chat.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "model",
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "gpt-other",
        "gen_ai.response.id": "resp-1",
        "gen_ai.response.finish_reasons": ("length",),
        "gen_ai.response.time_to_first_chunk": finished.first_token_s,
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 50,
        "gen_ai.usage.cache_read.input_tokens": 40,
        "gen_ai.usage.reasoning.output_tokens": 30,
        "becket.cycle": 1,
        "becket.attempt": 1,
        "becket.confidence": 0.5,
    }


async def test_a_run_says_whose_it_is_and_what_it_came_to(recorded: Any, play: Any) -> None:
    """The agent, the conversation, why it stopped, and the tokens of all its model calls together."""
    model = ScriptedProvider(text("a", "b"), name="google")
    agent = Agent(model, name="helpful", sinks=[recorded.sink], runtime=Runtime(discover=False))
    events = await play(agent.session("s-1"), "x")
    span = recorded.named("invoke_agent helpful")
    assert span.kind is SpanKind.INTERNAL
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "gcp.gen_ai",
        "gen_ai.agent.name": "helpful",
        "gen_ai.request.model": "model",
        "gen_ai.conversation.id": "s-1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 2,
        "becket.run.id": events[0].run_id,
        "becket.stop_reason": "end_turn",
        "becket.cycles": 1,
    }
    assert all(span.attributes["gen_ai.conversation.id"] == "s-1" for span in recorded.spans)


async def test_a_tool_call_says_which_and_how_it_went(recorded: Any, agent: Agent[Any], play: Any) -> None:
    await play(agent, "progress")
    span = recorded.named("execute_tool count")
    assert span.kind is SpanKind.INTERNAL
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "count",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": "call-1",
        "becket.cycle": 1,
        "becket.tool.status": "success",
    }


@tool(effect="none", idempotent=True)
async def fragile() -> str:
    """Fail, and say a secret."""
    raise ToolError("the secret is hunter-two", retryable=True)


async def test_a_tool_that_fails_is_an_error_and_says_no_more(recorded: Any, play: Any) -> None:
    """What a tool says of its failure is for the model: content. Its retry is an event of its span."""
    model = ScriptedProvider(calls(("fragile", {})), text("no"))
    agent = Agent(model, [fragile], name="a", retry=Backoff(attempts=2, first=0), sinks=[recorded.sink], runtime=BARE)
    await play(agent, "x")
    assert recorded.tree() == ["invoke_agent a", [CHAT, "execute_tool fragile ! tool_error", CHAT]]
    (retry,) = recorded.named("execute_tool fragile").events
    assert (retry.name, dict(retry.attributes)) == (
        "becket.retry_scheduled",
        {"becket.retry.delay": 0.0, "becket.retry.attempt": 2},
    )
    assert "hunter-two" not in "".join(span.to_json() for span in recorded.spans)


async def test_an_attempt_that_fails_is_a_span_of_its_own(recorded: Any, play: Any) -> None:
    """The failed model call ends where the retry is scheduled, which the run's span says."""
    answers = [ProviderError("busy", retryable=True)], text("ok")
    model = ScriptedProvider(lambda request: answers[request.key[2] - 1])
    agent = Agent(model, name="a", retry=Backoff(attempts=2, first=0), sinks=[recorded.sink], runtime=BARE)
    await play(agent, "x")
    assert recorded.tree() == ["invoke_agent a", [f"{CHAT} ! ProviderError", CHAT]]
    assert [span.attributes["becket.attempt"] for span in recorded.spans[1:]] == [1, 2]
    (retry,) = recorded.named("invoke_agent a").events
    assert retry.attributes["becket.retry.reason"] == "busy"


async def test_a_failed_run_says_why(recorded: Any, play: Any) -> None:
    """The message, and what the service calls the request."""
    failure = ProviderError("the quota is used up", status=429, code="quota", request_id="req-9")
    agent = Agent(ScriptedProvider([failure]), name="a", retry=None, sinks=[recorded.sink], runtime=BARE)
    await play(agent, "x")
    span = recorded.named("invoke_agent a")
    assert span.status.description == "the quota is used up"
    assert span.attributes["error.type"] == "quota"
    assert span.attributes["becket.error.request_id"] == "req-9"


async def test_a_limit_is_told_as_an_error(recorded: Any, play: Any) -> None:
    model = ScriptedProvider(calls(("fragile", {})))
    agent = Agent(model, [fragile], name="a", retry=None, limits=Limits(cycles=1), sinks=[recorded.sink], runtime=BARE)
    await play(agent, "x")
    span = recorded.named("invoke_agent a")
    assert span.attributes["error.type"] == span.attributes["becket.stop_reason"] == "limit_cycles"


async def test_decisions_are_events_of_the_run(recorded: Any, agent: Agent[Any], play: Any) -> None:
    """Who was asked about which call, and what became of it; not why, which may quote arguments."""
    events = await play(agent, "asks")
    asked, made = recorded.named(AGENT).events
    request_id = next(event.request_id for event in events if event.type == "decision_requested")
    assert (asked.name, dict(asked.attributes)) == (
        "becket.decision_requested",
        {
            "becket.decision.request_id": request_id,
            "becket.decision.kind": "approve_tool",
            "gen_ai.tool.name": "change",
            "gen_ai.tool.call.id": "call-1",
        },
    )
    assert (made.name, dict(made.attributes)) == (
        "becket.decision_made",
        {
            "becket.decision.request_id": request_id,
            "becket.decision.outcome": "allow",
            "becket.decision.by": "the reader",
            "gen_ai.tool.call.id": "call-1",
        },
    )


async def test_a_call_that_is_never_made_is_an_event_and_no_span(recorded: Any, agent: Agent[Any], play: Any) -> None:
    """Such as one whose arguments cannot be read."""
    await play(agent, "malformed")
    (event,) = recorded.named(AGENT).events
    assert (event.name, dict(event.attributes)) == (
        "becket.tool_refused",
        {"gen_ai.tool.name": "fast", "gen_ai.tool.call.id": "call-1", "becket.tool.status": "error"},
    )


async def test_a_plugin_that_fails_is_an_event(recorded: Any, play: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        name = "broken"
        required = False

        def open(self, run: RunInfo) -> SinkRun:
            raise OSError("no")

        def with_argument(self, argument: str) -> Broken:
            return self

    agent = Agent(ScriptedProvider(text("a")), name="a", sinks=[recorded.sink, Broken()], runtime=BARE)
    await play(agent, "x")
    caplog.clear()  # becket says so in the log
    (event,) = recorded.named("invoke_agent a").events
    assert (event.name, dict(event.attributes)) == (
        "becket.plugin_failed",
        {"becket.plugin": "broken", "becket.plugin.hook": "sink.open"},
    )


# -- many runs ---------------------------------------------------------------------------------------------------------

MIXED = ("text", "tools", "nested", "fails midway", "reasoning")


def overlap(spans: list[ReadableSpan]) -> int:
    """How many were open at once, at most."""
    steps = sorted([(span.start_time, 1) for span in spans] + [(span.end_time, -1) for span in spans])
    now = most = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    return most


async def test_fifty_runs_at_once_are_kept_apart(recorded: Any, agent: Agent[Any]) -> None:
    """Each caller has a span of its own, and below it the spans of its own run alone, all in its own trace."""
    tracer = recorded.provider.get_tracer("test")
    go = anyio.Event()

    async def call(number: int) -> None:
        with tracer.start_as_current_span(f"caller {number}"):
            await go.wait()
            async with agent.stream_async(MIXED[number % len(MIXED)]) as events:
                try:
                    async for _ in events:
                        await checkpoint()
                except ProviderError:
                    pass

    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(call, number)
        await anyio.wait_all_tasks_blocked()
        go.set()
    assert overlap([span for span in recorded.spans if span.name == AGENT]) > 25
    callers = [span for span in recorded.spans if span.name.startswith("caller")]
    assert len(callers) == len({span.context.trace_id for span in callers}) == 50
    for caller in callers:
        number = int(caller.name.partition(" ")[2])
        assert recorded.tree(caller) == TREES[MIXED[number % len(MIXED)]]
    by_id = {span.context.span_id: span for span in recorded.spans}
    for span in by_id.values():
        assert span.parent is None or by_id[span.parent.span_id].context.trace_id == span.context.trace_id


async def test_fifty_runs_that_are_cancelled_at_once_leave_nothing_open(recorded: Any, agent: Agent[Any]) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(agent.invoke_async, "idle tool")
        await anyio.wait_all_tasks_blocked()
        assert len(recorded.sink._open) == 100  # a run and a tool each
        tasks.cancel_scope.cancel()
    assert recorded.tree() == 50 * TREES["idle tool"]
    assert not recorded.sink._open


async def test_a_stream_that_is_left_early_ends_its_spans(recorded: Any, agent: Agent[Any]) -> None:
    """Within a span of the reader's own, which is current again afterwards."""
    tracer = recorded.provider.get_tracer("test")
    with tracer.start_as_current_span("caller"):
        async with agent.stream_async("held") as events:
            async for event in events:
                if event.type == "text_delta":
                    break
    assert recorded.tree() == ["caller", TREES["held"]]


# -- observers by themselves -------------------------------------------------------------------------------------------

INFO = RunInfo("r", "a", "p:m")


async def test_what_is_open_when_the_sink_is_closed_is_ended_as_an_error(recorded: Any) -> None:
    """There is a terminal event always; but no span may be lost where one is not seen."""
    observer = recorded.sink.open(INFO)
    began = time.time()
    for event in (
        RunStarted("a", "p:m", (), run_id="r", time=began),
        ModelStarted("p:m", 1, run_id="r", time=began),
        ToolStarted(ToolCall("c", "t"), run_id="r", time=began),
    ):
        observer.emit(event)
    assert not recorded.spans
    observer.close()
    assert recorded.tree() == ["invoke_agent a ! _OTHER", ["chat m ! _OTHER", "execute_tool t ! _OTHER"]]
    assert not recorded.sink._open


async def test_events_of_a_run_that_was_not_seen_to_begin_are_left_alone(recorded: Any) -> None:
    observer = recorded.sink.open(INFO)
    observer.emit(ModelStarted("p:m", 1, run_id="r", time=1.0))
    observer.close()
    assert not recorded.spans


async def test_a_trace_that_is_not_sampled_is_measured_all_the_same(recorder: Any, play: Any) -> None:
    recorded = recorder(sampler=ALWAYS_OFF)
    await play(Scenarios().agent.replace(sinks=[recorded.sink]), "nested")
    assert not recorded.spans
    assert sum(point.count for point in recorded.points("gen_ai.client.operation.duration")) == 4
