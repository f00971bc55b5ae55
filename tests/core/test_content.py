"""Prompts become messages, or are refused where they are given; blocks and messages are readable."""

from __future__ import annotations

import copy
import pickle
from collections import UserList
from typing import Any

import pytest
from becket import (
    AgentResult,
    ConfigError,
    Document,
    Image,
    Json,
    MalformedArguments,
    Message,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from becket.content import to_messages

CALL = Message("assistant", (ToolCall("a", "tool", {"x": 1}),))
RESULT = Message("user", (ToolResult("a", "success", (Text("1"), Json({"y": 2}))),))


def user(*content: Any) -> Message:
    return Message("user", content)


def test_a_text_is_one_message_of_the_user() -> None:
    assert to_messages("hello") == (user(Text("hello")),)


def test_blocks_are_one_message_of_the_user() -> None:
    blocks: list[Any] = [
        Text("what is this?"),
        Image("image/png", url="https://example.org/a.png"),
        Document("application/pdf"),
    ]
    assert to_messages(blocks) == (user(*blocks),)
    assert to_messages(UserList(blocks)) == (user(*blocks),), "any sequence will do"


def test_an_image_alone_is_a_prompt() -> None:
    image = Image.from_bytes(b"\x89PNG", media_type="image/png")
    blocks: list[Any] = [Text(" "), image]
    assert to_messages(blocks) == (user(Text(" "), image),)


def test_a_conversation_is_itself() -> None:
    """The very same objects: a history is not copied for each run."""
    messages: list[Message] = [
        user(Text("hi")),
        CALL,
        RESULT,
        Message("assistant", (Reasoning("hm"), Text(" "))),
        user(Text("and?")),
    ]
    assert all(map(lambda one, other: one is other, to_messages(messages), messages))
    assert to_messages(messages[0]) == (messages[0],)


@pytest.mark.parametrize(
    "prompt",
    ["", " \n\t", [], (), [Text("")], [Text(" "), Text("\n")], user(), user(Text("  ")), [user(Text("a")), user()]],
)
def test_an_empty_prompt_is_refused(prompt: Any) -> None:
    with pytest.raises(ConfigError, match="the prompt is empty; give a text, content blocks or messages"):
        to_messages(prompt)


@pytest.mark.parametrize(
    ("prompt", "shown"),
    [
        (None, "None"),
        (5, "5"),
        (Text("a"), r"Text\(text='a'\)"),
        ({"role": "user"}, r"{'role': 'user'}"),
        (["hello"], "'hello'"),
        ([{"role": "user", "content": "hello"}], r"{'role'"),
        ([Text("a"), user(Text("b"))], r"Message\(role='user'"),
        ([user(Text("b")), Text("a")], r"Text\(text='a'\) among messages"),
        ([ToolCall("a", "tool")], r"ToolCall\(id='a', tool='tool'\)"),
        (b"bytes", "98"),
    ],
)
def test_what_is_no_prompt_is_refused_and_shown(prompt: Any, shown: str) -> None:
    with pytest.raises(ConfigError, match=f"a prompt is a text, or a list of .*{shown}"):
        to_messages(prompt)


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([user(Text("a")), CALL], "'a' of this history has no result"),
        ([CALL, user(Text("b"))], "'a' of this history has no result in the next message"),
        ([RESULT], "'a' of this history is answered but was not called just before"),
        ([CALL, RESULT, RESULT], "'a' of this history is answered but was not called just before"),
        ([CALL, user(*RESULT.content, *RESULT.content)], "'a' of this history has no result in the next|'a' of this"),
        ([CALL, user(ToolResult("b", "success"))], "'a' of this history has no result in the next message"),
        ([Message("assistant", CALL.content * 2), user(*RESULT.content * 2)], "'a' of this history stands twice"),
    ],
)
def test_a_history_with_a_dangling_call_is_refused_by_name(messages: list[Message], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        to_messages(messages)


@pytest.mark.parametrize("content", ["hello", None, ["hello"], [user(Text("a"))]])
def test_content_that_is_no_list_of_blocks_is_refused(content: Any) -> None:
    with pytest.raises(ConfigError, match=r"content is a list of blocks, such as Text\('...'\), and this is"):
        to_messages(Message("user", content))
    with pytest.raises(ConfigError, match="content is a list of blocks"):
        to_messages([CALL, user(ToolResult("a", "success", content))])


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (Text(5), r"text is 5 in Text\(text=5\); it must be a text"),  # type: ignore[arg-type]  # mistakes
        (Image(None), "media_type is None in Image"),  # type: ignore[arg-type]
        (Image("image/png", url=b"a"), "url is b'a' in Image"),  # type: ignore[arg-type]
        (ToolCall("a", "t", [1]), r"arguments is \[1\] in ToolCall.*it must be a dict"),  # type: ignore[arg-type]
        (ToolCall("a", "t", malformed="odd"), "malformed is 'odd' in ToolCall.*must be MalformedArguments"),  # type: ignore[arg-type]
        (ToolCall("a", "t", malformed=MalformedArguments("", 5)), "reason is 5 in MalformedArguments"),  # type: ignore[arg-type]
        (ToolResult("a", "done"), "status is 'done' in ToolResult.*one of: success, error, interrupted, denied"),  # type: ignore[arg-type]
        (ToolResult("a", []), r"status is \[\] in ToolResult"),  # type: ignore[arg-type]
    ],
)
def test_a_block_that_could_not_be_read_back_is_refused(block: Any, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        to_messages([CALL, user(block)])


def test_a_role_that_there_is_not_is_refused_with_where_instructions_go() -> None:
    system: Any = Message("system", (Text("Be kind."),))  # type: ignore[arg-type]  # a mistake that many make
    with pytest.raises(
        ConfigError, match=r"role is 'system' in .*one of: user, assistant; .*Agent\(system_prompt=...\)"
    ):
        to_messages([system, user(Text("a"))])


def test_an_empty_answer_in_a_history_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Message\(role='assistant', content=\(\)\) has no content; leave it out"):
        to_messages([user(Text("a")), Message("assistant", ())])


def test_a_list_of_blocks_becomes_a_tuple() -> None:
    given: Any = [Text("a")]
    assert to_messages(Message("user", given)) == (user(Text("a")),)


def test_lone_surrogates_become_replacement_characters_wherever_they_are() -> None:
    bad, good = "a\ud800", "a\ufffd"

    def conversation(text: str) -> list[Message]:
        malformed = MalformedArguments(text, text)
        result = ToolResult("c", "error", (Text(text), Json({text: [text]}), Image("image/png", url=text)))
        return [
            user(Text(text), Document("application/pdf", name=text)),
            Message(
                "assistant",
                (Reasoning(text, signature=text), ToolCall("c", text, {text: text}, malformed)),
                interrupted=True,
            ),
            user(result),
        ]

    assert to_messages(conversation(bad)) == tuple(conversation(good))
    assert to_messages(bad) == (user(Text(good)),)


def test_json_in_a_history_is_json() -> None:
    given: dict[str, Any] = {"x": (1, 2)}
    (call, _) = to_messages([Message("assistant", (ToolCall("a", "tool", given),)), RESULT])
    assert call.tool_calls[0].arguments == {"x": [1, 2]}
    given["y"] = object()
    with pytest.raises(ConfigError, match=r"ToolCall\(id='a'.* is no JSON: it cannot be written as JSON"):
        to_messages([Message("assistant", (ToolCall("a", "tool", given),)), RESULT])


def test_the_text_of_a_message_is_its_text_blocks() -> None:
    message = Message("assistant", (Reasoning("hm"), Text("a"), ToolCall("c", "tool"), Text("b")))
    assert message.text == "ab"
    assert [call.id for call in message.tool_calls] == ["c"]
    assert message.tool_results == ()
    assert [result.call_id for result in RESULT.tool_results] == ["a"]


def test_the_text_of_a_result_shows_every_block() -> None:
    blocks = (Text("a"), Json({"x": [1, None]}), Image("image/png"), Document("application/pdf"))
    assert ToolResult("c", "success", blocks).text == 'a\n{"x":[1,null]}\n[image image/png]\n[document application/pdf]'


def test_usage_adds_up() -> None:
    assert Usage(1, 2, 3, 4) + Usage(10, 20, 30, 40) == Usage(11, 22, 33, 44)
    assert Usage(1, 2).total_tokens == 3


def test_a_result_prints_as_its_text() -> None:
    assert str(AgentResult("end_turn", Message("assistant", (Text("four"),)))) == "four"
    assert str(AgentResult("cancelled")) == ""


def test_bytes_travel_as_base64() -> None:
    assert Image.from_bytes(b"\x00\xff", media_type="image/png").data == "AP8="
    assert Document.from_bytes(b"\x00\xff", media_type="application/pdf", name="a") == Document(
        "application/pdf", "AP8=", name="a"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Text("a"), "Text(text='a')"),
        (Reasoning("a"), "Reasoning(text='a')"),
        (Reasoning(redacted="x"), "Reasoning(redacted='x')"),
        (Image.from_bytes(b"x" * 9_000, media_type="image/png"), "Image(media_type='image/png')"),
        (ToolCall("a", "tool"), "ToolCall(id='a', tool='tool')"),
        (ToolCall("a", "tool", {"x": 1}), "ToolCall(id='a', tool='tool', arguments={'x': 1})"),
        (Usage(), "Usage()"),
        (AgentResult("cancelled", cycles=2), "AgentResult(stop_reason='cancelled', cycles=2)"),
        (Json(), "Json()"),
    ],
)
def test_a_repr_shows_what_differs_from_the_defaults(value: object, shown: str) -> None:
    assert repr(value) == shown


def test_values_compare_by_class_and_fields() -> None:
    assert Text("a") == Text("a") != Text("b")
    assert Image("a/b", "c") != Document("a/b", "c")
    assert Text("a") != "a"


@pytest.mark.parametrize("value", [Text("a"), CALL, RESULT, Usage(1), AgentResult("end_turn", CALL)])
def test_values_are_unhashable_and_are_copied_and_pickled(value: object) -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(value)
    for made in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):  # noqa: S301  our own
        assert made == value
        assert made is not value


def test_an_error_quotes_the_beginning_of_what_is_wrong() -> None:
    """An image's bytes where its media type should be would fill the screen."""
    with pytest.raises(ConfigError, match="media_type is b'xxx") as caught:
        to_messages([Image(b"x" * 1_000_000, "image/png")])  # type: ignore[arg-type]  # what is tested
    assert len(str(caught.value)) < 1200
