"""What tests of agents, plugins and hosts are written with: real objects that run in memory, no mocks."""

from __future__ import annotations

from becket.testing.fakes import BatchListSink, ListSink, ScriptedProvider, calls, text

__all__ = ["BatchListSink", "ListSink", "ScriptedProvider", "calls", "text"]
