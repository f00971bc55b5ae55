"""The events of a response's stream, as far as they are read.

The service sends each event with its type, and in every event of an item the item's place in the answer. Members that
are not named here are skipped as they are parsed; so are events of the types in `SILENT`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeAlias, get_args

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "SILENT",
    "ArgumentsDone",
    "ArgumentsPiece",
    "Begun",
    "Completed",
    "Event",
    "Failed",
    "Incomplete",
    "ItemAdded",
    "ItemDone",
    "Kind",
    "RefusalDone",
    "RefusalPiece",
    "ResponseDocument",
    "StreamError",
    "SummaryDone",
    "SummaryPiece",
    "TextDone",
    "TextPiece",
    "ThoughtDone",
    "ThoughtPiece",
    "Unknown",
    "UsageDocument",
    "decode",
    "decode_otherwise",
]


Kind: TypeAlias = Literal["text", "refusal", "summary", "thought"]
"""What a piece is of: a message's text, a refusal, the summary of reasoning, or reasoning itself where it is open."""


class _Placed(msgspec.Struct, gc=False):
    index: int = msgspec.field(default=0, name="output_index")


class _InContent(_Placed, gc=False):
    at: int = msgspec.field(default=0, name="content_index")


class _InSummary(_Placed, gc=False):
    at: int = msgspec.field(default=0, name="summary_index")


class TextPiece(_InContent, gc=False, tag="response.output_text.delta"):
    """A fragment of text."""

    kind: ClassVar[Kind] = "text"
    text: str = msgspec.field(default="", name="delta")


class RefusalPiece(_InContent, gc=False, tag="response.refusal.delta"):
    """A fragment of a refusal."""

    kind: ClassVar[Kind] = "refusal"
    text: str = msgspec.field(default="", name="delta")


class SummaryPiece(_InSummary, gc=False, tag="response.reasoning_summary_text.delta"):
    """A fragment of the summary of reasoning."""

    kind: ClassVar[Kind] = "summary"
    text: str = msgspec.field(default="", name="delta")


class ThoughtPiece(_InContent, gc=False, tag="response.reasoning_text.delta"):
    """A fragment of reasoning itself."""

    kind: ClassVar[Kind] = "thought"
    text: str = msgspec.field(default="", name="delta")


class ArgumentsPiece(_Placed, gc=False, tag="response.function_call_arguments.delta"):
    """A fragment of a call's arguments."""

    text: str = msgspec.field(default="", name="delta")


class TextDone(_InContent, gc=False, tag="response.output_text.done"):
    """A whole text."""

    kind: ClassVar[Kind] = "text"
    text: str = ""


class RefusalDone(_InContent, gc=False, tag="response.refusal.done"):
    """A whole refusal."""

    kind: ClassVar[Kind] = "refusal"
    text: str = msgspec.field(default="", name="refusal")


class SummaryDone(_InSummary, gc=False, tag="response.reasoning_summary_text.done"):
    """A whole part of the summary of reasoning."""

    kind: ClassVar[Kind] = "summary"
    text: str = ""


class ThoughtDone(_InContent, gc=False, tag="response.reasoning_text.done"):
    """A whole part of reasoning itself."""

    kind: ClassVar[Kind] = "thought"
    text: str = ""


class ArgumentsDone(_Placed, gc=False, tag="response.function_call_arguments.done"):
    """The whole arguments of a call."""

    text: str = msgspec.field(default="", name="arguments")


class ItemAdded(_Placed, tag="response.output_item.added"):
    """An item has begun."""

    item: dict[str, Any] | None = None


class ItemDone(_Placed, tag="response.output_item.done"):
    """A whole item."""

    item: dict[str, Any] | None = None


class _InputDetails(msgspec.Struct, gc=False):
    cached_tokens: int | None = None


class _OutputDetails(msgspec.Struct, gc=False):
    reasoning_tokens: int | None = None


class UsageDocument(msgspec.Struct, gc=False):
    """What a response has used."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


class _IncompleteDetails(msgspec.Struct, gc=False):
    reason: str | None = None


class ResponseDocument(msgspec.Struct):
    """A response at its end."""

    id: str | None = None
    status: str | None = None
    output: list[dict[str, Any]] | None = None
    usage: UsageDocument | None = None
    error: Any = None
    incomplete_details: _IncompleteDetails | None = None


class _ResponseId(msgspec.Struct, gc=False):
    id: str | None = None


class Begun(msgspec.Struct, gc=False, tag="response.created"):
    """The response has begun. Its document repeats the request, tools and all, and is skipped."""

    response: _ResponseId | None = None


class Completed(msgspec.Struct, tag="response.completed"):
    """The response is complete."""

    response: ResponseDocument


class Incomplete(msgspec.Struct, tag="response.incomplete"):
    """The response ends before its time."""

    response: ResponseDocument


class Failed(msgspec.Struct, tag="response.failed"):
    """The service could not go on."""

    response: ResponseDocument


class StreamError(msgspec.Struct, tag="error"):
    """The service could not go on, said without a response: with the error's members in the event, or below `error`."""

    error: Any = None
    message: str | None = None
    code: str | int | None = None
    param: str | None = None


Event: TypeAlias = (
    TextPiece
    | ArgumentsPiece
    | RefusalPiece
    | SummaryPiece
    | ThoughtPiece
    | TextDone
    | RefusalDone
    | ArgumentsDone
    | SummaryDone
    | ThoughtDone
    | ItemAdded
    | ItemDone
    | Begun
    | Completed
    | Incomplete
    | Failed
    | StreamError
)


class Unknown(msgspec.Struct, gc=False):
    """An event of another type."""

    type: str | None = None
    error: Any = None


SILENT: Final = (
    "keepalive",
    "response.in_progress",
    "response.queued",
    # What the parts hold comes in their texts, and once more with the item.
    "response.content_part.",
    "response.reasoning_summary_part.",
    "response.output_text.annotation.",
    # The progress of tools that the service runs itself: what they come to is an item.
    "response.apply_patch_call",
    "response.code_interpreter_call",
    "response.compaction.",
    "response.computer_call",
    "response.custom_tool_call_input.",
    "response.file_search_call.",
    "response.image_generation_call.",
    "response.local_shell_call",
    "response.mcp_",
    "response.shell_call",
    "response.tool_search_call",
    "response.web_search_call.",
    "response.audio.",
)
"""Beginnings of the types that are skipped without a word."""

_UNION: Any = Event  # a union is no class to a type checker
_KNOWN: Final = frozenset(kind.__struct_config__.tag for kind in get_args(Event))

decode: Final[Callable[[bytes], Any]] = msgspec.json.Decoder(_UNION).decode
"""The event that a JSON text is; it takes none of another type."""

_decode_unknown: Final = msgspec.json.Decoder(Unknown).decode


def decode_otherwise(data: bytes) -> Any:
    """An event that `decode` does not take: one of another type, or JSON in which half a surrogate pair stands.

    Raises:
        ValueError: It is no event. So are msgspec's errors.
        RecursionError: It is nested too deeply.
    """
    try:
        unknown = _decode_unknown(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        unknown = None
    if unknown is not None and unknown.type not in _KNOWN:
        return unknown
    document = json.loads(data)
    known = isinstance(document, dict) and document.get("type") in _KNOWN
    return msgspec.convert(document, _UNION if known else Unknown)
