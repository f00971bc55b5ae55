"""Readers who leave, disks that are full, streams that were never there."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize("more", ["", "--json", "-q"])
def test_a_reader_who_leaves_ends_the_run_quietly(becket: Any, more: str) -> None:
    ended = becket.shell(f'becket run {more} -m fake:lines hi | head -n 1; echo "${{PIPESTATUS[0]}}"')
    first, code = ended.stdout.splitlines()
    assert "run_started" in first if more == "--json" else first == "line 0"
    assert code == "141"
    said = [line.partition(" after ")[0] for line in ended.stderr.splitlines()]
    why = "stopped: cancelled (the run was cancelled)"
    assert said == ([why] if more == "-q" else ["run agent on fake:lines", "cycle 1", why])


def test_a_reader_of_both_streams_who_leaves_ends_the_run_quietly(becket: Any) -> None:
    ended = becket.shell('becket run -m fake:lines hi 2>&1 | head -n 1; echo "${PIPESTATUS[0]}"')
    assert ended.stdout.splitlines()[-1] == "141"
    assert ended.stderr == ""


@pytest.mark.parametrize("command", ["plugins", "tools --json", "--help", "--version"])
def test_a_reader_who_never_came_is_no_error_worth_a_page(becket: Any, command: str) -> None:
    ended = becket.shell(f'becket {command} | true; echo "${{PIPESTATUS[0]}}"')
    assert ended.stdout.strip() in {"141", "0"}  # 0 where it had written before `true` was gone
    assert ended.stderr == ""


@pytest.mark.parametrize(
    "command", ["run -m fake:hello -q hi", "run --json -q -m fake:hello hi", "models", "tools --json", "--version"]
)
def test_a_full_disk_is_said_and_is_a_failure(becket: Any, command: str) -> None:
    ended = becket.shell(f"becket {command} >/dev/full")
    assert ended.returncode == 1
    said = [line for line in ended.stderr.splitlines() if not line.startswith("stopped: cancelled")]
    assert said == ["becket: standard output cannot be written: No space left on device"]


@pytest.mark.parametrize("command", ["run -q -m fake:hello hi", "tools", "models --json", "--version"])
def test_a_standard_output_that_is_closed_is_said_and_is_a_failure(becket: Any, command: str) -> None:
    ended = becket.shell(f"becket {command} >&-")
    assert ended.returncode == 1
    said = [line for line in ended.stderr.splitlines() if not line.startswith("stopped: cancelled")]
    assert said == ["becket: standard output cannot be written: Bad file descriptor"]


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_a_stream_that_is_closed_does_not_stop_a_run(becket: Any, closed: str) -> None:
    ended = becket.shell(f"becket run -m fake:printer hi {closed}")
    assert ended.returncode == 0
    assert ended.stdout == "done\n"
    assert "Traceback" not in ended.stderr
