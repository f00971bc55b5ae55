"""The seam on asyncio: aiohttp, whose parser is in C. It costs a third of what the others do for each chunk."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import yarl

from becket_wire._environment import tls
from becket_wire._errors import Failure
from becket_wire._seam import cannot_connect, cut, silent, untrusted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import SimpleNamespace

    from becket_wire._environment import Proxy
    from becket_wire._limits import TimeLimits

__all__ = ["AiohttpTransport"]

_AT_ONCE: Final = 2**20  # aiohttp warns of more bytes than this in one piece, and writes a file in pieces

_HEADER: Final = 2**16  # bytes of one header; those of gateways exceed aiohttp's own limit, 8190, at times

_IDLE: Final = 60.0
"""Seconds that an unused connection is kept; services close theirs after one to several minutes."""


class AiohttpTransport:
    """A pool of aiohttp's, for the running event loop."""

    def __init__(self, limits: TimeLimits) -> None:
        self._limits = limits
        self._open: set[AiohttpExchange] = set()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE, ssl=tls()),
            timeout=aiohttp.ClientTimeout(total=None, connect=limits.connect),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            max_line_size=_HEADER,
            max_field_size=_HEADER,
            trace_configs=[_routes_noted()],
        )

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, proxy: Proxy | None
    ) -> AiohttpExchange:
        """Send a request, and read the head of its reply."""
        limits = self._limits
        route = _Route(limits.read)
        ask = functools.partial(
            self._session.request,
            method,
            yarl.URL(url, encoded=True),
            allow_redirects=False,
            trace_request_ctx=route,
            **_headers(url, headers, proxy),
        )
        try:
            async with asyncio.timeout(limits.head) as route.limit:  # a fifth of what anyio's costs
                try:
                    response = await ask(data=_data(body))
                except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                    if not route.is_reused:
                        raise
                    response = await ask(data=_data(body))
        except aiohttp.ConnectionTimeoutError as error:
            raise silent(self._limits.connect, "there was no connection") from error
        except TimeoutError as error:
            raise silent(route.allowed or limits.head, "nothing came") from error
        except (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch) as error:
            raise untrusted(_cause(error)) from error
        except aiohttp.ClientHttpProxyError as error:
            raise cannot_connect(Exception(f"{error.status} {error.message}"), proxy=proxy) from error
        except aiohttp.ClientConnectorError as error:
            raise cannot_connect(error, proxy=proxy) from error
        except (aiohttp.ClientError, OSError) as error:
            raise cut(error) from error
        return AiohttpExchange(response, self._limits.read, self._open)

    async def aclose(self) -> None:
        """Close every connection."""
        for exchange in self._open:  # aiohttp would leave those that wait waiting
            exchange.give_up()
        await self._session.close()


def _headers(url: str, headers: Mapping[str, str], proxy: Proxy | None) -> dict[str, Any]:
    """The arguments of a request that say its headers, and its way: what is the proxy's goes to it alone."""
    if proxy is None:
        return {"headers": headers}
    own = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
    if url.startswith("http:"):  # it reads the request itself
        return {"headers": {**headers, **own}, "proxy": proxy.url}
    return {"headers": headers, "proxy": proxy.url, "proxy_headers": own}


def _cause(error: BaseException) -> BaseException:
    """What TLS says itself; aiohttp's own text has its repr, and the host, which is said already."""
    found: BaseException = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    return found


def _data(body: bytes | None) -> bytes | io.BytesIO | None:
    return io.BytesIO(body) if body is not None and len(body) > _AT_ONCE else body


class _Route:
    """What is known of the connection of a request: whether it had served another one, and that it is there.

    From then on the service has `seconds` for the head of its reply.
    """

    __slots__ = ("allowed", "is_reused", "limit", "seconds")

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.is_reused = False
        self.allowed: float | None = None
        self.limit: asyncio.Timeout | None = None

    def connected(self) -> None:
        """Shorten what is left of the time for connection and head together."""
        if self.limit is None or self.seconds is None:
            return
        ends, sooner = self.limit.when(), asyncio.get_running_loop().time() + self.seconds
        if ends is None or sooner < ends:
            self.allowed = self.seconds
            self.limit.reschedule(sooner)


def _routes_noted() -> aiohttp.TraceConfig:
    """What tells a request's route of its connection; aiohttp says it nowhere else."""

    async def reused(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
        context.trace_request_ctx.is_reused = True
        context.trace_request_ctx.connected()

    async def made(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
        context.trace_request_ctx.connected()

    config = aiohttp.TraceConfig()
    config.on_connection_reuseconn.append(reused)
    config.on_connection_create_end.append(made)
    return config


class AiohttpExchange:
    """A reply of aiohttp's; it is in `all_` until it is closed."""

    __slots__ = ("_all", "_content", "_reads", "_response", "_seconds", "_timer", "_waiting", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse, seconds: float | None, all_: set[AiohttpExchange]) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._response = response
        self._all = all_
        self._content = response.content
        self._seconds = seconds
        self._reads = 0
        self._waiting = False
        all_.add(self)
        self._timer: asyncio.TimerHandle | None = None
        if seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._look, 0)

    async def read(self) -> bytes:
        """The next bytes of the body."""
        self._reads += 1
        self._waiting = True
        try:
            chunk = await self._content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise cut(error) from error
        self._waiting = False
        return chunk

    async def drain(self, seconds: float) -> None:
        """Read the rest; nearly always it has come with the last event."""
        if self._content.at_eof():
            return
        with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError, Failure):
            async with asyncio.timeout(seconds):
                while await self._content.readany():
                    pass

    async def aclose(self) -> None:
        """Let go of the connection; aiohttp has it back already where the body has ended."""
        if self._timer is not None:
            self._timer.cancel()
        self._all.discard(self)
        self._response.close()

    def give_up(self) -> None:
        """End a read that waits, and those that follow: the pool is being closed."""
        self._content.set_exception(cut(aiohttp.ClientConnectionError("the provider was closed")))

    def _look(self, heard: int) -> None:
        """End a read that has waited for the whole time since the last look, or longer.

        A look per period, and not a timer moved by every chunk (as aiohttp's own limit is): that would cost more than
        the chunk.
        """
        assert self._seconds is not None  # noqa: S101 -- for the type checker
        if self._waiting and self._reads == heard:
            self._content.set_exception(silent(self._seconds, "nothing came"))
            return
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._look, self._reads)
