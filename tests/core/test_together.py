"""Everything at once, at random: hooks, policies, masks, nested agents, output, sessions, readers that leave.

What must hold of each run, whatever came together in it, are the invariants that the events themselves can show.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from becket import (
    Agent,
    Allow,
    AnyTool,
    Ask,
    Backoff,
    BecketError,
    ConfigError,
    DecisionRequested,
    Deny,
    Edit,
    Event,
    Limits,
    ModelFinished,
    ModelRequest,
    ProviderError,
    ReasoningDelta,
    RunFailed,
    RunFinished,
    RunStarted,
    Runtime,
    Text,
    TextDelta,
    ToolCallDelta,
    ToolError,
    ToolResult,
    Usage,
    event_from_json,
    hookimpl,
    tool,
)
from becket.content import to_messages
from becket.testing import ListSink, ScriptedProvider, calls, text
from becket.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable

SEEDS = 120

SECRET, SHOWN = "hunter2!", "[masked]"


class Word:
    """A mask of one word, that may come in pieces."""

    name = "word"

    def __init__(self) -> None:
        self._held = ""

    def mask(self, text: str, /) -> str:
        return text.replace(SECRET, SHOWN)

    def open(self) -> Word:
        return Word()

    def feed(self, fragment: str, /) -> str:
        whole = self.mask(self._held + fragment)
        keep = next((n for n in range(len(SECRET) - 1, 0, -1) if whole.endswith(SECRET[:n])), 0)
        self._held = whole[len(whole) - keep :]
        return whole[: len(whole) - keep]

    def end(self) -> str:
        return self._held


class Case:
    """An agent, and what becomes of it, made from one seed."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311  cases, and no secrets
        self.sink = ListSink()
        self.agent = self._agent(0).replace(sinks=[self.sink])

    def chance(self, share: float) -> bool:
        return self.dice.random() < share

    def _tools(self) -> list[AnyTool]:
        @tool(effect="none")
        async def quick(x: int = 0) -> int:
            return x

        @tool(effect="read")
        async def slow(x: int = 0) -> str:
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
            return f"{SECRET} {x}"

        @tool(effect="write")
        def change(x: int = 0) -> int:
            return x

        @tool(effect="read", idempotent=True)
        async def flaky(x: int = 0) -> int:
            if self.chance(0.5):
                raise ToolError("once more", retryable=True)
            return x

        @tool(effect="none")
        async def broken(x: int = 0) -> int:
            raise ValueError(SECRET)

        return [quick, slow, change, flaky, broken]

    def _agent(self, depth: int) -> Agent:
        tools = self._tools()
        if depth < 2 and self.chance(0.5):
            tools.append(self._agent(depth + 1).as_tool("helper", "Helps."))
        names = [one.name for one in tools]
        return Agent(
            ScriptedProvider(lambda request: self._answer(request, names), schema=self.chance(0.5)),
            tools,
            name=f"agent{depth}",
            retry=Backoff(first=0),
            output=self.dice.choice([None, None, dict[str, int], int]),
            approver=self.dice.choice([None, "reader", lambda _: self.chance(0.5)]),
            limits=Limits(
                cycles=self.dice.randint(1, 6),
                tokens=self.dice.choice([None, 20]),
                tool_calls=self.dice.choice([None, 5]),
            ),
            runtime=Runtime(plugins=[self._plugin()], discover=False),
        )

    def _plugin(self) -> object:
        """Hooks of every kind; each is there in some of the cases, and fails in some of those."""

        def failing(share: float) -> None:
            if self.chance(share):
                raise ValueError(SECRET)

        async def transform(messages: tuple[Any, ...]) -> list[Any]:
            await anyio.lowlevel.checkpoint()
            failing(0.02)
            return list(messages)

        def before_model() -> list[Any] | None:
            failing(0.02)
            return [TextDelta("from a cache"), ModelFinished("end_turn")] if self.chance(0.2) else None

        def before_tool(call: Any) -> ToolResult | None:
            failing(0.02)
            return ToolResult(call.id, "success", (Text(SECRET),)) if self.chance(0.3) else None

        async def after_tool(result: ToolResult) -> ToolResult:
            await anyio.lowlevel.checkpoint()
            return result

        def approve() -> Any:
            failing(0.1)
            return self.dice.choice([None, Allow(), Ask("sure?"), Deny("no")])

        hooks: dict[str, Callable[..., Any]] = {
            "system_prompt": lambda: SECRET,
            "transform_messages": transform,
            "before_model_call": before_model,
            "after_model_call": lambda: failing(0.3),
            "before_tool_call": before_tool,
            "after_tool_call": after_tool,
            "approve_tool": approve,
            "register_masks": lambda: [Word()],
        }
        given = {name: staticmethod(hookimpl(hook)) for name, hook in hooks.items() if self.chance(0.4)}
        return type("Hooks", (), given or {"register_tools": staticmethod(hookimpl(lambda: None))})()

    def _answer(self, request: ModelRequest, names: list[str]) -> list[Any]:  # noqa: PLR0911  one for each kind
        kind, prefix = self.dice.random(), f"c{request.key[1]}"
        if request.output is not None and self.chance(0.5):
            value = {key: self.dice.choice([1, "x"]) for key in request.output.schema.get("properties") or ["a"]}  # type: ignore[union-attr]  # an object schema
            if request.output.mode == "tool":
                return calls((request.output.name, value), prefix=prefix)
            return text(json.dumps(value))
        if kind < 0.55:
            wanted = [self.dice.choice([*names, "nowhere"]) for _ in range(self.dice.randint(1, 4))]
            return calls(*((name, {"x": self.dice.choice([1, "no"])}) for name in wanted), prefix=prefix)
        if kind < 0.6:
            return [TextDelta("par" + SECRET[:3]), ProviderError("down")]
        if kind < 0.68:
            return [ProviderError("busy", retryable=True)]
        if kind < 0.72:
            return [ToolCallDelta("cut", "quick", '{"x": '), ModelFinished("tool_use")]
        pieces = [ReasoningDelta("hm"), TextDelta(SECRET[:3]), anyio.lowlevel.checkpoint, TextDelta(SECRET[3:])]
        return [*pieces, ModelFinished("end_turn", Usage(3, 2))]

    async def run(self) -> None:
        way, at = self.dice.choice(["read", "read", "cancel", "break", "aclose"]), self.dice.randint(1, 40)
        session = self.agent.session("s") if self.chance(0.4) else None
        seen = 0
        async with (session or self.agent).stream_async(f"go {SECRET}") as stream:
            async for event in stream:
                seen += 1
                if isinstance(event, DecisionRequested):
                    await self._decide(stream, event)
                if seen == at and way == "cancel":
                    stream.cancel()
                elif seen == at and way == "aclose":
                    await stream.aclose()
                elif seen == at and way == "break":
                    break
        if session is not None and (stored := await session.messages()):
            to_messages(stored)  # it raises where a service would refuse this history

    async def _decide(self, stream: Any, event: DecisionRequested) -> None:
        try:
            await stream.decide(event.request_id, self.dice.choice([True, False, Edit({"x": 5})]))
        except ConfigError:  # somebody else was to answer
            stream.cancel() if self.chance(0.1) else None


