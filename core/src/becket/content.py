"""Messages and the content blocks they are made of.

A block is a finished piece of a message; the fragments it streamed in as are deltas, and those are events
(`becket.events`). Every value here serialises to JSON and back to an equal value.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import field, replace
from operator import is_
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, Literal, NoReturn, TypeAlias, get_args

from becket._values import ByType, JsonValue, Value, adapter, clean_text, to_json_value, value
from becket.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed import DataclassInstance
    from typing_extensions import TypeVar  # for the default, which Python 3.11 has not

    _T_co = TypeVar("_T_co", covariant=True, default=JsonValue)
else:
    from typing import TypeVar

    _T_co = TypeVar("_T_co", covariant=True)

B = TypeVar("B", bound="DataclassInstance")

__all__ = [
    "AgentResult",
    "ContentBlock",
    "Document",
    "Extension",
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
    "checked_block",
    "to_conversation",
    "to_messages",
]

Role: TypeAlias = Literal["user", "assistant"]
"""Who speaks a message."""

ToolStatus: TypeAlias = Literal["success", "error", "interrupted", "denied"]
"""What became of a tool call."""

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
    "limit_cost",
    "limit_time",
    # Only inside a run, never a run's own: the model asked for tools; the run is about to fail.
    "tool_use",
    "error",
]
"""Why a run ended, or a model call or cycle in it, where also `tool_use` and `error` are reasons."""


@value
class Text(Value):
    """Plain text."""

    type: Literal["text"] = field(default="text", init=False)
    text: str


@value
class Reasoning(Value):
    """What a model thought before it answered.

    Attributes:
        text: The reasoning as far as the service shows it.
        signature: The service's seal on the text; goes back to the same service unchanged. None where the service sets
            none, and in an interrupted message where the text was cut off before it came; a provider whose service
            wants the seal leaves such a block out of its request.
        redacted: Reasoning that the service shows only encrypted.
    """

    type: Literal["reasoning"] = field(default="reasoning", init=False)
    text: str = ""
    signature: str | None = None
    redacted: str | None = None


@value
class Image(Value):
    """An image, by its bytes or by reference.

    Attributes:
        media_type: Such as `image/png`.
        data: The bytes in base64, empty where `url` is set.
        url: Where the service can fetch it, or None.
    """

    type: Literal["image"] = field(default="image", init=False)
    media_type: str
    data: str = field(default="", repr=False)
    url: str | None = None

    @classmethod
    def from_bytes(cls, raw: bytes, *, media_type: str) -> Image:
        """An image of these bytes."""
        return cls(media_type, base64.b64encode(raw).decode("ascii"))


@value
class Document(Value):
    """A document, such as a PDF, by its bytes or by reference. The attributes are those of `Image`, and a name."""

    type: Literal["document"] = field(default="document", init=False)
    media_type: str
    data: str = field(default="", repr=False)
    url: str | None = None
    name: str = ""

    @classmethod
    def from_bytes(cls, raw: bytes, *, media_type: str, name: str = "") -> Document:
        """A document of these bytes."""
        return cls(media_type, base64.b64encode(raw).decode("ascii"), name=name)


@value
class Json(Value):
    """A JSON value in a tool's result."""

    type: Literal["json"] = field(default="json", init=False)
    value: JsonValue = None


@value
class MalformedArguments(Value):
    """What a model wrote where a tool call's arguments should stand.

    Attributes:
        text: The text as it came, cut off after 2,000 characters.
        reason: Why it is not a JSON object, for the model to read.
    """

    text: str
    reason: str


@value
class ToolCall(Value):
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
"""What a tool's result is made of."""


@value
class ToolResult(Value):
    """The answer to one tool call.

    Attributes:
        call_id: The call it answers.
        status: `success`, `error` (it failed), `interrupted` (the run ended first) or `denied` (a policy said no).
        content: What the model gets to read.
    """

    type: Literal["tool_result"] = field(default="tool_result", init=False)
    call_id: str
    status: ToolStatus
    content: tuple[Annotated[ResultBlock, ByType()], ...] = ()

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


