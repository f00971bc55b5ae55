"""What the wire writes of every kind of run, read as the SDK reads it, on asyncio and on trio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from becket import (
    Agent,
    AgentResult,
    Backoff,
    CycleFinished,
    CycleStarted,
    DecisionRequested,
    ExtensionDelta,
    Limits,
    Message,
    MessageAdded,
    ModelFinished,
    ModelStarted,
    OutputPartial,
    PluginEvent,
    PluginFailed,
    Price,
    ProviderError,
    Reasoning,
    ReasoningDelta,
    RetryScheduled,
    RunFinished,
    RunInfo,
    RunStarted,
    Runtime,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolProgress,
    ToolStarted,
    UnknownEvent,
    hookimpl,
    tool,
)
from becket.testing import Scenarios, ScriptedProvider, calls, text
from becket_aisdk._encoder import ChunkEncoder
from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from becket import AgentStream, Event

pytestmark = pytest.mark.anyio

WHOLE = [name for name in Scenarios.names if name not in ("held", "idle tool", "asks", "fails first", "fails midway")]

BARE = Runtime(discover=False)


def kinds(read: Any) -> list[str]:
    return [chunk["type"] for chunk in read.chunks]


def cancelled_at(kind: type) -> Callable[[Event, AgentStream], None]:
    def cancel(event: Event, stream: AgentStream) -> None:
        if isinstance(event, kind):
            stream.cancel()

    return cancel


@pytest.mark.parametrize("name", WHOLE)
async def test_the_message_has_the_text_of_the_answer(name: str, chat: Callable[..., Any]) -> None:
    """Whatever happens besides: tools, reasoning, nested runs, arguments that cannot be read, 100,000 pieces."""
    read = await chat().say(name)
    assert read.text == Scenarios.text(name)
    assert read.finished == "stop"
    assert read.message["metadata"]["stopReason"] == "end_turn"


async def test_the_message_is_the_run(chat: Callable[..., Any]) -> None:
    """So a frontend can ask for it to be cancelled; what it cost stands in the metadata, by the SDK's names."""
    talk = chat()
    read = await talk.say("text")
    (started,) = [event for event in talk.events if isinstance(event, RunStarted)]
    assert read.message["id"] == started.run_id
    assert read.message["metadata"] == {
        "runId": started.run_id,
        "agent": "scenarios",
        "model": "scripted:model",
        "stopReason": "end_turn",
        "cycles": 1,
        "usage": {
            "inputTokens": 10,
            "outputTokens": 3,
            "totalTokens": 13,
            "inputTokenDetails": {"cacheReadTokens": 0},
            "outputTokenDetails": {"reasoningTokens": 0},
        },
    }


async def test_the_chunks_of_a_text(chat: Callable[..., Any]) -> None:
    """One step with one block, whose pieces are the model's."""
    read = await chat().say("text")
    block = ["text-start", "text-delta", "text-delta", "text-delta", "text-end"]
    assert kinds(read) == ["start", "start-step", *block, "finish-step", "finish"]


async def test_a_tool_that_ends_first_is_shown_first(chat: Callable[..., Any]) -> None:
    """Each call is a part, with what it was called with and what came of it; its outcome comes when it is there."""
    read = await chat().say("tools")
    slow, fast = read.tools()
    assert (slow["toolName"], slow["input"], slow["output"]) == ("slow", {"seconds": 1}, "slow after 1")
    assert (fast["toolName"], fast["input"], fast["output"]) == ("fast", {}, "fast")
    done = [chunk["toolCallId"] for chunk in read.chunks if chunk["type"] == "tool-output-available"]
    assert done == [fast["toolCallId"], slow["toolCallId"]]
    assert [part["type"] for part in read.parts].count("step-start") == 2


async def test_progress_is_a_preliminary_output(chat: Callable[..., Any]) -> None:
    """Each replaces the one before, and the outcome the last."""
    read = await chat().say("progress")
    outputs = [chunk for chunk in read.chunks if chunk["type"] == "tool-output-available"]
    assert [chunk["output"] for chunk in outputs[:3]] == [{"step": 1}, {"step": 2}, {"step": 3}]
    assert [chunk.get("preliminary", False) for chunk in outputs] == [True, True, True, True, False]
    assert read.tools()[0]["output"] == "counted to 3"


async def test_reasoning_ends_before_the_text_begins(chat: Callable[..., Any]) -> None:
    """A frontend folds it then. Its seal goes to the client, which sends it back with the next request."""
    read = await chat().say("reasoning")
    assert kinds(read).index("reasoning-end") < kinds(read).index("text-start")
    (part,) = [part for part in read.parts if part["type"] == "reasoning"]
    assert part["text"] == "Six times seven."
    assert part["providerMetadata"] == {"becket": {"signature": "c2lnbmVk"}}


