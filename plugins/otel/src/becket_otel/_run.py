"""The spans of one run: its own, those of its model calls, and those of its tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

from becket_otel import _names as names
from becket_otel._chat import Chat, error_type_of, of_model, of_usage
from becket_otel._content import as_json, message_json, result_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    from becket import (
        CycleFinished,
        DecisionMade,
        DecisionRequested,
        Event,
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
    from opentelemetry.context import Context
    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

    from becket_otel._telemetry import Telemetry

    OpenSpans: TypeAlias = dict[tuple[str, str | None], Span]

__all__ = ["Run"]


class Run:
    """One run: a method for each kind of event that its spans are made of.

    Args:
        telemetry: Where they go.
        event: Its beginning.
        context: That of the span above.
        spans: Where its spans are found by run and tool call, as long as they are open.
        content: Whether they say what was said.

    Attributes:
        is_over: Whether it has ended.
    """

    __slots__ = (
        "_chat",
        "_content",
        "_context",
        "_conversation",
        "_id",
        "_messages",
        "_named",
        "_span",
        "_spans",
        "_telemetry",
        "_tools",
        "is_over",
    )

    def __init__(
        self, telemetry: Telemetry, event: RunStarted, context: Context, spans: OpenSpans, *, content: bool
    ) -> None:
        self._telemetry = telemetry
        self._spans = spans
        self._content = content
        self._id = event.run_id
        self._chat: Chat | None = None
        self._tools: dict[str, Span] = {}
        self._named: dict[str, str] = {}
        self._messages = [message_json(message) for message in event.prompt] if content else []
        self._conversation = {} if event.session_id is None else {names.CONVERSATION: event.session_id}
        self.is_over = False
        self._span = telemetry.tracer.start_span(
            f"{names.INVOKE_AGENT} {event.agent}",
            context,
            SpanKind.INTERNAL,
            {
                **of_model(event.model),
                names.OPERATION: names.INVOKE_AGENT,
                names.AGENT: event.agent,
                names.RUN: event.run_id,
                **self._conversation,
            },
            start_time=_ns(event.time),
        )
        self._context = set_span_in_context(self._span, context)
        self._say(self._span, names.INPUT_MESSAGES, self._messages)
        spans[self._id, None] = self._span

    def finished(self, event: RunFinished) -> None:
        """It has come to its end, or was brought to it."""
        result, span = event.result, self._span
        reason = names.FINISH.get(result.stop_reason, result.stop_reason)
        span.set_attributes(
            {
                names.STOP_REASON: result.stop_reason,
                names.FINISH_REASONS: (reason,),
                names.CYCLES: result.cycles,
                **of_usage(result.usage),
            }
        )
        if result.cost is not None:
            span.set_attribute(names.COST, result.cost)
        if self._content and result.message is not None:
            self._say(span, names.OUTPUT_MESSAGES, [message_json(result.message, reason)])
        error = error_type_of(result.stop_reason)
        self.leave(_ns(event.time), error, "" if error is None else f"ended with {error}")

    def failed(self, event: RunFailed) -> None:
        """An error has ended it."""
        error = event.error
        if error.request_id is not None:
            self._span.set_attribute(names.ERROR_REQUEST, error.request_id)
        self.leave(_ns(event.time), error.code or error.kind, error.message)

    def leave(self, now: int, error: str | None, why: str) -> None:
        """End its span, and before it whatever is open below."""
        self.is_over = True
        if self._chat is not None:
            self._chat.end(now, error or names.OTHER, why)
        for call_id in tuple(self._tools):
            self._end_tool(call_id, now, error or names.OTHER, why)
        del self._spans[self._id, None]
        _end(self._span, now, error, why)

    # -- model calls -----------------------------------------------------------------------------------------------

    def model_started(self, event: ModelStarted) -> None:
        """A model is being called."""
        self._chat = Chat(self._telemetry, event, self._context, self._conversation)
        self._say(self._chat.span, names.INPUT_MESSAGES, self._messages)

    def model_finished(self, event: ModelFinished) -> None:
        """It has answered, or was cut short. Its message follows, where there is one."""
        if self._chat is not None:
            self._chat.finished(event, _ns(event.time))

    def message_added(self, event: MessageAdded) -> None:
        """The model's answer, or the results of tools, which are the next call's."""
        message, chat = event.message, self._chat
        if message.tool_calls:
            self._named = {call.id: call.tool for call in message.tool_calls}
        if self._content:
            self._messages.append(message_json(message))
            if chat is not None:
                self._say(chat.span, names.OUTPUT_MESSAGES, [message_json(message, chat.finish_reason)])
        self._end_chat()

    def cycle_finished(self, event: CycleFinished) -> None:  # noqa: ARG002  one of its kind
        """Where there was no message, the model call is over now."""
        self._end_chat()

    def _end_chat(self) -> None:
        """End the model call, unless it has failed: the run's end says with what."""
        if self._chat is not None and self._chat.is_over:
            self._chat.end()
            self._chat = None

    # -- tools -----------------------------------------------------------------------------------------------------

    def tool_started(self, event: ToolStarted) -> None:
        """A tool is about to run."""
        call = event.call
        span = self._telemetry.tracer.start_span(
            f"{names.EXECUTE_TOOL} {call.tool}",
            self._context,
            SpanKind.INTERNAL,
            {
                names.OPERATION: names.EXECUTE_TOOL,
                names.TOOL: call.tool,
                names.TOOL_TYPE: names.FUNCTION,
                names.TOOL_CALL: call.id,
                names.CYCLE: event.cycle,
                **self._conversation,
            },
            start_time=_ns(event.time),
        )
        if self._content:
            span.set_attribute(names.TOOL_ARGUMENTS, as_json(call.arguments))
        self._tools[call.id] = self._spans[self._id, call.id] = span

    def tool_finished(self, event: ToolFinished) -> None:
        """A call is answered. One that was denied, or could not be read, was never started: no span, but an event."""
        result, now = event.result, _ns(event.time)
        span = self._tools.get(result.call_id)
        if span is None:
            about = {names.TOOL: self._named.get(result.call_id, ""), names.TOOL_CALL: result.call_id}
            self._span.add_event(names.TOOL_REFUSED, {**about, names.TOOL_STATUS: result.status}, now)
            return
        span.set_attribute(names.TOOL_STATUS, result.status)
        if self._content:
            span.set_attribute(names.TOOL_RESULT, result_json(result))
        error = {"success": None, "error": names.TOOL_ERROR}.get(result.status, result.status)
        self._end_tool(
            result.call_id, now, error, "" if error is None else f"its result is of the status {result.status}"
        )

    def _end_tool(self, call_id: str, now: int, error: str | None, why: str) -> None:
        del self._spans[self._id, call_id]
        _end(self._tools.pop(call_id), now, error, why)

    # -- what happens meanwhile ------------------------------------------------------------------------------------

    def retry_scheduled(self, event: RetryScheduled) -> None:
        """A model call that failed ends here, and the next attempt is another one. A tool call goes on."""
        now = _ns(event.time)
        about: dict[str, AttributeValue] = {
            names.RETRY_DELAY: event.delay_s,
            names.RETRY_ATTEMPT: event.next_attempt,
        }
        if event.call_id is None or self._content:  # what a tool says of its failure is for the model
            about[names.RETRY_REASON] = event.reason
        span = self._span
        if event.call_id is not None:
            span = self._tools.get(event.call_id, span)
        elif self._chat is not None:
            self._chat.end(now, "ProviderError", event.reason)
            self._chat = None
        span.add_event(names.RETRY_SCHEDULED, about, now)

    def decision_requested(self, event: DecisionRequested) -> None:
        """Somebody has to decide."""
        about = {names.DECISION: event.request_id, names.DECISION_KIND: event.kind}
        if event.call is not None:
            about |= {names.TOOL: event.call.tool, names.TOOL_CALL: event.call.id}
        self._happened(event, names.DECISION_REQUESTED, about, event.why)

    def decision_made(self, event: DecisionMade) -> None:
        """Somebody has."""
        about = {names.DECISION: event.request_id, names.DECISION_OUTCOME: event.outcome, names.DECISION_BY: event.by}
        if event.call_id is not None:
            about[names.TOOL_CALL] = event.call_id
        self._happened(event, names.DECISION_MADE, about, event.reason)

    def plugin_failed(self, event: PluginFailed) -> None:
        """A plugin has, and the run goes on without it."""
        self._happened(event, names.PLUGIN_FAILED, {names.PLUGIN: event.plugin, names.PLUGIN_HOOK: event.hook})

    def _happened(self, event: Event, name: str, about: Mapping[str, str], why: str = "") -> None:
        if self._content and why:  # it may quote the arguments
            about = {**about, names.DECISION_WHY: why}
        self._span.add_event(name, about, _ns(event.time))

    def _say(self, span: Span, name: str, messages: list[str]) -> None:
        if self._content:
            span.set_attribute(name, f"[{','.join(messages)}]")


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)


def _end(span: Span, now: int, error: str | None, why: str) -> None:
    if error is not None:
        span.set_attribute(names.ERROR, error)
        span.set_status(Status(StatusCode.ERROR, why))
    span.end(now)
