"""What becomes of a command when the file changes that it runs with."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

import click
from becket import PluginError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

    from becket_dev._source import SourceFile

__all__ = ["Stamp", "followed", "is_watched", "watch"]

_PERIOD: Final = 0.25
"""Seconds between two looks at the file: one `stat` each."""

_WATCHED: Final = "BECKET_DEV_WATCHED"
"""Set for the processes that `--watch` starts, which have the same command line."""


class Stamp:
    """Tells whether a file has changed since it was last asked; one that is not there has not."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._look()

    def changed(self) -> bool:
        """Whether it is another one now."""
        seen = self._look()
        if seen is None or seen == self._seen:
            return False
        self._seen = seen
        return True

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:  # editors take the old one away before the new one is there
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


@contextlib.contextmanager
def followed(source: SourceFile, stamp: Stamp) -> Iterator[None]:
    """Load the file anew whenever it changes, and have a command that serves take it.

    Such a command is one that takes the signal SIGUSR1, as `becket serve` does; others go on with what they have. A
    version that cannot be used is said, and changes nothing.

    Args:
        source: The file, which is loaded.
        stamp: Its stamp, taken before that.
    """
    ended = threading.Event()

    def follow() -> None:
        version = 1
        while not ended.wait(_PERIOD):
            if _serves() and stamp.changed():
                version += 1
                _taken(source, version)

    thread = threading.Thread(target=follow, name="becket dev", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _taken(source: SourceFile, version: int) -> None:
    try:
        source.load()
    except PluginError as error:
        _say(f"{error}. The version before is served on")
        return
    _say(f"{source.path.name} has changed: version {version} is loaded")
    main = threading.main_thread().ident
    if main is not None and _serves():
        signal.pthread_kill(main, signal.SIGUSR1)


def _serves() -> bool:
    """Whether the command takes new versions while it runs."""
    return hasattr(signal, "SIGUSR1") and callable(signal.getsignal(signal.SIGUSR1))


def is_watched() -> bool:
    """Whether this process was started by `watch`."""
    return bool(os.environ.get(_WATCHED))


def watch(source: SourceFile) -> None:
    """Run this command line in a process of its own, again and again: whenever the file has changed.

    Raises:
        KeyboardInterrupt: Ctrl-C, which the process has got too, and has ended by.
        SystemExit: SIGTERM, which the process was sent as well.
    """
    stamp = Stamp(source.path)
    command = [sys.executable, *sys.orig_argv[1:]]
    signal.signal(signal.SIGTERM, _terminated)
    while True:
        process = subprocess.Popen(command, env={**os.environ, _WATCHED: "1"})  # noqa: S603  what the user has typed
        try:
            process.wait()
        except SystemExit:
            process.terminate()
            raise
        finally:
            process.wait()
        _say(f"waits for a change of {source.path.name}; Ctrl-C ends")
        while not stamp.changed():
            time.sleep(_PERIOD)
        _say(f"{source.path.name} has changed")


def _terminated(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _say(message: str) -> None:
    click.echo(f"becket: {message}", err=True)
