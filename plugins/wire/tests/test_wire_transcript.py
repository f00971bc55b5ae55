"""Messages encoded once, and results as models read them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from becket import Image, Json, Message, Text, ToolResult
from becket_wire import Transcript, text_of
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXTS = st.lists(st.sampled_from("abc"), max_size=6)


class Counted:
    """Encodes a message's text and the number of those before it, and counts."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, message: Message, before: Sequence[Message]) -> bytes:
        self.calls += 1
        return b"" if message.text == "c" else json.dumps([message.text, len(before)]).encode()


def message(text: str) -> Message:
    return Message("user", (Text(text),))


def test_a_message_is_encoded_once_though_it_is_sent_with_every_call() -> None:
    encode, history = Counted(), list[Message]()
    transcript = Transcript(encode)
    for number in range(100):
        history.append(message("a"))
        assert len(transcript.pieces(history)) == number + 1
    assert encode.calls == 100


@given(TEXTS, st.integers(0, 6), TEXTS)
def test_a_history_that_was_changed_is_encoded_anew_from_there_on(first: list[str], keep: int, then: list[str]) -> None:
    encode = Counted()
    transcript = Transcript(encode)
    history = [message(text) for text in first]
    transcript.pieces(history)
    changed = [*history[:keep], *map(message, then)]
    assert transcript.pieces(changed) == Transcript(Counted()).pieces(changed)
    assert encode.calls == len(first) + len(then)


def test_the_list_of_pieces_is_the_callers_own() -> None:
    transcript, history = Transcript(Counted()), [message("a")]
    transcript.pieces(history).clear()
    assert len(transcript.pieces(history)) == 1


def test_a_result_is_its_text_and_its_json_in_lines() -> None:
    result = ToolResult("1", "success", (Text("é"), Json({"a": [1]}), Image("image/png", "aGk=")))
    assert text_of(result) == 'é\n{"a":[1]}'


def test_integers_of_any_size_are_written() -> None:
    assert text_of(ToolResult("1", "success", (Json({"é": 2**70}),))) == '{"é":1180591620717411303424}'


def test_a_result_without_text_says_what_became_of_the_call() -> None:
    """Services refuse an empty one."""
    assert text_of(ToolResult("1", "success")) == "done"
    assert text_of(ToolResult("1", "interrupted")) == "interrupted"
