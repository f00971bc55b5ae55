"""One answer, from the chunks of its stream: what becomes of each part, and how it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from becket import (
    Extension,
    ExtensionDelta,
    ModelFinished,
    ProviderError,
    Reasoning,
    ReasoningDelta,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from becket import ContentBlock, Message, ModelEvent
    from becket_google._answer import Answer

    NewAnswer = Callable[..., Answer]
    MessageOf = Callable[[list[ModelEvent]], Message]

STOP = {"candidates": [{"finishReason": "STOP"}]}


def chunk(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A chunk of these parts; `more` are fields of the candidate."""
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, **more}]}


def ended(reason: str, **more: Any) -> dict[str, Any]:
    """A chunk that ends the answer."""
    return {"candidates": [{"finishReason": reason, **more}]}


def read(answer: Answer, *chunks: Any) -> list[ModelEvent]:
    """The events of these chunks, the end not among them."""
    return [event for item in chunks for event in answer.take(json.dumps(item).encode())]


@pytest.fixture
def blocks(new_answer: NewAnswer, message_of: MessageOf) -> Callable[..., list[ContentBlock]]:
    """The blocks of the message that these chunks come to."""
    return lambda *chunks: list(message_of(read(new_answer(), *chunks)).content)


@pytest.fixture
def finish(new_answer: NewAnswer) -> Callable[..., ModelFinished]:
    """How an answer of these chunks ends."""

    def end(*chunks: Any) -> ModelFinished:
        answer = new_answer()
        read(answer, *chunks)
        return answer.finish()

    return end


# -- text and thoughts -------------------------------------------------------------------------------------------------


def test_text_is_a_delta_as_it_comes(new_answer: NewAnswer) -> None:
    assert read(new_answer(), chunk({"text": "Hel"}), chunk({"text": "lo"})) == [TextDelta("Hel"), TextDelta("lo")]


def test_thoughts_and_text_are_blocks_of_their_own(new_answer: NewAnswer) -> None:
    thought = {"text": "hm", "thought": True}
    assert read(new_answer(), chunk(thought), chunk(thought, {"text": "42"}), chunk(thought)) == [
        ReasoningDelta("hm", 0),
        ReasoningDelta("hm", 0),
        TextDelta("42", 1),
        ReasoningDelta("hm", 2),
    ]


def test_parts_of_nothing_say_nothing(new_answer: NewAnswer) -> None:
    """As in the last chunk, which often has an empty text, and in those that only count tokens."""
    chunks = chunk({"text": ""}), chunk({}), chunk(), {"candidates": [{"content": {}}]}, {"candidates": []}, {}
    assert read(new_answer(), *chunks) == []


def test_fields_that_are_not_known_are_ignored(new_answer: NewAnswer) -> None:
    more = {"groundingMetadata": {"a": [1]}, "safetyRatings": [{}]}
    events = read(new_answer(), {**chunk({"text": "42", "partMetadata": {"a": 1}}, **more), "createTime": "now"})
    assert events == [TextDelta("42")]


def test_a_second_candidate_is_not_read(blocks: Any) -> None:
    """`candidateCount` may ask for more; there is one answer in a run."""
    second = {"index": 1, "content": {"parts": [{"text": "other"}]}, "finishReason": "STOP"}
    both = {"candidates": [*chunk({"text": "42"}, index=0)["candidates"], second]}
    assert blocks(both, {"candidates": [second]}) == [Text("42")]


# -- signatures --------------------------------------------------------------------------------------------------------


def test_a_signature_seals_the_piece_of_text_that_it_came_with(blocks: Any) -> None:
    """The text stays one block for who reads it, and what follows is another."""
    signed = {"text": "lo", "thoughtSignature": "S"}
    assert blocks(chunk({"text": "Hel"}), chunk(signed), chunk({"text": " there"})) == [
        Text("Hello"),
        Extension("google", {"thoughtSignature": "S", "chars": 2}),
        Text(" there"),
    ]


