"""Google's own client as the judge of answers: of the same bytes both make the same parts, usage and end.

What is compared is what would be sent back of an answer, so that signatures are compared where they stand. The client
collects nothing itself; what its chunks hold is joined here as the service allows: text without signatures only.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest
from becket import Message, ModelFinished, ModelRequest, ProviderError, ReasoningDelta, Text, Usage
from becket.testing import LoopbackServer, Played
from becket_google import GoogleProvider
from becket_google._contents import encoder
from becket_wire import EventSplitter
from google import genai
from google.genai import errors, types
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from becket import ModelEvent
    from becket_google._answer import Answer

    NewAnswer = Callable[..., Answer]
    MessageOf = Callable[[Iterable[ModelEvent]], Message]

SIGNATURE = "Er4DCrsDAXLI2nzo+/8="
QUESTION = [Message("user", (Text("hello"),))]
MODEL = "gemini-3-flash-preview"


def chunk(*parts: dict[str, Any], reason: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk as the service writes it."""
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if reason is not None:
        candidate["finishReason"] = reason
    return {"candidates": [candidate], "modelVersion": MODEL, "responseId": "kS0daYq", **more}


def counted(prompt: int, answer: int | None = None, thoughts: int | None = None, **more: int) -> dict[str, Any]:
    """The count of tokens in a chunk."""
    counts = {"promptTokenCount": prompt, "candidatesTokenCount": answer, "thoughtsTokenCount": thoughts, **more}
    total = sum(count for count in counts.values() if count)
    details = [{"modality": "TEXT", "tokenCount": prompt}]
    known = {name: count for name, count in counts.items() if count is not None}
    return {"usageMetadata": {**known, "totalTokenCount": total, "promptTokensDetails": details}}


def call(name: str, args: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A part that is a call, with `id` or without."""
    signed = {"thoughtSignature": more.pop("signature")} if "signature" in more else {}
    return {"functionCall": {"name": name, "args": args, **more}, **signed}


THOUGHT = {"text": "**Weighing**\n\nI should look it up.", "thought": True}
STREAMS: dict[str, list[dict[str, Any]]] = {
    "text": [
        chunk({"text": "Hel"}, **counted(8)),
        chunk({"text": "lo"}),
        chunk({"text": " \u2603\U0001f600."}, reason="STOP", **counted(8, 4)),
    ],
    "thoughts": [
        chunk(THOUGHT, **counted(8, None, 20)),
        chunk({"text": "It is 4"}, **counted(8, 3, 20)),
        chunk({"text": "9.", "thoughtSignature": SIGNATURE}, reason="STOP", **counted(8, 5, 20)),
    ],
    "a signature alone at the end": [
        chunk({"text": "It is"}),
        chunk({"text": " 49."}),
        chunk({"text": "", "thoughtSignature": SIGNATURE}, reason="STOP", **counted(8, 5, 20)),
    ],
    "a signature in the middle": [
        chunk({"text": "It "}, {"text": "is ", "thoughtSignature": SIGNATURE}, {"text": "49."}),
        chunk(reason="STOP", **counted(8, 5)),
    ],
    "a signed thought": [chunk({**THOUGHT, "thoughtSignature": SIGNATURE}), chunk({"text": "49"}, reason="STOP")],
    "a call with an id": [
        chunk(call("look", {"at": "x", "n": [1, None, {"deep": True}]}, id="fc-1", signature=SIGNATURE)),
        chunk({"text": ""}, reason="STOP", **counted(30, 9)),
    ],
    "a call without an id": [chunk({"text": "So: "}, call("look", {"at": "x"}), reason="STOP", **counted(30, 9))],
    "parallel calls in one chunk": [
        chunk(
            call("look", {"at": "x"}, id="a", signature=SIGNATURE),
            call("look", {"at": "y"}, id="b"),
            call("wait", {}, id="c"),
            reason="STOP",
            **counted(30, 20),
        )
    ],
    "parallel calls in chunks of their own": [
        chunk(call("look", {"at": "x"}, signature=SIGNATURE)),
        chunk(call("look", {"at": "y"})),
        chunk({"text": "and"}, reason="STOP", **counted(30, 20)),
    ],
    "a blocked prompt": [
        {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "modelVersion": MODEL, **counted(8)}
    ],
    "withheld at the start": [
        {"candidates": [{"finishReason": "SAFETY", "index": 0, "safetyRatings": [
            {"category": "HARM_CATEGORY_HARASSMENT", "probability": "HIGH", "blocked": True}]}], **counted(8)},
    ],
    "withheld in the middle": [chunk({"text": "First,"}), {"candidates": [{"finishReason": "RECITATION"}]}],
    "too long": [chunk({"text": "Once"}), chunk({"text": " upon"}, reason="MAX_TOKENS", **counted(8, 2, 30))],
    "a cache and tools of the service": [
        chunk({"executableCode": {"language": "PYTHON", "code": "print(7*7)"}, "thoughtSignature": SIGNATURE}),
        chunk({"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "49\n"}}),
        chunk({"text": "49"}, reason="STOP", **counted(90, 9, cachedContentTokenCount=64, toolUsePromptTokenCount=12)),
    ],
    "an image": [
        chunk({"text": "Here:"}),
        chunk({"inlineData": {"mimeType": "image/png", "data": "iVBO+/8="}, "thoughtSignature": SIGNATURE}),
        chunk(reason="STOP"),
    ],
    "stops in every chunk": [chunk({"text": "a"}, reason="STOP"), chunk({"text": "b"}, reason="STOP", **counted(1, 2))],
}  # fmt: skip

ENDS = {
    "STOP": "end_turn",
    "MAX_TOKENS": "max_tokens",
    "SAFETY": "content_filtered",
    "RECITATION": "content_filtered",
    None: "content_filtered",  # a prompt that was blocked has no candidate
}


def written(chunks: Iterable[dict[str, Any]]) -> bytes:
    """The bytes of a stream, as the service frames them."""
    return b"".join(b"data: %b\r\n\r\n" % json.dumps(item, ensure_ascii=False).encode() for item in chunks)


# -- the two readers ---------------------------------------------------------------------------------------------------


class Cut(httpx2.AsyncByteStream):
    """A body that comes in these pieces."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece


async def theirs(*pieces: bytes) -> list[types.GenerateContentResponse]:
    """What Google's client makes of a body that comes in these pieces."""
    headers = {"content-type": "text/event-stream"}
    return await asked(httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, stream=Cut(pieces))))


