"""A service for clients to speak with: a small HTTP/1.1 server on 127.0.0.1 that plays replies byte for byte."""

from __future__ import annotations

import json
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias

import anyio
import anyio.abc
from anyio.streams.tls import TLSStream

from becket.errors import ConfigError
from becket.testing._requests import BadRequest, Incoming

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from types import TracebackType

    from becket._values import JsonValue

__all__ = ["LoopbackServer", "Piece", "Played", "Received", "Reply"]

Piece: TypeAlias = "bytes | Callable[[], Awaitable[object]]"
"""Bytes to send, or a function to await before going on, as the `wait` of an `anyio.Event`."""

Framing: TypeAlias = Literal["chunked", "length", "close", "raw"]
"""How a body ends: by its last chunk, by its length, or with the connection; `raw` pieces are the head as well."""

Reply: TypeAlias = "Played | Callable[[Received], Played]"
"""A reply, or a function that makes it from the request."""

_GONE: Final = (anyio.EndOfStream, anyio.BrokenResourceError, ssl.SSLError)
"""What a client that has gone away, or does not trust our certificate, raises here."""

_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Played:
    """A reply as it is to be sent.

    Attributes:
        pieces: The body. Each piece of bytes is a send of its own, and a chunk of its own in a body of chunks; a
            function is awaited before the next. It may go on for ever; a body with a length is read to its end first.
        status: The status.
        headers: Headers beside those that say how the body ends. With `connection: close` the connection is closed.
        framing: How the body ends.
        cut: Close the connection before the end of the body: `True` after the last piece, `"chunk"` in the middle of
            a chunk.
        hang_up: Close the connection after the whole reply, without having said so.
    """

    pieces: Iterable[Piece] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    framing: Framing = "chunked"
    cut: bool | Literal["chunk"] = False
    hang_up: bool = False

    def __post_init__(self) -> None:
        if self.cut and self.framing in {"close", "raw"}:
            raise ConfigError(f"nobody could tell that a body of framing={self.framing!r} was cut; leave cut away")
        if self.cut == "chunk" and self.framing != "chunked":
            raise ConfigError("cut='chunk' is for framing='chunked'; cut=True sends less than the length")

    @classmethod
    def sse(cls, *data: str | bytes | Mapping[str, Any] | Callable[[], Awaitable[object]], **more: Any) -> Played:
        """Server-sent events, each a piece: text as it is, a mapping as JSON; functions are awaited in between.

        Args:
            data: The data of each event.
            more: Other attributes of the reply.
        """
        pieces = [item if callable(item) else b"data: %b\n\n" % _encoded(item) for item in data]
        return cls(pieces, **{**more, "headers": {"content-type": "text/event-stream", **more.get("headers", {})}})

    @classmethod
    def json(cls, value: JsonValue, **more: Any) -> Played:
        """A JSON document.

        Args:
            value: The document.
            more: Other attributes of the reply.
        """
        headers = {"content-type": "application/json", **more.pop("headers", {})}
        return cls([json.dumps(value).encode()], **{"framing": "length", **more, "headers": headers})

    @classmethod
    def raw(cls, *pieces: Piece) -> Played:
        """Bytes and nothing but them, the status line included; the connection is closed after the last."""
        return cls(pieces, framing="raw")

    def body(self) -> bytes:
        """The bytes of the body, together."""
        return b"".join(piece for piece in self.pieces if isinstance(piece, bytes))

    def split(self, size: int) -> Played:
        """The same reply with its body in pieces of `size` bytes; without its pauses."""
        body = self.body()
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        return Played(pieces, self.status, self.headers, self.framing, self.cut, self.hang_up)


