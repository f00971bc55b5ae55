"""What single events are told as, where a scenario has none of them: hand-made events, each as a run stamps it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from becket import (
    AgentResult,
    CycleStarted,
    DecisionMade,
    DecisionRequested,
    Document,
    ErrorInfo,
    Image,
    Json,
    Message,
    MessageAdded,
    ModelFinished,
    ModelStarted,
    OutputPartial,
    PluginEvent,
    PluginFailed,
    ReasoningDelta,
    RetryScheduled,
    RunFailed,
    RunFinished,
    RunInfo,
    RunStarted,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolFinished,
    ToolResult,
    ToolStarted,
    UnknownEvent,
    Usage,
)
from becket_agui import AgUi

if TYPE_CHECKING:
    from becket import Event

WIRE = AgUi()
PROMPT = (Message("user", (Text("go"),)),)
INFO = RunInfo("root", "agent", "scripted:model")
FINISHED = RunFinished(AgentResult("end_turn"))


def told(*events: Event, messages: list[Any] | None = None, finish: bool = False) -> bytes:
    """An answer to these events; those that say no run are the root's, and all are of the first cycle."""
    encoder = WIRE.open(WIRE.request_model(threadId="t", runId="r", messages=messages or []), INFO)
    pieces = []
    for event in events:
        stamped: Any = event
        stamped.run_id = event.run_id or "root"
        stamped.cycle = event.cycle or 1
        stamped.attempt = event.attempt or 1
        pieces.append(encoder.encode(event))
    return b"".join([*pieces, encoder.finish()] if finish else pieces)


def of(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["type"] == kind]


# -- the model ---------------------------------------------------------------------------------------------------------


def test_a_call_that_is_made_again_discards_what_was_said(judged: Any, assembled: Any) -> None:
    """It is closed and marked: a client that shows it knows better, and one that sends it back is not believed."""
    events = judged(
        told(
            ModelStarted("scripted:model", 1),
            ReasoningDelta("Hm"),
            ReasoningDelta(signature="s"),
            TextDelta("One, tw", 1),
            ToolCallDelta("a", "tool", "{}", 2),
            RetryScheduled("the line was cut", 0.5, 2),
            ModelStarted("scripted:model", 1, attempt=2),
            TextDelta("One, two.", attempt=2),
            MessageAdded(Message("assistant", (Text("One, two."),)), attempt=2),
            FINISHED,
        )
    )
    (retry,) = of(events, "CUSTOM")
    assert (retry["name"], retry["value"]) == (
        "becket.retry_scheduled",
        {"reason": "the line was cut", "delaySeconds": 0.5},
    )
    thought, first, second = assembled(events)
    assert [first["metadata"], first["toolCalls"][0]["metadata"]] == [{"becket": {"discarded": True}}] * 2
    assert (second["content"], "metadata" in second) == ("One, two.", False)
    body = WIRE.request_model(
        threadId="t", runId="r", messages=[thought, first, second, {"role": "user", "content": "And?"}]
    )
    assert WIRE.read(body).history == (Message("assistant", (Text("One, two."),)),)


def test_a_tool_that_is_called_again_is_named(judged: Any) -> None:
    """By the client's name of the call."""
    events = judged(told(ToolCallDelta("a", "tool", "{}"), RetryScheduled("busy", 1.0, 2, "a"), FINISHED))
    (call,) = of(events, "TOOL_CALL_START")
    assert of(events, "CUSTOM")[0]["value"]["toolCallId"] == call["toolCallId"]


def test_empty_deltas_are_not_told(judged: Any) -> None:
    """Neither begins a message."""
    events = judged(told(TextDelta(""), TextDelta("a"), TextDelta(""), ToolCallDelta("a", "tool", ""), FINISHED))
    assert [event["delta"] for event in events if "delta" in event] == ["a"]


def test_redacted_reasoning_is_a_message_without_text(judged: Any, assembled: Any) -> None:
    """What the service shows only encrypted comes back with it; each block is a message."""
    pieces = [
        ReasoningDelta(redacted="ab"),
        ReasoningDelta(redacted="cd"),
        ReasoningDelta("Hm.", 1),
        TextDelta("So.", 2),
    ]
    first, second, _ = assembled(judged(told(*pieces, FINISHED)))
    assert (first["content"], json.loads(first["encryptedValue"])) == ("", {"redacted": "abcd"})
    assert (second["content"], "encryptedValue" in second) == ("Hm.", False)


