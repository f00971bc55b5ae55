"""The sink keeps the contract of sinks."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from becket.testing import SinkConformance
from becket_console import ConsoleSink

if TYPE_CHECKING:
    from becket import Sink


class TestConsole(SinkConformance):
    def make_sink(self) -> Sink:
        return ConsoleSink(stdout=io.StringIO(), stderr=io.StringIO())
