"""The client that a provider holds."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
from anyio.lowlevel import RunVar
from becket import ConfigError

from becket_wire._environment import basic, is_url, proxy_for
from becket_wire._errors import Failure, Voice
from becket_wire._limits import TimeLimits
from becket_wire._reply import Reply

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType
    from urllib.parse import SplitResult

    from becket_wire._environment import Proxy
    from becket_wire._errors import Explain
    from becket_wire._seam import Transport

__all__ = ["Client"]


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
        self._checked: str | None = None  # the URL that was last found to be one; it changes seldom
        self._kept: RunVar[_Kept] = RunVar("becket_wire")

    def __repr__(self) -> str:
        return f"Client({self._provider!r})"

    def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes | Sequence[bytes]
    ) -> AbstractAsyncContextManager[Reply]:
        """A request whose reply is a stream, for `async with`.

        Entering sends it and reads the head of the reply. Leaving gives the connection back where the body was read to
        its end, and closes it at once where it was not, as a cancellation does.

        Args:
            url: Where to; http or https.
            headers: The request's; the values of those that hold secrets are in no error.
            body: JSON, or pieces of it.

        Raises:
            ProviderError: When entered: there is no connection, or what was answered is no stream.
            ConfigError: When entered: it is no URL, a header cannot be sent, or the environment's proxy speaks no HTTP.
        """
        whole = body if isinstance(body, bytes) else b"".join(body)
        return _Entered(functools.partial(self._open, "POST", url, headers, whole, stream=True))

    async def get_json(self, url: str, *, headers: Mapping[str, str]) -> bytes:
        """A JSON document, such as a list of models.

        Raises:
            ProviderError: There is no connection, or what was answered is no JSON document.
            ConfigError: As for `post`.
        """
        async with _Entered(functools.partial(self._open, "GET", url, headers, None, stream=False)) as reply:
            return await reply.document()

    async def aclose(self) -> None:
        """Close the pool of the running event loop. A later request makes another."""
        kept = self._kept.get(None)
        if kept is not None:
            await kept.aclose()

    async def _open(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, *, stream: bool
    ) -> Reply:
        """The reply to a request, its head read and found good."""
        self._check_url(url)
        parts = urlsplit(url)
        sent = {"Accept-Encoding": "identity", "User-Agent": "becket", **headers}
        self._check_headers(sent)
        if "@" in parts.netloc:
            parts = _without_credentials(parts, sent)
            url = parts.geturl()
        total = self._limits.total
        ends = None if total is None else (time.monotonic() + total, total)
        try:
            kept = await self._here()
            exchange = await kept.transport.send(method, url, sent, body, kept.proxy(parts))
        except Failure as error:
            text = f"{self._provider} could not be asked at {parts.netloc}: {error}"
            voice = Voice(self._provider, 0, {}, sent)
            advice = self._hint if error.retryable else ""
            raise voice.make(text, advice, retryable=error.retryable) from error
        voice = Voice(self._provider, exchange.status, exchange.headers, sent)
        reply = Reply(exchange, voice, ends, self._explain, self._hint)
        try:
            await reply.check(stream=stream)
        except BaseException:
            await exchange.aclose()
            raise
        return reply

    def _check_url(self, url: str) -> None:
        """Refuse what is no URL.

        Raises:
            ConfigError: It is none.
        """
        if url == self._checked:
            return
        if not is_url(url):
            advice = f"; {self._hint}" if self._hint else ""
            where = repr(url) if "@" not in url else "an address with a name or password in it"
            raise ConfigError(
                f"the provider {self._provider!r} is to be asked at {where}, which is no http or https URL{advice}"
            )
        self._checked = url

    def _check_headers(self, headers: Mapping[str, str]) -> None:
        """Refuse what no header can hold, before a library shows it in an error of its own. It may be a key.

        Raises:
            ConfigError: One of them is so.
        """
        for name, value in headers.items():
            if not (value.isascii() and value.isprintable()):
                raise ConfigError(
                    f"the provider {self._provider!r} has a value for the header {name!r} with a character that no "
                    f"header can have, a line break or a quotation mark that is none, say; look at where it was "
                    f"copied from"
                )

    async def _here(self) -> _Kept:
        """What is kept in the running event loop."""
        kept = self._kept.get(None)
        if kept is None or kept.closed:
            kept = _Kept(_transport(self._limits))
            self._kept.set(kept)
            await kept.begin()
        return kept


class _Kept:
    """A pool, until it is closed or its event loop ends; and what the environment said of proxies when it was new.

    An async generator that is not exhausted is closed by the event loop at its end (PEP 525): the one way by which a
    library that is told of no end can clean up at it.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._proxies: dict[tuple[str, str], Proxy | None] = {}  # by scheme and host; to ask takes 0.2 ms
        self.closed = False
        self._over = anyio.Event()
        self._keeper = self._keep()

    def proxy(self, to: SplitResult) -> Proxy | None:
        """The proxy for a URL, or None."""
        origin = to.scheme, to.netloc
        try:
            return self._proxies[origin]
        except KeyError:
            proxy = self._proxies[origin] = proxy_for(f"{to.scheme}://{to.netloc}")
            return proxy

    async def begin(self) -> None:
        await anext(self._keeper)

    async def aclose(self) -> None:
        if self.closed:  # by another task, which may still be at it
            await self._over.wait()
        else:
            await self._keeper.aclose()

    async def _keep(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            self.closed = True
            try:
                await self.transport.aclose()
            finally:
                self._over.set()


def _transport(limits: TimeLimits) -> Transport:
    """A pool for the running event loop; the library behind it is imported now."""
    from becket_wire._backend import on_trio

    if on_trio():
        from becket_wire._on_trio import HttpcoreTransport

        return HttpcoreTransport(limits)
    from becket_wire._on_asyncio import AiohttpTransport

    return AiohttpTransport(limits)


class _Entered:
    """A request, sent by `async with`."""

    __slots__ = ("_open", "_reply")

    def __init__(self, open_: Callable[[], Coroutine[Any, Any, Reply]]) -> None:
        self._open = open_
        self._reply: Reply | None = None

    async def __aenter__(self) -> Reply:
        self._reply = await self._open()
        return self._reply

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._reply is not None:
            await self._reply.aclose()


def _without_credentials(parts: SplitResult, headers: dict[str, str]) -> SplitResult:
    """Move a user and a password from a URL to a header, unless that is there: the libraries differ in it."""
    credentials, _, host = parts.netloc.rpartition("@")
    if "authorization" not in {name.lower() for name in headers}:
        headers["Authorization"] = basic(credentials)
    return parts._replace(netloc=host)
