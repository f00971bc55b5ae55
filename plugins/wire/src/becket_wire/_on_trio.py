"""The seam on trio: httpcore2, which is the pool under httpx2."""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import anyio
import httpcore2

from becket_wire._environment import tls
from becket_wire._errors import Failure
from becket_wire._seam import cannot_connect, cut, silent, untrusted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from becket_wire._environment import Proxy
    from becket_wire._limits import TimeLimits

__all__ = ["HttpcoreTransport"]

_CLOSING: Final = 2.0  # seconds; closing a TLS connection may want to write

_IDLE: Final = 60.0


class HttpcoreTransport:
    """The pools of httpcore2's, one for each proxy, for the running event loop."""

    def __init__(self, limits: TimeLimits) -> None:
        self._limits = limits
        self._timeout = {"connect": limits.connect, "read": limits.read, "write": limits.read, "pool": None}
        self._pools: dict[Proxy | None, httpcore2.AsyncConnectionPool] = {}

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, proxy: Proxy | None
    ) -> HttpcoreExchange:
        """Send a request, and read the head of its reply."""
        names = {name.lower() for name in headers}
        given = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
        parts = urlsplit(url)
        if "host" not in names:
            given.insert(0, (b"Host", parts.netloc.rpartition("@")[2].encode("ascii", "replace")))
        given.append((b"Content-Length", str(len(body or b"")).encode()))
        route = _Route()
        extensions = {"timeout": self._timeout, "trace": route.note}
        request = httpcore2.Request(method, url, headers=given, content=body, extensions=extensions)
        pool = self._pool(proxy)
        try:
            with anyio.fail_after(self._limits.head):
                try:
                    response = await pool.handle_async_request(request)
                except (httpcore2.NetworkError, httpcore2.RemoteProtocolError) as error:
                    if route.is_new or not _is_closed(error):
                        raise
                    response = await pool.handle_async_request(request)
        except httpcore2.ConnectTimeout as error:
            raise silent(self._limits.connect, "there was no connection") from error
        except httpcore2.TimeoutException as error:
            raise silent(self._limits.read, "nothing came") from error
        except TimeoutError as error:
            raise silent(self._limits.head, "nothing came") from error
        except (httpcore2.ConnectError, httpcore2.ProxyError) as error:
            raise _tls_of(error) or cannot_connect(error, proxy=proxy) from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as error:
            raise cut(error) from error
        return HttpcoreExchange(response, self._limits.read)

    async def aclose(self) -> None:
        """Close every connection."""
        pools, self._pools = self._pools, {}
        with anyio.move_on_after(_CLOSING, shield=True):
            for pool in pools.values():
                await pool.aclose()

    def _pool(self, proxy: Proxy | None) -> httpcore2.AsyncConnectionPool:
        pool = self._pools.get(proxy)
        if pool is None:
            pool = self._pools[proxy] = httpcore2.AsyncConnectionPool(
                ssl_context=tls(),
                proxy=None if proxy is None else _proxy(proxy),
                max_connections=None,
                keepalive_expiry=_IDLE,
            )
        return pool


class _Route:
    """What is known of the connection of a request: whether it was made for it."""

    __slots__ = ("is_new",)

    def __init__(self) -> None:
        self.is_new = False

    async def note(self, event: str, _info: object) -> None:
        """What httpcore2 tells of each step."""
        if event.startswith("connection.connect_"):
            self.is_new = True


def _is_closed(error: Exception) -> bool:
    """Whether the server closed the connection, and did not answer what is no HTTP."""
    return isinstance(error, httpcore2.NetworkError) or str(error).startswith("Server disconnected")


class HttpcoreExchange:
    """A reply of httpcore2's."""

    __slots__ = ("_chunks", "_response", "_seconds", "headers", "status")

    def __init__(self, response: httpcore2.Response, seconds: float | None) -> None:
        self.status = response.status
        self.headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        self._response = response
        self._seconds = seconds
        self._chunks: AsyncIterator[bytes] = response.aiter_stream()

    async def read(self) -> bytes:
        """The next bytes of the body."""
        try:
            return await anext(self._chunks, b"")
        except httpcore2.TimeoutException as error:
            raise silent(self._seconds, "nothing came") from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as error:
            raise cut(error) from error

    async def drain(self, seconds: float) -> None:
        """Read the rest."""
        with anyio.move_on_after(seconds), contextlib.suppress(Failure):
            while await self.read():
                pass

    async def aclose(self) -> None:
        """Give the connection back, or close it; also where the task is being cancelled."""
        chunks: Any = self._chunks
        with anyio.move_on_after(_CLOSING, shield=True):
            await chunks.aclose()
            await self._response.aclose()


def _proxy(proxy: Proxy) -> httpcore2.Proxy:
    headers = [(b"Proxy-Authorization", proxy.authorization.encode())] if proxy.authorization else []
    return httpcore2.Proxy(proxy.url, headers=headers)


def _tls_of(error: BaseException) -> Failure | None:
    """The failure of TLS that is behind a failure to connect, if one is."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError):
            return untrusted(seen)
        seen = seen.__cause__ or seen.__context__
    return None
