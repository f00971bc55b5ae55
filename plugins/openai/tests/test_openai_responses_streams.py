"""Streams of the Responses API, read by OpenAI's own client and by us: what both make of one is the same."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest
from becket import (
    ExtensionDelta,
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
from becket_openai._responses_answer import ResponsesAnswer
from becket_wire import EventSplitter
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from becket import ModelEvent
    from openai.types.responses import Response

pytestmark = pytest.mark.anyio

STREAMS = {path.stem: path.read_bytes() for path in sorted((Path(__file__).parent / "responses").glob("*.sse"))}
BROKEN = {"cut_off", "error", "error_nested", "failed"}
WHOLE = sorted(STREAMS.keys() - BROKEN)
QUESTION = ModelRequest("gpt-5.4-nano", [Message("user", (Text("Hello?"),))])


@dataclass
class Assembled:
    """What an answer came to, as either of the two readers has it."""

    text: str = ""
    thoughts: list[str] = field(default_factory=list)
    seals: list[str] = field(default_factory=list)
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    others: list[Any] = field(default_factory=list)
    stop: str = ""
    usage: Usage = field(default_factory=Usage)
    response_id: str | None = None


def ours(events: Iterable[ModelEvent]) -> Assembled:
    """What our events come to: blocks by their numbers, as a run puts them together."""
    made = Assembled()
    texts: dict[int, list[str]] = {}
    thoughts: dict[int, list[str]] = {}
    calls: dict[int, tuple[str, str, list[str]]] = {}
    for event in events:
        match event:
            case TextDelta(text=text, block=block):
                texts.setdefault(block, []).append(text)
            case ReasoningDelta(text=text, block=block, signature=signature, redacted=redacted):
                if text:
                    thoughts.setdefault(block, []).append(text)
                if seal := signature or redacted:
                    made.seals.append(seal)
            case ToolCallDelta(call_id=call_id, tool=tool, fragment=fragment, block=block):
                assert calls.setdefault(block, (call_id, tool, []))[:2] == (call_id, tool)
                calls[block][2].append(fragment)
            case ExtensionDelta(data=dict(data)) if data["type"] not in ("message", "reasoning", "function_call"):
                made.others.append(data)
            case ModelFinished(stop_reason=stop, usage=usage, response_id=response_id):
                made.stop, made.usage, made.response_id = stop, usage, response_id
    made.text = "".join(piece for _, pieces in sorted(texts.items()) for piece in pieces)
    made.thoughts = ["".join(pieces) for _, pieces in sorted(thoughts.items())]
    made.calls = [(call_id, tool, json.loads("".join(pieces) or "{}")) for call_id, tool, pieces in calls.values()]
    return made


def theirs(response: Response) -> Assembled:
    """What the client's response says, in our words."""
    made = Assembled(response_id=response.id)
    refused = False
    for item in response.output:
        match item.type:
            case "message":
                for part in item.content:
                    made.text += part.text if part.type == "output_text" else part.refusal
                    refused = refused or part.type == "refusal"
            case "reasoning":
                made.thoughts += [part.text for part in (*item.summary, *(item.content or ()))]
                made.seals += [item.encrypted_content] if item.encrypted_content else []
            case "function_call":
                made.calls.append((item.call_id, item.name, json.loads(item.arguments)))
            case _:
                made.others.append(item.to_dict())
    if response.incomplete_details is not None:
        reasons = {"max_output_tokens": "max_tokens", "content_filter": "content_filtered"}
        made.stop = reasons[str(response.incomplete_details.reason)]
    else:
        made.stop = "tool_use" if made.calls else "content_filtered" if refused else "end_turn"
    if (used := response.usage) is not None:
        made.usage = Usage(
            used.input_tokens,
            used.output_tokens,
            used.input_tokens_details.cached_tokens,
            used.output_tokens_details.reasoning_tokens,
        )
    return made


class Raised:
    """Makes errors as a reply would, in fewer words."""

    def broken(self, error: Any) -> ProviderError:
        return ProviderError(f"broken: {error.message}", code=error.code, retryable=bool(error.retryable))

    def cut_off(self, what: str) -> ProviderError:
        return ProviderError(f"cut off: {what}", retryable=True)

    def unreadable(self, data: bytes, error: Exception) -> ProviderError:
        return ProviderError(f"unreadable: {data!r}: {error}")


