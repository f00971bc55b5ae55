"""The state machine of one run: it folds events into history and says what is needed next. Pure, and no await.

::

    new       run_started               -> idle
    idle      cycle_started             -> cycle
    cycle     model_started             -> model
    model     retry_scheduled           -> cycle
    model     model_finished            -> answered
    answered  message_added, assistant  -> tools, or ready where it asks for no tool
    tools     message_added, user       -> ready
    ready     message_added, user       -> ready, where no tool was called: the model is asked once more
    ready     cycle_finished            -> idle; also from answered (no content) and cycle (ended before the call)
    idle      run_finished, run_failed  -> done

Deltas fold while the phase is `model`; `tool_started`, `tool_progress`, `tool_finished`, decisions and the
`retry_scheduled` of a tool call while it is `tools`. Events of plugins, partial output and unknown events fold anywhere
inside a run and change nothing.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NoReturn, TypeAlias

from becket._values import JsonValue, adapter, clean_json, clean_text, read_state
from becket.content import (
    AgentResult,
    Extension,
    MalformedArguments,
    Message,
    Reasoning,
    StopReason,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from becket.errors import ProtocolError
from becket.events import (
    CycleFinished,
    CycleStarted,
    DecisionMade,
    DecisionRequested,
    ErrorInfo,
    Event,
    ExtensionDelta,
    MessageAdded,
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
)

if TYPE_CHECKING:
    import json
    from collections.abc import Callable

__all__ = ["Need", "Phase", "Turn", "parse_arguments", "read_json"]

Phase: TypeAlias = Literal["new", "idle", "cycle", "model", "answered", "tools", "ready", "done"]

Need: TypeAlias = Literal["start", "model", "tools", "end", "nothing"]
"""What the run needs next: to be started, a model call, answers to its open tool calls, its terminal event, nothing."""

STATE_VERSION: Final = 1

INTERRUPTED: Final = "The run ended before this call was finished."


@dataclass(slots=True)
class Part:
    """A content block while it is being streamed."""

    kind: Literal["text", "reasoning", "tool_call", "extension"]
    block: int
    fragments: list[str] = field(default_factory=list)
    call_id: str = ""
    tool: str = ""
    signature: str | None = None
    redacted: str | None = None
    provider: str = ""
    data: JsonValue = None


@dataclass(slots=True)
class Turn:
    """The state of one run.

    Attributes:
        run_id: The run.
        messages: The history: what was there, the prompt, what this run added. Appended to, never rewritten.
        base: How many of the messages were there before the run.
        given: How many of them were there before its first model call, the prompt included.
        phase: Where the run stands; see the drawing above.
        cycle: Cycles begun.
        attempt: Model calls begun in this cycle.
        stop: The stop reason of the last model call.
        usage: Tokens of all model calls.
        cost: What they cost; None where there is no price.
        tool_calls: Tool calls answered, those that were refused included.
        again: Whether a message was added in this cycle that asks the model to answer once more.
        calls: The tool calls of this cycle.
        started: The ids of those that were begun.
        results: The answers to those that are answered.
        parts: The blocks of the answer that is being streamed.
        version: Of this state's JSON.
    """

    run_id: str
    messages: list[Message] = field(default_factory=list)
    base: int = 0
    given: int = 0
    phase: Phase = "new"
    cycle: int = 0
    attempt: int = 0
    stop: StopReason | None = None
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    tool_calls: int = 0
    again: bool = False
    calls: tuple[ToolCall, ...] = ()
    started: set[str] = field(default_factory=set)
    results: dict[str, ToolResult] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    version: int = STATE_VERSION

    # -- what is needed --------------------------------------------------------------------------------------------

    @property
    def need(self) -> Need:
        """What the run needs next."""
        match self.phase:
            case "new":
                return "start"
            case "tools":
                return "tools"
            case "done":
                return "nothing"
            case "idle" if self.cycle and not self.calls and not self.again:
                return "end"
            case _:
                return "model"

    @property
    def open_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls of this cycle that have no answer yet, in order."""
        return tuple(call for call in self.calls if call.id not in self.results)

    def answer(self, *, argument_chars: int | None = None) -> Message:
        """The assistant's message, assembled from the deltas so far.

        Args:
            argument_chars: The most characters that a call's arguments may have; a longer one is malformed.
        """
        return Message("assistant", tuple(self._blocks(argument_chars)))

    def results_message(self) -> Message:
        """The message that answers the calls of this cycle, in their order.

        Raises:
            ProtocolError: One of them has no answer yet.
        """
        if self.open_calls:
            raise ProtocolError(f"the tool call {self.open_calls[0].id!r} has no result in the run {self.run_id!r}")
        return Message("user", tuple(self.results[call.id] for call in self.calls))

    # -- folding ---------------------------------------------------------------------------------------------------

    def receive(self, event: Event) -> None:
        """Fold one event.

        Raises:
            ProtocolError: The event has no place here; the state is then unchanged.
        """
        kind = type(event)
        if kind is TextDelta:  # by far the most frequent
            delta: Any = event
            parts = self.parts
            if self.phase == "model" and parts and (part := parts[-1]).kind == "text" and part.block == delta.block:
                part.fragments.append(delta.text)
            else:
                self._part("text", delta).fragments.append(delta.text)
            return
        fold: Callable[[Turn, Any], None] | None = self._folds.get(kind)
        if fold is None:
            raise ProtocolError(f"{event!r} is not an event")
        fold(self, event)

    def _refuse(self, event: Event, why: str = "") -> NoReturn:
        raise ProtocolError(
            f"{event.type} has no place in the run {self.run_id!r} now (phase {self.phase!r}{', ' if why else ''}{why})"
        )

    def _expect(self, event: Event, *phases: Phase) -> None:
        if self.phase not in phases:
            self._refuse(event)

    def _part(self, kind: Literal["text", "reasoning", "tool_call"], event: Any) -> Part:
        """The part that a delta belongs to; begun where there is none."""
        if self.phase != "model":
            self._refuse(event)
        call_id, tool = (event.call_id, event.tool) if kind == "tool_call" else ("", "")
        for part in reversed(self.parts):
            if part.kind == kind and part.call_id == call_id and (call_id or part.block == event.block):
                if part.block != event.block:
                    self._refuse(event, f"the call {call_id!r} has another block")
                return part
        begun = Part(kind, event.block, call_id=call_id, tool=tool)
        self.parts.append(begun)
        return begun

    def _reasoning_delta(self, event: ReasoningDelta) -> None:
        part = self._part("reasoning", event)
        if event.text:
            part.fragments.append(event.text)
        if event.signature is not None:
            part.signature = (part.signature or "") + event.signature
        if event.redacted is not None:
            part.redacted = (part.redacted or "") + event.redacted

    def _tool_call_delta(self, event: ToolCallDelta) -> None:
        event.share(self._part("tool_call", event).fragments)

    def _extension_delta(self, event: ExtensionDelta) -> None:
        self._expect(event, "model")
        self.parts.append(Part("extension", event.block, provider=event.provider, data=event.data))

    def _run_started(self, event: RunStarted) -> None:
        self._expect(event, "new")
        self.base = len(self.messages)
        self.messages.extend(event.prompt)
        self.given = len(self.messages)
        self.phase = "idle"

    def _cycle_started(self, event: CycleStarted) -> None:
        self._expect(event, "idle")
        self.phase, self.cycle, self.attempt = "cycle", self.cycle + 1, 0
        self.calls, self.started, self.results, self.stop, self.again = (), set(), {}, None, False

    def _model_started(self, event: ModelStarted) -> None:
        self._expect(event, "cycle")
        self.phase, self.attempt, self.parts = "model", self.attempt + 1, []

    def _retry_scheduled(self, event: RetryScheduled) -> None:
        if event.call_id is not None:
            self._expect_begun(event, event.call_id)
            return
        self._expect(event, "model")
        self.phase, self.parts = "cycle", []

    def _model_finished(self, event: ModelFinished) -> None:
        self._expect(event, "model")
        self.phase, self.stop, self.usage = "answered", event.stop_reason, self.usage + event.usage
        if event.cost is not None:
            self.cost = (self.cost or 0.0) + event.cost

    def _message_added(self, event: MessageAdded) -> None:
        message = event.message
        if self.phase == "answered" and message.role == "assistant":
            self._check_answer(event)
            self.calls, self.parts = message.tool_calls, []
            self.phase = "tools" if self.calls else "ready"
        elif self.phase == "tools" and message.role == "user":
            if self.open_calls or message != self.results_message():
                self._refuse(event, "it does not hold the results of this cycle")
            self.phase = "ready"
        elif self._may_ask_again(message):
            self.again = True
        else:
            self._refuse(event, f"role {message.role!r}")
        self.messages.append(message)

    def _may_ask_again(self, message: Message) -> bool:
        """Whether `message` is one that asks the model to answer once more, and has its place here."""
        answered = self.phase == "ready" and not self.calls and not self.again
        worded = bool(message.content) and all(isinstance(block, Text) for block in message.content)
        return answered and worded and message.role == "user"

    def _check_answer(self, event: MessageAdded) -> None:
        content, calls = event.message.content, event.message.tool_calls
        if not content:
            self._refuse(event, "it is empty, and model services refuse that in a history")
        if any(isinstance(block, ToolResult) for block in content):
            self._refuse(event, "a tool result stands in an answer")
        if len({call.id for call in calls}) < len(calls):
            self._refuse(event, "two of its tool calls have the same id")

    def _tool_started(self, event: ToolStarted) -> None:
        self._expect_open(event, event.call.id)
        if event.call.id in self.started:
            self._refuse(event, f"the call {event.call.id!r} was begun already")
        self.started.add(event.call.id)

    def _tool_progress(self, event: ToolProgress) -> None:
        self._expect_begun(event, event.call_id)

    def _expect_begun(self, event: Event, call_id: str) -> None:
        self._expect_open(event, call_id)
        if call_id not in self.started:
            self._refuse(event, f"the call {call_id!r} was not begun")

    def _tool_finished(self, event: ToolFinished) -> None:
        self._expect_open(event, event.result.call_id)
        self.results[event.result.call_id] = event.result
        self.tool_calls += 1

    def _expect_open(self, event: Event, call_id: str) -> None:
        self._expect(event, "tools")
        if call_id in self.results or all(call.id != call_id for call in self.calls):
            self._refuse(event, f"there is no open call {call_id!r}")

    def _decision(self, event: DecisionRequested | DecisionMade) -> None:
        self._expect(event, "tools")

    def _cycle_finished(self, event: CycleFinished) -> None:
        # From `answered`: an answer without content adds no message. From `cycle`: the run ended before the call.
        self._expect(event, "ready", "answered", "cycle")
        self.phase, self.parts = "idle", []

    def _run_ended(self, event: RunFinished | RunFailed) -> None:
        self._expect(event, "idle")
        self.phase = "done"

    def _aside(self, event: Event) -> None:
        if self.phase in ("new", "done"):
            self._refuse(event)

    # -- ending early ----------------------------------------------------------------------------------------------

    def close(self, reason: StopReason | ErrorInfo, output: JsonValue = None) -> list[Event]:
        """The events that bring the run to its end from where it stands, the terminal one last; none if it has ended.

        They fold in this order. A model call under way is finished with what was there, marked as interrupted, its
        half-written tool calls dropped; each open tool call gets an `interrupted` result.

        Args:
            reason: Why the run ends; an error makes the terminal event a `run_failed`.
            output: The structured output that it came to, where it came to one.
        """
        if self.phase in ("new", "done"):
            return []
        stop: StopReason = "error" if isinstance(reason, ErrorInfo) else reason
        message, events = self._closing_cycle(stop)
        if isinstance(reason, ErrorInfo):
            return [*events, RunFailed(reason)]
        result = AgentResult(stop, message or self._last_answer(), self.usage, self.cycle, output, self.cost)
        return [*events, RunFinished(result)]

    def _closing_cycle(self, stop: StopReason) -> tuple[Message | None, list[Event]]:
        """The message that closing adds for the assistant, if any, and the events up to `cycle_finished`."""
        events: list[Event] = []
        message = None
        if self.phase in ("model", "answered"):
            if self.phase == "model":
                events.append(ModelFinished(stop))
            kept = tuple(block for block in self._blocks(None) if not isinstance(block, ToolCall))
            if any(not isinstance(block, Extension) for block in kept):  # by itself it would be an empty message
                message = Message("assistant", kept, interrupted=True)
                events.append(MessageAdded(message))
        if self.phase == "tools":
            lost = {call.id: ToolResult(call.id, "interrupted", (Text(INTERRUPTED),)) for call in self.open_calls}
            events += [ToolFinished(result) for result in lost.values()]
            results = self.results | lost
            events.append(MessageAdded(Message("user", tuple(results[call.id] for call in self.calls))))
        if self.phase != "idle":
            events.append(CycleFinished(stop))
        return message, events

    def _last_answer(self) -> Message | None:
        """The last message of the assistant that this run added; one that the prompt held is none."""
        added = range(len(self.messages) - 1, self.given - 1, -1)
        return next((self.messages[at] for at in added if self.messages[at].role == "assistant"), None)

    # -- assembling ------------------------------------------------------------------------------------------------

    def _blocks(self, argument_chars: int | None) -> list[Text | Reasoning | ToolCall | Extension]:
        blocks: list[Text | Reasoning | ToolCall | Extension] = []
        for part in self.parts:
            text = "".join(part.fragments)
            if part.kind == "tool_call":
                blocks.append(parse_arguments(part.call_id, part.tool, text, most=argument_chars))
            elif part.kind == "reasoning":
                if text or part.signature or part.redacted:
                    blocks.append(Reasoning(text, part.signature, part.redacted))
            elif part.kind == "extension":
                blocks.append(Extension(part.provider, part.data))
            elif text:
                blocks.append(Text(text))
        return blocks

    # -- JSON ------------------------------------------------------------------------------------------------------

    def to_json(self) -> bytes:
        """The state as JSON."""
        return adapter(Turn).dump_json(self)

    @classmethod
    def from_json(cls, raw: str | bytes) -> Turn:
        """The state that `to_json` wrote.

        Raises:
            ProtocolError: `raw` is no such state, or one of a later version.
        """
        return read_state(Turn, raw, "the state of a run", STATE_VERSION)

    _folds: ClassVar[dict[type, Callable[[Turn, Any], None]]] = {
        ReasoningDelta: _reasoning_delta,
        ToolCallDelta: _tool_call_delta,
        ExtensionDelta: _extension_delta,
        RunStarted: _run_started,
        CycleStarted: _cycle_started,
        ModelStarted: _model_started,
        RetryScheduled: _retry_scheduled,
        ModelFinished: _model_finished,
        MessageAdded: _message_added,
        ToolStarted: _tool_started,
        ToolProgress: _tool_progress,
        ToolFinished: _tool_finished,
        DecisionRequested: _decision,
        DecisionMade: _decision,
        CycleFinished: _cycle_finished,
        RunFinished: _run_ended,
        RunFailed: _run_ended,
        OutputPartial: _aside,
        PluginEvent: _aside,
        PluginFailed: _aside,
        UnknownEvent: _aside,
    }


