"""The sink keeps the contract of sinks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from becket.testing import SinkConformance
from becket_otel import OtelSink

if TYPE_CHECKING:
    from becket import Sink


class TestOtel(SinkConformance):
    def make_sink(self) -> Sink:
        return OtelSink()
