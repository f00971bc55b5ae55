"""becket: an agent's event loop, and everything else by pip install."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from becket.agent import Agent
from becket.content import (
    AgentResult,
    ContentBlock,
    Document,
    Extension,
    Image,
    Json,
    MalformedArguments,
    Message,
    Reasoning,
    StopReason,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from becket.errors import (
    BecketError,
    ConfigError,
    EventsDropped,
    OutputError,
    PluginError,
    ProtocolError,
    ProviderError,
    RequestError,
    SessionError,
    ToolError,
)
from becket.events import (
    CycleFinished,
    CycleStarted,
    DecisionMade,
    DecisionRequested,
    ErrorInfo,
    Event,
    ExtensionDelta,
    MessageAdded,
    ModelEvent,
    ModelFinished,
    ModelStarted,
    OutputPartial,
    PluginEvent,
    PluginFailed,
    ReasoningDelta,
    RetryScheduled,
    RunFailed,
    RunFinished,
    RunStarted,
    TextDelta,
    ToolCallDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
    UnknownEvent,
    event_from_json,
    event_json_schema,
    warm_up,
)
from becket.hooks import HookContext
from becket.log import EventLog, MemoryLog
from becket.masks import Mask, MaskStream
from becket.options import Limits, ModelOptions
from becket.output import Output
from becket.plugins import PLUGIN_API, Plugin
from becket.policies import Allow, Ask, Deny, Edit, Policy, Verdict
from becket.prices import Price
from becket.providers import (
    KeyedProvider,
    ListingProvider,
    ModelInfo,
    ModelRequest,
    OutputSpec,
    Provider,
    RoutingProvider,
    SchemaProvider,
    ToolSpec,
)
from becket.retries import Backoff, RetryPolicy
from becket.runtime import VERSION, Runtime, default_runtime, set_default_runtime
from becket.sinks import BatchSinkRun, RunInfo, Sink, SinkRun
from becket.stream import AgentStream, LogReader
from becket.tools import AnyTool, Tool, ToolContext, tool

if TYPE_CHECKING:
    from becket._marker import hookimpl
    from becket.config import Approvals, Config, ProjectMaySet, load_config
    from becket.session import MemorySessionStore, Session, SessionState, SessionStore, SessionUpdate

__version__ = VERSION

__all__ = [
    "PLUGIN_API",
    "Agent",
    "AgentResult",
    "AgentStream",
    "Allow",
    "AnyTool",
    "Approvals",
    "Ask",
    "Backoff",
    "BatchSinkRun",
    "BecketError",
    "Config",
    "ConfigError",
    "ContentBlock",
    "CycleFinished",
    "CycleStarted",
    "DecisionMade",
    "DecisionRequested",
    "Deny",
    "Document",
    "Edit",
    "ErrorInfo",
    "Event",
    "EventLog",
    "EventsDropped",
    "Extension",
    "ExtensionDelta",
    "HookContext",
    "Image",
    "Json",
    "KeyedProvider",
    "Limits",
    "ListingProvider",
    "LogReader",
    "MalformedArguments",
    "Mask",
    "MaskStream",
    "MemoryLog",
    "MemorySessionStore",
    "Message",
    "MessageAdded",
    "ModelEvent",
    "ModelFinished",
    "ModelInfo",
    "ModelOptions",
    "ModelRequest",
    "ModelStarted",
    "Output",
    "OutputError",
    "OutputPartial",
    "OutputSpec",
    "Plugin",
    "PluginError",
    "PluginEvent",
    "PluginFailed",
    "Policy",
    "Price",
    "ProjectMaySet",
    "ProtocolError",
    "Provider",
    "ProviderError",
    "Reasoning",
    "ReasoningDelta",
    "RequestError",
    "RetryPolicy",
    "RetryScheduled",
    "RoutingProvider",
    "RunFailed",
    "RunFinished",
    "RunInfo",
    "RunStarted",
    "Runtime",
    "SchemaProvider",
    "Session",
    "SessionError",
    "SessionState",
    "SessionStore",
    "SessionUpdate",
    "Sink",
    "SinkRun",
    "StopReason",
    "Text",
    "TextDelta",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "ToolContext",
    "ToolError",
    "ToolFinished",
    "ToolProgress",
    "ToolResult",
    "ToolSpec",
    "ToolStarted",
    "UnknownEvent",
    "Usage",
    "Verdict",
    "__version__",
    "default_runtime",
    "event_from_json",
    "event_json_schema",
    "hookimpl",
    "load_config",
    "set_default_runtime",
    "tool",
    "warm_up",
]

if not TYPE_CHECKING:  # a type checker would take every misspelt name for one that is there

    def __getattr__(name: str) -> Any:
        """What is needed for plugins, configuration and sessions, and costs those nothing who do without."""
        if name == "hookimpl":
            from becket._marker import hookimpl

            return hookimpl
        if name in {"Approvals", "Config", "ProjectMaySet", "load_config"}:
            from becket import config

            return getattr(config, name)
        if name in {"MemorySessionStore", "Session", "SessionState", "SessionStore", "SessionUpdate"}:
            from becket import session

            return getattr(session, name)
        raise AttributeError(f"module 'becket' has no attribute {name!r}")
