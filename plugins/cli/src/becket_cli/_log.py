"""What core and the plugins have to say in the log `becket`, said the way the command says things."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from becket_cli._exits import complain

if TYPE_CHECKING:
    from becket_cli._exits import State

__all__ = ["show_log"]


class _OnStderr(logging.Handler):
    """Warnings and errors in a line each; with their tracebacks where those are wanted."""

    def __init__(self, state: State) -> None:
        super().__init__(logging.WARNING)
        self._state = state

    def emit(self, record: logging.LogRecord) -> None:
        """Say it."""
        error = record.exc_info[1] if record.exc_info else None
        complain(record.getMessage(), error, state=self._state)


def show_log(state: State) -> None:
    """Show the log from now on."""
    logging.getLogger("becket").addHandler(_OnStderr(state))
