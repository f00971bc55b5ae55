"""What a journal is made of: a first line that says so, then one event a line; and what is wrong with other files."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, Final

from becket import BecketError, ConfigError, PluginError

if TYPE_CHECKING:
    from logging import Logger
    from pathlib import Path

__all__ = [
    "HEADER",
    "KIND",
    "VERSION",
    "JournalError",
    "as_header",
    "cannot_open",
    "cannot_read",
    "cannot_write",
    "is_beginning",
    "logger",
    "not_a_journal",
    "version_problem",
]

VERSION: Final = 1
"""The version of the format; raised when a reader of this version would misread what is written."""

KIND: Final = "becket_journal"
"""The `type` of the header: it has one so that whoever reads the lines with `event_from_json` gets an UnknownEvent."""

HEADER: Final = f'{{"type":"{KIND}","version":{VERSION}}}\n'.encode()


_PARTS: Final = bytes(range(0x80, 0x100))
"""Bytes of characters that UTF-8 writes with several: the last one may be cut in two."""


class JournalError(BecketError):
    """What was read is not a whole journal of a version that is known; raised after all that could be read."""


def as_header(line: bytes) -> dict[str, Any] | None:
    """The header that this line is, or None."""
    if KIND.encode() not in line[:200]:  # cheaper than to parse each event twice
        return None
    from pydantic_core import from_json

    try:
        header = from_json(line)
    except ValueError:
        return None
    return header if isinstance(header, dict) and header.get("type") == KIND else None


def version_problem(header: dict[str, Any]) -> str | None:
    """Why a journal with this header is not for this version, or None."""
    version = header.get("version")
    if isinstance(version, int) and version <= VERSION:
        return None
    return f"its format is of version {version!r}, and this becket-journal knows {VERSION}; upgrade becket-journal"


def is_beginning(line: bytes) -> bool:
    """Whether `line` is the beginning of a JSON object and no more: what is left of a line when its writer dies."""
    from pydantic_core import from_json

    if not line.startswith(b"{"):
        return False
    try:
        from_json(line)
    except ValueError:
        pass
    else:
        return False
    try:
        from_json(line.rstrip(_PARTS), allow_partial=True)
    except ValueError:
        return False
    return True


def not_a_journal(path: Path, first: bytes) -> JournalError:
    """The error for a file that is something else."""
    return JournalError(
        f"{str(path)!r} is not a journal: it begins with {first[:40]!r}; "
        f"give a file that the sink 'journal' has written, or the output of 'becket run --json'"
    )


def cannot_open(path: Path, error: OSError) -> ConfigError:
    """The error for a journal that cannot be opened as it was asked for."""
    return ConfigError(f"the journal {str(path)!r} cannot be opened: {_reason(path, error)}")


def cannot_read(path: Path, error: OSError) -> ConfigError:
    """The error for a journal that is to be read, and cannot be."""
    if error.errno == errno.ENOENT:
        return ConfigError(f"the journal {str(path)!r} cannot be read: there is no such file; mend the path")
    return cannot_open(path, error)


def _reason(path: Path, error: OSError) -> str:
    """What is wrong, and what to do."""
    folder = str(path.parent)
    reasons = {
        errno.EISDIR: "it is a folder; give the path of a file in it",
        errno.ELOOP: "it is a symbolic link, which a journal does not follow; give the file that it stands for",
        errno.ENOENT: f"there is no such file or folder; create the folder {folder!r} first, or mend the path",
        errno.ENOTDIR: f"{folder!r} is no folder; mend the path",
        errno.EACCES: "this user may not; change the rights of the file or its folder, or give another path",
        errno.EPERM: "this user may not; change the rights of the file or its folder, or give another path",
        errno.EROFS: "its file system is read-only; give a path on another one",
        errno.ENXIO: "it is no regular file; a journal must be one, or it could not be read back",
        errno.ENOSPC: "the disk is full; free some space, or give a path on another disk",
    }
    return reasons.get(error.errno or 0) or f"{_plain(error)}; mend that, or give another path"


def cannot_write(path: Path, error: OSError) -> PluginError:
    """The error for a journal that takes no more."""
    match error.errno:
        case errno.ENOSPC:
            reason = "the disk is full; free some space, or give a path on another disk"
        case errno.EDQUOT:
            reason = "the quota of this user is used up; free some space, or give a path on another disk"
        case errno.EFBIG:
            reason = "the file may grow no more; let it be rotated (max_bytes), or raise the limit"
        case errno.EIO:
            reason = "the device failed; look after the disk, and give a path on another one"
        case _:
            reason = f"{_plain(error)}; mend that, or give another path"
    return PluginError(
        f"the journal {str(path)!r} cannot be written, and has no more of this run: {reason}",
        plugin="journal",
        hook="sink.emit",
    )


def _plain(error: OSError) -> str:
    return error.strerror or (os.strerror(error.errno) if error.errno else str(error))


def logger() -> Logger:
    """The logger of this package. Fetched when there is something to say, as in core: its import costs 7 ms."""
    import logging

    return logging.getLogger("becket.journal")