@value
class Extension(Value):
    """What one model service has put into its answer for itself alone, and wants back unchanged.

    Such as the seal on a part of the answer, or what a tool that the service runs itself has found. It stands in the
    assistant's message where it came. Only the provider that made it reads it, and every other leaves it out of its
    request; one whose service takes it only beside what it belongs to looks for that: in an interrupted message the
    tool call after it may be missing.

    Attributes:
        provider: The name of the provider.
        data: A JSON value of its own. Masks change the text in it, as in every other.
    """

    type: Literal["extension"] = field(default="extension", init=False)
    provider: str
    data: JsonValue = field(default=None, repr=False)


ContentBlock: TypeAlias = Text | Reasoning | ToolCall | ToolResult | Image | Document | Extension
"""What a message is made of."""


@value
class Message(Value):
    """One message of a history.

    Attributes:
        role: Who speaks. Tool results are spoken by the user, as the services have it.
        content: The blocks, in order.
        interrupted: The run ended while this message was being made; it holds what was there.
    """

    role: Role
    content: tuple[Annotated[ContentBlock, ByType()], ...]
    interrupted: bool = False

    @property
    def text(self) -> str:
        """The text blocks joined, without reasoning and tool calls."""
        return "".join(block.text for block in self.content if isinstance(block, Text))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls, in order."""
        return tuple(block for block in self.content if isinstance(block, ToolCall))

    @property
    def tool_results(self) -> tuple[ToolResult, ...]:
        """The tool results, in the order of their calls."""
        return tuple(block for block in self.content if isinstance(block, ToolResult))


@value
class Usage(Value):
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
class AgentResult(Value, Generic[_T_co]):
    """How a run ended.

    Its parameter is the type of the output. In an event that is JSON, always; where a caller awaits the result, it is
    what the caller asked for.

    Attributes:
        stop_reason: Why.
        message: The last message of the assistant, or None where the run ended before there was one.
        usage: Tokens of all model calls together.
        cycles: Cycles begun.
        output: The structured output, where one was asked for and the run came to it: JSON in an event, the validated
            Python value in what `invoke_async` and a sync call return. None where a limit, a cancellation or a cut-off
            answer ended the run first; `stop_reason` tells which.
        cost: What the model calls cost, in the currency of the prices; None where there is no price.
    """

    stop_reason: StopReason
    message: Message | None = None
    usage: Usage = field(default_factory=Usage)
    cycles: int = 0
    output: _T_co = None  # type: ignore[assignment]  # the default of the parameter is JSON, and holds None
    cost: float | None = None

    @property
    def text(self) -> str:
        """The text of the last message."""
        return self.message.text if self.message else ""

    def __str__(self) -> str:
        return self.text


Prompt: TypeAlias = "str | Message | Sequence[ContentBlock] | Sequence[Message]"
"""What a run is asked: a text, one message or its blocks, or the messages that go on a conversation."""


_ROLES: Final = get_args(Role)
_STATUSES: Final = get_args(ToolStatus)
_OPTIONAL: Final = ("malformed", "redacted", "signature", "url")
_QUOTED: Final = 500
_EMPTY: Final = "the prompt is empty; give a text, content blocks or messages"
_FORMS: Final = "a prompt is a text, or a list of Text, Image and Document blocks, or a list of Message"


def to_messages(prompt: Prompt) -> tuple[Message, ...]:
    """The messages that a prompt stands for: a text, the blocks of one user message, or a whole conversation.

    Raises:
        ConfigError: The prompt is empty or blank, is none, mixes blocks with messages, or is a conversation in which a
            tool call and its result do not stand in neighbouring messages.
    """
    return to_conversation((), prompt)[1]


def to_conversation(history: Sequence[Message], prompt: Prompt) -> tuple[list[Message], tuple[Message, ...]]:
    """A history and the messages that a prompt adds to it, which may answer the history's last tool calls.

    Raises:
        ConfigError: As `to_messages`, of the two together.
    """
    earlier = [_checked(message) for message in history]
    added = _messages_of(prompt)
    _check_pairs((*earlier, *added))
    return earlier, added


def _messages_of(prompt: Prompt) -> tuple[Message, ...]:
    if isinstance(prompt, str):
        prompt = (Text(prompt),)
    elif isinstance(prompt, Message):
        prompt = (prompt,)
    elif not isinstance(prompt, Sequence):
        raise ConfigError(f"{_FORMS}; this one is {_shown(prompt)}")
    if not prompt:
        raise ConfigError(_EMPTY)
    if isinstance(prompt[0], Message):
        return tuple(_checked(item) for item in prompt)
    for item in prompt:
        if not isinstance(item, Text | Image | Document):
            raise ConfigError(f"{_FORMS}; this one holds {_shown(item)}")
    return (_checked(Message("user", tuple(prompt))),)  # type: ignore[arg-type]  # they were just looked at


def _checked(message: object) -> Message:
    """`message` with its content as a tuple, its text cleaned and its JSON made JSON; the same object where it is so.

    Raises:
        ConfigError: It is none that a model service would take.
    """
    if not isinstance(message, Message):
        raise ConfigError(f"{_FORMS}; this one holds {_shown(message)} among messages")
    if message.role not in _ROLES:
        raise ConfigError(
            f"role is {message.role!r} in {_shown(message)}; it must be one of: {', '.join(_ROLES)}; instructions for "
            f"the model go into Agent(system_prompt=...)"
        )
    content = _checked_blocks(message.content, ContentBlock)
    blank = all(isinstance(block, Text) and not block.text.strip() for block in content)
    if blank and (message.role == "user" or not content):  # an assistant's blank text is what a model wrote
        raise ConfigError(_EMPTY if message.role == "user" else f"{_shown(message)} has no content; leave it out")
    return message if content is message.content else replace(message, content=content)


def _shown(given: object) -> str:
    """What an error quotes of a value: an image's bytes where its type should be are no help to anybody."""
    text = repr(given)
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…"


