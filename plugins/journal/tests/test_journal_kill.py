"""kill -9 at any point: what was acknowledged is there, every whole line is an event, and one at most is torn."""

from __future__ import annotations

import os
import random
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from becket_journal import Journal

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no fork, no SIGKILL")

KILLS = 100
PER_FILE = 4
"""Writers that are killed in one file, one after the other: each but the first begins behind a torn line, or not."""


def kill_one(victims: subprocess.Popen[bytes], path: Path, *, after: int, backend: str, fsync: str) -> int:
    """Let a writer write, kill it after so many acknowledgements; the last `seq` that it acknowledged."""
    told = begin(victims, path, backend, fsync)
    while not told[b"pid"] or len(told[b"seq"]) < after:
        listen(victims, told)
    os.kill(told[b"pid"][0], signal.SIGKILL)
    while listen(victims, told):
        pass
    return told[b"seq"][-1]


def begin(
    victims: subprocess.Popen[bytes], path: Path, backend: str, fsync: str, limit: int = 0
) -> dict[bytes, list[int]]:
    """Start a writer; see journal_victim.py."""
    victims.stdin.write(f"{backend} {fsync} {limit} {path}\n".encode())
    victims.stdin.flush()
    return {b"pid": [], b"seq": []}


def listen(victims: subprocess.Popen[bytes], told: dict[bytes, list[int]]) -> bool:
    """Take one line; False where the writer is dead."""
    what, *number = victims.stdout.readline().split()
    if what != b"end":
        told[what].append(int(number[0]))
    return what != b"end"


def check(path: Path, acknowledged: int, dead: int) -> None:
    """The journal of so many killed writers, the last of which has acknowledged its events up to one."""
    journal = Journal(path)
    runs: dict[str, list[int]] = {}
    for event in journal:
        runs.setdefault(event.run_id, []).append(event.seq)
    assert len(runs) == dead == len(journal.unfinished)
    for seqs in runs.values():
        assert seqs == list(range(1, len(seqs) + 1))
    assert len(seqs) >= acknowledged
    assert len(journal.torn) <= dead
    lines = path.read_bytes().split(b"\n")
    assert [torn.data for torn in journal.torn if torn.line == len(lines)] == [
        line
        for line in lines[-1:]
        if line and not line.endswith(b"}")  # a whole event that only lacks its line break
    ]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("fsync", ["never", "batch", "always"])
def test_a_killed_writer_has_lost_nothing_that_it_acknowledged(
    victims: subprocess.Popen[bytes], tmp_path: Path, backend: str, fsync: str
) -> None:
    """With `never`, acknowledged means that the run's reader had the event; else, that `emit_batch` had returned."""
    chance = random.Random(KILLS)  # noqa: S311  no secret
    for kill in range(KILLS if fsync == "never" else KILLS // 2):
        path = tmp_path / f"{kill // PER_FILE}.jsonl"
        after = chance.randint(1, 120 if fsync == "never" else 4)
        acknowledged = kill_one(victims, path, after=after, backend=backend, fsync=fsync)
        check(path, acknowledged, kill % PER_FILE + 1)


def test_a_writer_killed_in_the_middle_of_a_write_leaves_one_torn_line(
    victims: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """SIGKILL hardly ever hits a write of less than megabytes, so here a limit cuts it, and the next one is the end."""
    chance = random.Random(KILLS)  # noqa: S311  no secret
    for kill in range(30):
        path = tmp_path / f"{kill}.jsonl"
        limit = chance.randint(1_000, 200_000)
        told = begin(victims, path, "asyncio", "never", limit)
        while listen(victims, told):
            pass
        check(path, told[b"seq"][-1], 1)
        assert path.stat().st_size == limit
        list(journal := Journal(path))
        assert len(journal.torn) == (not path.read_bytes().endswith((b"\n", b"}")))
