"""Listing what lies in a folder and below."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from becket import ToolError

from becket_tools._paths import IGNORED, Parts, Pattern, folded, spelled
from becket_tools._root import Work, entries

if TYPE_CHECKING:
    from becket_tools._folder import Entry
    from becket_tools._root import Root
    from becket_tools._settings import FileLimits

__all__ = ["list_"]


def list_(root: Root, limits: FileLimits, path: str, pattern: str) -> str:
    """The files below a folder, a line each, sorted by their paths.

    Raises:
        ToolError: There is no such folder.
    """
    start, work, wanted = root.parse(path), Work(limits.timeout), Pattern(pattern)
    with root.explained(start):
        lines, notes = (
            _matching(root, start, wanted, limits.max_entries, work)
            if wanted.text
            else _Overview(root, limits.max_entries, work).of(start)
        )
    if work.left <= 0:
        notes.append(f"not all: there was no more time after {limits.timeout:g} s; ask for a folder in it")
    return "\n".join([*lines, *(f"[{note}]" for note in notes)])


def _matching(root: Root, start: Parts, wanted: Pattern, most: int, work: Work) -> tuple[list[str], list[str]]:
    lines: list[str] = []
    for found in root.walk(start, work):
        if wanted.matches(found.parts, found.parts[len(start) :]):
            if len(lines) == most:
                return sorted(lines), [f"not all: these are the first {most}; ask for a narrower pattern or a folder"]
            lines.append(_line(found.parts, found.entry))
    return sorted(lines), [] if lines else [f"no file matches {wanted.text}"]


class _Overview:
    """A list that shows as much as there is room for: what lies near the top comes first.

    Args:
        root: Where to look.
        most: The most lines.
        work: What bounds it.
    """

    def __init__(self, root: Root, most: int, work: Work) -> None:
        self._root = root
        self._most = most
        self._work = work
        self._lines: dict[Parts, str] = {}

    def of(self, start: Parts) -> tuple[list[str], list[str]]:
        """Open folders, level by level, and put what is in them in their place as long as it fits."""
        with self._root.folder(start) as folder:
            first = entries(folder)
        if not first:
            return [], ["the folder is empty"]
        waiting = deque(self._add(start, first[: self._most]))
        closed = 0
        while waiting and self._work.goes_on():
            parts = waiting.popleft()
            inside = self._inside(parts)
            if inside is None:
                continue
            if len(self._lines) - 1 + len(inside) > self._most:
                closed += 1
                self._lines[parts] += f" ({len(inside)} entries)"
            elif inside:
                del self._lines[parts]
                waiting.extend(self._add(parts, inside))
        notes = [f"not all: {len(first)} entries are in this folder; give a pattern"] * (len(first) > self._most)
        if closed:
            notes.append("folders with a number were not opened; ask for one of them to see what is in it")
        return [line for _, line in sorted(self._lines.items())], notes

    def _inside(self, parts: Parts) -> list[Entry] | None:
        """What is in a folder; None where it cannot be opened, and stays in the list as it is."""
        try:
            with self._root.folder(parts) as folder:
                return entries(folder)
        except (OSError, ToolError):
            return None

    def _add(self, parts: Parts, inside: list[Entry]) -> list[Parts]:
        """Put entries into the list. The folders among them that may be opened."""
        ways = [((*parts, entry.name), entry) for entry in inside]
        self._lines.update({way: _line(way, entry) for way, entry in ways})
        return [way for way, entry in ways if entry.kind == "folder" and folded(entry.name) not in IGNORED]


def _line(parts: Parts, entry: Entry) -> str:
    return spelled(parts) + {"file": "", "folder": "/", "link": " (a link)", "other": " (no file)"}[entry.kind]
