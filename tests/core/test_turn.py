"""The state machine of a run, tested by itself: what folds, what is refused, and how a run is brought to its end."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, get_args

import pytest
from becket import (
    AgentResult,
    CycleFinished,
    CycleStarted,
    DecisionMade,
    DecisionRequested,
    ErrorInfo,
    Event,
    ExtensionDelta,
    MalformedArguments,
    Message,
    MessageAdded,
    ModelFinished,
    ModelStarted,
    OutputPartial,
    PluginEvent,
    PluginFailed,
    ProtocolError,
    Reasoning,
    ReasoningDelta,
    RetryScheduled,
    RunFailed,
    RunFinished,
    RunStarted,
    StopReason,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolFinished,
    ToolProgress,
    ToolResult,
    ToolStarted,
    UnknownEvent,
    Usage,
    event_from_json,
)
from becket._values import DEPTH
from becket.content import to_messages
from becket.turn import Turn, parse_arguments
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HI = Message("user", (Text("hi"),))
AGAIN = Message("user", (Text("once more"),))
STARTED = RunStarted("agent", "p:m", (HI,))


def folded(*events: Event) -> Turn:
    turn = Turn("r")
    for event in events:
        turn.receive(event)
    return turn


def answering(*events: Event) -> Turn:
    """A run whose first model call has said this so far."""
    return folded(STARTED, CycleStarted(), ModelStarted("p:m", 1), *events)


def asking(*ids: str) -> Turn:
    """A run whose first model call has asked for these tool calls."""
    message = Message("assistant", tuple(ToolCall(name, "tool") for name in ids))
    return answering(ModelFinished("tool_use", Usage(3, 2)), MessageAdded(message))


def closed(turn: Turn, reason: StopReason | ErrorInfo = "cancelled") -> list[Event]:
    events = turn.close(reason)
    for event in events:
        turn.receive(event)
    return events


# -- any list of events ------------------------------------------------------------------------------------------------

IDS = st.sampled_from(["a", "b"])
WORDS = st.sampled_from(["", "x", "é"])
BLOCK = st.integers(0, 1)
STOP = st.sampled_from(get_args(StopReason))
ARGUMENTS = st.sampled_from(["", "{", "{}", '{"x": 1}', "[]", "null"])
CALLS = st.builds(ToolCall, IDS, st.just("tool"), st.just({"x": 1}))
RESULTS = st.builds(ToolResult, IDS, st.sampled_from(["success", "error", "denied"]), st.just((Text("done"),)))
BLOCKS = st.builds(Text, WORDS) | CALLS | RESULTS
MESSAGES = st.builds(Message, st.sampled_from(["user", "assistant"]), st.lists(BLOCKS, max_size=3).map(tuple))
ANY = st.one_of(
    st.just(STARTED).map(lambda event: RunStarted(event.agent, event.model, event.prompt)),
    st.builds(CycleStarted),
    st.builds(ModelStarted, st.just("p:m"), st.just(1)),
    st.builds(TextDelta, WORDS, BLOCK),
    st.builds(ReasoningDelta, WORDS, BLOCK, st.none() | WORDS, st.none() | WORDS),
    st.builds(ToolCallDelta, IDS, st.just("tool"), ARGUMENTS, BLOCK),
    st.builds(ExtensionDelta, WORDS, BLOCK, BLOCK),
    st.builds(ModelFinished, STOP, st.builds(Usage, BLOCK, BLOCK)),
    st.builds(MessageAdded, MESSAGES),
    st.builds(ToolStarted, CALLS),
    st.builds(ToolProgress, IDS, BLOCK),
    st.builds(ToolFinished, RESULTS),
    st.builds(DecisionRequested, IDS, st.just("approve_tool"), CALLS),
    st.builds(DecisionMade, IDS, st.just("allow")),
    st.builds(RetryScheduled, WORDS, st.just(0.5), st.just(2), st.none() | IDS),
    st.builds(OutputPartial, BLOCK),
    st.builds(PluginEvent, st.just("p"), st.just("n"), BLOCK),
    st.builds(PluginFailed, st.just("p"), st.just("h"), st.just("e")),
    st.builds(CycleFinished, STOP),
    st.builds(RunFinished, st.builds(AgentResult, STOP)),
    st.builds(RunFailed, st.builds(ErrorInfo, WORDS, WORDS)),
    st.builds(UnknownEvent, WORDS),
)
ONE_OF_EACH: list[Event] = [
    STARTED,
    CycleStarted(),
    ModelStarted("p:m", 1),
    TextDelta("x"),
    ReasoningDelta("x"),
    ToolCallDelta("a", "tool"),
    ExtensionDelta("p", {"seal": "x"}),
    ModelFinished("end_turn"),
    MessageAdded(Message("assistant", (Text("x"),))),
    ToolStarted(ToolCall("a", "tool")),
    ToolProgress("a"),
    ToolFinished(ToolResult("a", "success")),
    DecisionRequested("a", "approve_tool"),
    DecisionMade("a", "allow"),
    RetryScheduled("x", 0.5),
    RetryScheduled("x", 0.5, call_id="a"),
    OutputPartial(),
    PluginEvent("p", "n"),
    PluginFailed("p", "h", "e"),
    CycleFinished("end_turn"),
    RunFinished(AgentResult("end_turn")),
    RunFailed(ErrorInfo("x", "x")),
    UnknownEvent("x"),
]


def fitting(turn: Turn) -> Sequence[Event]:  # noqa: PLR0911  one for each phase
    """Events of the loop that have a place in the run now; without them a list at random would seldom get far."""
    match turn.phase:
        case "new":
            return [RunStarted("agent", "p:m", (HI,))]
        case "idle":
            return [CycleStarted()]
        case "cycle":
            return [ModelStarted("p:m", len(turn.messages))]
        case "model":
            blocks = {"a": 0, "b": 1} | {part.call_id: part.block for part in turn.parts if part.kind == "tool_call"}
            deltas = [ToolCallDelta(call_id, "tool", "{}", block) for call_id, block in blocks.items()]
            return [*deltas, ModelFinished("tool_use")]
        case "answered":
            answer = turn.answer()
            return [MessageAdded(answer)] if answer.content else [CycleFinished("end_turn")]
        case "tools" if turn.open_calls:
            call = turn.open_calls[0]
            return [ToolFinished(ToolResult(call.id, "success"))] + [ToolStarted(call)] * (call.id not in turn.started)
        case "tools":
            return [MessageAdded(turn.results_message())]
        case "ready" if not turn.calls and not turn.again:
            return [CycleFinished("end_turn"), MessageAdded(AGAIN)]
        case "ready":
            return [CycleFinished("tool_use")]
        case _:
            return []


def open_calls_of(messages: Iterable[Message]) -> list[str]:
    """The calls of the last message, after checking that those of each other have one result directly after them."""
    asked: list[str] = []
    for message in messages:
        assert [block.call_id for block in message.content if isinstance(block, ToolResult)] == asked
        asked = [call.id for call in message.tool_calls]
    return asked


class AnyEvents(RuleBasedStateMachine):
    """Events in any order: each folds, or is refused and has changed nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = Turn("r")
        self.events: list[Event] = []

    def fold(self, event: Event) -> None:
        before = self.turn.to_json()
        try:
            self.turn.receive(event)
        except ProtocolError:
            assert self.turn.to_json() == before
        else:
            self.events.append(event)

    @rule(event=ANY)
    def anything(self, event: Event) -> None:
        self.fold(event)

    @rule(data=st.data())
    def something_that_fits(self, data: st.DataObject) -> None:
        events = fitting(self.turn)
        if events:
            count = len(self.events)
            self.fold(data.draw(st.sampled_from(events)))
            assert len(self.events) == count + 1

    @invariant()
    def the_state_is_read_back_equal(self) -> None:
        assert Turn.from_json(self.turn.to_json()) == self.turn

    @invariant()
    def every_call_has_one_result_directly_after_it(self) -> None:
        assert bool(open_calls_of(self.turn.messages)) == (self.turn.phase == "tools")

    @invariant()
    def it_can_be_closed_from_anywhere(self) -> None:
        reasons: list[StopReason | ErrorInfo] = ["cancelled", ErrorInfo("ValueError", "no")]
        for reason in reasons:
            turn = Turn.from_json(self.turn.to_json())
            events = closed(turn, reason)
            ended = self.turn.phase in ("new", "done")
            assert [isinstance(event, RunFinished | RunFailed) for event in events] == [False] * (len(events) - 1) + [
                True
            ] * (not ended)
            assert turn.close("cancelled") == []
            assert turn.phase == ("new" if self.turn.phase == "new" else "done")
            assert not open_calls_of(turn.messages)
            assert turn.messages[: len(self.turn.messages)] == self.turn.messages
            if turn.phase == "done":
                assert turn.need == "nothing"
                self.nothing_folds(turn)

    def nothing_folds(self, turn: Turn) -> None:
        before = turn.to_json()
        for event in ONE_OF_EACH:
            with pytest.raises(ProtocolError, match="has no place in the run 'r' now"):
                turn.receive(event)
        assert turn.to_json() == before

    def teardown(self) -> None:
        """What folded, read back from JSON, folds to an equal state."""
        again = folded(*(event_from_json(event.to_json()) for event in self.events))
        assert again == self.turn