@pytest.mark.parametrize("part", [{"text": "", "thoughtSignature": "S"}, {"thoughtSignature": "S"}])
def test_a_signature_may_come_with_no_text(blocks: Any, part: dict[str, Any]) -> None:
    """As in the last chunk of Gemini 3."""
    assert blocks(chunk({"text": "Hello"}), chunk(part)) == [
        Text("Hello"),
        Extension("google", {"thoughtSignature": "S", "chars": 0}),
    ]


def test_a_signature_of_a_call_stands_behind_it(blocks: Any) -> None:
    call = {"functionCall": {"name": "look", "args": {"at": 1}, "id": "fc"}, "thoughtSignature": "S"}
    assert blocks(chunk(call)) == [
        ToolCall("fc", "look", {"at": 1}),
        Extension("google", {"thoughtSignature": "S", "call": "fc"}),
    ]


def test_a_sealed_thought_is_kept_as_a_whole(blocks: Any) -> None:
    """Thoughts are not sent back, and this one is part of what the signature seals."""
    thought = {"text": "hm", "thought": True, "thoughtSignature": "S"}
    assert blocks(chunk(thought)) == [Reasoning("hm"), Extension("google", {"part": thought})]


# -- calls -------------------------------------------------------------------------------------------------------------


def test_calls_without_ids_get_some_of_our_own(new_answer: NewAnswer) -> None:
    """They are unique in a run, since the cycle is in what they begin with."""
    calls = [{"functionCall": {"name": "look", "args": {"at": n}}} for n in range(2)]
    assert read(new_answer(), chunk(*calls), chunk({"functionCall": {"name": "wait"}})) == [
        ToolCallDelta("google-call-1-1", "look", '{"at": 0}', 0),
        ToolCallDelta("google-call-1-2", "look", '{"at": 1}', 1),
        ToolCallDelta("google-call-1-3", "wait", "{}", 2),
    ]


@pytest.mark.parametrize("args", [{}, {"args": None}, {"args": {}}])
def test_a_call_may_have_no_arguments(blocks: Any, args: dict[str, Any]) -> None:
    assert blocks(chunk({"functionCall": {"id": "a", "name": "wait", **args}})) == [ToolCall("a", "wait")]


def test_arguments_that_are_no_object_are_malformed(blocks: Any) -> None:
    (call,) = blocks(chunk({"functionCall": {"id": "a", "name": "wait", "args": [1]}}))
    assert call.malformed.reason == "a JSON object is wanted, and this is an array"


def test_text_after_a_call_is_a_block_of_its_own(blocks: Any) -> None:
    call = {"functionCall": {"id": "a", "name": "wait"}}
    assert blocks(chunk({"text": "so "}, call, {"text": "then"})) == [Text("so "), ToolCall("a", "wait"), Text("then")]


def test_a_call_without_a_name_cannot_be_read(new_answer: NewAnswer) -> None:
    with pytest.raises(ProviderError, match="a functionCall without a name"):
        read(new_answer(), chunk({"functionCall": {"args": {"a": 1}}}))


def pieces(*given: dict[str, Any]) -> list[dict[str, Any]]:
    """A chunk for each piece of a call."""
    return [chunk({"functionCall": piece}) for piece in given]


def test_a_call_in_pieces_is_put_together(new_answer: NewAnswer, message_of: MessageOf) -> None:
    """It is told at once; its arguments are given when they are complete."""
    events = read(
        new_answer(),
        *pieces(
            {"name": "look", "id": "fc", "willContinue": True},
            {"partialArgs": [{"jsonPath": "$.at", "stringValue": "Bos", "willContinue": True}], "willContinue": True},
            {"partialArgs": [{"jsonPath": "$.at", "stringValue": "ton"}], "willContinue": True},
            {"partialArgs": [{"jsonPath": "$.n[1].x", "numberValue": 2.5}], "willContinue": True},
            {},
        ),
    )
    assert events[0] == ToolCallDelta("fc", "look")
    assert message_of(events).tool_calls == (ToolCall("fc", "look", {"at": "Boston", "n": [None, {"x": 2.5}]}),)


