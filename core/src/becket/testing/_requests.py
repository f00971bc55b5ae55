"""Reading HTTP/1.1 requests from a connection: as much of the protocol as clients of model services speak."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from anyio.abc import ByteStream

__all__ = ["BadRequest", "Head", "Incoming"]

_START: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S+) HTTP/1\.1")
_FIELD: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*")
_SIZE: Final = re.compile(rb"[0-9a-fA-F]{1,8}")
_LONGEST_HEAD: Final = 1 << 20


class BadRequest(Exception):  # noqa: N818  what the answer to it is called
    """What came is no request."""


@dataclass(frozen=True, slots=True)
class Head:
    """The part of a request before its body.

    Attributes:
        method: The method.
        target: The target as it was sent.
        headers: The headers, their names in lower case; those of one name are joined by a comma.
    """

    method: str
    target: str
    headers: dict[str, str]

    @classmethod
    def parse(cls, block: bytes) -> Head:
        """The head that these lines are, which end with CRLF, without the empty one after them.

        Raises:
            BadRequest: They are none.
        """
        start, *lines = block.decode("latin-1").split("\r\n")
        if (match := _START.fullmatch(start)) is None:
            raise BadRequest(f"no request line: {start!r}")
        headers: dict[str, str] = {}
        for line in lines:
            if (pair := _FIELD.fullmatch(line)) is None:
                raise BadRequest(f"no header: {line!r}")
            name, value = pair[1].lower(), pair[2]
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        if "host" not in headers:
            raise BadRequest("no host header")
        if "content-length" in headers and "transfer-encoding" in headers:
            raise BadRequest("both content-length and transfer-encoding")
        return cls(match[1], match[2], headers)

    @property
    def length(self) -> int | None:
        """The bytes of the body; None for one that comes in chunks."""
        coding = self.headers.get("transfer-encoding")
        if coding is not None:
            if coding.lower() != "chunked":
                raise BadRequest(f"the transfer encoding {coding!r}")
            return None
        length = self.headers.get("content-length", "0")
        if not (length.isascii() and length.isdecimal()):
            raise BadRequest(f"the content length {length!r}")
        return int(length)


class Incoming:
    """The requests that come in on a connection.

    Args:
        stream: The connection.
    """

    __slots__ = ("_buffer", "stream")

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self._buffer = bytearray()

    async def request(self) -> tuple[Head, bytes]:
        """The next request, with its body.

        Raises:
            BadRequest: What came is none.
            anyio.EndOfStream: The client has closed the connection.
        """
        head = Head.parse(await self._until(b"\r\n\r\n"))
        length = head.length
        if head.headers.get("expect", "").lower() == "100-continue":
            await self.stream.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return head, await (self._chunks() if length is None else self._exactly(length))

    async def listen(self) -> bool:
        """Take what comes while a request is answered; False once the client has closed the connection."""
        try:
            while True:
                await self._more()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return False

    async def _more(self) -> None:
        self._buffer += await self.stream.receive()

    async def _until(self, mark: bytes) -> bytes:
        while (end := self._buffer.find(mark)) < 0:
            if len(self._buffer) > _LONGEST_HEAD:
                raise BadRequest(f"no end of the head in {len(self._buffer)} bytes")
            await self._more()
        taken = bytes(self._buffer[:end])
        del self._buffer[: end + len(mark)]
        return taken

    async def _exactly(self, length: int) -> bytes:
        while len(self._buffer) < length:
            await self._more()
        taken = bytes(self._buffer[:length])
        del self._buffer[:length]
        return taken

    async def _chunks(self) -> bytes:
        body = bytearray()
        while True:
            size = await self._until(b"\r\n")
            if _SIZE.fullmatch(size) is None:
                raise BadRequest(f"the chunk size {size!r}")
            length = int(size, 16)
            body += await self._exactly(length)
            if await self._until(b"\r\n"):
                raise BadRequest("a chunk that is longer than its size, or a trailer")
            if not length:
                return bytes(body)
