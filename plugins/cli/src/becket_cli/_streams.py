"""Standard output, kept clean: the answer has it for itself, and everything that tools print goes to standard error."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Output", "kept_clean"]


class Output:
    """A stream that never raises: its first failure is kept and told, and what is written after it is dropped.

    Whoever writes (a sink, in the middle of a run) can do nothing about a reader who has gone or a disk that is full;
    the command can: it ends the run.

    Attributes:
        failure: What went wrong first, or None.
        told: Called when it does.
    """

    def __init__(self, stream: TextIO) -> None:
        self.failure: OSError | None = None
        self.told: Callable[[], None] = _nothing
        self._stream = stream

    @property
    def gone(self) -> bool:
        """Whether whoever read it has gone."""
        return isinstance(self.failure, BrokenPipeError)

    @property
    def encoding(self) -> str:
        """The encoding of the stream."""
        return self._stream.encoding

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The number of the file behind it; raises `OSError` where there is none."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write `text`."""
        if self.failure is None:
            try:
                self._stream.write(text)
            except OSError as error:
                self._fail(error)
        return len(text)

    def write_line(self, line: bytes) -> None:
        """Write bytes and a newline, at once and whatever the encoding is."""
        if self.failure is None:
            try:
                self._stream.buffer.write(line + b"\n")
                self._stream.buffer.flush()
            except OSError as error:
                self._fail(error)

    def flush(self) -> None:
        """Hand on what was written."""
        if self.failure is None:
            try:
                self._stream.flush()
            except OSError as error:
                self._fail(error)

    def _fail(self, error: OSError) -> None:
        if error.errno == errno.EINVAL and os.name == "nt":  # how Windows says that a pipe is broken
            error = BrokenPipeError(error.errno, error.strerror)
        self.failure = error
        # What is left in the buffers must go somewhere, or the interpreter complains about it at its end.
        with contextlib.suppress(OSError):
            sink = os.open(os.devnull, os.O_WRONLY)
            os.dup2(sink, self._stream.fileno())
            os.close(sink)
        self.told()


def _nothing() -> None:
    pass


@contextlib.contextmanager
def kept_clean() -> Iterator[tuple[Output, Output]]:
    """Standard output and standard error, both guarded; meanwhile all else that goes to standard output is an error's.

    That is what is printed (`sys.stdout` is standard error), and what programs print that a tool starts (so is the
    file behind it).
    """
    with _moved_aside(sys.stdout, sys.stderr) as stdout, contextlib.redirect_stdout(sys.stderr):
        yield Output(stdout), Output(sys.stderr)


@contextlib.contextmanager
def _moved_aside(stdout: TextIO, stderr: TextIO) -> Iterator[TextIO]:
    """The same stream on another file number, with standard error on the one that it had."""
    stdout.flush()
    try:
        number, instead = stdout.fileno(), stderr.fileno()
        aside = os.dup(number)
    except (OSError, ValueError):  # a stand-in without a file behind it, as tests have
        yield stdout
        return
    moved = open(aside, "w", encoding=stdout.encoding, errors=stdout.errors)  # noqa: SIM115, PTH123  closed below, guarded
    os.dup2(instead, number)
    try:
        yield moved
    finally:
        os.dup2(aside, number)
        with contextlib.suppress(OSError):
            moved.close()
