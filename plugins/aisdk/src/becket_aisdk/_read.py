"""From the messages of a chat to becket's: the conversation, what is asked, what was decided."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from becket.content import (
    Document,
    Image,
    MalformedArguments,
    Message,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    to_conversation,
)
from becket.errors import ConfigError, RequestError
from becket.policies import Allow, Deny
from becket.wires import RunRequest

from becket_aisdk._models import (
    ChatRequest,
    FilePart,
    Part,
    ReasoningPart,
    SteeringPart,
    TextPart,
    ToolPart,
    UIMessage,
)
from becket_aisdk._outputs import LOST, blocks_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from becket.content import ContentBlock
    from becket.policies import Answer

__all__ = ["answered_message", "run_request"]

_SAID_NO: Final = "whoever was asked has said no"


def run_request(body: ChatRequest) -> RunRequest:
    """What the chat asks for.

    Raises:
        RequestError: It asks for nothing, or a message cannot be said in becket's terms.
    """
    if (message := answered_message(body)) is not None:
        return RunRequest(answers=dict(_answers(message)), agent=body.agent)
    *earlier, last = body.messages
    if last.role != "user":
        raise _refused(
            f"the last message is the {last.role}'s, and responds to no approval; the last message is the user's, "
            f"or one of the assistant's in which a tool call has the state 'approval-responded'. Tools are run by the "
            f"server: a tool's output is not taken from a client",
            "nothing_asked",
        )
    prompt = _user(last.parts, f"messages.{len(earlier)}")
    if prompt is None:
        raise _refused("the last message is empty; it has a part with text or a file", "empty_prompt")
    history = [message for at, given in enumerate(earlier) for message in _messages(given, f"messages.{at}")]
    try:
        to_conversation(history, prompt)
    except ConfigError as error:
        raise _refused(f"the messages are no conversation: {error}", "bad_history") from error
    instructions = "\n\n".join(_text(given) for given in earlier if given.role == "system")
    return RunRequest(prompt=prompt, history=tuple(history), agent=body.agent, instructions=instructions)


def answered_message(body: ChatRequest) -> UIMessage | None:
    """The assistant's message that waits for its run to go on, since its approvals were responded to; None for none.

    It is the last one, or the one that the request names: a chat may have gone on before its approvals were.
    """
    for message in (body.messages[-1], *(given for given in body.messages if given.id == body.message_id)):
        if message.role == "assistant" and any(True for _ in _answers(message)):
            return message
    return None


def _answers(message: UIMessage) -> Iterator[tuple[str, Answer]]:
    for part in message.parts:
        if isinstance(part, ToolPart) and part.state == "approval-responded" and message.open_request(part):
            approval = part.approval
            if approval is not None and approval.approved is not None:
                reason = approval.reason or ""
                yield approval.id, Allow(reason) if approval.approved else Deny(reason or _SAID_NO)


def _messages(given: UIMessage, where: str) -> Iterator[Message]:
    if given.role == "user":
        if (message := _user(given.parts, where)) is not None:
            yield message
    elif given.role == "assistant":
        yield from _assistant(given.parts, where)


def _text(given: UIMessage) -> str:
    return "".join(part.text for part in given.parts if isinstance(part, TextPart))


def _user(parts: list[Part], where: str) -> Message | None:
    """What the user says; None where that is nothing. Data is for the frontend, and no model has seen it."""
    blocks: list[ContentBlock] = []
    for at, part in enumerate(parts):
        if isinstance(part, TextPart):
            blocks.append(Text(part.text))
        elif isinstance(part, FilePart):
            blocks.append(_file(part, f"{where}.parts.{at}"))
    if all(isinstance(block, Text) and not block.text.strip() for block in blocks):
        return None
    return Message("user", tuple(blocks))


def _assistant(parts: list[Part], where: str) -> Iterator[Message]:
    """One answer as messages: one for each step, and after it the results of its tools.

    Left out: sources and data, which are for the frontend; files, which becket's models do not write, and most take
    from the user alone; a call whose arguments had not all come.
    """
    content: list[ContentBlock] = []
    results: list[ContentBlock] = []
    for at, part in enumerate(parts):
        if part.type == "step-start" or isinstance(part, SteeringPart):
            yield from _step(content, results)
            content, results = [], []
            if isinstance(part, SteeringPart) and (said := _user(part.parts, f"{where}.parts.{at}")) is not None:
                yield said
        elif isinstance(part, TextPart) and part.text:
            content.append(Text(part.text))
        elif isinstance(part, ReasoningPart):
            content += _reasoning(part)
        elif isinstance(part, ToolPart) and not _cut(part):
            content.append(_call(part))
            results.append(_result(part))
    yield from _step(content, results)


def _step(content: list[ContentBlock], results: list[ContentBlock]) -> Iterator[Message]:
    if content:
        yield Message("assistant", tuple(content))
    if results:
        yield Message("user", tuple(results))


def _reasoning(part: ReasoningPart) -> list[ContentBlock]:
    """The reasoning, with what is becket's of its metadata; that of others is for services that becket did not ask."""
    metadata = (part.provider_metadata or {}).get("becket")
    own = metadata if isinstance(metadata, dict) else {}
    signature, redacted = (
        given if isinstance(given := own.get(key), str) else None for key in ("signature", "redacted")
    )
    if not (part.text or signature or redacted):
        return []
    return [Reasoning(part.text, signature, redacted)]


