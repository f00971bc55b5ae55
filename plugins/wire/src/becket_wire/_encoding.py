"""Bodies that come compressed although nobody asked for it."""

from __future__ import annotations

import zlib
from typing import Final, Protocol

from becket_wire._errors import Failure

__all__ = ["Decoder", "decoder"]

_WINDOWS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # the window bits by which zlib knows gzip and zlib headers

_AT_ONCE: Final = 256 * 1024  # bytes; a kilobyte can stand for a megabyte, and nobody has to hold it whole


class Decoder(Protocol):
    """Undoes the encoding of a body, piece by piece."""

    def put(self, chunk: bytes) -> None:
        """The next bytes of the body, once `take` gives no more."""
        ...

    def take(self) -> bytes:
        """Some of what comes of the bytes so far; empty where more of them are needed."""
        ...


def decoder(encoding: str) -> Decoder | None:
    """What undoes a body's `content-encoding`; None where there is nothing to undo.

    Raises:
        Failure: It is one that was not asked for and is not understood.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return None
    if name not in _WINDOWS:
        raise Failure(f"the body is encoded as {encoding!r}, which was not asked for", retryable=False)
    return _Zlib(_WINDOWS[name])


class _Zlib:
    """Of gzip's members (RFC 1952) all are read; what follows the last one and is none is left out, as padding is."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._inflate = zlib.decompressobj(window)
        self._left = b""
        self._full = False  # whether the last piece was cut off at its limit: zlib may hold more of it
        self._members = 0

    def put(self, chunk: bytes) -> None:
        self._left = chunk

    def take(self) -> bytes:
        while self._left or self._full:
            try:
                plain = self._inflate.decompress(self._left, _AT_ONCE)
            except zlib.error as error:
                if not self._members:
                    raise Failure(f"the body cannot be decompressed: {error}", retryable=False) from error
                self._left, self._full = b"", False
                return b""
            self._full = len(plain) == _AT_ONCE
            self._left = self._inflate.unconsumed_tail
            if self._inflate.eof:
                self._left, self._full = self._inflate.unused_data, False
                self._inflate = zlib.decompressobj(self._window)
                self._members += 1
            if plain:
                return plain
        return b""
