"""The messages of a request, as becket has them."""

from __future__ import annotations

import binascii
import json
import mimetypes
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from becket import ConfigError, Document, Image, MalformedArguments, Message, Text, ToolCall, ToolResult
from becket.content import to_conversation

from becket_openai_server._errors import refused
from becket_openai_server._request import (
    AssistantMessage,
    AudioPart,
    FilePart,
    ImagePart,
    InstructionMessage,
    RefusalPart,
    TextPart,
    ToolMessage,
    UserMessage,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from becket import ContentBlock

    from becket_openai_server._request import Call, Content, Part, RequestMessage

__all__ = ["Conversation", "conversation"]

_DATA_URL: Final = re.compile(r"data:([^;,]*)(?:;[^;,]*)*;base64,", re.IGNORECASE)
_QUOTED: Final = 2000  # characters, as `MalformedArguments` has them
_AUDIO: Final = {"wav": "audio/wav", "mp3": "audio/mpeg"}


@dataclass(slots=True)
class Conversation:
    """What a client has told.

    Attributes:
        instructions: The system's and the developer's messages, a paragraph each, wherever they stood.
        history: The messages before the last.
        prompt: The last message: the user's, or results of tool calls.
    """

    instructions: str
    history: tuple[Message, ...]
    prompt: Message


def conversation(messages: Sequence[RequestMessage]) -> Conversation:
    """Take the messages of a request.

    Raises:
        RequestError: They are none that can go on: the last is the assistant's, a call has no result, a part is of a
            kind that has no place here, ...
    """
    taken = _Taken()
    for at, message in enumerate(messages):
        taken.take(message, f"messages[{at}]")
    taken.flush()
    if not taken.messages:
        raise refused("messages: there are instructions alone; the last message must be the user's", param="messages")
    if taken.messages[-1].role != "user":
        raise refused(
            f"messages[{len(messages) - 1}]: the conversation ends with a message of the assistant, and an agent does "
            "not go on with an answer of its own; the last message must be the user's",
            param="messages",
        )
    *history, prompt = taken.messages
    try:
        to_conversation(history, prompt)
    except ConfigError as error:
        raise refused(f"messages: {error}", param="messages") from error
    return Conversation("\n\n".join(taken.instructions), tuple(history), prompt)


@dataclass(slots=True)
class _Taken:
    """What was taken so far."""

    instructions: list[str] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    results: list[ToolResult] = field(default_factory=list)

    def take(self, message: RequestMessage, param: str) -> None:
        match message:
            case InstructionMessage():
                if text := _text(message.content, f"{param}.content"):
                    self.instructions.append(text)
            case UserMessage():
                blocks = tuple(_blocks(message.content, f"{param}.content"))
                if all(isinstance(block, Text) and not block.text.strip() for block in blocks):
                    raise refused(f"{param}.content is empty; leave the message out", param=f"{param}.content")
                # In one message with the results before it: model services want the roles to alternate.
                self.messages.append(Message("user", (*self.results, *blocks)))
                self.results = []
            case AssistantMessage():
                self.flush()
                if content := tuple(_said(message, param)):  # front ends keep what a failed answer has left: nothing
                    self.messages.append(Message("assistant", content))
            case ToolMessage():
                text = _text(message.content, f"{param}.content")
                self.results.append(ToolResult(message.tool_call_id, "success", (Text(text),)))

    def flush(self) -> None:
        if self.results:
            self.messages.append(Message("user", tuple(self.results)))
            self.results = []


def _said(message: AssistantMessage, param: str) -> Iterator[ContentBlock]:
    text = _text(message.content or "", f"{param}.content") or message.refusal or ""
    if text:
        yield Text(text)
    for call in message.tool_calls or ():
        yield _call(call)


def _call(call: Call) -> ToolCall:
    """A call of earlier. Arguments that are no JSON object stay what they were: the history is the client's."""
    name, text = call.function.name, call.function.arguments
    try:
        arguments: Any = json.loads(text, parse_constant=_no_constant) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        return ToolCall(call.id, name, malformed=MalformedArguments(text[:_QUOTED], str(error)))
    if not isinstance(arguments, dict):
        return ToolCall(call.id, name, malformed=MalformedArguments(text[:_QUOTED], "it is no JSON object"))
    return ToolCall(call.id, name, arguments)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _text(content: Content, param: str) -> str:
    """The text of a message that can hold nothing else."""
    if isinstance(content, str):
        return content
    texts = []
    for at, part in enumerate(content):
        match part:
            case TextPart(text=text) | RefusalPart(refusal=text):
                texts.append(text)
            case _:
                raise refused(
                    f"{param}[{at}] is of the type {part.type}, which stands in messages of the user alone",
                    param=f"{param}[{at}]",
                )
    return "".join(texts)


def _blocks(content: Content, param: str) -> Iterator[Text | Image | Document]:
    if isinstance(content, str):
        yield Text(content)
    else:
        for at, part in enumerate(content):
            yield _block(part, f"{param}[{at}]")


def _block(part: Part, param: str) -> Text | Image | Document:
    match part:
        case TextPart():
            return Text(part.text)
        case RefusalPart():
            return Text(part.refusal)
        case ImagePart():
            return _image(part.image_url.url, f"{param}.image_url.url")
        case AudioPart():
            sound = part.input_audio
            _check_base64(sound.data, f"{param}.input_audio.data")
            return Document(_AUDIO[sound.format], sound.data)
        case FilePart():
            return _document(part, param)


def _image(url: str, param: str) -> Image:
    if url[:8].lower() == "https://":
        kind, _ = mimetypes.guess_type(url.partition("?")[0])
        return Image(kind or "image/*", url=url)
    return Image(*_from_data_url(url, param, or_else="an https URL, or "))


def _document(part: FilePart, param: str) -> Document:
    given = part.file
    if given.file_data is None:
        raise refused(
            f"{param}.file has no file_data; there are no uploads here that a file_id could name",
            param=f"{param}.file",
        )
    kind, data = _from_data_url(given.file_data, f"{param}.file.file_data")
    return Document(kind, data, name=given.filename)


def _from_data_url(url: str, param: str, *, or_else: str = "") -> tuple[str, str]:
    """The media type and the base64 of a data URL."""
    found = _DATA_URL.match(url)
    if found is None or not found[1]:
        raise refused(
            f"{param} begins with {url[:30]!r}; it must be {or_else}a data URL: 'data:TYPE;base64,...'", param=param
        )
    data = url[found.end() :]
    _check_base64(data, param)
    return found[1].lower(), data


def _check_base64(data: str, param: str) -> None:
    try:
        empty = not binascii.a2b_base64(data.encode(), strict_mode=True)
    except (ValueError, binascii.Error) as error:
        raise refused(f"{param} is no base64: {error}", param=param) from error
    if empty:
        raise refused(f"{param} is empty", param=param)
