"""What a path means that a model gives, and what may be written there. Decisions only: nothing here looks at a disk."""

from __future__ import annotations

import os
import re
import unicodedata
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, TypeAlias

from becket import ToolError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["IGNORED", "Parts", "Pattern", "check_writable", "folded", "parse", "shown", "spelled"]

Parts: TypeAlias = tuple[str, ...]
"""The names on the way from the root to a file; empty for the root itself."""

WINDOWS: Final = os.name == "nt"

_MOST = 4_000  # characters of a path; Linux takes 4,096 bytes
_MOST_PATTERN = 200
_SHOWN = 200

# What version control keeps, and what is run from there: hooks, and programs that its settings name.
_HISTORY: Final = frozenset((".git", ".hg", ".svn", ".jj"))
# What is installed or compiled. It runs when the project does, and nobody reads it: version control leaves it out.
_INSTALLED: Final = frozenset(
    (".venv", "venv", "site-packages", "dist-packages", "__pycache__", "node_modules", ".tox", ".nox")
)
_BECKET: Final = frozenset(("becket.toml", "becket.lock"))
_METADATA: Final = (".dist-info", ".egg-info", ".pth")  # they make something a plugin, or run when Python starts

IGNORED: Final = (
    _HISTORY
    | _INSTALLED
    | {".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".cache", ".eggs", ".gradle", ".terraform"}
)
"""Folders, by their folded names, that are named in a list and neither opened by it nor searched."""

# On Windows some names are devices in every folder, some characters have a meaning (`a.txt:stream`), a dot or space at
# the end is dropped, and `BECKET~1.TOM` is another name of a file.
_WINDOWS_NAME: Final = re.compile(
    r"(?!(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(?:[ .].*)?\Z)"
    r"(?!.*~[0-9])[^<>:\"|?*\\\x00-\x1f]*[^<>:\"|?*\\\x00-\x1f. ]",
    re.IGNORECASE | re.DOTALL,
)


def parse(path: str, roots: Sequence[str] = (), *, windows: bool = WINDOWS) -> Parts:
    """The way from the root that `path` means.

    It is relative to the root, or absolute and begins with one of `roots`, as it is spelled. `..` is taken from the
    text: there is no link on the way, so nothing else can be meant.

    Raises:
        ToolError: It leads out of the root, or is no path.
    """
    if len(path) > _MOST:
        raise ToolError(f"the path has {len(path)} characters, and {_MOST} is the most")
    if "\0" in path or any("\ud800" <= character <= "\udfff" for character in path):
        raise ToolError(f"{shown(path)} is no path: it has a character that no name has")
    text = path.replace("\\", "/") if windows else path
    if text.startswith("/") or (windows and text[1:2] == ":"):
        text = _below(text, roots, windows=windows)
    parts: list[str] = []
    for part in text.split("/"):
        if part == ".." and not parts:
            raise _outside(path)
        if part == "..":
            parts.pop()
        elif part not in {"", "."}:
            if windows and not _WINDOWS_NAME.fullmatch(part):
                raise ToolError(f"{shown(path)} is no path: Windows has no name {shown(part)}")
            parts.append(part)
    return tuple(parts)


def _below(path: str, roots: Sequence[str], *, windows: bool) -> str:
    """What of an absolute path comes after the root."""
    for root in roots:
        start = (root.replace("\\", "/") if windows else root).rstrip("/")
        head, rest = path[: len(start)], path[len(start) :]
        same = head.casefold() == start.casefold() if windows else head == start
        if same and (not rest or rest.startswith("/")):
            return rest
    raise _outside(path)


def _outside(path: str) -> ToolError:
    return ToolError(
        f"{shown(path)} is outside of the folder of these tools; give a path relative to it, as in src/x.py"
    )


def folded(name: str) -> str:
    """`name` as a file system that takes several spellings for one name may know it.

    Case is one of them (macOS, Windows), others are invisible characters (HFS+) and dots and spaces at the end
    (Windows). Where the file system does tell the spellings apart, some harmless names are refused.
    """
    plain = unicodedata.normalize("NFKC", name)
    seen = "".join(character for character in plain if unicodedata.category(character) != "Cf")
    return seen.casefold().rstrip(". ")


def check_writable(parts: Parts) -> None:
    """Refuse what would make code run later that nobody has looked at, and what widens an agent's rights.

    Raises:
        ToolError: Nothing may be written there.
    """
    if not parts:
        raise ToolError("the path is that of the folder itself; name a file in it")
    for part in parts:
        name = folded(part)
        if name in _HISTORY:
            raise ToolError(f"{spelled(parts)} belongs to version control, and is not written by this tool")
        if name in _INSTALLED or name.endswith(_METADATA):
            raise ToolError(f"{spelled(parts)} is installed or compiled, and is not written by this tool")
    if folded(parts[-1]) in _BECKET:
        raise ToolError(f"{spelled(parts)} says what agents may do, and is not written by this tool")


def spelled(parts: Parts) -> str:
    """A path as a model can give it, on one line: a name with a line break in it must not pass for two."""
    return "/".join(one if one.isprintable() else _escaped(one) for one in parts) or "."


def shown(text: str) -> str:
    """`text` in quotation marks, not longer than is read; for an error message."""
    return f"'{_escaped(text[:_SHOWN])}{'...' if len(text) > _SHOWN else ''}'"


def _escaped(text: str) -> str:
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


class Pattern:
    """What files to look at: `*.py` in any folder; `src/**/*.py` by the whole path; empty for all.

    Raises:
        ToolError: It is too long.
    """

    def __init__(self, text: str) -> None:
        if len(text) > _MOST_PATTERN:
            raise ToolError(f"the pattern has {len(text)} characters, and {_MOST_PATTERN} is the most")
        self.text = text
        self._by_name = "/" not in text
        self._parts = [part for part in text.split("/") if part not in {"", "."}]

    def matches(self, *ways: Parts) -> bool:
        """Whether it is the pattern of one of `ways`: a model counts a path from the root, or from where it looks."""
        if self._by_name or not self._parts:
            return not self._parts or fnmatchcase(ways[0][-1], self.text)
        return any(self._matches(way) for way in ways)

    def _matches(self, way: Parts) -> bool:
        """Follow all ways of reading the pattern at once, so that many `**` do not take long."""
        places = self._skipping({0})
        for name in way:
            after: set[int] = set()
            for place in places - {len(self._parts)}:
                if self._parts[place] == "**":
                    after.add(place)
                elif fnmatchcase(name, self._parts[place]):
                    after.add(place + 1)
            places = self._skipping(after)
        return len(self._parts) in places

    def _skipping(self, places: set[int]) -> set[int]:
        """`places`, and those behind a `**` that stands for no folder at all."""
        for place in range(len(self._parts)):
            if place in places and self._parts[place] == "**":
                places.add(place + 1)
        return places
