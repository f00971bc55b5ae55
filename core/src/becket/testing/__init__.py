"""What tests of agents, plugins and hosts are written with: real objects that run in memory, recordings; no mocks.

The classes called `...Conformance` hold tests, for pytest: a plugin subclasses one, says how the thing under test is
made, and inherits the tests of the contract. pytest is imported where one is asked for, and not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from becket.testing.checks import Finding, check
from becket.testing.fakes import BatchListSink, ListSink, ScriptedProvider, calls, text
from becket.testing.loopback import LoopbackServer, Played, Received
from becket.testing.recording import Recording
from becket.testing.replay import ReplayError, ReplayProvider
from becket.testing.scenarios import Scenarios

if TYPE_CHECKING:
    from becket.testing.commands import CommandConformance
    from becket.testing.event_logs import EventLogConformance
    from becket.testing.http_providers import HttpProviderConformance
    from becket.testing.masks import MaskConformance
    from becket.testing.plugins import PluginConformance
    from becket.testing.policies import PolicyConformance
    from becket.testing.providers import ProviderConformance
    from becket.testing.session_stores import SessionStoreConformance
    from becket.testing.sinks import SinkConformance
    from becket.testing.socket_wires import SocketWireConformance
    from becket.testing.tools import ToolConformance
    from becket.testing.wires import WireConformance

__all__ = [
    "BatchListSink",
    "CommandConformance",
    "EventLogConformance",
    "Finding",
    "HttpProviderConformance",
    "ListSink",
    "LoopbackServer",
    "MaskConformance",
    "Played",
    "PluginConformance",
    "PolicyConformance",
    "ProviderConformance",
    "Received",
    "Recording",
    "ReplayError",
    "ReplayProvider",
    "Scenarios",
    "ScriptedProvider",
    "SessionStoreConformance",
    "SinkConformance",
    "SocketWireConformance",
    "ToolConformance",
    "WireConformance",
    "calls",
    "check",
    "text",
]

if not TYPE_CHECKING:  # as in becket itself
    _CONFORMANCE = {
        "CommandConformance": "becket.testing.commands",
        "EventLogConformance": "becket.testing.event_logs",
        "HttpProviderConformance": "becket.testing.http_providers",
        "MaskConformance": "becket.testing.masks",
        "PluginConformance": "becket.testing.plugins",
        "PolicyConformance": "becket.testing.policies",
        "ProviderConformance": "becket.testing.providers",
        "SessionStoreConformance": "becket.testing.session_stores",
        "SinkConformance": "becket.testing.sinks",
        "SocketWireConformance": "becket.testing.socket_wires",
        "ToolConformance": "becket.testing.tools",
        "WireConformance": "becket.testing.wires",
    }

    def __getattr__(name: str) -> Any:
        """The conformance classes, which need pytest."""
        if (module := _CONFORMANCE.get(name)) is not None:
            from importlib import import_module

            return getattr(import_module(module), name)
        raise AttributeError(f"module 'becket.testing' has no attribute {name!r}")