TestAnyEvents = AnyEvents.TestCase
TestAnyEvents.settings = settings(deadline=None, max_examples=40, stateful_step_count=30)


def test_one_of_each_event_is_tried() -> None:
    assert {type(event) for event in ONE_OF_EACH} == {*get_args(Event)}


def test_what_is_no_event_is_refused() -> None:
    strange: Any = {"type": "text_delta"}
    with pytest.raises(ProtocolError, match=r"^{'type': 'text_delta'} is not an event$"):
        answering().receive(strange)


def test_a_refusal_says_which_event_where_and_why() -> None:
    with pytest.raises(ProtocolError, match=r"^text_delta has no place in the run 'r' now \(phase 'new'\)$"):
        Turn("r").receive(TextDelta("x"))
    turn = asking("a")
    with pytest.raises(ProtocolError, match=r"\(phase 'tools', there is no open call 'z'\)$"):
        turn.receive(ToolFinished(ToolResult("z", "success")))
    with pytest.raises(ProtocolError, match="the call 'a' was not begun"):
        turn.receive(ToolProgress("a"))
    turn.receive(ToolStarted(turn.calls[0]))
    with pytest.raises(ProtocolError, match="the call 'a' was begun already"):
        turn.receive(ToolStarted(turn.calls[0]))
    turn.receive(ToolProgress("a"))
    turn.receive(ToolFinished(ToolResult("a", "success")))
    with pytest.raises(ProtocolError, match="there is no open call 'a'"):
        turn.receive(ToolFinished(ToolResult("a", "success")))
    with pytest.raises(ProtocolError, match="it does not hold the results of this cycle"):
        turn.receive(MessageAdded(Message("user", (ToolResult("a", "error"),))))


