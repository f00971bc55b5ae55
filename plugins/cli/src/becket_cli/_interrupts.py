"""Ctrl-C: the first one cancels the run, the second one ends the process."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from typing import TYPE_CHECKING

import anyio

from becket_cli._exits import by_signal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

__all__ = ["Interrupts", "interrupts"]


class Interrupts:
    """The signals that end a run, from the first to the last moment of it.

    They are taken by a handler of Python's own and handed to the event loop through a socket: a loop that is blocked,
    by a tool or by a reader that has stopped reading, can still be left with the second one.

    Attributes:
        signal: The first signal that came, or None.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._near, self._far = socket.socketpair()
        self._near.setblocking(False)

    def take(self, number: int, _frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.signal is not None:
            os._exit(by_signal(number))
        self.signal = number
        self._near.send(b"!")

    async def wait(self, act: Callable[[], None]) -> None:
        """Wait for the first signal, and act on it in the event loop."""
        await anyio.wait_readable(self._far)
        act()

    def close(self) -> None:
        """Let go of the socket."""
        self._near.close()
        self._far.close()


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
        taken.close()