def _checked_blocks(given: object, kinds: Any) -> tuple[Any, ...]:
    if not isinstance(given, list | tuple) or not all(isinstance(block, kinds) for block in given):
        raise ConfigError(f"content is a list of blocks, such as Text('...'), and this is {_shown(given)}")
    blocks = tuple(checked_block(block) for block in given)
    return given if isinstance(given, tuple) and all(map(is_, given, blocks)) else blocks


def checked_block(block: B) -> B:
    """`block` with its text cleaned and its JSON made JSON; the same object where it is so.

    Raises:
        ConfigError: A value in it is none that may stand there: the block could not be written as JSON and read back.
    """
    changes: dict[str, Any] = {}
    for name in type(block).__match_args__:  # type: ignore[attr-defined]  # every dataclass has it
        given = getattr(block, name)
        checked = _checked_field(block, name, given)
        if checked is not given:
            changes[name] = checked
    return replace(block, **changes) if changes else block


def _checked_field(block: object, name: str, given: Any) -> Any:
    if name == "content":
        return _checked_blocks(given, ResultBlock)
    if name in ("arguments", "value") or (name == "data" and isinstance(block, Extension)):
        return _checked_json(block, name, given)
    if given is None and name in _OPTIONAL:
        return None
    if name == "malformed" and isinstance(given, MalformedArguments):
        return checked_block(given)
    if name == "status" and given not in _STATUSES:
        raise ConfigError(f"status is {_shown(given)} in {_shown(block)}; it must be one of: {', '.join(_STATUSES)}")
    if name == "malformed" or not isinstance(given, str):
        wanted = "MalformedArguments" if name == "malformed" else "a text"
        raise ConfigError(f"{name} is {_shown(given)} in {_shown(block)}; it must be {wanted}")
    return clean_text(given)


def _checked_json(block: object, name: str, given: Any) -> Any:
    try:
        as_json = to_json_value(given)
    except ValueError as error:
        raise ConfigError(f"{_shown(block)} is no JSON: {error}") from error
    if name == "arguments" and not isinstance(as_json, dict):
        raise ConfigError(f"arguments is {_shown(given)} in {_shown(block)}; it must be a dict")
    return given if given == as_json else as_json


def _check_pairs(messages: Iterable[Message]) -> None:
    """Refuse a history in which a tool call and its one result do not stand in neighbouring messages."""
    asked: Counter[str] = Counter()
    for message in messages:
        answered = Counter(block.call_id for block in message.content if isinstance(block, ToolResult))
        if answered != asked:
            odd = min((answered - asked) + (asked - answered))
            _refuse(
                odd, "has no result in the next message" if asked[odd] else "is answered but was not called just before"
            )
        asked = Counter(call.id for call in message.tool_calls)
        if twice := [call_id for call_id, times in asked.items() if times > 1]:
            _refuse(twice[0], "stands twice in one message")
    if asked:
        _refuse(min(asked), "has no result")


def _refuse(call_id: str, why: str) -> NoReturn:
    raise ConfigError(f"the tool call {call_id!r} of this history {why}; model services refuse such a history")
