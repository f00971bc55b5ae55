"""What the Messages API sends, as far as it is read. Fields that are not here are skipped by the decoder."""

from __future__ import annotations

from typing import Any, Final

import msgspec

__all__ = [
    "UNREADABLE",
    "Container",
    "Delta",
    "Event",
    "ModelPage",
    "Start",
    "decode_event",
    "decode_page",
    "decode_start",
]


UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError)
"""What a decoder raises; text in JSON that is no UTF-8 is an error of Python's."""

_NOTHING: Final = msgspec.Raw()


class Details(msgspec.Struct, gc=False):
    """How the output tokens divide."""

    thinking_tokens: int | None = None


class Usage(msgspec.Struct, gc=False):
    """Tokens. Those of a `message_delta` are totals, and take the place of what came before; null is not said."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens_details: Details | None = None


class Container(msgspec.Struct, gc=False):
    """Where tools of the service run, and the files that they leave there."""

    id: str
    expires_at: str | None = None


class StopDetails(msgspec.Struct, gc=False):
    """Why the model refused."""

    explanation: str | None = None


class Delta(msgspec.Struct, gc=False):
    """A fragment of a block, or of the message.

    One structure for all types: a union of several decodes no faster, and fails at a type that it does not know.
    """

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    signature: str | None = None
    citation: msgspec.Raw = _NOTHING
    content: str | None = None
    encrypted_content: str | None = None
    stop_reason: str | None = None
    stop_details: StopDetails | None = None
    container: Container | None = None


class Begun(msgspec.Struct):
    """The message as it begins: without content."""

    id: str | None = None
    usage: Usage | None = None
    container: Container | None = None


class Problem(msgspec.Struct):
    """An error as it is described in a stream."""

    type: str | None = None
    message: str | None = None


class Event(msgspec.Struct):
    """One event of a stream, of whatever type."""

    type: str
    index: int = 0
    delta: Delta | None = None
    content_block: msgspec.Raw = _NOTHING
    message: Begun | None = None
    usage: Usage | None = None
    error: Problem | None = None


class Start(msgspec.Struct):
    """A content block as it begins."""

    type: str
    text: str | None = None
    citations: list[Any] | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = _NOTHING
    caller: dict[str, Any] | None = None
    toolset_name: str | None = None


class Listed(msgspec.Struct):
    """A model in the service's list."""

    id: str
    display_name: str | None = None


class ModelPage(msgspec.Struct):
    """A page of the service's list of models."""

    data: list[Listed]
    has_more: bool | None = None
    last_id: str | None = None


decode_event: Final = msgspec.json.Decoder(Event).decode
decode_start: Final = msgspec.json.Decoder(Start).decode
decode_page: Final = msgspec.json.Decoder(ModelPage).decode
