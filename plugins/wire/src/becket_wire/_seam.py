"""The seam between what becket does with bytes and the library that carries them."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Protocol

from becket_wire._errors import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from becket_wire._environment import Proxy

__all__ = ["Exchange", "Transport", "cannot_connect", "cut", "silent", "untrusted"]


class Exchange(Protocol):
    """A reply under way."""

    @property
    def status(self) -> int:
        """Its status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers, by lower-case name."""
        ...

    async def read(self) -> bytes:
        """The next bytes of the body as they came, whatever their encoding; empty at its end.

        Raises:
            Failure: The connection broke, or was silent for too long.
        """
        ...

    async def drain(self, seconds: float) -> None:
        """Read the rest of the body and forget it, for so long at most; an error ends it."""
        ...

    async def aclose(self) -> None:
        """Give the connection back where the body has ended, else close it at once. Takes no time that matters."""
        ...


class Transport(Protocol):
    """A pool of connections in one event loop."""

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, proxy: Proxy | None
    ) -> Exchange:
        """Send a request, and read the head of its reply.

        Where it went over a connection that had served another one, and that one is closed before anything has come
        back, it is sent once more: the server has closed it meanwhile, after a time, or, as llama.cpp's does, after
        each stream, without having said so. Over a new connection that is a failure.

        Raises:
            Failure: There is no reply.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


def cannot_connect(error: BaseException, *, proxy: Proxy | None) -> Failure:
    """There is no connection."""
    via = " to the environment's proxy" if proxy else ""
    return Failure(f"there is no connection{via}: {_system_error(error) or _plain(error)}")


def untrusted(error: BaseException) -> Failure:
    """The server could not prove who it is, or speaks no TLS."""
    return Failure(
        f"TLS failed: {_plain(error)}; where the server's authority is one of your own, let SSL_CERT_FILE name its "
        f"certificate",
        retryable=False,
    )


def cut(error: BaseException) -> Failure:
    """The connection was lost, or what came over it is no HTTP."""
    return Failure(f"the connection broke: {_plain(error)}")


def silent(seconds: float | None, what: str) -> Failure:
    """Nothing came for as long as is allowed."""
    return Failure(f"{what} within {seconds:g} s" if seconds else f"{what} in time")


def _system_error(error: BaseException) -> str | None:
    """What the system says of why there is no connection, from behind what a library makes of it."""
    seen: list[BaseException | None] = [error]
    while seen:
        one = seen.pop(0)
        if isinstance(one, socket.gaierror):
            return one.strerror
        if isinstance(one, OSError) and one.errno is not None and one.errno > 0:  # the resolver's are below
            return os.strerror(one.errno)
        if isinstance(one, BaseExceptionGroup):
            seen += one.exceptions
        elif one is not None:
            seen += (one.__cause__, one.__context__)
    return None


def _plain(error: BaseException) -> str:
    """An error in one line; some have no text, and aiohttp's of what is no HTTP have a status that nobody sent."""
    return " ".join(str(getattr(error, "message", "") or error).split()) or type(error).__name__