def test_what_plugins_say_folds_anywhere_inside_a_run_and_changes_nothing() -> None:
    asides: list[Event] = [OutputPartial(), PluginEvent("p", "n"), PluginFailed("p", "h", "e"), UnknownEvent("later")]
    for turn in (folded(STARTED), folded(STARTED, CycleStarted()), answering(TextDelta("x")), asking("a")):
        before = turn.to_json()
        for event in asides:
            turn.receive(event)
        assert turn.to_json() == before


def test_decisions_are_made_while_tools_are_called() -> None:
    turn = asking("a")
    before = turn.to_json()
    turn.receive(DecisionRequested("q", "approve_tool", turn.calls[0]))
    turn.receive(DecisionMade("q", "allow", "a person", "a"))
    assert turn.to_json() == before


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ((), "it is empty"),
        ((ToolCall("a", "tool"), ToolCall("a", "tool")), "two of its tool calls have the same id"),
        ((ToolResult("a", "success"),), "a tool result stands in an answer"),
    ],
)
def test_an_answer_that_would_break_the_history_is_refused(content: Any, why: str) -> None:
    turn = answering(ModelFinished("end_turn"))
    with pytest.raises(ProtocolError, match=why):
        turn.receive(MessageAdded(Message("assistant", content)))


# -- what is needed, and what is counted -------------------------------------------------------------------------------


