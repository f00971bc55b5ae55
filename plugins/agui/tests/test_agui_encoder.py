"""Every scenario as AG-UI: the judges pass what is written, and put together it is what the run has said."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from becket import Allow, Deny, Edit, MessageAdded, RunFailed, ToolCallDelta
from becket.testing import Scenarios
from becket_agui import AgUi

if TYPE_CHECKING:
    from collections.abc import Callable

    from becket import Agent, AgentStream, Event
    from becket.policies import Answer

pytestmark = pytest.mark.anyio

WIRE = AgUi()
CUT_SHORT = ("held", "idle tool")


def body(*messages: dict[str, Any], **more: Any) -> Any:
    return WIRE.request_model.model_validate({"threadId": "thread", "runId": "run", "messages": messages, **more})


def asked(prompt: str) -> dict[str, Any]:
    return {"id": f"asked {prompt}", "role": "user", "content": prompt}


async def answer(
    stream: AgentStream[Any], given: Any, *, seen: list[Event], after: Callable[[Event], object] = lambda _: None
) -> bytes:
    """One answer, written to its end as a server does."""
    encoder = WIRE.open(given, stream.info)
    pieces = []
    try:
        while not encoder.done and (events := await stream.read()):
            for at, event in enumerate(events, start=1):
                seen.append(event)
                pieces.append(encoder.encode(event))
                if encoder.done:
                    stream.unread(events[at:])
                    break
                after(event)
    except Exception:
        assert isinstance(seen[-1], RunFailed)
    return b"".join([*pieces, encoder.finish()])


async def one(agent: Agent[Any], prompt: str, **options: Any) -> tuple[bytes, list[Event]]:
    """The whole answer to a prompt, and the events it was written from."""
    seen: list[Event] = []
    async with agent.stream_async(prompt) as stream:
        return await answer(stream, body(asked(prompt)), seen=seen, **options), seen


def types(events: list[dict[str, Any]]) -> list[str]:
    """The types, those of deltas left out."""
    return [event["type"] for event in events if "delta" not in event]


def texts(messages: list[dict[str, Any]]) -> str:
    """What the agent itself has said."""
    return "".join(
        message.get("content", "")
        for message in messages
        if message["role"] == "assistant" and "subagentRunId" not in message
    )


@pytest.mark.parametrize("name", [name for name in Scenarios.names if name not in (*CUT_SHORT, "asks", "flood")])
async def test_an_answer_is_what_the_run_has_said(name: str, judged: Any, assembled: Any) -> None:
    """Both judges pass it, and its deltas put together are the messages of the run, nested ones among them."""
    raw, seen = await one(Scenarios().agent, name)
    messages = assembled(judged(raw))
    assert texts(messages) == Scenarios.text(name)
    said = [event.message for event in seen if isinstance(event, MessageAdded) and event.message.role == "assistant"]
    told = [message for message in messages if message["role"] == "assistant"]
    assert [message.get("content", "") for message in told] == [message.text for message in said]
    for message, mine in zip(told, said, strict=True):
        written = [
            "".join(d.fragment for d in seen if isinstance(d, ToolCallDelta) and d.call_id == call.id)
            for call in mine.tool_calls
        ]
        assert [call["function"]["arguments"] for call in message.get("toolCalls", [])] == written


async def test_a_run_begins_with_who_it_is(judged: Any) -> None:
    """The client's names for thread and run come back, and becket's own name of the run is there to cancel it by."""
    raw, seen = await one(Scenarios().agent, "text")
    first, *_, last = judged(raw)
    assert first == {
        "type": "RUN_STARTED",
        "threadId": "thread",
        "runId": "run",
        "protocolVersion": "1.0",
        "metadata": {"becket": {"runId": seen[0].run_id, "agent": "scenarios"}},
        "timestamp": int(seen[0].time * 1000),
    }
    assert last == {
        "type": "RUN_FINISHED",
        "threadId": "thread",
        "runId": "run",
        "outcome": {"type": "success"},
        "usage": [{"provider": "scripted", "model": "model", "inputTokens": 10, "outputTokens": 3, "totalTokens": 13}],
        "metadata": {"becket": {"stopReason": "end_turn", "cycles": 1}},
        "timestamp": int(seen[-1].time * 1000),
    }


async def test_results_come_as_they_are_there(judged: Any) -> None:
    """The fast tool's result is told before the slow one's, which was called first."""
    events = judged((await one(Scenarios().agent, "tools"))[0])
    assert types(events) == [
        "RUN_STARTED",
        "STEP_STARTED",
        "TOOL_CALL_START",
        "TOOL_CALL_START",
        "TOOL_CALL_END",
        "TOOL_CALL_END",
        "TOOL_CALL_RESULT",
        "TOOL_CALL_RESULT",
        "STEP_FINISHED",
        "STEP_STARTED",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_END",
        "STEP_FINISHED",
        "RUN_FINISHED",
    ]
    assert [event["content"] for event in events if event["type"] == "TOOL_CALL_RESULT"] == ["fast", "slow after 1"]


async def test_progress_is_an_activity_that_each_report_replaces(judged: Any, assembled: Any) -> None:
    """A client shows the newest report, beside the call that it belongs to."""
    events = judged((await one(Scenarios().agent, "progress"))[0])
    reports = [event for event in events if event["type"] == "ACTIVITY_SNAPSHOT"]
    assert [event["content"]["data"] for event in reports] == [{"step": 1}, {"step": 2}, {"step": 3}, "counted to 3"]
    assert {event["activityType"] for event in reports} == {"becket.tool_progress"}
    (call,) = [event["toolCallId"] for event in events if event["type"] == "TOOL_CALL_START"]
    (activity,) = [message for message in assembled(events) if message["role"] == "activity"]
    assert activity["content"] == {"toolCallId": call, "data": "counted to 3"}


async def test_reasoning_has_a_span_and_its_seal(judged: Any, assembled: Any) -> None:
    """The seal is kept by the client with the reasoning that it belongs to."""
    events = judged((await one(Scenarios().agent, "reasoning"))[0])
    assert types(events)[2:8] == [
        "REASONING_START",
        "REASONING_MESSAGE_START",
        "REASONING_MESSAGE_END",
        "REASONING_ENCRYPTED_VALUE",
        "REASONING_END",
        "TEXT_MESSAGE_START",
    ]
    thought, said = assembled(events)
    assert thought["content"] == "Six times seven."
    assert json.loads(thought["encryptedValue"]) == {"signature": "c2lnbmVk"}
    assert said["content"] == "It is 42."


@pytest.mark.parametrize(
    ("name", "message", "code"),
    [("fails first", "the service is overloaded", "overloaded"), ("fails midway", "the line was cut", "ProviderError")],
)
async def test_an_error_is_the_last_event(name: str, message: str, code: str, judged: Any) -> None:
    """With the text of the error, and the service's word for it or the error's kind."""
    *_, last = judged((await one(Scenarios().agent, name))[0])
    assert (last["type"], last["message"], last["code"]) == ("RUN_ERROR", message, code)


@pytest.mark.parametrize(("name", "last"), [("held", "text_delta"), ("idle tool", "tool_started")])
async def test_a_cancelled_run_is_cancelled_and_no_success(name: str, last: str, judged: Any, assembled: Any) -> None:
    """What was open is closed, and what was said is there."""
    seen: list[Event] = []
    async with Scenarios().agent.stream_async(name) as stream:
        raw = await answer(
            stream, body(asked(name)), seen=seen, after=lambda event: event.type == last and stream.cancel()
        )
    events = judged(raw)
    assert events[-1]["outcome"] == {"type": "cancelled"}
    assert "result" not in events[-1]
    assert texts(assembled(events)) == Scenarios.text(name)


async def test_a_nested_run_is_a_subagent(judged: Any, assembled: Any) -> None:
    """What it says is marked as its own, and it is tied to the call that began it."""
    events = judged((await one(Scenarios().agent, "nested"))[0])
    (begun,) = [event for event in events if event["type"] == "SUBAGENT_STARTED"]
    outer, _ = [event for event in events if event["type"] == "TOOL_CALL_START"]
    assert begun["name"] == "helper"
    assert begun["parentToolCallId"] == outer["toolCallId"]
    inner = [message for message in assembled(events) if message.get("subagentRunId") == begun["subagentRunId"]]
    assert [message["role"] for message in inner] == ["assistant", "tool", "assistant"]
    assert inner[-1]["content"] == "nested text"
    names = [event["type"] for event in events]
    assert names.index("SUBAGENT_FINISHED") < len(names) - 1 - names[::-1].index("TOOL_CALL_RESULT")


@pytest.mark.parametrize(
    ("decision", "says", "status"),
    [
        (Allow(), "The answer: changed to 7", None),
        (Deny("not today"), "The answer: denied", "denied"),
        (Edit({"value": 8}), "The answer: changed to 8", None),
    ],
    ids=["allowed", "denied", "edited"],
)
async def test_what_is_asked_ends_an_answer_and_the_next_goes_on(
    decision: Answer, says: str, status: str | None, judged: Any, assembled: Any
) -> None:
    """The first names the call and its arguments; the second has the call's result and the rest, and its own usage."""
    seen: list[Event] = []
    async with Scenarios().agent.stream_async("asks") as stream:
        first = judged(await answer(stream, body(asked("asks")), seen=seen))
        (interrupt,) = first[-1]["outcome"]["interrupts"]
        await stream.decide(interrupt["id"], decision)
        before = [asked("asks"), *assembled(first)]
        resumed = body(*before, resume=[{"interruptId": interrupt["id"], "status": "resolved"}])
        second = judged(await answer(stream, resumed, seen=seen), resumed=True)
    (call,) = [event for event in first if event["type"] == "TOOL_CALL_START"]
    assert interrupt["reason"] == "tool_call"
    assert interrupt["toolCallId"] == call["toolCallId"]
    assert interrupt["message"] == "change: it may change something on this machine"
    assert interrupt["metadata"] == {"becket": {"tool": "change", "arguments": {"value": 7}}}
    (result,) = [event for event in second if event["type"] == "TOOL_CALL_RESULT"]
    assert result["toolCallId"] == call["toolCallId"]
    assert result.get("metadata", {}).get("becket", {}).get("status") == status
    assert texts(assembled(second, before)) == says
    assert [event["usage"][0]["totalTokens"] for event in (first[-1], second[-1])] == [11, 12]


async def test_what_the_host_is_asked_ends_no_answer(judged: Any, assembled: Any) -> None:
    """No client could answer it."""
    raw, _ = await one(Scenarios().agent.replace(approver=lambda request: True), "asks")
    told = judged(raw)
    assert [event["name"] for event in told if event["type"] == "CUSTOM"] == ["becket.decision_requested"]
    assert texts(assembled(told)) == Scenarios.text("asks")


async def test_a_flood_is_told_piece_by_piece(assembled: Any) -> None:
    """Each of the 100,000 pieces is an event of its own."""
    raw, _ = await one(Scenarios().agent, "flood")
    events = [json.loads(line.removeprefix("data: ")) for line in raw.decode().split("\n\n")[:-1]]
    pieces = [event["delta"] for event in events if event["type"] == "TEXT_MESSAGE_CONTENT"]
    assert len(pieces) == 100_000
    assert "".join(pieces) == Scenarios.text("flood")
