"""When a model call that failed is made again."""

from __future__ import annotations

import math
from typing import Any

import anyio
import pytest
from becket import (
    Agent,
    Backoff,
    ConfigError,
    Limits,
    PluginEvent,
    ProtocolError,
    ProviderError,
    RetryPolicy,
    Runtime,
    TextDelta,
    ToolCallDelta,
    ToolContext,
    ToolError,
    tool,
)
from becket.log import event_key
from becket.testing import ListSink, ScriptedProvider, calls, text

BUSY = ProviderError("busy", status=503, retryable=True)


class At:
    """A policy that waits no time, and keeps what it was asked."""

    def __init__(self, attempts: int) -> None:
        self.attempts = attempts
        self.asked: list[tuple[str, int]] = []

    def delay(self, error: ProviderError | ToolError, attempt: int, /) -> float | None:
        self.asked.append((str(error), attempt))
        return 0.0 if attempt < self.attempts else None


def failing(*failures: Any, then: Any) -> ScriptedProvider:
    """A model whose first attempts follow `failures`, one each, and the next follows `then`."""
    return ScriptedProvider(lambda request: [*failures, then][min(request.key[2], len(failures) + 1) - 1])


def make(provider: ScriptedProvider, sink: ListSink, **options: Any) -> Agent:
    return Agent(provider, sinks=[sink], runtime=Runtime(discover=False), **options)


@pytest.mark.anyio
async def test_a_call_that_fails_before_its_first_delta_is_made_again_and_said() -> None:
    sink, policy = ListSink(), At(3)
    provider = failing([BUSY], [PluginEvent("x", "loading"), BUSY], then=text("there"))
    result = await make(provider, sink, retry=policy).invoke_async("go")
    assert result.text == "there"
    assert policy.asked == [("busy", 1), ("busy", 2)]
    retries = [event for event in sink.events if event.type == "retry_scheduled"]
    assert [(event.reason, event.delay_s, event.next_attempt) for event in retries] == [
        ("busy", 0.0, 2),
        ("busy", 0.0, 3),
    ]
    assert [event.attempt for event in sink.events if event.type == "model_started"] == [1, 2, 3]
    assert [event["event_loop_throttled_delay"] for event in retries] == [0.0, 0.0]
    assert [request.key[2] for request in provider.requests] == [1, 2, 3]


@pytest.mark.anyio
@pytest.mark.parametrize("delta", [TextDelta("half"), ToolCallDelta("c", "t", "{")], ids=["text", "tool call"])
async def test_after_the_first_delta_nothing_is_tried_again(delta: Any) -> None:
    sink, policy = ListSink(), At(3)
    with pytest.raises(ProviderError, match="busy"):
        await make(failing([delta, BUSY], then=text("x")), sink, retry=policy).invoke_async("go")
    assert policy.asked == []
    assert "retry_scheduled" not in sink.types


@pytest.mark.anyio
async def test_when_the_policy_gives_up_the_last_error_ends_the_run() -> None:
    sink = ListSink()
    with pytest.raises(ProviderError) as caught:
        await make(failing([BUSY], then=[BUSY]), sink, retry=At(2)).invoke_async("go")
    assert caught.value is BUSY
    assert sink.types.count("model_started") == 2
    assert sink.types[-1] == "run_failed"


@pytest.mark.anyio
async def test_without_a_policy_nothing_is_tried_again() -> None:
    provider = failing([BUSY], then=text("x"))
    with pytest.raises(ProviderError):
        await make(provider, ListSink(), retry=None).invoke_async("go")
    assert len(provider.requests) == 1


@pytest.mark.anyio
async def test_a_run_can_be_cancelled_while_it_waits() -> None:
    sink = ListSink()
    agent = make(failing([BUSY], then=text("x")), sink, retry=Backoff(first=3600, most=3600))
    with anyio.fail_after(5):
        async with agent.stream_async("go") as events:
            async for event in events:
                if event.type == "retry_scheduled":
                    events.cancel()
    assert [event.type for event in sink.events][-2:] == ["cycle_finished", "run_finished"]


@pytest.mark.anyio
async def test_a_limit_of_time_counts_the_waiting() -> None:
    agent = make(failing([BUSY], then=text("x")), ListSink(), retry=Backoff(first=3600, most=3600))
    assert (await agent.invoke_async("go", limits=Limits(seconds=0.01))).stop_reason == "limit_time"


def test_the_backoff_waits_longer_each_time_up_to_its_most_and_never_less_than_half() -> None:
    backoff = Backoff(attempts=6, first=1, factor=3, most=10)
    for attempt, longest in ((1, 1), (2, 3), (3, 9), (4, 10), (5, 10)):
        waits = [backoff.delay(BUSY, attempt) for _ in range(50)]
        assert all(wait is not None and longest / 2 <= wait <= longest for wait in waits)
        assert len(set(waits)) > 1
    assert backoff.delay(BUSY, 6) is None


def test_the_backoff_waits_as_long_as_the_service_says_unless_that_is_too_long() -> None:
    backoff = Backoff(most=5)
    assert backoff.delay(ProviderError("busy", retryable=True, retry_after=4.5), 1) == 4.5
    assert backoff.delay(ProviderError("busy", retryable=True, retry_after=5.5), 1) is None
    assert backoff.delay(ProviderError("busy", retryable=True, retry_after=-0.5), 1) == 0.0  # a time that is past


