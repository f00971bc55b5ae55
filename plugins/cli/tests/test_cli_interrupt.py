"""Ctrl-C: the first cancels the run, the second ends the process; nothing that a run leaves behind keeps it."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest


def test_ctrl_c_cancels_the_run_and_waits_for_the_tool_to_clean_up(becket: Any, read_until: Any) -> None:
    with becket.start("run", "-m", "fake:sleeper", "hi") as running:
        read_until(running.stderr, "SLEEPING")
        os.killpg(running.pid, signal.SIGINT)
        rest = running.stderr.read()
    assert running.returncode == 130
    assert rest.index("CLEANED UP") < rest.index("stopped: cancelled")
    assert "Traceback" not in rest


def test_ctrl_c_is_said_where_no_console_shows_it(becket: Any, read_until: Any) -> None:
    with becket.start("run", "--sink", "fake", "-m", "fake:sleeper", "hi") as running:
        read_until(running.stderr, "SLEEPING")
        os.killpg(running.pid, signal.SIGINT)
        rest = running.stderr.read()
    assert running.returncode == 130
    assert rest == "CLEANED UP\nbecket: the run stopped: cancelled\n"


def test_a_thread_that_does_not_end_does_not_keep_the_process(becket: Any, read_until: Any) -> None:
    with becket.start("run", "-m", "fake:stuck", "hi") as running:
        read_until(running.stderr, "STUCK")
        os.killpg(running.pid, signal.SIGINT)
        rest = running.stderr.read()
    assert running.returncode == 130
    assert "becket: tool 'stuck' did not end when it was cancelled" in rest


def test_a_thread_that_outlives_a_time_limit_does_not_keep_the_process(becket: Any) -> None:
    ended = becket("run", "-m", "fake:stuck", "--timeout", "0.2", "hi")
    assert ended.returncode == 4


def test_ctrl_c_is_not_lost_on_an_event_loop_that_is_blocked(becket: Any, read_until: Any) -> None:
    """Its model answers without waiting, so that the run has few turns of the loop left."""
    with becket.start("run", "-m", "fake:napper", "hi") as running:
        read_until(running.stderr, "NAPPING")
        os.killpg(running.pid, signal.SIGINT)
        answer = running.stdout.read()
        rest = running.stderr.read()
    assert (running.returncode, answer) == (130, "")
    assert "stopped: cancelled" in rest


def test_ctrl_c_after_the_answer_is_still_the_end(becket: Any, read_until: Any) -> None:
    becket.env["FAKE_CLOSE"] = "hangs"
    with becket.start("run", "-q", "-m", "fake:hello", "hi") as running:
        read_until(running.stderr, "CLOSING")
        os.killpg(running.pid, signal.SIGINT)
        rest = running.stderr.read()
    assert running.returncode == 130
    assert rest.splitlines()[-1] == "becket: interrupted"


@pytest.mark.parametrize("model", ["fake:quitter", "fake:threaded_quitter"])
def test_a_tool_that_raises_what_ctrl_c_raises_ends_the_run_without_a_page(becket: Any, model: str) -> None:
    ended = becket("run", "-q", "-m", model, "hi")
    assert (ended.returncode, ended.stdout) == (130, "")
    assert ended.stderr.splitlines()[-1] == "becket: interrupted"
    assert "Traceback" not in ended.stderr


def test_a_second_ctrl_c_ends_a_run_that_takes_its_time_to_clean_up(becket: Any, read_until: Any) -> None:
    with becket.start("run", "-m", "fake:stubborn", "hi") as running:
        read_until(running.stderr, "RUNNING")
        os.killpg(running.pid, signal.SIGINT)
        read_until(running.stderr, "NOT YET")
        os.killpg(running.pid, signal.SIGINT)
        rest = running.stderr.read()
    assert running.returncode == 130
    assert rest == ""


def test_a_second_ctrl_c_ends_a_run_whose_event_loop_is_blocked(becket: Any, read_until: Any) -> None:
    with becket.start("run", "-m", "fake:blocker", "hi") as running:
        read_until(running.stderr, "BLOCKING")
        # Of two signals that are pending at once one is lost, and nothing shows that the first was taken: sent again
        # until it has ended.
        while running.poll() is None:
            os.killpg(running.pid, signal.SIGINT)
        rest = running.stderr.read()
    assert running.returncode == 130
    assert rest == ""


def test_a_provider_that_does_not_close_can_be_left_with_ctrl_c(becket: Any, read_until: Any) -> None:
    becket.env["FAKE_CLOSE"] = "hangs"
    with becket.start("run", "-m", "fake:hello", "hi") as running:
        read_until(running.stderr, "CLOSING")
        while running.poll() is None:
            os.killpg(running.pid, signal.SIGINT)
    assert running.returncode == 130


def test_a_termination_cancels_the_run_too(becket: Any, read_until: Any) -> None:
    with becket.start("run", "-m", "fake:sleeper", "hi") as running:
        read_until(running.stderr, "SLEEPING")
        running.terminate()
        rest = running.stderr.read()
    assert running.returncode == 143
    assert "CLEANED UP" in rest


def test_ctrl_c_while_the_prompt_is_awaited_says_so(becket: Any) -> None:
    """A pipe that is not closed is a prompt that has not ended."""
    read, write = os.pipe()
    with becket.start("run", "-m", "fake:hello", stdin=read) as running:
        os.close(read)
        while not _reads_from(running.pid):
            assert running.poll() is None
        os.killpg(running.pid, signal.SIGINT)
        said = running.stderr.read()
        os.close(write)
    assert running.returncode == 130
    assert said.strip() == "becket: interrupted"


def _reads_from(pid: int) -> bool:
    """Whether the process waits in a read of its standard input."""
    with open(f"/proc/{pid}/syscall", encoding="ascii") as file:  # noqa: PTH123  a file of the kernel's
        return file.read().startswith("0 0x0 ")


def test_a_process_that_was_told_to_ignore_ctrl_c_does(becket: Any, read_until: Any) -> None:
    """As `nohup` and a shell's `&` do."""
    command = f"trap '' INT; exec {becket.path} run -m fake:sleeper hi"
    with becket.start(command, program=("/bin/sh", "-c")) as running:
        read_until(running.stderr, "SLEEPING")
        os.killpg(running.pid, signal.SIGINT)
        running.terminate()
        running.stderr.read()
    assert running.returncode == 143


def test_on_a_terminal_the_answer_is_shown(on_terminal: Any) -> None:
    terminal = on_terminal("run", "-m", "fake:hello", "hi")
    assert terminal.end() == 0
    assert "Hello, world.\r\n" in terminal.seen


def test_on_a_terminal_ctrl_c_cancels_the_run(on_terminal: Any) -> None:
    terminal = on_terminal("run", "-m", "fake:sleeper", "hi")
    terminal.read_until("SLEEPING")
    terminal.type("\x03")
    assert terminal.end() == 130
    assert "CLEANED UP" in terminal.seen
    assert "stopped: cancelled" in terminal.seen


def test_on_a_terminal_a_prompt_is_asked_for(on_terminal: Any) -> None:
    terminal = on_terminal("run", "-m", "fake:hello")
    assert terminal.end() == 2
    assert "There is no prompt." in terminal.seen


def test_on_a_terminal_tables_fit(becket: Any, on_terminal: Any) -> None:
    becket.env["COLUMNS"] = "70"
    terminal = on_terminal("tools")
    assert terminal.end() == 0
    assert "calculator" in terminal.seen
    assert max(map(len, terminal.seen.splitlines())) <= 70
