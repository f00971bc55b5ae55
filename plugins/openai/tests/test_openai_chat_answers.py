"""What servers that imitate OpenAI send, each in its own way, and what it comes to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from becket import (
    Extension,
    ExtensionDelta,
    Message,
    ModelFinished,
    ProviderError,
    ReasoningDelta,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from becket_openai._chat_answer import ChatAnswer
from becket_openai._chat_messages import Messages

if TYPE_CHECKING:
    from becket_wire import ErrorDetails


class Raised:
    """Makes errors as a reply would, and keeps what they are made of."""

    def __init__(self) -> None:
        self.details: ErrorDetails | None = None

    def broken(self, error: ErrorDetails) -> ProviderError:
        self.details = error
        return ProviderError(f"broken: {error.message}")

    def cut_off(self, what: str) -> ProviderError:
        return ProviderError(f"cut off: {what}", retryable=True)

    def unreadable(self, data: bytes, error: Exception) -> ProviderError:
        return ProviderError(f"unreadable: {data!r}: {error}")


def read(*chunks: Any, failures: Raised | None = None) -> list[Any]:
    answer = ChatAnswer("vllm", "m", failures or Raised())
    data = [chunk if isinstance(chunk, bytes) else json.dumps(chunk).encode() for chunk in chunks]
    return [*(event for one in data for event in answer.take(one)), answer.finish()]


def delta(finish: str | None = None, **members: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": members, "finish_reason": finish}]}


def fragment(arguments: Any = None, name: str | None = None, **members: Any) -> dict[str, Any]:
    """A chunk with one fragment of a call; what is None is not there."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return delta(tool_calls=[{**members, "function": function}])


def called(*chunks: Any) -> list[tuple[str, str, str]]:
    """The calls of an answer: id, name, arguments; each with a block of its own."""
    calls: dict[int, list[str]] = {}
    for event in read(*chunks, delta("tool_calls")):
        if isinstance(event, ToolCallDelta):
            assert calls.setdefault(event.block, [event.call_id, event.tool, ""])[:2] == [event.call_id, event.tool]
            calls[event.block][2] += event.fragment
    return [(call_id, tool, arguments) for call_id, tool, arguments in calls.values()]


A = ("a", "f", '{"x": 1}')
B = ("b", "f", '{"x": 2}')


