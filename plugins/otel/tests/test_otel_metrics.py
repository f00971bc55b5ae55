"""What is measured: tokens, durations, and the time to the first piece."""

from __future__ import annotations

from typing import Any

import pytest
from becket import Agent, Backoff, ModelFinished, ProviderError, Runtime, TextDelta, Usage
from becket.testing import Scenarios, ScriptedProvider, text

pytestmark = pytest.mark.anyio

BARE = Runtime(discover=False)
TOKENS = "gen_ai.client.token.usage"
DURATION = "gen_ai.client.operation.duration"
FIRST = "gen_ai.client.operation.time_to_first_chunk"


async def test_tokens_are_counted_by_kind(recorded: Any, play: Any) -> None:
    """Input and output of each model call, under the model that has answered."""
    answer = ModelFinished("end_turn", Usage(100, 50, 40, 30), model="openai:gpt-other")
    model = ScriptedProvider([TextDelta("a"), answer])
    await play(Agent(model, name="a", sinks=[recorded.sink], runtime=BARE), "x")
    common = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "model",
        "gen_ai.response.model": "gpt-other",
    }
    points = {point.attributes["gen_ai.token.type"]: point for point in recorded.points(TOKENS)}
    assert {kind: (point.count, point.sum) for kind, point in points.items()} == {"input": (1, 100), "output": (1, 50)}
    assert dict(points["input"].attributes) == {**common, "gen_ai.token.type": "input"}
    assert points["input"].explicit_bounds[:4] == (1, 4, 16, 64)


async def test_a_service_that_does_not_count_has_no_tokens(recorded: Any, play: Any) -> None:
    """Zeros would be wrong."""
    model = ScriptedProvider([TextDelta("a"), ModelFinished("end_turn")])
    await play(Agent(model, name="a", sinks=[recorded.sink], runtime=BARE), "x")
    assert not recorded.points(TOKENS)
    assert "gen_ai.usage.input_tokens" not in recorded.named("invoke_agent a").attributes


async def test_each_model_call_has_its_duration(recorded: Any, agent: Any, play: Any) -> None:
    """Of nested runs too; as long as its span."""
    await play(agent, "nested")
    points = recorded.points(DURATION)
    chats = [span for span in recorded.spans if span.name == "chat model"]
    assert sum(point.count for point in points) == len(chats) == 4
    spans = sum(span.end_time - span.start_time for span in chats) / 1e9
    assert sum(point.sum for point in points) == pytest.approx(spans)
    assert points[0].explicit_bounds[:3] == (0.01, 0.02, 0.04)


async def test_failed_calls_are_measured_as_such(recorded: Any, play: Any) -> None:
    """One that is made again, and one that ends the run."""
    answers = [ProviderError("busy", retryable=True)], [ProviderError("no", code="quota")]
    model = ScriptedProvider(lambda request: answers[request.key[2] - 1])
    retry = Backoff(attempts=2, first=0)
    await play(Agent(model, name="a", retry=retry, sinks=[recorded.sink], runtime=BARE), "x")
    assert [point.attributes["error.type"] for point in recorded.points(DURATION)] == ["ProviderError", "quota"]
    assert not recorded.points(FIRST)


async def test_the_time_to_the_first_piece_is_the_events_own(recorded: Any, play: Any) -> None:
    model = ScriptedProvider(text("a", "b"))
    events = await play(Agent(model, name="a", sinks=[recorded.sink], runtime=BARE), "x")
    (finished,) = [event for event in events if event.type == "model_finished"]
    (point,) = recorded.points(FIRST)
    assert (point.count, point.sum) == (1, finished.first_token_s)


async def test_what_differs_from_run_to_run_is_no_attribute_of_a_metric(recorded: Any, play: Any) -> None:
    """Two conversations are one series."""
    agent = Scenarios().agent.replace(sinks=[recorded.sink])
    for name in ("one", "two"):
        await play(agent.session(name), "text")
    (point,) = recorded.points(DURATION)
    assert point.count == 2
