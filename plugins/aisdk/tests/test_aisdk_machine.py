"""Whatever a model says, and whoever decides what: the SDK can read the stream, and it says what the run said."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
from becket import (
    Agent,
    Backoff,
    Event,
    ExtensionDelta,
    Limits,
    Message,
    MessageAdded,
    ModelFinished,
    PluginEvent,
    ProviderError,
    Reasoning,
    ReasoningDelta,
    Runtime,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolError,
    ToolResult,
    tool,
)
from becket.testing import ScriptedProvider, text
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from becket import AgentStream

BARE = Runtime(discover=False)


@tool(effect="none")
async def look() -> dict[str, int]:
    """Look at something."""
    return {"seen": 1}


@tool(effect="write")
async def change(value: int) -> str:
    """Change something."""
    return f"changed to {value}"


@tool(effect="none")
async def fail() -> None:
    """Fail."""
    raise ToolError("it broke")


@tool(effect="none", sequential=True)
async def count() -> AsyncIterator[int]:
    """Count."""
    for number in range(2):
        yield number


def nested() -> Any:
    asked = ToolCallDelta("call-1", "change", '{"value": 1}')
    script = ScriptedProvider([asked, ModelFinished("tool_use")], text("done"), name="inner")
    return Agent(script, [change], name="helper", runtime=BARE).as_tool("helper", "Does it.")


TOOLS = [look, change, fail, count]

ARGUMENTS = {"change": '{"value": 2}', "helper": '{"prompt": "go"}'}

block = st.integers(0, 2)

delta = st.one_of(
    st.builds(lambda said, at: ("text", said, at), st.sampled_from(["", "a", "b\n", "\u2028\U0001f6f6"]), block),
    st.builds(
        lambda said, seal, at: ("reasoning", said, seal, at),
        st.sampled_from(["", "hm", "so "]),
        st.sampled_from([None, "seal"]),
        st.just(9),
    ),
    st.builds(
        lambda name, whole: ("call", name, whole),
        st.sampled_from(["look", "change", "fail", "count", "helper", "unknown"]),
        st.sampled_from([True, True, True, False]),
    ),
    st.just(("extension",)),
    st.just(("plugin",)),
)

cycles = st.lists(
    st.tuples(st.lists(delta, max_size=6), st.sampled_from(["go on", "go on", "fail", "retry"])), max_size=3
)


def events(deltas: list[Any]) -> list[Any]:
    made: list[Any] = []
    for number, one in enumerate(deltas):
        match one:
            case ("text", said, at):
                made.append(TextDelta(said, at))
            case ("reasoning", said, seal, at):
                made.append(ReasoningDelta(said, at, seal))
            case ("call", name, whole):
                arguments = ARGUMENTS.get(name, "{}") if whole else '{"value'
                pieces = (arguments[:3], arguments[3:])
                made += [ToolCallDelta(f"call-{number}", name, piece, 10 + number) for piece in pieces]
            case ("extension",):
                made.append(ExtensionDelta("scripted", {"a": 1}, 100 + number))
            case _:
                made.append(PluginEvent("demo", "said", 1))
    return made


def script(said: list[Any]) -> list[Any]:
    """What the model does each time it is called; the last answer is a text, so that the run ends."""
    made: list[Any] = []
    for deltas, end in said:
        if end == "retry":
            made.append([ProviderError("busy", provider="scripted", retryable=True)])
        steps = events(deltas)
        wants = any(isinstance(step, ToolCallDelta) for step in steps)
        failed = ProviderError("the line was cut", provider="scripted")
        made.append([*steps, failed if end == "fail" else ModelFinished("tool_use" if wants else "end_turn")])
    return [*made, text("The end.")]


def said_by(messages: list[Message]) -> list[Any]:
    """What was said and done, without what the format has no word for.

    That is: thoughts that go on after something else are two parts; a call that was interrupted has failed; the ids of
    calls are others, since a message has more calls than a step.
    """
    said: list[Any] = []
    called: dict[str, Any] = {}
    thoughts = ""
    for message in messages:
        for part in message.content:
            match part:
                case Text(text=words):
                    said.append(words)
                case Reasoning(text=words):
                    thoughts += words
                case ToolCall():
                    called[part.id] = (part.tool, part.arguments, part.malformed is None)
                case ToolResult():
                    status = "error" if part.status == "interrupted" else part.status
                    said.append((*called[part.call_id], status))
    return [thoughts, *sorted(said, key=repr)]


@settings(deadline=None, max_examples=150)
@given(said=cycles, answers=st.lists(st.booleans(), min_size=12, max_size=12), cancel=st.none() | st.integers(1, 40))
def test_any_run_is_a_message(
    said: list[Any], answers: list[bool], cancel: int | None, chat_of: Callable[..., Any]
) -> None:
    """The tests' reader holds the rules: a start before each piece, an input before each output, one end, nothing open.

    And the history that the chat sends with its next request is what the run has said and done.
    """
    scripts = iter(script(said))
    agent = Agent(
        ScriptedProvider(lambda _: next(scripts)),
        [*TOOLS, nested()],
        approver="reader",
        retry=Backoff(first=0),
        limits=Limits(cycles=6),
        runtime=BARE,
    )
    talk = chat_of(agent)
    seen = 0

    def count_to_cancel(_: Event, stream: AgentStream) -> None:
        nonlocal seen
        seen += 1
        if seen == cancel:
            stream.cancel()

    async def go() -> None:
        decided = iter(answers)
        await talk.say("go", on=count_to_cancel)
        while talk.parked is not None:
            assert [part for part in talk.messages[-1]["parts"] if part.get("state") == "approval-requested"]
            await talk.respond(approved=next(decided))

    anyio.run(go)
    root = talk.messages[-1]["id"]
    own = [event.message for event in talk.events if isinstance(event, MessageAdded) and event.run_id == root]
    talk.messages.append({"id": "next", "role": "user", "parts": [{"type": "text", "text": "next"}]})
    sent = talk.wire.read(talk.body()).history
    assert said_by(list(sent[1:])) == said_by(own)
    assert json.dumps(talk.messages)
