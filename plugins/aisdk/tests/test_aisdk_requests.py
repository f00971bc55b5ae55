"""What a chat sends, in becket's terms: every kind of part, what is asked, and what is refused in words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from becket import (
    AgentResult,
    Allow,
    Deny,
    Document,
    Image,
    Json,
    MalformedArguments,
    Message,
    Reasoning,
    RequestError,
    RunFinished,
    RunInfo,
    Text,
    ToolCall,
    ToolResult,
)
from becket_aisdk import AiSdkWire
from becket_aisdk._outputs import blocks_of, output_of
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

WIRE = AiSdkWire()
PNG = "iVBORw0KGgo="


def message(role: str, *parts: Any, **more: Any) -> dict[str, Any]:
    said = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
    return {"id": f"{role}-1", "role": role, "parts": said, **more}


def body(*messages: Any, **more: Any) -> Any:
    return TypeAdapter(WIRE.request_model).validate_json(json.dumps({"id": "chat", "messages": messages, **more}))


def read(*messages: Any, **more: Any) -> Any:
    return WIRE.read(body(*messages, **more))


def called(state: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "dynamic-tool",
        "toolName": "look",
        "toolCallId": "call-1",
        "state": state,
        "input": {"at": 1},
    } | more


def user(*blocks: Any) -> Message:
    return Message("user", blocks)


def assistant(*blocks: Any) -> Message:
    return Message("assistant", blocks)


# -- what is asked -----------------------------------------------------------------------------------------------------


def test_the_last_message_is_the_prompt_and_the_others_the_history() -> None:
    wanted = read(message("user", "one"), message("assistant", {"type": "step-start"}, "two"), message("user", "three"))
    assert wanted.prompt == user(Text("three"))
    assert wanted.history == (user(Text("one")), assistant(Text("two")))
    assert (wanted.agent, wanted.instructions, wanted.answers) == (None, "", {})


def test_what_the_system_says_is_instructions() -> None:
    """The client's, added to those of the agent."""
    wanted = read(message("system", "Be brief."), message("system", "Be kind."), message("user", "hi"))
    assert wanted.instructions == "Be brief.\n\nBe kind."
    assert wanted.history == ()


def test_a_host_adds_to_the_body_what_it_likes() -> None:
    """`agent` is becket's; others are the host's own, and let through."""
    assert read(message("user", "hi", extra=1), agent="other", temperature="hot", model=None).agent == "other"


def test_an_answer_is_made_anew_from_what_is_left() -> None:
    """The client has taken the old one out of the messages."""
    wanted = read(message("user", "hi"), trigger="regenerate-message", messageId="assistant-1")
    assert wanted.prompt == user(Text("hi"))


def test_images_and_documents() -> None:
    """By their bytes or by their address; the type is that of the data URL where the part has only a part of it."""
    files = [
        {"type": "file", "mediaType": "image/png", "url": f"data:image/png;base64,{PNG}", "filename": "p.png"},
        {"type": "file", "mediaType": "image/*", "url": f"data:image/png;base64,{PNG.replace('=', '%3D')}"},
        {"type": "file", "mediaType": "image", "url": f"data:image/webp;base64,{PNG}"},
        {"type": "file", "mediaType": "image/jpeg", "url": "https://example.com/p.jpg"},
        {"type": "file", "mediaType": "application/pdf", "url": "https://example.com/d.pdf", "filename": "d.pdf"},
        {"type": "file", "mediaType": "text", "url": "data:,na%C3%AFve"},
    ]
    assert read(message("user", "see", *files)).prompt == user(
        Text("see"),
        Image("image/png", PNG),
        Image("image/png", PNG),
        Image("image/webp", PNG),
        Image("image/jpeg", url="https://example.com/p.jpg"),
        Document("application/pdf", url="https://example.com/d.pdf", name="d.pdf"),
        Document("text/plain", "bmHDr3Zl"),
    )


