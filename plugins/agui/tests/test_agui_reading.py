"""What a client sends is the conversation that it was told, and what cannot be served is said."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from becket import (
    Allow,
    Deny,
    Document,
    Edit,
    Image,
    Message,
    MessageAdded,
    Reasoning,
    RequestError,
    Text,
    ToolCall,
    ToolResult,
)
from becket.testing import Scenarios
from becket_agui import AgUi
from pydantic import ValidationError

if TYPE_CHECKING:
    from becket.wires import RunRequest

WIRE = AgUi()
PIXEL = base64.b64encode(b"a pixel").decode()


def read(*messages: dict[str, Any], **more: Any) -> RunRequest:
    given = {"threadId": "thread", "runId": "run", "messages": messages, **more}
    return WIRE.read(WIRE.request_model.model_validate(given))


def user(content: Any) -> dict[str, Any]:
    return {"id": "u", "role": "user", "content": content}


def assistant(content: str | None = None, **calls: str) -> dict[str, Any]:
    """An assistant's message; calls by id, with their arguments."""
    made = [{"id": i, "type": "function", "function": {"name": "t", "arguments": a}} for i, a in calls.items()]
    return {"id": "a", "role": "assistant", "content": content, "toolCalls": made}


def result(call_id: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"id": f"{call_id} result", "role": "tool", "toolCallId": call_id, "content": content, **more}


def refused(code: str, *messages: dict[str, Any], **more: Any) -> str:
    """What the client is told."""
    with pytest.raises(RequestError) as caught:
        read(*messages, **more)
    assert (caught.value.status, caught.value.code) == (422, code)
    return str(caught.value)


# -- the conversation --------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["text", "tools", "progress", "reasoning", "nested", "malformed", "unicode"])
async def test_what_was_told_comes_back_as_it_was(name: str, judged: Any, assembled: Any) -> None:
    """The history of the next run is that of the last one, whose client has put it together from the deltas."""
    raw, seen = b"", []
    async with Scenarios().agent.stream_async(name) as stream:
        encoder = WIRE.open(WIRE.request_model(threadId="t", runId="r", messages=[]), stream.info)
        async for event in stream:
            seen.append(event)
            raw += encoder.encode(event)
    told = [user(name), *assembled(judged(raw)), user("and then?")]
    request = read(*told)
    made = [event.message for event in seen if isinstance(event, MessageAdded) and event.run_id == stream.run_id]
    assert [plain(message) for message in request.history] == [
        plain(message) for message in (Message("user", (Text(name),)), *made)
    ]
    assert request.prompt == Message("user", (Text("and then?"),))


def plain(message: Message) -> list[Any]:
    """What counts of a message: calls have other ids, and the text before their tools began is one."""
    shown: list[Any] = [message.role, message.text]
    for block in message.content:
        match block:
            case Reasoning():
                shown.append((block.text, block.signature))
            case ToolCall():
                shown.append((block.tool, block.arguments, block.malformed and block.malformed.text))
            case ToolResult():
                shown.append((block.status, block.text))
            case _:
                pass
    return shown


def test_the_last_message_is_the_prompt_and_instructions_are_instructions() -> None:
    """Those of the system and of the developer, and what the application wants known, one below the other."""
    request = read(
        {"id": "1", "role": "system", "content": "Be brief."},
        {"id": "2", "role": "developer", "content": "Be kind."},
        user("Hello"),
        assistant("Hi."),
        user("What day is it?"),
        context=[{"description": "The date", "value": "a Tuesday"}],
    )
    assert request.instructions == "Be brief.\n\nBe kind.\n\nThe date: a Tuesday"
    assert request.history == (Message("user", (Text("Hello"),)), Message("assistant", (Text("Hi."),)))
    assert request.prompt == Message("user", (Text("What day is it?"),))
    assert request.session_id is None


def test_results_follow_their_calls_wherever_they_stand() -> None:
    """In one message, in the order of the calls; a call without a result has been interrupted."""
    request = read(
        user("go"),
        assistant("Both.", one='{"a": 1}', two="", three="{}"),
        result("two", "second"),
        assistant("Not yet."),
        result("one", "first", error="it broke"),
        user("And?"),
    )
    _, asked, answered, _ = request.history
    assert asked.content[1:] == (ToolCall("one", "t", {"a": 1}), ToolCall("two", "t", {}), ToolCall("three", "t", {}))
    assert [(block.call_id, block.status) for block in answered.tool_results] == [
        ("one", "error"),
        ("two", "success"),
        ("three", "interrupted"),
    ]
    assert answered.tool_results[0].text == "first\nit broke"


def test_the_status_of_a_result_comes_back() -> None:
    """The encoder has attached it."""
    denied = result("one", "no", metadata={"becket": {"status": "denied"}, "other": 1})
    assert read(user("go"), assistant(one="{}"), denied, user("And?")).history[2].tool_results[0].status == "denied"