def check(events: list[Event]) -> None:
    """What must hold of the events of a root run and those nested in it."""
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert (events[-1].run_id, events[-1].parent_run_id) == (events[0].run_id, None)
    runs: dict[str, list[Event]] = {}
    for event in events:
        runs.setdefault(event.run_id, []).append(event)
    for run_id, own in runs.items():
        assert isinstance(own[0], RunStarted)
        assert [event for event in own if isinstance(event, RunFinished | RunFailed)] == own[-1:]
        turn = Turn(run_id)
        for event in own:
            read = event_from_json(event.to_json())
            assert read == event
            turn.receive(read)
        to_messages(turn.messages)  # every call is answered once, in the next message


@pytest.mark.anyio
async def test_whatever_comes_together_each_run_is_whole() -> None:
    """One terminal event a run, every call answered, no gap in `seq`, JSON both ways; the events are the history."""
    endings: set[str] = set()
    for seed in range(SEEDS):
        case = Case(seed)
        try:
            with anyio.fail_after(20):
                await case.run()
        except BecketError as error:
            endings.add(type(error).__name__)
        try:
            check(case.sink.events)
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
        endings.add(case.sink.events[-1].type)
    assert {"OutputError", "PluginError", "ProviderError", "run_finished", "run_failed"} <= endings
