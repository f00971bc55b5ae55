"""The events of a run: typed values that are also read-only mappings with the keys of the page becket started from.

Every event carries `run_id`, `seq` (counted within the root run), `time` (seconds since the epoch) and, inside a cycle,
`cycle` and `attempt` (both from 1). Providers and the loop build an event with its own fields; the run stamps the
rest in place, once. `match event: case TextDelta(text=text)` and `"data" in event` both work on every event; the
mapping is computed when it is asked for.
"""

from __future__ import annotations

import functools
from dataclasses import field, fields
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, TypeAlias, get_args

from becket._values import ByType, JsonValue, Value, adapter, clean_text, value
from becket.content import (
    AgentResult,
    Document,
    Extension,
    Image,
    Json,
    Message,
    Reasoning,
    StopReason,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from becket.errors import PluginError, ProtocolError, ProviderError

if TYPE_CHECKING:
    from collections.abc import Iterator, KeysView

__all__ = [
    "CycleFinished",
    "CycleStarted",
    "DecisionMade",
    "DecisionRequested",
    "ErrorInfo",
    "Event",
    "EventBase",
    "ExtensionDelta",
    "MessageAdded",
    "ModelEvent",
    "ModelFinished",
    "ModelStarted",
    "OutputPartial",
    "PluginEvent",
    "PluginFailed",
    "ReasoningDelta",
    "RetryScheduled",
    "RunFailed",
    "RunFinished",
    "RunStarted",
    "TextDelta",
    "ToolCallDelta",
    "ToolFinished",
    "ToolProgress",
    "ToolStarted",
    "UnknownEvent",
    "event_from_json",
    "event_json_schema",
    "warm_up",
]

SCHEMA_VERSION = 1

_SeedBlock: TypeAlias = Text | Reasoning | ToolCall | ToolResult | Image | Document | Json


class _Mapping(Value):
    """The mapping face. Not a `collections.abc.Mapping`: pydantic would take the event for a dict and miss its tag.

    To whoever reads a run, an event of a run nested in it is the progress of a tool: its keys stand below
    `tool_stream_event`, so that a reader who asks for `"data"` or `"result"` is given the text and the result of the
    run that was asked for, and not those of its tools.
    """

    __slots__ = ("_plain",)
    _plain: bool  # no field: where the event is as the reader of its own run sees it
    parent_run_id: str | None
    parent_call_id: str | None

    def _view(self) -> dict[str, Any]:
        """The keys and values of the mapping face; none for most events."""
        return {}

    def _nested_view(self) -> dict[str, Any]:
        """The same to a reader of a run above."""
        view = self._view()
        return {"tool_stream_event": {"tool_use": {"toolUseId": self.parent_call_id}, "data": view}} if view else view

    def _seen(self) -> dict[str, Any]:
        if self.parent_run_id is None or getattr(self, "_plain", False):
            return self._view()
        return self._nested_view()

    def keys(self) -> KeysView[str]:
        """The keys that this event has."""
        return self._seen().keys()

    def get(self, key: str, default: Any = None) -> Any:
        """The value under `key`, or `default`."""
        return self._seen().get(key, default)

    def __getitem__(self, key: str) -> Any:
        return self._seen()[key]

    def __contains__(self, key: object) -> bool:
        return key in self._seen()

    def __iter__(self) -> Iterator[str]:
        return iter(self._seen())


@value
class EventBase(_Mapping):
    """What every event carries; stamped by the run, not by who builds the event."""

    run_id: str = field(default="", repr=False, kw_only=True)
    seq: int = field(default=0, kw_only=True)
    time: float = field(default=0.0, repr=False, kw_only=True)
    cycle: int = field(default=0, kw_only=True)
    attempt: int = field(default=0, repr=False, kw_only=True)
    parent_run_id: str | None = field(default=None, repr=False, kw_only=True)
    parent_call_id: str | None = field(default=None, repr=False, kw_only=True)

    def as_own(self) -> Self:
        """A copy with the mapping face that the reader of its own run is shown."""
        kind: Any = type(self)
        copied: Self = object.__new__(kind)
        for name in _slots(kind):
            if hasattr(self, name):
                setattr(copied, name, getattr(self, name))
        copied._plain = True
        return copied

    def to_json(self) -> bytes:
        """The event as one line of JSON in UTF-8, without the fields that are None."""
        kind: Any = type(self)
        return adapter(kind).serializer.to_json(self, exclude_none=True)

    def __reduce__(self) -> tuple[Any, ...]:
        # Only fields travel: what a delta shares with its call is not the event's own.
        return _rebuild, (type(self), {f.name: getattr(self, f.name) for f in fields(self) if f.init})


@functools.cache
def _slots(cls: type) -> tuple[str, ...]:
    return tuple(name for base in cls.__mro__ for name in getattr(base, "__slots__", ()))


def _rebuild(cls: type[EventBase], state: dict[str, Any]) -> EventBase:
    return cls(**state)


@value
class RunStarted(EventBase):
    """A run has begun.

    Attributes:
        agent: The agent's name.
        model: The model, as `provider:model`.
        prompt: The messages that the run adds to the history before its first model call.
        session_id: The session that the run belongs to, or None.
        schema_version: The version of these events.
    """

    type: Literal["run_started"] = field(default="run_started", init=False)
    agent: str
    model: str
    prompt: tuple[Message, ...]
    session_id: str | None = None
    schema_version: int = SCHEMA_VERSION

    def _view(self) -> dict[str, Any]:
        return {"init_event_loop": True}


@value
class CycleStarted(EventBase):
    """A cycle has begun: one model call and the tools that it asks for."""

    type: Literal["cycle_started"] = field(default="cycle_started", init=False)

    def _view(self) -> dict[str, Any]:
        return {"start_event_loop": True}


@value
class ModelStarted(EventBase):
    """A model is being called.

    Attributes:
        model: The model, as `provider:model`.
        messages: How many messages it is given.
        tools: The names of the tools it is offered.
    """

    type: Literal["model_started"] = field(default="model_started", init=False)
    model: str
    messages: int
    tools: tuple[str, ...] = ()


@value
class TextDelta(EventBase):
    """A fragment of text. `block` tells the blocks of one message apart."""

    type: Literal["text_delta"] = field(default="text_delta", init=False)
    text: str
    block: int = 0

    def _view(self) -> dict[str, Any]:
        return {"data": self.text, "delta": {"text": self.text}}


@value
class ReasoningDelta(EventBase):
    """A fragment of reasoning, its signature, or a redacted piece of it."""

    type: Literal["reasoning_delta"] = field(default="reasoning_delta", init=False)
    text: str = ""
    block: int = 0
    signature: str | None = None
    redacted: str | None = None

    def _view(self) -> dict[str, Any]:
        view: dict[str, Any] = {}
        delta: dict[str, Any] = {}
        if self.signature is not None:
            view["reasoning_signature"] = delta["signature"] = self.signature
        if self.redacted is not None:
            view["reasoningRedactedContent"] = delta["redactedContent"] = self.redacted
        if self.text or not delta:
            view["reasoningText"] = delta["text"] = self.text
        return {"reasoning": True, **view, "delta": {"reasoningContent": delta}}


class _Sharing(EventBase):
    """A slot that is no field: JSON, equality, repr and pickle leave it out.

    Carried as text, the arguments so far of a call in 10,000 fragments cost 195 MB.
    """

    __slots__ = ("_shared",)
    _shared: Any


@value
class ToolCallDelta(_Sharing):
    """A fragment of a tool call's arguments; at least one per call, the first may be empty."""

    type: Literal["tool_call_delta"] = field(default="tool_call_delta", init=False)
    call_id: str
    tool: str
    fragment: str = ""
    block: int = 0

    def share(self, fragments: list[str]) -> None:
        """Append the fragment to the call's list, and remember how much of that list has come so far."""
        fragments.append(self.fragment)
        self._shared = (fragments, len(fragments))

    @property
    def text_so_far(self) -> str:
        """The call's arguments up to and with this fragment; on an event read back from JSON, the fragment."""
        shared = getattr(self, "_shared", None)
        if shared is None:
            return self.fragment
        fragments, count = shared
        return "".join(fragments[:count])

    def _view(self) -> dict[str, Any]:
        return {
            "current_tool_use": {"toolUseId": self.call_id, "name": self.tool, "input": self.text_so_far},
            "delta": {"toolUse": {"input": self.fragment}},
        }


@value
class ExtensionDelta(EventBase):
    """What the model's service wants back unchanged: a whole `Extension` of the message, and nothing to show.

    Attributes:
        provider: The name of the provider, which alone reads it.
        data: A JSON value of its own.
        block: Tells it from the other blocks of the message; its place is the one in which it came.
    """

    type: Literal["extension_delta"] = field(default="extension_delta", init=False)
    provider: str
    data: JsonValue = field(default=None, repr=False)
    block: int = 0


@value
class ModelFinished(EventBase):
    """A model has answered, or its answer was cut short.

    Attributes:
        stop_reason: Why the model stopped; `tool_use` where it asks for tools.
        usage: Tokens of this call.
        confidence: The model's own estimate that its answer is right, 0 to 1, where it gives one.
        first_token_s: Seconds from the call to the first delta, None where there was none.
        duration_s: Seconds from the call to its end.
        cost: What the call cost, in the currency of the prices; None where there is no price.
        model: The model that answered, as `provider:model`, where it is another than the one that was asked; the call
            costs what that one does.
        response_id: What the service calls its answer, where it says so.
    """

    type: Literal["model_finished"] = field(default="model_finished", init=False)
    stop_reason: StopReason
    usage: Usage = field(default_factory=Usage)
    confidence: float | None = None
    first_token_s: float | None = None
    duration_s: float = 0.0
    cost: float | None = None
    model: str | None = None
    response_id: str | None = None


@value
class MessageAdded(EventBase):
    """A message has joined the history: the assistant's answer, or the tools' results."""

    type: Literal["message_added"] = field(default="message_added", init=False)
    message: Message

    def _view(self) -> dict[str, Any]:
        content = [_seed_block(block) for block in self.message.content if not isinstance(block, Extension)]
        return {"message": {"role": self.message.role, "content": content}}


@value
class ToolStarted(EventBase):
    """A tool is about to run, on its final arguments."""

    type: Literal["tool_started"] = field(default="tool_started", init=False)
    call: ToolCall


@value
class ToolProgress(_Sharing):
    """Something that a running tool reports: a JSON value of its own."""

    type: Literal["tool_progress"] = field(default="tool_progress", init=False)
    call_id: str
    data: JsonValue = None

    def share(self, call: ToolCall) -> None:
        """Remember the call, for the mapping face."""
        self._shared = call

    def _view(self) -> dict[str, Any]:
        call: ToolCall | None = getattr(self, "_shared", None)
        tool_use = {"toolUseId": self.call_id} if call is None else _seed_block(call)["toolUse"]
        return {"tool_stream_event": {"tool_use": tool_use, "data": self.data}}


@value
class ToolFinished(EventBase):
    """A tool call is answered. Tools that ran together finish in the order in which they were done."""

    type: Literal["tool_finished"] = field(default="tool_finished", init=False)
    result: ToolResult
    duration_s: float = 0.0


@value
class DecisionRequested(EventBase):
    """Somebody has to decide before the run goes on.

    Attributes:
        request_id: Names the decision.
        kind: What is asked, such as `approve_tool`.
        call: The tool call in question, or None.
        why: Who asks and why, for a person to read.
        schema: The JSON schema of the answer.
        deadline: When the request lapses, in seconds since the epoch, or None.
        asked_of: Who is asked: whoever reads the stream, or the host's own approver, whom no reader can answer for.
    """

    type: Literal["decision_requested"] = field(default="decision_requested", init=False)
    request_id: str
    kind: str
    call: ToolCall | None = None
    why: str = ""
    schema: JsonValue = None
    deadline: float | None = None
    asked_of: Literal["reader", "approver"] = "reader"

    def _view(self) -> dict[str, Any]:
        view: dict[str, Any] = {"request_id": self.request_id, "kind": self.kind, "why": self.why}
        if self.call is not None:
            view["tool_use"] = _seed_block(self.call)["toolUse"]
        return {"tool_interrupt_event": view}


@value
class DecisionMade(EventBase):
    """A decision was made.

    Attributes:
        request_id: The decision asked for.
        outcome: What was decided: `allow`, `deny` or `edit`.
        by: Who decided: a plugin, a policy, or whoever was asked.
        call_id: The tool call in question, or None.
        reason: Why, where somebody has said so.
    """

    type: Literal["decision_made"] = field(default="decision_made", init=False)
    request_id: str
    outcome: Literal["allow", "deny", "edit"]
    by: str = ""
    call_id: str | None = None
    reason: str = ""

    def _view(self) -> dict[str, Any]:
        if self.outcome != "deny":
            return {}
        message = self.reason or f"denied by {self.by}"
        return {"tool_cancel_event": {"tool_use": {"toolUseId": self.call_id}, "message": message}}


@value
class RetryScheduled(EventBase):
    """A model call, or the call of a tool that allows it, failed and will be tried again.

    Attributes:
        reason: What failed.
        delay_s: Seconds until the next attempt.
        next_attempt: The attempt that will be made.
        call_id: The tool call, which keeps its `attempt` and its key; None where it is a model call.
    """

    type: Literal["retry_scheduled"] = field(default="retry_scheduled", init=False)
    reason: str
    delay_s: float
    next_attempt: int = 0
    call_id: str | None = None

    def _view(self) -> dict[str, Any]:
        return {"event_loop_throttled_delay": self.delay_s} if self.call_id is None else {}


@value
class OutputPartial(EventBase):
    """Structured output as far as it has come and been validated; not the final one."""

    type: Literal["output_partial"] = field(default="output_partial", init=False)
    value: JsonValue = None

    def _view(self) -> dict[str, Any]:
        return {"structured_output_partial": self.value}


@value
class PluginEvent(EventBase):
    """Something that a plugin has to say: its name, the event's name, and a JSON value."""

    type: Literal["plugin_event"] = field(default="plugin_event", init=False)
    plugin: str
    name: str
    data: JsonValue = None


@value
class PluginFailed(EventBase):
    """A plugin failed where the run can go on without it.

    Attributes:
        plugin: The plugin's name.
        hook: The hook, or the part of a sink, that failed.
        error: The exception's type and message.
        distribution: The distribution it came from, with its version, where it came from one.
    """

    type: Literal["plugin_failed"] = field(default="plugin_failed", init=False)
    plugin: str
    hook: str
    error: str
    distribution: str | None = None


@value
class CycleFinished(EventBase):
    """A cycle is over; `stop_reason` is `tool_use` where another one follows."""

    type: Literal["cycle_finished"] = field(default="cycle_finished", init=False)
    stop_reason: StopReason

    def _view(self) -> dict[str, Any]:
        # A cycle that an error cut short was not completed; the reader is told `force_stop` instead.
        return {} if self.stop_reason == "error" else {"complete": True}


@value
class RunFinished(EventBase):
    """The terminal event of a run that came to its end, or was brought to it."""

    type: Literal["run_finished"] = field(default="run_finished", init=False)
    result: AgentResult

    def _view(self) -> dict[str, Any]:
        return {"result": self.result}


@value
class ErrorInfo(Value):
    """An error as data.

    Attributes:
        kind: The name of the exception's class.
        message: Its text.
        plugin: The plugin at fault, where one is known.
        provider: The provider at fault, where one is known.
        retryable: Whether the same run may succeed later.
        code: What the model's service calls the error, where it says so.
        request_id: What the service calls the request, to be told to its support.
    """

    kind: str
    message: str
    plugin: str | None = None
    provider: str | None = None
    retryable: bool = False
    code: str | None = None
    request_id: str | None = None

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """What of `error` may leave the process: no traceback, no live object."""
        kind, message = type(error).__name__, _message(error)
        if isinstance(error, ProviderError):
            return cls(
                kind,
                message,
                provider=error.provider or None,
                retryable=error.retryable,
                code=_word(error.code),
                request_id=_word(error.request_id),
            )
        return cls(kind, message, plugin=error.plugin if isinstance(error, PluginError) else None)


def _word(given: object) -> str | None:
    return None if given is None else clean_text(str(given))


def _message(error: BaseException) -> str:
    name = type(error).__name__
    try:
        return clean_text(str(error)) or name
    except Exception:  # noqa: BLE001  the error's own `__str__` is broken, and the run must have its terminal event
        return name


@value
class RunFailed(EventBase):
    """The terminal event of a run that an error ended; the error itself is raised at the consumer after it."""

    type: Literal["run_failed"] = field(default="run_failed", init=False)
    error: ErrorInfo

    def _view(self) -> dict[str, Any]:
        return {"force_stop": True, "force_stop_reason": self.error.message}


@value
class UnknownEvent(EventBase):
    """An event of a type that this version does not know. Its JSON is that which it was read from.

    Attributes:
        name: Its type.
        data: The whole JSON object, as it was read.
    """

    type: Literal["unknown"] = field(default="unknown", init=False)
    name: str
    data: dict[str, JsonValue] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """The JSON object that the event was read from, with what has been stamped on it since."""
        from pydantic_core import to_json

        stamp = {f.name: given for f in fields(EventBase) if (given := getattr(self, f.name)) != f.default}
        return to_json({**self.data, "type": self.name, **stamp})


KnownEvent: TypeAlias = (
    RunStarted
    | CycleStarted
    | ModelStarted
    | TextDelta
    | ReasoningDelta
    | ToolCallDelta
    | ExtensionDelta
    | ModelFinished
    | MessageAdded
    | ToolStarted
    | ToolProgress
    | ToolFinished
    | DecisionRequested
    | DecisionMade
    | RetryScheduled
    | OutputPartial
    | PluginEvent
    | PluginFailed
    | CycleFinished
    | RunFinished
    | RunFailed
)

Event: TypeAlias = KnownEvent | UnknownEvent
"""What a run yields; `type` tells one from another."""

ModelEvent: TypeAlias = TextDelta | ReasoningDelta | ToolCallDelta | ExtensionDelta | ModelFinished | PluginEvent
"""What a provider may yield."""


_STAMP: Final = tuple(f.name for f in fields(EventBase))

_KNOWN: Final = {cls.__dataclass_fields__["type"].default: cls for cls in get_args(KnownEvent)}


def warm_up() -> None:
    """Build what the JSON of events and sessions needs, so that the first `to_json` does not hold up an event loop.

    Takes some 100 ms once; a host calls it where it starts up.
    """
    from becket.session import SessionState, SessionUpdate

    kinds: tuple[Any, ...] = get_args(Event)
    for kind in (*kinds, SessionState, SessionUpdate):
        adapter(kind)


def event_from_json(line: str | bytes) -> Event:
    """Read one event back. Fields that are not known are ignored; a type that is not known gives `UnknownEvent`.

    Raises:
        ProtocolError: `line` is no JSON object with a `type`, or a field of a known type does not fit.
    """
    from pydantic_core import from_json

    try:
        return _read(from_json(line, allow_inf_nan=False))
    except (ValueError, TypeError) as error:  # pydantic's ValidationError is a ValueError
        raise ProtocolError(f"this is no event: {line[:120]!r}: {error}") from error


def _read(raw: Any) -> Event:
    name = raw.get("type") if isinstance(raw, dict) else None
    if not isinstance(name, str):
        raise TypeError("an event is a JSON object with a text as its `type`")
    known: Any = _KNOWN.get(name, UnknownEvent)
    if known is UnknownEvent:
        raw = {"name": name, "data": raw} | {key: raw[key] for key in _STAMP if key in raw}
    event: Event = adapter(known).validate_python(raw)
    return event


def event_json_schema() -> dict[str, Any]:
    """The JSON schema of what `to_json` writes, a new object each time; `type` is required in each event.

    It knows the types of this version. An `UnknownEvent` is written as it was read, so it is not in there.
    """
    schema = adapter(Annotated[KnownEvent, ByType()]).json_schema(mode="serialization")
    for definition in schema["$defs"].values():
        if "const" in definition["properties"].get("type", {}):
            definition["required"] = ["type", *definition.get("required", [])]
    return schema


def _seed_block(block: _SeedBlock) -> dict[str, Any]:  # noqa: PLR0911  one for each kind of block
    """A block with the keys of the page becket started from (those of Bedrock's Converse API)."""
    match block:
        case Text():
            return {"text": block.text}
        case Json():
            return {"json": block.value}
        case ToolCall():
            return {"toolUse": {"toolUseId": block.id, "name": block.tool, "input": block.arguments}}
        case ToolResult():
            content = [_seed_block(item) for item in block.content]
            status = "success" if block.status == "success" else "error"
            return {"toolResult": {"toolUseId": block.call_id, "status": status, "content": content}}
        case Reasoning(redacted=None):
            text = {"text": block.text} | ({"signature": block.signature} if block.signature else {})
            return {"reasoningContent": {"reasoningText": text}}
        case Reasoning():
            return {"reasoningContent": {"redactedContent": block.redacted}}
        case _:
            source = {"url": block.url} if block.url else {"bytes": block.data}
            part = {"format": block.media_type.rpartition("/")[2], "source": source}
            if isinstance(block, Image):
                return {"image": part}
            return {"document": part | {"name": block.name}}
