"""What a text may have instead of what was looked for in it."""

from __future__ import annotations

import difflib
from typing import Final

from becket_tools._paths import shown
from becket_tools._root import check_cancelled

__all__ = ["nearest"]

_MOST: Final = 3  # lines that are named
_COMPARED: Final = 2_000  # lines: some 0.5 s
_WIDTH: Final = 160  # characters of a line that are compared
_ALIKE: Final = 0.6


def nearest(text: str, old: str) -> str:
    """In words, which lines of `text` come near the first line of `old`."""
    wanted = next((line.strip() for line in old.split("\n") if line.strip()), "")
    if not wanted:
        return "read it again"
    lines = text.split("\n")
    same = [number for number, line in enumerate(lines, 1) if line.strip() == wanted]
    if same:
        return f"{_named(lines, same[:_MOST])} only differ in spaces, or in the lines after it; copy them from the file"
    alike = _alike(lines, wanted)
    return f"the nearest are {_named(lines, alike)}" if alike else "read it again"


def _alike(lines: list[str], wanted: str) -> list[int]:
    """The numbers of the lines that are most like `wanted`, best first."""
    matcher = difflib.SequenceMatcher(b=wanted[:_WIDTH], autojunk=False)
    found: list[tuple[float, int]] = []
    for number, line in enumerate(lines[:_COMPARED], 1):
        check_cancelled()
        matcher.set_seq1(line.strip()[:_WIDTH])
        if matcher.real_quick_ratio() >= _ALIKE and matcher.quick_ratio() >= _ALIKE and matcher.ratio() >= _ALIKE:
            found.append((-matcher.ratio(), number))
    return [number for _, number in sorted(found)[:_MOST]]


def _named(lines: list[str], numbers: list[int]) -> str:
    return ", ".join(f"line {number} {shown(lines[number - 1].rstrip())}" for number in numbers)