def _cut(part: ToolPart) -> bool:
    """Whether the answer ended before the arguments had all come: the run has no such call in its history."""
    return part.state == "input-streaming" or (part.state == "output-error" and part.input is None)


def _call(part: ToolPart) -> ToolCall:
    if isinstance(part.input, dict):
        return ToolCall(part.tool_call_id, part.tool, part.input)
    reason = part.error_text or "a JSON object is wanted"
    return ToolCall(part.tool_call_id, part.tool, malformed=MalformedArguments(str(part.input)[:2000], reason))


def _result(part: ToolPart) -> ToolResult:
    call_id = part.tool_call_id
    match part.state:
        case "output-available" if not part.preliminary:
            return ToolResult(call_id, "success", blocks_of(part.output))
        case "output-error":
            return ToolResult(call_id, "error", (Text(part.error_text or f"{part.tool} failed"),))
        case "output-denied":
            why = f": {part.approval.reason}" if part.approval is not None and part.approval.reason else ""
            return ToolResult(call_id, "denied", (Text(f"{part.tool} was not called, the call was denied{why}"),))
        case _:
            return ToolResult(call_id, "interrupted", (Text(LOST),))


def _file(part: FilePart, where: str) -> Image | Document:
    """A file by its bytes or its address.

    Raises:
        RequestError: It is of a kind that no model of becket's reads, or is not to be had from here.
    """
    media_type, data, url = part.media_type, "", None
    if part.url.startswith("data:"):
        named, data = _data(part.url, where)
        media_type = media_type if "/" in media_type and not media_type.endswith("/*") else named
    elif part.url.startswith(("https://", "http://")):
        url = part.url
    else:
        raise _refused(
            f"{where}: a file is sent as a data URL, or by an address with https; {part.url[:40]!r} is neither",
            "bad_file",
        )
    kind = media_type.partition("/")[0]
    if kind == "image":
        return Image(media_type, data, url)
    if kind in ("application", "text"):
        return Document(media_type, data, url, part.filename or "")
    raise _refused(
        f"{where}: files of the type {media_type!r} cannot be given to a model; images and documents can", "bad_file"
    )


def _data(url: str, where: str) -> tuple[str, str]:
    """The type of a data URL (RFC 2397), and its bytes in base64.

    Raises:
        RequestError: It is none.
    """
    head, comma, body = url.removeprefix("data:").partition(",")
    media_type, *parameters = head.split(";")
    if not comma:
        raise _refused(f"{where}: the data URL has no comma, and so no data", "bad_file")
    if parameters and parameters[-1].strip() == "base64":
        body = body if "%" not in body else unquote_to_bytes(body).decode("ascii", "replace")
        try:
            binascii.a2b_base64(body, strict_mode=True)
        except ValueError as error:  # also of what is not ASCII
            raise _refused(f"{where}: the data URL holds no base64: {error}", "bad_file") from error
    else:
        body = base64.b64encode(unquote_to_bytes(body)).decode("ascii")
    return media_type or "text/plain", body


def _refused(message: str, code: str) -> RequestError:
    return RequestError(message, status=422, code=code)
