"""Ending the process, also where something in it does not want to end."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import NoReturn

__all__ = ["leave", "leave_within"]


def leave(code: int) -> NoReturn:
    """End the process at once: threads are not waited for, and nothing is cleaned up."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


def leave_within(seconds: float, code: int) -> None:
    """End the process after so many seconds, unless it has ended by then."""
    watch = threading.Timer(seconds, leave, (code,))
    watch.daemon = True
    watch.start()