class Received:
    """A request that a `LoopbackServer` has read to its end.

    Attributes:
        method: The method.
        path: The target as it was sent: a path with its query, or a whole URL where the server is taken for a proxy.
        headers: The headers, their names in lower case.
        body: The body.
        connection: The number of the connection that it came on, from 1.
        done: Whether the reply was sent to its end, or to where it is cut.
    """

    def __init__(self, method: str, path: str, headers: Mapping[str, str], body: bytes, *, connection: int) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.connection = connection
        self.done = False
        self._left = anyio.Event()

    def __repr__(self) -> str:
        return f"Received({self.method} {self.path}, {len(self.body)} bytes)"  # headers hold keys

    @property
    def json(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.body)

    async def closed(self, *, within: float = 5.0) -> None:
        """Wait until the connection is closed, by whom it may be.

        Raises:
            AssertionError: It was still open after `within` seconds.
        """
        with anyio.move_on_after(within):
            return await self._left.wait()
        raise AssertionError(f"the connection of {self!r} was still open after {within:g} s")

    async def gone(self, *, within: float = 5.0) -> None:
        """Wait until the client has closed the connection, before the reply's end.

        Raises:
            AssertionError: It was still open after `within` seconds, or the client had the whole reply.
        """
        await self.closed(within=within)
        if self.done:
            raise AssertionError(f"the reply to {self!r} was sent to its end before the client closed the connection")


class LoopbackServer:
    """An HTTP/1.1 server on 127.0.0.1 that plays replies, and keeps what it was asked.

    ::

        async with LoopbackServer(Played.sse({"text": "hello"}, "[DONE]")) as server:
            provider = MyProvider(base_url=server.url)
            ...
        assert server.requests[0].headers["authorization"] == "Bearer secret"

    A connection serves one request after the other. It is closed where a reply says so, is cut, or where the client
    asks for it; what was open is closed when the block is left. An error that a piece raises is raised there too, in
    an exception group. It runs on asyncio and trio.

    Args:
        replies: The reply to the first request, to the second, and so on; the last one again for those after it.
        tls: Speak TLS with this context, and have an `https` URL.
        tunnel: Answer CONNECT as a proxy does, which is no request that takes a reply, and be the host that the
            client then speaks TLS with, by this context. Without it CONNECT is a request like any other.

    Attributes:
        url: `http://127.0.0.1:PORT`; there once the block was entered.
        requests: The requests, in the order in which they were read.
        connections: The connections that were opened so far.
        open: Those that are open now.
    """

    def __init__(
        self, *replies: Reply, tls: ssl.SSLContext | None = None, tunnel: ssl.SSLContext | None = None
    ) -> None:
        if not replies:
            raise ConfigError("LoopbackServer needs a reply; LoopbackServer(Played.json({})) is the shortest")
        self.url = ""
        self.requests: list[Received] = []
        self.connections = 0
        self.open = 0
        self._replies = replies
        self._answered = 0
        self._tls = tls
        self._tunnel = tunnel
        self._changed = anyio.Event()

    async def __aenter__(self) -> Self:
        (listener,) = (await anyio.create_tcp_listener(local_host="127.0.0.1")).listeners
        port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610  no Django
        self.url = f"{'http' if self._tls is None else 'https'}://127.0.0.1:{port}"
        self._tasks = await anyio.create_task_group().__aenter__()
        self._tasks.start_soon(self._listen, listener)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        self._tasks.cancel_scope.cancel()
        if isinstance(error, Exception):  # the block's own is raised as it is, not in a group
            await self._tasks.__aexit__(None, None, None)
            return None
        return await self._tasks.__aexit__(kind, error, traceback)

    async def request(self, number: int = 1, *, within: float = 5.0) -> Received:
        """Wait for the request of this number, from 1, and give it.

        Raises:
            AssertionError: It had not come after `within` seconds.
        """
        await self._until(lambda: len(self.requests) >= number, f"request {number} had not come", within)
        return self.requests[number - 1]

    async def emptied(self, *, to: int = 0, within: float = 5.0) -> None:
        """Wait until no connection is open, or no more than so many.

        Raises:
            AssertionError: There were more after `within` seconds.
        """
        await self._until(lambda: self.open <= to, f"more than {to} connections were open", within)

    async def _until(self, holds: Callable[[], bool], complaint: str, within: float) -> None:
        with anyio.move_on_after(within):
            while not holds():
                await self._changed.wait()
            return
        raise AssertionError(f"{complaint} after {within:g} s; {self.connections} were opened, {self.open} are open")

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def _listen(self, listener: anyio.abc.Listener[anyio.abc.SocketStream]) -> None:
        async with listener:
            await listener.serve(self._accept, self._tasks)

    async def _accept(self, stream: anyio.abc.ByteStream) -> None:
        self.connections += 1
        self.open += 1
        number = self.connections
        self._tell()
        try:
            with suppress(*_GONE):
                await self._serve(stream if self._tls is None else await _secure(stream, self._tls), number)
        finally:
            with anyio.CancelScope(shield=True):  # at once: it waits for nobody
                await stream.aclose()
            self.open -= 1
            for request in self.requests:
                if request.connection == number:
                    request._left.set()  # noqa: SLF001  its own class, one concept
            self._tell()

    async def _serve(self, stream: anyio.abc.ByteStream, number: int) -> None:
        """Answer the requests of one connection until one of the two closes it."""
        incoming = Incoming(stream)
        keep = True
        while keep:
            try:
                head, body = await incoming.request()
            except BadRequest as error:
                text = str(error).encode()
                await _play(stream, Played([text], 400, {"connection": "close"}, "length"))
                return
            if head.method == "CONNECT" and self._tunnel is not None:
                self._keep(Received(head.method, head.target, head.headers, body, connection=number))
                await stream.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
                stream = await _secure(stream, self._tunnel)
                incoming = Incoming(stream)
                continue
            received = Received(head.method, head.target, head.headers, body, connection=number)
            reply = self._next(received)
            self._keep(received)
            keep = await self._answer(incoming, received, reply)

    def _keep(self, received: Received) -> None:
        self.requests.append(received)
        self._tell()

    def _next(self, received: Received) -> Played:
        reply = self._replies[min(self._answered, len(self._replies) - 1)]
        self._answered += 1
        return reply if isinstance(reply, Played) else reply(received)

    async def _answer(self, incoming: Incoming, received: Received, reply: Played) -> bool:
        """Play `reply` until the client goes away. Whether the connection can take another request."""
        keep = False

        async def play() -> None:
            nonlocal keep
            with suppress(*_GONE):
                whole = await _play(incoming.stream, reply)
                received.done = True
                keep = whole and not _wants_close(received.headers)
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(play)
            if not await incoming.listen():
                tasks.cancel_scope.cancel()
        return keep