def test_a_call_in_pieces_may_bring_its_arguments_whole(blocks: Any) -> None:
    first = {"name": "look", "id": "fc", "willContinue": True}
    assert blocks(*pieces(first, {"args": {"at": "x"}}), STOP) == [ToolCall("fc", "look", {"at": "x"})]


def test_the_last_piece_of_a_call_may_be_one_with_arguments(blocks: Any) -> None:
    """As it is with arrays."""
    first = {"name": "look", "id": "fc", "willContinue": True}
    assert blocks(*pieces(first, {"partialArgs": [{"jsonPath": "$.at[0]", "boolValue": True}]})) == [
        ToolCall("fc", "look", {"at": [True]})
    ]


def test_a_call_in_pieces_ends_with_the_answer_or_the_next_call(blocks: Any) -> None:
    first = {"name": "look", "id": "a", "willContinue": True}
    assert blocks(*pieces(first, first | {"id": "b"}), STOP) == [ToolCall("a", "look"), ToolCall("b", "look")]


def test_a_call_in_pieces_has_its_signature(blocks: Any) -> None:
    """Behind it, whatever comes between its pieces."""
    first = {"functionCall": {"name": "look", "id": "a", "willContinue": True}, "thoughtSignature": "S"}
    assert blocks(chunk(first), chunk({"text": "so"}), *pieces({})) == [
        ToolCall("a", "look"),
        Extension("google", {"thoughtSignature": "S", "call": "a"}),
        Text("so"),
    ]


def test_a_path_may_have_names_in_quotes(blocks: Any) -> None:
    first = {"name": "look", "id": "fc", "willContinue": True}
    named = {"partialArgs": [{"jsonPath": """$['a.b'][0]["c d"]""", "stringValue": "x"}]}
    assert blocks(*pieces(first, named)) == [ToolCall("fc", "look", {"a.b": [{"c d": "x"}]})]


@pytest.mark.parametrize("path", ["", "at", "$", "$.", "$.a[", "$.a[x]", "$[0]", "$.a[99999999]", "$..a"])
def test_a_piece_that_leads_nowhere_cannot_be_read(new_answer: NewAnswer, path: str) -> None:
    first = {"name": "look", "willContinue": True}
    with pytest.raises(ProviderError, match="cannot be read"):
        read(new_answer(), *pieces(first, {"partialArgs": [{"jsonPath": path, "stringValue": "x"}]}))


def test_a_piece_of_no_call_cannot_be_read(new_answer: NewAnswer) -> None:
    with pytest.raises(ProviderError, match="a piece of a functionCall that was not begun"):
        read(new_answer(), *pieces({"partialArgs": [{"jsonPath": "$.a", "boolValue": True}]}))


# -- other parts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "part",
    [
        {"executableCode": {"language": "PYTHON", "code": "1+1"}, "thoughtSignature": "S"},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}},
        {"toolCall": {"id": "a", "toolType": "GOOGLE_SEARCH", "args": {"q": "x"}}},
        {"toolResponse": {"id": "a", "toolType": "GOOGLE_SEARCH", "response": {}}},
    ],
)
def test_what_the_service_does_itself_is_kept_as_it_is(blocks: Any, part: dict[str, Any]) -> None:
    assert blocks(chunk({"text": "so"}, part)) == [Text("so"), Extension("google", {"part": part})]


def test_an_image_is_kept_and_told_of(blocks: Any) -> None:
    """A stream has no delta for it; who reads the text is told, and who wants it finds it beside."""
    image = {"inlineData": {"mimeType": "image/png", "data": "AA=="}, "thoughtSignature": "S"}
    assert blocks(chunk({"text": "look:"}), chunk(image)) == [
        Text("look:"),
        Text("[image/png]"),
        Extension("google", {"part": image, "note": True}),
    ]


