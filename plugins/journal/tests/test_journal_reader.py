"""Reading back: every event that is whole, and a word about what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from becket import (
    AgentResult,
    ConfigError,
    RunFinished,
    TextDelta,
    UnknownEvent,
    event_from_json,
)
from becket_journal import Gap, Journal, JournalError, read_journal
from becket_journal._format import HEADER
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = [
    *(TextDelta(text, run_id="r", seq=seq) for seq, text in enumerate(["one", 'æ {"run_id":', "\n\u2028"], 1)),
    RunFinished(AgentResult("end_turn"), run_id="r", seq=4),
]
LINES = [event.to_json() + b"\n" for event in EVENTS]


def read(path: Path, *parts: bytes) -> tuple[list[int], Journal]:
    path.write_bytes(b"".join(parts))
    journal = Journal(path)
    return [event.seq for event in journal], journal


def read_with_error(path: Path, *parts: bytes) -> tuple[list[int], str]:
    """What is read before the error, and the error."""
    path.write_bytes(b"".join(parts))
    events, seqs = read_journal(path), []
    with pytest.raises(JournalError) as caught:
        while True:
            seqs.append(next(events).seq)
    return seqs, str(caught.value)


def test_a_whole_journal_has_nothing_to_report(journal: Path) -> None:
    seqs, read_back = read(journal, HEADER, *LINES)
    assert seqs == [1, 2, 3, 4]
    assert (read_back.torn, read_back.gaps, read_back.unfinished) == ([], [], [])


@given(st.integers(min_value=0))
def test_a_journal_cut_anywhere_gives_every_whole_event(tmp_path_factory: pytest.TempPathFactory, at: int) -> None:
    whole = HEADER + b"".join(LINES)
    at %= len(whole) + 1
    seqs, journal = read(tmp_path_factory.mktemp("cut") / "runs.jsonl", whole[:at])
    complete = whole[:at].count(b"\n")
    last = whole[:at].rpartition(b"\n")[2]
    if whole[at : at + 1] == b"\n" and complete:  # only the newline is missing: the event is whole
        assert len(seqs) == complete
        assert journal.torn == []
    elif at != len(HEADER) - 1:
        assert len(seqs) == max(complete - 1, 0)
        assert [torn.data for torn in journal.torn] == ([last] if last else [])


@given(st.integers(min_value=1), st.integers(min_value=0, max_value=3))
def test_a_line_appended_to_a_torn_one_is_read(tmp_path_factory: pytest.TempPathFactory, at: int, which: int) -> None:
    """Another process goes on writing, and cannot know that a writer has died in the middle of a line."""
    piece = LINES[which][: at % (len(LINES[which]) - 1)]
    seqs, journal = read(tmp_path_factory.mktemp("joined") / "runs.jsonl", HEADER, LINES[0], piece, *LINES[1:])
    assert seqs == [1, 2, 3, 4]
    assert [torn.data for torn in journal.torn] == ([piece] if piece else [])


def test_zeros_that_a_power_cut_has_left_are_a_torn_line(journal: Path) -> None:
    seqs, read_back = read(journal, HEADER, LINES[0], b"\0" * 99, b"\n", b"\0" * 99, LINES[1], LINES[2][:9], b"\0" * 9)
    assert seqs == [1, 2]
    assert len(read_back.torn) == 3


def test_a_gap_is_noted(journal: Path) -> None:
    assert read(journal, HEADER, LINES[0], *LINES[3:])[1].gaps == [Gap("r", 1, 4)]


def test_a_run_without_an_end_is_named(journal: Path) -> None:
    assert read(journal, HEADER, *LINES[:-1])[1].unfinished == ["r"]


def test_an_empty_file_is_an_empty_journal(journal: Path) -> None:
    assert read(journal, b"")[0] == []


def test_the_output_of_becket_run_json_is_read(journal: Path) -> None:
    assert read(journal, *LINES)[0] == [1, 2, 3, 4]


def test_journals_joined_with_cat_are_one(journal: Path) -> None:
    assert read(journal, HEADER, *LINES, HEADER, *LINES)[0] == [1, 2, 3, 4, 1, 2, 3, 4]


def test_a_type_that_is_not_known_is_an_event_all_the_same(journal: Path) -> None:
    journal.write_bytes(HEADER + b'{"run_id":"r","seq":9,"type":"later","new":1}\n')
    (event,) = read_journal(journal)
    assert isinstance(event, UnknownEvent)
    assert (event.name, event.seq) == ("later", 9)


def test_the_header_does_not_trouble_who_reads_lines(journal: Path) -> None:
    assert isinstance(event_from_json(HEADER), UnknownEvent)


def test_damage_is_an_error_after_all_events(journal: Path) -> None:
    seqs, error = read_with_error(journal, HEADER, LINES[0], LINES[1][40:], *LINES[2:])
    assert seqs == [1, 3, 4]
    assert "is damaged: 1 of its lines are no events (3)" in error
    assert "restore the file from a copy" in error


def test_a_newer_version_is_an_error_after_all_events(journal: Path) -> None:
    seqs, error = read_with_error(journal, HEADER.replace(b"1", b"2"), *LINES)
    assert seqs == [1, 2, 3, 4]
    assert "version 2, and this becket-journal knows 1; upgrade becket-journal" in error


@pytest.mark.parametrize(
    "content", [b"\x1f\x8b\x08\0\n", b"hello\n", b'{"type":"other"}\n', b"[1]\n", b"{}\n", b"hello"]
)
def test_what_is_not_a_journal_is_said(journal: Path, content: bytes) -> None:
    seqs, error = read_with_error(journal, content, *LINES)
    assert seqs == []
    assert "is not a journal: it begins with" in error


def test_a_file_that_is_not_there_is_said(journal: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        list(read_journal(journal))


def test_a_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it is a folder"):
        list(read_journal(tmp_path))


def test_it_can_be_read_twice(journal: Path) -> None:
    _, read_back = read(journal, HEADER, LINES[0], LINES[1][:9])
    assert [event.seq for event in read_back] == [1]
    assert len(read_back.torn) == 1
