"""A reply, read as it comes."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

import anyio
from becket import ProviderError

from becket_wire._encoding import decoder
from becket_wire._errors import Failure
from becket_wire._ndjson import LineSplitter
from becket_wire._seam import silent
from becket_wire._split import TooLongError
from becket_wire._sse import EventSplitter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from becket_wire._encoding import Decoder
    from becket_wire._errors import ErrorDetails, Explain, Voice
    from becket_wire._seam import Exchange

__all__ = ["Reply"]

_ERROR_BODY: Final = 64 * 1024  # bytes of an error document that are read
_ERROR_SECONDS: Final = 5.0  # how long the whole of one is waited for; it comes with its status as a rule
_DOCUMENT: Final = 16 * 1024 * 1024  # bytes of a list of models
_NO_CONTENT: Final = 204
_REST: Final = 0.1  # seconds that the end of a body is waited for once the answer is complete
_QUOTED: Final = 200  # characters of an event that is no JSON


class Reply:
    """A reply whose body is read as it comes. Made by `Client.post`."""

    __slots__ = ("_decoder", "_ends", "_exchange", "_explain", "_hint", "_voice")

    def __init__(
        self,
        exchange: Exchange,
        voice: Voice,
        ends: tuple[float, float] | None,
        explain: Explain | None,
        hint: str,
    ) -> None:
        self._exchange = exchange
        self._voice = voice
        self._ends = ends
        self._explain = explain
        self._hint = hint
        self._decoder: Decoder | None = None

    @property
    def status(self) -> int:
        """The status."""
        return self._exchange.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, by lower-case name."""
        return self._exchange.headers

    @property
    def request_id(self) -> str | None:
        """The service's id of the request, or None."""
        return self._voice.request_id

    def events(self) -> AsyncIterator[list[bytes]]:
        """The data of the body's server-sent events, as many together as one read brought; see `EventSplitter`.

        It may be left early without being closed.

        Raises:
            ProviderError: When iterated: the connection broke, was silent for too long, or an event never ends.
        """
        return _Batches(self, EventSplitter())

    def lines(self) -> AsyncIterator[list[bytes]]:
        """The lines of the body, as many together as one read brought; see `LineSplitter`, and `events`."""
        return _Batches(self, LineSplitter())

    async def finish(self) -> None:
        """Read the rest of the body, once the answer is complete, so that the connection can be used again.

        A server that goes on or leaves the stream open is not waited for: 0.1 s, and the connection is closed.
        """
        await self._exchange.drain(_REST)

    def broken(self, error: ErrorDetails) -> ProviderError:
        """The error that a stream carries which had begun well."""
        return self._voice.of(error, during=True)

    def cut_off(self, what: str) -> ProviderError:
        """The error of a stream that has ended too early.

        Args:
            what: What it lacks, such as "a message_stop event".
        """
        return self._voice.make(
            f"the stream of {self._voice.provider} ended without {what}: the answer is cut off",
            "ask again, or look at what stands between: a proxy may have closed it",
            retryable=True,
        )

    def unreadable(self, data: bytes, error: Exception) -> ProviderError:
        """The error of an event that is no JSON, or not what it should be."""
        shown = data[: _QUOTED * 4].decode("utf-8", "replace")
        shown = f"{shown[:_QUOTED]}…" if len(shown) > _QUOTED else shown
        return self._voice.make(
            f"{self._voice.provider} sent an event that cannot be read: {error}: {shown!r}", retryable=True
        )

    async def read(self) -> bytes:
        """The next bytes of the body; empty at its end.

        Raises:
            ProviderError: The connection broke, or was silent for too long.
        """
        try:
            if self._decoder is not None:
                return await self._read_decoded(self._decoder)
            return await (self._exchange.read() if self._ends is None else self._read_within(*self._ends))
        except Failure as error:
            raise self._failed(error) from error

    async def _read_decoded(self, decoder: Decoder) -> bytes:
        while not (plain := decoder.take()):
            chunk = await (self._exchange.read() if self._ends is None else self._read_within(*self._ends))
            if not chunk:
                break
            decoder.put(chunk)
        return plain

    async def _read_within(self, ends: float, total: float) -> bytes:
        with anyio.move_on_after(max(0.0, ends - time.monotonic())):
            return await self._exchange.read()
        raise silent(total, "the answer did not end")

    def _failed(self, error: Failure) -> ProviderError:
        return self._voice.make(f"the stream of {self._voice.provider} broke off: {error}", retryable=error.retryable)

    def never_ends(self, error: TooLongError) -> ProviderError:
        """The error of an event or a line that does not end."""
        return self._voice.make(f"{self._voice.provider} sent {error}", retryable=False)

    def no_stream(self, what: str) -> ProviderError:
        """The error of a good status with something else behind it."""
        return self._voice.make(
            f"{self._voice.provider} answered with {what}", self._hint, status=self.status, retryable=False
        )

    async def check(self, *, stream: bool) -> None:
        """Refuse what is no stream, or no JSON document.

        Raises:
            ProviderError: It is refused.
        """
        status, voice = self._exchange.status, self._voice
        try:
            self._decoder = decoder(self._exchange.headers.get("content-encoding", ""))
        except Failure as error:
            raise self._failed(error) from error
        kind = self._exchange.headers.get("content-type", "").partition(";")[0].strip().lower()
        if 300 <= status < 400:  # noqa: PLR2004  the class of redirects
            raise voice.make(
                f"{voice.provider} answered {status} with a redirect to {self._target()}, "
                f"which is not followed: the key would go along",
                self._hint,
                status=status,
                retryable=False,
            )
        good = 200 <= status < 300  # noqa: PLR2004  the class of success
        if good and (status == _NO_CONTENT or self._exchange.headers.get("content-length") == "0"):
            raise voice.make(
                f"{voice.provider} answered {status} and nothing else", self._hint, status=status, retryable=False
            )
        if good and kind != "text/html" and not (stream and kind == "application/json"):
            return
        body = await self._error_body()
        details = self._explain(status, body) if self._explain is not None else None
        if details is not None:
            raise voice.of(details)
        if good:
            raise self.no_stream("an HTML page" if kind == "text/html" else "a JSON document that is no stream")
        raise voice.unexplained(body, self._hint if status == 404 else "")  # noqa: PLR2004  not found

    async def document(self) -> bytes:
        """The whole body.

        Raises:
            ProviderError: It is too long, or cannot be read.
        """
        body = await self._some(_DOCUMENT + 1)
        if len(body) > _DOCUMENT:
            raise self.never_ends(TooLongError("a document", _DOCUMENT))
        return body

    async def _error_body(self) -> bytes:
        """The body, or the beginning of it that came before it broke off: its status says more than how it ended."""
        pieces, taken = [], 0
        with anyio.move_on_after(_ERROR_SECONDS), contextlib.suppress(ProviderError):
            while taken < _ERROR_BODY and (chunk := await self.read()):
                pieces.append(chunk)
                taken += len(chunk)
        return b"".join(pieces)

    def _target(self) -> str:
        """The host of a redirect."""
        try:
            return urlsplit(self._exchange.headers.get("location", "")).hostname or "nowhere"
        except ValueError:
            return "nowhere"

    async def _some(self, most: int) -> bytes:
        """The body, cut off after `most` bytes or somewhat later."""
        pieces, taken = [], 0
        while taken < most and (chunk := await self.read()):
            pieces.append(chunk)
            taken += len(chunk)
        return b"".join(pieces)

    async def aclose(self) -> None:
        """Let go of the connection."""
        await self._exchange.aclose()


class _Batches:
    """What the reads of a body bring, split."""

    __slots__ = ("_begin", "_read", "_reply", "_splitter")

    def __init__(self, reply: Reply, splitter: EventSplitter | LineSplitter) -> None:
        self._reply = reply
        self._splitter = splitter
        self._read = reply.read
        self._begin: bytes | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[bytes]:
        feed = self._splitter.feed
        while chunk := await self._read():
            if self._begin is None:
                self._begin = chunk[:64].lstrip()
            try:
                batch = feed(chunk)
            except TooLongError as error:
                raise self._reply.never_ends(error) from error
            if batch:
                return batch
        if last := self._splitter.close():
            return last
        if self._begin is not None and self._begin.startswith(b"<"):  # a page that does not say that it is one
            raise self._reply.no_stream("an HTML page")
        raise StopAsyncIteration
