"""Messages and the content blocks they are made of.

A block is a finished piece of a message; the fragments it streamed in as are deltas, and those are events
(`becket.events`). Every value here serialises to JSON and back to an equal value.
"""

from __future__ import annotations

import base64
from dataclasses import field, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from becket._values import JsonValue, adapter, clean_text, value
from becket.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "AgentResult",
    "ContentBlock",
    "Document",
    "Image",
    "Json",
    "MalformedArguments",
    "Message",
    "Prompt",
    "Reasoning",
    "ResultBlock",
    "Role",
    "StopReason",
    "Text",
    "ToolCall",
    "ToolResult",
    "ToolStatus",
    "Usage",
    "to_messages",
]

Role: TypeAlias = Literal["user", "assistant"]

ToolStatus: TypeAlias = Literal["success", "error", "interrupted", "denied"]

StopReason: TypeAlias = Literal[
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "content_filtered",
    "cancelled",
    "interrupted",
    "limit_cycles",
    "limit_tool_calls",
    "limit_tokens",
    "limit_time",
    # Only inside a run, never a run's own: the model asked for tools; the run is about to fail.
    "tool_use",
    "error",
]


class _Shown:
    """A repr of the fields that differ from their default, in the order a reader wants them."""

    __slots__ = ()

    def __repr__(self) -> str:
        shown = (f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.init)  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(shown)})"


@value
class Text(_Shown):
    """Plain text."""

    type: Literal["text"] = field(default="text", init=False)
    text: str


@value
class Reasoning(_Shown):
    """What a model thought before it answered.

    Attributes:
        text: The reasoning as far as the service shows it.
        signature: The service's seal on the text; goes back to the same service unchanged.
        redacted: Reasoning that the service shows only encrypted.
    """

    type: Literal["reasoning"] = field(default="reasoning", init=False)
    text: str = ""
    signature: str | None = None
    redacted: str | None = None


@value
class Image(_Shown):
    """An image, by its bytes or by reference.

    Attributes:
        media_type: Such as `image/png`.
        data: The bytes in base64, empty where `url` is set.
        url: Where the service can fetch it, or None.
    """

    type: Literal["image"] = field(default="image", init=False)
    media_type: str
    data: str = ""
    url: str | None = None

    @classmethod
    def from_bytes(cls, raw: bytes, *, media_type: str) -> Image:
        """An image of these bytes."""
        return cls(media_type, base64.b64encode(raw).decode("ascii"))


@value
class Document(_Shown):
    """A document, such as a PDF, by its bytes or by reference. The attributes are those of `Image`, and a name."""

    type: Literal["document"] = field(default="document", init=False)
    media_type: str
    data: str = ""
    url: str | None = None
    name: str = ""

    @classmethod
    def from_bytes(cls, raw: bytes, *, media_type: str, name: str = "") -> Document:
        """A document of these bytes."""
        return cls(media_type, base64.b64encode(raw).decode("ascii"), name=name)


@value
class Json(_Shown):
    """A JSON value in a tool's result."""

    type: Literal["json"] = field(default="json", init=False)
    value: JsonValue


@value
class MalformedArguments(_Shown):
    """What a model wrote where a tool call's arguments should stand.

    Attributes:
        text: The text as it came, cut off after 2,000 characters.
        reason: Why it is not a JSON object, for the model to read.
    """

    text: str
    reason: str


@value
class ToolCall(_Shown):
    """A model's request to call a tool.

    Attributes:
        id: Pairs the call with its result; unique within its message.
        tool: The tool's name, as the model wrote it.
        arguments: The arguments, a JSON object. Empty, and not to be used, where `malformed` is set.
        malformed: Set where the model's text was no JSON object, or the call must be refused as it stands.
    """

    type: Literal["tool_call"] = field(default="tool_call", init=False)
    id: str
    tool: str
    arguments: dict[str, JsonValue] = field(default_factory=dict)
    malformed: MalformedArguments | None = None


ResultBlock: TypeAlias = Text | Json | Image | Document


@value
class ToolResult(_Shown):
    """The answer to one tool call.

    Attributes:
        call_id: The call it answers.
        status: `success`, `error` (it failed), `interrupted` (the run ended first) or `denied` (a policy said no).
        content: What the model gets to read.
    """

    type: Literal["tool_result"] = field(default="tool_result", init=False)
    call_id: str
    status: ToolStatus
    content: tuple[ResultBlock, ...] = ()

    @property
    def text(self) -> str:
        """The text and JSON of the content, for showing to a person."""
        parts = []
        for block in self.content:
            if isinstance(block, Text):
                parts.append(block.text)
            elif isinstance(block, Json):
                parts.append(adapter(Any).dump_json(block.value).decode())
            else:
                parts.append(f"[{block.type} {block.media_type}]")
        return "\n".join(parts)


