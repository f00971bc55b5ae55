"""Tables of text that fit the terminal."""

from __future__ import annotations

import sys
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["cells_of", "printable", "table", "width_wanted", "wrapped"]

GAP: Final = "  "

LEAST: Final = 24
"""Cells that the last column is worth; where fewer are left for it, each row becomes a block of lines."""


def width_wanted() -> int | None:
    """The columns of the terminal, or None where standard output is none: programs want one line a row."""
    if not sys.stdout.isatty():
        return None
    import shutil  # 2 ms, and nothing for a pipe

    return shutil.get_terminal_size().columns


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> Iterator[str]:
    """The lines of a table, none wider than `width`; the last column is wrapped."""
    cells = [tuple(titles), *(tuple(map(printable, row)) for row in rows)]
    widths = [max(map(cells_of, column)) for column in zip(*cells, strict=True)]
    left = sum(widths[:-1]) + len(GAP) * (len(widths) - 1)
    if width is None or width - left >= min(LEAST, widths[-1]):
        for row in cells:
            yield from _row(row, widths, None if width is None else width - left)
    else:
        for row in cells[1:]:
            yield from _block(titles, row, width)


def _row(row: Sequence[str], widths: Sequence[int], last: int | None) -> Iterator[str]:
    """One row, over as many lines as its last cell needs."""
    head = GAP.join(_padded(text, cells) for text, cells in zip(row[:-1], widths, strict=False))
    for before, text in zip_longest([head], wrapped(row[-1], last), fillvalue=" " * cells_of(head)):
        yield f"{before}{GAP}{text}".rstrip()


def _block(titles: Sequence[str], row: Sequence[str], width: int) -> Iterator[str]:
    """One row as a line for each cell, the first of them as the heading."""
    yield from wrapped(row[0], width)
    for title, text in zip(titles[1:], row[1:], strict=True):
        if text:
            yield from (f"{GAP}{line}" for line in wrapped(f"{title}: {text}", max(width - len(GAP), 1)))


def wrapped(text: str, width: int | None) -> list[str]:
    """`text` in lines of at most `width` cells, broken between words where it can be."""
    if width is None or cells_of(text) <= width:
        return [text]
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if cells_of(joined) <= width:
            lines[-1] = joined
            continue
        first, *more = _pieces(word, width)
        lines[-1:] = [lines[-1], first, *more] if lines[-1] else [first, *more]
    return lines


def _pieces(word: str, width: int) -> Iterator[str]:
    """A word in pieces of at most `width` cells, and of one character at least."""
    piece = ""
    for character in word:
        if piece and cells_of(piece + character) > width:
            yield piece
            piece = ""
        piece += character
    yield piece


def _padded(text: str, cells: int) -> str:
    return text + " " * (cells - cells_of(text))


def cells_of(text: str) -> int:
    """How many columns `text` takes in a terminal."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF") for char in text)


def printable(text: str) -> str:
    """`text` on one line, with what would steer a terminal spelled out."""
    text = " ".join(text.split())
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
