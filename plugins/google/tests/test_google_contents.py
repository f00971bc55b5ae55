"""Messages as contents: what is sent of each block, and what is not."""

from __future__ import annotations

import json
from typing import Any

import pytest
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
from becket_google._contents import OWN_ID, SKIP_SIGNATURE, contents, encoder
from hypothesis import given
from hypothesis import strategies as st

PIXEL = Image("image/png", "iVBORw0=")


def encoded(message: Message, *before: Message, gemini_3: bool = False) -> dict[str, Any] | None:
    """The content of a message, None where it has none."""
    piece = encoder("google", gemini_3=gemini_3)(message, before)
    return json.loads(piece) if piece else None


def parts(*blocks: Any, gemini_3: bool = False) -> list[dict[str, Any]]:
    """The parts of an answer of these blocks."""
    content = encoded(Message("assistant", blocks), gemini_3=gemini_3)
    return content["parts"] if content else []


def results(*given: ToolResult, gemini_3: bool = False) -> list[dict[str, Any]]:
    """The parts of the results of calls of the tool `look`."""
    asked = Message("assistant", tuple(ToolCall(result.call_id, "look") for result in given))
    content = encoded(Message("user", given), Message("user", (Text("go"),)), asked, gemini_3=gemini_3)
    assert content is not None
    return content["parts"]  # type: ignore[no-any-return]  # JSON


def sealed(signature: str, **of: Any) -> Extension:
    """A signature as an answer keeps it."""
    return Extension("google", {"thoughtSignature": signature, **of})


def test_a_text_of_the_user_is_a_part() -> None:
    assert encoded(Message("user", (Text("hello"),))) == {"role": "user", "parts": [{"text": "hello"}]}


def test_an_answer_is_spoken_by_the_model() -> None:
    assert encoded(Message("assistant", (Text("hello"),))) == {"role": "model", "parts": [{"text": "hello"}]}


def test_bytes_and_references_are_parts_of_their_own() -> None:
    """An image or a document by its bytes is inline data, one by reference is file data."""
    message = Message("user", (PIXEL, Document("application/pdf", url="https://a.example/b.pdf", name="b")))
    assert encoded(message) == {
        "role": "user",
        "parts": [
            {"inlineData": {"mimeType": "image/png", "data": "iVBORw0="}},
            {"fileData": {"mimeType": "application/pdf", "fileUri": "https://a.example/b.pdf"}},
        ],
    }


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_a_message_of_nothing_is_left_out(role: Any) -> None:
    """The service refuses a part without data, and a content without parts."""
    assert encoded(Message(role, (Text(""),))) is None


def test_reasoning_is_not_sent_back() -> None:
    assert parts(Reasoning("hm", signature="of another service"), Text("42")) == [{"text": "42"}]


def test_extensions_of_other_providers_are_not_sent() -> None:
    assert parts(Extension("anthropic", {"part": {"text": "x"}}), Text("42")) == [{"text": "42"}]


@pytest.mark.parametrize("data", [None, "text", {}, {"part": 3}, {"thoughtSignature": "s"}, {"thoughtSignature": 1}])
def test_an_extension_that_is_not_understood_is_left_out(data: Any) -> None:
    """As one of a later version, read from a stored session."""
    assert parts(Text("42"), Extension("google", data)) == [{"text": "42"}]


# -- calls and results -------------------------------------------------------------------------------------------------


def test_a_call_carries_the_id_that_the_service_gave_it() -> None:
    assert parts(ToolCall("fc-1", "look", {"at": "x"})) == [
        {"functionCall": {"name": "look", "args": {"at": "x"}, "id": "fc-1"}}
    ]


def test_an_id_of_our_own_making_is_not_sent() -> None:
    """Neither with the call nor with its result: the service pairs these by their order."""
    assert parts(ToolCall(f"{OWN_ID}1-1", "look")) == [{"functionCall": {"name": "look", "args": {}}}]
    assert results(ToolResult(f"{OWN_ID}1-1", "success", (Text("ok"),))) == [
        {"functionResponse": {"name": "look", "response": {"output": "ok"}}}
    ]


def test_a_malformed_call_is_a_call_without_arguments() -> None:
    """The history stays one that the service takes; what was wrong stands in the result."""
    call = ToolCall("a", "look", malformed=MalformedArguments('{"at', "it ends too early"))
    assert parts(call) == [{"functionCall": {"name": "look", "args": {}, "id": "a"}}]


def test_an_integer_above_64_bits_is_sent_as_it_is() -> None:
    assert parts(ToolCall("a", "look", {"at": 2**70}))[0]["functionCall"]["args"] == {"at": 2**70}