def test_what_is_for_the_frontend_alone_is_left_out() -> None:
    """Data, sources, and whatever a later version of the SDK adds."""
    parts = [
        {"type": "data-mood", "data": "good"},
        {"type": "source-url", "sourceId": "1", "url": "u"},
        {"type": "new"},
    ]
    wanted = read(message("user", "hi", *parts), message("assistant", "ho", *parts), message("user", "hi", *parts))
    assert wanted.history == (user(Text("hi")), assistant(Text("ho")))
    assert wanted.prompt == user(Text("hi"))


def test_messages_that_say_nothing_are_left_out() -> None:
    """An answer that failed before its first word is such a one; model services refuse them."""
    nothing = message("assistant", {"type": "step-start"}, {"type": "reasoning", "text": ""}, "")
    assert read(message("user", " "), nothing, message("user", "hi")).history == ()


# -- what was answered -------------------------------------------------------------------------------------------------


def test_reasoning_keeps_the_seal_that_becket_has_sent() -> None:
    """Not that of another backend, which is for a service that becket did not ask."""
    sealed = {"type": "reasoning", "text": "why", "providerMetadata": {"becket": {"signature": "s", "redacted": "r"}}}
    other = {"type": "reasoning", "text": "hm", "providerMetadata": {"openai": {"itemId": "i"}, "becket": 3}}
    odd = {"type": "reasoning", "text": "so", "providerMetadata": {"becket": {"signature": 3}}}
    wanted = read(message("assistant", sealed, other, odd), message("user", "hi"))
    assert wanted.history == (assistant(Reasoning("why", "s", "r"), Reasoning("hm"), Reasoning("so")),)


def test_each_step_is_a_message_and_its_results_another() -> None:
    step = {"type": "step-start"}
    two = called("output-available", toolCallId="call-2", output={"n": 1})
    parts = [
        step,
        "one",
        called("output-available", output="seen"),
        two,
        step,
        called("output-available", output=None),
        step,
    ]
    wanted = read(message("user", "go"), message("assistant", *parts, "done"), message("user", "hi"))
    assert wanted.history == (
        user(Text("go")),
        assistant(Text("one"), ToolCall("call-1", "look", {"at": 1}), ToolCall("call-2", "look", {"at": 1})),
        user(ToolResult("call-1", "success", (Text("seen"),)), ToolResult("call-2", "success", (Json({"n": 1}),))),
        assistant(ToolCall("call-1", "look", {"at": 1})),
        user(ToolResult("call-1", "success", (Json(None),))),
        assistant(Text("done")),
    )


LOST = ToolResult("call-1", "interrupted", (Text("The run ended before this call was finished."),))


@pytest.mark.parametrize(
    ("part", "result"),
    [
        (called("input-available"), LOST),
        (called("approval-requested", approval={"id": "a"}), LOST),
        (called("approval-responded", approval={"id": "a", "approved": True}), LOST),
        (called("output-available", output=1, preliminary=True), LOST),
        (called("output-error", errorText="it broke"), ToolResult("call-1", "error", (Text("it broke"),))),
        (called("output-error"), ToolResult("call-1", "error", (Text("look failed"),))),
        (
            called("output-denied", approval={"id": "a", "approved": False, "reason": "no"}),
            ToolResult("call-1", "denied", (Text("look was not called, the call was denied: no"),)),
        ),
        (
            called("output-denied", approval={"id": "a", "approved": False}),
            ToolResult("call-1", "denied", (Text("look was not called, the call was denied"),)),
        ),
        (
            called("output-available", type="tool-look", toolName=None, output=""),
            ToolResult("call-1", "success", (Text(""),)),
        ),
    ],
)
def test_a_call_has_exactly_one_result_whatever_its_state(part: dict[str, Any], result: ToolResult) -> None:
    """Also the one that was left open: model services refuse a history with a call that is not answered."""
    wanted = read(message("user", "go"), message("assistant", part), message("user", "hi"))
    assert wanted.history[1:] == (assistant(ToolCall("call-1", "look", {"at": 1})), user(result))


def test_a_call_that_was_being_written_is_none() -> None:
    """Nor one of which the client was told that it was cut off: the run's own history has neither."""
    cut = called("output-error", input=None, errorText="the answer ended before the arguments had all come")
    wanted = read(message("assistant", "text", called("input-streaming"), cut), message("user", "hi"))
    assert wanted.history == (assistant(Text("text")),)


