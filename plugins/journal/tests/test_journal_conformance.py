"""The sink keeps the contract of sinks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from becket.testing import SinkConformance
from becket_journal import JournalSink, read_journal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from becket import Sink


class TestJournal(SinkConformance):
    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "runs.journal"

    def make_sink(self) -> Sink:
        return JournalSink(self.path)

    def recorded(self, sink: Sink) -> Sequence[int] | None:
        return [event.seq for event in read_journal(self.path)] if self.path.exists() else []
