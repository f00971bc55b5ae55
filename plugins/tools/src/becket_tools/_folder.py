"""A folder that is open, and what is done with the names in it. No link is followed."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["Entry", "Folder", "PathFolder", "open_regular", "same_file"]

Kind: TypeAlias = Literal["file", "folder", "link", "other"]

_ALWAYS: Final = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # or a FIFO would hold up the thread until somebody opens its other end
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NOINHERIT", 0)
)
_FOLDER: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
_NAME_SURROGATE: Final = 0x20000000  # in a reparse tag: it stands for another place, as links and junctions do


@dataclass(frozen=True, slots=True)
class Entry:
    """What a name in a folder is."""

    name: str
    kind: Kind


class Folder:
    """A folder by its descriptor: what is swapped for a link, wherever on the way to it, makes no difference.

    A name is one component, never `..` or a path. What a method cannot do, it says by an `OSError`; of a link where
    something else is wanted, that has the errno ELOOP.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @staticmethod
    def at(path: str) -> Folder:
        """The folder with this path, links in it followed."""
        if not _BY_DESCRIPTOR:
            return PathFolder(os.path.realpath(path))
        return Folder(os.open(path, _FOLDER | (_ALWAYS & ~os.O_NOFOLLOW)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close it; the folders that were entered from it stay open."""
        os.close(self._fd)

    def enter(self, name: str) -> Folder:
        """The folder of this name."""
        try:
            return Folder(os.open(name, _FOLDER | _ALWAYS, dir_fd=self._fd))
        except OSError:
            if is_link(self.stat(name)):  # systems have different words for that
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name) from None
            raise

    def stat(self, name: str) -> os.stat_result:
        """What the name itself is, not what a link leads to."""
        return os.stat(name, dir_fd=self._fd, follow_symlinks=False)

    def open(self, name: str, flags: int, mode: int = 0o600) -> int:
        """A descriptor of the file of this name, which may be of any kind but a link."""
        return os.open(name, flags | _ALWAYS, mode, dir_fd=self._fd)

    def entries(self, most: int) -> list[Entry]:
        """The first `most` names in the folder's own order, and what they are."""
        with os.scandir(self._fd) as found:
            return [Entry(one.name, _kind(one)) for one in islice(found, most)]

    def mkdir(self, name: str) -> None:
        """Make a folder."""
        os.mkdir(name, dir_fd=self._fd)

    def replace(self, old: str, new: str) -> None:
        """Give a file another name, in place of whatever has it; a link is replaced, not followed."""
        os.replace(old, new, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def link(self, old: str, new: str) -> None:
        """Give a file a second name, which must be free."""
        os.link(old, new, src_dir_fd=self._fd, dst_dir_fd=self._fd, follow_symlinks=False)

    def unlink(self, name: str) -> None:
        """Take a name away."""
        os.unlink(name, dir_fd=self._fd)


class PathFolder(Folder):
    """A folder by its path, for systems that open nothing relative to a descriptor (Windows).

    It looks for links before it opens, and again afterwards whether it has opened what it had looked at. That holds
    against a link that lies there. It is weaker than a descriptor against a process that swaps a *folder* for a link
    during the call, and back again: the name is then followed once.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def close(self) -> None:
        """Nothing is held."""

    def enter(self, name: str) -> Folder:
        found = self.stat(name)
        if is_link(found):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name)
        return PathFolder(self._of(name))

    def stat(self, name: str) -> os.stat_result:
        return os.lstat(self._of(name))

    def open(self, name: str, flags: int, mode: int = 0o600) -> int:
        path = self._of(name)
        fd = os.open(path, flags | _ALWAYS, mode)
        try:
            found = os.lstat(path)
            if is_link(found) or not os.path.samestat(found, os.fstat(fd)):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)  # noqa: TRY301  closed below
        except BaseException:
            os.close(fd)
            raise
        return fd

    def entries(self, most: int) -> list[Entry]:
        self._check()
        with os.scandir(self._path) as found:
            return [Entry(one.name, _kind(one)) for one in islice(found, most)]

    def mkdir(self, name: str) -> None:
        os.mkdir(self._of(name))  # noqa: PTH102  names are joined as text here

    def replace(self, old: str, new: str) -> None:
        os.replace(self._of(old), self._of(new))  # noqa: PTH105  as above

    def link(self, old: str, new: str) -> None:
        os.link(self._of(old), self._of(new))

    def unlink(self, name: str) -> None:
        os.unlink(self._of(name))  # noqa: PTH108  as above

    def _of(self, name: str) -> str:
        self._check()
        return os.path.join(self._path, name)  # noqa: PTH118  as above

    def _check(self) -> None:
        """Refuse a folder on whose way there is a link now: its path was without any when it was entered."""
        if os.path.normcase(os.path.realpath(self._path)) != os.path.normcase(self._path):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), self._path)


_BY_DESCRIPTOR: Final = hasattr(os, "O_NOFOLLOW") and {os.open, os.stat, os.mkdir, os.unlink} <= os.supports_dir_fd


def is_link(found: os.stat_result) -> bool:
    """Whether it is a symbolic link, or on Windows a junction or the like."""
    return stat.S_ISLNK(found.st_mode) or bool(getattr(found, "st_reparse_tag", 0) & _NAME_SURROGATE)


def same_file(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether it is the same file, not written to in between."""
    return os.path.samestat(one, other) and (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)


def _kind(entry: os.DirEntry[str]) -> Kind:
    if entry.is_symlink() or (os.name == "nt" and is_link(entry.stat(follow_symlinks=False))):
        return "link"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_file(follow_symlinks=False) else "other"


def open_regular(folder: Folder, name: str, flags: int = os.O_RDONLY) -> tuple[int, os.stat_result]:
    """A descriptor of a regular file, and what it is.

    It is looked at before it is opened, since to open a device may do something, and afterwards, since only that holds.

    Raises:
        OSError: It is none: EISDIR for a folder, ELOOP for a link, ENXIO for a device, a FIFO or a socket.
    """
    _check_regular(folder.stat(name), name)
    fd = folder.open(name, flags)
    try:
        found = os.fstat(fd)
        _check_regular(found, name)
    except BaseException:
        os.close(fd)
        raise
    return fd, found


def _check_regular(found: os.stat_result, name: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        number = errno.ELOOP if is_link(found) else errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.ENXIO
        raise OSError(number, os.strerror(number), name)
