"""The way out: every connection goes to an address that was checked, and to no other.

The check is made where connections are opened, below redirects, connection reuse and TLS, so nothing gets around it. A
name is resolved once per connection, and the connection goes to one of the very addresses that were looked at: a
resolver that answers differently the next time (DNS rebinding) is not asked a next time. TLS is above: it verifies the
certificate against the name, and sends the name as SNI. No proxy is used and no proxy variable read, since behind a
proxy another machine would resolve the name.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import httpcore2
import httpx2
from becket import ToolError

from becket_tools._addresses import check_host, permitted

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from becket_tools._addresses import Exemption

__all__ = ["Guard", "GuardedTransport", "Resolver", "system_resolver"]

Resolver: TypeAlias = "Callable[[str, int], Awaitable[Sequence[str]]]"
"""Gives the addresses of a host name, for a port; raises OSError where there are none."""

_MOST_TRIES = 4  # addresses of one name


async def system_resolver(host: str, port: int) -> list[str]:
    """The addresses that the operating system knows for a name, best first."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Guard(httpcore2.AsyncNetworkBackend):
    """Opens connections to permitted addresses only.

    Args:
        exemptions: Where requests may go beyond the public internet.
        resolve: How names become addresses.
    """

    def __init__(self, exemptions: Sequence[Exemption], resolve: Resolver) -> None:
        self._exemptions = exemptions
        self._resolve = resolve
        self._network = httpcore2.AnyIOBackend()  # on trio, too

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  the signature is that of the base class
        local_address: str | None = None,  # noqa: ARG002  as above; the pool is made without one
        socket_options: Any = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to `host`, within `timeout` seconds for finding and reaching it.

        Raises:
            ToolError: It is unknown, or must not be asked.
            ConnectError: It cannot be reached.
            ConnectTimeout: It could not be reached in time.
        """
        try:
            with anyio.fail_after(timeout):
                addresses = await self._addresses(host, port)
                return await self._first(addresses, port, timeout, socket_options)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(f"no connection within {timeout:g} s") from error

    async def _addresses(self, host: str, port: int) -> list[str]:
        known = check_host(host)
        if known is None:
            try:
                known = tuple(await self._resolve(host, port))
            except (OSError, UnicodeError) as error:
                raise ToolError(f"the host {host!r} was not found; check its name") from error
        if not known:
            raise ToolError(f"the host {host!r} has no address; check its name")
        return permitted(host, known, port, self._exemptions)[:_MOST_TRIES]

    async def _first(
        self, addresses: Sequence[str], port: int, seconds: float | None, options: Any
    ) -> httpcore2.AsyncNetworkStream:
        """A connection to the first address that takes it; each gets its share of the time."""
        share = None if seconds is None else seconds / len(addresses)
        for address in addresses[:-1]:
            try:
                return await self._network.connect_tcp(address, port, timeout=share, socket_options=options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await self._network.connect_tcp(addresses[-1], port, timeout=share, socket_options=options)


class _Body(httpx2.AsyncByteStream):
    """The body of a response, from the one library to the other."""

    def __init__(self, parts: Any) -> None:
        self._parts = parts

    def __aiter__(self) -> AsyncIterator[bytes]:
        parts: AsyncIterator[bytes] = aiter(self._parts)
        return parts

    async def aclose(self) -> None:
        await self._parts.aclose()


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Sends httpx2's requests over connections of a `Guard`; what fails raises httpcore2's exceptions."""

    def __init__(self, guard: Guard, tls: ssl.SSLContext) -> None:
        self._pool = httpcore2.AsyncConnectionPool(ssl_context=tls, network_backend=guard)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request; its response is not read yet."""
        url = request.url
        response = await self._pool.handle_async_request(
            httpcore2.Request(
                request.method,
                httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx2.Response(
            response.status, headers=response.headers, stream=_Body(response.stream), extensions=response.extensions
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()