def test_the_run_says_what_it_needs_next() -> None:
    turn = Turn("r")
    needs = [turn.need]
    text = Message("assistant", (Text("x"),))
    call = Message("assistant", (ToolCall("a", "tool"),))
    result = ToolResult("a", "success")
    steps: list[list[Event]] = [
        [STARTED],
        [CycleStarted(), ModelStarted("p:m", 1), ModelFinished("tool_use"), MessageAdded(call)],
        [ToolFinished(result), MessageAdded(Message("user", (result,))), CycleFinished("tool_use")],
        [CycleStarted(), ModelStarted("p:m", 3), ModelFinished("end_turn"), MessageAdded(text)],
        [CycleFinished("end_turn")],
        [RunFinished(AgentResult("end_turn"))],
    ]
    for step in steps:
        for event in step:
            turn.receive(event)
        needs.append(turn.need)
    assert needs == ["start", "model", "tools", "model", "model", "end", "nothing"]


ANSWERED = (ModelFinished("end_turn"), MessageAdded(Message("assistant", (Text("x"),))))


def test_a_model_that_called_no_tool_can_be_asked_once_more() -> None:
    """The question joins the history, and the run goes on; without it, it would be at its end."""
    turn = answering(*ANSWERED, MessageAdded(AGAIN), CycleFinished("tool_use"))
    assert (turn.need, turn.messages[-1], turn.again) == ("model", AGAIN, True)
    assert answering(*ANSWERED, CycleFinished("end_turn")).need == "end"
    for event in (CycleStarted(), ModelStarted("p:m", 3), *ANSWERED, CycleFinished("end_turn")):
        turn.receive(event)
    assert (turn.need, turn.again) == ("end", False)
    assert open_calls_of(turn.messages) == []


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ((ModelFinished("end_turn"),), AGAIN),
        ((*ANSWERED, MessageAdded(AGAIN)), AGAIN),
        (ANSWERED, Message("assistant", (Text("x"),))),
        (ANSWERED, Message("user", ())),
        (ANSWERED, Message("user", (Text("x"), ToolResult("a", "success")))),
    ],
    ids=["the answer is not in yet", "twice", "not the user", "empty", "a result of no call"],
)
def test_it_is_asked_with_one_message_of_text_after_its_answer(before: Any, message: Message) -> None:
    with pytest.raises(ProtocolError, match="message_added has no place"):
        answering(*before).receive(MessageAdded(message))


def test_after_tool_calls_their_results_are_what_is_said() -> None:
    turn = asking("a")
    result = ToolResult("a", "success")
    for event in (ToolFinished(result), MessageAdded(Message("user", (result,)))):
        turn.receive(event)
    with pytest.raises(ProtocolError, match="message_added has no place"):
        turn.receive(MessageAdded(AGAIN))


def test_a_run_is_closed_with_its_output() -> None:
    turn = answering(*ANSWERED, CycleFinished("end_turn"))
    (finished,) = turn.close("end_turn", {"x": 1})
    assert finished["result"].output == {"x": 1}
    (failed,) = turn.close(ErrorInfo("x", "y"), {"x": 1})
    assert isinstance(failed, RunFailed)


def test_results_stand_in_the_order_of_the_calls() -> None:
    turn = asking("a", "b")
    turn.receive(ToolFinished(ToolResult("b", "success")))
    assert [call.id for call in turn.open_calls] == ["a"]
    with pytest.raises(ProtocolError, match="the tool call 'a' has no result in the run 'r'"):
        turn.results_message()
    turn.receive(ToolFinished(ToolResult("a", "error")))
    assert turn.results_message() == Message("user", (ToolResult("a", "error"), ToolResult("b", "success")))
    assert turn.tool_calls == 2


def test_a_retry_begins_a_new_attempt_and_forgets_the_old_one() -> None:
    turn = answering(TextDelta("half"), RetryScheduled("busy", 0.5), ModelStarted("p:m", 1), TextDelta("whole"))
    assert turn.attempt == 2
    assert turn.answer() == Message("assistant", (Text("whole"),))


def test_a_retry_of_a_tool_call_changes_nothing_and_belongs_to_a_call_that_was_begun() -> None:
    turn = asking("a")
    with pytest.raises(ProtocolError, match="the call 'a' was not begun"):
        turn.receive(RetryScheduled("busy", 0.5, 2, "a"))
    turn.receive(ToolStarted(turn.calls[0]))
    before = turn.to_json()
    turn.receive(RetryScheduled("busy", 0.5, 2, "a"))
    assert turn.to_json() == before
    turn.receive(ToolFinished(ToolResult("a", "success")))
    with pytest.raises(ProtocolError, match="there is no open call 'a'"):
        turn.receive(RetryScheduled("busy", 0.5, 3, "a"))


