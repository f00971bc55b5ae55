"""What makes the spans of a run, and of those nested in it, from its events: with the times that they say.

No span is ever made current. Each is given its parent, so nothing has to be attached to a context, nor detached from
one in another task.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from becket import (
    CycleFinished,
    DecisionMade,
    DecisionRequested,
    MessageAdded,
    ModelFinished,
    ModelStarted,
    PluginFailed,
    RetryScheduled,
    RunFailed,
    RunFinished,
    RunStarted,
    ToolFinished,
    ToolStarted,
)
from opentelemetry.context import get_current
from opentelemetry.trace import set_span_in_context

from becket_otel import _names as names
from becket_otel._run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from becket import Event

    from becket_otel._run import OpenSpans
    from becket_otel._telemetry import Telemetry

__all__ = ["RunSpans"]

_METHODS: Final[Mapping[type, Callable[[Run, Any], None]]] = {
    RunFinished: Run.finished,
    RunFailed: Run.failed,
    ModelStarted: Run.model_started,
    ModelFinished: Run.model_finished,
    MessageAdded: Run.message_added,
    CycleFinished: Run.cycle_finished,
    ToolStarted: Run.tool_started,
    ToolFinished: Run.tool_finished,
    RetryScheduled: Run.retry_scheduled,
    DecisionRequested: Run.decision_requested,
    DecisionMade: Run.decision_made,
    PluginFailed: Run.plugin_failed,
}


class RunSpans:
    """Observes one run.

    Args:
        telemetry: Where spans go.
        spans: Those of all runs that are open.
        content: Whether they say what was said.
    """

    def __init__(self, telemetry: Telemetry, spans: OpenSpans, *, content: bool) -> None:
        self._telemetry = telemetry
        self._spans = spans
        self._content = content
        self._context = get_current()  # the caller's: a run has a copy of the context that it was started in
        self._runs: dict[str, Run] = {}

    def emit(self, event: Event, /) -> None:
        """Take one event. Most are deltas, and no business of ours."""
        method = _METHODS.get(type(event))
        if method is not None:
            if (run := self._runs.get(event.run_id)) is not None:
                method(run, event)
                if run.is_over:
                    del self._runs[event.run_id]
        elif isinstance(event, RunStarted):
            self._start(event)

    def _start(self, event: RunStarted) -> None:
        """Begin a run: below the tool that has started it, or else below what was current there."""
        above = self._spans.get((event.parent_run_id or "", event.parent_call_id))
        context = self._context if above is None else set_span_in_context(above, self._context)
        self._runs[event.run_id] = Run(self._telemetry, event, context, self._spans, content=self._content)

    def close(self) -> None:
        """End what is open where no event has: there should be nothing."""
        for run in reversed(self._runs.values()):
            run.leave(time.time_ns(), names.OTHER, "the events of the run have stopped before its end")
        self._runs.clear()
