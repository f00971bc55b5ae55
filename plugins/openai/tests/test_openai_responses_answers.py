"""What is made of a response's events, one by one: what comes late, twice, broken, or from servers like the service."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from becket import ExtensionDelta, ModelFinished, ProviderError, ReasoningDelta, TextDelta, ToolCallDelta
from becket_openai._responses_answer import ResponsesAnswer

if TYPE_CHECKING:
    from becket import ModelEvent


class Raised:
    """Makes errors as a reply would, in fewer words."""

    def broken(self, error: Any) -> ProviderError:
        return ProviderError(error.message, code=error.code, retryable=bool(error.retryable))

    def cut_off(self, what: str) -> ProviderError:
        return ProviderError(f"cut off: {what}", retryable=True)

    def unreadable(self, data: bytes, error: Exception) -> ProviderError:
        return ProviderError(f"unreadable: {data!r}: {error}")


def told(*events: dict[str, Any] | bytes, warned: set[str] | None = None, **end: Any) -> list[ModelEvent]:
    """What these events, and then the end of the response, come to."""
    answer = ResponsesAnswer("openai", Raised(), set() if warned is None else warned)
    done = {"type": "response.completed", "response": {"id": "resp_1", "status": "completed", **end}}
    made: list[ModelEvent] = []
    for event in (*events, done):
        made += answer.take(event if isinstance(event, bytes) else json.dumps(event).encode())
    return [*made, answer.finish()]


def added(index: int, kind: str, **item: Any) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": index, "item": {"type": kind, **item}}


def whole(index: int, kind: str, **item: Any) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": index, "item": {"type": kind, **item}}


def text(fragment: str, index: int = 0, at: int = 0) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "output_index": index, "content_index": at, "delta": fragment}


def arguments(fragment: str, index: int) -> dict[str, Any]:
    return {"type": "response.function_call_arguments.delta", "output_index": index, "delta": fragment}


END = ModelFinished("end_turn", response_id="resp_1")


def test_what_did_not_come_in_fragments_comes_with_the_whole() -> None:
    """The rest of a text of which a part has come, and nothing twice."""
    done = {"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "Hello you"}
    content = [{"type": "output_text", "text": "Hello you"}]
    events = told(added(0, "message", id="m"), text("Hello"), done, done, whole(0, "message", id="m", content=content))
    assert events == [TextDelta("Hello"), TextDelta(" you"), END]


def test_arguments_of_a_call_that_was_not_announced_come_when_it_is_whole() -> None:
    """Their fragments say neither its id nor its tool."""
    call = {"call_id": "c", "name": "t", "arguments": '{"a":1}'}
    events = told(arguments('{"a"', 0), whole(0, "function_call", **call))
    assert events[:-1] == [ToolCallDelta("c", "t"), ToolCallDelta("c", "t", '{"a":1}')]


def test_an_item_that_is_given_twice_is_taken_once() -> None:
    """Also where its id has changed in between, as with some servers."""
    item = {"role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}
    events = told(added(0, "message", id="a"), text("Hi"), output=[{"type": "message", "id": "b", **item}])
    assert events == [TextDelta("Hi"), END]


def test_a_phase_that_is_known_only_at_the_end_is_kept() -> None:
    """A second Extension adds it to the first, by the item's id."""
    content = [{"type": "output_text", "text": "Hi"}]
    events = told(
        whole(0, "reasoning", id="rs", summary=[], encrypted_content="e"),
        added(1, "message", id="m"),
        text("Hi", 1),
        whole(1, "message", id="m", content=content, phase="final_answer", status="incomplete"),
    )
    data = [event.data for event in events if isinstance(event, ExtensionDelta)]
    assert data == [
        {"type": "reasoning", "id": "rs"},
        {"type": "message", "id": "m"},
        {"type": "message", "id": "m", "phase": "final_answer", "status": "incomplete"},
    ]


