"""Bodies that come compressed although nobody asked for it."""

from __future__ import annotations

import zlib
from typing import Final, Protocol

from becket_wire._errors import Failure

__all__ = ["Decoder", "decoder"]

_WINDOWS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # the window bits by which zlib knows gzip and zlib headers


class Decoder(Protocol):
    """Undoes the encoding of a body, piece by piece."""

    def feed(self, chunk: bytes) -> bytes:
        """What comes of these bytes."""
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
    def __init__(self, window: int) -> None:
        self._inflate = zlib.decompressobj(window)

    def feed(self, chunk: bytes) -> bytes:
        try:
            return self._inflate.decompress(chunk)
        except zlib.error as error:
            raise Failure(f"the body cannot be decompressed: {error}", retryable=False) from error