def test_what_the_model_calls_cost_is_summed_where_there_is_a_price() -> None:
    turn = answering(ModelFinished("end_turn"))
    assert turn.cost is None
    for cost in (0.25, 0.5):
        turn.receive(CycleFinished("tool_use"))
        turn.receive(CycleStarted())
        turn.receive(ModelStarted("p:m", 1))
        turn.receive(ModelFinished("end_turn", cost=cost))
    (*_, end) = turn.close("end_turn")
    assert end["result"].cost == turn.cost == 0.75


# -- the answer --------------------------------------------------------------------------------------------------------


def test_an_answer_is_assembled_block_by_block_in_the_order_in_which_they_began() -> None:
    turn = answering(
        ReasoningDelta("h", 0),
        ReasoningDelta("m", 0),
        ReasoningDelta(block=0, signature="si"),
        ReasoningDelta(block=0, signature="gn"),
        TextDelta("a", 1),
        ToolCallDelta("c", "tool", '{"x"', 2),
        ToolCallDelta("d", "other", "", 3),
        TextDelta("b", 1),
        ToolCallDelta("c", "tool", ": 1}", 2),
        ReasoningDelta(block=4, redacted="r1"),
        ReasoningDelta(block=4, redacted="r2"),
        TextDelta("", 5),
        ReasoningDelta("", 6),
    )
    assert turn.answer().content == (
        Reasoning("hm", "sign"),
        Text("ab"),
        ToolCall("c", "tool", {"x": 1}),
        ToolCall("d", "other"),
        Reasoning("", None, "r1r2"),
    )


def test_two_calls_in_one_block_are_told_apart_by_their_ids() -> None:
    turn = answering(ToolCallDelta("a", "t", "{}"), ToolCallDelta("b", "t", '{"x":'), ToolCallDelta("b", "t", "1}"))
    assert turn.answer().content == (ToolCall("a", "t"), ToolCall("b", "t", {"x": 1}))


def test_arguments_that_are_too_long_are_malformed() -> None:
    turn = answering(ToolCallDelta("a", "tool", json.dumps({"x": "\ud800" * 5_000}, ensure_ascii=False)))
    (call,) = turn.answer(argument_chars=5_000).tool_calls
    assert call.malformed is not None
    assert call.malformed.reason == "the arguments have 5,009 characters, and 5,000 are allowed"
    assert call.malformed.text == '{"x": "' + "\ufffd" * 1_993
    assert turn.answer(argument_chars=5_009).tool_calls[0].malformed is None


def test_deltas_share_the_text_so_far_of_their_call() -> None:
    deltas = [ToolCallDelta("a", "tool", '{"x"'), ToolCallDelta("a", "tool", ": 1}")]
    answering(*deltas)
    assert [delta["current_tool_use"]["input"] for delta in deltas] == ['{"x"', '{"x": 1}']


# -- arguments ---------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), JSON, max_size=3), st.booleans(), st.data())
def test_arguments_are_read_whole_or_not_at_all(arguments: Any, ascii_only: bool, data: st.DataObject) -> None:
    """An object is read as it is; cut off anywhere, it is malformed: a call never runs on half its arguments."""
    text = json.dumps(arguments, ensure_ascii=ascii_only)
    assert parse_arguments("a", "tool", text) == ToolCall("a", "tool", arguments)
    cut = text[: data.draw(st.integers(1, len(text) - 1))]
    call = parse_arguments("a", "tool", cut)
    assert call.malformed is not None
    assert call.malformed.text == cut[:2000]
    assert call.malformed.reason


