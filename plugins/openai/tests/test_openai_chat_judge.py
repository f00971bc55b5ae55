"""Answers made up at random, and errors: what OpenAI's own client makes of them is what we make of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import openai
import pytest
from becket import Message, ModelRequest, ProviderError, Text, TextDelta, ToolCallDelta, Usage
from becket.testing import LoopbackServer, Played
from becket_openai import OpenAIProvider
from becket_openai._chat_answer import ChatAnswer
from becket_wire import EventSplitter
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

if TYPE_CHECKING:
    from becket_wire import ErrorDetails

pytestmark = pytest.mark.anyio

HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
ARGUMENTS = st.dictionaries(TEXTS, st.one_of(st.integers(), TEXTS, st.lists(TEXTS, max_size=2)), max_size=3)


@st.composite
def answers(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The chunks of an answer: text, a refusal and calls in fragments, in any order that keeps each call's own."""
    rest: list[list[dict[str, Any]]] = [
        [{"content": piece} for piece in draw(st.lists(TEXTS, max_size=4))],
        [{"refusal": piece} for piece in draw(st.lists(TEXTS, max_size=2))],
    ]
    for index, arguments in enumerate(draw(st.lists(ARGUMENTS, max_size=3))):
        text = json.dumps(arguments, ensure_ascii=draw(st.booleans()))
        cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
        pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        first = {"id": f"call_{index}", "type": "function", "function": {"name": f"tool_{index}", "arguments": ""}}
        fragments = [first, *({"function": {"arguments": piece}} for piece in pieces)]
        rest.append([{"tool_calls": [{"index": index, **fragment}]} for fragment in fragments])
    chunks: list[dict[str, Any]] = [{"role": "assistant", "content": None}]
    begun = 2  # a call is begun after those before it
    while any(rest):
        ready = [number for number, left in enumerate(rest) if left and number <= begun]
        number = draw(st.sampled_from(ready))
        chunks.append(rest[number].pop(0))
        begun = max(begun, number + 1)
    finish = draw(st.sampled_from(["stop", "length", "tool_calls", "content_filter"]))
    usage = {"prompt_tokens": draw(st.integers(0, 9)), "completion_tokens": 3, "total_tokens": 12}
    return [
        *({**HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in chunks),
        {**HEAD, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]},
        {**HEAD, "choices": [], "usage": usage},
    ]


@given(answers(), st.booleans())
def test_the_official_client_and_we_make_the_same_of_any_answer(chunks: list[Any], escaped: bool) -> None:
    """Text, refusal, calls, finish reason and usage."""
    state: Any = ChatCompletionStreamState()
    for chunk in chunks:
        state.handle_chunk(ChatCompletionChunk.construct(**chunk))
    (choice,) = state.current_completion_snapshot.choices
    theirs, usage = choice.message, state.current_completion_snapshot.usage

    body = b"".join(b"data: %b\n\n" % json.dumps(chunk, ensure_ascii=escaped).encode() for chunk in chunks)
    answer = ChatAnswer("openai", "m", Never())
    events = [event for data in EventSplitter().feed(body) for event in answer.take(data)]
    ended = answer.finish()

    text = "".join(event.text for event in events if isinstance(event, TextDelta) and event.block == 1)
    refusal = "".join(event.text for event in events if isinstance(event, TextDelta) and event.block == 2)
    assert (text, refusal) == (theirs.content or "", theirs.refusal or "")
    calls: dict[int, list[str]] = {}
    for event in events:
        if isinstance(event, ToolCallDelta):
            calls.setdefault(event.block, [event.call_id, event.tool, ""])[2] += event.fragment
    assert [call for _, call in sorted(calls.items())] == [
        [call.id, call.function.name, call.function.arguments] for call in theirs.tool_calls or []
    ]
    assert ended.usage == Usage(usage.prompt_tokens, usage.completion_tokens)
    assert ended.stop_reason == stop_of(choice.finish_reason, refusal=bool(refusal), calls=bool(calls))