def answer(warned: set[str] | None = None) -> ResponsesAnswer:
    return ResponsesAnswer("openai", Raised(), set() if warned is None else warned)


def read(*pieces: bytes) -> list[ModelEvent]:
    """The events of a body that comes in these pieces."""
    reader, splitter = answer(), EventSplitter()
    batches = [splitter.feed(piece) for piece in pieces]
    data = [one for batch in [*batches, splitter.close()] for one in batch]
    return [*(event for one in data for event in reader.take(one)), reader.finish()]


def told(*events: Mapping[str, Any]) -> list[ModelEvent]:
    """What these events, and then the end of the response, come to."""
    reader = answer()
    end = {"type": "response.completed", "response": {"id": "resp_1", "status": "completed"}}
    return [event for one in (*events, end) for event in reader.take(json.dumps(one).encode())]


async def asked(provider: OpenAIProvider, request: ModelRequest = QUESTION) -> list[ModelEvent]:
    return [event async for event in provider.stream(request)]


def played(body: bytes) -> Played:
    return Played([body], headers={"content-type": "text/event-stream"})


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return getattr(request, "param", "asyncio")


@pytest.mark.parametrize("name", WHOLE)
async def test_the_official_client_and_we_make_the_same_of_a_stream(name: str) -> None:
    """Text, refusal, reasoning, calls, items of other types, stop reason, usage and id, over HTTP."""
    async with LoopbackServer(played(STREAMS[name])) as server:
        async with openai.AsyncOpenAI(api_key="key", base_url=f"{server.url}/v1", max_retries=0) as client:
            wanted: Any = [{"role": "user", "content": "Hello?"}]
            async with client.responses.stream(model="gpt-5.4-nano", input=wanted) as stream:
                responses = [event.response async for event in stream if hasattr(event, "response")]
        provider = OpenAIProvider(base_url=f"{server.url}/v1", api_key="key", api="responses")
        events = await asked(provider)
        await provider.aclose()
    assert ours(events) == theirs(responses[-1])


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"], indirect=True)
@pytest.mark.parametrize("name", WHOLE)
async def test_a_stream_is_the_same_on_either_event_loop(name: str) -> None:
    """What comes over HTTP, in small pieces, is what comes of the bytes without it."""
    async with LoopbackServer(played(STREAMS[name]).split(97)) as server:
        provider = OpenAIProvider(base_url=f"{server.url}/v1", api_key="key", api="responses")
        assert await asked(provider) == read(STREAMS[name])
        await provider.aclose()


@given(st.sampled_from(sorted(STREAMS)), st.data())
def test_it_does_not_matter_how_a_stream_is_cut_into_pieces(name: str, data: st.DataObject) -> None:
    """The same events, or the same error."""
    body = STREAMS[name]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=40)))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert outcome(pieces) == outcome([body])


@pytest.mark.parametrize("name", sorted(STREAMS))
def test_a_stream_may_come_in_single_bytes(name: str) -> None:
    """Each its own read."""
    body = STREAMS[name]
    assert outcome([body[at : at + 1] for at in range(len(body))]) == outcome([body])


@given(st.sampled_from(WHOLE), st.data())
def test_a_stream_that_is_cut_off_never_passes_for_whole(name: str, data: st.DataObject) -> None:
    """Before the last event is whole there is an error, retryable."""
    body = STREAMS[name]
    last = body.index(
        b"\n",
        body.index(
            b'"type":"response.incomplete"'
            if b'"type":"response.incomplete"' in body
            else b'"type":"response.completed"'
        ),
    )
    end = data.draw(st.integers(0, last - 1))
    with pytest.raises(ProviderError, match=r"cut off: a response.completed event|unreadable"):
        read(body[:end])


def outcome(pieces: Sequence[bytes]) -> object:
    try:
        return read(*pieces)
    except ProviderError as error:
        return str(error), error.code, error.retryable