def test_what_is_not_retryable_is_not_tried_again() -> None:
    assert Backoff().delay(ProviderError("wrong key", status=401), 1) is None


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"first": -1}, {"factor": 0.5}, {"most": float("inf")}])
def test_a_backoff_that_makes_no_sense_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="of Backoff is"):
        Backoff(**wrong)


def test_a_backoff_is_a_policy() -> None:
    assert isinstance(Backoff(), RetryPolicy)


class Flaky:
    """A tool whose first calls fail, and that keeps the keys it was called with."""

    def __init__(self, *failures: Exception, idempotent: bool = True, timeout: float | None = None) -> None:
        self.keys: list[str] = []
        self.given: list[list[str]] = []
        left = list(failures)

        @tool(idempotent=idempotent, effect="none", timeout=timeout)
        async def send(to: list[str], ctx: ToolContext[None]) -> str:
            self.keys.append(ctx.key)
            self.given.append(list(to))
            to.append("spoilt")
            if left:
                raise left.pop(0)
            return "sent"

        self.tool = send

    async def run(self, sink: ListSink, **options: Any) -> str:
        """What the model is told."""
        provider = ScriptedProvider(calls(("send", {"to": ["ann"]})), text("done"))
        await make(provider, sink, tools=[self.tool], **options).invoke_async("go")
        return next(event.result.text for event in sink.events if event.type == "tool_finished")


LATER = ToolError("the queue is full", retryable=True)


@pytest.mark.anyio
async def test_a_call_that_may_be_repeated_is_made_again_under_its_key() -> None:
    flaky, sink, policy = Flaky(LATER, LATER), ListSink(), At(3)
    assert await flaky.run(sink, retry=policy) == "sent"
    assert len(flaky.keys) == 3
    assert len(set(flaky.keys)) == 1
    assert flaky.given == [["ann"]] * 3  # what the tool did to its arguments is not seen by the next
    assert policy.asked == [("the queue is full", 1), ("the queue is full", 2)]
    retries = [event for event in sink.events if event.type == "retry_scheduled"]
    assert [(event.reason, event.next_attempt, event.call_id) for event in retries] == [
        ("the queue is full", 2, "call-1"),
        ("the queue is full", 3, "call-1"),
    ]
    assert [(dict(event), event.cycle, event.attempt) for event in retries] == [({}, 1, 1)] * 2
    assert len({event_key(event) for event in retries}) == 2
    assert sink.types.count("tool_started") == sink.types.count("tool_finished") == 1


@pytest.mark.anyio
async def test_a_call_that_may_not_be_repeated_is_never_made_again_and_its_result_says_so() -> None:
    flaky, sink, policy = Flaky(LATER, idempotent=False), ListSink(), At(3)
    assert await flaky.run(sink, retry=policy) == (
        "the queue is full\n"
        "(It may succeed later. It was not made again, since it is not known whether that would be safe.)"
    )
    assert len(flaky.keys) == 1
    assert policy.asked == []


@pytest.mark.anyio
@pytest.mark.parametrize("failure", [ToolError("no such address"), OSError("the line is cut")])
async def test_a_tool_that_does_not_call_its_failure_retryable_is_not_called_again(failure: Exception) -> None:
    flaky, sink = Flaky(failure), ListSink()
    assert str(failure) in await flaky.run(sink, retry=At(3))
    assert len(flaky.keys) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("retry", [At(2), None])
async def test_attempts_at_a_tool_call_come_to_an_end(retry: At | None) -> None:
    flaky = Flaky(*[LATER] * 9)
    assert await flaky.run(ListSink(), retry=retry) == "the queue is full"
    assert len(flaky.keys) == (2 if retry else 1)


class Odd:
    """A policy that names no time."""

    def __init__(self, delay: Any) -> None:
        self._delay = delay

    def delay(self, _error: ProviderError | ToolError, _attempt: int, /) -> Any:
        return self._delay


@pytest.mark.anyio
@pytest.mark.parametrize("delay", [-1.0, math.nan, math.inf, "soon"])
async def test_a_policy_that_names_no_time_fails_the_run_and_nothing_is_scheduled(delay: Any) -> None:
    """Neither of a model call nor of a tool call; it would be an event that cannot be written as JSON."""
    sink = ListSink()
    with pytest.raises(ProtocolError, match=r"delay\(\) of the retry policy <.*Odd.*> returned .*; it returns seconds"):
        await make(failing([BUSY], then=text("there")), sink, retry=Odd(delay)).invoke_async("go")
    with pytest.raises(ProtocolError, match="returns seconds from 0, or None") as caught:
        await Flaky(LATER).run(sink, retry=Odd(delay))
    assert caught.value.__cause__ is LATER
    assert "retry_scheduled" not in sink.types


@pytest.mark.anyio
async def test_the_default_policy_waits_as_long_as_the_tool_says() -> None:
    flaky, sink = Flaky(ToolError("busy", retryable=True, retry_after=0.01)), ListSink()
    assert await flaky.run(sink) == "sent"
    assert [event.delay_s for event in sink.events if event.type == "retry_scheduled"] == [0.01]


@pytest.mark.anyio
async def test_the_time_limit_of_a_tool_is_for_all_attempts_together() -> None:
    flaky = Flaky(ToolError("busy", retryable=True, retry_after=9.0), timeout=0.02)
    told = await flaky.run(ListSink())
    assert told == "send did not finish within its time limit of 0.02 s and was stopped"
    assert len(flaky.keys) == 1
