"""Finding lines in files."""

from __future__ import annotations

import stat
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias

from becket import ToolError

from becket_tools._paths import Parts, Pattern, shown, spelled
from becket_tools._root import Work
from becket_tools._text import decode, is_binary, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from becket_tools._folder import Folder
    from becket_tools._root import Root
    from becket_tools._settings import FileLimits

__all__ = ["search"]

Matcher: TypeAlias = "Callable[[str], int]"
"""Where a line has what is sought, -1 where it does not."""

_MOST_TEXT: Final = 1_000
_MOST_EXPRESSION: Final = 300
_MOST_CONTEXT: Final = 20
_LINE: Final = 4_000  # characters of a line that a regular expression sees
_LINES_AT_ONCE: Final = 8  # between two looks at the clock
_HEAD: Final = 8_192  # bytes that tell most binary files
_SHOWN: Final = 240  # characters of a line
_BEFORE: Final = 80  # of them before the match
_MEMORY: Final = 1 << 19  # bytes of an expression; so a line takes 0.3 s at the most, measured with 20,000 odd ones


def search(
    root: Root, limits: FileLimits, text: str, path: str, pattern: str, *, regex: bool, ignore_case: bool, context: int
) -> str:
    """The lines that have `text`, under the path of their file.

    Raises:
        ToolError: There is nothing to look for, or nowhere to look.
    """
    if not 0 <= context <= _MOST_CONTEXT:
        raise ToolError(f"context is {context}; it goes from 0 to {_MOST_CONTEXT} lines")
    start, work, wanted = root.parse(path), Work(limits.timeout), Pattern(pattern)
    matcher = _expression(text, ignore_case=ignore_case) if regex else _literal(text, ignore_case=ignore_case)
    found = _Search(root, limits, work, matcher, context)
    with root.explained(start):
        for folder, parts in _files(root, start, wanted, work):
            if not found.look_into(folder, parts, strict=parts == start):
                break
    if work.left <= 0:
        found.notes.append(f"not all: there was no more time after {limits.timeout:g} s; search a folder in it")
    return found.result(text)


def _files(root: Root, start: Parts, wanted: Pattern, work: Work) -> Iterator[tuple[Folder, Parts]]:
    """The files to look into: the one that `start` is, or those below it."""
    if start:
        with root.folder(start[:-1]) as folder:
            if not _is_folder(folder, start[-1]):
                yield folder, start
                return
    for found in root.walk(start, work):
        if found.entry.kind == "file" and wanted.matches(found.parts, found.parts[len(start) :]):
            yield found.folder, found.parts


def _is_folder(folder: Folder, name: str) -> bool:
    return stat.S_ISDIR(folder.stat(name).st_mode)