def test_a_draft_of_an_image_is_left_out(blocks: Any) -> None:
    """It is a thought, which is not sent back; with a signature it is, and nobody is told of it."""
    draft: dict[str, Any] = {"inlineData": {"mimeType": "image/png", "data": "AA=="}, "thought": True}
    signed = {**draft, "thoughtSignature": "S"}
    assert blocks(chunk(draft, signed)) == [Extension("google", {"part": signed})]


def test_a_part_of_an_unknown_kind_is_told_and_skipped(new_answer: NewAnswer) -> None:
    told: list[str] = []
    answer = new_answer(told.append)
    events = read(answer, chunk({"hologram": {"a": 1}, "thought": False}), chunk({"text": "42"}))
    assert (told, events) == (["hologram"], [TextDelta("42")])


# -- the end -----------------------------------------------------------------------------------------------------------


def test_the_end_has_the_last_count_of_tokens(finish: Any) -> None:
    """Each chunk counts anew; what the service's own tools have read was read by the model."""
    first = {"usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 1}, "responseId": "r-1"}
    last = {
        "promptTokenCount": 10,
        "cachedContentTokenCount": 4,
        "candidatesTokenCount": 7,
        "thoughtsTokenCount": 20,
        "toolUsePromptTokenCount": 5,
        "totalTokenCount": 42,
    }
    usage = Usage(input_tokens=15, output_tokens=27, cached_tokens=4, reasoning_tokens=20)
    assert finish(chunk({"text": "42"}) | first, STOP | {"usageMetadata": last}) == ModelFinished(
        "end_turn", usage, response_id="r-1"
    )


def test_without_counts_the_usage_is_zero(finish: Any) -> None:
    assert finish(STOP).usage == Usage()


def test_tokens_may_be_counted_after_the_end(finish: Any) -> None:
    assert finish(STOP, {"usageMetadata": {"promptTokenCount": 3}}).usage == Usage(3)


def test_an_answer_with_calls_asks_for_tools(finish: Any) -> None:
    """The service says STOP for it, too."""
    assert finish(chunk({"functionCall": {"name": "wait"}}), STOP).stop_reason == "tool_use"


@pytest.mark.parametrize(("reason", "stop"), [("MAX_TOKENS", "max_tokens"), ("CONTINUATION", "max_tokens")])
def test_an_answer_may_be_too_long(finish: Any, reason: str, stop: str) -> None:
    assert finish(chunk({"functionCall": {"name": "wait"}}), ended(reason)).stop_reason == stop


FILTERS = ["SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "MODEL_ARMOR"]


@pytest.mark.parametrize("reason", FILTERS)
def test_an_answer_that_was_withheld_says_so(new_answer: NewAnswer, reason: str) -> None:
    answer = new_answer()
    (told,) = read(answer, ended(reason, finishMessage="unsafe"))
    assert told == TextDelta(f"[The answer was withheld by the service: {reason} (unsafe)]")
    assert answer.finish().stop_reason == "content_filtered"


def test_an_answer_that_was_stopped_in_the_middle_keeps_what_it_said(new_answer: NewAnswer) -> None:
    """And no words are put into the model's mouth; the stop reason tells."""
    answer = new_answer()
    assert read(answer, chunk({"text": "First,"}), ended("SAFETY")) == [TextDelta("First,")]
    assert answer.finish().stop_reason == "content_filtered"


def test_a_prompt_that_was_blocked_says_so(new_answer: NewAnswer) -> None:
    answer = new_answer()
    blocked = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 9}}
    assert read(answer, blocked) == [TextDelta("[The prompt was blocked by the service: PROHIBITED_CONTENT]")]
    assert answer.finish() == ModelFinished("content_filtered", Usage(9))