def test_a_call_that_was_broken_off_is_marked(judged: Any, assembled: Any) -> None:
    """The message that has come of it does not have it, and no result will follow."""
    kept = MessageAdded(Message("assistant", (Text("So "), ToolCall("a", "tool")), interrupted=True))
    pieces = [TextDelta("So "), ToolCallDelta("a", "tool", "{}", 1), ToolCallDelta("b", "tool", '{"ha', 2)]
    (message,) = assembled(judged(told(*pieces, kept, FINISHED)))
    assert ["metadata" in call for call in message["toolCalls"]] == [False, True]


def test_tokens_are_counted_by_model(judged: Any) -> None:
    """Of nested runs too, and of the model that answered where it is another; what is not known is left out."""
    nested = {"run_id": "n", "parent_run_id": "root"}
    events = judged(
        told(
            ModelStarted("a:one", 1),
            ModelFinished("end_turn", Usage(10, 5, 4, 3)),
            ModelFinished("end_turn", Usage(1, 1), model="b:two:free"),
            ModelFinished("end_turn", Usage(), model="c:none"),
            RunStarted("helper", "a:one", PROMPT, **nested),
            ModelStarted("a:one", 1, **nested),
            ModelFinished("end_turn", Usage(2, 0), **nested),
            RunFinished(AgentResult("end_turn"), **nested),
            FINISHED,
        )
    )
    counts = {"inputTokens": 12, "outputTokens": 5, "totalTokens": 17, "cachedInputTokens": 4, "reasoningTokens": 3}
    assert events[-1]["usage"] == [
        {"provider": "a", "model": "one", **counts},
        {"provider": "b", "model": "two:free", "inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
    ]


# -- tools and plugins -------------------------------------------------------------------------------------------------


def test_a_result_with_an_image_comes_in_parts() -> None:
    """The protocol's form since 1.0; the older of the judges knows none."""
    blocks = (Text("See"), Json({"a": 1}), Image("image/png", "aGk="), Document("application/pdf", url="https://x/y"))
    result = ToolFinished(ToolResult("a", "success", blocks))
    raw = told(ToolCallDelta("a", "tool", "{}"), result, FINISHED)
    events = [json.loads(line.removeprefix("data: ")) for line in raw.decode().split("\n\n")[:-1]]
    assert of(events, "TOOL_CALL_RESULT")[0]["content"] == [
        {"type": "text", "text": "See"},
        {"type": "text", "text": '{"a":1}'},
        {"type": "image", "source": {"type": "data", "value": "aGk=", "mimeType": "image/png"}},
        {"type": "document", "source": {"type": "url", "value": "https://x/y", "mimeType": "application/pdf"}},
    ]


def test_what_the_protocol_has_no_word_for_is_custom(judged: Any) -> None:
    """Structured output as it comes, and what plugins say, null too."""
    events = judged(told(OutputPartial({"name": "Al"}), PluginEvent("weather", "asked", None), FINISHED))
    assert [(event["name"], event["value"]) for event in of(events, "CUSTOM")] == [
        ("becket.output_partial", {"name": "Al"}),
        ("weather.asked", None),
    ]


@pytest.mark.parametrize("event", [DecisionMade("q", "allow"), ToolStarted(ToolCall("a", "tool"))])
def test_an_answer_begins_when_its_run_goes_on(event: Event) -> None:
    """And not when its tool has ended, which may be long after."""
    assert told(event).startswith(b'data: {"type":"RUN_STARTED"')


def test_what_is_not_the_clients_affair_is_not_told(judged: Any) -> None:
    """A plugin that failed, an event of a later version."""
    events = judged(
        told(TextDelta("a"), PluginFailed("p", "hook", "no"), UnknownEvent("later"), TextDelta("b"), FINISHED)
    )
    assert [event["type"].removeprefix("TEXT_MESSAGE_") for event in events[1:-1]] == [
        *("START", "CONTENT", "CONTENT", "END"),
    ]


# -- the end -----------------------------------------------------------------------------------------------------------


def test_structured_output_is_the_result(judged: Any) -> None:
    """Of a nested run too."""
    nested = {"run_id": "n", "parent_run_id": "root"}
    events = judged(
        told(
            RunStarted("helper", "a:one", PROMPT, **nested),
            RunFinished(AgentResult("end_turn", output=[1]), **nested),
            RunFinished(AgentResult("end_turn", output={"a": 1})),
        )
    )
    assert [event["result"] for event in events if "result" in event] == [[1], {"a": 1}]


@pytest.mark.parametrize("reason", ["cancelled", "limit_cycles", "limit_time", "interrupted"])
def test_a_run_that_was_stopped_is_cancelled(reason: Any, judged: Any) -> None:
    """Whoever has stopped it, or whatever limit; a nested one has failed to whoever called it."""
    nested = {"run_id": "n", "parent_run_id": "root"}
    events = judged(
        told(
            RunStarted("helper", "a:one", PROMPT, **nested),
            CycleStarted(**nested),
            RunFinished(AgentResult(reason), **nested),
            RunFinished(AgentResult(reason)),
        )
    )
    (error,) = of(events, "SUBAGENT_ERROR")
    assert (error["message"], error["code"]) == (f"the run was stopped: {reason}", reason)
    assert events[-1]["outcome"] == {"type": "cancelled"}
    assert events[-1]["metadata"]["becket"]["stopReason"] == reason


@pytest.mark.parametrize("reason", ["end_turn", "max_tokens", "stop_sequence", "content_filtered"])
def test_a_run_whose_model_ended_has_succeeded(reason: Any, judged: Any) -> None:
    """For whatever reason, which is said."""
    last = judged(told(RunFinished(AgentResult(reason))))[-1]
    assert (last["outcome"], last["metadata"]["becket"]["stopReason"]) == ({"type": "success"}, reason)


def test_a_nested_run_that_failed_ends_itself_alone(judged: Any) -> None:
    """With all that it had open; nothing of it is told after that."""
    nested = {"run_id": "n", "parent_run_id": "root"}
    events = judged(
        told(
            RunStarted("helper", "a:one", PROMPT, **nested),
            CycleStarted(**nested),
            TextDelta("so far", **nested),
            RunFailed(ErrorInfo("ValueError", "it broke"), **nested),
            TextDelta("late", **nested),
            TextDelta("I go on."),
            FINISHED,
        )
    )
    (error,) = of(events, "SUBAGENT_ERROR")
    assert (error["message"], error["code"]) == ("it broke", "ValueError")
    assert [event["delta"] for event in events if "delta" in event] == ["so far", "I go on."]
    assert events[-1]["outcome"] == {"type": "success"}


def test_a_nested_run_that_never_ended_is_ended_first(judged: Any) -> None:
    """A run must not finish with one open."""
    nested = {"run_id": "n", "parent_run_id": "root"}
    events = judged(told(RunStarted("helper", "a:one", PROMPT, **nested), TextDelta("so", **nested), FINISHED))
    assert [event["type"] for event in events][-3:] == ["TEXT_MESSAGE_END", "SUBAGENT_ERROR", "RUN_FINISHED"]


def test_an_answer_that_is_cut_off_says_so(judged: Any) -> None:
    """Where the events end before the run does; and there is nothing after the end."""
    *_, last = judged(told(TextDelta("so far"), finish=True))
    assert (last["type"], last["code"]) == ("RUN_ERROR", "cut_off")
    assert told(finish=True).startswith(b'data: {"type":"RUN_ERROR"')  # which may stand alone
    assert told(FINISHED, finish=True) == told(FINISHED)
    assert told(FINISHED, TextDelta("late")) == told(FINISHED)


# -- decisions ---------------------------------------------------------------------------------------------------------


def test_a_question_within_a_nested_run_suspends_it_and_those_above(judged: Any) -> None:
    """It is theirs whose call it is; the others wait with it, and what they say is closed until it goes on."""
    one = {"run_id": "one", "parent_run_id": "root", "parent_call_id": "a"}
    two = {"run_id": "two", "parent_run_id": "one", "parent_call_id": "b"}
    events = judged(
        told(
            ToolCallDelta("a", "outer", "{}"),
            RunStarted("agent one", "a:one", PROMPT, **one),
            ToolCallDelta("b", "inner", "{}", **one),
            RunStarted("agent two", "a:one", PROMPT, **two),
            TextDelta("Shall ", **two),
            DecisionRequested("q", "approve_tool", ToolCall("c", "change", {"v": 1}), "it may", deadline=0.5, **two),
        )
    )
    begun = of(events, "SUBAGENT_STARTED")
    assert [(event["name"], event.get("parentSubagentRunId")) for event in begun] == [("outer", None), ("inner", "one")]
    ended = of(events, "SUBAGENT_FINISHED")
    assert [(event["subagentRunId"], event["outcome"]) for event in ended] == [
        ("two", {"type": "suspended", "interruptIds": ["q"]}),
        ("one", {"type": "suspended"}),
    ]
    (interrupt,) = events[-1]["outcome"]["interrupts"]
    assert (interrupt["subagentRunId"], interrupt["toolCallId"]) == ("two", "two-1-c")
    assert interrupt["expiresAt"] == "1970-01-01T00:00:00.500+00:00"
    assert interrupt["responseSchema"]["required"] == ["approved"]


def test_a_run_that_goes_on_is_introduced_again(judged: Any, assembled: Any) -> None:
    """By what the client has sent: the call that began it, and its tool; text goes on in the same message."""
    one = {"run_id": "one", "parent_run_id": "root", "parent_call_id": "a"}
    begun = RunStarted("agent one", "a:one", PROMPT, **one)
    question = DecisionRequested("q", "approve_tool", ToolCall("c", "change"), "it may")
    calls = ToolCallDelta("a", "outer", "{}"), ToolCallDelta("c", "change", "{}")
    before = assembled(judged(told(*calls, begun, TextDelta("Shall ", **one), question)))
    stray = {"id": "x", "role": "assistant", "toolCalls": [{"id": "other", "function": {"name": "no"}}]}
    known = [{"role": "user", "content": "go"}, *before, stray]
    events = judged(told(TextDelta("I?", **one), RunFinished(AgentResult("end_turn"), **one), FINISHED, messages=known))
    (again,) = of(events, "SUBAGENT_STARTED")
    assert (again["name"], again["parentToolCallId"]) == ("outer", "root-1-a")
    assert [message["content"] for message in assembled(events, before) if "content" in message] == ["Shall I?"]


def test_a_call_that_is_being_written_goes_on_in_the_next_answer(judged: Any, assembled: Any) -> None:
    """Where another run asks meanwhile: it is closed with the answer, and counts all the same."""
    one, two = ({"run_id": run_id, "parent_run_id": "root"} for run_id in ("one", "two"))
    first = told(
        RunStarted("asks", "a:one", PROMPT, **one),
        RunStarted("writes", "a:one", PROMPT, **two),
        ToolCallDelta("a", "tool", '{"a":', **two),
        DecisionRequested("q", "approve_tool", ToolCall("c", "change"), "it may", **one),
    )
    call = ToolCall("a", "tool", {"a": 1})
    second = told(
        ToolCallDelta("a", "tool", " 1}", **two), MessageAdded(Message("assistant", (call,)), **two), FINISHED
    )
    (message,) = assembled(judged(second), assembled(judged(first)))
    assert message["toolCalls"] == [
        {"id": "two-1-a", "type": "function", "function": {"name": "tool", "arguments": '{"a": 1}'}}
    ]


def test_a_run_of_which_nothing_is_known_goes_on_all_the_same(judged: Any) -> None:
    """As one that a hook has begun, or whose call the client no longer has."""
    one = {"run_id": "one", "parent_run_id": "root"}
    two = {"run_id": "two", "parent_run_id": "gone", "parent_call_id": "a"}
    ends = [RunFinished(AgentResult("end_turn"), **nested) for nested in (one, two)]
    events = judged(told(RunStarted("hooked", "a:one", PROMPT, **one), TextDelta("a", **two), *ends, FINISHED))
    assert [event["name"] for event in of(events, "SUBAGENT_STARTED")] == ["hooked", "agent"]


@pytest.mark.parametrize(("schema", "shown"), [({"type": "string"}, {"type": "string"}), (None, None), (True, None)])
def test_another_question_is_passed_on_as_it_is(schema: Any, shown: Any, judged: Any) -> None:
    """With its own schema, where that is one that the protocol takes."""
    (interrupt,) = judged(told(DecisionRequested("q", "pick", why="Which one?", schema=schema)))[-1]["outcome"][
        "interrupts"
    ]
    assert interrupt == {"id": "q", "reason": "becket:pick", "message": "Which one?"} | (
        {} if shown is None else {"responseSchema": shown}
    )