@pytest.mark.parametrize(
    ("name", "message"), [("fails first", "the service is overloaded"), ("fails midway", "the line was cut")]
)
async def test_an_error_is_told_and_what_was_there_is_kept(name: str, message: str, chat: Callable[..., Any]) -> None:
    """Its kind stands in the metadata, sent before it: a chat reads nothing after an error."""
    read = await chat().say(name)
    assert read.errors == [message]
    assert read.text == Scenarios.text(name)
    assert read.finished == "error"
    assert read.message["metadata"]["error"]["kind"] == "ProviderError"
    assert kinds(read)[-3:] == ["message-metadata", "error", "finish"]


@pytest.mark.parametrize(("name", "kind"), [("held", TextDelta), ("idle tool", ToolStarted)])
async def test_a_run_that_is_cancelled_aborts(name: str, kind: type, chat: Callable[..., Any]) -> None:
    """Everything is closed: the text has what was there, the call says that the run has ended."""
    read = await chat().say(name, on=cancelled_at(kind))
    assert read.aborted
    assert read.text == Scenarios.text(name)
    assert read.finished == "other"
    assert read.message["metadata"]["stopReason"] == "cancelled"
    assert [part["state"] for part in read.tools()] == ["output-error"] * (name == "idle tool")


async def test_a_call_that_was_cut_off_is_no_call(chat: Callable[..., Any]) -> None:
    """Its arguments had not all come: a frontend would show it as being written for ever."""
    script = ScriptedProvider([ToolCallDelta("call-1", "fast", '{"a'), ProviderError("cut", provider="scripted")])
    read = await chat(Agent(script, runtime=BARE)).say("go")
    (part,) = read.tools()
    assert part["state"] == "output-error"
    assert part["errorText"] == "the answer ended before the arguments had all come"


async def test_arguments_that_cannot_be_read_are_quoted(chat: Callable[..., Any]) -> None:
    read = await chat().say("malformed")
    (part,) = read.tools()
    assert part["input"] == '{"broken": '
    assert part["state"] == "output-error"
    assert "tool-input-error" in kinds(read)
    assert "could not be read" in part["errorText"]


async def test_a_nested_run_is_data(chat: Callable[..., Any]) -> None:
    """The run and its tools are parts that are replaced as they go on; its text comes beside them, piece by piece."""
    read = await chat().say("nested")
    (run,) = [part for part in read.parts if part["type"] == "data-nested-run"]
    (call,) = [part for part in read.parts if part["type"] == "data-nested-tool"]
    assert run["data"]["agent"] == "helper"
    assert run["data"]["toolCallId"] == read.tools()[0]["toolCallId"]
    assert (run["data"]["state"], run["data"]["text"]) == ("finished", "nested text")
    assert (call["data"]["toolName"], call["data"]["state"], call["data"]["output"]) == ("fast", "success", "fast")
    pieces = [chunk for chunk in read.data if chunk["type"] == "data-nested-text"]
    assert [chunk["data"]["delta"] for chunk in pieces] == ["nested ", "text"]
    assert all(chunk["transient"] for chunk in pieces)


async def test_blocks_that_take_turns_are_told_apart(chat: Callable[..., Any]) -> None:
    """Each piece goes to the block that it belongs to, as it does in the run's own message."""
    script = [TextDelta("a", 1), TextDelta("x", 2), TextDelta("", 3), TextDelta("b", 1), TextDelta("y", 2)]
    read = await chat(Agent(ScriptedProvider([*script, ModelFinished("end_turn")]), runtime=BARE)).say("go")
    assert [part["text"] for part in read.parts if part["type"] == "text"] == ["ab", "xy"]


async def test_reasoning_that_goes_on_later_is_a_part_of_its_own(chat: Callable[..., Any]) -> None:
    """Its first part has been ended."""
    script = [ReasoningDelta("one ", 1), ReasoningDelta("", 1), TextDelta("text", 2), ReasoningDelta("two", 1)]
    read = await chat(Agent(ScriptedProvider([*script, ModelFinished("end_turn")]), runtime=BARE)).say("go")
    assert [part["text"] for part in read.parts if part["type"] == "reasoning"] == ["one ", "two"]


async def test_nothing_is_kept_of_nested_runs_that_are_over() -> None:
    """An answer may have thousands of them."""
    stream = Scenarios().agent.stream_async("nested")
    encoder = ChunkEncoder(stream.info)
    async for event in stream:
        encoder.encode(event)
    assert not encoder._nested._data


