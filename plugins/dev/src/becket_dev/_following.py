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

from becket_dev._trying import Trial

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


_AWAY: Final = 4
"""Looks in a row that do not find a file until it is gone: editors take the old one away before they put a new one."""

_SERVED_ON: Final = "The version before is served on"

_JOIN: Final = 1.0
"""Seconds that the end of a command waits for the thread that follows: what a file does there may have no end."""


class Stamp:
    """Tells whether a file has changed since it was last asked; one that is not there has not."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._missed = 0
        self._seen = self._look()

    def changed(self) -> bool:
        """Whether it is another one now."""
        seen = self._look()
        self._missed = self._missed + 1 if seen is None else 0
        if seen is None or seen == self._seen:
            return False
        self._seen = seen
        return True

    def gone(self) -> bool:
        """Whether it was not there when that was asked, for the time that makes it gone; true once."""
        return self._missed == _AWAY

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
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

    thread = threading.Thread(target=_follow, args=(source, stamp, ended), name="becket dev", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_JOIN)


def _follow(source: SourceFile, stamp: Stamp, ended: threading.Event) -> None:
    version, trial = 1, None
    while not ended.wait(_PERIOD):
        if not _serves():
            continue
        changed, gone = stamp.changed(), stamp.gone()
        if gone:
            _say(f"{source.path.name} is not there any more. {_SERVED_ON}")
        if trial is not None and (changed or gone):
            _dropped(trial)
            trial = None
        if changed:
            version += 1
            trial = Trial(source)
        elif trial is not None and trial.over():
            _taken(source, version, trial)
            trial = None
        elif trial is not None and trial.slow():
            _say(
                f"{source.path.name} is still being imported. {_SERVED_ON}. If it waits for something, or is a loop "
                f"without an end, mend it and save it again"
            )
    if trial is not None:
        _dropped(trial)


def _dropped(trial: Trial) -> None:
    with contextlib.suppress(PluginError):  # of a version that nobody wants to hear of any more
        trial.end()


def _taken(source: SourceFile, version: int, trial: Trial) -> None:
    try:
        trial.end()
        source.load()
    except PluginError as error:
        _say(f"{error}. {_SERVED_ON}")
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