async def asked(transport: Any = None, url: str | None = None) -> list[types.GenerateContentResponse]:
    """What Google's client is answered. With aiohttp, which it prefers, it sets off warnings; so httpx2 it is."""
    async with httpx2.AsyncClient(transport=transport) as http:
        options = types.HttpOptions(base_url=url, httpx_async_client=http)
        client = genai.Client(api_key="test-key", http_options=options)
        stream = await client.aio.models.generate_content_stream(model=MODEL, contents="hello")
        return [item async for item in stream]


def ours(new_answer: NewAnswer, *pieces: bytes) -> list[ModelEvent]:
    """What we make of it."""
    answer, splitter = new_answer(), EventSplitter()
    batches = [splitter.feed(piece) for piece in pieces]
    data = [one for batch in [*batches, splitter.close()] for one in batch]
    return [*(event for one in data for event in answer.take(one)), answer.finish()]


def sent_back(message: Message) -> list[dict[str, Any]]:
    """The parts that we send back of an answer, unsigned neighbours of text joined."""
    content = encoder("google", gemini_3=False)(message, ())
    return joined(json.loads(content)["parts"]) if content else []


def parts_of(chunks: Iterable[types.GenerateContentResponse]) -> list[dict[str, Any]]:
    """The parts that the client's chunks hold, without thoughts that are not signed."""
    parts = []
    for item in chunks:
        for candidate in item.candidates or ():
            for part in (candidate.content and candidate.content.parts) or ():
                plain = part.model_dump(mode="json", by_alias=True, exclude_none=True)
                if not plain.get("thought") or "thoughtSignature" in plain:
                    parts.append(standard(plain))
    return joined(parts)


