"""The sink and the command keep their contracts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from becket.testing import CommandConformance, SinkConformance
from becket_journal import JournalSink, read_journal, register_commands

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import click
    from becket import Event, Sink


class TestJournal(SinkConformance):
    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "runs.journal"

    def make_sink(self) -> Sink:
        return JournalSink(self.path)

    def recorded(self, sink: Sink) -> Sequence[int] | None:
        return [event.seq for event in read_journal(self.path)] if self.path.exists() else []


class TestReplay(CommandConformance):
    failing: Mapping[str, Sequence[Sequence[str]]] = {
        "replay": [[], ["gone.jsonl", "--json"], ["gone.jsonl", "--sink", "no-such-sink"]]
    }

    @pytest.fixture(autouse=True)
    def record(self, journal: Path, recorded_once: Callable[[JournalSink], list[Event]]) -> None:
        recorded_once(JournalSink(journal))
        self.examples = {"replay": [[str(journal), "--json"], [str(journal)]]}

    def register_commands(self, cli: click.Group) -> None:
        register_commands(cli)
