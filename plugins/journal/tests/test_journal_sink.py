"""What the sink writes, where, and what becomes of a run whose journal cannot be written."""

from __future__ import annotations

import errno
import logging
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
from becket import (
    Agent,
    BatchSinkRun,
    ConfigError,
    PluginError,
    PluginFailed,
    RunFinished,
    RunInfo,
    Runtime,
    SinkRun,
    TextDelta,
)
from becket.testing import ScriptedProvider, text
from becket_journal import Journal, JournalSink, read_journal
from becket_journal._format import HEADER, cannot_write

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from becket import Event

    Recorded = Callable[..., Awaitable[list[Event]]]

RUN = RunInfo("run", "agent", "scripted:model")
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")


def emit(sink: JournalSink, *texts: str, run: str = "run") -> None:
    """One run of these texts, without an end."""
    observer = sink.open(RUN)
    assert isinstance(observer, SinkRun)
    try:
        for seq, each in enumerate(texts, 1):
            observer.emit(TextDelta(each, run_id=run, seq=seq))
    finally:
        observer.close()


def texts(path: Path) -> list[str]:
    return [event.text for event in read_journal(path) if isinstance(event, TextDelta)]


# -- what is written ---------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("fsync", ["never", "batch", "always"])
async def test_what_is_read_back_equals_what_the_reader_got(journal: Path, recorded: Recorded, fsync: str) -> None:
    events = await recorded(JournalSink(journal, fsync=fsync))
    assert list(read_journal(journal)) == events
    assert isinstance(events[-1], RunFinished)


def test_a_line_is_the_json_of_an_event(journal: Path, recorded_once: Callable[[JournalSink], list[Event]]) -> None:
    events = recorded_once(JournalSink(journal))
    assert journal.read_bytes() == HEADER + b"".join(event.to_json() + b"\n" for event in events)


@pytest.mark.anyio
async def test_an_event_is_in_the_file_before_the_reader_has_it(journal: Path) -> None:
    agent = Agent(ScriptedProvider(text("a", "b")), sinks=[JournalSink(journal)], runtime=Runtime(discover=False))
    async with agent.stream_async("?") as events:
        async for event in events:
            assert event in list(read_journal(journal))


@pytest.mark.anyio
@pytest.mark.parametrize("fsync", ["never", "batch"])
async def test_runs_at_once_share_a_file(journal: Path, recorded: Recorded, fsync: str) -> None:
    sink = JournalSink(journal, fsync=fsync)
    runs: list[list[Event]] = []

    async def run() -> None:
        runs.append(await recorded(sink))

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(run)
    read = list(read_journal(journal))
    for events in runs:
        assert [event for event in read if event.run_id == events[0].run_id] == events


def test_the_observer_writes_at_once_unless_it_waits_for_the_disk(journal: Path) -> None:
    for fsync, kind in (("never", SinkRun), ("batch", BatchSinkRun), ("always", BatchSinkRun)):
        assert isinstance(JournalSink(journal, fsync=fsync).open(RUN), kind)


def test_threads_do_not_interleave(journal: Path) -> None:
    sink = JournalSink(journal, max_bytes=20_000)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda run: emit(sink, *(str(n) * 99 for n in range(100)), run=run), "abcd"))
    for run in "abcd":
        assert [event.seq for event in read_journal(journal) if event.run_id == run] == list(range(1, 101))


WRITER = """
import sys
from becket import RunInfo, TextDelta
from becket_journal import JournalSink
observer = JournalSink(sys.argv[1], max_bytes=int(sys.argv[3])).open(RunInfo("run", "agent", "m:m"))
for seq in range(1, 301):
    observer.emit(TextDelta(str(seq) * (9000 if seq % 50 == 0 else 9), run_id=sys.argv[2], seq=seq))
observer.close()
"""


@posix
@pytest.mark.parametrize("max_bytes", [10**9, 30_000])
def test_processes_do_not_interleave_nor_lose_lines_when_one_rotates(journal: Path, max_bytes: int) -> None:
    started = [
        subprocess.Popen([sys.executable, "-c", WRITER, journal, run, str(max_bytes)])  # noqa: S603  our own script
        for run in "abc"
    ]
    assert [process.wait(60) for process in started] == [0, 0, 0]
    read = Journal(journal)
    seqs: dict[str, list[int]] = {run: [] for run in "abc"}
    for event in read:
        seqs[event.run_id].append(event.seq)
    assert read.torn == []
    assert all(sorted(each) == list(range(1, 301)) for each in seqs.values())


# -- the file ----------------------------------------------------------------------------------------------------------