def standard(plain: dict[str, Any]) -> dict[str, Any]:
    """A part with its bytes in the alphabet that the service uses: the client writes another."""
    made = dict(plain)
    if "thoughtSignature" in made:
        made["thoughtSignature"] = recoded(made["thoughtSignature"])
    if "inlineData" in made:
        made["inlineData"] = {**made["inlineData"], "data": recoded(made["inlineData"]["data"])}
    return made


def recoded(text: str) -> str:
    return base64.b64encode(base64.urlsafe_b64decode(text)).decode()


def joined(parts: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Parts with unsigned text joined, and empty text left out."""
    made: list[dict[str, Any]] = []
    for part in parts:
        if part.keys() <= {"text"}:
            if made and made[-1].keys() == {"text"}:
                made[-1] = {"text": made[-1]["text"] + part.get("text", "")}
            elif part.get("text"):
                made.append(dict(part))
        else:
            made.append(part)
    return made


def thoughts_of(chunks: Iterable[types.GenerateContentResponse]) -> str:
    parts = (
        part
        for item in chunks
        for candidate in item.candidates or ()
        for part in (candidate.content and candidate.content.parts) or ()
    )
    return "".join(part.text or "" for part in parts if part.thought)


def usage_of(chunks: Sequence[types.GenerateContentResponse]) -> Usage:
    """The last count, in our words."""
    counts = [item.usage_metadata for item in chunks if item.usage_metadata is not None]
    if not counts:
        return Usage()
    last = counts[-1]
    assert last is not None
    return Usage(
        (last.prompt_token_count or 0) + (last.tool_use_prompt_token_count or 0),
        (last.candidates_token_count or 0) + (last.thoughts_token_count or 0),
        last.cached_content_token_count or 0,
        last.thoughts_token_count or 0,
    )


def end_of(chunks: Sequence[types.GenerateContentResponse]) -> str:
    reasons = [c.finish_reason.value for item in chunks for c in item.candidates or () if c.finish_reason]
    called = any(item.function_calls for item in chunks)
    end = ENDS[reasons[-1] if reasons else None]
    return "tool_use" if called and end == "end_turn" else end


def compare(
    events: Sequence[ModelEvent], chunks: Sequence[types.GenerateContentResponse], message_of: MessageOf
) -> None:
    message, finished = message_of(events), events[-1]
    assert isinstance(finished, ModelFinished)
    said = joined(sent_back(message))
    if finished.stop_reason == "content_filtered" and said and said[0].get("text", "").startswith("[The "):
        said = said[1:]  # ours, where the service says nothing
    assert said == parts_of(chunks)
    assert "".join(event.text for event in events if isinstance(event, ReasoningDelta)) == thoughts_of(chunks)
    assert finished.usage == usage_of(chunks)
    assert finished.stop_reason == end_of(chunks)
    assert finished.response_id == chunks[0].response_id


# -- the same bytes ----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # Google's client knows no other
@pytest.mark.parametrize("name", STREAMS)
async def test_over_http_both_make_the_same_of_a_stream(name: str, message_of: MessageOf) -> None:
    body = written(STREAMS[name])
    async with LoopbackServer(Played([body], headers={"content-type": "text/event-stream"})) as server:
        provider = GoogleProvider(api_key="test-key", base_url=server.url)
        events = [event async for event in provider.stream(ModelRequest(MODEL, QUESTION))]
        await provider.aclose()
        chunks = await asked(url=server.url)
        first, second = server.requests
        assert first.path == second.path
        assert first.headers["x-goog-api-key"] == second.headers["x-goog-api-key"]
        assert first.headers["content-type"] == second.headers["content-type"]
        assert first.json == second.json
    compare(events, chunks, message_of)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_however_the_bytes_are_cut_both_make_the_same(
    new_answer: NewAnswer, message_of: MessageOf, data: st.DataObject
) -> None:
    body = written(STREAMS[data.draw(st.sampled_from(sorted(STREAMS)))])
    cuts = sorted(data.draw(st.sets(st.integers(1, len(body) - 1), max_size=8)))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    compare(ours(new_answer, *pieces), anyio.run(theirs, *pieces), message_of)


def test_single_bytes_make_the_same(new_answer: NewAnswer, message_of: MessageOf) -> None:
    for chunks in STREAMS.values():
        pieces = [bytes([byte]) for byte in written(chunks)]
        compare(ours(new_answer, *pieces), anyio.run(theirs, *pieces), message_of)


text = st.text(st.characters(codec="utf-8"), max_size=8)
signature = st.binary(max_size=6).map(lambda raw: base64.b64encode(raw).decode()).filter(bool)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
calls = st.fixed_dictionaries(
    {"name": st.sampled_from(["look", "wait"]), "args": st.dictionaries(text, json_values, max_size=3)}
)
parts = st.one_of(
    st.fixed_dictionaries({"text": text}, optional={"thoughtSignature": signature}),
    st.fixed_dictionaries({"text": text, "thought": st.just(value=True)}, optional={"thoughtSignature": signature}),
    st.fixed_dictionaries({"functionCall": calls}, optional={"thoughtSignature": signature}),
    st.fixed_dictionaries({"codeExecutionResult": st.just({"outcome": "OUTCOME_OK", "output": "1"})}),
)


@settings(deadline=None, max_examples=150)
@given(streamed=st.lists(st.lists(parts, max_size=3), max_size=5), reason=st.sampled_from(["STOP", "MAX_TOKENS"]))
def test_whatever_the_parts_both_make_the_same(
    new_answer: NewAnswer, message_of: MessageOf, streamed: list[list[dict[str, Any]]], reason: str
) -> None:
    """And so what we send back of an answer is what the client would, but for thoughts without a signature."""
    called = (part for batch in streamed for part in batch if "functionCall" in part)
    for number, part in enumerate(called):
        part["functionCall"] = {**part["functionCall"], "id": f"fc-{number}"}
    body = written([*(chunk(*batch) for batch in streamed), chunk(reason=reason)])
    compare(ours(new_answer, body), anyio.run(theirs, body), message_of)


# -- errors ------------------------------------------------------------------------------------------------------------

REFUSED = {
    "a bad request": {"code": 400, "message": "Invalid JSON payload", "status": "INVALID_ARGUMENT"},
    "no quota": {"code": 429, "message": "You exceeded your quota.", "status": "RESOURCE_EXHAUSTED", "details": []},
    "a fault": {"code": 500, "message": "Internal error.", "status": "INTERNAL"},
}


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # as above
@pytest.mark.parametrize("name", REFUSED)
async def test_both_raise_the_same_error(name: str) -> None:
    error = REFUSED[name]
    async with LoopbackServer(Played.json({"error": error}, status=error["code"])) as server:
        provider = GoogleProvider(api_key="test-key", base_url=server.url)
        with pytest.raises(ProviderError) as mine:
            [event async for event in provider.stream(ModelRequest(MODEL, QUESTION))]
        await provider.aclose()
        with pytest.raises(errors.APIError) as yours:
            await asked(url=server.url)
    assert (mine.value.status, mine.value.code) == (yours.value.code, yours.value.status)
    assert yours.value.message is not None
    assert yours.value.message in str(mine.value)


@pytest.mark.parametrize("bare", [False, True])
def test_both_raise_the_same_error_of_a_stream(new_answer: NewAnswer, bare: bool) -> None:
    """Framed as an event, or as a document of several lines between them."""
    error = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
    begun = written([chunk({"text": "First,"})])
    body = begun + (json.dumps(error, indent=2).encode() + b"\r\n\r\n" if bare else written([error]))
    with pytest.raises(ProviderError, match="The model is overloaded") as mine:
        ours(new_answer, body)
    with pytest.raises(errors.APIError, match="The model is overloaded") as yours:
        anyio.run(theirs, body)
    assert (mine.value.status, mine.value.code) == (yours.value.code, yours.value.status)


def test_a_stream_without_an_end_passes_for_an_answer_with_the_client_alone(new_answer: NewAnswer) -> None:
    """Where we are stricter: nothing but a finish reason tells an answer that was cut off from a whole one."""
    body = written(STREAMS["text"][:-1])
    assert "".join(item.text or "" for item in anyio.run(theirs, body)) == "Hello"
    with pytest.raises(ProviderError, match="ended without a finishReason"):
        ours(new_answer, body)
