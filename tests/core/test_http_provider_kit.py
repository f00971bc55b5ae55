"""A small provider over HTTP keeps the contract of those; the tests of the contract find every way to break it."""

from __future__ import annotations

import json
import logging
import os
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest
from becket import (
    ConfigError,
    ModelFinished,
    ModelInfo,
    Provider,
    ProviderError,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from becket.testing import HttpProviderConformance, Played
from becket_wire import Client, ErrorDetails, EventSplitter, TimeLimits

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from becket import ModelEvent, ModelRequest
    from becket_wire import Reply

pytestmark = pytest.mark.anyio


def explained(status: int, body: bytes) -> ErrorDetails | None:
    try:
        return ErrorDetails(message=json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return None


class Words:
    """A model of a service that says a text in words."""

    name = "words"
    default_model = None
    explain = staticmethod(explained)

    def __init__(self, base_url: str, key: str | None, read_seconds: float | None) -> None:
        self.base_url = base_url
        self.key = key or os.environ.get("WORDS_API_KEY")
        limits = TimeLimits(connect=read_seconds, read=read_seconds)
        self.client = Client("words", limits=limits, explain=self.explain)

    def models(self) -> Sequence[ModelInfo]:
        return [ModelInfo("model")]

    def url(self) -> str:
        return f"{self.base_url}/words"

    def headers(self) -> dict[str, str]:
        if not self.key:
            raise ConfigError("the provider 'words' has no key; set WORDS_API_KEY")
        return {"authorization": f"Bearer {self.key}", "content-type": "application/json"}

    def body(self, request: ModelRequest) -> bytes:
        return json.dumps({"model": request.model, "said": len(request.messages)}).encode()

    async def stream(self, request: ModelRequest, /) -> AsyncGenerator[ModelEvent]:
        async with self.client.post(self.url(), headers=self.headers(), body=self.body(request)) as reply:
            finished: ModelFinished | None = None
            async with aclosing(self.batches(reply)) as batches:
                async for batch in batches:
                    for event in (event for data in batch for event in self.read(data, reply)):
                        if isinstance(event, ModelFinished):
                            finished = event
                        else:
                            yield event
                    if finished is not None:
                        break
            finished = finished or self.unfinished(reply)
            await self.finish(reply)
        yield finished

    async def batches(self, reply: Reply) -> AsyncGenerator[list[bytes]]:
        async for batch in reply.events():
            yield batch

    def read(self, data: bytes, reply: Reply) -> Iterator[ModelEvent]:
        if data == b"[DONE]":
            return
        try:
            match json.loads(data):
                case {"text": text}:
                    yield TextDelta(text)
                case {"call": [block, name, fragment]}:
                    yield ToolCallDelta(f"id-{block}", name, fragment, block)
                case {"error": message}:
                    raise reply.broken(ErrorDetails(message=message, retryable=True))
                case {"stop": reason, "used": [asked, said]}:
                    yield ModelFinished(reason, Usage(asked, said))
        except ValueError as error:
            raise reply.unreadable(data, error) from error

    def unfinished(self, reply: Reply) -> ModelFinished:
        raise reply.cut_off("a stop")

    async def finish(self, reply: Reply) -> None:
        await reply.finish()

    async def aclose(self) -> None:
        await self.client.aclose()


class WordsConformance(HttpProviderConformance):
    said = "Gr\N{LATIN SMALL LETTER U WITH DIAERESIS}\N{LATIN SMALL LETTER SHARP S}e, \N{SNOWMAN}!"
    usage = Usage(12, 3)
    key_variable = "WORDS_API_KEY"
    needed = 3

    def connect(self, base_url: str, *, key: str | None, read_seconds: float | None = None) -> Provider:
        return Words(base_url, key, read_seconds)

    def text_reply(self) -> Played:
        words = [json.dumps({"text": piece}, ensure_ascii=False) for piece in (self.said[:4], self.said[4:])]
        return Played.sse(*words, {"stop": "end_turn", "used": [12, 3]}, "[DONE]")

    def tool_reply(self) -> Played:
        calls = [{"call": [1, "weather", piece]} for piece in ('{"city": ', '"Oslo"}')]
        return Played.sse(*calls, {"stop": "tool_use", "used": [12, 5]})

    def parallel_tool_reply(self) -> Played:
        calls = [{"call": [block, "weather", f'{{"city": "{city}"}}']} for block, city in ((1, "Oslo"), (2, "Rome"))]
        return Played.sse({"text": "Hm."}, *calls, {"stop": "tool_use", "used": [12, 9]})

    def error_reply(self, status: int, message: str) -> Played:
        return Played.json({"error": message}, status=status)

    def error_event(self, message: str) -> bytes | None:
        return f'data: {{"error": "{message}"}}\n\n'.encode()


class TestWords(WordsConformance):
    pass


class WordsOnLines(Words):
    async def batches(self, reply: Reply) -> AsyncGenerator[list[bytes]]:
        async for batch in reply.lines():
            yield batch


class TestWordsOnLines(WordsConformance):
    """The same as a document a line, by a service that has no event for an error."""

    needed = None

    def connect(self, base_url: str, *, key: str | None, read_seconds: float | None = None) -> Provider:
        return WordsOnLines(base_url, key, read_seconds)

    def text_reply(self) -> Played:
        return lines(super().text_reply())

    def tool_reply(self) -> Played:
        return lines(super().tool_reply())

    def parallel_tool_reply(self) -> Played:
        return lines(super().parallel_tool_reply())

    def error_event(self, message: str) -> bytes | None:
        return HttpProviderConformance.error_event(self, message)


def lines(reply: Played) -> Played:
    """Events of JSON as lines of it; the `[DONE]` is no JSON, and goes."""
    pieces = [piece[len(b"data: ") : -1] for piece in reply.pieces if isinstance(piece, bytes) and b"{" in piece]
    return Played(pieces, headers={"content-type": "application/x-ndjson"})


# -- providers that break the contract ---------------------------------------------------------------------------------


class ReadsAscii(Words):
    def read(self, data: bytes, reply: Reply) -> Iterator[ModelEvent]:
        yield from super().read(data.decode("ascii", "ignore").encode(), reply)


class TakesEachReadForAnEvent(Words):
    async def batches(self, reply: Reply) -> AsyncGenerator[list[bytes]]:
        while chunk := await reply.read():
            yield [event.removeprefix(b"data: ") for event in chunk.split(b"\n\n") if event]


class ReadsCompressedBytes(Words):
    async def batches(self, reply: Reply) -> AsyncGenerator[list[bytes]]:
        splitter = EventSplitter()
        while chunk := await reply._exchange.read():  # the bytes as they come
            yield splitter.feed(chunk)


class KnowsAllFields(Words):
    def read(self, data: bytes, reply: Reply) -> Iterator[ModelEvent]:
        yield from super().read(data, reply)
        if b"becket_unknown" in data and b"type" not in data:
            raise reply.unreadable(data, ValueError("unknown field"))


class KnowsAllTypes(Words):
    def read(self, data: bytes, reply: Reply) -> Iterator[ModelEvent]:
        yield from super().read(data, reply)
        if b'"type"' in data:
            raise reply.unreadable(data, ValueError("unknown type"))


class LeavesTheRestUnread(Words):
    async def finish(self, reply: Reply) -> None:
        pass


class MakesAClientForEachCall(Words):
    async def finish(self, reply: Reply) -> None:
        await super().finish(reply)
        await self.client.aclose()


class KeepsADeadConnection(Words):
    """Speaks HTTP over one connection of its own, which is never opened anew."""

    tcp: Any = None

    async def stream(self, request: ModelRequest, /) -> AsyncGenerator[ModelEvent]:
        if self.tcp is None:
            self.tcp = await anyio.connect_tcp("127.0.0.1", int(self.base_url.rpartition(":")[2]))
        try:
            await self.tcp.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            said = b""
            while not said.endswith(b"0\r\n\r\n"):
                said += await self.tcp.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError) as error:
            raise ProviderError("the connection is closed", retryable=True) from error
        yield ModelFinished("end_turn")

    async def aclose(self) -> None:
        if self.tcp is not None:
            await self.tcp.aclose()
            self.tcp = None


class LeavesTheConnectionOpen(Words):
    """Lets go of a reply where it ends well."""

    left: Any = None

    async def stream(self, request: ModelRequest, /) -> AsyncGenerator[ModelEvent]:
        self.left = self.client.post(self.url(), headers=self.headers(), body=self.body(request))
        reply = await self.left.__aenter__()
        async for batch in reply.events():
            for event in (event for data in batch for event in self.read(data, reply)):
                yield event
        await self.left.__aexit__(None, None, None)

    async def aclose(self) -> None:
        if self.left is not None and self.left._reply is not None:  # lets go of it here, so that no warning is left
            await self.left.__aexit__(None, None, None)
        await super().aclose()


class SkipsWhatIsNoJson(Words):
    def read(self, data: bytes, reply: Reply) -> Iterator[ModelEvent]:
        with suppress(ProviderError):
            yield from super().read(data, reply)


class QuotesNothing(Words):
    def read(self, data: bytes, reply: Reply) -> Iterator[ModelEvent]:
        try:
            yield from super().read(data, reply)
        except ProviderError:
            raise reply.cut_off("its end") from None


class WaitsForEver(Words):
    def __init__(self, base_url: str, key: str | None, read_seconds: float | None) -> None:
        super().__init__(base_url, key, None)


class TakesACutForTheEnd(Words):
    async def batches(self, reply: Reply) -> AsyncGenerator[list[bytes]]:
        with suppress(ProviderError):
            async for batch in reply.events():
                yield batch

    def unfinished(self, reply: Reply) -> ModelFinished:
        return ModelFinished("end_turn", Usage(12, 3))


class NeedsNoEnd(Words):
    def unfinished(self, reply: Reply) -> ModelFinished:
        return ModelFinished("end_turn", Usage(12, 3))


class ReadsToTheEndOfTheLine(Words):
    async def batches(self, reply: Reply) -> AsyncGenerator[list[bytes]]:
        whole = b"".join([chunk async for chunk in _chunks(reply)])
        yield EventSplitter().feed(whole)


async def _chunks(reply: Reply) -> AsyncGenerator[bytes]:
    while chunk := await reply.read():
        yield chunk


class Reworded(Words):
    """Changes its errors."""

    async def stream(self, request: ModelRequest, /) -> AsyncGenerator[ModelEvent]:
        try:
            async with aclosing(super().stream(request)) as events:
                async for event in events:
                    yield event
        except ProviderError as error:
            raise self.changed(error) from None

    def changed(self, error: ProviderError) -> Exception:
        return error


class RetriesAll(Reworded):
    def changed(self, error: ProviderError) -> Exception:
        error.retryable = True
        return error


class RetriesNothing(Reworded):
    def changed(self, error: ProviderError) -> Exception:
        error.retryable = False
        return error


class ForgetsTheStatus(Reworded):
    def changed(self, error: ProviderError) -> Exception:
        return ProviderError(str(error), retryable=error.retryable)


class ForgetsHowLongToWait(Reworded):
    def changed(self, error: ProviderError) -> Exception:
        error.retry_after = None
        return error


class RaisesWhatItsLibraryRaises(Reworded):
    def changed(self, error: ProviderError) -> Exception:
        return OSError(str(error))


class HidesTheReason(Reworded):
    def changed(self, error: ProviderError) -> Exception:
        return ProviderError("it failed", status=error.status, retryable=error.retryable)


class ShowsTheKeyInErrors(Reworded):
    def changed(self, error: ProviderError) -> Exception:
        return ProviderError(f"{error} (key {self.key})", status=error.status, retryable=error.retryable)


class ExplainsNothing(Words):
    explain = staticmethod(lambda status, body: None)  # type: ignore[assignment]


class IgnoresErrorsInTheStream(Words):
    def read(self, data: bytes, reply: Reply) -> Iterator[ModelEvent]:
        if b"error" not in data:
            yield from super().read(data, reply)


class FollowsRedirects(Words):
    async def stream(self, request: ModelRequest, /) -> AsyncGenerator[ModelEvent]:
        async with httpx2.AsyncClient(follow_redirects=True, trust_env=False) as client:
            answer = await client.post(self.url(), headers=self.headers(), content=self.body(request))
        raise ProviderError(f"it answered {answer.status_code}", retryable=False)
        yield  # it is a generator


class HidesTheAddress(Words):
    def url(self) -> str:
        if not self.base_url.startswith("http"):
            raise ConfigError("the address is none")
        return super().url()


class StumblesOverAnAddress(Words):
    def url(self) -> str:
        return f"{self.base_url[: self.base_url.index(':')]}://{self.base_url.partition('//')[2]}/words"


class ShowsTheKeyInItself(Words):
    def __repr__(self) -> str:
        return f"Words({self.base_url!r}, {self.key!r})"


class ShowsTheKeyInTheUrl(Words):
    def url(self) -> str:
        return f"{super().url()}?key={self.key}"


class LogsTheKey(Words):
    def headers(self) -> dict[str, str]:
        logging.getLogger("words").debug("asking with %s", self.key)
        return super().headers()


class SendsNoKey(Words):
    def headers(self) -> dict[str, str]:
        super().headers()
        return {}


class ReadsNoEnvironment(Words):
    def __init__(self, base_url: str, key: str | None, read_seconds: float | None) -> None:
        super().__init__(base_url, key, read_seconds)
        self.key = key


class AsksWithoutAKey(Words):
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}


