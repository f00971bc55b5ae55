"""Streams as the service sends them, read by Anthropic's own client and by us: what both make of one is the same."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from becket import (
    Agent,
    Extension,
    ExtensionDelta,
    Message,
    MessageAdded,
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


@pytest.mark.parametrize("name", sorted({*WHOLE} - {"empty", "tool_cut_at_max_tokens"}))
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_run_makes_the_same_message_of_it(name: str) -> None:
    """And with the message in its history, it would be sent back as it came."""
    replies = [STREAMS[name], STREAMS["text"]] if name != "pause_1" else [STREAMS[name], STREAMS["pause_2"]]
    async with LoopbackServer(*map(played, replies)) as server:
        provider = AnthropicProvider(base_url=server.url, api_key="key", default_model="claude-sonnet-5-5")
        events = [event async for event in Agent(provider).stream_async("Hello?")]
        await provider.aclose()
    added = next(event.message for event in events if isinstance(event, MessageAdded) and event.message.content)
    content = Writer("anthropic").assistant(added)
    expected = ours(read(STREAMS[name]))[0]
    assert content[: len(expected)] == expected
    assert len(content) == len(expected) + (2 if name == "pause_1" else 0)


class TestBroken:
    def test_a_stream_without_its_end_is_cut_off(self) -> None:
        with pytest.raises(ProviderError, match="cut off: a message_stop event") as caught:
            read(STREAMS["cut_off"])
        assert caught.value.retryable

    @pytest.mark.parametrize("end", range(1, 12))
    def test_a_stream_cut_after_any_event_but_the_last_is_cut_off(self, end: int) -> None:
        events = STREAMS["thinking_tool"].split(b"\n\n")[:-1]
        assert len(events) == 12
        with pytest.raises(ProviderError, match="cut off"):
            read(b"\n\n".join(events[:end]) + b"\n\n")

    @pytest.mark.parametrize(
        ("name", "status", "retryable"),
        [
            ("error_overloaded", 529, True),
            ("error_first", 529, True),
            ("error_rate_limit", 429, True),
            ("error_api", 500, True),
            ("error_invalid", 400, False),
        ],
    )
    def test_an_error_in_the_stream_has_its_status_and_whether_to_try_again(
        self, name: str, status: int, *, retryable: bool
    ) -> None:
        with pytest.raises(ProviderError, match="broken: ") as caught:
            read(STREAMS[name])
        assert (caught.value.status, caught.value.retryable) == (status, retryable)

    @pytest.mark.parametrize(
        "data",
        [
            b"not json",
            b"[]",
            b'{"index": 0}',
            b'{"type": "content_block_delta", "index": "first"}',
            b'{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 3}}',
            b'{"type": "content_block_start", "index": 0, "content_block": 3}',
            b'{"type": "content_block_start", "index": 0}',
            b'{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "\xff"}}',
        ],
    )
    def test_an_event_that_is_not_what_it_should_be_is_told(self, data: bytes) -> None:
        with pytest.raises(ProviderError, match="unreadable"):
            read(b"data: " + data + b"\n\n")

    @pytest.mark.parametrize("name", [name for name in BROKEN if name != "cut_off"])
    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    async def test_the_official_client_sees_the_same_error(self, name: str) -> None:
        async with LoopbackServer(played(STREAMS[name])) as server:
            with pytest.raises(anthropic.APIStatusError) as theirs:
                await judge(server)
            provider = AnthropicProvider(base_url=server.url, api_key="key")
            with pytest.raises(ProviderError) as ours:
                await asked(provider)
            await provider.aclose()
        assert ours.value.code == theirs.value.type
        assert str(theirs.value.api_message) in str(ours.value)
        assert ours.value.request_id == theirs.value.request_id == "req_1"


def lines(*events: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


class TestUnknown:
    """What a later version of the service may send."""

    START = ({"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 1, "output_tokens": 1}}},)
    END = ({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}}, {"type": "message_stop"})

    def told(self, *events: Any) -> tuple[list[ModelEvent], list[str]]:
        warned: list[str] = []
        answer = Answer("anthropic", Raised(), warned.append)
        data = EventSplitter().feed(lines(*self.START, *events, *self.END))
        found = [event for one in data for event in answer.take(one)]
        return [*found, answer.finish()], warned

    def test_an_event_of_a_new_type_is_skipped_and_told(self) -> None:
        events, warned = self.told({"type": "message_hint", "hint": {"index": "x"}})
        assert [event.type for event in events] == ["model_finished"]
        assert warned == ["the event 'message_hint'"]

    def test_a_delta_of_a_new_type_is_skipped_and_told(self) -> None:
        begun = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        new = {"type": "content_block_delta", "index": 0, "delta": {"type": "tone_delta", "tone": "glad"}}
        known = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}}
        events, warned = self.told(begun, new, known)
        assert [event.type for event in events] == ["text_delta", "model_finished"]
        assert warned == ["the delta 'tone_delta'"]

    @pytest.mark.parametrize(
        "block",
        [
            {"type": "text", "text": ""},
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "redacted_thinking", "data": "xyz"},
            {"type": "tool_use", "id": "a", "name": "f", "input": {}},
            {"type": "server_tool_use", "id": "a", "name": "web_search", "input": {}},
        ],
        ids=lambda block: block["type"],
    )
    def test_a_delta_of_a_new_type_is_told_in_any_block(self, block: dict[str, Any]) -> None:
        begun = {"type": "content_block_start", "index": 0, "content_block": block}
        new = {"type": "content_block_delta", "index": 0, "delta": {"type": "tone_delta", "tone": "glad"}}
        _, warned = self.told(begun, new)
        assert len(warned) == 1
        assert "'tone_delta'" in warned[0]

    def test_what_comes_with_the_beginning_of_a_block_is_not_lost(self) -> None:
        """Servers that do not stream send whole blocks so."""
        events, _ = self.told(
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
            },
            {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": "Hi."}},
        )
        thought, signed, said = message(events).content[0], message(events).content[2], message(events).content[1]
        assert (thought, said, signed) == (
            Reasoning("Hm.", "c2ln"),
            Text("Hi."),
            Extension("anthropic", {"signed": True}),
        )

    def test_a_block_of_a_new_type_is_kept_as_it_came(self) -> None:
        block = {"type": "picture", "id": "p1", "pixels": [1, {"deep": None}]}
        events, warned = self.told({"type": "content_block_start", "index": 0, "content_block": block})
        assert (message(events).content, warned) == ((Extension("anthropic", {"block": block}),), [])

    def test_a_delta_of_a_block_that_has_not_begun_is_skipped_and_told(self) -> None:
        events, warned = self.told(
            {"type": "content_block_delta", "index": 7, "delta": {"type": "text_delta", "text": "hi"}}
        )
        assert [event.type for event in events] == ["model_finished"]
        assert warned == ["a delta of a block that has not begun ('text_delta')"]

    def test_a_new_stop_reason_ends_the_turn_and_is_told(self) -> None:
        answer = Answer("anthropic", Raised(), (warned := list[str]()).append)
        for one in EventSplitter().feed(
            lines({"type": "message_delta", "delta": {"stop_reason": "tired"}}, self.END[1])
        ):
            answer.take(one)
        assert (answer.finish().stop_reason, warned) == ("end_turn", ["the stop reason 'tired'"])

    def test_a_call_under_the_wrong_stop_reason_is_a_call(self) -> None:
        """Some compatible servers know only `end_turn`."""
        call = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
        events, _ = self.told({"type": "content_block_start", "index": 0, "content_block": call})
        assert isinstance(events[-1], ModelFinished)
        assert events[-1].stop_reason == "tool_use"

    def test_a_summary_of_the_service_is_kept_with_its_text(self) -> None:
        """The block of its compaction, whose text comes in one delta."""
        events, warned = self.told(
            {"type": "content_block_start", "index": 0, "content_block": {"type": "compaction", "content": None}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "compaction_delta", "content": "So far."}},
            {"type": "content_block_stop", "index": 0},
        )
        assert message(events).content == (
            Extension("anthropic", {"block": {"type": "compaction", "content": "So far."}}),
        )
        assert warned == []

    def test_thinking_without_a_signature_is_kept_as_such(self) -> None:
        """As some compatible servers send it."""
        begun = {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}
        thought = {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm."}}
        events, warned = self.told(begun, thought, {"type": "content_block_stop", "index": 0})
        assert message(events).content == (Reasoning("Hm."), Extension("anthropic", {"signed": False}))
        assert warned == []

    def test_a_call_of_the_services_own_tool_that_was_cut_off_is_not_kept(self) -> None:
        call = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
        half = {"type": "input_json_delta", "partial_json": '{"query": "cl'}
        events, _ = self.told(
            {"type": "content_block_start", "index": 0, "content_block": call},
            {"type": "content_block_delta", "index": 0, "delta": half},
        )
        assert message(events).content == ()


class TestPaused:
    """A turn that the service pauses goes on in another request."""

    @pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
    async def test_it_goes_on_in_the_same_answer(self) -> None:
        async with LoopbackServer(played(STREAMS["pause_1"]), played(STREAMS["pause_2"])) as server:
            provider = AnthropicProvider(base_url=server.url, api_key="key", caching="off")
            events = await asked(provider)
            await provider.aclose()
        first, second = (received.json for received in server.requests)
        content, stop, usage = ours(events)
        assert second["messages"][:-1] == first["messages"]
        assert second["messages"][-1]["role"] == "assistant"
        sent = second["messages"][-1]["content"]
        assert [block["type"] for block in sent] == [
            "thinking",
            "text",
            "server_tool_use",
            "web_search_tool_result",
            "server_tool_use",
        ]
        assert content[: len(sent)] == sent
        assert [block["type"] for block in content[len(sent) :]] == ["web_search_tool_result", "text"]
        assert (stop, usage) == ("end_turn", Usage(100 + 7 + 300, 250, 7))

    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    async def test_the_official_client_would_send_the_same_to_go_on(self) -> None:
        async with LoopbackServer(played(STREAMS["pause_1"]), played(STREAMS["pause_2"])) as server:
            provider = AnthropicProvider(base_url=server.url, api_key="key")
            await asked(provider)
            await provider.aclose()
        async with LoopbackServer(played(STREAMS["pause_1"])) as judging:
            content, _, _ = theirs(await judge(judging))
        assert server.requests[1].json["messages"][-1]["content"] == content

    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    async def test_one_that_is_paused_for_ever_has_reached_its_limit(self) -> None:
        async with LoopbackServer(played(STREAMS["pause_1"])) as server:
            provider = AnthropicProvider(base_url=server.url, api_key="key")
            events = await asked(provider)
            await provider.aclose()
        assert len(server.requests) == 17
        assert ours(events)[1] == "max_tokens"
        assert len(message(events).content) == 17 * 6
