"""A real terminal device, with both streams on it as a shell sets them up."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import TYPE_CHECKING

import pytest

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals", allow_module_level=True)

import pty
import subprocess
import termios

import pyte
from becket_console import ConsoleSink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from becket import Event


class Pty:
    """A pseudo-terminal of some width, and what came out of it."""

    def __init__(self, columns: int, lines: int) -> None:
        self._master, self._slave = pty.openpty()
        termios.tcsetwinsize(self._slave, (lines, columns))
        self.screen = pyte.HistoryScreen(columns, lines, history=10_000, ratio=0.5)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        # Two streams with buffers of their own, as a process has them.
        self.stdout = os.fdopen(os.dup(self._slave), "w", encoding="utf-8")
        self.stderr = os.fdopen(os.dup(self._slave), "w", encoding="utf-8")

    def _read(self) -> None:
        judge = pyte.ByteStream(self.screen)
        with contextlib.suppress(OSError):  # Linux says EIO when the last writer is gone
            while data := os.read(self._master, 65_536):
                judge.feed(data)

    def rows(self) -> list[str]:
        """Everything that was shown; hangs up."""
        self.close()
        columns = self.screen.columns
        above = ["".join(line[column].data for column in range(columns)).rstrip() for line in self.screen.history.top]
        return "\n".join(above + [row.rstrip() for row in self.screen.display]).rstrip("\n").split("\n")

    def close(self) -> None:
        if self._slave < 0:
            return
        self.stdout.close()
        self.stderr.close()
        os.close(self._slave)
        self._slave = -1
        self._reader.join()
        os.close(self._master)


@pytest.fixture
def terminal() -> Iterator[Callable[[int], Pty]]:
    made: list[Pty] = []

    def make(columns: int) -> Pty:
        made.append(Pty(columns, 10))
        return made[-1]

    yield make
    for one in made:
        one.close()


WHOLE = [
    "run demo on scripted:echo",
    "cycle 1",
    "│ A sum.",
    "│ I know a tool.",
    "Let me compute.",
    '+ calculator(expression="42 + 7") -> 49 (0.20 s)',
    "cycle 2",
    "It is 49.",
    "done in 1.2 s, 1 tool call, 123 tokens",
]


@pytest.mark.parametrize("columns", [20, 40, 120])
def test_a_run_reads_the_same_at_every_width(
    columns: int, terminal: Callable[[int], Pty], shown: Callable[..., None], tool_run: list[Event]
) -> None:
    device = terminal(columns)
    shown(tool_run, ConsoleSink(stdout=device.stdout, stderr=device.stderr))
    wrapped = [row[start : start + columns].rstrip() for row in WHOLE for start in range(0, len(row), columns)]
    assert device.rows() == wrapped


def test_the_width_is_asked_for_again_when_the_window_changes(
    terminal: Callable[[int], Pty], at: Callable[..., Event]
) -> None:
    from becket import RunInfo, ToolCall, ToolProgress, ToolStarted

    device = terminal(60)
    run = ConsoleSink(stdout=device.stdout, stderr=device.stderr).open(RunInfo("run", "demo", "m"))
    run.emit(at(0, ToolStarted(ToolCall("c", "calculator", {"expression": "1 + 1"}))))
    termios.tcsetwinsize(device.stderr.fileno(), (10, 20))
    run.emit(at(1, ToolProgress("c", 1)))
    assert device.rows() == ["▸ calcul… 1.00 s  1"]


def test_the_reader_of_a_pipe_may_leave() -> None:
    """`program | head -1`, done as the README says: no traceback, and the exit status of a broken pipe."""
    program = (
        "import os, sys\n"
        "from becket import RunInfo, TextDelta\n"
        "from becket_console import ConsoleSink\n"
        "broken = []\n"
        "run = ConsoleSink(on_broken_pipe=broken.append).open(RunInfo('r', 'demo', 'm'))\n"
        "while not broken:\n"
        "    run.emit(TextDelta('line\\n', run_id='r'))\n"
        "run.close()\n"
        "os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())\n"
        "sys.exit(141)\n"
    )
    with subprocess.Popen(  # noqa: S603 - this very interpreter, on the text above
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "line\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 141