class NamesNoVariable(Words):
    def headers(self) -> dict[str, str]:
        if not self.key:
            raise ConfigError("there is no key")
        return super().headers()


TESTS = [name for name in vars(HttpProviderConformance) if name.startswith("test_")]

FAULTS: list[tuple[type[Words], str]] = [
    (ReadsAscii, "test_the_text_is_what_was_sent"),
    (TakesEachReadForAnEvent, "test_every_chunking_gives_the_same_events"),
    (ReadsCompressedBytes, "test_a_compressed_reply_gives_the_same_events"),
    (KnowsAllFields, "test_what_is_not_known_is_ignored"),
    (KnowsAllTypes, "test_what_is_not_known_is_ignored"),
    (LeavesTheRestUnread, "test_a_connection_is_used_again"),
    (MakesAClientForEachCall, "test_a_connection_is_used_again"),
    (KeepsADeadConnection, "test_a_connection_that_the_service_has_closed_is_not_used_again"),
    (LeavesTheConnectionOpen, "test_ending_a_call_closes_the_connection"),
    (SkipsWhatIsNoJson, "test_an_event_that_is_no_json_is_quoted"),
    (QuotesNothing, "test_an_event_that_is_no_json_is_quoted"),
    (WaitsForEver, "test_silence_ends_a_call"),
    (RetriesNothing, "test_silence_ends_a_call"),
    (TakesACutForTheEnd, "test_a_stream_that_is_cut_is_an_error"),
    (RetriesNothing, "test_a_stream_that_is_cut_is_an_error"),
    (NeedsNoEnd, "test_a_stream_without_its_end_mark_is_an_error"),
    (ReadsToTheEndOfTheLine, "test_a_line_that_does_not_end_is_an_error"),
    (RetriesAll, "test_a_page_is_an_error"),
    (ExplainsNothing, "test_an_error_document_with_200_is_an_error"),
    (IgnoresErrorsInTheStream, "test_an_error_in_the_stream_is_an_error"),
    (RetriesAll, "test_a_status_is_an_error"),
    (RetriesNothing, "test_a_status_is_an_error"),
    (ForgetsTheStatus, "test_a_status_is_an_error"),
    (HidesTheReason, "test_a_status_is_an_error"),
    (ForgetsHowLongToWait, "test_retry_after_is_taken_over"),
    (RetriesNothing, "test_a_run_asks_again_and_has_its_answer"),
    (FollowsRedirects, "test_a_redirect_is_not_followed"),
    (RaisesWhatItsLibraryRaises, "test_a_refused_connection_is_an_error"),
    (HidesTheAddress, "test_an_address_that_is_none_is_an_error"),
    (StumblesOverAnAddress, "test_an_address_that_is_none_is_an_error"),
    (ShowsTheKeyInErrors, "test_the_key_is_shown_nowhere"),
    (ShowsTheKeyInItself, "test_the_key_is_shown_nowhere"),
    (ShowsTheKeyInTheUrl, "test_the_key_is_shown_nowhere"),
    (LogsTheKey, "test_the_key_is_shown_nowhere"),
    (SendsNoKey, "test_the_key_may_come_from_the_environment"),
    (ReadsNoEnvironment, "test_the_key_may_come_from_the_environment"),
    (AsksWithoutAKey, "test_without_a_key_the_error_names_the_variable"),
    (NamesNoVariable, "test_without_a_key_the_error_names_the_variable"),
]


class Kit(WordsConformance):
    """The tests of the contract, to be called one by one."""

    __test__ = False
    patience = 0.5

    def __init__(self, cls: type[Words]) -> None:
        self.cls = cls

    def connect(self, base_url: str, *, key: str | None, read_seconds: float | None = None) -> Provider:
        return self.cls(base_url, key, read_seconds)


@pytest.mark.parametrize(("cls", "test"), FAULTS)
async def test_a_provider_that_breaks_the_contract_is_found(cls: type[Words], test: str) -> None:
    with pytest.raises(AssertionError):
        await getattr(Kit(cls), test)()


def test_every_test_of_the_contract_finds_a_fault() -> None:
    assert {test for _, test in FAULTS} == set(TESTS)
