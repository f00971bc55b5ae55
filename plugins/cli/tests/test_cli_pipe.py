"""Readers who leave, disks that are full, streams that were never there."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest


def shell(becket: Any, line: str) -> subprocess.CompletedProcess[str]:
    """What bash makes of a line; `becket` in it is the command."""
    becket.env["PATH"] = f"{Path(becket.path).parent}:{becket.env['PATH']}"
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=False, env=becket.env, timeout=60
    )


@pytest.mark.parametrize("more", ["", "--json", "-q"])
def test_a_reader_who_leaves_ends_the_run_quietly(becket: Any, more: str) -> None:
    ended = shell(becket, f'becket run {more} -m fake:lines hi 2>err | head -n 1; echo "${{PIPESTATUS[0]}}"; cat err; rm err')
    first, code, *said = ended.stdout.splitlines()
    assert first == "line 0" or "run_started" in first
    assert code == "141"
    assert "Exception ignored" not in "\n".join(said)
    assert "BrokenPipe" not in "\n".join(said)
    assert "Traceback" not in "\n".join(said)


def test_a_reader_of_both_streams_who_leaves_ends_the_run_quietly(becket: Any) -> None:
    ended = shell(becket, 'becket run -m fake:lines hi 2>&1 | head -n 1; echo "${PIPESTATUS[0]}"')
    assert ended.stdout.splitlines()[-1] == "141"
    assert ended.stderr == ""


@pytest.mark.parametrize("command", ["plugins", "tools --json", "--help", "--version"])
def test_a_reader_who_never_came_is_no_error_worth_a_page(becket: Any, command: str) -> None:
    ended = shell(becket, f'becket {command} | true; echo "${{PIPESTATUS[0]}}"')
    assert ended.stdout.strip() in {"141", "0"}  # 0 where it had written before `true` was gone
    assert ended.stderr == ""


@pytest.mark.parametrize("command", ["run -m fake:hello -q hi", "run --json -q -m fake:hello hi", "models", "--version"])
def test_a_full_disk_is_said_and_is_a_failure(becket: Any, command: str) -> None:
    ended = shell(becket, f"becket {command} >/dev/full")
    assert ended.returncode == 1
    assert ended.stderr == "becket: standard output cannot be written: No space left on device\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_does_not_stop_a_run(becket: Any, closed: str) -> None:
    ended = shell(becket, f"becket run -m fake:printer hi {closed}")
    assert ended.returncode == 0
    assert ended.stdout == ("" if ">&-" in closed.replace("2>&-", "") else "done\n")
    assert "Traceback" not in ended.stderr
