"""What a client asks for, in becket's terms."""

from __future__ import annotations

import base64
import binascii
import mimetypes
from typing import TYPE_CHECKING, Any, Final

from becket import (
    Allow,
    ConfigError,
    Deny,
    Document,
    Edit,
    Image,
    MalformedArguments,
    Message,
    Reasoning,
    RequestError,
    Text,
    ToolCall,
    ToolResult,
)
from becket.content import to_conversation
from becket.wires import RunRequest
from pydantic_core import from_json

from becket_agui._names import OWN, message_of_thought
from becket_agui._request import (
    AssistantMessage,
    DataSource,
    FileSource,
    InstructionMessage,
    MediaPart,
    ReasoningMessage,
    TextPart,
    ToolMessage,
    UserMessage,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from becket.content import ToolStatus
    from becket.policies import Answer

    from becket_agui._request import Part, ResumeEntry, RunAgentInput, SentMessage, SentToolCall

__all__ = ["run_request"]

_QUOTED: Final = 2000
_NEVER_ANSWERED: Final = "The run ended before this tool had a result."


def run_request(body: RunAgentInput) -> RunRequest:
    """The run that a client asks for.

    Raises:
        RequestError: It cannot be served.
    """
    if body.tools:
        names = ", ".join(tool.name for tool in body.tools)
        raise _refused(
            f"this agent runs its own tools and calls none of the client's ({names}); send no `tools`, and give the "
            f"agent a tool of that name on the server where it needs one",
            "client_tools",
        )
    agent = _agent(body.forwarded_props)
    sent = [message for message in body.messages if message.subagent_run_id is None and not _discarded(message)]
    spoken = [message for message in sent if isinstance(message, UserMessage | AssistantMessage | ToolMessage)]
    ends_with_user = bool(spoken) and isinstance(spoken[-1], UserMessage)
    if body.resume and not ends_with_user:
        return RunRequest(agent=agent, answers=_answers(body.resume))
    if any(entry.status == "resolved" for entry in body.resume or ()):
        raise _refused(
            "the request answers an interrupt and has a new message of the user; send the answers by themselves, and "
            "the message when that run has ended, or cancel the interrupts to leave that run",
            "resume_and_message",
        )
    # Where all are cancelled the user has left that run, and asks something else: it is denied what nobody answers.
    if not ends_with_user:
        raise _refused("messages must end with one of the role 'user', which is what the agent is asked", "no_prompt")
    *history, prompt = _conversation(sent)
    try:
        to_conversation(history, prompt)
    except ConfigError as error:
        raise _refused(str(error), "messages") from error
    return RunRequest(prompt=prompt, history=tuple(history), agent=agent, instructions=_instructions(body, sent))


def _refused(message: str, code: str) -> RequestError:
    return RequestError(message, status=422, code=code)


def _agent(forwarded: Any) -> str | None:
    """The agent that is asked for by name."""
    own = forwarded.get(OWN) if isinstance(forwarded, dict) else None
    match own:
        case None:
            return None
        case {"agent": str(name), **rest} if not rest:
            return name
        case _:
            raise _refused(f'forwardedProps.{OWN} must be {{"agent": "the name of an agent"}}', "forwarded_props")


def _discarded(of: SentMessage | SentToolCall) -> bool:
    """Whether becket has said of it that it does not count: a model call was made again, or broke off within it."""
    own = (of.metadata or {}).get(OWN)
    return isinstance(own, dict) and own.get("discarded") is True


def _instructions(body: RunAgentInput, sent: Iterable[SentMessage]) -> str:
    said = [message.content for message in sent if isinstance(message, InstructionMessage)]
    known = [f"{entry.description}: {entry.value}" for entry in body.context or ()]
    return "\n\n".join(text for text in (*said, *known) if text.strip())


def _conversation(sent: Sequence[SentMessage]) -> Iterator[Message]:
    """The messages in becket's form, in which the results of the calls of one message are the next one."""
    results = {message.tool_call_id: message for message in sent if isinstance(message, ToolMessage)}
    thoughts = _thoughts(sent)
    for at, message in enumerate(sent):
        if isinstance(message, UserMessage):
            yield Message("user", tuple(_blocks(message.content)))
        elif isinstance(message, AssistantMessage):
            calls = [_call(call) for call in message.tool_calls or () if not _discarded(call)]
            said = (Text(message.content),) if message.content else ()
            if said or calls:
                yield Message("assistant", (*thoughts.get(at, ()), *said, *calls))
            if calls:
                yield Message("user", tuple(_result(call.id, results.pop(call.id, None)) for call in calls))
    if results:
        raise _refused(
            f"a message of the role 'tool' answers the call {min(results)!r}, which no message before it has made",
            "messages",
        )


def _thoughts(sent: Sequence[SentMessage]) -> dict[int, list[Reasoning]]:
    """The reasoning, by the place of the assistant's message that it belongs to: its name says which, or the next."""
    places = {message.id: at for at, message in enumerate(sent) if isinstance(message, AssistantMessage)}
    by_place: dict[int, list[Reasoning]] = {}
    loose: list[Reasoning] = []
    for at, message in enumerate(sent):
        if isinstance(message, ReasoningMessage):
            of = message_of_thought(message.id)
            if of is None:
                loose.extend(_thought(message))
            elif of in places:
                by_place.setdefault(places[of], []).extend(_thought(message))
        elif isinstance(message, AssistantMessage):
            by_place.setdefault(at, []).extend(loose)
            loose = []
        elif isinstance(message, UserMessage):
            loose = []
    return by_place


def _thought(message: ReasoningMessage) -> Iterator[Reasoning]:
    """The reasoning, with the seal that becket has attached to it; that of anybody else means nothing here."""
    try:
        sealed = from_json(message.encrypted_value or "{}")
    except ValueError:
        sealed = {}
    match sealed:
        case {"redacted": str(redacted)}:
            yield Reasoning(message.content, redacted=redacted)
        case {"signature": str(signature)}:
            yield Reasoning(message.content, signature)
        case _ if message.content:
            yield Reasoning(message.content)


def _call(sent: SentToolCall) -> ToolCall:
    text = sent.function.arguments
    try:
        arguments = from_json(text or "{}", allow_inf_nan=False)
        reason = "" if isinstance(arguments, dict) else "it is no JSON object"
    except ValueError as error:
        arguments, reason = {}, str(error)
    if reason:
        return ToolCall(sent.id, sent.function.name, malformed=MalformedArguments(text[:_QUOTED], reason))
    return ToolCall(sent.id, sent.function.name, arguments)


def _result(call_id: str, sent: ToolMessage | None) -> ToolResult:
    if sent is None:
        return ToolResult(call_id, "interrupted", (Text(_NEVER_ANSWERED),))
    status: ToolStatus
    match (sent.metadata or {}).get(OWN):
        case {"status": "error" | "denied" | "interrupted" as status}:
            pass
        case _:
            status = "success" if sent.error is None else "error"
    content = list(_blocks(sent.content))
    if sent.error is not None:
        content.append(Text(sent.error))
    return ToolResult(call_id, status, tuple(content))


def _blocks(content: str | list[Part]) -> Iterator[Text | Image | Document]:
    if isinstance(content, str):
        yield Text(content)
        return
    for part in content:
        yield Text(part.text) if isinstance(part, TextPart) else _media(part)


def _media(part: MediaPart) -> Image | Document:
    if part.type not in ("image", "document"):
        raise _refused(
            f"an agent reads texts, images and documents, and this is {part.type}; leave the part out, or send what it "
            f"says as text",
            "content",
        )
    kind = Image if part.type == "image" else Document
    source = part.source
    if isinstance(source, FileSource):
        raise _refused(
            f"the file {source.value!r} is known to one model service alone; send its data or an address", "content"
        )
    if isinstance(source, DataSource):
        try:
            base64.b64decode(source.value, validate=True)
        except binascii.Error as error:
            raise _refused(f"the data of a part of the type {part.type!r} is no base64: {error}", "content") from error
        return kind(source.mime_type, source.value)
    path = source.value.partition("#")[0].partition("?")[0]
    guessed = source.mime_type or mimetypes.guess_type(path)[0]
    return kind(guessed or ("image/png" if kind is Image else "application/pdf"), url=source.value)


def _answers(resume: Iterable[ResumeEntry]) -> dict[str, Answer]:
    answers: dict[str, Answer] = {}
    for entry in resume:
        if entry.interrupt_id in answers:
            raise _refused(f"the interrupt {entry.interrupt_id!r} is answered twice", "resume")
        answers[entry.interrupt_id] = _answer(entry)
    return answers


def _answer(entry: ResumeEntry) -> Answer:
    if entry.status == "cancelled":
        return Deny("the user has not answered")
    payload: Any = entry.payload
    match payload:
        case {"approved": bool(approved)}:
            reason, arguments = payload.get("reason") or "", payload.get("editedArgs")
            if isinstance(reason, str) and (arguments is None or isinstance(arguments, dict)):
                if not approved:
                    return Deny(reason or "the user has denied it")
                return Allow(reason) if arguments is None else Edit(arguments, reason)
        case _:
            pass
    raise _refused(
        f'the answer to the interrupt {entry.interrupt_id!r} must be {{"approved": true or false}}, where it is '
        f'approved with "editedArgs": {{...}} for other arguments, and with "reason": "..." if there is one',
        "resume",
    )
