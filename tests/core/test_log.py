"""The log numbers events, keeps the last of them, and names those of the loop."""

from __future__ import annotations

import pytest
from becket import (
    ConfigError,
    CycleStarted,
    DecisionMade,
    DecisionRequested,
    Event,
    ExtensionDelta,
    MemoryLog,
    Message,
    MessageAdded,
    OutputPartial,
    PluginEvent,
    PluginFailed,
    ReasoningDelta,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolFinished,
    ToolProgress,
    ToolResult,
    ToolStarted,
    UnknownEvent,
)
from becket.log import event_key


@pytest.mark.anyio
async def test_events_are_numbered_from_one_and_the_last_are_kept() -> None:
    log = MemoryLog(keep=3)
    for number in range(5):
        assert log.append(TextDelta(str(number)))
    await log.flush()
    assert [(event.seq, event["data"]) for event in log.after(0)] == [(3, "2"), (4, "3"), (5, "4")]
    assert [event.seq for event in log.after(4)] == [5]
    assert [event.seq for event in log.after(1, 2)] == [3, 4]
    assert log.after(5) == []
    assert log.after(9) == []
    assert (log.last, log.dropped) == (5, 2)


@pytest.mark.parametrize("keep", [1000, 7])
def test_a_log_of_so_many_bytes_keeps_what_has_room(keep: int) -> None:
    """Whatever the events are; `keep` counts beside it."""
    log = MemoryLog(keep, keep_bytes=100_000)
    for _ in range(50):
        log.append(TextDelta("x" * 10_000))
    assert [event.seq for event in log.after(0)] == list(range(log.dropped + 1, 51))
    assert len(log.after(0)) == min(keep, 9)
    message = Message("assistant", (Text("x" * 40_000), ToolCall("1", "t", {"a": ["y" * 20_000]})))
    log.append(MessageAdded(message))
    assert len(log.after(0)) == min(keep, 4)
    log.append(TextDelta("x" * 1_000_000))
    assert [event.seq for event in log.after(0)] == [52]
    for _ in range(1000):
        log.append(TextDelta("x"))
    assert min(keep, 300) <= len(log.after(0)) <= min(keep, 400)  # 330 or so


def test_a_log_that_keeps_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="keep_bytes is 0"):
        MemoryLog(keep_bytes=0)
    with pytest.raises(ConfigError, match="keep is 0"):
        MemoryLog(keep=0)


def test_the_events_of_one_cycle_have_different_keys() -> None:
    """A log that knows a key drops the event, so two that share one would lose an event."""
    stamp = {"run_id": "r", "cycle": 1, "attempt": 1}
    events: list[Event] = [CycleStarted()]
    for name in ("a", "b"):
        call = ToolCall(name, "tool")
        events += [ToolStarted(call), ToolFinished(ToolResult(name, "success"))]
        events += [DecisionRequested(name, "approve_tool", call), DecisionMade(name, "allow", call_id=name)]
    events += [MessageAdded(Message("assistant", (Text("x"),))), MessageAdded(Message("user", (Text("x"),)))]
    keys = []
    for event in events:
        for field, value in stamp.items():
            setattr(event, field, value)
        keys.append(event_key(event))
    assert None not in keys
    assert len(set(keys)) == len(events)


def test_an_event_has_the_same_key_in_every_execution_of_its_run() -> None:
    first = ToolStarted(ToolCall("a", "tool", {"x": 1}), run_id="r", cycle=2, attempt=1, seq=7, time=1.0)
    again = ToolStarted(ToolCall("a", "tool", {"x": 1}), run_id="r", cycle=2, attempt=1, seq=9, time=5.0)
    assert event_key(first) == event_key(again)
    assert event_key(first) != event_key(ToolStarted(first.call, run_id="other", cycle=2, attempt=1))


@pytest.mark.parametrize(
    "event",
    [
        TextDelta("a"),
        ReasoningDelta("a"),
        ToolCallDelta("a", "tool"),
        ExtensionDelta("p"),
        ToolProgress("a"),
        OutputPartial(),
        PluginEvent("plugin", "name"),
        PluginFailed("plugin", "hook", "error"),
        UnknownEvent("name"),
    ],
    ids=lambda event: event.type,
)
def test_deltas_and_what_plugins_say_have_no_key(event: Event) -> None:
    assert event_key(event) is None
