"""What the tests of the console share: hand-made events, and a terminal in memory that judges what it was sent."""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING, Any

import pyte
import pytest
from becket import RunInfo
from becket_console import ConsoleSink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from becket import Event


def _at(
    seconds: float, event: Event, *, run: str = "run", cycle: int = 1, attempt: int = 1, parent: str | None = None
) -> Event:
    """The event as the run would stamp it, so many seconds after the run began."""
    return dataclasses.replace(
        event, run_id=run, time=1_000.0 + seconds, cycle=cycle, attempt=attempt, parent_run_id=parent
    )


class Glass(io.TextIOBase):
    """A terminal in memory: pyte does what a terminal would do with what is written to it."""

    encoding = "utf-8"  # type: ignore[assignment]  # a read-only property there, and None

    def __init__(self, columns: int = 80, lines: int = 24) -> None:
        self.screen = pyte.HistoryScreen(columns, lines, history=100_000, ratio=0.5)
        self.raw: list[str] = []
        self._judge = pyte.Stream(self.screen)

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.raw.append(text)
        self._judge.feed(text.replace("\n", "\r\n"))  # what the line discipline of a terminal does
        return len(text)

    @property
    def rows(self) -> list[str]:
        """What can be seen, and what has scrolled away above it; without the empty rows below."""
        columns = self.screen.columns
        above = ["".join(line[column].data for column in range(columns)).rstrip() for line in self.screen.history.top]
        rows = above + [row.rstrip() for row in self.screen.display]
        while rows and not rows[-1]:
            rows.pop()
        return rows


def _shown(events: Iterable[Event], sink: ConsoleSink) -> None:
    run = sink.open(RunInfo("run", "demo", "scripted:echo"))
    for event in events:
        run.emit(event)
    run.close()


def _plain(events: Iterable[Event], **options: Any) -> tuple[str, str]:
    """What goes to standard output and to standard error where neither is a terminal."""
    stdout, stderr = io.StringIO(), io.StringIO()
    _shown(events, ConsoleSink(stdout=stdout, stderr=stderr, **options))
    return stdout.getvalue(), stderr.getvalue()


@pytest.fixture(autouse=True)
def _ordinary_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own idea of a terminal, not that of whoever runs them."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")


@pytest.fixture(scope="session")
def at() -> Callable[..., Event]:
    return _at


@pytest.fixture(scope="session")
def plain() -> Callable[..., tuple[str, str]]:
    return _plain


@pytest.fixture(scope="session")
def shown() -> Callable[..., None]:
    return _shown


@pytest.fixture
def glass(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Glass]:
    def make(columns: int = 80, lines: int = 24) -> Glass:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("LINES", str(lines))
        return Glass(columns, lines)

    return make


@pytest.fixture(scope="session")
def glass_80() -> Callable[[], Glass]:
    """Terminals of the size that the environment names; for tests that make many."""
    return Glass


@pytest.fixture(scope="session")
def tool_run(at: Callable[..., Event]) -> list[Event]:
    """A run of two cycles with one tool call."""
    from becket import (
        AgentResult,
        CycleFinished,
        CycleStarted,
        Message,
        MessageAdded,
        ModelFinished,
        ModelStarted,
        ReasoningDelta,
        RunFinished,
        RunStarted,
        Text,
        TextDelta,
        ToolCall,
        ToolCallDelta,
        ToolFinished,
        ToolProgress,
        ToolResult,
        ToolStarted,
        Usage,
    )

    call = ToolCall("c1", "calculator", {"expression": "42 + 7"})
    result = ToolResult("c1", "success", (Text("49"),))
    return [
        at(0.0, RunStarted("demo", "scripted:echo", (Message("user", (Text("42 + 7?"),)),))),
        at(0.0, CycleStarted()),
        at(0.0, ModelStarted("scripted:echo", 1, ("calculator",))),
        at(0.1, ReasoningDelta("A sum.\nI know a ")),
        at(0.2, ReasoningDelta("tool.")),
        at(0.3, TextDelta("Let me ")),
        at(0.4, TextDelta("compute.")),
        at(0.5, ToolCallDelta("c1", "calculator")),
        at(0.6, ToolCallDelta("c1", "calculator", '{"expression": "42 + 7"}')),
        at(0.6, ModelFinished("tool_use", Usage(20, 10), first_token_s=0.1, duration_s=0.6)),
        at(0.6, MessageAdded(Message("assistant", (Text("Let me compute."), call)))),
        at(0.6, ToolStarted(call)),
        at(0.7, ToolProgress("c1", {"percent": 50})),
        at(0.8, ToolFinished(result, 0.2)),
        at(0.8, MessageAdded(Message("user", (result,)))),
        at(0.8, CycleFinished("tool_use")),
        at(0.8, CycleStarted(), cycle=2),
        at(0.8, ModelStarted("scripted:echo", 3, ("calculator",)), cycle=2),
        at(1.0, TextDelta("It is "), cycle=2),
        at(1.1, TextDelta("49."), cycle=2),
        at(1.2, ModelFinished("end_turn", Usage(40, 53), duration_s=0.4), cycle=2),
        at(1.2, MessageAdded(Message("assistant", (Text("It is 49."),))), cycle=2),
        at(1.2, CycleFinished("end_turn"), cycle=2),
        at(1.2, RunFinished(AgentResult("end_turn", Message("assistant", (Text("It is 49."),)), Usage(60, 63), 2))),
    ]