@settings(deadline=None)
@given(st.text() | st.text('{}[]":,0123456789 truefalsn\\u') | JSON.map(json.dumps))
def test_only_an_object_becomes_arguments(text: str) -> None:
    call = parse_arguments("a", "tool", text)
    try:
        expected = json.loads(text) if text.strip() else {}
    except ValueError:
        expected = None
    if call.malformed is None:
        assert isinstance(expected, dict)
        assert call.arguments.keys() == expected.keys() or "\\u" in text
    else:
        assert call.arguments == {}
    assert event_from_json(ToolStarted(call).to_json()) == ToolStarted(call)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[1]", "a JSON object is wanted, and this is an array"),
        ('"a"', "a JSON object is wanted, and this is a string"),
        ("true", "a JSON object is wanted, and this is a boolean"),
        ("null", "a JSON object is wanted, and this is null"),
        ("3.5", "a JSON object is wanted, and this is a number"),
        ('{"x": NaN}', "NaN is not JSON"),
        ('{"x": -Infinity}', "-Infinity is not JSON"),
        ('{"x": 1e999}', "the number 1e999 is too large"),
        ('{"x": 1} {"x": 2}', "Extra data: line 1 column 10 (char 9)"),
        ("[" * 100_000, "it is nested too deeply"),
        (
            '{"x":' * (DEPTH + 1) + "1" + "}" * (DEPTH + 1),
            f"it is nested more than {DEPTH} levels deep, or holds itself",
        ),
        ('{"x":' * 800 + "1" + "}" * 800, f"it is nested more than {DEPTH} levels deep, or holds itself"),
    ],
)
def test_malformed_arguments_say_why(text: str, reason: str) -> None:
    assert parse_arguments("a", "tool", text) == ToolCall(
        "a", "tool", malformed=MalformedArguments(text[:2000], reason)
    )


def test_a_number_with_thousands_of_digits_is_malformed() -> None:
    call = parse_arguments("a", "tool", '{"x": ' + "9" * 5_000 + "}")
    assert call.malformed is not None
    assert "digits" in call.malformed.reason


@pytest.mark.parametrize("text", ["", " \n", "{}"])
def test_no_arguments_are_a_call_without_arguments(text: str) -> None:
    """Some services send no text at all for a tool that takes nothing."""
    assert parse_arguments("a", "tool", text) == ToolCall("a", "tool")


def test_lone_surrogates_in_arguments_become_replacement_characters() -> None:
    assert parse_arguments("a", "tool", r'{"\ud800": ["\udfff"]}').arguments == {"\ufffd": ["\ufffd"]}
    assert parse_arguments("a", "tool", '{"x": "\ud800"}').arguments == {"x": "\ufffd"}
    malformed = parse_arguments("a", "tool", "\ud800").malformed
    assert malformed is not None
    assert malformed.text == "\ufffd"


# -- ending early ------------------------------------------------------------------------------------------------------


def test_partial_text_is_kept_and_marked() -> None:
    turn = answering(ReasoningDelta("hm"), TextDelta("The ans", 1), ToolCallDelta("a", "tool", '{"x', 2))
    events = closed(turn)
    kept = Message("assistant", (Reasoning("hm"), Text("The ans")), interrupted=True)
    assert events == [
        ModelFinished("cancelled"),
        MessageAdded(kept),
        CycleFinished("cancelled"),
        RunFinished(AgentResult("cancelled", kept, cycles=1)),
    ]
    assert to_messages(turn.messages) == (HI, kept), "such a history is a prompt again"


def test_reasoning_that_was_cut_off_is_kept_without_a_signature() -> None:
    """The seal comes last, so it is missing; that the message is marked tells a provider to leave the block out."""
    turn = answering(ReasoningDelta("because"))
    closed(turn)
    assert turn.messages[-1] == Message("assistant", (Reasoning("because"),), interrupted=True)


def test_a_call_that_was_half_written_is_dropped() -> None:
    turn = answering(ToolCallDelta("a", "tool", '{"x": 1}'))
    assert [event.type for event in closed(turn)] == ["model_finished", "cycle_finished", "run_finished"]
    assert turn.messages == [HI]


def test_an_answer_that_was_finished_and_not_added_is_kept() -> None:
    turn = answering(TextDelta("The answer"), ModelFinished("end_turn", Usage(3, 2)))
    assert [event.type for event in closed(turn)] == ["message_added", "cycle_finished", "run_finished"]
    assert turn.messages[-1].text == "The answer"


