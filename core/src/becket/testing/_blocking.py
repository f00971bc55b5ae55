"""Finding code that keeps an event loop from everything else."""

from __future__ import annotations

import linecache
import os
import sys
import sysconfig
import threading
from typing import TYPE_CHECKING, Final, Self

import anyio

from becket._backend import current_backend

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import FrameType, TracebackType

__all__ = ["Watchdog", "kept_at"]

_PAUSE: Final = 0.005
"""Seconds between two signs of life: a block that is longer by that than what is allowed is always found."""

_LOOPS: Final = tuple(f"{os.sep}{name}{os.sep}" for name in ("asyncio", "trio", "anyio"))
_STDLIB: Final = sysconfig.get_paths()["stdlib"] + os.sep
_PACKAGES: Final = f"{os.sep}site-packages{os.sep}"


class Watchdog:
    """Sees whether the event loop is kept from its other work for too long, and where.

    A thread of its own asks the loop for a sign of life, again and again, and looks at what the loop is doing where
    none comes in time. A loop that is only late, on a machine that is busy with others, is not found.

    Used in a `with`, in the thread of the loop.

    Args:
        seconds: How long the loop may be kept.
        then: Called on the loop when it was kept for longer.

    Attributes:
        found: Where it was kept for longer; empty where it was not.
    """

    def __init__(self, seconds: float, then: Callable[[], None]) -> None:
        self.found = ""
        self._seconds = seconds
        self._then = then
        self._stop = threading.Event()
        self._sign = threading.Event()

    def __enter__(self) -> Self:
        self._backend = current_backend()
        self._loop = threading.get_ident()
        self._thread = threading.Thread(target=self._watch, name="becket watchdog", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._sign.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(_PAUSE):
            self._sign.clear()
            self._backend.post(self._sign.set)
            if self._stop.is_set() or self._signed():
                continue
            if place := _place(sys._current_frames().get(self._loop)):  # noqa: SLF001  the documented way to it
                self.found = place
                self._backend.post(self._then)
                return
            self._sign.wait()

    def _signed(self) -> bool:
        """Whether the sign comes in time, counted in pauses: where the machine is busy, each of them takes longer."""
        return any(self._sign.wait(_PAUSE) for _ in range(round(self._seconds / _PAUSE)))


async def kept_at(seconds: float, work: Callable[[], Awaitable[object]]) -> str:
    """Where `work` keeps the event loop for longer than this; empty where it does not.

    It is done once more where it did: what is late for once, on a machine that is busy, does not count.
    """
    found = ""
    for _ in range(2):
        with anyio.CancelScope() as scope, Watchdog(seconds, scope.cancel) as watchdog:
            await work()
        found = watchdog.found
        if not found:
            break
    return found


def _place(frame: FrameType | None) -> str:
    """Where a thread is, in code that is neither Python's own nor the event loop's; empty where the loop waits."""
    if frame is None or _waits(frame.f_code.co_filename):
        return ""
    inner = frame
    while frame is not None and _is_stdlib(frame.f_code.co_filename):
        frame = frame.f_back
    found = frame or inner
    name, number = found.f_code.co_filename, found.f_lineno
    source = linecache.getline(name, number).strip()
    return f"{name}:{number} in {found.f_code.co_name}{f': {source}' if source else ''}"


def _waits(file: str) -> bool:
    return file.endswith(f"{os.sep}selectors.py") or any(name in file for name in _LOOPS)


def _is_stdlib(file: str) -> bool:
    return file.startswith((_STDLIB, "<frozen ")) and _PACKAGES not in file