def test_what_does_not_count_is_left_out() -> None:
    """What subagents have said, activities, and what the encoder has marked."""
    mark = {"metadata": {"becket": {"discarded": True}}}
    calls = assistant("Said.", kept="{}", lost='{"half')
    calls["toolCalls"][1].update(mark)
    request = read(
        user("go"),
        {"id": "0", "role": "activity", "activityType": "x", "content": {}},
        {**assistant("An attempt."), **mark},
        {"id": "1", "role": "reasoning", "content": "A thought.", **mark},
        calls,
        {**assistant("Nested."), "subagentRunId": "s"},
        {**result("inner", "x"), "subagentRunId": "s"},
        result("kept", "done"),
        user("And?"),
    )
    assert [message.text for message in request.history] == ["go", "Said.", ""]
    assert [call.id for call in request.history[1].tool_calls] == ["kept"]


@pytest.mark.parametrize(
    ("sealed", "block"),
    [
        ('{"signature":"s"}', Reasoning("Hm.", "s")),
        ('{"redacted":"r"}', Reasoning("Hm.", redacted="r")),
        ("another producer's", Reasoning("Hm.")),
        ('["no seal"]', Reasoning("Hm.")),
        (None, Reasoning("Hm.")),
    ],
)
def test_reasoning_belongs_to_the_message_after_it(sealed: str | None, block: Reasoning) -> None:
    """With the seal, where it is one of becket's."""
    thought = {"id": "1", "role": "reasoning", "content": "Hm.", "encryptedValue": sealed}
    assert read(user("go"), thought, assistant("Said."), user("And?")).history[1].content == (block, Text("Said."))


def test_reasoning_that_names_its_message_belongs_to_that() -> None:
    """As becket's own does, wherever it stands; where that message is not there, it belongs to none."""
    thoughts = [{"id": f"{of}-reasoning-0", "role": "reasoning", "content": of} for of in ("r-1-1", "r-2-1", "r-9-1")]
    said = [{"id": name, "role": "assistant", "content": "Said."} for name in ("r-1-1", "r-2-1")]
    history = read(user("go"), said[0], *thoughts, said[1], user("And?")).history
    assert [message.content[0] for message in history[1:]] == [Reasoning("r-1-1"), Reasoning("r-2-1")]


def test_messages_without_a_name_are_told_apart() -> None:
    """The protocol wants one of each; curl has none."""
    thought, answer = {"role": "reasoning", "content": "Hm."}, {"role": "assistant", "content": "Said."}
    history = read(user("go"), answer, thought, answer, user("And?")).history
    assert [len(message.content) for message in history] == [1, 1, 2]


def test_reasoning_that_led_to_nothing_is_left_out() -> None:
    """So is an assistant's message without content, which services refuse."""
    thought = {"id": "1", "role": "reasoning", "content": "Hm."}
    assert len(read(user("go"), thought, assistant(""), user("And?"), assistant("Said."), user("?")).history) == 3


@pytest.mark.parametrize(
    ("text", "why"), [('{"half', "EOF"), ("[]", "no JSON object"), ('{"a": NaN}', "value"), ("[" * 5000, "recursion")]
)
def test_arguments_that_are_none_are_malformed(text: str, why: str) -> None:
    """As a model has written them."""
    call = read(user("go"), assistant(one=text), user("And?")).history[1].tool_calls[0]
    assert call.malformed is not None
    assert call.malformed.text == text[:2000]
    assert why in call.malformed.reason


def test_images_and_documents_are_read() -> None:
    """By their data, or by an address whose kind is said or guessed."""
    parts = [
        {"type": "text", "text": "Look:"},
        {"type": "image", "source": {"type": "data", "value": PIXEL, "mimeType": "image/png"}},
        {"type": "image", "source": {"type": "url", "value": "https://example.com/a.jpg?s=1"}},
        {"type": "image", "source": {"type": "url", "value": "https://example.com/image"}},
        {"type": "document", "source": {"type": "url", "value": "https://example.com/x", "mimeType": "text/html"}},
        {"type": "document", "source": {"type": "url", "value": "https://example.com/x", "mimeType": None}},
    ]
    prompt = read(user(parts)).prompt
    assert isinstance(prompt, Message)
    assert prompt.content == (
        Text("Look:"),
        Image("image/png", PIXEL),
        Image("image/jpeg", url="https://example.com/a.jpg?s=1"),
        Image("image/png", url="https://example.com/image"),
        Document("text/html", url="https://example.com/x"),
        Document("application/pdf", url="https://example.com/x"),
    )


def test_what_is_not_known_is_ignored_and_null_is_nothing() -> None:
    """The protocol grows; state is not shared."""
    request = read(
        {**user("Hello"), "name": None, "novelty": [1]},
        parentRunId=None,
        state={"a": 1},
        tools=[],
        context=None,
        forwardedProps={"x": 1},
        resume=[],
        novelty={},
    )
    assert (request.prompt, request.agent) == (Message("user", (Text("Hello"),)), None)


def test_an_agent_is_asked_for_by_name() -> None:
    """Among what an application passes on."""
    assert read(user("Hello"), forwardedProps={"becket": {"agent": "other"}, "more": 1}).agent == "other"
    assert "becket must be" in refused("forwarded_props", user("Hello"), forwardedProps={"becket": {"agnet": "x"}})


