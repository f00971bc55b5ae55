"""The file: opened so that nobody else can read it or put another in its place, appended to in whole lines, rotated."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import threading
from typing import TYPE_CHECKING, Final

from becket import ConfigError

from becket_journal._format import HEADER, as_header, cannot_open, is_beginning, logger, version_problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["JournalFile", "pieces"]

_FLAGS: Final = (
    os.O_RDWR  # read for what is there: its first line, its last byte
    | os.O_APPEND
    | os.O_CREAT
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # or a FIFO would hold up the loop until somebody reads it
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


def pieces(path: Path) -> list[Path]:
    """What rotation has moved aside, oldest first: `path.1`, `path.2`, ..."""
    numbered = re.compile(re.escape(path.name) + r"\.([1-9][0-9]*)")
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:  # whoever opens `path` next says what is wrong with its folder
        return []
    numbers = sorted(int(match[1]) for name in names if (match := numbered.fullmatch(name)))
    return [_piece(path, number) for number in numbers]


def _piece(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


class JournalFile:
    """A journal to append to, shared by the runs of one sink; open while one of them is. For any thread.

    What a call of `append` is given goes to the operating system in one write, which appends as one piece: on a local
    POSIX file system other writers, processes included, come before it or after it. Where a write was cut short, what
    is missing is written again on a line of its own, and the cut line stays as a torn one.

    Args:
        path: The file.
        max_bytes: Size above which the file is moved aside and another one begun; None for never.
        keep: How many of those moved aside to keep, None for all.
        fsync: Whether what is moved aside must be on the disk first.
    """

    def __init__(self, path: Path, *, max_bytes: int | None, keep: int | None, fsync: bool) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._fsync = fsync
        self._lock = threading.Lock()
        self._users = 0
        self._fd = -1
        self._torn = False

    def acquire(self) -> None:
        """Open the file, unless it is; and again where somebody has moved or deleted what was open.

        Raises:
            ConfigError: It cannot be opened, or is no journal that this version may append to.
        """
        with self._lock:
            if self._users == 0:
                self._open()
            elif not self._in_place():
                self._reopen()
            self._users += 1

    def release(self) -> None:
        """Close the file, if nobody else has it open."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                fd, self._fd = self._fd, -1
                os.close(fd)

    def append(self, lines: bytes) -> None:
        """Append whole lines; they are the operating system's when this returns.

        Raises:
            OSError: They could not be written, or not all of them.
            ConfigError: The file had to be begun anew, and could not be.
        """
        with self._lock:
            if self._max_bytes is not None and self._is_full(len(lines), self._max_bytes):
                self._rotate()
            self._write(lines)

    def sync(self) -> None:
        """Wait until what was appended is on the disk."""
        with self._lock:
            os.fsync(self._fd)

    # -- opening ---------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        before = self._fd, self._torn
        try:
            self._fd = self._opened()
            self._check()
        except BaseException as error:
            if self._fd != before[0]:
                os.close(self._fd)
            self._fd, self._torn = before
            if isinstance(error, OSError):
                raise cannot_open(self.path, error) from error
            raise

    def _opened(self) -> int:
        if not hasattr(os, "O_NOFOLLOW") and self.path.is_symlink():
            raise OSError(errno.ELOOP, "a symbolic link")
        fd = os.open(self.path, _FLAGS, 0o600)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.ENXIO, "no regular file")
        return fd

    def _check(self) -> None:
        """Begin the file, or make sure that it is a journal, whole or with a torn last line.

        Raises:
            ConfigError: It is something else, or of a version that this one cannot continue.
        """
        first, last = _ends(self._fd)
        self._torn = last not in {b"", b"\n"}
        if (header := as_header(first)) is not None:
            if (problem := version_problem(header)) is not None:
                raise ConfigError(f"the journal {str(self.path)!r} cannot be continued: {problem}")
        elif not first or (is_beginning(first) and HEADER.startswith(first[:_KNOWN])):
            self._begin()
        else:
            raise ConfigError(
                f"{str(self.path)!r} is there already and is not a journal: it begins with {first[:40]!r}; "
                f"give the path of a journal, or one where nothing is"
            )

    def _begin(self) -> None:
        self._write(HEADER)
        if self._fsync:
            os.fsync(self._fd)
            _sync_folder(self.path)

    def _in_place(self) -> bool:
        """Whether the open file is the one that has the path."""
        try:
            return os.path.samestat(os.lstat(self.path), os.fstat(self._fd))
        except OSError:
            return False

    def _reopen(self) -> None:
        before = self._fd
        self._open()
        os.close(before)

    # -- writing ---------------------------------------------------------------------------------------------------

    def _write(self, lines: bytes) -> None:
        while lines:
            data = b"\n" + lines if self._torn else lines
            written = os.write(self._fd, data)
            if written == len(data):
                self._torn = False
                return
            if written == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            whole = data.rfind(b"\n", 0, written) + 1
            self._torn = whole != written
            lines = data[whole:]

    def _is_full(self, more: int, limit: int) -> bool:
        size = os.fstat(self._fd).st_size  # asked for, not counted: other processes may append to it
        return size + more > limit and size > len(HEADER)

    def _rotate(self) -> None:
        """Move the file aside and begin another one. Where another process has done that, only open the new one."""
        with _locked(self._fd):
            if self._in_place():
                if self._fsync:
                    os.fsync(self._fd)
                if not self._move_aside():
                    return
            self._reopen()

    def _move_aside(self) -> bool:
        """Whether the file could be moved; where not, it goes on growing: a long record is better than none."""
        there = pieces(self.path)
        number = int(there[-1].suffix[1:]) + 1 if there else 1
        try:
            self.path.rename(_piece(self.path, number))
        except OSError as error:
            self._max_bytes = None
            logger().warning("the journal %r cannot be rotated and grows on: %s", str(self.path), error.strerror)
            return False
        if self._keep is not None:
            for old in pieces(self.path)[: -self._keep]:
                with contextlib.suppress(OSError):  # another process may have been faster
                    old.unlink()
        return True


_KNOWN: Final = len(HEADER.partition(b"version")[0])
"""How much of the header is the same in every version."""

_HEAD: Final = 4096
"""Bytes in which a header ends."""


def _ends(fd: int) -> tuple[bytes, bytes]:
    """The first line, as far as a header may go, and the last byte; both empty for an empty file."""
    size = os.lseek(fd, 0, os.SEEK_END)
    if size == 0:
        return b"", b""
    os.lseek(fd, size - 1, os.SEEK_SET)
    last = os.read(fd, 1)
    os.lseek(fd, 0, os.SEEK_SET)
    head = os.read(fd, _HEAD)
    return head[: head.find(b"\n") + 1] or head, last


@contextlib.contextmanager
def _locked(fd: int) -> Iterator[None]:
    """Keep other processes from rotating the same file; where the platform has no such lock, trust to the rename."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    own = os.dup(fd)  # the lock goes with the file that it was taken on, which may be closed meanwhile
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(own, fcntl.LOCK_EX)
        yield
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(own, fcntl.LOCK_UN)
        os.close(own)


def _sync_folder(path: Path) -> None:
    """Put the name of a new file on the disk, too."""
    if os.name == "nt":
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