@posix
def test_nobody_else_can_ever_read_it(journal: Path) -> None:
    before = os.umask(0)
    try:
        emit(JournalSink(journal, max_bytes=100), "a" * 50, "b" * 50)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in journal.parent.iterdir()} == {0o600}
    assert len(list(journal.parent.iterdir())) == 2


@posix
def test_a_symbolic_link_is_not_followed(journal: Path) -> None:
    target = journal.with_name("target")
    journal.symlink_to(target)
    with pytest.raises(ConfigError, match=r"symbolic link, .*; give the file that it stands for"):
        JournalSink(journal).open(RUN)
    assert not target.exists()


@posix
def test_a_pipe_is_refused_without_waiting_for_a_reader(journal: Path) -> None:
    os.mkfifo(journal)
    with pytest.raises(ConfigError, match="no regular file"):
        JournalSink(journal).open(RUN)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it is a folder; give the path of a file in it"):
        JournalSink(tmp_path).open(RUN)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"create the folder '.*missing' first"):
        JournalSink(tmp_path / "missing" / "runs.jsonl").open(RUN)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="this user may not; change the rights"):
        JournalSink(tmp_path / "runs.jsonl").open(RUN)


@pytest.mark.parametrize("content", [b"#!/bin/sh\n", b"[]", b'{"type":"other"}\n', b'{"a":1}\n{"b":2}\n'])
def test_a_file_that_is_something_else_is_left_as_it_is(journal: Path, content: bytes) -> None:
    journal.write_bytes(content)
    with pytest.raises(ConfigError, match="is not a journal"):
        JournalSink(journal).open(RUN)
    assert journal.read_bytes() == content


def test_a_journal_of_a_newer_version_is_not_continued(journal: Path) -> None:
    journal.write_bytes(HEADER.replace(b"1", b"2"))
    with pytest.raises(ConfigError, match="version 2, and this becket-journal knows 1; upgrade becket-journal"):
        JournalSink(journal).open(RUN)


@pytest.mark.parametrize("kept", range(len(HEADER)))
def test_a_torn_header_is_begun_anew(journal: Path, kept: int) -> None:
    journal.write_bytes(HEADER[:kept])
    emit(JournalSink(journal), "a")
    assert texts(journal) == ["a"]


def test_a_torn_last_line_is_left_and_the_next_begins_afresh(journal: Path) -> None:
    emit(JournalSink(journal), "one", "two")
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-20])
    emit(JournalSink(journal), "three")
    read = Journal(journal)
    assert [event.text for event in read] == ["one", "three"]
    (torn,) = read.torn
    assert (torn.line, torn.data) == (3, whole.splitlines()[2][:-19])


@posix
def test_a_file_that_was_moved_away_is_begun_anew_by_the_next_run(journal: Path) -> None:
    sink = JournalSink(journal)
    first = sink.open(RUN)
    journal.rename(journal.with_name("moved"))
    emit(sink, "a")
    assert texts(journal) == ["a"]
    first.close()


# -- rotation ----------------------------------------------------------------------------------------------------------


def test_files_moved_aside_are_read_first(journal: Path) -> None:
    emit(JournalSink(journal, max_bytes=500), *map(str, range(60)))
    assert journal.with_name("runs.jsonl.10").exists()
    assert max(path.stat().st_size for path in journal.parent.iterdir()) <= 500
    assert texts(journal) == [str(number) for number in range(60)]


def test_no_more_files_are_kept_than_asked_for(journal: Path) -> None:
    emit(JournalSink(journal, max_bytes=500, keep=2), *map(str, range(40)))
    assert len(list(journal.parent.iterdir())) == 3
    assert texts(journal)[-1] == "39"


def test_an_event_larger_than_a_file_has_one_of_its_own(journal: Path) -> None:
    emit(JournalSink(journal, max_bytes=500), "a", "b" * 5000, "c")
    assert texts(journal) == ["a", "b" * 5000, "c"]


def test_a_journal_that_cannot_be_rotated_grows_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / ("x" * 254)  # with `.1` behind it, longer than a name may be
    emit(JournalSink(path, max_bytes=500), *map(str, range(40)))
    assert texts(path) == [str(number) for number in range(40)]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


# -- failures ----------------------------------------------------------------------------------------------------------