# -- answers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "answer"),
    [
        ({"status": "resolved", "payload": {"approved": True}}, Allow()),
        ({"status": "resolved", "payload": {"approved": True, "reason": "fine"}}, Allow("fine")),
        ({"status": "resolved", "payload": {"approved": False}}, Deny("the user has denied it")),
        ({"status": "resolved", "payload": {"approved": False, "reason": "no"}}, Deny("no")),
        ({"status": "resolved", "payload": {"approved": True, "editedArgs": {"a": 1}}}, Edit({"a": 1})),
        ({"status": "resolved", "payload": {"approved": False, "editedArgs": {}}}, Deny("the user has denied it")),
        ({"status": "cancelled"}, Deny("the user has not answered")),
    ],
)
def test_an_interrupt_is_answered(entry: dict[str, Any], answer: Any) -> None:
    """The conversation is not read: the run that goes on has it."""
    request = read(user("go"), assistant(one="{}"), resume=[{"interruptId": "i", **entry}])
    assert dict(request.answers) == {"i": answer}
    assert (request.prompt, request.history) == ("", ())


@pytest.mark.parametrize(
    "payload",
    [None, True, "yes", {}, {"approved": "yes"}, {"approved": True, "editedArgs": []}, {"approved": True, "reason": 1}],
)
def test_another_form_of_answer_is_refused(payload: Any) -> None:
    """It must not be guessed at: the call may change something."""
    entry = {"interruptId": "i", "status": "resolved", "payload": payload}
    assert '{"approved": true or false}' in refused("resume", user("go"), assistant(one="{}"), resume=[entry])


def test_each_is_answered_once() -> None:
    """A second answer would be dropped in silence."""
    entry = {"interruptId": "i", "status": "cancelled"}
    assert "twice" in refused("resume", user("go"), assistant(one="{}"), resume=[entry, entry])


def test_an_answer_and_a_new_message_are_two_requests() -> None:
    """The message would be dropped in silence."""
    entries = [
        {"interruptId": i, "status": s, "payload": {"approved": True}}
        for i, s in (("a", "cancelled"), ("b", "resolved"))
    ]
    message = refused("resume_and_message", user("go"), assistant(one="{}"), user("Wait!"), resume=entries)
    assert "send the answers by themselves" in message


def test_who_cancels_and_asks_something_else_begins_anew() -> None:
    """As a client must whose user has let an interrupt expire: the call has not been made, and will not be."""
    entry = {"interruptId": "i", "status": "cancelled"}
    request = read(user("go"), assistant(one="{}"), user("Something else"), resume=[entry])
    assert dict(request.answers) == {}
    assert request.prompt == Message("user", (Text("Something else"),))
    assert [result.status for message in request.history for result in message.tool_results] == ["interrupted"]


# -- what cannot be served ---------------------------------------------------------------------------------------------


def test_tools_of_the_client_are_refused() -> None:
    """Their names and what to do instead are said."""
    message = refused("client_tools", user("go"), tools=[{"name": "a", "description": "", "parameters": {}}])
    assert "(a)" in message
    assert "send no `tools`" in message


@pytest.mark.parametrize(
    "messages", [[], [user("go"), assistant("Said.")], [user("go"), assistant(one="{}"), result("one", "x")]]
)
def test_the_user_has_the_last_word(messages: list[dict[str, Any]]) -> None:
    """Else there is nothing that the agent is asked."""
    assert "must end with one of the role 'user'" in refused("no_prompt", *messages)


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([user("  ")], "the prompt is empty"),
        ([user([]), assistant("x"), user("go")], "the prompt is empty"),
        ([user("go"), result("none", "x"), user("go")], "which no message before it has made"),
        ([user("go"), {**assistant(one="{}"), "toolCalls": assistant(one="{}")["toolCalls"] * 2}, user("go")], "twice"),
    ],
)
def test_a_conversation_that_no_service_takes_is_refused(messages: list[dict[str, Any]], says: str) -> None:
    """Before the run begins."""
    assert says in refused("messages", *messages)


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ({"type": "audio", "source": {"type": "data", "value": PIXEL, "mimeType": "audio/wav"}}, "this is audio"),
        ({"type": "image", "source": {"type": "data", "value": "%%%", "mimeType": "image/png"}}, "no base64"),
        ({"type": "image", "source": {"type": "file", "value": "file-1"}}, "'file-1' is known to one model service"),
    ],
)
def test_content_that_an_agent_cannot_read_is_refused(part: dict[str, Any], says: str) -> None:
    """And not left out in silence."""
    assert says in refused("content", user([part]))


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"threadId": "t", "runId": "r"},
        {"threadId": "t", "runId": "r", "messages": [{"role": "oracle", "content": "x"}]},
        {"threadId": "t", "runId": "r", "messages": [user([{"type": "smell"}])]},
        {"threadId": "t", "runId": "r", "messages": [], "resume": [{"interruptId": "i", "status": "maybe"}]},
    ],
)
def test_what_is_no_request_is_none(given: dict[str, Any]) -> None:
    """A server answers it before `read`."""
    with pytest.raises(ValidationError):
        WIRE.request_model.model_validate_json(json.dumps(given))
