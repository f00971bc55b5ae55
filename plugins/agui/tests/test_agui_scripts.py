"""Whatever a model says and however a run ends, the stream is in order, and put together it is the history."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import anyio
from becket import (
    Agent,
    Allow,
    ConfigError,
    Deny,
    ExtensionDelta,
    Limits,
    Message,
    MessageAdded,
    ModelFinished,
    PluginEvent,
    ProviderError,
    ReasoningDelta,
    RunFailed,
    Runtime,
    Text,
    TextDelta,
    ToolCallDelta,
    ToolError,
    Usage,
    tool,
)
from becket.testing import ScriptedProvider, text
from becket_agui import AgUi
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterable

    from becket import Event

WIRE = AgUi()
RUNTIME = Runtime(discover=False)


@tool(effect="none")
async def report(n: int = 0) -> Any:
    """Report, and end."""
    for step in range(n % 3):
        yield {"step": step}
    yield f"reported {n}"


@tool(effect="none")
async def fail() -> None:
    """Fail."""
    raise ToolError("it failed")


@tool(effect="write")
async def change(value: int) -> str:
    """Change something, where it may."""
    return f"changed to {value}"


words = st.text(max_size=5)
blocks = st.integers(1, 2)
said = st.one_of(
    st.builds(TextDelta, words),  # of one block: no service sends pieces of two of text among each other
    st.builds(ReasoningDelta, words, blocks, signature=st.none() | words, redacted=st.none() | words),
    st.builds(ExtensionDelta, st.just("scripted"), st.just({"a": 1}), blocks),
    st.builds(PluginEvent, st.just("plugin"), st.just("event"), st.none() | words),
)
called = st.builds(
    lambda call_id, name, pieces, block: [ToolCallDelta(call_id, name, piece, block) for piece in pieces],
    st.sampled_from(["a", "b", ""]),
    st.sampled_from(["report", "fail", "change", "helper", "nobody"]),
    st.sampled_from([["{}"], ["", '{"n"', ": 2}"], ['{"value": 1}'], ['{"prompt": ', '"and?"}'], ['{"half'], [""]]),
    st.integers(3, 5),
)
ends = st.one_of(
    st.builds(ModelFinished, st.sampled_from(["end_turn", "tool_use", "max_tokens"]), st.just(Usage(3, 2, 1, 1))),
    st.just(ProviderError("the line was cut", provider="scripted")),
)


@st.composite
def answers(draw: st.DrawFn) -> list[Any]:
    """The steps of one model call; the fragments of calls come among each other."""
    steps: list[Any] = draw(st.lists(said, max_size=6))
    for fragments in draw(st.lists(called, max_size=3)):
        place = 0
        for fragment in fragments:
            place = draw(st.integers(place, len(steps)))
            steps.insert(place, fragment)
            place += 1
    return [*steps, draw(ends)]


def agent(outer: list[list[Any]], inner: list[list[Any]]) -> Agent[Any]:
    """An agent that follows the scripts, and has another that follows its own as a tool."""
    tools: list[Any] = [report, fail, change]
    helper = Agent(
        ScriptedProvider(*inner, text("helped"), name="inner"),
        tools,
        name="helper",
        runtime=RUNTIME,
        limits=Limits(cycles=3),
    )
    return Agent(
        ScriptedProvider(*outer, text("Done.")),
        [*tools, helper.as_tool("helper", "Helps.")],
        approver="reader",
        runtime=RUNTIME,
        limits=Limits(cycles=4),
        retry=None,
    )


async def told(of: Agent[Any], decide: list[bool], stop: int) -> tuple[list[bytes], list[Event]]:
    """The answers to one prompt and to what is asked in them, and what they were written from.

    The run is cancelled when so many events have been read.
    """
    written: list[bytes] = []
    seen: list[Event] = []
    messages: list[Any] = []
    async with of.stream_async("go") as stream:
        while True:
            body = WIRE.request_model(threadId="t", runId=str(len(written)), messages=messages)
            encoder = WIRE.open(body, stream.info)
            pieces = []
            try:
                while not encoder.done and (events := await stream.read(1)):
                    seen += events
                    pieces.append(encoder.encode(events[0]))
                    if len(seen) == stop:
                        stream.cancel()
            except Exception:
                if not isinstance(seen[-1], RunFailed):
                    raise
            written.append(b"".join([*pieces, encoder.finish()]))
            if not encoder.done:
                return written, seen
            with contextlib.suppress(ConfigError):  # the run was cancelled, and asks no more
                await stream.decide(seen[-1].request_id, Allow() if decide[len(written) % len(decide)] else Deny("no"))


def counted(messages: Iterable[Message]) -> list[Any]:
    """What of a history is told in any case: text, calls, results."""
    shown = []
    for message in messages:
        calls = [call.tool for call in message.tool_calls]
        results = [(result.status, result.text) for result in message.tool_results]
        if message.text or calls or results:
            shown.append((message.role, message.text, calls, results))
    return shown


@settings(max_examples=150, deadline=None)
@given(
    outer=st.lists(answers(), min_size=1, max_size=2),
    inner=st.lists(answers(), min_size=1, max_size=2),
    decide=st.lists(st.booleans(), min_size=1, max_size=4),
    stop=st.just(0) | st.integers(1, 40),
)
def test_any_run_is_told_in_order_and_whole(
    judged: Any, assembled: Any, outer: list[Any], inner: list[Any], decide: list[bool], stop: int
) -> None:
    """Both judges pass each answer; the client's conversation, sent back, is the run's history."""
    written, seen = anyio.run(told, agent(outer, inner), decide, stop)
    messages: list[dict[str, Any]] = [{"id": "go", "role": "user", "content": "go"}]
    for number, raw in enumerate(written):
        messages = assembled(judged(raw, resumed=number > 0), messages)
    added = [event for event in seen if isinstance(event, MessageAdded)]
    root = seen[0].run_id
    again = WIRE.request_model(threadId="t", runId="r", messages=[*messages, {"role": "user", "content": "on"}])
    history = [Message("user", (Text("go"),)), *(event.message for event in added if event.run_id == root)]
    assert counted(WIRE.read(again).history) == counted(history)
    for run_id in {event.run_id for event in added} - {root}:
        nested = [event.message.text for event in added if event.run_id == run_id]
        heard = [one for one in messages if one.get("subagentRunId") == run_id and one["role"] == "assistant"]
        assert "".join(one.get("content", "") for one in heard) == "".join(nested)