@pytest.mark.parametrize(
    ("chunks", "wanted"),
    [
        pytest.param(
            [
                fragment('{"x"', "f", id="a", index=0),
                fragment(": 1}", index=0),
                fragment('{"x": 2}', "f", id="b", index=1),
            ],
            [A, B],
            id="as OpenAI",
        ),
        pytest.param([fragment(A[2], "f", id="a"), fragment(B[2], "f", id="b")], [A, B], id="without an index"),
        pytest.param(
            [fragment('{"x"', "f", id="a"), fragment(": 1}"), fragment('{"x"', "f", id="b"), fragment(": 2}")],
            [A, B],
            id="without an index, in fragments",
        ),
        pytest.param(
            [fragment(A[2], "f", id="a", index=0), fragment(B[2], "f", id="b", index=0)],
            [A, B],
            id="the same index",
        ),
        pytest.param(
            [
                fragment('{"x"', "f", id="a", index=0),
                fragment(": 1}", id="a", index=0),
                fragment('{"x": 2}', "f", id="b", index=0),
            ],
            [A, B],
            id="the same index, in fragments",
        ),
        pytest.param(
            [fragment(A[2], "f", index=0), fragment(B[2], "f", index=1)],
            [("", "f", A[2]), ("", "f", B[2])],
            id="without an id",
        ),
        pytest.param(
            [fragment(A[2], "f"), fragment(B[2], "f")],
            [("", "f", A[2]), ("", "f", B[2])],
            id="without an id and an index",
        ),
        pytest.param(
            [fragment(A[2], "f", id="", index=0), fragment(B[2], "g", id="", index=0)],
            [("", "f", A[2]), ("", "g", B[2])],
            id="an empty id and the same index",
        ),
        pytest.param(
            [fragment('{"x"', "f", id="a", index=0), fragment(": 1}", "f", id="a", index=0)],
            [A],
            id="id and name in every fragment",
        ),
        pytest.param(
            [fragment("", "f", index=0), fragment('{"x"', "f", index=0), fragment(": 1}", "f", index=0)],
            [("", "f", A[2])],
            id="the name in every fragment, and no id",
        ),
        pytest.param(
            [fragment('{"x"', "f", id="a", index=0), fragment(": 1}", id="other", index=0)],
            [A],
            id="a new id in every fragment",
        ),
        pytest.param([fragment({"x": 1}, "f", id="a", index=0)], [("a", "f", '{"x":1}')], id="an object"),
        pytest.param([fragment(None, "f", id="a", index=0)], [("a", "f", "")], id="no arguments"),
        pytest.param(
            [fragment('{"x": ', "f", index=0), fragment('{"z": 1}}', "f", index=0)],
            [("", "f", '{"x": {"z": 1}}')],
            id="the name in every fragment, and a brace",
        ),
        pytest.param(
            [fragment(A[2], "f", id="a", index=0), fragment(B[2], "f", id="a", index=1)],
            [A, ("a", "f", B[2])],
            id="the same id twice",
        ),
        pytest.param(
            [delta(function_call={"name": "f", "arguments": '{"x"'}), delta(function_call={"arguments": ": 1}"})],
            [("", "f", A[2])],
            id="of before there were several",
        ),
        pytest.param([fragment(A[2], index=0)], [("", "", A[2])], id="without a name"),
    ],
)
def test_calls_are_told_apart_however_a_server_marks_them(chunks: list[Any], wanted: list[Any]) -> None:
    assert called(*chunks) == wanted


@pytest.mark.parametrize(
    ("finish", "stop"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("tool_calls", "end_turn"),  # it says so, and calls none
        ("content_filter", "content_filtered"),
        ("model_length", "max_tokens"),
        ("STOP", "end_turn"),
        ("something_new", "end_turn"),
    ],
)
def test_every_finish_reason_has_its_stop_reason(finish: str, stop: str) -> None:
    assert read(delta(content="a"), delta(finish))[-1].stop_reason == stop


@pytest.mark.parametrize("finish", ["stop", "tool_calls", "function_call", "something_new"])
def test_an_answer_with_calls_asks_for_tools_whatever_its_finish_reason(finish: str) -> None:
    assert read(fragment("{}", "f", id="a", index=0), delta(finish))[-1].stop_reason == "tool_use"


def test_calls_that_are_cut_short_are_said_to_be() -> None:
    assert read(fragment('{"x', "f", id="a", index=0), delta("length"))[-1].stop_reason == "max_tokens"


def test_a_refusal_is_text_and_the_answer_filtered() -> None:
    assert read(delta(refusal="No."), delta("stop")) == [
        TextDelta("No.", 2),
        ModelFinished("content_filtered", Usage()),
    ]


def test_the_text_at_which_vllm_stopped_is_a_stop_sequence() -> None:
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": "END"}]}
    assert read(last)[-1].stop_reason == "stop_sequence"
    last["choices"][0]["stop_reason"] = 128001  # a token that ends every answer
    assert read(last)[-1].stop_reason == "end_turn"


@pytest.mark.parametrize("names", [("reasoning",), ("reasoning_content",), ("reasoning", "reasoning_content")])
def test_reasoning_has_one_of_two_names(names: tuple[str, ...]) -> None:
    """Or both, and then it is one."""
    assert read(delta(**dict.fromkeys(names, "Hm"), content=""), delta("stop", content="Yes"))[:-1] == [
        ReasoningDelta("Hm"),
        TextDelta("Yes", 1),
    ]