def test_arguments_that_could_not_be_read_are_malformed_again() -> None:
    part = called("output-error", input='{"broken": ', errorText="it ends too early")
    wanted = read(message("assistant", part), message("user", "hi"))
    assert wanted.history[0] == assistant(
        ToolCall("call-1", "look", malformed=MalformedArguments('{"broken": ', "it ends too early"))
    )


def test_what_the_user_said_meanwhile_stands_where_it_was_said() -> None:
    """A steering message of the SDK's is a part of the answer that it came in."""
    steering = {"type": "steering-message", "id": "s", "parts": [{"type": "text", "text": "faster"}]}
    empty = {"type": "steering-message", "id": "s", "parts": []}
    wanted = read(message("assistant", "slow", steering, {"type": "step-start"}, "fast", empty), message("user", "hi"))
    assert wanted.history == (assistant(Text("slow")), user(Text("faster")), assistant(Text("fast")))


BLOCKS = st.one_of(
    st.builds(Text, st.text()),
    st.builds(Json, st.recursive(st.none() | st.booleans() | st.integers(), lambda item: st.lists(item, max_size=2))),
    st.builds(Image, st.sampled_from(["image/png"]), st.sampled_from(["", PNG])),
    st.builds(lambda url: Image("image/png", url=url), st.text(min_size=1)),
    st.builds(lambda name: Document("text/plain", PNG, name=name), st.text()),
)


@given(st.lists(BLOCKS, min_size=1, max_size=3).map(tuple))
def test_what_a_tool_returned_comes_back_as_it_was(content: tuple[Any, ...]) -> None:
    """Except for JSON that looks like one of the two forms: a text, or a list of blocks."""
    back = blocks_of(json.loads(json.dumps(output_of(content))))
    match content:
        case (Json(value=str(said)),):
            assert back == (Text(said),)
        case _:
            assert back == content


def test_an_output_that_only_looks_like_blocks_is_json() -> None:
    """A list in which something is none, and a file whose members are of other types."""
    for output in (
        [{"type": "text", "text": "a"}, 3],
        [{"type": "text", "text": 3}],
        [{"type": "image", "mediaType": "image/png", "data": 3}],
        [{"type": "image", "mediaType": "image/png", "url": 3}],
        [],
    ):
        assert blocks_of(output) == (Json(output),)


# -- decisions ---------------------------------------------------------------------------------------------------------


def responded(call_id: str = "call-1", name: str = "a", **approval: Any) -> dict[str, Any]:
    return called("approval-responded", toolCallId=call_id, approval={"id": name} | approval)


def test_what_was_responded_to_are_answers() -> None:
    """And nothing is asked then: the run that waits goes on."""
    parts = [
        responded("call-1", "a", approved=True),
        responded("call-2", "b", approved=True, reason="fine"),
        responded("call-3", "c", approved=False),
        responded("call-4", "d", approved=False, reason="no"),
        responded("call-5", "e", approved=True, isAutomatic=True),
        called("approval-requested", toolCallId="call-6", approval={"id": "f"}),
        responded("call-7", "g"),
    ]
    wanted = read(message("user", "go"), message("assistant", *parts), messageId="assistant-1")
    assert wanted.answers == {
        "a": Allow(),
        "b": Allow("fine"),
        "c": Deny("whoever was asked has said no"),
        "d": Deny("no"),
    }
    assert (wanted.prompt, wanted.history) == ("", ())


def test_what_the_run_was_told_before_is_no_answer() -> None:
    """A part keeps its state until the call has an outcome; the metadata say what is still open."""
    parts = [responded("call-1", "a", approved=True), responded("call-2", "b", approved=True)]
    wanted = read(message("assistant", *parts, metadata={"pending": {"asked": {"call-2": "b"}}}))
    assert set(wanted.answers) == {"b"}


@pytest.mark.parametrize("metadata", [None, 3, {}, {"pending": None}, {"pending": {"asked": 3}}, {"pending": []}])
def test_a_client_that_has_lost_the_metadata_is_understood(metadata: Any) -> None:
    assert set(read(message("assistant", responded(approved=True), metadata=metadata)).answers) == {"a"}


