"""Replies of a model service as they are when something is wrong with them, made of a reply that is as it should be."""

from __future__ import annotations

import gzip
import itertools
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio.lowlevel import checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from becket.testing.loopback import Piece, Played

__all__ = [
    "MALFORMED",
    "breath",
    "endless",
    "first",
    "gzipped",
    "paced",
    "stalled",
    "with_piece",
    "with_unknown_field",
]

MALFORMED: Final = "becket-oddity"
"""What stands in an event that is no JSON, to be found in the error."""

_ENDLESS_PIECES: Final = 2048  # of 64 KiB: more than anybody should keep of a line


async def breath() -> None:
    """Let the client read what it was sent."""
    for _ in range(5):
        await checkpoint()


def _pieces(reply: Played) -> list[Piece]:
    return list(reply.pieces)


def paced(reply: Played) -> Played:
    """`reply` with time to read each piece before the next."""
    return replace(reply, pieces=[step for piece in reply.pieces for step in (piece, breath)])


def first(reply: Played, count: int, **more: Any) -> Played:
    """`reply` with the first pieces alone."""
    return replace(reply, pieces=_pieces(reply)[:count], **more)


def stalled(reply: Played, count: int, tell: Callable[[], object] = int) -> Played:
    """The first pieces of `reply`, and then silence, of which it is told."""

    async def silence() -> None:
        tell()
        await anyio.sleep_forever()

    return replace(reply, pieces=[*_pieces(reply)[:count], silence])


def with_piece(reply: Played, at: int, piece: bytes) -> Played:
    """`reply` with one piece more."""
    pieces = _pieces(reply)
    return replace(reply, pieces=[*pieces[:at], piece, *pieces[at:]])


def gzipped(reply: Played) -> Played:
    """`reply` compressed, in small pieces."""
    headers = {**reply.headers, "content-encoding": "gzip"}
    return replace(reply, pieces=[gzip.compress(reply.body())], headers=headers).split(20)


def endless(reply: Played) -> Played:
    """A line that begins as the first of `reply` does, and does not end."""

    def pieces() -> Iterator[Piece]:
        yield reply.body()[:7]
        yield from itertools.repeat(b"x" * 65536, _ENDLESS_PIECES)
        yield anyio.sleep_forever

    return replace(reply, pieces=pieces())


def with_unknown_field(piece: bytes) -> bytes:
    """An event with a field more in front of those of its JSON object, where it holds one that is not empty."""
    return re.sub(rb'\{\s*"', b'{"becket_unknown": {"deep": [1, null]}, "', piece, count=1)