async def test_a_nested_run_that_fails_says_so(chat: Callable[..., Any]) -> None:
    """And the call it is in has failed."""

    @tool
    async def steps() -> AsyncIterator[int]:
        """Go on and on."""
        yield 1

    cut = [TextDelta("so far"), ProviderError("the line was cut", provider="inner")]
    script = ScriptedProvider([TextDelta("first"), *calls(("steps", {}))], cut, name="inner")
    helper = Agent(script, [steps], name="helper", retry=None, runtime=BARE).as_tool("helper", "Does it.")
    agent = Agent(ScriptedProvider(calls(("helper", {"prompt": "go"})), text("Oh.")), [helper], runtime=BARE)
    read = await chat(agent).say("go")
    (run,) = [part["data"] for part in read.parts if part["type"] == "data-nested-run"]
    assert (run["state"], run["errorText"], run["text"]) == ("failed", "the line was cut", "first\n\nso far")
    progress = [chunk["data"] for chunk in read.data if chunk["type"] == "data-nested-tool"]
    assert [data.get("output") for data in progress] == [None, 1, 1]
    assert read.tools()[0]["state"] == "output-error"


async def test_what_it_cost_stands_in_the_metadata(chat: Callable[..., Any]) -> None:
    """Where the host has said what models cost."""
    runtime = Runtime(discover=False, prices={"scripted:model": Price(input=1_000_000, output=0)})
    read = await chat(Agent(ScriptedProvider(text("Hi.")), runtime=runtime)).say("go")
    assert read.message["metadata"]["cost"] == 10


async def test_reasoning_that_is_hidden_goes_to_the_client_and_comes_back(chat: Callable[..., Any]) -> None:
    """Encrypted: it is for the model's service."""
    hidden = [ReasoningDelta("", 0, None, "x"), ReasoningDelta("", 0, None, "y"), TextDelta("Hi.", 1)]
    talk = chat(Agent(ScriptedProvider([*hidden, ModelFinished("end_turn")]), runtime=BARE))
    await talk.say("go")
    talk.messages.append({"role": "user", "parts": [{"type": "text", "text": "next"}]})
    assert talk.wire.read(talk.body()).history[1].content == (Reasoning("", None, "xy"), Text("Hi."))


async def test_structured_output_is_data(chat: Callable[..., Any]) -> None:
    """One part, replaced as it comes: the last is the output."""

    class Answer(BaseModel):
        number: int
        words: str

    provider = ScriptedProvider(text('{"number": 42, ', '"words": "forty', '-two"}'), schema=True)
    read = await chat(Agent(provider, output=Answer, runtime=BARE)).say("go")
    (part,) = [part for part in read.parts if part["type"] == "data-output"]
    assert part["data"] == {"number": 42, "words": "forty-two"}
    assert len([chunk for chunk in read.chunks if chunk["type"] == "data-output"]) > 1


async def test_a_retry_and_what_a_plugin_says_are_not_kept(chat: Callable[..., Any]) -> None:
    """They are for `onData`. What is tried again has shown nothing, so the message is that of the attempt that went."""
    busy = ProviderError("busy", provider="scripted", retryable=True)
    attempts = iter([[PluginEvent("demo", "loading", {"of": 1}), busy], text("Hello.")])
    provider = ScriptedProvider(lambda _: next(attempts))
    read = await chat(Agent(provider, retry=Backoff(first=0), runtime=BARE)).say("go")
    assert read.text == "Hello."
    said = {chunk["type"]: chunk for chunk in read.data}
    assert said["data-plugin-event"]["data"] == {"plugin": "demo", "name": "loading", "data": {"of": 1}}
    assert said["data-retry"]["data"]["reason"] == "busy"
    assert all(chunk["transient"] for chunk in read.data)
    assert [part["type"] for part in read.parts] == ["step-start", "text"]


async def test_a_limit_ends_the_message_with_its_reason(chat: Callable[..., Any]) -> None:
    """The SDK has no word for it; becket's is in the metadata."""

    @tool
    def again() -> str:
        """Do it again."""
        return "done"

    agent = Agent(ScriptedProvider(calls(("again", {}))), [again], limits=Limits(cycles=2), runtime=BARE)
    read = await chat(agent).say("go")
    assert read.finished == "other"
    assert read.message["metadata"]["stopReason"] == "limit_cycles"


async def test_arguments_that_a_hook_has_changed_are_shown_as_they_are(chat: Callable[..., Any]) -> None:
    """The client is given the call once more: it sees what was done."""

    class Hook:
        @hookimpl
        def before_tool_call(self, call: ToolCall) -> ToolCall:
            return type(call)(call.id, call.tool, {"word": "other"})

    @tool
    def say(word: str) -> str:
        """Say it."""
        return word

    runtime = Runtime(discover=False, plugins=[Hook()])
    agent = Agent(ScriptedProvider(calls(("say", {"word": "one"})), text("Done.")), [say], runtime=runtime)
    read = await chat(agent).say("go")
    assert read.tools()[0]["input"] == {"word": "other"}
    assert read.tools()[0]["output"] == "other"
    assert kinds(read).count("tool-input-available") == 2