def test_an_earlier_message_may_be_the_one_that_was_responded_to() -> None:
    """The request names it: the chat has gone on before."""
    earlier = message("assistant", responded(approved=True)) | {"id": "earlier"}
    later = [message("user", "hm"), message("assistant", "well")]
    assert set(read(earlier, *later, messageId="earlier").answers) == {"a"}


def test_a_new_message_of_the_user_is_no_answer() -> None:
    """Whatever was responded to in messages before it."""
    wanted = read(message("assistant", responded(approved=True)), message("user", "something else"))
    assert wanted.answers == {}
    assert wanted.prompt == user(Text("something else"))


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "code", "words"),
    [
        ([message("assistant", "hi")], "nothing_asked", "the last message is the assistant's"),
        ([message("system", "hi")], "nothing_asked", "the last message is the system's"),
        ([message("assistant", called("output-available", output=1))], "nothing_asked", "Tools are run by the server"),
        ([message("user", " \n")], "empty_prompt", "the last message is empty"),
        ([message("user")], "empty_prompt", "the last message is empty"),
        (
            [message("assistant", called("input-available"), called("input-available")), message("user", "hi")],
            "bad_history",
            "stands twice in one message",
        ),
    ],
)
def test_what_asks_for_nothing_is_refused(messages: list[Any], code: str, words: str) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        read(*messages)
    assert (caught.value.status, caught.value.code) == (422, code)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ({"mediaType": "image/png", "url": "blob:http://x/1"}, "'blob:http://x/1' is neither"),
        ({"mediaType": "image/png", "url": "file:///etc/passwd"}, "is neither"),
        ({"mediaType": "image/png", "url": ""}, "is neither"),
        ({"mediaType": "image/png", "url": "data:image/png;base64"}, "has no comma"),
        ({"mediaType": "image/png", "url": "data:image/png;base64,a"}, "holds no base64"),
        ({"mediaType": "image/png", "url": "data:image/png;base64,ä"}, "holds no base64"),
        ({"mediaType": "image/png", "url": "data:image/png;base64,a%FF="}, "holds no base64"),
        ({"mediaType": "video/mp4", "url": "https://example.com/v"}, "files of the type 'video/mp4'"),
        ({"mediaType": "audio", "url": "data:audio/wav;base64,AAAA"}, "files of the type 'audio/wav'"),
    ],
)
def test_a_file_that_cannot_be_given_to_a_model_is_refused(file: dict[str, Any], words: str) -> None:
    """With the place that it stands at."""
    with pytest.raises(RequestError, match=words) as caught:
        read(message("user", "ok"), message("user", "see", {"type": "file"} | file))
    assert str(caught.value).startswith("messages.1.parts.1: ")
    assert caught.value.code == "bad_file"


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"messages": []},
        {"messages": "hi"},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "robot", "parts": []}]},
        {"messages": [{"role": "user", "parts": [3]}]},
        {"messages": [{"role": "user", "parts": [{"text": "no type"}]}]},
        {"messages": [{"role": "user", "parts": [{"type": "text"}]}]},
        {"messages": [{"role": "user", "parts": [{"type": "file", "url": "x"}]}]},
        {"messages": [{"role": "user", "parts": [{"type": "dynamic-tool", "state": "output-available"}]}]},
        {"messages": [{"role": "user", "parts": [{"type": "tool-a", "toolCallId": "1", "state": "new"}]}]},
        {"messages": [{"role": "user", "parts": [{"type": "tool-a", "toolCallId": "", "state": "output-error"}]}]},
        {"messages": [{"role": "user", "parts": []}], "trigger": "resume-stream"},
    ],
)
def test_what_is_no_request_of_a_chat_does_not_reach_the_wire(sent: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(WIRE.request_model).validate_json(json.dumps(sent))


def test_the_request_is_described() -> None:
    """For a server's OpenAPI description."""
    schema = WIRE.request_model.model_json_schema(by_alias=True)  # type: ignore[attr-defined]  # a pydantic model
    assert set(schema["properties"]) == {"id", "messages", "trigger", "messageId", "agent"}
    assert schema["required"] == ["messages"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a"]),
    lambda item: st.lists(item, max_size=2) | st.dictionaries(st.sampled_from(["type", "text", "a"]), item, max_size=2),
    max_leaves=4,
)

STATES = ["input-streaming", "input-available", "approval-requested", "approval-responded", "output-available"]

APPROVALS = st.fixed_dictionaries(
    {"id": st.sampled_from(["a", "b"])},
    optional={"approved": st.booleans(), "isAutomatic": st.booleans(), "reason": st.just("why")},
)

TOOL_PARTS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["dynamic-tool", "tool-look"]),
        "toolCallId": st.sampled_from(["1", "2", "3", "4"]),
        "state": st.sampled_from([*STATES, "output-error", "output-denied"]),
    },
    optional={"approval": APPROVALS, "input": JSON, "output": JSON, "errorText": st.just("broke")},
)