def parse_arguments(call_id: str, tool: str, text: str, *, most: int | None = None) -> ToolCall:
    """The tool call whose arguments a model wrote as `text`; malformed where that is no JSON object.

    No text at all is a call without arguments: some services send that for a tool that takes none.
    """
    try:
        if most is not None and len(text) > most:
            raise ValueError(f"the arguments have {len(text):,} characters, and {most:,} are allowed")  # noqa: TRY301  as below
        return ToolCall(call_id, tool, _parsed(text))
    except ValueError as error:
        reason = str(error)
    return ToolCall(call_id, tool, malformed=MalformedArguments(clean_text(text[:2000]), reason))


@functools.cache
def _decoder() -> json.JSONDecoder:
    import json

    return json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def _parsed(text: str) -> dict[str, JsonValue]:
    if not text.strip():
        return {}
    arguments = read_json(text)
    if not isinstance(arguments, dict):
        kinds = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
        raise ValueError(f"a JSON object is wanted, and this is {kinds.get(type(arguments), 'a number')}")  # noqa: TRY004  as for all that is no JSON object
    return arguments


def read_json(text: str) -> JsonValue:
    """The JSON value that a model wrote as `text`, its lone surrogates replaced.

    Raises:
        ValueError: It is none, holds a number that is not finite, or is nested too deeply; the text says so.
    """
    try:
        value: JsonValue = clean_json(_decoder().decode(text))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"the number {digits[:40]} is too large")
    return number