def test_content_may_be_a_list_of_parts() -> None:
    """As reasoning models of Mistral write it."""
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]},
        {"type": "text", "text": "Yes"},
        {"type": "reference", "reference_ids": [1]},
    ]
    assert read(delta("stop", content=parts))[:-1] == [ReasoningDelta("Hm"), TextDelta("Yes", 1)]


THOUGHT = {"prompt_tokens": 9, "total_tokens": 16, "completion_tokens_details": {"reasoning_tokens": 5}}


@pytest.mark.parametrize(
    ("usage", "wanted"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}, Usage(3, 2)),
        ({"prompt_tokens": 3, "completion_tokens": None, "prompt_tokens_details": None}, Usage(3)),
        ({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 8}}, Usage(9, 2, 8)),
        ({"prompt_tokens": 9, "completion_tokens": 2, "prompt_cache_hit_tokens": 8}, Usage(9, 2, 8)),
        (
            THOUGHT | {"completion_tokens": 7},
            Usage(9, 7, 0, 5),
        ),
        (
            THOUGHT | {"completion_tokens": 2},
            Usage(9, 7, 0, 5),
        ),
    ],
)
def test_usage_is_counted_as_becket_does(usage: dict[str, Any], wanted: Usage) -> None:
    """Reasoning is part of the output, also where the service counts it beside."""
    assert read(delta("stop"), {"choices": [], "usage": usage})[-1].usage == wanted


def test_usage_that_grows_with_every_chunk_counts_once() -> None:
    first = {**delta(content="a"), "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
    last = {**delta("stop", content="b"), "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    assert read(first, last, {"choices": [], "usage": None})[-1].usage == Usage(3, 2)


def test_a_stream_that_says_it_is_done_is_whole_without_a_finish_reason() -> None:
    assert read(delta(content="a"), b"[DONE]")[-1] == ModelFinished("end_turn")


def test_an_empty_finish_reason_is_none() -> None:
    """Some servers send it with every chunk."""
    assert read(delta("", content="a"), delta("length"))[-1].stop_reason == "max_tokens"
    with pytest.raises(ProviderError, match="cut off"):
        read(delta("", content="a"))


def test_an_error_that_says_nothing_is_none() -> None:
    """Some servers have the member in every chunk."""
    assert read({**delta("stop", content="a"), "error": {}})[-1].stop_reason == "end_turn"


def test_nothing_is_read_after_the_end() -> None:
    assert read(delta("stop"), b"[DONE]", b"<html>", delta(content="x")) == [ModelFinished("end_turn")]


def test_the_id_of_the_answer_is_kept() -> None:
    assert read({"id": "chatcmpl-1", **delta("stop")})[-1].response_id == "chatcmpl-1"


def test_only_the_first_of_several_answers_is_read() -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "b"}, "finish_reason": "length"}]}
    assert read(delta(content="a"), other, delta("stop")) == [TextDelta("a", 1), ModelFinished("end_turn")]


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        pytest.param(
            {"error": {"message": "Slow down", "type": "rate_limit_error", "code": "rate_limit_exceeded"}},
            ("Slow down", "rate_limit_exceeded", True, None),
            id="it passes",
        ),
        pytest.param(
            {"error": {"message": "No money", "type": "insufficient_quota", "code": "insufficient_quota"}},
            ("No money", "insufficient_quota", False, None),
            id="it lasts",
        ),
        pytest.param(
            {"error": {"message": "Too long", "type": "invalid_request_error", "code": None}},
            ("Too long", "invalid_request_error", None, None),
            id="a type and no code",
        ),
        pytest.param({"error": "it broke"}, ("it broke", None, None, None), id="a text"),
        pytest.param(
            {"error": {"code": 502, "message": "No", "metadata": {"raw": "overloaded"}}, **delta("error")},
            ("No: overloaded", "502", None, 502),
            id="OpenRouter",
        ),
        pytest.param(
            {"object": "error", "message": "bad", "type": "BadRequestError", "code": 400},
            ("bad", "400", None, 400),
            id="vLLM",
        ),
        pytest.param(delta("abort"), ("the service gave up (abort)", None, None, None), id="a finish reason"),
    ],
)
def test_an_error_within_the_stream_is_raised_with_what_the_vendor_says(error: Any, wanted: Any) -> None:
    failures = Raised()
    with pytest.raises(ProviderError, match="broken"):
        read(delta(content="a"), error, failures=failures)
    said = failures.details
    assert said is not None
    assert (said.message, said.code, said.retryable, said.status) == wanted


