"""The history as the service takes it: JSON, a message at a time.

Every message here is written as `{"role":"user","content":[{…},{…}]}`, byte for byte in this form: `_request.py` joins
messages, and puts the marks of the cache into them, by their ends.

What this provider has put beside blocks in `Extension`s goes back into them; their `data` has one of the keys

- `signed`: the reasoning before it is this provider's, and true where it bears a signature: some services that are
  compatible sign nothing. Any other reasoning was made by another model, or was cut off, and is left out: the service
  refuses a signature that is none of its own.
- `citations`: those of the text before it.
- `call`: members of the tool call before it that `ToolCall` has no field for.
- `block`: a block of the service's own, whole: what its tools were asked and have found.
- `container`: where the service's tools ran; `_request.py` reads it.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from typing import TYPE_CHECKING, Any, Final

from becket import Document, Extension, Image, Json, Reasoning, Text, ToolCall, ToolResult
from becket_wire import dumps, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from becket import Message

__all__ = ["ASSISTANT", "END", "USER", "Writer"]

USER: Final = b'{"role":"user","content":['
ASSISTANT: Final = b'{"role":"assistant","content":['
END: Final = b"]}"

_NOT_IN_AN_ID: Final = re.compile(r"[^a-zA-Z0-9_-]")
_NAME_CHARS: Final = 128
_THINKING: Final = ("thinking", "redacted_thinking")

Block = dict[str, Any]


class Writer:
    """Writes messages.

    Args:
        provider: The provider's name: whose extensions are read.
    """

    __slots__ = ("_provider",)

    def __init__(self, provider: str) -> None:
        self._provider = provider

    def piece(self, message: Message, before: Sequence[Message]) -> bytes:  # noqa: ARG002  as `Transcript` calls it
        """A message; empty where nothing of it is left to send."""
        blocks = self._user(message) if message.role == "user" else self.assistant(message)
        return _framed(USER if message.role == "user" else ASSISTANT, blocks)

    def thinks(self, message: Message) -> bool:
        """Whether an assistant's message begins with thinking, as the service reads it."""
        blocks = self.assistant(message)
        return bool(blocks) and blocks[0]["type"] in _THINKING

    def container(self, message: Message) -> dict[str, Any] | None:
        """Where tools of the service ran in this message, the last of them."""
        for block in reversed(message.content):
            beside = self._own(block)
            if beside is not None and isinstance(found := beside.get("container"), dict):
                return found
        return None

    def _own(self, block: object) -> dict[str, Any] | None:
        """The data of an extension that this provider made; None of anything else."""
        if isinstance(block, Extension) and block.provider == self._provider and isinstance(block.data, dict):
            return block.data
        return None

    # -- what the user says -----------------------------------------------------------------------------------------

    @staticmethod
    def _user(message: Message) -> list[Block]:
        """The blocks of a user's message: results first, as the service wants them."""
        results = [_result(block) for block in message.content if isinstance(block, ToolResult)]
        said = (_said(block) for block in message.content if not isinstance(block, ToolResult))
        return results + [block for block in said if block is not None]

    # -- what the assistant says ------------------------------------------------------------------------------------

    def assistant(self, message: Message) -> list[Block]:
        """The blocks of an assistant's message."""
        blocks = list(self._spoken(message))
        if message.interrupted:
            blocks = _answered(blocks)
        while blocks and blocks[-1]["type"] in _THINKING:  # the service refuses a message that ends with it
            blocks.pop()
        return blocks

    def _spoken(self, message: Message) -> Iterator[Block]:
        content = message.content
        for index, block in enumerate(content):
            beside = self._own(content[index + 1]) if index + 1 < len(content) else None
            match block:
                case Text(text=text):
                    if text.strip():
                        yield _text(text, beside)
                case Reasoning():
                    if beside is not None and "signed" in beside:
                        yield from _thought(block, signed=bool(beside["signed"]))
                case ToolCall():
                    yield _call(block, beside)
                case Image() | Document():  # the service takes neither from an assistant
                    yield _text(f"[{block.type} {block.media_type}]", None)
                case _:
                    own = self._own(block)
                    if own is not None and isinstance(verbatim := own.get("block"), dict) and "type" in verbatim:
                        yield verbatim


