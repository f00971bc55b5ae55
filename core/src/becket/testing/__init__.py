"""What tests of agents, plugins and hosts are written with: real objects that run in memory, no mocks."""

from __future__ import annotations

from becket.testing.fakes import ListSink, ScriptedProvider, calls, text

__all__ = ["ListSink", "ScriptedProvider", "calls", "text"]
