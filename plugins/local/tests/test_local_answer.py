from __future__ import annotations

from typing import Any

import pytest
from becket import Image, Json, Text, ToolCall, ToolResult
from becket_local.answer import state, text_of, without_tools
from becket_local.conversation import Call, Exchange, Outcome, Response, Round

ADD = Call("calculator", {"expression": "1+1"})


def exchange(*results: tuple[str, Any]) -> Exchange:
    """A run in which `calculator` was called once for each status and content."""
    calls = tuple(ToolCall(str(n), "calculator", {"n": n}) for n in range(len(results)))
    answers = tuple(
        ToolResult(str(n), status, content)  # type: ignore[arg-type]  # statuses come from parametrize
        for n, (status, content) in enumerate(results)
    )
    return Exchange("go", (Round(calls, answers),))


def test_one_result_is_the_answer() -> None:
    assert state(exchange(("success", (Text("49"),))), Outcome(Response()), ["calculator"]) == "49"


def test_several_results_stand_each_with_its_call() -> None:
    done = exchange(("success", (Text("2"),)), ("success", (Json([1, 2]),)))
    assert without_tools(done) == "calculator(n=0): 2\ncalculator(n=1): [1, 2]"


def test_a_result_of_several_lines_stands_below_its_call() -> None:
    done = exchange(("success", (Text("a\nb"),)), ("success", (Text("c"),)))
    assert without_tools(done) == "calculator(n=0):\na\nb\ncalculator(n=1): c"


@pytest.mark.parametrize(
    ("status", "content", "said"),
    [
        ("error", (Text("division by zero"),), "calculator(n=0): failed: division by zero"),
        ("error", (), "calculator(n=0): failed"),
        ("denied", (Text("not on Sundays"),), "calculator(n=0): was not allowed: not on Sundays"),
        ("denied", (), "calculator(n=0): was not allowed"),
        ("interrupted", (), "calculator(n=0): was interrupted"),
        ("success", (), "calculator is done."),
    ],
)
def test_what_did_not_give_a_result_says_so(status: str, content: tuple[Any, ...], said: str) -> None:
    assert without_tools(exchange((status, content))) == said


@pytest.mark.parametrize(
    ("block", "text"),
    [
        (Json(49), "49"),
        (Json("é"), "é"),
        (Json({"city": "Köln"}), '{"city": "Köln"}'),
        (Json(["x" * 80]), '[\n  "' + "x" * 80 + '"\n]'),
        (Image.from_bytes(b"x", media_type="image/png"), "[image image/png]"),
    ],
)
def test_a_result_is_readable(block: Any, text: str) -> None:
    assert text_of(ToolResult("c", "success", (block,))) == text


def test_where_no_tool_fits_the_answer_says_how_to_get_a_chat_model() -> None:
    text = state(Exchange("a poem"), Outcome(Response()), ["now", "calculator"])
    assert text.startswith("No tool on offer fits this request (there are calculator, now).")
    assert "install a plugin that provides a chat model" in text
    assert "-m or BECKET_MODEL" in text


def test_many_tools_are_not_all_named() -> None:
    text = state(Exchange("a poem"), Outcome(Response()), [f"tool{n}" for n in range(9)])
    assert "tool7, …)" in text
    assert "tool8" not in text


def test_a_call_that_was_not_made_is_named_with_the_reason() -> None:
    outcome = Outcome(Response((ADD,)), withheld=(ADD,), why="is only 49% sure, and the floor is 50%")
    assert state(Exchange("1+1"), outcome, ["calculator"]) == (
        'No tool was called. The model would have called calculator(expression="1+1"), '
        "but is only 49% sure, and the floor is 50%."
    )


def test_a_call_that_the_model_suppressed_comes_with_the_advice_to_use_another_one() -> None:
    outcome = Outcome(Response(suppressed=(ADD,)), withheld=(ADD,), why="is only 8% sure and leaves it")
    assert "BECKET_MODEL" in state(Exchange("1+1"), outcome, ["calculator"])


def test_a_further_call_that_was_not_made_is_named_below_the_results() -> None:
    outcome = Outcome(Response((ADD,)), withheld=(ADD,), why="is only 49% sure, and the floor is 50%")
    text = state(exchange(("success", (Text("2"),))), outcome, ["calculator"])
    assert text.startswith("2\nThe model would have called calculator")


def test_a_further_call_that_the_model_suppressed_is_not_mentioned() -> None:
    outcome = Outcome(Response(suppressed=(ADD,)), withheld=(ADD,), why="is only 8% sure and leaves it")
    assert state(exchange(("success", (Text("2"),))), outcome, ["calculator"]) == "2"