def test_each_open_call_is_answered_as_interrupted() -> None:
    turn = asking("a", "b", "c")
    done = ToolResult("b", "success", (Text("done"),))
    for event in (ToolStarted(turn.calls[0]), ToolStarted(turn.calls[1]), ToolFinished(done)):
        turn.receive(event)
    events = closed(turn, "limit_time")
    lost = [ToolResult(name, "interrupted", (Text("The run ended before this call was finished."),)) for name in "ac"]
    assert events[:3] == [*map(ToolFinished, lost), MessageAdded(Message("user", (lost[0], done, lost[1])))]
    assert [event.type for event in events[3:]] == ["cycle_finished", "run_finished"]
    assert events[-1]["result"] == AgentResult("limit_time", turn.messages[1], Usage(3, 2), 1)


def test_an_error_ends_the_run_with_run_failed() -> None:
    error = ErrorInfo("ValueError", "no")
    assert closed(answering(TextDelta("x")), error)[-3:] == [
        MessageAdded(Message("assistant", (Text("x"),), interrupted=True)),
        CycleFinished("error"),
        RunFailed(error),
    ]


def test_the_answer_of_a_run_is_its_own_and_not_that_of_its_prompt() -> None:
    earlier = Message("assistant", (Text("earlier"),))
    turn = folded(RunStarted("agent", "p:m", (HI, earlier, HI)))
    assert closed(turn) == [RunFinished(AgentResult("cancelled"))]
    turn = Turn("r", [HI, earlier])
    turn.receive(STARTED)
    assert turn.base == 2
    assert closed(turn) == [RunFinished(AgentResult("cancelled"))]


# -- JSON --------------------------------------------------------------------------------------------------------------


def test_a_run_goes_on_from_its_stored_state() -> None:
    turn = answering(TextDelta("The "), ToolCallDelta("a", "tool", '{"x"', 1))
    again = Turn.from_json(turn.to_json())
    delta = ToolCallDelta("a", "tool", ": 1}", 1)
    again.receive(TextDelta("answer"))
    again.receive(delta)
    assert again.answer().content == (Text("The answer"), ToolCall("a", "tool", {"x": 1}))
    assert delta.text_so_far == '{"x": 1}'


@pytest.mark.parametrize("raw", ["", "[]", "null", "{}", '{"run_id": 3}', '{"run_id": "r", "phase": "lost"}', b"\xff"])
def test_what_is_no_state_is_refused(raw: str | bytes) -> None:
    with pytest.raises(ProtocolError, match="this is not the state of a run: "):
        Turn.from_json(raw)


def test_the_state_of_a_newer_version_is_refused_as_such() -> None:
    """Although it has fields and phases that this version does not know."""
    with pytest.raises(ProtocolError, match=r"stored by a newer becket \(state version 2\); upgrade to go on"):
        Turn.from_json('{"version": 2, "run": {"id": "r"}, "phase": "dreaming"}')


# -- cost --------------------------------------------------------------------------------------------------------------


def cost(cycles: int) -> float:
    """CPU seconds of this thread to fold so many cycles of one tool call, the better of two."""
    costs = []
    for _ in range(2):
        turn = folded(STARTED)
        began = time.thread_time()
        for number in range(cycles):
            call, result = ToolCall(f"c{number}", "tool"), ToolResult(f"c{number}", "success", (Text("done"),))
            for event in (
                CycleStarted(),
                ModelStarted("p:m", len(turn.messages)),
                ToolCallDelta(call.id, "tool", "{}"),
                ModelFinished("tool_use", Usage(1, 1)),
                MessageAdded(Message("assistant", (call,))),
                ToolStarted(call),
                ToolFinished(result),
                MessageAdded(Message("user", (result,))),
                CycleFinished("tool_use"),
            ):
                turn.receive(event)
        costs.append(time.thread_time() - began)
        assert len(turn.messages) == 2 * cycles + 1
    return min(costs)


def test_ten_times_the_cycles_cost_ten_times_as_much() -> None:
    """Copying the history in each cycle would make it a hundred times."""
    assert cost(10_000) < 30 * cost(1_000)


def test_a_tool_call_stays_in_the_block_that_it_was_begun_in() -> None:
    turn = Turn("r")
    for event in (
        RunStarted("agent", "p:m", (HI,)),
        CycleStarted(),
        ModelStarted("p:m", 1),
        ToolCallDelta("a", "t", "{", 1),
    ):
        turn.receive(event)
    before = turn.to_json()
    with pytest.raises(ProtocolError, match="the call 'a' has another block"):
        turn.receive(ToolCallDelta("a", "t", "}", 2))
    assert turn.to_json() == before