ContentBlock: TypeAlias = Text | Reasoning | ToolCall | ToolResult | Image | Document


@value
class Message(_Shown):
    """One message of a history.

    Attributes:
        role: Who speaks. Tool results are spoken by the user, as the services have it.
        content: The blocks, in order.
        interrupted: The run ended while this message was being made; it holds what was there.
    """

    role: Role
    content: tuple[ContentBlock, ...]
    interrupted: bool = False

    @property
    def text(self) -> str:
        """The text blocks joined, without reasoning and tool calls."""
        return "".join(block.text for block in self.content if isinstance(block, Text))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls, in order."""
        return tuple(block for block in self.content if isinstance(block, ToolCall))


@value
class Usage(_Shown):
    """Tokens, as the model service counts them; zero where it does not say.

    Attributes:
        input_tokens: Read by the model, `cached_tokens` included.
        output_tokens: Written by the model, `reasoning_tokens` included.
        cached_tokens: Of the input, those read from the service's cache.
        reasoning_tokens: Of the output, those spent on reasoning.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


@value
class AgentResult(_Shown):
    """How a run ended.

    Attributes:
        stop_reason: Why; see EVENTS in the reference for the list.
        message: The last message of the assistant, or None where the run ended before there was one.
        usage: Tokens of all model calls together.
        cycles: Model calls that were answered or begun.
        output: The structured output, as JSON, where one was asked for.
    """

    stop_reason: StopReason
    message: Message | None = None
    usage: Usage = field(default_factory=Usage)
    cycles: int = 0
    output: JsonValue = None

    @property
    def text(self) -> str:
        """The text of the last message."""
        return self.message.text if self.message else ""

    def __str__(self) -> str:
        return self.text


Prompt: TypeAlias = "str | Message | Sequence[ContentBlock] | Sequence[Message]"


def to_messages(prompt: Prompt) -> tuple[Message, ...]:
    """The messages that a prompt stands for: a text, the blocks of one user message, or a whole conversation.

    Raises:
        ConfigError: The prompt is empty, mixes blocks with messages, or holds a tool call without its result.
    """
    if isinstance(prompt, str):
        if not prompt.strip():
            raise ConfigError("the prompt is empty; give a text, content blocks or messages")
        return (Message("user", (Text(clean_text(prompt)),)),)
    if isinstance(prompt, Message):
        prompt = (prompt,)
    items = tuple(prompt)
    if not items:
        raise ConfigError("the prompt is empty; give a text, content blocks or messages")
    messages = tuple(_cleaned(item) for item in items if isinstance(item, Message))
    if len(messages) == len(items):
        _check_pairs(messages)
        return messages
    strange = [item for item in items if not isinstance(item, Text | Image | Document)]
    if strange:
        raise ConfigError(
            f"a prompt is a text, or a list of Text, Image and Document blocks, or a list of Message; "
            f"this one holds {strange[0]!r}"
        )
    return (_cleaned(Message("user", items)),)  # type: ignore[arg-type]


def _cleaned(message: Message) -> Message:
    """`message` without lone surrogates in its text."""
    if all(clean_text(block.text) is block.text for block in message.content if isinstance(block, Text)):
        return message
    content = tuple(Text(clean_text(block.text)) if isinstance(block, Text) else block for block in message.content)
    return Message(message.role, content, message.interrupted)


def _check_pairs(messages: Iterable[Message]) -> None:
    """Refuse a history in which a tool call and its result do not stand in neighbouring messages."""
    asked: set[str] = set()
    for message in messages:
        answered = {block.call_id for block in message.content if isinstance(block, ToolResult)}
        if answered != asked:
            odd = sorted(answered ^ asked)[0]
            what = "has no result in the next message" if odd in asked else "is answered but was not called just before"
            raise ConfigError(f"the tool call {odd!r} of this history {what}; model services refuse such a history")
        asked = {call.id for call in message.tool_calls}
    if asked:
        raise ConfigError(
            f"the tool call {sorted(asked)[0]!r} of this history has no result; model services refuse such a history"
        )
