"""Streams as services send them, read by OpenAI's own client and by us: what both make of one is the same."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest
from becket import (
    Message,
    ModelFinished,
    ModelRequest,
    ProviderError,
    ReasoningDelta,
    Text,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from becket.testing import LoopbackServer, Played
from becket_openai import OpenAIProvider
from becket_openai._chat_answer import ChatAnswer
from becket_wire import EventSplitter
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from becket import ModelEvent
    from openai.types.chat import ChatCompletion

pytestmark = pytest.mark.anyio

STREAMS = {path.stem: path.read_bytes() for path in sorted((Path(__file__).parent / "streams").glob("*.sse"))}
WHOLE = sorted(STREAMS.keys() - {"cut_off", "error"})
QUESTION = ModelRequest("gpt-5.4-nano", [Message("user", (Text("Hello?"),))])


@dataclass
class Assembled:
    """What an answer came to, as either of the two readers has it."""

    text: str = ""
    reasoning: str = ""
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    stop: str = ""
    usage: Usage = field(default_factory=Usage)


def ours(events: Iterable[ModelEvent]) -> Assembled:
    """What our events come to: blocks by their numbers, as a run puts them together."""
    made = Assembled()
    texts: dict[int, list[str]] = {}
    calls: dict[int, tuple[str, str, list[str]]] = {}
    for event in events:
        match event:
            case TextDelta(text=text, block=block):
                texts.setdefault(block, []).append(text)
            case ReasoningDelta(text=text):
                made.reasoning += text
            case ToolCallDelta(call_id=call_id, tool=tool, fragment=fragment, block=block):
                assert calls.setdefault(block, (call_id, tool, []))[:2] == (call_id, tool)
                calls[block][2].append(fragment)
            case ModelFinished(stop_reason=stop, usage=usage):
                made.stop, made.usage = stop, usage
    made.text = "".join(piece for _, pieces in sorted(texts.items()) for piece in pieces)
    made.calls = [(call_id, tool, json.loads("".join(pieces) or "{}")) for call_id, tool, pieces in calls.values()]
    return made


def theirs(completion: ChatCompletion) -> Assembled:
    """What the client's completion says, in our words."""
    (choice,) = completion.choices
    message, usage = choice.message, completion.usage
    calls = [call for call in message.tool_calls or [] if call.type == "function"]
    stops = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "content_filtered"}
    return Assembled(
        (message.content or "") + (message.refusal or ""),
        getattr(message, "reasoning_content", None) or "",
        [(call.id, call.function.name, json.loads(call.function.arguments or "{}")) for call in calls],
        "content_filtered" if message.refusal else stops[choice.finish_reason],
        Usage()
        if usage is None
        else Usage(
            usage.prompt_tokens,
            usage.completion_tokens,
            (usage.prompt_tokens_details and usage.prompt_tokens_details.cached_tokens) or 0,
            (usage.completion_tokens_details and usage.completion_tokens_details.reasoning_tokens) or 0,
        ),
    )


class Raised:
    """Makes errors as a reply would, in fewer words."""

    def broken(self, error: Any) -> ProviderError:
        return ProviderError(f"broken: {error.message}", retryable=bool(error.retryable), status=error.status)

    def cut_off(self, what: str) -> ProviderError:
        return ProviderError(f"cut off: {what}", retryable=True)

    def unreadable(self, data: bytes, error: Exception) -> ProviderError:
        return ProviderError(f"unreadable: {data!r}: {error}")


def read(*pieces: bytes) -> list[ModelEvent]:
    """The events of a body that comes in these pieces."""
    answer, splitter = ChatAnswer("openai", "gpt-5.4-nano", Raised()), EventSplitter()
    batches = [splitter.feed(piece) for piece in pieces]
    data = [one for batch in [*batches, splitter.close()] for one in batch]
    return [*(event for one in data for event in answer.take(one)), answer.finish()]


async def asked(provider: OpenAIProvider, request: ModelRequest = QUESTION) -> list[ModelEvent]:
    stream: AsyncIterator[ModelEvent] = provider.stream(request)
    return [event async for event in stream]


def played(body: bytes) -> Played:
    return Played([body], headers={"content-type": "text/event-stream"})


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the client's own connections are asyncio's here
@pytest.mark.parametrize("name", WHOLE)
async def test_the_official_client_and_we_make_the_same_of_a_stream(name: str) -> None:
    """Message, calls, stop reason and usage, over HTTP."""
    async with LoopbackServer(played(STREAMS[name])) as server:
        async with openai.AsyncOpenAI(api_key="key", base_url=f"{server.url}/v1", max_retries=0) as client:
            wanted: Any = [{"role": "user", "content": "Hello?"}]
            async with client.chat.completions.stream(model="gpt-5.4-nano", messages=wanted) as stream:
                await stream.until_done()
                judged = theirs(stream.current_completion_snapshot)  # the final one raises where it was cut short
        provider = OpenAIProvider(base_url=f"{server.url}/v1", api_key="key")
        events = await asked(provider)
        await provider.aclose()
    assert ours(events) == judged


@pytest.mark.parametrize("name", WHOLE)
async def test_a_stream_is_the_same_on_either_event_loop(name: str) -> None:
    """What comes over HTTP, byte by byte, is what comes of the bytes without it."""
    async with LoopbackServer(played(STREAMS[name]).split(7)) as server:
        provider = OpenAIProvider(base_url=f"{server.url}/v1", api_key="key")
        assert await asked(provider) == read(STREAMS[name])
        await provider.aclose()


@given(st.sampled_from(sorted(STREAMS)), st.data())
def test_it_does_not_matter_how_a_stream_is_cut_into_pieces(name: str, data: st.DataObject) -> None:
    """Down to single bytes: the same events, or the same error."""
    body = STREAMS[name]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=40)))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert outcome(pieces) == outcome([body])


@pytest.mark.parametrize("name", sorted(STREAMS))
def test_a_stream_may_come_in_single_bytes(name: str) -> None:
    body = STREAMS[name]
    assert outcome([body[at : at + 1] for at in range(len(body))]) == outcome([body])


@pytest.mark.parametrize("name", WHOLE)
@given(data=st.data())
def test_a_stream_that_is_cut_off_never_passes_for_whole(name: str, data: st.DataObject) -> None:
    """Before the finish reason there is an error; after it the answer is there, with its text."""
    body = STREAMS[name]
    end = data.draw(st.integers(0, len(body)))
    line = body.index(b"\n", body.index(b'"finish_reason":"'))  # an empty line after it ends the event
    if end > body.index(b"\n", line + 1):
        assert read(body[:end])[:-1] == read(body)[:-1]
    elif end <= line:
        with pytest.raises(ProviderError, match="cut off: its finish reason"):
            read(body[:end])


def outcome(pieces: Sequence[bytes]) -> object:
    try:
        return read(*pieces)
    except ProviderError as error:
        return str(error)
