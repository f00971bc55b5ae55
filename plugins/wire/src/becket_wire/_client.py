"""The client that a provider holds, and the replies it reads."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import unquote_to_bytes, urlsplit

import anyio
from anyio.lowlevel import RunVar
from becket import ConfigError

from becket_wire._encoding import decoder
from becket_wire._environment import proxy_for
from becket_wire._errors import ErrorDetails, Failure, Voice, secrets_of
from becket_wire._limits import TimeLimits
from becket_wire._ndjson import LineSplitter
from becket_wire._seam import silent
from becket_wire._split import TooLongError
from becket_wire._sse import EventSplitter

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
    from types import TracebackType
    from urllib.parse import SplitResult

    from becket import ProviderError

    from becket_wire._encoding import Decoder
    from becket_wire._errors import Explain
    from becket_wire._seam import Exchange, Transport

__all__ = ["Client", "Reply"]

_ERROR_BODY: Final = 64 * 1024  # bytes of an error document that are read
_DOCUMENT: Final = 16 * 1024 * 1024  # bytes of a list of models
_REST: Final = 0.1  # seconds that the end of a body is waited for once the answer is complete
_QUOTED: Final = 200  # characters of an event that is no JSON


class Client:
    """A provider's HTTP client: a pool of connections in each event loop that uses it, made at the first request.

    Proxies and authorities are those of the environment (HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE, ...). Redirects are
    never followed, so a key goes nowhere but to its own service. A pool is closed by `aclose`, or with its event loop.

    Args:
        provider: The provider's name, for errors.
        limits: How long a request may take.
        explain: Reads the service's error documents.
        hint: Where the service's address is set, for errors that may come from a wrong one.
    """

    def __init__(
        self, provider: str, *, limits: TimeLimits | None = None, explain: Explain | None = None, hint: str = ""
    ) -> None:
        self._provider = provider
        self._limits = limits or TimeLimits()
        self._explain = explain
        self._hint = hint
        self._kept: RunVar[_Kept] = RunVar("becket_wire")

    def __repr__(self) -> str:
        return f"Client({self._provider!r})"

    def post(self, url: str, *, headers: Mapping[str, str], body: bytes | Sequence[bytes]) -> Request:
        """A request whose reply is a stream, for `async with`.

        Entering sends it and reads the head of the reply. Leaving gives the connection back where the body was read to
        its end, and closes it at once where it was not, as a cancellation does.

        Args:
            url: Where to; http or https.
            headers: The request's; the values of those that hold secrets are in no error.
            body: JSON, or pieces of it.

        Raises:
            ProviderError: When entered: there is no connection, or what was answered is no stream.
            ConfigError: When entered: it is no URL, or the environment's proxy speaks no HTTP.
        """
        return Request(self, "POST", url, headers, body if isinstance(body, bytes) else b"".join(body))

    async def get_json(self, url: str, *, headers: Mapping[str, str]) -> bytes:
        """A JSON document, such as a list of models.

        Raises:
            ProviderError: There is no connection, or what was answered is no JSON document.
            ConfigError: As for `post`.
        """
        async with Request(self, "GET", url, headers, None) as reply:
            return await reply.document()

    async def aclose(self) -> None:
        """Close the pool of the running event loop. A later request makes another."""
        kept = self._kept.get(None)
        if kept is not None:
            await kept.aclose()

    async def send(self, request: Request, origin: tuple[str, str]) -> Exchange:
        """The reply to a request.

        Raises:
            Failure: There is none.
        """
        kept = await self._here()
        try:
            proxy = kept.proxies[origin]
        except KeyError:
            proxy = kept.proxies[origin] = proxy_for(request.url)
        return await kept.transport.send(request.method, request.url, request.headers, request.body, proxy)

    async def _here(self) -> _Kept:
        """What is kept in the running event loop."""
        kept = self._kept.get(None)
        if kept is None or kept.closed:
            kept = _Kept(_transport(self._limits))
            self._kept.set(kept)
            await kept.begin()
        return kept

    @property
    def parts(self) -> tuple[str, TimeLimits, Explain | None, str]:
        """What a request asks of its client."""
        return self._provider, self._limits, self._explain, self._hint


class _Kept:
    """A pool, until it is closed or its event loop ends; and what the environment said of proxies when it was new.

    An async generator that is not exhausted is closed by the event loop at its end (PEP 525): the one way by which a
    library that is told of no end can clean up at it.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.proxies: dict[tuple[str, str], str | None] = {}  # by scheme and host; to ask takes 0.2 ms
        self.closed = False
        self._keeper = self._keep()

    async def begin(self) -> None:
        await anext(self._keeper)

    async def aclose(self) -> None:
        await self._keeper.aclose()

    async def _keep(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            self.closed = True
            await self.transport.aclose()


def _transport(limits: TimeLimits) -> Transport:
    """A pool for the running event loop; the library behind it is imported now."""
    from becket_wire._backend import on_trio

    if on_trio():
        from becket_wire._on_trio import HttpcoreTransport

        return HttpcoreTransport(limits)
    from becket_wire._on_asyncio import AiohttpTransport

    return AiohttpTransport(limits)


class Request:
    """A request, for `async with`."""

    __slots__ = ("_client", "_reply", "body", "headers", "method", "url")

    def __init__(self, client: Client, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> None:
        self._client = client
        self._reply: Reply | None = None
        self.method = method
        self.url = url
        self.headers = {"Accept-Encoding": "identity", "User-Agent": "becket", **headers}
        self.body = body

    async def __aenter__(self) -> Reply:
        provider, limits, explain, hint = self._client.parts
        _check_url(provider, self.url, hint)
        parts = self._bare_url()
        begun = time.monotonic()
        secrets = secrets_of(self.headers)
        try:
            exchange = await self._client.send(self, (parts.scheme, parts.netloc))
        except Failure as error:
            voice = Voice(provider, 0, {}, secrets)
            text = f"{provider} could not be asked at {parts.netloc}: {error}"
            raise voice.make(text, hint if error.retryable else "", retryable=error.retryable) from error
        voice = Voice(provider, exchange.status, exchange.headers, secrets)
        ends = None if limits.total is None else (begun + limits.total, limits.total)
        self._reply = Reply(exchange, voice, ends, explain, hint)
        try:
            await self._reply.check(stream=self.method == "POST")
        except BaseException:
            await exchange.aclose()
            raise
        return self._reply

    def _bare_url(self) -> SplitResult:
        """Move a user and a password from the URL to a header, unless that is there: the libraries differ in it."""
        parts = urlsplit(self.url)
        credentials, at, host = parts.netloc.rpartition("@")
        if not at:
            return parts
        parts = parts._replace(netloc=host)
        self.url = parts.geturl()
        if "authorization" not in {name.lower() for name in self.headers}:
            basic = base64.b64encode(unquote_to_bytes(credentials)).decode()
            self.headers["Authorization"] = f"Basic {basic}"
        return parts

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._reply is not None  # noqa: S101 -- for the type checker
        await self._reply.aclose()


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
            chunk = await (self._exchange.read() if self._ends is None else self._read_within(*self._ends))
            while chunk and self._decoder is not None:
                if plain := self._decoder.feed(chunk):
                    return plain
                chunk = await self._exchange.read()
        except Failure as error:
            raise self._failed(error) from error
        return chunk

    async def _read_within(self, ends: float, total: float) -> bytes:
        with anyio.move_on_after(max(0.0, ends - time.monotonic())):
            return await self._exchange.read()
        raise silent(total, "the answer did not end")

    def _failed(self, error: Failure) -> ProviderError:
        return self._voice.make(f"the stream of {self._voice.provider} broke off: {error}", retryable=error.retryable)

    def never_ends(self, error: TooLongError) -> ProviderError:
        """The error of an event or a line that does not end."""
        return self._voice.make(f"{self._voice.provider} sent {error}", retryable=False)

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
            target = urlsplit(self._exchange.headers.get("location", ""))
            raise voice.make(
                f"{voice.provider} answered {status} with a redirect to {target.hostname or 'nowhere'}, "
                f"which is not followed: the key would go along",
                self._hint,
                status=status,
                retryable=False,
            )
        if 200 <= status < 300 and kind != "text/html" and not (stream and kind == "application/json"):  # noqa: PLR2004
            return
        body = await self._some(_ERROR_BODY)
        details = self._explain(status, body) if self._explain is not None else None
        if details is not None:
            raise voice.of(details)
        if 200 <= status < 300:  # noqa: PLR2004  the class of success
            what = "an HTML page" if kind == "text/html" else "a JSON document that is no stream"
            raise voice.make(f"{voice.provider} answered with {what}", self._hint, status=status, retryable=False)
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

    __slots__ = ("_read", "_reply", "_splitter")

    def __init__(self, reply: Reply, splitter: EventSplitter | LineSplitter) -> None:
        self._reply = reply
        self._splitter = splitter
        self._read = reply.read

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[bytes]:
        feed = self._splitter.feed
        while chunk := await self._read():
            try:
                batch = feed(chunk)
            except TooLongError as error:
                raise self._reply.never_ends(error) from error
            if batch:
                return batch
        if last := self._splitter.close():
            return last
        raise StopAsyncIteration


def _check_url(provider: str, url: str, hint: str) -> None:
    if not _is_url(url):
        advice = f"; {hint}" if hint else ""
        raise ConfigError(f"the provider {provider!r} is to be asked at {url!r}, which is no http or https URL{advice}")


def _is_url(text: str) -> bool:
    """Whether it is one as RFC 3986 has it, of http, with a host: ASCII, without spaces and controls."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and " " not in text
    return plain and parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0
