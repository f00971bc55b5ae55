"""The five file tools of one folder."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from becket import ConfigError, tool

from becket_tools._settings import FileLimits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from becket import Tool

    from becket_tools._root import Root

__all__ = ["FileTools", "file_tools", "make_file_tools"]


@dataclass(frozen=True, slots=True)
class FileTools:
    """The tools for one folder. Iterating gives all five; `reading` the three that change nothing.

    Attributes:
        read_file: Shows a file.
        list_files: Shows what files there are.
        search_files: Finds lines in them.
        write_file: Makes a file, or replaces what is in it.
        edit_file: Replaces a text in a file.
    """

    read_file: Tool[..., Any]
    list_files: Tool[..., str]
    search_files: Tool[..., str]
    write_file: Tool[..., str]
    edit_file: Tool[..., str]

    def __iter__(self) -> Iterator[Tool[..., Any]]:
        """All five."""
        return iter((*self.reading, self.write_file, self.edit_file))

    @property
    def reading(self) -> tuple[Tool[..., Any], ...]:
        """`read_file`, `list_files` and `search_files`."""
        return self.read_file, self.list_files, self.search_files


def make_file_tools(
    root: str | os.PathLike[str],
    *,
    secret: Sequence[str | os.PathLike[str]] = (),
    max_bytes: int = 5_000_000,
    max_chars: int = 30_000,
    max_entries: int = 500,
    max_matches: int = 100,
    timeout: float = 10.0,
) -> FileTools:
    """Make the tools that read and write the files of one folder, and nothing outside of it.

    A file is reached from the folder by its names alone: a link below the folder is never followed, nor is one that
    takes the place of a file or a folder during a call. Only regular files are read and written.

    Args:
        root: The folder; `~` is the home folder, and what is relative counts from the working directory of now.
        secret: Files that are never shown or written, whatever name leads to them: `.env`, say, or a configuration of
            becket that you load from elsewhere. What is relative counts from the root. The user's own `becket.toml`,
            and the file that `BECKET_CONFIG` names, are secret anyway.
        max_bytes: The most bytes of a file that are read, and that one may have which is written.
        max_chars: The most characters of a text that the model gets.
        max_entries: The most lines of a list.
        max_matches: The most lines that a search finds.
        timeout: Seconds that a list or a search may take; what was found by then is the result.

    Raises:
        ConfigError: The root is no folder, or a limit is not above 0.
    """
    limits = FileLimits(max_bytes, max_chars, max_entries, max_matches, timeout)
    for name in FileLimits.__slots__:
        if not getattr(limits, name) > 0:  # so that NaN is refused, too
            raise ConfigError(f"make_file_tools: {name} is {getattr(limits, name)}; it must be above 0")
    path = os.fspath(root)
    if not path or not os.path.isdir(_in_full(path)):  # noqa: PTH112  a text
        raise ConfigError(f"make_file_tools: {path!r} is no folder that is there; make it, or give another")
    return file_tools(path, limits, [os.fspath(one) for one in secret])


# As with the other tools, the docstrings are what a model is told with each request, so they are short. With those of
# the three that only read beside the calculator, the small local model still calculates.


def file_tools(path: str, limits: FileLimits, secret: Sequence[str]) -> FileTools:
    """The tools of `make_file_tools`, for a folder that need not be there yet: a call then says that it is not."""

    @tool(effect="read", reach="local", idempotent=True)
    def read_file(path: str, offset: int = 1, limit: int = 0) -> Any:
        """Read a file.

        Args:
            path: Path, such as src/main.py.
            offset: First line.
            limit: Number of lines; 0 for all.
        """
        from becket_tools._read import read

        return read(root(), limits, path, offset, limit)

    @tool(effect="read", reach="local", idempotent=True)
    def list_files(path: str = "", pattern: str = "") -> str:
        """List files, those in subfolders too.

        Args:
            path: Folder; all if empty.
            pattern: Such as *.py or docs/**/*.md.
        """
        from becket_tools._list import list_

        return list_(root(), limits, path, pattern)

    def search_files(
        text: str,
        path: str = "",
        pattern: str = "",
        *,
        regex: bool = False,
        ignore_case: bool = False,
        context: int = 0,
    ) -> str:
        """Find the lines of files that contain a text.

        Args:
            text: What to find.
            path: Folder or file; all if empty.
            pattern: Files, such as *.py.
            regex: Whether text is a regular expression.
            ignore_case: Whether case is ignored.
            context: Lines to show around each.
        """
        from becket_tools._search import search

        return search(root(), limits, text, path, pattern, regex=regex, ignore_case=ignore_case, context=context)

    # A model that is not told of regular expressions does not try what is not installed.
    offered = search_files if _has_re2() else functools.partial(search_files, regex=False)
    search_tool = tool(effect="read", reach="local", idempotent=True)(offered)

    # In order, where a model asks for several at once: two edits of one file would else not know of each other.
    @tool(effect="write", reach="local", sequential=True)
    def write_file(path: str, text: str, overwrite: bool = False) -> str:
        """Write a new file.

        Args:
            path: Path, such as docs/notes.md.
            text: The whole text.
            overwrite: Whether to replace a file that exists.
        """
        from becket_tools._write import write

        return write(root(), limits, path, text, overwrite=overwrite)

    @tool(effect="write", reach="local", sequential=True)
    def edit_file(path: str, old: str, new: str, all: bool = False) -> str:  # noqa: A002  what a model would call it
        """Replace a text in a file.

        Args:
            path: Path of the file.
            old: Exact text; must occur once.
            new: Text to put in its place.
            all: Whether to replace every occurrence.
        """
        from becket_tools._write import edit

        return edit(root(), limits, path, old, new, every=all)

    home = _in_full(path)
    made: list[Root] = []

    def root() -> Root:
        if not made:
            from becket_tools._own import Secret
            from becket_tools._root import Root

            made.append(Root(home, Secret(home, secret)))
        return made[0]

    return FileTools(read_file, list_files, search_tool, write_file, edit_file)


def _in_full(path: str) -> str:
    """`path` from the working directory of now; links stay what they are, for they may change."""
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111  as above


def _has_re2() -> bool:
    """Whether the extra `regex` is installed, which there are no wheels of for every system (musl, PyPy)."""
    from importlib.util import find_spec

    return find_spec("re2") is not None