FULL = """
import resource, sys
import anyio
from becket import Agent, PluginFailed, RunFailed, RunFinished, Runtime
from becket.testing import ScriptedProvider, text
from becket_journal import JournalSink

async def main():
    sink = JournalSink(sys.argv[1], required=sys.argv[2] == "required", fsync=sys.argv[3])
    agent = Agent(ScriptedProvider(text(*["some text"] * 100)), sinks=[sink], runtime=Runtime(discover=False))
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
    try:
        async with agent.stream_async("?") as events:
            async for event in events:
                if isinstance(event, PluginFailed | RunFailed | RunFinished):
                    print(event.type, getattr(event, "error", ""))
    except Exception as error:
        print(type(error).__name__, error.plugin)

anyio.run(main)
"""


def run_on_a_full_disk(path: Path, required: str, fsync: str) -> list[str]:
    """What is printed by a process whose files may have 3000 bytes: a real write that is cut short, then a refusal."""
    done = subprocess.run(  # noqa: S603  our own script
        [sys.executable, "-c", FULL, path, required, fsync], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.splitlines()


@posix
@pytest.mark.parametrize("fsync", ["never", "always"])
def test_the_run_goes_on_without_a_journal_that_is_full(journal: Path, fsync: str) -> None:
    failed, ended = run_on_a_full_disk(journal, "optional", fsync)
    assert failed.startswith("plugin_failed")
    assert "cannot be written, and has no more of this run: the file may grow no more" in failed
    assert ended.startswith("run_finished")
    read = Journal(journal)
    assert [event.seq for event in read] == list(range(1, len(list(read)) + 1))
    assert len(read.torn) == 1


@posix
@pytest.mark.parametrize("fsync", ["never", "always"])
def test_a_required_journal_that_is_full_fails_the_run(journal: Path, fsync: str) -> None:
    ended, error = run_on_a_full_disk(journal, "required", fsync)
    assert ended.startswith("run_failed")
    assert error == "PluginError journal"


@pytest.mark.anyio
async def test_the_run_goes_on_without_a_journal_that_cannot_be_opened(
    tmp_path: Path, recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.CRITICAL):
        events = await recorded(JournalSink(tmp_path))
    (failed,) = [event for event in events if isinstance(event, PluginFailed)]
    assert "it is a folder" in failed.error
    assert isinstance(events[-1], RunFinished)


@pytest.mark.anyio
async def test_a_required_journal_that_cannot_be_opened_fails_the_run(tmp_path: Path, recorded: Recorded) -> None:
    with pytest.raises(PluginError, match="it is a folder"):
        await recorded(JournalSink(tmp_path, required=True))


def test_a_failure_is_logged_though_the_run_may_be_over(journal: Path, caplog: pytest.LogCaptureFixture) -> None:
    observer = JournalSink(journal).open(RUN)
    observer.emit(TextDelta("a"))
    os.close(observer._file._fd)  # the device is gone, as far as a test can say so
    for _ in range(2):
        with pytest.raises(PluginError, match="has no more of this run"):
            observer.emit(TextDelta("b"))
    assert [record.name for record in caplog.records] == ["becket.journal"]
    observer._file._fd = os.open(os.devnull, os.O_RDONLY)
    observer.close()


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EDQUOT, "the quota of this user is used up"),
        (errno.EIO, "look after the disk"),
        (errno.EPIPE, "roken pipe; mend that, or give another path"),
    ],
)
def test_an_error_says_what_to_do(number: int, advice: str) -> None:
    error = cannot_write(Path("runs.jsonl"), OSError(number, os.strerror(number)))
    assert "runs.jsonl" in str(error)
    assert advice in str(error)


# -- by name -----------------------------------------------------------------------------------------------------------


def test_it_is_found_by_its_name(journal: Path) -> None:
    sink = Runtime(allow=["journal"]).sink(f"journal:{journal},required,max_bytes=500,keep=3")
    assert sink.required
    emit(sink, *map(str, range(40)))
    assert len(list(journal.parent.iterdir())) == 4


def test_fsync_can_be_chosen_by_name(journal: Path) -> None:
    assert isinstance(JournalSink().with_argument(f"{journal},fsync=batch").open(RUN), BatchSinkRun)


def test_without_a_path_the_run_fails() -> None:
    assert JournalSink().required
    with pytest.raises(ConfigError, match="write 'journal:PATH'"):
        JournalSink().open(RUN)


@pytest.mark.parametrize("argument", ["", ",required", "x,requird", "x,keep=0", "x,keep=-1", "x,fsync=maybe", "x,"])
def test_an_argument_that_is_none_is_refused(argument: str) -> None:
    with pytest.raises(ConfigError):
        JournalSink().with_argument(argument)


def test_a_relative_path_is_that_of_when_the_sink_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sink = JournalSink("runs.jsonl")
    monkeypatch.chdir("/")
    emit(sink, "a")
    assert texts(tmp_path / "runs.jsonl") == ["a"]