PARTS = st.one_of(
    st.builds(lambda said: {"type": "text", "text": said}, st.sampled_from(["said", " ", ""])),
    st.builds(
        lambda url, kind: {"type": "file", "url": url, "mediaType": kind},
        st.sampled_from(["data:image/png;base64,AAAA", "https://example.com", "data:", "blob:1"]),
        st.sampled_from(["image/png", "text", "a/b"]),
    ),
    st.builds(lambda data: {"type": "reasoning", "text": "hm", "providerMetadata": {"becket": data}}, JSON),
    TOOL_PARTS,
    TOOL_PARTS,
    st.just({"type": "step-start"}),
    st.builds(lambda data: {"type": "data-nested-run", "id": "run", "data": data}, JSON),
    st.builds(lambda data: {"type": "steering-message", "parts": [{"type": "text", "text": data}]}, st.just("faster")),
    st.dictionaries(st.sampled_from(["type", "text", "state"]), JSON),
)

HELD = st.fixed_dictionaries({"toolCallId": st.just("3"), "toolName": st.just("look")}, optional={"input": JSON})

WAITING = st.fixed_dictionaries({"approvalId": st.just("c"), "toolCallId": st.just("1")}, optional={"descriptor": JSON})

PENDING = st.fixed_dictionaries(
    {},
    optional={
        "asked": st.dictionaries(st.sampled_from(["1", "2"]), st.sampled_from(["a", "b"])) | JSON,
        "running": st.lists(st.sampled_from(["1", "2"])) | JSON,
        "held": st.lists(HELD, max_size=1) | JSON,
        "waiting": st.lists(WAITING, max_size=1) | JSON,
    },
)

MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "assistant", "system"]), "parts": st.lists(PARTS, max_size=4)},
    optional={"id": st.sampled_from(["m", ""]), "metadata": st.fixed_dictionaries({"pending": PENDING}) | JSON},
)


LAST = st.one_of(
    st.just([]),
    st.just([message("user", "hi")]),
    st.builds(
        lambda parts, pending: [message("assistant", *parts, responded(approved=True), metadata={"pending": pending})],
        st.lists(PARTS, max_size=3),
        PENDING,
    ),
)


@given(st.lists(MESSAGES, max_size=3), LAST, st.sampled_from(["m", None]))
def test_whatever_is_sent_is_served_or_refused_in_words(
    messages: list[Any], last: list[Any], message_id: str | None
) -> None:
    """By the wire's model or by the wire; and where it is served, there is an encoder that writes a whole answer."""
    try:
        sent = body(*messages, *last, messageId=message_id)
        wanted = WIRE.read(sent)
    except (ValidationError, RequestError):
        return
    assert wanted.answers or wanted.prompt
    encoder = WIRE.open(sent, RunInfo("run", "agent", "model"))
    finished = RunFinished(AgentResult("end_turn"), run_id="run")
    chunks = (encoder.encode(finished) + encoder.finish()).decode().split("\n\n")
    assert json.loads(chunks[0].removeprefix("data: "))["type"] == "start"
    assert chunks[-2:] == ["data: [DONE]", ""]