def test_results_stand_together_in_the_order_of_the_calls() -> None:
    answered = results(ToolResult("a", "success", (Text("1"),)), ToolResult("b", "error", (Text("no"),)))
    assert answered == [
        {"functionResponse": {"name": "look", "response": {"output": "1"}, "id": "a"}},
        {"functionResponse": {"name": "look", "response": {"error": "no"}, "id": "b"}},
    ]


@pytest.mark.parametrize("status", ["error", "denied", "interrupted"])
def test_a_result_that_is_no_success_is_an_error(status: Any) -> None:
    assert results(ToolResult("a", status, (Text("why"),)))[0]["functionResponse"]["response"] == {"error": "why"}


def test_a_json_result_is_sent_as_json() -> None:
    """Alone it goes as the value that it is; with others it is text."""
    value = {"temperature": [1, None]}
    alone = results(ToolResult("a", "success", (Json(value),)))
    with_text = results(ToolResult("a", "success", (Text("now:"), Json(value))))
    assert alone[0]["functionResponse"]["response"] == {"output": value}
    assert with_text[0]["functionResponse"]["response"] == {"output": 'now:\n{"temperature":[1,null]}'}


def test_a_result_is_named_by_its_call() -> None:
    """By the last call of its id: ids are unique in one message only."""
    asked = [Message("assistant", (ToolCall("a", tool),)) for tool in ("old", "new")]
    answered = encoded(Message("user", (ToolResult("a", "success"),)), *asked)
    assert answered is not None
    assert answered["parts"][0]["functionResponse"]["name"] == "new"


def test_media_of_a_result_stand_in_it() -> None:
    """Since Gemini 3 a function's response may hold media."""
    (part,) = results(ToolResult("a", "success", (Text("see"), PIXEL)), gemini_3=True)
    assert part["functionResponse"]["parts"] == [{"inlineData": {"mimeType": "image/png", "data": "iVBORw0="}}]


def test_media_of_a_result_stand_behind_all_results() -> None:
    """For earlier models: between the responses they would break the turn apart."""
    answered = results(ToolResult("a", "success", (PIXEL,)), ToolResult("b", "success", (Text("ok"),)))
    assert [next(iter(part)) for part in answered] == ["functionResponse", "functionResponse", "inlineData"]


# -- signatures --------------------------------------------------------------------------------------------------------


def test_a_signature_goes_back_with_its_call() -> None:
    assert parts(ToolCall("a", "look"), sealed("S==", call="a"), gemini_3=True) == [
        {"functionCall": {"name": "look", "args": {}, "id": "a"}, "thoughtSignature": "S=="}
    ]


def test_a_signature_goes_back_on_the_piece_of_text_that_it_came_with() -> None:
    """The piece stays a part of its own: what seals "lo" does not seal "Hello"."""
    assert parts(Text("Hello"), sealed("S", chars=2), Text(" there")) == [
        {"text": "Hel"},
        {"text": "lo", "thoughtSignature": "S"},
        {"text": " there"},
    ]


def test_a_signature_that_came_with_no_text_goes_back_so() -> None:
    assert parts(Text("Hello"), sealed("S", chars=0)) == [{"text": "Hello"}, {"text": "", "thoughtSignature": "S"}]


def test_a_signature_of_a_whole_text_goes_back_on_it() -> None:
    assert parts(Text("Hello"), sealed("S", chars=5)) == [{"text": "Hello", "thoughtSignature": "S"}]


def test_a_signature_stands_though_a_mask_has_shortened_its_text() -> None:
    assert parts(Text("[m]"), sealed("S", chars=40)) == [{"text": "[m]", "thoughtSignature": "S"}]


def test_a_signature_without_its_call_is_left_out() -> None:
    """An interrupted answer keeps its text and loses its calls."""
    assert parts(Text("let me see"), sealed("S", call="a")) == [{"text": "let me see"}]


def test_a_part_goes_back_as_a_whole() -> None:
    code = {"executableCode": {"language": "PYTHON", "code": "1+1"}, "thoughtSignature": "S"}
    assert parts(Text("so"), Extension("google", {"part": code})) == [{"text": "so"}, code]


@pytest.mark.parametrize(("interrupted", "kept"), [(False, 2), (True, 1)])
def test_what_the_service_had_only_begun_is_left_out_of_an_interrupted_answer(interrupted: bool, kept: int) -> None:
    code = Extension("google", {"part": {"executableCode": {"code": "1+1"}}})
    content = encoded(Message("assistant", (Text("so"), code), interrupted=interrupted))
    assert content is not None
    assert len(content["parts"]) == kept


