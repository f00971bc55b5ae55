"""A file that has changed is loaded in a process of its own first, so that one without an end harms no server."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from becket import PluginError

from becket_dev._source import SourceFile

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Trial"]

_LONG: Final = 3.0
"""Seconds after which it is said that a file is still being imported: few packages take as long."""

_LONGEST: Final = 60.0
"""Seconds after which it is given up: it may be a loop without an end, which has a processor to itself."""

_TRIED: Final = 87
"""The exit code of a process that has got to its end; no file ends it by this one unless it wants to."""


class Trial:
    """The file as it is now, while a process of its own finds out whether loading it ends."""

    def __init__(self, source: SourceFile) -> None:
        self._source = source
        self._said = False
        self._began = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603  our own code
            [sys.executable, "-P", "-c", "from becket_dev._trying import main; main()", *_arguments(source)],
            stdin=subprocess.PIPE,  # closed when this process ends, however it does
            stdout=subprocess.DEVNULL,  # what the file says it says here too, once it is loaded
            stderr=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C is for the server
        )

    def slow(self) -> bool:
        """Whether it takes long; true once."""
        if self._said or self._process.poll() is not None or self._seconds() < _LONG:
            return False
        self._said = True
        return True

    def over(self) -> bool:
        """Whether it has ended, or has taken too long."""
        return self._process.poll() is not None or self._seconds() > _LONGEST

    def end(self) -> None:
        """End the process, where it goes on; then say what came of it.

        Raises:
            PluginError: It went on, or the file has ended it. A file that cannot be used is no error here.
        """
        code = self._process.poll()
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        if code == _TRIED:
            return
        told = f"it was still being imported after {self._seconds():.0f} s"
        if code is not None:
            by = f"the signal {-code}" if code < 0 else f"the exit code {code}"
            told = f"it ends the process that imports it, with {by}"
        raise PluginError(f"{self._source.path.name} cannot be used: {told}", plugin=self._source.module)

    def _seconds(self) -> float:
        return time.monotonic() - self._began


def _arguments(source: SourceFile) -> Sequence[str]:
    return str(source.path), source.module, *sys.path


def main() -> None:
    """Load the file that the command line names, and end; and end as well when who has asked does."""
    path, module, *sys.path[:] = sys.argv[1:]
    sys.argv[1:] = []
    threading.Thread(target=_end_with_who_asked, daemon=True).start()
    with contextlib.suppress(PluginError):  # said by who has asked, and loads it now
        SourceFile(Path(path), module).load()
    os._exit(_TRIED)  # threads that the file has begun are not waited for


def _end_with_who_asked() -> None:
    os.read(0, 1)
    os._exit(1)
