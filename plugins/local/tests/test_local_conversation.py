from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from becket import Document, Image, Message, ProviderError, Reasoning, Text, ToolCall, ToolResult
from becket_local.conversation import (
    MAX_REFUSALS,
    MAX_ROUNDS,
    PROMPT_CHARS,
    RESULT_CHARS,
    Call,
    Exchange,
    Outcome,
    Response,
    Round,
    converse,
    read_exchange,
)
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def user(*content: Any) -> Message:
    return Message("user", tuple(Text(item) if isinstance(item, str) else item for item in content))


def made(*calls: tuple[str, dict[str, Any], Any], status: Any = "success") -> Round:
    """A round of calls, each a tool, its arguments and what came of it."""
    return Round(
        tuple(ToolCall(f"c{number}", tool, arguments) for number, (tool, arguments, _) in enumerate(calls)),
        tuple(ToolResult(f"c{number}", status, (Text(str(call[2])),)) for number, call in enumerate(calls)),
    )


def talk(exchange: Exchange, responses: Sequence[Response], floor: float | None = None) -> tuple[list[str], Outcome]:
    """What the engine is told when it responds with `responses`, and what comes of it."""
    conversation, left = converse(exchange, floor), list(responses)
    told: list[str] = []
    try:
        told.append(next(conversation))
        while True:
            told.append(conversation.send(left.pop(0)))
    except StopIteration as end:
        assert not left
        return told, end.value


ADD = Call("calculator", {"expression": "1+1"})
ROUND = made(("calculator", {"expression": "1+1"}, 2))
DONE = Response(confidence=0.5)


class TestReadExchange:
    def test_the_last_text_of_the_user_is_the_request(self) -> None:
        history = [user("hello"), Message("assistant", (Text("hi"),)), user("  add 1 and 1 ")]
        assert read_exchange(history) == Exchange("add 1 and 1")

    def test_calls_and_results_after_it_are_the_rounds(self) -> None:
        call, result = ToolCall("c", "calculator", {"expression": "1+1"}), ToolResult("c", "success", (Text("2"),))
        history = [user("add"), Message("assistant", (Reasoning("so"), call)), user(result)]
        assert read_exchange(history) == Exchange("add", (Round((call,), (result,)),))

    def test_rounds_before_the_request_belong_to_an_earlier_one(self) -> None:
        call, result = ToolCall("c", "calculator", {}), ToolResult("c", "success")
        history = [user("old"), Message("assistant", (call,)), user(result), user("new")]
        assert read_exchange(history) == Exchange("new")

    def test_results_are_put_in_the_order_of_their_calls(self) -> None:
        calls = ToolCall("a", "x"), ToolCall("b", "y")
        results = ToolResult("b", "success"), ToolResult("a", "success")
        history = [user("go"), Message("assistant", calls), user(*results)]
        assert [result.call_id for result in read_exchange(history).rounds[0].results] == ["a", "b"]

    @pytest.mark.parametrize("block", [Image.from_bytes(b"x", media_type="image/png"), Document("application/pdf")])
    def test_an_image_or_a_document_is_refused_by_its_type(self, block: Image | Document) -> None:
        with pytest.raises(ProviderError, match=rf"{block.type} \({block.media_type}\).* reads only text") as caught:
            read_exchange([user("look", block)])
        assert not caught.value.retryable

    def test_an_image_in_an_earlier_prompt_is_none_of_this_one(self) -> None:
        image = Image.from_bytes(b"x", media_type="image/png")
        assert read_exchange([user("look", image), Message("assistant", ()), user("add")]) == Exchange("add")

    def test_a_history_without_a_text_is_refused(self) -> None:
        with pytest.raises(ProviderError, match="no text"):
            read_exchange([Message("assistant", (Text("hi"),))])

    def test_a_prompt_that_does_not_fit_is_refused_with_its_length(self) -> None:
        with pytest.raises(ProviderError, match=r"has 8,001 characters.*at most 8,000"):
            read_exchange([user("x" * (PROMPT_CHARS + 1))])