def test_our_note_of_an_image_is_not_sent() -> None:
    """The image itself is."""
    image = {"inlineData": {"mimeType": "image/png", "data": "AA=="}, "thoughtSignature": "S"}
    assert parts(Text("look:"), Text("[image/png]"), Extension("google", {"part": image, "note": True})) == [
        {"text": "look:"},
        image,
    ]


def test_a_foreign_call_gets_what_stands_for_a_signature() -> None:
    """Gemini 3 refuses a step whose first call has none; of parallel calls only the first has one."""
    made = parts(Text("hm"), ToolCall("a", "look"), ToolCall("b", "look"), gemini_3=True)
    assert [part.get("thoughtSignature") for part in made] == [None, SKIP_SIGNATURE, None]


def test_a_signature_of_its_own_is_not_replaced() -> None:
    made = parts(ToolCall("a", "look"), sealed("S", call="a"), ToolCall("b", "look"), gemini_3=True)
    assert [part.get("thoughtSignature") for part in made] == ["S", None]


def test_earlier_models_get_no_stand_in() -> None:
    assert "thoughtSignature" not in parts(ToolCall("a", "look"))[0]


def test_a_history_that_begins_with_the_model_is_opened_by_the_user() -> None:
    """The service refuses one that does not; an empty part it would refuse as well."""
    encode = encoder("google", gemini_3=False)
    begun = contents([encode(Message("assistant", (Text("Hello!"),)), ())])
    assert [json.loads(piece)["role"] for piece in begun] == ["user", "model"]
    assert json.loads(begun[0])["parts"][0]["text"]


def test_a_history_that_begins_with_the_user_is_left_alone() -> None:
    piece = encoder("google", gemini_3=False)(Message("user", (Text("Hello!"),)), ())
    assert contents([piece]) == [piece]
    assert contents([]) == []


# -- any history -------------------------------------------------------------------------------------------------------

words = st.text(st.characters(codec="utf-8"), max_size=4)
signatures = st.one_of(
    st.fixed_dictionaries({"thoughtSignature": words, "chars": st.integers(-1, 5)}),
    st.fixed_dictionaries({"thoughtSignature": words, "call": st.sampled_from(["a", "b"])}),
    st.just({"part": {"executableCode": {"code": "1"}}}),
    st.just({"part": {"inlineData": {"mimeType": "image/png", "data": "AA=="}}, "note": True}),
    st.dictionaries(words, words, max_size=1),
)
blocks = st.one_of(
    st.builds(Text, words),
    st.builds(Reasoning, words, st.none() | words),
    st.builds(Extension, st.sampled_from(["google", "other"]), signatures),
    st.builds(ToolCall, st.sampled_from(["a", "b", f"{OWN_ID}1"]), st.just("look"), st.just({"at": 1})),
    st.just(PIXEL),
)
answers = st.builds(Message, st.just("assistant"), st.lists(blocks, max_size=6).map(tuple), st.booleans())
given_by_user = st.one_of(
    st.builds(Text, words),
    st.just(PIXEL),
    st.builds(ToolResult, st.sampled_from(["a", "b"]), st.sampled_from(["success", "error"]), st.just((PIXEL,))),
)
questions = st.builds(Message, st.just("user"), st.lists(given_by_user, max_size=3).map(tuple))


@given(messages=st.lists(answers | questions, max_size=5), gemini_3=st.booleans())
def test_whatever_the_history_the_service_can_take_it(messages: list[Message], gemini_3: bool) -> None:
    """The user's content first, no content without parts, none that is empty, and each with one kind of data."""
    encode = encoder("google", gemini_3=gemini_3)
    pieces = [piece for at, message in enumerate(messages) if (piece := encode(message, messages[:at]))]
    made = [json.loads(piece) for piece in contents(pieces)]
    assert [content["role"] for content in made[:1]] in ([], ["user"])
    for content in made:
        assert content["parts"]
        for part in content["parts"]:
            assert len(part.keys() - {"thoughtSignature"}) == 1
            assert part.get("text") != "" or "thoughtSignature" in part
        called = [part for part in content["parts"] if "functionCall" in part]
        assert not called or not gemini_3 or "thoughtSignature" in called[0]


@given(messages=st.lists(answers, max_size=2))
def test_the_text_of_an_answer_is_sent_as_it_was_said(messages: list[Message]) -> None:
    """However signatures part it; but not what stands for an image."""
    for message in messages:
        if any(isinstance(block, Extension) and "note" in (block.data or {}) for block in message.content):  # type: ignore[operator]  # a dict here
            continue
        content = encoded(message)
        sent = "".join(part.get("text", "") for part in content["parts"]) if content else ""
        assert sent == message.text
