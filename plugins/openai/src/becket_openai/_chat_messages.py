"""The messages of a history as chat completions has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from becket import ConfigError, Document, Extension, Image, Reasoning, Text, ToolCall, ToolResult
from becket_wire import text_of

from becket_openai._chat_extras import given_back
from becket_openai._ids import legal_id, legal_name
from becket_openai._json import dumps

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from becket import ContentBlock, Message

__all__ = ["Messages"]

_AUDIO: Final = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}


class Messages:
    """Writes messages for one model of an endpoint.

    Args:
        provider: The provider's name.
        model: The model.
        reasoning: The member of an assistant's message in which the service wants its reasoning back, or empty.
    """

    __slots__ = ("_model", "_provider", "_reasoning")

    def __init__(self, provider: str, model: str, *, reasoning: str = "") -> None:
        self._provider = provider
        self._model = model
        self._reasoning = reasoning

    def encode(self, message: Message, before: Sequence[Message]) -> bytes:  # noqa: ARG002  as `Transcript` has it
        """A message as JSON: none of this wire's, one, or several joined by commas.

        Args:
            message: The message.
            before: Those before it.

        Raises:
            ConfigError: It holds a document that this wire has no place for.
        """
        if message.role == "assistant":
            written = self._assistant(message)
            return b"" if written is None else dumps(written)
        return b",".join(dumps(one) for one in _user(message))

    def _assistant(self, message: Message) -> dict[str, Any] | None:
        """What the model said; None where nothing is left of it, as of reasoning of another service alone."""
        text = "".join(_spoken(block) for block in message.content)
        calls = [_call(call) for call in message.tool_calls]
        if not text and not calls:
            return None
        written: dict[str, Any] = {"role": "assistant", "content": text or None}
        if calls:
            written["tool_calls"] = calls
        if self._reasoning and ((thought := _thought(message)) or calls):
            written[self._reasoning] = thought  # DeepSeek refuses a call without the member, and takes an empty one
        for block in message.content:
            if isinstance(block, Extension) and block.provider == self._provider:
                given_back(block.data, self._model, written)
        return written


def _spoken(block: ContentBlock) -> str:
    if isinstance(block, Text):
        return block.text
    return f"[{block.type} {block.media_type}]" if isinstance(block, Image | Document) else ""


def _thought(message: Message) -> str:
    """The reasoning that came over this wire: it knows neither seals nor encrypted reasoning."""
    return "".join(
        block.text
        for block in message.content
        if isinstance(block, Reasoning) and block.signature is None and block.redacted is None
    )


def _call(call: ToolCall) -> dict[str, Any]:
    """A call as it was made. A malformed one has no arguments: servers parse them, and its result quotes the reason."""
    arguments = dumps({} if call.malformed else call.arguments).decode()
    return {
        "id": legal_id(call.id),
        "type": "function",
        "function": {"name": legal_name(call.tool), "arguments": arguments},
    }


def _user(message: Message) -> Iterable[dict[str, Any]]:
    """A message for each tool result, since each has one of its own here, and then one of what else there is."""
    parts: list[dict[str, Any]] = []
    for block in message.content:
        if isinstance(block, ToolResult):
            media = [_part(item) for item in block.content if isinstance(item, Image | Document)]
            yield {"role": "tool", "tool_call_id": legal_id(block.call_id), "content": _result(block, bool(media))}
            if media:
                parts += [_text(f"From the result of the tool call {legal_id(block.call_id)}:"), *media]
    own = [block for block in message.content if isinstance(block, Text | Image | Document)]
    if not parts and len(own) == 1 and isinstance(own[0], Text):
        yield {"role": "user", "content": own[0].text}
    elif parts or own:
        yield {"role": "user", "content": [*parts, *(_part(block) for block in own)]}


def _result(result: ToolResult, has_media: bool) -> str:
    """What the model gets to read of a result: this wire has no mark for one that is an error, and no images in it."""
    text = text_of(result)
    if has_media:
        text = f"{text}\n(What is no text is in the user's next message.)"
    return f"Error: {text}" if result.status == "error" else text


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _part(block: Text | Image | Document) -> dict[str, Any]:
    if isinstance(block, Text):
        return _text(block.text)
    if isinstance(block, Image):
        return {"type": "image_url", "image_url": {"url": block.url or _data_url(block)}}
    if block.url is not None:
        raise ConfigError(
            f"the document {block.name or block.url!r} is given by its URL, which chat completions do not take; "
            f'give its bytes (Document.from_bytes), or use the Responses API where the service has it (api="responses")'
        )
    if (sound := _AUDIO.get(block.media_type)) is not None:
        return {"type": "input_audio", "input_audio": {"data": block.data, "format": sound}}
    return {"type": "file", "file": {"filename": block.name or _filename(block), "file_data": _data_url(block)}}


def _data_url(block: Image | Document) -> str:
    return f"data:{block.media_type};base64,{block.data}"


def _filename(document: Document) -> str:
    """A name with the ending that the service goes by."""
    ending = document.media_type.rpartition("/")[2].partition(";")[0]
    return f"document.{ {'plain': 'txt', 'markdown': 'md'}.get(ending, ending) }"