class TestResponse:
    def test_is_read_from_the_engines_form(self) -> None:
        raw = {
            "error": None,
            "function_calls": [{"name": "f", "arguments": {"x": 1}}],
            "suppressed_calls": [],
            "reasoning": "so",
            "confidence": 0.5,
            "validation": {"ungrounded": ["f.x"], "negation": True},
        }
        expected = Response((Call("f", {"x": 1}),), (), "so", 0.5, frozenset({"f.x"}), negated=True)
        assert Response.read(raw) == expected

    def test_an_error_of_the_engine_is_a_provider_error_with_its_words(self) -> None:
        with pytest.raises(ProviderError, match="token budget exhausted"):
            Response.read({"error": "tool call truncated: token budget exhausted", "reasoning": None})


class TestConverse:
    def test_the_request_is_told_and_its_calls_are_made(self) -> None:
        told, outcome = talk(Exchange("1+1"), [Response((ADD,))])
        assert (told, outcome.calls) == (["1+1"], (ADD,))

    def test_results_are_told_after_it_and_the_run_ends(self) -> None:
        told, outcome = talk(Exchange("1+1", (ROUND,)), [Response((ADD,)), DONE])
        assert (told, outcome) == (["1+1", "[2]"], Outcome(DONE))

    def test_a_further_call_is_made(self) -> None:
        more = Call("calculator", {"expression": "2+2"})
        assert talk(Exchange("1+1", (ROUND,)), [Response((ADD,)), Response((more,))])[1].calls == (more,)

    def test_the_same_call_again_ends_the_run(self) -> None:
        """After an error the engine repeats its call for ever."""
        failed = made(("calculator", {"expression": "1+1"}, "timeout"), status="error")
        told, outcome = talk(Exchange("1+1", (failed,)), [Response((ADD,)), Response((ADD,))])
        assert told[1] == '[{"error": "timeout"}]'
        assert (outcome.calls, outcome.withheld) == ((), ())

    def test_twice_the_same_call_in_one_response_is_made_twice(self) -> None:
        assert talk(Exchange("roll"), [Response((ADD, ADD))])[1].calls == (ADD, ADD)

    def test_a_repeated_call_beside_a_new_one_is_told_its_earlier_result(self) -> None:
        new = Call("calculator", {"expression": "3+3"})
        rounds = ROUND, made(("calculator", new.arguments, 6))
        told, _ = talk(Exchange("go", rounds), [Response((ADD,)), Response((ADD, new)), DONE])
        assert told == ["go", "[2]", "[2, 6]"]

    def test_a_call_with_a_made_up_argument_is_refused_and_the_engine_may_correct_itself(self) -> None:
        wrong = Response((Call("f", {"x": "b"}),), ungrounded=frozenset({"f.x"}))
        right = Call("f", {"x": "a"})
        told, outcome = talk(Exchange("f a"), [wrong, Response((right,))])
        assert (told, outcome.calls) == (["f a", '[{"error": "ungrounded x"}]'], (right,))

    def test_an_engine_that_makes_things_up_again_and_again_ends_the_run(self) -> None:
        wrong = [Response((Call("f", {"x": n}),), confidence=0.4, ungrounded=frozenset({"f.x"})) for n in "abc"]
        told, outcome = talk(Exchange("f"), wrong)
        assert len(told) == 1 + MAX_REFUSALS
        assert outcome.calls == ()
        assert outcome.withheld == wrong[-1].calls
        assert "x in the request" in outcome.why

    def test_a_made_up_call_beside_a_good_one_is_left_out_and_refused_with_its_result(self) -> None:
        first = Response((Call("f", {"x": "?"}), ADD), ungrounded=frozenset({"f.x"}))
        assert talk(Exchange("go"), [first])[1].calls == (ADD,)
        told, _ = talk(Exchange("go", (ROUND,)), [first, DONE])
        assert told[1] == '[{"error": "ungrounded x"}, 2]'

    def test_a_number_that_the_request_writes_with_separators_is_no_invention(self) -> None:
        response = Response((Call("pay", {"amount": 1200.0}),), ungrounded=frozenset({"pay.amount"}))
        assert talk(Exchange("pay $1,200.00 now"), [response])[1].calls == response.calls

    def test_true_is_no_number(self) -> None:
        response = Response((Call("f", {"on": True}),), ungrounded=frozenset({"f.on"}))
        assert talk(Exchange("f 1"), [response] * (1 + MAX_REFUSALS))[1].calls == ()

    def test_what_the_engine_suppresses_is_not_called(self) -> None:
        outcome = talk(Exchange("1+1"), [Response(suppressed=(ADD,), confidence=0.08)])[1]
        assert (outcome.calls, outcome.withheld) == ((), (ADD,))
        assert "8% sure" in outcome.why

    @pytest.mark.parametrize(("confidence", "calls"), [(0.49, ()), (0.5, (ADD,))])
    def test_calls_are_made_from_the_floor_on(self, confidence: float, calls: tuple[Call, ...]) -> None:
        assert talk(Exchange("1+1"), [Response((ADD,), confidence=confidence)], 0.5)[1].calls == calls

    def test_below_the_floor_it_is_said_how_sure_the_model_was(self) -> None:
        outcome = talk(Exchange("1+1"), [Response((ADD,), confidence=0.49)], 0.5)[1]
        assert (outcome.withheld, outcome.why) == ((ADD,), "is only 49% sure, and the floor is 50%")

    def test_a_request_not_to_do_it_is_heeded(self) -> None:
        outcome = talk(Exchange("do not add 1+1"), [Response((ADD,), negated=True)])[1]
        assert (outcome.calls, outcome.withheld) == ((), (ADD,))

    def test_calls_of_another_model_are_told_as_they_were(self) -> None:
        """A run that changed its model has a round that this engine would not have asked for."""
        assert talk(Exchange("1+1", (ROUND,)), [Response(), DONE])[0] == ["1+1", "[2]"]

    def test_after_the_last_round_the_engine_is_not_asked(self) -> None:
        assert talk(Exchange("1+1", (ROUND,) * MAX_ROUNDS), []) == ([], Outcome(None))

    def test_the_engine_sees_the_beginning_of_a_long_result(self) -> None:
        long = made(("calculator", {"expression": "1+1"}, "x" * (RESULT_CHARS + 1)))
        told, _ = talk(Exchange("1+1", (long,)), [Response((ADD,)), DONE])
        assert json.loads(told[1]) == ["x" * RESULT_CHARS]

    def test_the_engine_sees_json_as_json(self) -> None:
        found = made(("calculator", {"expression": "1+1"}, '{"number": "+44 1"}'))
        assert talk(Exchange("1+1", (found,)), [Response((ADD,)), DONE])[0][1] == '[{"number": "+44 1"}]'