async def _secure(stream: anyio.abc.ByteStream, context: ssl.SSLContext) -> TLSStream:
    # not "standard compatible": closing would wait for the other side to agree
    return await TLSStream.wrap(stream, server_side=True, ssl_context=context, standard_compatible=False)


async def _play(stream: anyio.abc.ByteStream, reply: Played) -> bool:
    """Send `reply`. Whether the connection can stay open after it."""
    pieces = reply.pieces
    if reply.framing != "raw":
        if reply.framing == "length":
            pieces = list(pieces)
        await stream.send(_head(reply, pieces))
    if reply.framing == "chunked":
        await _send_chunks(stream, pieces, cut=reply.cut)
    else:
        await _send(stream, pieces)
    return reply.framing in {"chunked", "length"} and not (reply.cut or reply.hang_up or _wants_close(reply.headers))


async def _send(stream: anyio.abc.ByteStream, pieces: Iterable[Piece]) -> None:
    for piece in pieces:
        if isinstance(piece, bytes):
            await stream.send(piece)
        else:
            await piece()


async def _send_chunks(stream: anyio.abc.ByteStream, pieces: Iterable[Piece], *, cut: bool | str) -> None:
    for piece in pieces:
        if not isinstance(piece, bytes):
            await piece()
        elif piece:  # an empty chunk is the end
            await stream.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    if cut == "chunk":
        await stream.send(b"ff\r\nda")
    elif not cut:
        await stream.send(b"0\r\n\r\n")


def _head(reply: Played, pieces: Iterable[Piece]) -> bytes:
    headers = {name.lower(): value for name, value in reply.headers.items()}
    if reply.framing == "chunked":
        headers.setdefault("transfer-encoding", "chunked")
    elif reply.framing == "close":
        headers.setdefault("connection", "close")
    else:
        length = sum(len(piece) for piece in pieces if isinstance(piece, bytes))
        headers.setdefault("content-length", str(length + 1 if reply.cut else length))
    phrase = _PHRASES.get(reply.status, "Of its own")
    lines = [f"HTTP/1.1 {reply.status} {phrase}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _wants_close(headers: Mapping[str, str]) -> bool:
    return any(name.lower() == "connection" and "close" in value.lower() for name, value in headers.items())


def _encoded(data: str | bytes | Mapping[str, Any]) -> bytes:
    if isinstance(data, bytes):
        return data
    return data.encode() if isinstance(data, str) else json.dumps(data).encode()