def test_a_seal_belongs_to_the_last_text_of_its_reasoning() -> None:
    """The one in the finished item: the first one may be incomplete."""
    summary = [{"type": "summary_text", "text": "One"}, {"type": "summary_text", "text": "Two"}]
    events = told(
        added(0, "reasoning", id="rs", summary=[], encrypted_content="half"),
        whole(0, "reasoning", id="rs", summary=summary, encrypted_content="whole"),
    )
    assert events[1:-1] == [
        ReasoningDelta("One", 1),
        ReasoningDelta("Two", 2),
        ReasoningDelta(block=2, signature="whole"),
    ]


def test_nothing_is_emitted_before_there_is_something_to_show() -> None:
    """So that a failure while the model thinks can be tried again."""
    answer = ResponsesAnswer("openai", Raised(), set())
    begun = [added(0, "reasoning", id="rs", summary=[]), added(1, "message", id="m", phase="commentary", content=[])]
    assert [event for one in begun for event in answer.take(json.dumps(one).encode())] == []


def test_an_id_that_is_too_long_to_go_back_is_left_out() -> None:
    """The service refuses more than 64 characters."""
    events = told(added(0, "message", id=65 * "x", phase="commentary"), text("Hi"))
    assert events[0] == ExtensionDelta("openai", {"type": "message", "phase": "commentary"})


def test_a_type_of_events_that_is_unknown_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """For all answers of a provider together; what is only progress is not warned of."""
    warned: set[str] = set()
    odd, progress = {"type": "response.moon_phase", "delta": "x"}, {"type": "response.web_search_call.searching"}
    with caplog.at_level(logging.WARNING, "becket"):
        assert told(odd, progress, odd, warned=warned) == told(odd, warned=warned) == [END]
    (record,) = caplog.records
    assert "'openai' sent an event of the type 'response.moon_phase'" in record.getMessage()


def test_half_a_surrogate_pair_does_not_make_an_event_unreadable() -> None:
    """Some servers cut an emoji in two."""
    data = b'{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"\\ud83d"}'
    assert told(data) == [TextDelta("\ud83d"), END]


def test_members_that_are_unknown_or_null_are_passed_over() -> None:
    """As all that servers add, or leave open."""
    usage: dict[str, Any] = {"input_tokens": 3, "output_tokens": None, "input_tokens_details": None, "new": {}}
    (finished,) = told({"type": "response.created", "response": None, "new": []}, usage=usage, output=None, error=None)
    assert isinstance(finished, ModelFinished)
    assert finished.usage.input_tokens == finished.usage.total_tokens == 3


@pytest.mark.parametrize("data", [b"{", b"[]", b'"x"', b'{"type":"response.output_text.delta","delta":5}', b"\xff"])
def test_what_is_no_event_is_an_error(data: bytes) -> None:
    """It says what came."""
    with pytest.raises(ProviderError, match="unreadable"):
        told(data)


@pytest.mark.parametrize(
    ("event", "words", "code", "retryable"),
    [
        (
            {"type": "error", "code": "rate_limit_exceeded", "message": "Slow down."},
            "Slow down",
            "rate_limit_exceeded",
            True,
        ),
        (
            {"type": "error", "error": {"code": "context_length_exceeded", "message": "Too long."}},
            "Too long",
            "context_length_exceeded",
            False,
        ),
        ({"error": {"message": "CUDA out of memory", "type": "server_error"}}, "CUDA", "server_error", True),
        (
            {"type": "response.failed", "response": {"error": {"code": "server_error", "message": "Failed."}}},
            "Failed",
            "server_error",
            True,
        ),
        (
            {"type": "response.failed", "response": {"error": {"code": "insufficient_quota", "message": "Pay."}}},
            "Pay",
            "insufficient_quota",
            False,
        ),
        ({"type": "response.failed", "response": {}}, "nothing says why", None, False),
    ],
)
def test_an_error_in_the_stream_is_raised(event: dict[str, Any], words: str, code: str | None, retryable: bool) -> None:
    """Flat, nested, bare, or that of the response; it says whether to try again."""
    with pytest.raises(ProviderError, match=words) as raised:
        told(event)
    assert (raised.value.code, raised.value.retryable) == (code, retryable)