CALLS = st.builds(Call, st.sampled_from("fg"), st.fixed_dictionaries({"x": st.integers(0, 3)}))
RESPONSES = st.builds(
    Response,
    st.lists(CALLS, max_size=3).map(tuple),
    ungrounded=st.sets(st.sampled_from(["f.x", "g.x"])).map(frozenset),
    negated=st.booleans(),
)


@given(st.lists(RESPONSES, min_size=1))
def test_each_cycle_repeats_the_turns_before_it(script: list[Response]) -> None:
    """A worker that has lost the conversation gets it back from the history alone, word for word."""
    by_turns: Callable[[list[str]], Response] = lambda told: script[(len(told) - 1) % len(script)]  # noqa: E731
    exchange, before = Exchange("go"), list[str]()
    for _ in range(MAX_ROUNDS):
        conversation, told = converse(exchange, None), list[str]()
        try:
            told.append(next(conversation))
            while True:
                told.append(conversation.send(by_turns(told)))
        except StopIteration as end:
            outcome: Outcome = end.value
        assert told[: len(before)] == before
        if not outcome.calls:
            break
        before = told
        round_ = made(*((call.tool, call.arguments, call.arguments["x"]) for call in outcome.calls))
        exchange = Exchange("go", (*exchange.rounds, round_))