def stop_of(finish: str, *, refusal: bool, calls: bool) -> str:
    if refusal or finish == "content_filter":
        return "content_filtered"
    return "max_tokens" if finish == "length" else "tool_use" if calls else "end_turn"


class Never:
    """Makes no errors."""

    def broken(self, error: ErrorDetails) -> ProviderError:
        raise AssertionError(error)

    def cut_off(self, what: str) -> ProviderError:
        raise AssertionError(what)

    def unreadable(self, data: bytes, error: Exception) -> ProviderError:
        raise AssertionError(data) from error


async def both(reply: Played) -> tuple[openai.APIError, ProviderError]:
    """The errors that the client and we raise."""
    async with (
        LoopbackServer(reply) as server,
        openai.AsyncOpenAI(api_key="sk-0123456789", base_url=server.url, max_retries=0) as client,
    ):
        with pytest.raises(openai.APIError) as theirs:
            async for _ in await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "Hi"}], stream=True
            ):
                pass
        provider = OpenAIProvider("box", base_url=server.url, api_key="sk-0123456789")
        with pytest.raises(ProviderError) as ours:
            async for _ in provider.stream(ModelRequest("m", [Message("user", (Text("Hi"),))])):
                pass
        await provider.aclose()
    return theirs.value, ours.value


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the client's own connections are asyncio's here
@pytest.mark.parametrize(
    ("status", "code", "message", "retryable"),
    [
        (400, "context_length_exceeded", "This model's maximum context length is 8192 tokens.", False),
        (401, "invalid_api_key", "Incorrect API key provided.", False),
        (403, "unsupported_country_region_territory", "Country, region, or territory not supported", False),
        (404, "model_not_found", "The model `m` does not exist or you do not have access to it.", False),
        (429, "rate_limit_exceeded", "Rate limit reached for requests", True),
        (500, None, "The server had an error while processing your request", True),
        (503, None, "The engine is currently overloaded, please try again later", True),
    ],
)
async def test_the_official_client_and_we_read_an_error_document_alike(
    status: int, code: str | None, message: str, retryable: bool
) -> None:
    """Status, code, message and the id of the request; which of them pass is what the client repeats by itself."""
    error = {"message": message, "type": "server_error" if status >= 500 else "invalid_request_error", "code": code}
    theirs, ours = await both(Played.json({"error": error}, status=status, headers={"x-request-id": "req_1"}))
    assert isinstance(theirs, openai.APIStatusError)
    assert (ours.status, ours.request_id) == (theirs.status_code, theirs.request_id)
    assert ours.code == (theirs.code or theirs.type)
    assert message in str(theirs)
    assert message in str(ours)
    assert ours.retryable is retryable


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_official_client_and_we_raise_an_error_within_the_stream() -> None:
    begun = {**HEAD, "choices": [{"index": 0, "delta": {"content": "Hel"}, "finish_reason": None}]}
    error = {"error": {"message": "The server had an error", "type": "server_error", "code": None}}
    theirs, ours = await both(Played.sse(begun, error))
    assert theirs.message == "The server had an error"
    assert "The server had an error" in str(ours)
    assert ours.retryable


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_stream_that_is_cut_off_is_an_error_of_ours_alone() -> None:
    """The official client takes it for an answer."""
    begun = {**HEAD, "choices": [{"index": 0, "delta": {"content": "Hel"}, "finish_reason": None}]}
    async with (
        LoopbackServer(Played.sse(begun)) as server,
        openai.AsyncOpenAI(api_key="sk-0123456789", base_url=server.url, max_retries=0) as client,
    ):
        create: Any = client.chat.completions.create
        chunks = [chunk async for chunk in await create(model="m", messages=[], stream=True)]
        assert len(chunks) == 1
        provider = OpenAIProvider("box", base_url=server.url, api_key="sk-0123456789")
        with pytest.raises(ProviderError, match="box ended without its finish reason: the answer is cut off") as caught:
            async for _ in provider.stream(ModelRequest("m", [Message("user", (Text("Hi"),))])):
                pass
        await provider.aclose()
    assert caught.value.retryable
