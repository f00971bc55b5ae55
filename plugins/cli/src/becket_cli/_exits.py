"""How the command ends: exit codes, and what is said on standard error."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from becket_cli._safe import safe, safe_on_a_line

if TYPE_CHECKING:
    from becket import ErrorInfo, ProviderError

__all__ = [
    "CONFIG",
    "EXITS",
    "FAILED",
    "INTERRUPTED",
    "LIMIT",
    "OK",
    "PIPE",
    "USAGE",
    "State",
    "UnwritableError",
    "by_signal",
    "complain",
    "described",
    "show_traceback",
    "with_ids",
]

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2  # click's own
CONFIG: Final = 3
LIMIT: Final = 4
# A shell reports 128 + the signal's number for a command that a signal has ended; where it has not quite, we say so.
INTERRUPTED: Final = 130
PIPE: Final = 141

TRACEBACK: Final = "BECKET_TRACEBACK"

EXITS: Final = {
    OK: "the model answered",
    FAILED: "the run failed, what it wrote could not be written, or a check has found something",
    USAGE: "the command line is wrong, or the prompt is empty or no text",
    CONFIG: "the configuration is wrong, or a model, tool, sink or plugin is unknown or cannot be used",
    LIMIT: "a limit ended the run, or cut the answer short",
    INTERRUPTED: "interrupted with Ctrl-C (143: terminated)",
    PIPE: "whoever read the output has gone",
}
"""The exit codes, for the help and the documentation."""


def _asked_for() -> bool:
    return os.environ.get(TRACEBACK, "") not in {"", "0"}


@dataclass(slots=True)
class State:
    """What the commands of one invocation share; the object of click's context.

    Attributes:
        traceback: Whether tracebacks are wanted with error messages.
        config: The configuration file to read instead of the user's, or None.
        plugins: The values of `-p`: `no:name` blocks a plugin, `name` requires one.
        no_plugins: Whether no plugin is loaded but those that `-p` requires.
        lock: The lock that the plugins are held to, or None.
    """

    traceback: bool = field(default_factory=_asked_for)
    config: str | None = None
    plugins: list[str] = field(default_factory=list)
    no_plugins: bool = False
    lock: str | None = None

    @property
    def block(self) -> list[str]:
        """The plugins that are blocked."""
        return [name.removeprefix("no:") for name in self.plugins if name.startswith("no:")]

    @property
    def require(self) -> list[str]:
        """The plugins that are required."""
        return [name for name in self.plugins if not name.startswith("no:")]


class UnwritableError(OSError):
    """Standard output takes nothing, for another reason than that its reader has gone."""


def by_signal(number: int) -> int:
    """The exit code of a command that this signal has ended."""
    return 128 + number


def complain(message: str, error: BaseException | None = None, *, state: State | None = None) -> None:
    """Say `message` on standard error, in a line, after the traceback of `error` where tracebacks are wanted.

    Where nobody reads standard error any more, nothing is said: there is no other place for it.
    """
    with contextlib.suppress(OSError, ValueError):
        if error is not None and state is not None and state.traceback:
            show_traceback(error)
        sys.stderr.write(f"becket: {safe_on_a_line(message)}\n")
        sys.stderr.flush()


def show_traceback(error: BaseException) -> None:
    """Print the traceback of `error` on standard error."""
    sys.stderr.write(safe("".join(traceback.format_exception(error))))


def described(error: BaseException, said: str = "") -> str:
    """An error in a line: becket's own are sentences, others are named by their class.

    Args:
        error: The error.
        said: Its text, where that is not to be taken from it.
    """
    from becket import BecketError, ProviderError

    text = said or (with_ids(str(error), error) if isinstance(error, ProviderError) else str(error))
    if text and isinstance(error, BecketError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def with_ids(text: str, error: ProviderError | ErrorInfo) -> str:
    """A text about `error`, and what the service calls it and the request, where the text does not say it already."""
    ids = {"code": error.code, "request": error.request_id}
    said = [f"{name} {given}" for name, given in ids.items() if given and given not in text]
    return f"{text} ({', '.join(said)})" if said else text
