"""What the tests of becket-local share: tools, a driver that does a run's cycles by hand, and providers."""

from __future__ import annotations

import json
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from becket import (
    Message,
    ModelEvent,
    ModelFinished,
    ModelOptions,
    ModelRequest,
    PluginEvent,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    ToolSpec,
)
from becket_local import LocalProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

CALCULATOR = ToolSpec(
    "calculator",
    "Evaluate an arithmetic expression and return the result.",
    {
        "type": "object",
        "properties": {"expression": {"type": "string", "description": "the arithmetic expression"}},
        "required": ["expression"],
    },
)
FIND = ToolSpec(
    "find_contact",
    "Look up a contact's phone number by name.",
    {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
)
SMS = ToolSpec(
    "send_sms",
    "Send a text message to a phone number.",
    {
        "type": "object",
        "properties": {"number": {"type": "string"}, "text": {"type": "string"}},
        "required": ["number", "text"],
    },
)


def sums(call: ToolCall) -> str:
    """A calculator that adds."""
    terms = str(call.arguments["expression"]).split("+")
    return str(sum(int(term) for term in terms))


@dataclass
class Run:
    """A run as far as it has come: its history and all its events."""

    provider: LocalProvider
    messages: list[Message]
    key: str
    tools: tuple[ToolSpec, ...] = (CALCULATOR,)
    options: ModelOptions = field(default_factory=ModelOptions)
    answer: Callable[[ToolCall], str] = sums
    events: list[ModelEvent] = field(default_factory=list)
    cycles: int = 0

    async def cycle(self) -> bool:
        """One cycle, its tools included; whether there is another one to do."""
        self.cycles += 1
        request = ModelRequest(
            "needle", self.messages, tools=self.tools, options=self.options, key=(self.key, self.cycles, 1)
        )
        stream: Any = self.provider.stream(request)
        now: list[ModelEvent] = []
        async with aclosing(stream):
            async for event in stream:
                now.append(event)
                self.events.append(event)
        calls = tuple(
            ToolCall(event.call_id, event.tool, json.loads(event.fragment))
            for event in now
            if isinstance(event, ToolCallDelta)
        )
        text = "".join(event.text for event in now if isinstance(event, TextDelta))
        self.messages.append(Message("assistant", (*calls, *([Text(text)] if text else []))))
        if calls:
            self.messages.append(Message("user", tuple(self._result(call) for call in calls)))
        return bool(calls)

    def _result(self, call: ToolCall) -> ToolResult:
        try:
            return ToolResult(call.id, "success", (Text(self.answer(call)),))
        except Exception as error:
            return ToolResult(call.id, "error", (Text(str(error)),))

    async def all(self) -> str:
        """Every cycle; the text at the end."""
        while await self.cycle():
            pass
        return self.messages[-1].text

    @property
    def calls(self) -> list[tuple[str, dict[str, Any]]]:
        """The calls that were made."""
        return [(call.tool, call.arguments) for message in self.messages for call in message.tool_calls]

    @property
    def finished(self) -> list[ModelFinished]:
        return [event for event in self.events if isinstance(event, ModelFinished)]

    @property
    def said(self) -> list[str]:
        """The names of what the plugin reported."""
        return [event.name for event in self.events if isinstance(event, PluginEvent)]


@dataclass
class Runs:
    """Makes runs, each with an id of its own."""

    made: int = 0

    def __call__(self, provider: LocalProvider, prompt: str | Sequence[Message], **more: Any) -> Run:
        self.made += 1
        messages = [Message("user", (Text(prompt),))] if isinstance(prompt, str) else list(prompt)
        return Run(provider, messages, f"run-{self.made}", **more)


@pytest.fixture(scope="session")
def new_run() -> Runs:
    return Runs()


@pytest.fixture(scope="session")
def calculator() -> ToolSpec:
    return CALCULATOR


@pytest.fixture(scope="session")
def contacts() -> tuple[ToolSpec, ...]:
    return FIND, SMS


@pytest.fixture(scope="session")
def shared_provider() -> Iterator[LocalProvider]:
    """For tests that only ask: one worker for all of them, though each test has an event loop of its own."""
    provider = LocalProvider()
    yield provider
    anyio.run(provider.aclose)


@pytest.fixture
async def provider() -> AsyncIterator[LocalProvider]:
    """For tests that harm the worker."""
    provider = LocalProvider()
    yield provider
    await provider.aclose()
