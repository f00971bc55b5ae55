"""Ctrl-C: the first one cancels the run, the second one ends the process."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING

from becket_cli._exits import by_signal

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterator
    from types import FrameType

__all__ = ["Interrupts", "interrupts"]


class Interrupts:
    """The signals that end a run, from the first to the last moment of it.

    They are taken by a handler of Python's own, which remembers the first: whatever the run makes of it, the command
    has been interrupted. A loop that is blocked, by a tool or by a reader that has stopped reading, can still be left
    with the second one.

    Attributes:
        signal: The first signal that came, or None.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._post: Callable[[], object] = _nothing

    def take(self, number: int, _frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.signal is not None:
            os._exit(by_signal(number))
        self.signal = number
        self._post()

    @contextlib.contextmanager
    def acted_upon(self, loop: AbstractEventLoop, act: Callable[[], None]) -> Iterator[None]:
        """Have the loop call `act` for the first signal; at once where that has come already.

        The handler may run in the middle of anything, so it posts. Nothing stands between the post and `act`: a loop
        that was blocked finds it before it goes on with the run.
        """

        def post() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and the run is over with it
                loop.call_soon_threadsafe(act)

        self._post = post
        if self.signal is not None:
            act()
        try:
            yield
        finally:
            self._post = _nothing


def _nothing() -> None:
    pass


@contextlib.contextmanager
def interrupts() -> Iterator[Interrupts]:
    """Take SIGINT and SIGTERM; not where the process was started to ignore them, or where this is no main thread."""
    taken = Interrupts()
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM) if main}
    ours = {number: old for number, old in before.items() if old in (signal.SIG_DFL, signal.default_int_handler)}
    for number in ours:
        signal.signal(number, taken.take)
    try:
        yield taken
    finally:
        for number, old in ours.items():
            signal.signal(number, old)