class _Search:
    """What was found so far.

    Attributes:
        notes: What the model is to know besides.
    """

    def __init__(self, root: Root, limits: FileLimits, work: Work, matcher: Matcher, context: int) -> None:
        self.notes: list[str] = []
        self._root = root
        self._limits = limits
        self._work = work
        self._matcher = matcher
        self._context = context
        self._lines: list[str] = []
        self._room = limits.max_chars
        self._left = limits.max_matches
        self._files = 0
        self._cut = 0

    def look_into(self, folder: Folder, parts: Parts, *, strict: bool) -> bool:
        """Search one file. Whether to go on with others.

        Args:
            folder: Where it is.
            parts: The way to it.
            strict: Whether it is an error that it cannot be searched.
        """
        if not self._work.goes_on():
            return False
        text = self._text(folder, parts, strict=strict)
        if text is None:
            return True
        self._files += 1
        lines = text.removesuffix("\n").split("\n")
        places = list(islice(self._matching(lines), self._left + 1))
        if places and not self._show(parts, lines, places[: self._left]):
            return False
        self._left -= len(places)
        if self._left < 0:
            self.notes.append(
                f"not all: these are the first {self._limits.max_matches}; search for less, or in one file"
            )
        return self._left >= 0

    def _text(self, folder: Folder, parts: Parts, *, strict: bool) -> str | None:
        """A file as text; None where it is none, or is closed to us, or gone."""
        try:
            fd, found = self._root.open(folder, parts)
        except (OSError, ToolError):
            if strict:
                raise
            return None
        with open(fd, "rb") as file:  # noqa: PTH123  a descriptor
            head = file.read(min(_HEAD, self._limits.max_bytes))
            data = head if is_binary(head) else head + file.read(self._limits.max_bytes - len(head))
        cut = found.st_size > len(data)
        decoded = decode(data, cut=cut)
        if decoded is None:
            if strict:
                raise ToolError(f"{spelled(parts)} is no text, and cannot be searched")
            return None
        self._cut += cut
        return plain(decoded.text)

    def _matching(self, lines: list[str]) -> Iterator[int]:
        for place, line in enumerate(lines):
            if place % _LINES_AT_ONCE == 0 and not self._work.goes_on():
                return
            if self._matcher(line) >= 0:
                yield place

    def _show(self, parts: Parts, lines: list[str], places: list[int]) -> bool:
        """Add lines of a file, and those around them. Whether there is room for more."""
        self._lines.append(spelled(parts))
        around = range(-self._context, self._context + 1)
        shown = sorted({place + near for place in places for near in around if 0 <= place + near < len(lines)})
        matching, last = set(places), shown[0] - 1
        for place in shown:
            line = f"{place + 1}{':' if place in matching else '-'} {self._clipped(lines[place])}"
            self._room -= len(line) + 1
            if self._room < 0:
                self.notes.append(
                    f"not all: that is {self._limits.max_chars} characters; search for less, or in one file"
                )
                return False
            if self._context and place > last + 1:
                self._lines.append("--")
            self._lines.append(line)
            last = place
        return True

    def _clipped(self, line: str) -> str:
        """What is shown of a line: all of it, or what is around the match."""
        if len(line) <= _SHOWN:
            return line.rstrip()
        start = max(0, self._matcher(line) - _BEFORE)
        return f"{'...' if start else ''}{line[start : start + _SHOWN]}{'...' if start + _SHOWN < len(line) else ''}"

    def result(self, text: str) -> str:
        """The lines, a line for each, those of a file below its path."""
        notes = list(self.notes)
        if not self._lines:
            notes.insert(0, f"{shown(text)} is in none of {self._files} text files")
        if self._cut:
            notes.append(f"{self._cut} files were searched only in their first {self._limits.max_bytes:,} bytes")
        return "\n".join([*self._lines, *(f"[{note}]" for note in notes)])


def _literal(text: str, *, ignore_case: bool) -> Matcher:
    if not text or len(text) > _MOST_TEXT or "\n" in text:
        raise ToolError(f"search for a part of one line, of 1 to {_MOST_TEXT} characters")
    if not ignore_case:
        return lambda line: line.find(text)
    folded = text.casefold()
    return lambda line: line.casefold().find(folded)


def _expression(text: str, *, ignore_case: bool) -> Matcher:
    """A matcher by RE2, which takes time in proportion to a line whatever the expression is, and little memory.

    Python's `re` can take for ever, in one step that lets no other thread run. The package `regex` has a time limit,
    and no limit of memory: `((((a{99}){99}){99}){99}){99}b` took 3 GB and 16 s, `(?0)` a gigabyte in a second.
    """
    import re2  # type: ignore[import-untyped]  # it has no annotations

    if not text or len(text) > _MOST_EXPRESSION:
        raise ToolError(f"search for a regular expression of 1 to {_MOST_EXPRESSION} characters")
    options = re2.Options()
    options.log_errors = False  # to stderr
    options.never_capture = True
    options.max_mem = _MEMORY
    options.case_sensitive = not ignore_case
    try:
        compiled = re2.compile(text, options)
    except (re2.error, UnicodeError) as error:
        why = error.args[0].decode("utf-8", "replace") if isinstance(error, re2.error) else error
        raise ToolError(
            f"{shown(text)} cannot be used: {why}; search for it without regex, or write it otherwise"
        ) from error

    def matcher(line: str) -> int:
        match = compiled.search(line[:_LINE])
        return match.start() if match else -1

    return matcher
