"""The folder that file tools work in: the way from it to a file, and in words what is wrong on the way."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from becket import ToolError

from becket_tools._folder import Entry, Folder, open_regular
from becket_tools._paths import IGNORED, Parts, folded, parse, shown, spelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Found", "Root", "Work"]

_MOST_ENTRIES = 20_000  # of one folder; more take seconds and are of no use to a model
_DEEPEST = 100


@dataclass(frozen=True, slots=True)
class Found:
    """What a walk has come to.

    Attributes:
        folder: The folder it is in, open until the walk goes on.
        parts: The way to it from the root.
        entry: Its name and kind.
    """

    folder: Folder
    parts: Parts
    entry: Entry


class Work:
    """What bounds the work of one call: its time, and the run that waits for it.

    Args:
        seconds: How long it may take.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self._end - time.monotonic()

    def goes_on(self) -> bool:
        """Whether there is time left. Raises the cancellation, if the run was cancelled."""
        check_cancelled()
        return self.left > 0


def check_cancelled() -> None:
    """Raise the cancellation if the run has been cancelled that this thread works for: nobody else stops a thread."""
    from anyio import from_thread

    try:
        from_thread.check_cancelled()
    except RuntimeError:  # not a worker thread: the tool was called as a function
        return


class Root:
    """A folder, opened anew for each call, so that it may be moved away and made again meanwhile.

    Args:
        path: Its path, in full. It may lead over links: they are the host's, not the model's.
        secret: Gives the paths of files that are never shown or written, whatever name they have here.
        enter: Opens a folder by its path.
    """

    def __init__(
        self, path: str, secret: Callable[[], list[str]], *, enter: Callable[[str], Folder] = Folder.at
    ) -> None:
        self.path = path
        self._secret = secret
        self._enter = enter

    def parse(self, path: str) -> Parts:
        """The way to what `path` means; see `_paths.parse`."""
        return parse(path, (self.path, os.path.realpath(self.path)))

    @contextmanager
    def explained(self, parts: Parts) -> Iterator[None]:
        """Say what the operating system refuses in a sentence for the model."""
        try:
            yield
        except OSError as error:
            raise ToolError(_said(error, spelled(parts))) from error

    def folder(self, parts: Parts, *, make: bool = False, guarded: bool = False) -> Folder:
        """The folder at the end of the way, to be closed by the caller.

        Args:
            parts: The way.
            make: Whether to make what is missing.
            guarded: Whether to refuse a way into an environment of Python, for something is going to be written.
        """
        if len(parts) > _DEEPEST:
            raise ToolError(f"the path goes {len(parts)} folders deep, and {_DEEPEST} is the most")
        folder = self._open()
        for place, name in enumerate(parts, 1):
            with folder:
                folder = _entered(folder, name, make=make)
            if guarded and _is_environment(folder):
                folder.close()
                raise ToolError(
                    f"{spelled(parts[:place])} is an environment of Python, and is not written by this tool"
                )
        return folder

    def _open(self) -> Folder:
        try:
            return self._enter(self.path)
        except OSError as error:
            raise ToolError(
                f"the folder of these tools, {shown(self.path)}, cannot be opened: {error.strerror}; "
                f"whoever has set it must see to that"
            ) from error

    def open(self, folder: Folder, parts: Parts, flags: int = os.O_RDONLY) -> tuple[int, os.stat_result]:
        """A descriptor of the regular file that is the last of `parts`, and what it is.

        Raises:
            ToolError: It is a secret one.
            OSError: As `open_regular`.
        """
        fd, found = open_regular(folder, parts[-1], flags)
        if self._is_secret(found):
            os.close(fd)
            raise ToolError(f"{spelled(parts)} is secret, and is not shown or written by tools")
        return fd, found

    def _is_secret(self, found: os.stat_result) -> bool:
        """Whether it is one of the secret files, by what it is: names, links to it and spellings do not matter."""
        for path in self._secret():
            try:
                if os.path.samestat(os.stat(path), found):  # noqa: PTH116  as `os.path.samestat`
                    return True
            except (OSError, ValueError):  # it is not there, so it is not this one
                continue
        return False

    def walk(self, start: Parts, work: Work) -> Iterator[Found]:
        """Everything below `start` but the folders on the way: first what lies in a folder, then what lies deeper.

        Folders in `IGNORED` come as they are, and are not entered, nor is what cannot be. It ends with the time.
        """
        waiting = [start]
        while waiting and work.goes_on():
            parts = waiting.pop()
            try:
                folder = self.folder(parts)
            except (OSError, ToolError):
                if parts == start:
                    raise
                continue  # gone, swapped or closed to us since it was listed
            with folder:
                deeper: list[Parts] = []
                for entry in entries(folder):
                    way = (*parts, entry.name)
                    if entry.kind == "folder" and folded(entry.name) not in IGNORED and len(way) <= _DEEPEST:
                        deeper.append(way)
                    else:
                        yield Found(folder, way, entry)
                waiting.extend(reversed(deeper))


def entries(folder: Folder) -> list[Entry]:
    """What lies in a folder, by name; the first 20,000 of it."""
    return sorted(folder.entries(_MOST_ENTRIES), key=lambda entry: entry.name)


def _entered(folder: Folder, name: str, *, make: bool) -> Folder:
    try:
        return folder.enter(name)
    except FileNotFoundError:
        if not make:
            raise
    with contextlib.suppress(FileExistsError):  # somebody else was faster
        folder.mkdir(name)
    return folder.enter(name)


def _is_environment(folder: Folder) -> bool:
    try:
        return stat.S_ISREG(folder.stat("pyvenv.cfg").st_mode)
    except OSError:
        return False


# Each with the path in it, for a model that has to do something else now.
_SAID: Final[dict[int, str]] = {
    errno.ENOENT: "there is no {path}; list_files shows what there is",
    errno.ELOOP: "{path} is a link or lies behind one, and links are not followed",
    errno.ENOTDIR: "{path} is not there, or no folder; list_files shows what there is",
    errno.EISDIR: "{path} is a folder; list_files shows what is in it",
    errno.ENXIO: "{path} is no regular file, but a device, a pipe or a socket",
    errno.EACCES: "{path} is closed to this process: {why}",
    errno.EPERM: "{path} is closed to this process: {why}",
    errno.EROFS: "{path} lies on a file system that is read-only; nothing was changed",
    errno.ENAMETOOLONG: "the path has a name in it that is too long: {path:.60}...",
} | dict.fromkeys(
    (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)),
    "{path} was not written, since the disk is full: {why}; nothing was changed",
)


def _said(error: OSError, path: str) -> str:
    return _SAID.get(error.errno or 0, "{path}: {why}").format(path=path, why=error.strerror or error)
