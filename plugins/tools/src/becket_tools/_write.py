"""Writing files, whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from becket import ToolError

from becket_tools._folder import same_file
from becket_tools._paths import check_writable, folded, spelled
from becket_tools._root import check_cancelled
from becket_tools._text import Decoded, decode, find, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from becket_tools._folder import Folder
    from becket_tools._paths import Parts
    from becket_tools._root import Root
    from becket_tools._settings import FileLimits

__all__ = ["edit", "write"]

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_WRITABLE: Final = 0o222
_NO_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK}  # FAT, some networks


def write(root: Root, limits: FileLimits, path: str, text: str, *, overwrite: bool) -> str:
    """Make a file, and the folders that it lies in; or put a text in place of what a file has.

    Raises:
        ToolError: It was not written, and nothing has changed but that folders may have been made.
    """
    parts = root.parse(path)
    check_writable(parts)
    data = _utf8(text, parts)
    _check_size(data, parts, limits)
    with _place(root, parts, make=True) as folder:
        before = _present(root, folder, parts, limits.max_bytes)
        if before is None:
            _check_project(parts, b"", data)
            _put(folder, parts, data, None)
            return f"wrote {spelled(parts)}, new, {len(data):,} bytes"
        old, found = before
        if not overwrite:
            raise ToolError(f"{spelled(parts)} is there already; change it with edit_file, or give overwrite=true")
        _check_project(parts, old, data)
        _put(folder, parts, data, found)
        return f"wrote {spelled(parts)}, {len(data):,} bytes instead of {found.st_size:,}"


def edit(root: Root, limits: FileLimits, path: str, old: str, new: str, *, every: bool) -> str:
    """Put `new` in place of `old`, in the file's own encoding and line ends; what is not replaced stays as it is.

    Raises:
        ToolError: Nothing was changed.
    """
    parts = root.parse(path)
    check_writable(parts)
    if not old or plain(old) == plain(new):
        raise ToolError("old is empty; give the text to replace" if not old else "old and new are the same")
    with _place(root, parts) as folder:
        before = _present(root, folder, parts, limits.max_bytes)
        if before is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        data, found = before
        if len(data) > limits.max_bytes:
            raise ToolError(f"{spelled(parts)} has {found.st_size:,} bytes, and {limits.max_bytes:,} is the most")
        decoded = decode(data)
        if decoded is None:
            raise ToolError(f"{spelled(parts)} is no text, and cannot be edited")
        spans = _spans(decoded.text, old, parts, every=every)
        text, lines = _replaced(decoded, spans, new, limits.max_bytes), _lines(decoded.text, spans)
        changed = _encoded(decoded, text, parts)
        _check_size(changed, parts, limits)
        _check_project(parts, data, changed)
        _put(folder, parts, changed, found)
    return f"replaced in {spelled(parts)}, {'lines' if len(lines) > 1 else 'line'} {_some(lines)}"


@contextlib.contextmanager
def _place(root: Root, parts: Parts, *, make: bool = False) -> Iterator[Folder]:
    with root.explained(parts), root.folder(parts[:-1], make=make, guarded=True) as folder:
        yield folder


def _present(root: Root, folder: Folder, parts: Parts, most: int) -> tuple[bytes, os.stat_result] | None:
    """What is there, up to one byte more than `most`, and what the file is; None where nothing is.

    It is opened for writing, so that the system says whether it may be written.
    """
    try:
        fd, found = root.open(folder, parts, os.O_RDWR)
    except FileNotFoundError:
        return None
    with open(fd, "rb") as file:  # noqa: PTH123  a descriptor
        if not found.st_mode & _WRITABLE:  # to replace it, the system asks for no more than the folder
            raise ToolError(f"{spelled(parts)} is read-only, and was left as it is")
        return file.read(most + 1), found


def _utf8(text: str, parts: Parts) -> bytes:
    return _encoded(Decoded("", "utf-8"), text, parts)


def _encoded(decoded: Decoded, text: str, parts: Parts) -> bytes:
    try:
        return decoded.encode(text)
    except UnicodeEncodeError as error:
        character = text[error.start].encode("unicode_escape").decode()
        raise ToolError(
            f"{spelled(parts)} is stored as {decoded.encoding}, which does not have the character {character}; "
            f"write it otherwise"
        ) from error


def _check_size(data: bytes, parts: Parts, limits: FileLimits) -> None:
    if len(data) > limits.max_bytes:
        raise ToolError(f"{spelled(parts)} would have {len(data):,} bytes, and {limits.max_bytes:,} is the most")


def _check_project(parts: Parts, old: bytes, new: bytes) -> None:
    """Refuse to change what a project's `pyproject.toml` tells becket: what agents may do is not theirs to say."""
    if folded(parts[-1]) == "pyproject.toml" and _settings(old) != _settings(new):
        raise ToolError(
            f"{spelled(parts)} would say other things to becket in [tool.becket] than now, or be no TOML; "
            f"that table is not changed by this tool"
        )


