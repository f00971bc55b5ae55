"""Messages as Gemini's `contents`: decisions only, no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from becket import Document, Extension, Image, Json, Text, ToolCall, ToolResult
from becket_wire import dumps, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from becket import Message

__all__ = ["OWN_ID", "SKIP_SIGNATURE", "contents", "encoder"]

OWN_ID: Final = "google-call-"
"""What the ids of calls begin with that the service gave none; these are not sent to it."""

SKIP_SIGNATURE: Final = "skip_thought_signature_validator"
"""Stands for the signature of a call that Gemini 3 did not make, and that it would refuse without one.

https://ai.google.dev/gemini-api/docs/thought-signatures (FAQs) gives two values for histories of other models, this one
and `context_engineering_is_the_way_to_go`; https://docs.cloud.google.com/vertex-ai/generative-ai/docs/thought-signatures
gives this one alone, and it is what Google's own gemini-cli sends, as it stands.
"""

_OPENING: Final = b'{"role":"user","parts":[{"text":"(The conversation so far:)"}]}'
"""Stands before a history that begins with the model: the first content must be the user's."""

_BEGUN: Final = frozenset({"executableCode", "toolCall"})
"""What the service follows up itself; at the end of an interrupted answer, what follows is missing."""

_MODEL: Final = b'{"role":"model"'


def contents(pieces: Sequence[bytes]) -> list[bytes]:
    """The contents of a request, of their pieces."""
    return [_OPENING, *pieces] if pieces and pieces[0].startswith(_MODEL) else list(pieces)


def encoder(provider: str, *, gemini_3: bool) -> Callable[[Message, Sequence[Message]], bytes]:
    """What makes the content of a message, for a `Transcript`.

    Contents of one role may follow each other, so each message is one; that keeps what was encoded once as it is.

    Args:
        provider: The provider's name: its extensions go back, those of others do not.
        gemini_3: Whether the model is one; see `is_gemini_3`.
    """

    def encode(message: Message, before: Sequence[Message]) -> bytes:
        if message.role == "assistant":
            role, parts = "model", _model_parts(message, provider)
            if gemini_3:
                _sign(parts)
        else:
            role, parts = "user", _user_parts(message, before, within=gemini_3)
        return dumps({"role": role, "parts": parts}) if parts else b""

    return encode


def _model_parts(message: Message, provider: str) -> list[dict[str, Any]]:
    """The parts of an answer. Reasoning is not sent back, only its signatures are."""
    parts: list[dict[str, Any]] = []
    previous: object = None
    for block in message.content:
        match block:
            case Text(text=text):
                if text:
                    parts.append({"text": text})
            case ToolCall():
                parts.append({"functionCall": _call(block)})
            case Image() | Document():
                parts.append(_media(block))
            case Extension() if block.provider == provider and isinstance(block.data, dict):
                _extend(parts, block.data, previous)
            case _:
                continue
        previous = block
    while message.interrupted and parts and not _BEGUN.isdisjoint(parts[-1]):
        parts.pop()
    return parts


def _call(call: ToolCall) -> dict[str, Any]:
    """A call; one whose arguments were no JSON object is sent without them, and its result says what was wrong."""
    made: dict[str, Any] = {"name": call.tool, "args": call.arguments}
    if not call.id.startswith(OWN_ID):
        made["id"] = call.id
    return made


def _extend(parts: list[dict[str, Any]], data: dict[str, Any], previous: object) -> None:
    """Put back what the service wants back: a part of its own, or the signature of the part before it."""
    match data:
        case {"part": dict(part)}:
            if data.get("note") and isinstance(previous, Text) and previous.text:
                parts.pop()  # a text of ours that tells readers of the part
            parts.append(part)
        case {"thoughtSignature": str(signature), "call": call_id}:
            # Without its call, as in an answer that was interrupted, a signature seals nothing.
            if isinstance(previous, ToolCall) and previous.id == call_id:
                parts[-1]["thoughtSignature"] = signature
        case {"thoughtSignature": str(signature), "chars": int(chars)}:
            tail = ""
            if chars > 0 and isinstance(previous, Text) and previous.text:
                text = parts.pop()["text"]
                tail = text[-chars:]
                if len(tail) < len(text):
                    parts.append({"text": text[:-chars]})
            parts.append({"text": tail, "thoughtSignature": signature})


def _sign(parts: list[dict[str, Any]]) -> None:
    """Give the first call what stands for a signature, where it has none: of parallel calls only the first has one."""
    for part in parts:
        if "functionCall" in part:
            part.setdefault("thoughtSignature", SKIP_SIGNATURE)
            return


def _user_parts(message: Message, before: Sequence[Message], *, within: bool) -> list[dict[str, Any]]:
    """The parts of a message of the user. `within`: media of a result stand in it, and not after all of them."""
    parts: list[dict[str, Any]] = []
    beside: list[dict[str, Any]] = []
    for block in message.content:
        match block:
            case Text(text=text) if text:
                parts.append({"text": text})
            case Image() | Document():
                parts.append(_media(block))
            case ToolResult():
                response = _response(block, _tool_of(block.call_id, before))
                if media := [_media(item) for item in block.content if isinstance(item, Image | Document)]:
                    if within:
                        response["parts"] = media
                    else:
                        beside += media
                parts.append({"functionResponse": response})
    return parts + beside


def _response(result: ToolResult, tool: str) -> dict[str, Any]:
    """A result: `output` or `error`, the two keys that the service knows; alone, a JSON value goes as it is."""
    output: Any = text_of(result)
    if len(result.content) == 1 and isinstance(result.content[0], Json):
        output = result.content[0].value
    key = "output" if result.status == "success" else "error"
    response: dict[str, Any] = {"name": tool, "response": {key: output}}
    if not result.call_id.startswith(OWN_ID):
        response["id"] = result.call_id
    return response


def _tool_of(call_id: str, before: Sequence[Message]) -> str:
    """The name of the tool that was called; the service wants it in the response, too."""
    for message in reversed(before):
        for call in message.tool_calls:
            if call.id == call_id:
                return call.tool
    return "unknown"


def _media(block: Image | Document) -> dict[str, Any]:
    if block.url is not None:
        return {"fileData": {"mimeType": block.media_type, "fileUri": block.url}}
    return {"inlineData": {"mimeType": block.media_type, "data": block.data}}