@pytest.mark.parametrize(
    "data", [b"<html>", b"[]", b'{"choices": 3}', b'{"choices": [{"delta": {"content": 3}}]}', b"\xff"]
)
def test_what_is_no_chunk_is_an_error_that_quotes_it(data: bytes) -> None:
    with pytest.raises(ProviderError, match="unreadable"):
        read(data, delta("stop"))


def test_half_of_a_surrogate_pair_is_taken() -> None:
    """Some servers cut text between the two; the run replaces what is no character."""
    chunk = b'{"choices":[{"delta":{"content":"a\\ud83d"}}]}'
    assert read(chunk, delta("stop"))[0] == TextDelta("a\ud83d", 1)


def test_members_and_chunks_that_are_not_known_are_left_out() -> None:
    assert read({"object": "chat.completion.ping", "x": [1]}, {"choices": None}, delta("stop", audio={"id": 1})) == [
        ModelFinished("end_turn")
    ]


def kept(*chunks: Any) -> Extension:
    (event,) = [event for event in read(*chunks) if isinstance(event, ExtensionDelta)]
    return Extension(event.provider, json.loads(json.dumps(event.data)))


def sent_back(message: Message, provider: str = "vllm", model: str = "m") -> Any:
    return json.loads(Messages(provider, model).encode(message, []))


def test_reasoning_details_go_back_as_one_whole() -> None:
    """Fragments of one detail are put together, as OpenRouter wants them back."""
    details: list[dict[str, Any]] = [
        {"type": "reasoning.text", "text": "Let ", "index": 0, "format": "anthropic-claude-v1"},
        {"type": "reasoning.text", "text": "me", "index": 0},
        {"type": "reasoning.text", "signature": "c2VhbA==", "index": 0},
        {"type": "reasoning.encrypted", "data": "Z2Vo", "index": 1, "id": "rs_1"},
    ]
    block = kept(*(delta(reasoning="x", reasoning_details=[one]) for one in details), delta("stop", content="Yes"))
    whole = {**details[0], "text": "Let me", "signature": "c2VhbA=="}
    assert sent_back(Message("assistant", (Text("Yes"), block)))["reasoning_details"] == [whole, details[-1]]


def test_the_signature_of_a_thought_goes_back_with_its_call() -> None:
    """As Google wants it, also where it comes by itself."""
    seal = {"google": {"thought_signature": "c2VhbA=="}}
    block = kept(
        delta(tool_calls=[{"id": "a", "function": {"name": "f", "arguments": "{}"}}]),
        delta(tool_calls=[{"id": "b", "function": {"name": "f", "arguments": "{}"}}]),
        delta(tool_calls=[{"id": "b", "extra_content": seal}]),
        delta("stop", extra_content={"google": {"thought": True}}),
    )
    message = sent_back(Message("assistant", (ToolCall("a", "f"), ToolCall("b", "f"), block)))
    assert [call.get("extra_content") for call in message["tool_calls"]] == [None, seal]
    assert message["extra_content"] == {"google": {"thought": True}}


@pytest.mark.parametrize(("provider", "model"), [("openrouter", "m"), ("vllm", "other")])
def test_what_one_model_has_sealed_goes_back_to_no_other(provider: str, model: str) -> None:
    block = kept(delta("stop", content="Yes", reasoning_details=[{"type": "reasoning.text", "text": "Hm"}]))
    message = sent_back(Message("assistant", (Text("Yes"), block)), provider, model)
    assert message == {"role": "assistant", "content": "Yes"}