# A key of more than 50 parts, which becket does not read either. The parser takes time with the square of their number,
# hours for 5 MB of dots, and nobody can stop it.
_PART: Final = rb"""(?:[A-Za-z0-9_-]{1,100}+|"(?:[^"\\\n]|\\.){0,100}+"|'[^'\n]{0,100}+')"""
_DEEP_KEY: Final = re.compile(rb"(?<![A-Za-z0-9_-])(?:%b[ \t]*+\.[ \t]*+){50}" % _PART)

_LONGEST: Final = 1_000_000  # bytes; the same


def _settings(data: bytes) -> Any:
    """The table `tool.becket`; of what cannot be read the bytes, which only equal themselves."""
    import tomllib

    if len(data) > _LONGEST or _DEEP_KEY.search(data):
        return data
    try:
        tool = tomllib.loads(data.decode("utf-8")).get("tool", {})
    except (ValueError, RecursionError):
        return data
    return tool.get("becket") if isinstance(tool, dict) else None


_MOST_LINES: Final = 10  # that a message names
_MOST_SPANS: Final = 100_000  # some 20 MB


def _spans(text: str, old: str, parts: Parts, *, every: bool) -> list[tuple[int, int]]:
    """Where `old` is to be replaced."""
    most = _MOST_SPANS if every else _MOST_LINES
    spans = list(islice(find(text, old, overlapping=not every), most + 1))
    if not spans:
        from becket_tools._nearest import nearest

        raise ToolError(f"old is not in {spelled(parts)}; {nearest(plain(text), plain(old))}")
    if len(spans) > most or (len(spans) > 1 and not every):
        times = f"more than {most:,}" if len(spans) > most else str(len(spans))
        what = "less of it at once" if every else "more of what is around the one that is meant, or all=true"
        raise ToolError(f"old is in {spelled(parts)} {times} times, in lines {_some(_lines(text, spans))}; give {what}")
    return spans


def _replaced(decoded: Decoded, spans: list[tuple[int, int]], new: str, most: int) -> str:
    """The text after the change."""
    text = decoded.text
    put = plain(new).replace("\n", decoded.newline)
    length = len(text) + sum(len(put) - (end - start) for start, end in spans)
    if length > most:  # before it is made: it may be more than the memory holds
        raise ToolError(f"there would be {length:,} characters, and {most:,} bytes is the most")
    pieces: list[str] = []
    last = 0
    for start, end in spans:
        pieces += text[last:start], put
        last = end
    return "".join([*pieces, text[last:]])


def _lines(text: str, spans: list[tuple[int, int]]) -> list[int]:
    """The numbers of the lines where they begin, one more than a message names."""
    return [text.count("\n", 0, start) + 1 for start, _ in spans[: _MOST_LINES + 1]]


def _some(lines: list[int]) -> str:
    return ", ".join(map(str, lines[:_MOST_LINES])) + (" and more" if len(lines) > _MOST_LINES else "")


def _put(folder: Folder, parts: Parts, data: bytes, before: os.stat_result | None) -> None:
    """Give the name to a new file with `data`, at once: who reads it meanwhile reads the old one or the new one.

    Args:
        folder: Where it is.
        parts: The way to it.
        data: What it is to have.
        before: The file that has the name now; None where none may have it.
    """
    temporary = f".becket-{secrets.token_hex(8)}.tmp"
    fd = folder.open(temporary, _NEW, 0o666 if before is None else 0o600)
    try:
        try:
            _fill(fd, data, before)
        finally:
            os.close(fd)
        check_cancelled()  # the last chance: a run that was cancelled changes nothing any more
        if before is None:
            _name(folder, temporary, parts)
        else:
            _swap(folder, temporary, parts, before)
    except BaseException:
        with contextlib.suppress(OSError):
            folder.unlink(temporary)
        raise


def _fill(fd: int, data: bytes, before: os.stat_result | None) -> None:
    rest = memoryview(data)
    while rest:
        written = os.write(fd, rest)
        if written == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rest = rest[written:]
    if before is not None and hasattr(os, "fchown"):  # not on Windows
        with contextlib.suppress(OSError):  # only root may give files away
            os.fchown(fd, before.st_uid, before.st_gid)
        os.fchmod(fd, before.st_mode & 0o777)  # after the owner, who changes it; without setuid and setgid
    os.fsync(fd)  # some disks say only now that they are full


def _name(folder: Folder, temporary: str, parts: Parts) -> None:
    """Give the new file a name that nobody may have taken meanwhile."""
    try:
        folder.link(temporary, parts[-1])
    except OSError as error:
        if isinstance(error, FileExistsError) or (error.errno in _NO_LINKS and _exists(folder, parts[-1])):
            raise ToolError(f"{spelled(parts)} was made by somebody else meanwhile; read it") from error
        if error.errno not in _NO_LINKS:
            raise
        folder.replace(temporary, parts[-1])
    else:
        folder.unlink(temporary)


def _exists(folder: Folder, name: str) -> bool:
    try:
        folder.stat(name)
    except FileNotFoundError:
        return False
    return True


def _swap(folder: Folder, temporary: str, parts: Parts, before: os.stat_result) -> None:
    """Put the new file in place of the old one, if that is still what it was."""
    if not same_file(folder.stat(parts[-1]), before):
        raise ToolError(f"{spelled(parts)} was changed by somebody else meanwhile; read it again")
    folder.replace(temporary, parts[-1])