# -- by hand: what no run does, or a host only -------------------------------------------------------------------------

INFO = RunInfo("run", "agent", "scripted:model", "session")


def stamped(event: Any, **more: Any) -> Any:
    event.run_id, event.cycle = "run", 1
    for name, given in more.items():
        setattr(event, name, given)
    return event


def read_by_hand(reader: Any, events: list[Any]) -> Any:
    encoder = ChunkEncoder(INFO)
    return reader().read(b"".join(encoder.encode(stamped(event)) for event in events) + encoder.finish())


def test_a_stream_that_is_cut_short_is_ended(reader: Any) -> None:
    """A server that goes down has no last event of the run: the message is closed, and said to be aborted."""
    events = [CycleStarted(), ModelStarted("m", 1), TextDelta("so far"), ToolCallDelta("call-1", "fast", "{")]
    read = read_by_hand(reader, events)
    assert read.text == "so far"
    assert read.aborted
    assert read.finished == "other"
    assert read.message["metadata"]["sessionId"] == "session"


def test_calls_that_nothing_more_is_heard_of_have_failed(reader: Any) -> None:
    """Else a frontend would show them as running for ever."""
    call = ToolCall("call-1", "look", {"at": 1})
    added = MessageAdded(Message("assistant", (call, ToolCall("call-2", "look", {}))))
    model = [ModelStarted("m", 1), ModelFinished("tool_use")]
    read = read_by_hand(reader, [CycleStarted(), *model, added, ToolStarted(call), ToolProgress("call-1", 1)])
    assert [part["state"] for part in read.tools()] == ["output-error", "output-error"]
    assert read.tools()[0]["errorText"] == "The run ended before this call was finished."


def test_an_answer_without_events_is_an_empty_message(reader: Any) -> None:
    assert kinds(read_by_hand(reader, [])) == ["start", "abort", "finish"]


def test_an_attempt_that_has_shown_something_is_taken_back(reader: Any) -> None:
    """Becket makes no such retry; a reader of its events discards the pieces of the older attempt all the same."""
    again = [ModelStarted("m", 1), TextDelta("two"), ModelFinished("end_turn"), CycleFinished("end_turn")]
    begun = [CycleStarted(), ModelStarted("m", 1), TextDelta("one"), ReasoningDelta("why", 1, "seal")]
    written = ToolCallDelta("call-1", "fast", "{", 2)
    read = read_by_hand(reader, [*begun, written, RetryScheduled("cut", 0.5, 2), *again])
    assert "reset-step" in kinds(read)
    assert [part["type"] for part in read.parts] == ["step-start", "text"]
    assert read.text == "two"


def test_what_is_not_known_is_left_out(reader: Any) -> None:
    """And what says nothing to a client: a plugin that failed where the run goes on, an extension of a service's."""
    events = [
        CycleStarted(),
        ExtensionDelta("other", {"a": 1}),
        PluginFailed("demo", "system_prompt", "ValueError: no"),
        UnknownEvent("later"),
        RetryScheduled("busy", 0.5, 2, "call-1"),
        CycleFinished("end_turn"),
    ]
    read = read_by_hand(reader, events)
    assert kinds(read) == ["start", "start-step", "data-retry", "finish-step", "abort", "finish"]
    assert read.data[0]["data"]["toolCallId"] == "call-1"


def test_an_output_that_came_at_once_is_shown(reader: Any) -> None:
    finished = RunFinished(AgentResult("end_turn", output={"number": 42}))
    read = read_by_hand(reader, [CycleStarted(), CycleFinished("end_turn"), finished])
    assert [part["data"] for part in read.parts if part["type"] == "data-output"] == [{"number": 42}]


def test_an_output_is_kept_where_its_step_is_taken_back(reader: Any) -> None:
    """A question has the step written anew, without the calls that wait."""
    asked, later = ToolCall("call-1", "change", {"value": 1}), ToolCall("call-2", "look", {})
    events = [
        CycleStarted(),
        ModelStarted("m", 1),
        OutputPartial({"number": 4}),
        ModelFinished("tool_use"),
        MessageAdded(Message("assistant", (asked, later))),
        DecisionRequested("why", "approve_tool", asked, "it may change something"),
    ]
    read = read_by_hand(reader, events)
    assert [part["data"] for part in read.parts if part["type"] == "data-output"] == [{"number": 4}]
    assert [part["state"] for part in read.tools()] == ["approval-requested"]
    assert read.message["metadata"]["pending"]["held"] == [{"toolCallId": "call-2", "toolName": "look", "input": {}}]


def test_a_question_about_no_call_is_none_that_a_chat_can_be_asked(reader: Any) -> None:
    """It has no place in the message; the answer goes on."""
    read = read_by_hand(reader, [CycleStarted(), DecisionRequested("why", "other")])
    assert read.finished == "other"
