"""The chunks of the stream as bytes. Imported when an answer is opened: pydantic_core takes some milliseconds."""

from __future__ import annotations

from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Final

from pydantic_core import to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["DONE", "chunk", "fragments", "quoted"]

DONE: Final = b"data: [DONE]\n\n"

quoted: Final[Callable[[str], str]] = encode_basestring
"""A text as JSON. In C, and the fastest there is for a word: 0.1 us."""


def chunk(kind: str, members: Mapping[str, object] | None = None, /) -> bytes:
    """One chunk. JSON has no line break of its own, so it is one line of the event."""
    return b"data: %b\n\n" % to_json({"type": kind, **(members or {})})


def fragments(kind: str, key: str, name: str, text: str) -> str:
    """What stands before the text in each chunk that is nothing but a piece of text, up to its quote.

    What stands after it is `}` and the end of the event.
    """
    return f'data: {{"type":{quoted(kind)},{quoted(key)}:{quoted(name)},{quoted(text)}:'