def _framed(role: bytes, blocks: list[Block]) -> bytes:
    return role + dumps(blocks)[1:-1] + END if blocks else b""


def _text(text: str, beside: dict[str, Any] | None) -> Block:
    block: Block = {"type": "text", "text": text}
    if beside is not None and beside.get("citations"):
        block["citations"] = beside["citations"]
    return block


def _thought(block: Reasoning, *, signed: bool) -> Iterator[Block]:
    if block.redacted is not None:
        yield {"type": "redacted_thinking", "data": block.redacted}
    elif block.signature or not signed:  # the text may be empty: the signature holds it, encrypted
        yield {"type": "thinking", "thinking": block.text, "signature": block.signature or ""}


def _call(call: ToolCall, beside: dict[str, Any] | None) -> Block:
    arguments: dict[str, Any] = call.arguments
    if call.malformed is not None:  # the service takes only an object; so the model still sees what it wrote
        arguments = {"malformed_arguments": call.malformed.text} if call.malformed.text else {}
    block: Block = {"type": "tool_use", "id": _id(call.id), "name": _name(call.tool), "input": arguments}
    if beside is not None and isinstance(more := beside.get("call"), dict):
        block |= more
    return block


def _answered(blocks: list[Block]) -> list[Block]:
    """The blocks without calls of the service's own tools that an interruption has left without a result."""
    answered = {block["tool_use_id"] for block in blocks if "tool_use_id" in block}
    return [block for block in blocks if not block["type"].endswith("_tool_use") or block.get("id") in answered]


def _result(result: ToolResult) -> Block:
    """The answer to a call."""
    block: Block = {"type": "tool_result", "tool_use_id": _id(result.call_id)}
    if any(isinstance(one, Image | Document) for one in result.content):
        shown = (_said(one) for one in result.content)
        block["content"] = [one for one in shown if one is not None] or result.status
    else:
        block["content"] = text_of(result)
    if result.status != "success":
        block["is_error"] = True
    return block


def _said(block: object) -> Block | None:
    """A block of a user's message, or of a result; None for what is not sent."""
    match block:
        case Text(text=text):
            return {"type": "text", "text": text} if text.strip() else None
        case Json(value=value):
            return {"type": "text", "text": dumps(value).decode()}
        case Image(url=url) if url is not None:
            return {"type": "image", "source": {"type": "url", "url": url}}
        case Image(media_type=kind, data=data):
            return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}
        case Document():
            return _document(block)
        case _:  # what only an assistant says
            return None


def _document(document: Document) -> Block:
    made: Block = {"type": "document", "source": _source(document)}
    if document.name:
        made["title"] = document.name
    return made


def _source(document: Document) -> Block:
    if document.url is not None:
        return {"type": "url", "url": document.url}
    kind = document.media_type.partition(";")[0].strip()
    if kind.startswith("text/") or kind == "application/json":  # all text goes as plain text, the one kind there is
        try:
            text = base64.b64decode(document.data, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):  # in another encoding; what the service says of it is told
            pass
        else:
            return {"type": "text", "media_type": "text/plain", "data": text}
    return {"type": "base64", "media_type": kind, "data": document.data}


def _id(given: str) -> str:
    """The id of a call; one that another service gave may have signs that this one refuses.

    Two different ids stay different: the changed one ends in a checksum of what it was.
    """
    clean = _NOT_IN_AN_ID.sub("_", given)
    return given if clean == given and given else f"{clean}-{zlib.crc32(given.encode()):08x}"


def _name(given: str) -> str:
    """The name of a tool, as the model wrote it; the service refuses a history with one that no tool can have."""
    return _NOT_IN_AN_ID.sub("_", given)[:_NAME_CHARS] or "_"
