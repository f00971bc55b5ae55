"""Reading a journal back: every event that is whole, and then what was not."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from becket import ProtocolError, UnknownEvent, event_from_json

from becket_journal._file import pieces
from becket_journal._format import (
    JournalError,
    as_header,
    cannot_read,
    is_beginning,
    not_a_journal,
    version_problem,
)
from becket_journal._roots import Roots

if TYPE_CHECKING:
    from collections.abc import Iterator

    from becket import Event

__all__ = ["Gap", "Journal", "Torn", "read_journal"]

_SHOWN: Final = 3
"""Lines that an error lists."""


@dataclass(frozen=True, slots=True)
class Torn:
    """The beginning of a line whose writer did not get further: it was killed, or the disk was full.

    Attributes:
        path: The file.
        line: The line in it, from 1.
        data: What there is of it.
    """

    path: Path
    line: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Gap:
    """Events of a run that are not there, between two that are.

    Attributes:
        run_id: The run.
        after: The `seq` of the event before the gap.
        before: That of the event behind it.
    """

    run_id: str
    after: int
    before: int


class Journal:
    """A journal to iterate over: the events of all its runs as they were written, those in rotated files first.

    Each iteration reads the files anew, as far as they go when it comes to them; a writer may be at work. It holds one
    event at a time. Files without a header are read, too, if they begin with an event: the output of
    `becket run --json`, or a piece of a journal.

    Args:
        path: The file that the sink `journal` was given.

    Attributes:
        path: The same.
        torn: The torn lines that the last iteration has met. They are no error: at most one event is missing for each.
        gaps: The gaps that the last iteration has met. A killed writer leaves none: somebody has taken lines away, or
            a run that shares its numbers with one nested in it was recorded without that.
        unfinished: The runs that the last iteration has seen events of, but no end, by their ids.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self.torn: list[Torn] = []
        self.gaps: list[Gap] = []
        self.unfinished: list[str] = []

    def __iter__(self) -> Iterator[Event]:
        """The events.

        Raises:
            ConfigError: There is no such file, or it cannot be read.
            JournalError: It is no journal, or of a newer version, or damaged; after every event that could be read.
        """
        self.torn, self.gaps, self.unfinished = [], [], []
        problems: list[str] = []
        last: dict[str, int] = {}
        roots = Roots()
        there = pieces(self.path)
        for path in [*there, self.path] if self.path.exists() or not there else there:
            for event in self._events_of(path, problems):
                self._follow(event, last, roots)
                yield event
        self.unfinished = list(last)
        if problems:
            raise JournalError("; ".join(problems))

    def _follow(self, event: Event, last: dict[str, int], roots: Roots) -> None:
        """Note whether an event is missing before this one; `last` has that of each root run with no end yet.

        A nested run whose root was not recorded has gaps by its nature: what the others have said in between.
        """
        root = roots.root(event)
        before = last.get(root, event.seq)
        if event.seq > before + 1 and (event.parent_run_id is None or root != event.run_id):
            self.gaps.append(Gap(root, before, event.seq))
        last[root] = event.seq
        if roots.is_end(event):
            del last[root]

    def _events_of(self, path: Path, problems: list[str]) -> Iterator[Event]:
        """The events of one file; adds what is wrong with it."""
        damaged: list[int] = []
        begun = False
        for number, line in _lines(path):
            if not line.strip(b"\r\n"):
                continue
            header = as_header(line)
            if header is not None:
                if (problem := version_problem(header)) is not None:
                    problems.append(f"the journal {str(path)!r} may be more than what could be read of it: {problem}")
                begun = True
                continue
            event = _event(line)
            if not begun and not _may_begin(line, event):
                problems.append(str(not_a_journal(path, line)))
                return
            begun = True
            if event is None:
                event = self._salvaged(path, number, line, damaged)
            if event is not None:
                yield event
        if damaged:
            problems.append(_damage(path, damaged))

    def _salvaged(self, path: Path, number: int, line: bytes, damaged: list[int]) -> Event | None:
        """The event that another writer has appended to a torn line, or None."""
        bare = line.rstrip(b"\r\n")
        for at in _starts(bare):
            event = _event(bare[at:])
            if event is not None and _is_torn(bare[:at]):
                self.torn.append(Torn(path, number, bare[:at]))
                return event
        if _is_torn(bare) or not line.endswith(b"\n"):
            self.torn.append(Torn(path, number, bare))
        else:
            damaged.append(number)
        return None


def read_journal(path: str | os.PathLike[str]) -> Iterator[Event]:
    """The events of a journal, those in rotated files first; see `Journal`, which also tells of torn lines.

    Raises:
        ConfigError: There is no such file, or it cannot be read.
        JournalError: It is no journal, or of a newer version, or damaged; after every event that could be read.
    """
    return iter(Journal(path))


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers, as far as it goes now: it may be written to, even by who reads it."""
    try:
        with path.open("rb") as file:
            left = os.fstat(file.fileno()).st_size
            number = 0
            while left > 0 and (line := file.readline(left)):
                number += 1
                left -= len(line)
                yield number, line
    except OSError as error:
        raise cannot_read(path, error) from error


def _event(line: bytes) -> Event | None:
    try:
        return event_from_json(line)
    except ProtocolError:
        return None


def _may_begin(line: bytes, event: Event | None) -> bool:
    """Whether a file that begins with this line may be a journal: with an event, or with a header that was cut off."""
    if event is None:
        return _is_torn(line.rstrip(b"\r\n"))
    return not isinstance(event, UnknownEvent) or bool(event.run_id)


def _is_torn(line: bytes) -> bool:
    """Whether it is the beginning of an object; a power cut may have left zeros where the file system had no data."""
    bare = line.strip(b"\0")
    return not bare or is_beginning(bare)


def _starts(line: bytes) -> Iterator[int]:
    """Where in `line` an event may begin that was appended to a torn one."""
    at = 0
    while (at := line.find(b'{"', at + 1)) > 0:
        if line.startswith((b'{"run_id":', b'{"type":'), at):
            yield at


def _damage(path: Path, damaged: list[int]) -> str:
    numbers = ", ".join(map(str, damaged[:_SHOWN])) + (", ..." if len(damaged) > _SHOWN else "")
    return (
        f"the journal {str(path)!r} is damaged: {len(damaged)} of its lines are no events ({numbers}); "
        f"all others were read; restore the file from a copy if those are needed"
    )
