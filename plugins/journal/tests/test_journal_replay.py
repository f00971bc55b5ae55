"""`becket replay`: recorded events in any sink, as they were."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import anyio
import pytest
from becket import BecketError, PluginError, RunInfo, TextDelta
from becket.testing import BatchListSink, ListSink
from becket_journal import Journal, JournalSink, read_journal
from becket_journal._format import HEADER
from becket_journal._replay import feed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from becket import Event

    Nested = Callable[[JournalSink, JournalSink], Awaitable[list[Event]]]
    Recorded = Callable[..., Awaitable[list[Event]]]
    RecordedOnce = Callable[[JournalSink], list[Event]]


def becket(*arguments: object, **more: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "becket_cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, timeout=60, **more)  # noqa: S603  our own command


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [ListSink, BatchListSink])
async def test_a_sink_sees_what_it_would_have_seen(
    journal: Path, recorded: Recorded, kind: type[ListSink | BatchListSink]
) -> None:
    events = await recorded(JournalSink(journal)) + await recorded(JournalSink(journal))
    sink = kind()
    await feed(read_journal(journal), [sink])
    seen = sink.events if isinstance(sink, ListSink) else [event for batch in sink.batches for event in batch]
    assert seen == events
    assert sink.opened[0] == RunInfo(events[0].run_id, "agent", "scripted:model")
    assert (len(sink.opened), sink.closed) == (2, 2)


@pytest.mark.anyio
async def test_nested_runs_are_seen_by_the_sink_of_their_root(journal: Path, nested: Nested) -> None:
    below = journal.with_name("below.jsonl")
    events = await nested(JournalSink(journal), JournalSink(below))
    sink = ListSink()
    await feed(read_journal(journal), [sink])
    assert sink.events == events
    assert (len(sink.opened), sink.closed) == (1, 1)


@pytest.mark.anyio
async def test_a_journal_of_nested_runs_alone_has_no_gaps_and_an_end_for_each(journal: Path, nested: Nested) -> None:
    below = journal.with_name("below.jsonl")
    events = await nested(JournalSink(journal), JournalSink(below))
    for path, count in ((journal, len(events)), (below, len([e for e in events if e.parent_run_id]))):
        read_back = Journal(path)
        assert len(list(read_back)) == count
        assert (read_back.torn, read_back.gaps, read_back.unfinished) == ([], [], [])
    sink = ListSink()
    await feed(read_journal(below), [sink])
    assert [run.agent for run in sink.opened] == ["sub", "sub"]
    assert sink.closed == 2


@pytest.mark.anyio
async def test_a_run_that_has_no_end_is_closed(journal: Path) -> None:
    sink = ListSink()
    await feed([TextDelta("a", run_id="r")], [sink])
    assert sink.closed == 1
    assert sink.opened == [RunInfo("r", "unknown", "unknown:unknown")]


@pytest.mark.anyio
async def test_a_sink_that_fails_is_named(journal: Path) -> None:
    def fail(event: Event) -> None:
        raise ValueError("no")

    sink = ListSink(fail=fail)
    with pytest.raises(PluginError, match="the sink 'list' failed at event 7: ValueError: no"):
        await feed([TextDelta("a", run_id="r", seq=7)], [sink])
    assert sink.closed == 1


def test_a_damaged_journal_is_shown_first(journal: Path, recorded_once: RecordedOnce) -> None:
    events = recorded_once(JournalSink(journal))
    journal.write_bytes(journal.read_bytes().replace(b'"cycle_started"', b"oh"))
    sink = ListSink()
    with pytest.raises(BecketError, match="damaged"):
        anyio.run(feed, read_journal(journal), [sink])
    assert len(sink.events) == len([event for event in events if event.type != "cycle_started"])


def test_the_console_shows_the_answer(journal: Path, recorded_once: RecordedOnce) -> None:
    recorded_once(JournalSink(journal))
    done = becket("replay", journal)
    assert (done.returncode, done.stdout.decode().splitlines()[0]) == (0, "It is 3 é æ")
    assert b"add" in done.stderr


def test_json_prints_the_lines_as_they_are(journal: Path, recorded_once: RecordedOnce) -> None:
    recorded_once(JournalSink(journal))
    done = becket("replay", "--json", journal)
    assert (done.returncode, HEADER + done.stdout) == (0, journal.read_bytes())


def test_a_journal_replayed_into_itself_is_doubled_and_ends(journal: Path, recorded_once: RecordedOnce) -> None:
    events = recorded_once(JournalSink(journal))
    assert becket("replay", journal, "--sink", f"journal:{journal}").returncode == 0
    assert list(read_journal(journal)) == events * 2


def test_what_is_lost_is_said(journal: Path, recorded_once: RecordedOnce) -> None:
    recorded_once(JournalSink(journal))
    journal.write_bytes(journal.read_bytes()[:-9])
    done = becket("replay", "--json", journal)
    assert done.returncode == 0
    assert b"is torn: its event was lost" in done.stderr
    assert b"has no end" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_a_reader_who_has_gone_ends_it_quietly(journal: Path, recorded_once: RecordedOnce) -> None:
    recorded_once(JournalSink(journal))
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(  # noqa: S603  our own command
        [sys.executable, "-m", "becket_cli", "replay", "--json", journal],
        stdout=theirs,
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    os.close(theirs)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_file_that_is_not_there_is_one_message(journal: Path) -> None:
    done = becket("replay", journal)
    assert (done.returncode, done.stdout) == (3, b"")
    assert done.stderr.count(b"\n") == 1
    assert b"there is no such file; mend the path" in done.stderr
    assert b"create" not in done.stderr


def test_a_file_that_is_no_journal_is_one_message(journal: Path) -> None:
    journal.write_bytes(b"hello\n")
    done = becket("replay", journal)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert b"is not a journal" in done.stderr


def test_the_import_of_the_plugin_is_cheap() -> None:
    script = (
        "import sys, becket; before = set(sys.modules); import becket_journal; "
        "print({'click', 'pydantic', 'logging', 'asyncio'} & (set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603  ours
    assert done.stdout.strip() == "set()"
