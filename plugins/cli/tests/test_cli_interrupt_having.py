"""Ctrl-C while something is installed, locked, checked or tried: the terminal sends it, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SLOW = f"""#!{sys.executable}
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
for text in ("STARTED", "CLEANING", "AGAIN"):
    print(text, flush=True)
    text == "AGAIN" or signal.sigwait([signal.SIGINT])
open(os.path.join(os.path.dirname(__file__), "gate")).readline()
print("CLEANED", flush=True)
raise SystemExit(1)
"""
"""An installer that takes its time: until Ctrl-C came twice, and then until a line is in a FIFO.

It waits for the signals themselves. A handler of Python's would not run for one that comes just before a call blocks.
"""

BLOCKS = """
import os, sys
from becket import tool

@tool(effect="none")
def never() -> str:
    "Never."
    return ""

if os.path.exists({armed!r}):
    os.write(os.open("/dev/tty", os.O_WRONLY), b"IMPORTING\\n")
    while True:
        pass
"""
"""A plugin whose import does not end once a file is there. It is busy, so that no signal finds it about to block."""


@pytest.fixture
def slow_uv(becket: Any, tmp_path: Path) -> Iterator[int]:
    """An installer that waits; a line that is written here lets it end."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "uv").write_text(SLOW, encoding="utf-8")
    (folder / "uv").chmod(0o755)
    os.mkfifo(folder / "gate")
    becket.env["PATH"] = f"{folder}{os.pathsep}{becket.env['PATH']}"
    del becket.env["PYTHONWARNINGS"]  # those of the installer are not ours
    gate = os.open(folder / "gate", os.O_RDWR)  # also for reading, so that nobody waits for who has died
    yield gate
    os.close(gate)


@pytest.mark.parametrize("command", [("install", "becket-rain"), ("uninstall", "slow")])
def test_an_installer_cleans_up_however_often_ctrl_c_is_pressed(
    becket: Any, on_terminal: Any, slow_uv: int, command: tuple[str, str]
) -> None:
    becket.install("slow", "")
    terminal = on_terminal(*command)
    terminal.read_until("STARTED")
    terminal.type("\x03")
    terminal.read_until("CLEANING")
    terminal.type("\x03")
    terminal.read_until("AGAIN")
    os.write(slow_uv, b"\n")
    assert terminal.end() == 130
    assert terminal.seen.index("CLEANED") < terminal.seen.index("becket: interrupted")
    assert "Traceback" not in terminal.seen


def test_without_a_terminal_the_installer_is_told(becket: Any, slow_uv: int, read_until: Any) -> None:
    """A signal that was sent to becket alone, such as by a supervisor."""
    with becket.start("install", "becket-rain", start_new_session=True, process_group=None) as running:
        read_until(running.stdout, "STARTED")
        os.kill(running.pid, signal.SIGINT)
        read_until(running.stdout, "CLEANING")
        os.kill(running.pid, signal.SIGINT)
        read_until(running.stdout, "AGAIN")
        os.write(slow_uv, b"\n")
        assert "CLEANED" in running.stdout.read()
        assert running.stderr.read().splitlines()[-1] == "becket: interrupted"
    assert running.returncode == 130


@pytest.mark.parametrize(
    "command",
    [
        ("lock", "LOCK"),
        ("plugins",),
        ("doctor",),
        ("check", "becket_slow"),
        ("dev", "FILE", "--", "tools"),
        ("dev", "--watch", "FILE", "--", "tools"),
    ],
    ids=" ".join,
)
def test_an_import_that_does_not_end_can_be_left(
    becket: Any, on_terminal: Any, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """With the exit code of Ctrl-C, in a line, and with no file half written."""
    lock, armed = tmp_path / "becket.lock", tmp_path / "armed"
    source = BLOCKS.format(armed=str(armed))
    becket.install("slow", source)
    (tmp_path / "tried.py").write_text(source)
    armed.touch()
    names = {"LOCK": str(lock), "FILE": str(tmp_path / "tried.py")}
    becket.env["BECKET_CACHE"] = "0"
    terminal = on_terminal(*(names.get(part, part) for part in command))
    terminal.read_until("IMPORTING")
    before = {path.name for path in tmp_path.iterdir()}
    terminal.type("\x03")
    assert terminal.end() == 130, terminal.seen
    assert terminal.seen.splitlines()[-1] == "becket: interrupted"
    assert terminal.seen.count("interrupted") == 1
    assert "Traceback" not in terminal.seen
    assert not {path.name for path in tmp_path.iterdir()} - before
