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


def kill_one(victims: subprocess.Popen[bytes], *, backend: str, fsync: str, path: Path, after: int) -> int:
    """Let a writer write, kill it after so many acknowledgements; the last `seq` that it acknowledged."""
    victims.stdin.write(f"{backend} {fsync} {path}\n".encode())
    victims.stdin.flush()
    told: dict[bytes, list[int]] = {b"pid": [], b"seq": []}
    while not told[b"pid"] or len(told[b"seq"]) < after:
        what, number = victims.stdout.readline().split()
        told[what].append(int(number))
    os.kill(told[b"pid"][0], signal.SIGKILL)
    while (line := victims.stdout.readline()) != b"end\n":
        told[b"seq"].append(int(line.split()[1]))
    return told[b"seq"][-1]


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
    assert [torn.data for torn in journal.torn if torn.line == len(lines)] == [line for line in lines[-1:] if line]


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
        acknowledged = kill_one(victims, backend=backend, fsync=fsync, path=path, after=after)
        check(path, acknowledged, kill % PER_FILE + 1)
