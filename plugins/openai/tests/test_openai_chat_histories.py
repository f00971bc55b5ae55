"""Histories made up at random, of this service and of others: what is sent of one is always what the wire takes."""

from __future__ import annotations

import json
from typing import Any

from becket import (
    Document,
    Extension,
    Image,
    Json,
    MalformedArguments,
    Message,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from becket_openai._chat_messages import Messages
from becket_wire import Transcript
from hypothesis import given
from hypothesis import strategies as st

WORDS = st.text(max_size=5)
IDS = st.text(min_size=1, max_size=60)
VALUES = st.recursive(st.none() | st.booleans() | st.integers() | WORDS, lambda inner: st.lists(inner, max_size=2))
TEXTS = st.builds(Text, WORDS)
MEDIA = st.builds(Image, st.just("image/png"), st.just("AAAA")) | st.builds(
    Document, st.sampled_from(["application/pdf", "audio/wav", "text/plain"]), st.just("AAAA")
)
THOUGHTS = st.builds(Reasoning, WORDS, st.none() | WORDS, st.none() | WORDS)
EXTENSIONS = st.builds(
    Extension, st.sampled_from(["box", "other"]), VALUES | st.dictionaries(WORDS, VALUES, max_size=2)
)


@st.composite
def histories(draw: st.DrawFn) -> list[Message]:
    """Turns of the user and the model, each call answered in the message after it."""
    messages = [Message("user", (draw(TEXTS),))]
    for _ in range(draw(st.integers(0, 4))):
        calls = [
            ToolCall(
                call_id,
                draw(WORDS),
                draw(st.dictionaries(WORDS, VALUES, max_size=2)),
                draw(st.none() | st.builds(MalformedArguments, WORDS, WORDS)),
            )
            for call_id in draw(st.lists(IDS, unique=True, max_size=3))
        ]
        said: list[Any] = draw(st.lists(TEXTS | THOUGHTS | EXTENSIONS | MEDIA, min_size=1, max_size=3))
        messages.append(Message("assistant", (*said, *calls), draw(st.booleans())))
        results = [
            ToolResult(
                call.id,
                draw(st.sampled_from(["success", "error", "interrupted", "denied"])),
                tuple(draw(st.lists(TEXTS | MEDIA | st.builds(Json, VALUES), max_size=2))),
            )
            for call in draw(st.permutations(calls))
        ]
        words: list[Any] = draw(st.lists(TEXTS | MEDIA, min_size=0 if results else 1, max_size=2))
        messages.append(Message("user", (*results, *words)))
    return messages


def written(messages: list[Message], reasoning: str = "") -> list[dict[str, Any]]:
    pieces = Transcript(Messages("box", "m", reasoning=reasoning).encode).pieces(messages)
    sent: list[dict[str, Any]] = json.loads(b"[%b]" % b",".join(pieces))
    return sent


@given(histories(), st.sampled_from(["", "reasoning", "reasoning_content"]))
def test_every_history_is_one_that_the_wire_takes(messages: list[Message], reasoning: str) -> None:
    """Each call has its id, a name and an object; each result follows its call; nothing is without content."""
    waiting: set[str] = set()
    for message in written(messages, reasoning):
        match message:
            case {"role": "tool", "tool_call_id": call_id, "content": str(text)}:
                assert text
                waiting.remove(call_id)
                continue
            case {"role": "user", "content": str() | [*_] as content}:
                assert isinstance(content, str) or all(part["type"] in PARTS for part in content)
            case {"role": "assistant", "content": content, **more}:
                assert content or more.get("tool_calls")
            case _:
                raise AssertionError(message)
        assert not waiting, "a result stands right after its call"
        for call in message.get("tool_calls", []):
            assert isinstance(json.loads(call["function"]["arguments"]), dict)
            assert call["function"]["name"]
            assert len(call["id"]) <= 40
            assert call["id"] not in waiting
            waiting.add(call["id"])
    assert not waiting


PARTS = {"text", "image_url", "file", "input_audio"}


@given(histories(), st.data())
def test_a_history_that_grows_is_written_as_one_that_was_there_at_once(
    messages: list[Message], data: st.DataObject
) -> None:
    """What is kept of earlier calls changes nothing."""
    transcript = Transcript(Messages("box", "m").encode)
    for end in sorted(data.draw(st.lists(st.integers(0, len(messages)), max_size=3))):
        transcript.pieces(messages[:end])
    assert json.loads(b"[%b]" % b",".join(transcript.pieces(messages))) == written(messages)
