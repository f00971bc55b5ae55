"""Bytes of a file as text, and back to the bytes that they were. Decisions only."""

from __future__ import annotations

import codecs
import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Decoded", "decode", "find", "is_binary", "plain"]

# UTF-32 first: its mark begins with that of UTF-16.
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Where it is not UTF-8, it was written on an older Windows most often. Latin-1 fits any bytes.
_GUESSES: Final = ("utf-8", "cp1252", "latin-1")
_CONTROL: Final = re.compile(r"[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f]")  # not bell to CR, escape, NEL
_MOST_CONTROL = 0.02  # of all characters; text in an unknown encoding has fewer, compressed data some 20 %


@dataclass(frozen=True, slots=True)
class Decoded:
    """A text and how it was stored.

    Attributes:
        text: As stored, line ends included.
        encoding: A codec of Python.
        bom: The mark that the file begins with, or empty.
        guessed: Whether nothing says that it is this encoding, but that its bytes fit.
    """

    text: str
    encoding: str
    bom: bytes = b""
    guessed: bool = False

    @property
    def newline(self) -> str:
        """How its lines end: as most of them do."""
        windows = self.text.count("\r\n")
        return "\r\n" if windows * 2 > self.text.count("\n") else "\n"

    def encode(self, text: str) -> bytes:
        """`text` as it would be stored in this file.

        Raises:
            UnicodeEncodeError: The encoding does not have a character of it.
        """
        return self.bom + text.encode(self.encoding)


def decode(data: bytes, *, cut: bool = False) -> Decoded | None:
    """The text that `data` is; None where it is none.

    Args:
        data: A file, or its beginning.
        cut: Whether it goes on, so that half a character may stand at the end, and is left out.
    """
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            text = _decode(data[len(bom) :], encoding, cut=cut)
            return None if text is None else Decoded(text, encoding, bom)
    if is_binary(data):
        return None
    for encoding in _GUESSES:
        text = _decode(data, encoding, cut=cut)
        if text is not None:
            binary = len(_CONTROL.findall(text)) > _MOST_CONTROL * len(text)
            return None if binary else Decoded(text, encoding, guessed=encoding != "utf-8")
    return None  # pragma: no cover  Latin-1 takes everything


def is_binary(head: bytes) -> bool:
    """Whether a file that begins so is no text, so that there is no need to read all of it."""
    return b"\0" in head and not any(head.startswith(bom) for bom, _ in _BOMS)


def _decode(data: bytes, encoding: str, *, cut: bool) -> str | None:
    try:
        return codecs.getincrementaldecoder(encoding)().decode(data, final=not cut)
    except UnicodeDecodeError:
        return None


def plain(text: str) -> str:
    r"""`text` with `\n` alone at the end of lines, as a model reads and writes it."""
    return text.replace("\r\n", "\n")


def find(text: str, wanted: str, *, overlapping: bool = False) -> Iterator[tuple[int, int]]:
    """Where `wanted` stands in `text`, as start and end, however the lines of either end.

    The search is Python's own, which takes time in proportion to both whatever they are; a regular expression that
    lets a line end either way does not.
    """
    ends = [match.start() - place for place, match in enumerate(re.finditer("\r\n", text))]
    searched, sought = plain(text), plain(wanted)
    start = searched.find(sought)
    while start >= 0:
        end = start + len(sought)
        yield start + bisect_left(ends, start), end + bisect_left(ends, end)
        start = searched.find(sought, start + 1 if overlapping else end)
