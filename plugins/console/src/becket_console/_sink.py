"""The sink itself: which streams, how much, and what becomes of a pipe that nobody reads any more."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from becket import ConfigError

from becket_console._screen import Screen
from becket_console._view import Level, View

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from becket import Event, RunInfo, SinkRun

__all__ = ["Answer", "ConsoleSink", "Level"]

Answer: TypeAlias = Literal["stdout", "stderr", "none"]
"""Where the text of the assistant goes."""


class ConsoleSink:
    """Shows runs to a person: the answer on standard output, everything else on standard error.

    All text of the assistant is the answer, that of cycles which end in tool calls included; each message ends with a
    newline. A run that begins while this sink shows another one, nested in it or beside it, is labelled with its
    agent's name, and its text comes in whole lines among the rest: standard output carries one run's answer at a
    time. Writing waits for whoever reads: a terminal that is halted halts the run.

    Not for several threads at once; give each its own sink.
    """

    def __init__(
        self,
        *,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        answer: Answer = "stdout",
        level: Level = "normal",
        on_broken_pipe: Callable[[BrokenPipeError], None] | None = None,
    ) -> None:
        """Say where and how much.

        Args:
            stdout: The stream for the answer; None takes `sys.stdout` as it is when a run begins.
            stderr: The stream for the rest; None takes `sys.stderr` as it is when a run begins.
            answer: Where the text of the assistant goes; `none` leaves it to the caller.
            level: `quiet` shows the answer and what goes wrong, `verbose` model calls and usage too.
            on_broken_pipe: Called once, when whoever read a stream is gone; nothing more is shown then. Without it,
                the error is raised at whoever emits.
        """
        self.name = "console"
        self.required = False
        self._stdout = stdout
        self._stderr = stderr
        self._to = answer
        self._level: Level = level
        self._on_broken_pipe = on_broken_pipe
        self._screen: Screen | None = None
        self._open: dict[str, str] = {}
        self._gone = False

    def open(self, run: RunInfo, /) -> SinkRun:
        """What shows this run; where this sink shows it already, nothing more."""
        if run.run_id in self._open:
            # Named by the agent and by its runtime: once is enough.
            return _Unseen()
        if self._screen is None:
            self._screen = self._new_screen()
        label = self._label(run.agent) if self._open else ""
        self._open[run.run_id] = label
        return _Shown(self, View(self._screen, run, level=self._level, label=label), run.run_id)

    def with_argument(self, argument: str, /) -> ConsoleSink:
        """The sink that says less (`quiet`) or more (`verbose`).

        Raises:
            ConfigError: The argument is neither.
        """
        level = next((level for level in get_args(Level) if level == argument), None)
        if level is None:
            raise ConfigError(
                f"the sink 'console' does not know {argument!r}; write 'console:quiet' or 'console:verbose', "
                f"or 'console' alone"
            )
        return ConsoleSink(
            stdout=self._stdout,
            stderr=self._stderr,
            answer=self._to,
            level=level,
            on_broken_pipe=self._on_broken_pipe,
        )

    def _new_screen(self) -> Screen:
        stdout, stderr = self._stdout or sys.stdout, self._stderr or sys.stderr
        return Screen.on({"stdout": stdout, "stderr": stderr, "none": None}[self._to], stderr)

    def _label(self, agent: str) -> str:
        names = (f"[{agent}{f' {number}' if number > 1 else ''}] " for number in itertools.count(1))
        taken = set(self._open.values())
        return next(name for name in names if name not in taken)

    def _broken(self, error: BrokenPipeError) -> bool:
        """Whether somebody was told that a stream is broken, now or before; nothing is to be shown then."""
        if self._on_broken_pipe is None:
            return False
        if not self._gone:
            self._gone = True
            self._on_broken_pipe(error)
        return True

    def _closed(self, run_id: str) -> None:
        del self._open[run_id]
        if self._screen is not None and not self._open:
            screen, self._screen = self._screen, None
            screen.close()


class _Unseen:
    """Shows nothing."""

    def emit(self, event: Event, /) -> None:
        """Take one event."""

    def close(self) -> None:
        """Do nothing."""


class _Shown:
    """Shows one run."""

    def __init__(self, sink: ConsoleSink, view: View, run_id: str) -> None:
        self._sink = sink
        self._view = view
        self._run_id = run_id

    def emit(self, event: Event, /) -> None:
        """Show one event, at once.

        Raises:
            BrokenPipeError: Whoever read a stream is gone, and the sink has no `on_broken_pipe`.
        """
        if self._sink._gone:  # noqa: SLF001 - two halves of one thing
            return
        try:
            self._view.show(event)
        except BrokenPipeError as error:
            if not self._sink._broken(error):  # noqa: SLF001 - as above
                raise

    def close(self) -> None:
        """Leave the terminal as it was found: no live lines, no open line."""
        try:
            try:
                self._view.close()
            finally:
                self._sink._closed(self._run_id)  # noqa: SLF001 - as above
        except BrokenPipeError as error:
            if not self._sink._broken(error):  # noqa: SLF001 - as above
                raise
