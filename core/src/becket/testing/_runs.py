"""Runs of the scenarios, as what observes or encodes them is shown them; and what a later becket may add to one."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from becket.events import DecisionRequested, UnknownEvent
from becket.hooks import HookContext
from becket.policies import Allow
from becket.sinks import RunInfo
from becket.testing.fakes import ListSink
from becket.testing.scenarios import Scenarios

if TYPE_CHECKING:
    from collections.abc import Sequence

    from becket.agent import Agent
    from becket.events import Event

__all__ = ["ENDING", "LaterHookContext", "LaterRunInfo", "Run", "unknown", "whole_run"]

ENDING: Final = (
    *("text", "tools", "progress", "reasoning", "fails first", "fails midway", "asks", "nested", "malformed"),
    "unicode",
)
"""The scenarios that come to an end by themselves, and soon."""


@dataclass(frozen=True, slots=True)
class LaterRunInfo(RunInfo):
    """What a later becket may tell a sink or a wire of a run: everything that this one does, and more."""

    tenant: str = "a field that this becket has not"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterHookContext(HookContext):
    """The same for hooks and policies."""

    told_later: str = "a field that this becket has not"


@dataclass(frozen=True, slots=True)
class Run:
    """A run that is over.

    Attributes:
        info: What identifies it.
        events: All that has happened, those of nested runs among it.
    """

    info: RunInfo
    events: Sequence[Event]

    @property
    def later(self) -> LaterRunInfo:
        """The same, as a later becket tells of it."""
        return LaterRunInfo(self.info.run_id, self.info.agent, self.info.model, self.info.session_id)


async def whole_run(prompt: str, agent: Agent | None = None) -> Run:
    """A run of a scenario, or of an agent, in which every question is answered with yes."""
    sink = ListSink()
    agent = agent or Scenarios().agent
    agent = agent.replace(sinks=[*agent.sinks, sink])
    stream: Any = agent.stream_async(prompt)
    with suppress(Exception):  # some scenarios fail; their last event says so
        async with stream:
            async for event in stream:
                if isinstance(event, DecisionRequested):
                    await stream.decide(event.request_id, Allow())
    return Run(stream.info, sink.events)


def unknown(run: Run) -> UnknownEvent:
    """An event of a type that there is not yet, as it came second in this run."""
    first = run.events[0]
    data: Any = {"type": "invented_later", "what": ["it", {"says": None}]}
    return UnknownEvent("invented_later", data, run_id=first.run_id, seq=first.seq, time=first.time)