def test_ratings_of_the_prompt_block_nothing(finish: Any) -> None:
    rated = {"promptFeedback": {"safetyRatings": [{"category": "HARM_CATEGORY_HARASSMENT"}]}}
    assert finish(rated, STOP).stop_reason == "end_turn"


RETRYABLE = ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "OTHER", "NO_IMAGE", "MALFORMED_RESPONSE", "NEW_ONE"]
LASTING = ["MISSING_THOUGHT_SIGNATURE", "PUP_LIMITED_DISABLED", "TOO_MANY_TOOL_CALLS"]


@pytest.mark.parametrize("reason", [*RETRYABLE, *LASTING])
def test_an_answer_that_is_none_is_an_error(finish: Any, reason: str) -> None:
    """It quotes what the service says; whether to ask again depends on the reason."""
    with pytest.raises(ProviderError, match=r": print\(default_api\.look\(") as caught:
        finish(ended(reason, finishMessage="print(default_api.look("))
    assert (caught.value.code, caught.value.retryable) == (reason, reason in RETRYABLE)


def test_some_models_say_in_every_chunk_that_they_stop(finish: Any, blocks: Any) -> None:
    """The last word counts."""
    chunks = chunk({"text": "a"}, finishReason="STOP"), chunk({"text": "b"}, finishReason="MAX_TOKENS")
    assert blocks(*chunks) == [Text("ab")]
    assert finish(*chunks).stop_reason == "max_tokens"


def test_a_stream_without_an_end_is_cut_off(finish: Any) -> None:
    """There is no other mark: Gemini sends no `[DONE]`."""
    with pytest.raises(ProviderError, match="ended without a finishReason"):
        finish(chunk({"text": "42"}))


def test_an_error_in_the_stream_is_raised(new_answer: NewAnswer) -> None:
    error = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
    answer = new_answer()
    read(answer, chunk({"text": "First,"}))
    with pytest.raises(ProviderError, match=r"^The model is overloaded\.$") as caught:
        read(answer, error)
    assert (caught.value.status, caught.value.code) == (503, "UNAVAILABLE")


def test_a_list_of_chunks_is_read_as_chunks(new_answer: NewAnswer) -> None:
    """As the service sends them without `alt=sse`, errors too."""
    assert read(new_answer(), [chunk({"text": "a"}), chunk({"text": "b"})]) == [TextDelta("a"), TextDelta("b")]
    with pytest.raises(ProviderError, match="no quota"):
        read(new_answer(), [{"error": {"code": 429, "message": "no quota"}}])


NO_CHUNKS = [
    b"nonsense",
    b'{"candidates":[',
    b'{"candidates":5}',
    b"[1,",
    b"[[]",
    b"\xff",
    b"5",
    b'{"candidates":[{"content":{"parts":[{"text":"\xff"}]}}]}',
    b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"look","args":{"at":"\xff"}}}]}}]}',
    b'{"candidates":[{"content":{"parts":[{"hologram":"\xff"}]}}]}',
    b'{"more":' + b"[" * 100_000,
]


@pytest.mark.parametrize("data", NO_CHUNKS, ids=lambda data: repr(data[:60]))
def test_an_event_that_is_no_chunk_cannot_be_read(new_answer: NewAnswer, data: bytes) -> None:
    with pytest.raises(ProviderError, match="cannot be read"):
        new_answer().take(data)


def test_a_mark_of_the_end_that_others_add_is_ignored(new_answer: NewAnswer) -> None:
    """The service sends none."""
    assert new_answer().take(b"[DONE]") == []


def test_what_is_no_object_in_a_list_of_chunks_is_left_out(new_answer: NewAnswer) -> None:
    assert read(new_answer(), [1, chunk({"text": "a"})]) == [TextDelta("a")]


def test_signatures_are_no_deltas_that_a_reader_shows(new_answer: NewAnswer) -> None:
    (delta,) = read(new_answer(), chunk({"thoughtSignature": "S"}))
    assert isinstance(delta, ExtensionDelta)
    assert list(delta.keys()) == []
