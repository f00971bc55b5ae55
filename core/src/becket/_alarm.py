"""The time limits of one run, on one timer."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from becket._backend import Backend

__all__ = ["Alarm"]

_EARLY: Final = 0.001
"""Seconds by which a timer may go off before its time: event loops round."""


class Alarm:
    """Calls back after a time, unless it is told to forget that.

    Nearly every limit is forgotten before its time: each model call and each tool call sets one. So forgetting costs
    nothing, and a limit later than the one timer that is set waits for that. On trio, where a timer is a task, a timer
    for each limit took 105 of the 280 us of a tool cycle.
    """

    __slots__ = ("_backend", "_due", "_last", "_stop", "_wake")

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._due: dict[int, tuple[float, Callable[[], None]]] = {}
        self._last = 0
        self._wake = math.inf
        self._stop: Callable[[], None] | None = None

    def after(self, seconds: float, callback: Callable[[], None]) -> Callable[[], object]:
        """Call `callback` on the event loop after `seconds`; calling what is returned prevents it."""
        self._last += 1
        due = time.monotonic() + seconds
        self._due[self._last] = due, callback
        if due < self._wake:
            self._set(due)
        return partial(self._due.pop, self._last, None)

    def close(self) -> None:
        """Forget everything, and stop the timer."""
        self._due.clear()
        if self._stop is not None:
            self._stop()
            self._stop = None

    def _set(self, due: float) -> None:
        if self._stop is not None:
            self._stop()
        self._wake = due
        self._stop = self._backend.call_later(max(0.0, due - time.monotonic()), self._ring)

    def _ring(self) -> None:
        self._stop, self._wake = None, math.inf
        now = time.monotonic() + _EARLY
        for key in [key for key, (due, _) in self._due.items() if due <= now]:
            if (entry := self._due.pop(key, None)) is not None:  # an earlier one may have had it forgotten
                entry[1]()
        if self._due and (first := min(due for due, _ in self._due.values())) < self._wake:
            self._set(first)
