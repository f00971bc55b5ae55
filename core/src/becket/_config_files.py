"""The files of a configuration: where they are to be, and what they say as TOML."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from becket._config_places import NAME, PYPROJECT, folders, own_file, users_file
from becket.config import ConfigFile, Origin

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

__all__ = ["Read", "found"]

PREFIX: Final = "tool.becket."

LARGEST: Final = 1_000_000
"""Bytes that a file may have. One that is larger is no configuration, and a project's is anybody's to fill."""

DEEPEST: Final = 50
"""Tables and lists that may lie in each other. What is deeper is no configuration, and would break what looks at it."""

# A key with `DEEPEST` dots. The standard library's parser takes time with the square of their number: a minute for
# 200,000 bytes. What is quoted is bounded here, so that this search itself takes no such time.
_PART: Final = rb"""(?:[A-Za-z0-9_-]{1,100}+|"(?:[^"\\\n]|\\.){0,100}+"|'[^'\n]{0,100}+')"""
_DEEP_KEY: Final = re.compile(rb"(?<![A-Za-z0-9_-])(?:%b[ \t]*+\.[ \t]*+){%d}" % (_PART, DEEPEST))


@dataclass(frozen=True, slots=True)
class Read:
    """A file that was looked for, and the table in it; None where there is none to be used."""

    file: ConfigFile
    origin: Origin
    table: Mapping[str, Any] | None = None


class _UnreadableError(Exception):
    """Why a file cannot be read, in words."""


def found(
    path: str | None, environ: Mapping[str, str], *, user: bool, project: bool | str | os.PathLike[str]
) -> Iterator[Read]:
    """The user's file, then the project's, as far as they are wanted."""
    usual = own_file(environ)
    own = users_file(path, environ) if user or path is not None else ""
    if own or path is not None:
        yield _user(Path(own), must_be_there=own != usual)
    if project is not False:
        try:
            start = Path("." if project is True else project).resolve()
        except FileNotFoundError:  # the working directory was removed: nothing lies in it
            return
        yield from _project(start, own)


def _user(path: Path, *, must_be_there: bool) -> Read:
    origin = Origin("user", str(path.absolute()))
    try:
        table = _parsed(_bytes(path))
    except (FileNotFoundError, NotADirectoryError):
        if must_be_there:
            return Read(ConfigFile(origin.place, "user", "unreadable", "there is no such file"), origin)
        return Read(ConfigFile(origin.place, "user", "absent"), origin)
    except _UnreadableError as error:
        return Read(ConfigFile(origin.place, "user", "unreadable", str(error)), origin)
    return Read(ConfigFile(origin.place, "user", "read"), origin, table)


def _project(start: Path, own: str) -> Iterator[Read]:
    """The first file of a project from `start` upwards, and the one beside it that it goes before."""
    for folder in map(Path, folders(str(start))):
        reads = [read for name in (NAME, PYPROJECT) if (read := _of_project(folder / name, own))]
        if reads:
            yield reads[0]
            for other in reads[1:]:
                why = f"{reads[0].file.path} goes before it"
                yield Read(ConfigFile(other.file.path, "project", "unused", why), other.origin)
            return
    missed = str(start / NAME)
    yield Read(ConfigFile(missed, "project", "absent"), Origin("project", missed))


def _of_project(path: Path, own: str) -> Read | None:
    """What a project's file says; None where there is none, or it is the user's own, or says nothing of becket."""
    if not _is_file(path) or (own and _is_there(Path(own)) and path.samefile(own)):
        return None
    origin = Origin("project", str(path), PREFIX if path.name == PYPROJECT else "")
    try:
        table = _said(path, within_pyproject=bool(origin.prefix))
    except FileNotFoundError:  # since we looked
        return None
    except _UnreadableError as error:
        return Read(ConfigFile(str(path), "project", "unreadable", str(error)), origin)
    return None if table is None else Read(ConfigFile(str(path), "project", "read"), origin, table)


def _said(path: Path, *, within_pyproject: bool) -> Mapping[str, Any] | None:
    content = _bytes(path)
    if not within_pyproject:
        return _parsed(content)
    if b"becket" not in content:
        return None  # and it need not be TOML either: others will say so
    tools = _parsed(content).get("tool")
    table = tools.get("becket") if isinstance(tools, dict) else None
    if table is None or isinstance(table, dict):
        return table
    raise _UnreadableError("tool.becket is no table")


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except OSError:
        return False
    return True


def _is_file(path: Path) -> bool:
    """Whether there is a file that can be read to its end: a project may have put a pipe in its place."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _bytes(path: Path) -> bytes:
    """The file's content.

    Raises:
        FileNotFoundError, NotADirectoryError: There is none.
        _UnreadableError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, ValueError) as error:  # the latter for a null character in the path
        raise _UnreadableError(getattr(error, "strerror", None) or str(error)) from None
    if len(content) > LARGEST:
        raise _UnreadableError(f"it has more than {LARGEST:,} bytes")
    return content


def _parsed(content: bytes) -> dict[str, Any]:
    """The table that it is as TOML.

    Raises:
        _UnreadableError: It is none.
    """
    import tomllib

    if _DEEP_KEY.search(content):
        raise _UnreadableError(f"a key in it has more than {DEEPEST} parts")
    try:
        table = tomllib.loads(content.decode("utf-8-sig"))  # some editors begin a file with a mark that TOML forbids
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _UnreadableError(f"it is not UTF-8 (line {line})") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _UnreadableError(f"it is not TOML: {error}") from None
    if _is_deep(table):
        raise _UnreadableError(f"it is more than {DEEPEST} tables or lists deep")
    return table


def _is_deep(table: dict[str, Any]) -> bool:
    """Whether more than `DEEPEST` tables and lists lie in each other."""
    level: list[Any] = [table]
    for _ in range(DEEPEST):
        level = [
            item
            for outer in level
            for item in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(item, dict | list)
        ]
    return bool(level)
