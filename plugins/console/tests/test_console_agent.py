"""The sink at an agent, on both event loops."""

from __future__ import annotations

import io
import os
import re

import anyio
import pytest
from becket import Agent, TextDelta, tool
from becket.testing import ScriptedProvider, calls, text
from becket_console import ConsoleSink

pytestmark = pytest.mark.anyio


@tool
def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: One number.
        b: Another.
    """
    return a + b


async def test_an_agent_shows_its_run() -> None:
    stdout, stderr = io.StringIO(), io.StringIO()
    asks = [TextDelta("Let me "), TextDelta("add."), *calls(("add", {"a": 42, "b": 7}))]
    agent = Agent(
        ScriptedProvider(asks, text("It is ", "49.")),
        [add],
        name="demo",
        sinks=[ConsoleSink(stdout=stdout, stderr=stderr)],
    )
    await agent.invoke_async("42 + 7?")
    assert stdout.getvalue() == "Let me add.\nIt is 49.\n"
    first, *middle, last = stderr.getvalue().splitlines()
    assert first == "run demo on scripted:model"
    assert [line.split(" (")[0] for line in middle] == ["cycle 1", "tool add(a=42, b=7)", "tool add -> 49", "cycle 2"]
    assert re.fullmatch(r"done in \d+\.\d s, 1 tool call, 23 tokens", last)


async def test_agents_side_by_side_share_the_streams_line_by_line() -> None:
    stdout, stderr = io.StringIO(), io.StringIO()
    sink = ConsoleSink(stdout=stdout, stderr=stderr)
    agent = Agent(ScriptedProvider(text("one ", "two ", "three")), name="demo", sinks=[sink])
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(agent.invoke_async, "count")
    assert stdout.getvalue() == "one two three\n"
    said = [line for line in stderr.getvalue().splitlines() if line.endswith("one two three")]
    assert sorted(said) == ["[demo 2] one two three", "[demo] one two three"]


async def test_a_reader_of_the_answer_that_leaves_ends_the_run_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What the command line does for `becket run ... | head -1`."""
    read, write = os.pipe()
    os.close(read)
    stderr, broken = io.StringIO(), list[BrokenPipeError]()
    with os.fdopen(write, "w", encoding="utf-8") as stdout:
        sink = ConsoleSink(stdout=stdout, stderr=stderr, level="quiet", on_broken_pipe=broken.append)
        agent = Agent(ScriptedProvider(text(*"endless")), sinks=[sink])
        async with agent.stream_async("go on") as events:
            async for _ in events:
                if broken:
                    break
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
    assert len(broken) == 1
    assert stderr.getvalue() == ""
    assert caplog.records == []
