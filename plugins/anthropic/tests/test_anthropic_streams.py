"""Streams as the service sends them, read by Anthropic's own client and by us: what both make of one is the same."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from becket import (
    Extension,
    ExtensionDelta,
    Message,
    ModelFinished,
    ModelRequest,
    ProviderError,
    Reasoning,
    ReasoningDelta,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from becket.testing import LoopbackServer, Played
from becket_anthropic import AnthropicProvider
from becket_anthropic._answer import Answer
from becket_anthropic._messages import Writer
from becket_wire import EventSplitter
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from becket import ContentBlock, ModelEvent

pytestmark = pytest.mark.anyio

STREAMS = {path.stem: path.read_bytes() for path in sorted((Path(__file__).parent / "streams").glob("*.sse"))}
BROKEN = ["cut_off", *(name for name in STREAMS if name.startswith("error_"))]
WHOLE = sorted(STREAMS.keys() - {*BROKEN})
QUESTION = ModelRequest("claude-sonnet-5-5", [Message("user", (Text("Hello?"),))])
STOPS = {
    "refusal": "content_filtered",
    "model_context_window_exceeded": "max_tokens",
    "pause_turn": "max_tokens",  # where nobody goes on with it
}


@dataclass
class Part:
    """A block while its events come."""

    kind: str
    first: Any
    texts: list[str] = field(default_factory=list)
    signature: str | None = None
    redacted: str | None = None

    def block(self) -> ContentBlock:
        text = "".join(self.texts)
        match self.kind:
            case "text":
                return Text(text)
            case "reasoning":
                return Reasoning(text, self.signature, self.redacted)
            case "call":
                try:
                    return ToolCall(self.first.call_id, self.first.tool, json.loads(text or "{}"))
                except ValueError:
                    return ToolCall(self.first.call_id, self.first.tool)
            case _:
                return Extension(self.first.provider, self.first.data)


def message(events: Iterable[ModelEvent]) -> Message:
    """The message that a run makes of these events."""
    parts: dict[tuple[str, int], Part] = {}
    for event in events:
        match event:
            case TextDelta(text=text, block=block):
                parts.setdefault(("text", block), Part("text", event)).texts.append(text)
            case ReasoningDelta(text=text, block=block):
                part = parts.setdefault(("reasoning", block), Part("reasoning", event))
                part.texts.append(text)
                part.signature = event.signature or part.signature
                part.redacted = event.redacted or part.redacted
            case ToolCallDelta(fragment=fragment, block=block):
                part = parts.setdefault(("call", block), Part("call", event))
                assert (part.first.call_id, part.first.tool) == (event.call_id, event.tool)
                part.texts.append(fragment)
            case ExtensionDelta(block=block):
                assert ("extension", block) not in parts
                parts["extension", block] = Part("extension", event)
    numbers = [number for _, number in parts]
    assert len(numbers) == len(set(numbers)), "each block has a number of its own"
    return Message("assistant", tuple(part.block() for part in parts.values()))


def ours(events: Sequence[ModelEvent]) -> tuple[Any, str, Usage]:
    """The blocks that we would send back, the stop reason, and the usage."""
    finished = events[-1]
    assert isinstance(finished, ModelFinished)
    return Writer("anthropic").assistant(message(events)), finished.stop_reason, finished.usage


def theirs(judged: anthropic.types.Message) -> tuple[Any, str, Usage]:
    """The blocks that the client would send back, without what says nothing, and the rest in our words."""
    content = [block.model_dump(mode="json", exclude_none=True, by_alias=True) for block in judged.content]
    for block in content:
        if block.get("citations") == []:
            del block["citations"]
        if block.get("caller") == {"type": "direct"}:
            del block["caller"]
    usage = judged.usage
    read = usage.cache_read_input_tokens or 0
    details = usage.output_tokens_details
    return (
        content,
        STOPS.get(str(judged.stop_reason), str(judged.stop_reason)),
        Usage(
            usage.input_tokens + read + (usage.cache_creation_input_tokens or 0),
            usage.output_tokens,
            read,
            details.thinking_tokens if details is not None else 0,
        ),
    )


def without_nulls(value: Any) -> Any:
    """A JSON value without members that are null, which the client's dump leaves out, too."""
    if isinstance(value, dict):
        return {key: without_nulls(one) for key, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


class Raised:
    """Makes errors as a reply does, in fewer words."""

    def broken(self, error: Any, /) -> ProviderError:
        return ProviderError(f"broken: {error.message}", retryable=bool(error.retryable), status=error.status)

    def cut_off(self, what: str, /) -> ProviderError:
        return ProviderError(f"cut off: {what}", retryable=True)

    def unreadable(self, data: bytes, error: Exception, /) -> ProviderError:
        return ProviderError(f"unreadable: {data!r}: {error}")


def read(*pieces: bytes) -> list[ModelEvent]:
    """The events of a body that comes in these pieces."""
    answer, splitter = Answer("anthropic", Raised(), lambda _: None), EventSplitter()
    batches = [splitter.feed(piece) for piece in pieces]
    data = [one for batch in [*batches, splitter.close()] for one in batch]
    events = [event for one in data for event in answer.take(one)]
    return [*events, answer.finish()]


async def asked(provider: AnthropicProvider, request: ModelRequest = QUESTION) -> list[ModelEvent]:
    stream: AsyncIterator[ModelEvent] = provider.stream(request)
    return [event async for event in stream]


def played(body: bytes) -> Played:
    return Played([body], headers={"content-type": "text/event-stream", "request-id": "req_1"})


async def judge(server: LoopbackServer) -> anthropic.types.Message:
    """What the official client makes of the server's reply."""
    async with (
        anthropic.AsyncAnthropic(api_key="key", base_url=server.url, max_retries=0) as client,
        client.messages.stream(
            model="claude-sonnet-5-5", max_tokens=100, messages=[{"role": "user", "content": "Hello?"}]
        ) as stream,
    ):
        return await stream.get_final_message()


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the official client's default transport is asyncio's
async def test_the_official_client_and_we_make_the_same_of_a_stream(name: str) -> None:
    """Message, signatures, calls, stop reason and usage, over HTTP."""
    async with LoopbackServer(played(STREAMS[name])) as server:
        judged = theirs(await judge(server))
        provider = AnthropicProvider(base_url=server.url, api_key="key")
        events = read(STREAMS[name]) if name == "pause_1" else await asked(provider)
        await provider.aclose()
    content, stop, usage = ours(events)
    if name == "refusal":  # why it refused is no content to the client
        assert content == [{"type": "text", "text": "This request could enable cyber harm."}]
        content = []
    if name == "tool_cut_at_max_tokens":
        judged[0][0]["input"] = {}  # the client reads half an input; becket calls it malformed
    assert (without_nulls(content), stop, usage) == judged


@pytest.mark.parametrize("name", WHOLE)
@given(data=st.data())
def test_the_answer_is_the_same_however_it_is_cut(name: str, data: st.DataObject) -> None:
    """Every chunking, down to single bytes."""
    body = STREAMS[name]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(body) - 1), max_size=40)))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert ours(read(*pieces)) == ours(read(body))


@pytest.mark.parametrize("name", WHOLE)
def test_the_answer_is_the_same_byte_by_byte(name: str) -> None:
    body = STREAMS[name]
    assert ours(read(*(body[at : at + 1] for at in range(len(body))))) == ours(read(body))
