"""What the tests of the journal share: a recorded run, and a process that writes journals to be killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
from becket import Agent, Event, Runtime, tool
from becket.testing import ListSink, ScriptedProvider, calls, text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from becket_journal import JournalSink


@tool(effect="none")
async def add(a: int, b: int) -> int:
    """Add."""
    return a + b


async def _recorded(sink: JournalSink, *more: str) -> list[Event]:
    """The events of one run of two cycles with a tool, as its reader got them; `sink` has recorded it."""
    model = ScriptedProvider(calls(("add", {"a": 1, "b": 2})), text("It is ", "3 é ", "æ\n\u2028", *more))
    seen = ListSink("seen")
    agent = Agent(model, [add], sinks=[sink, seen], runtime=Runtime(discover=False))
    async with agent.stream_async("1 + 2?") as events:
        return [event async for event in events]


@pytest.fixture(scope="session")
def nested() -> Callable[[JournalSink, JournalSink], Awaitable[list[Event]]]:
    """The events of a run with two nested in it, side by side; the first sink records all, the second those two."""

    async def record(sink: JournalSink, below: JournalSink) -> list[Event]:
        runtime = Runtime(discover=False)
        sub = Agent(ScriptedProvider(text("a", "b")), name="sub", sinks=[below], runtime=runtime)
        model = ScriptedProvider(calls(("ask", {"prompt": "1"}), ("ask", {"prompt": "2"})), text("over"))
        agent = Agent(model, [sub.as_tool("ask", "")], sinks=[sink], runtime=runtime)
        async with agent.stream_async("go") as events:
            return [event async for event in events]

    return record


@pytest.fixture(scope="session")
def recorded() -> Callable[..., Awaitable[list[Event]]]:
    return _recorded


@pytest.fixture(scope="session")
def recorded_once(recorded: Callable[..., Awaitable[list[Event]]]) -> Callable[[JournalSink], list[Event]]:
    """The same for a test that is not async."""
    return lambda sink: anyio.run(recorded, sink)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Where a journal is to be."""
    return tmp_path / "runs.jsonl"


@pytest.fixture(scope="module")
def victims() -> Iterator[subprocess.Popen[bytes]]:
    """A warm process that forks a writer for each line that it is given; see journal_victim.py."""
    script = Path(__file__).with_name("journal_victim.py")
    with subprocess.Popen(  # noqa: S603  our own script
        [sys.executable, "-W", "error", str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield process
        process.stdin.close()
