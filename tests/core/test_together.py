"""Everything at once: runs made at random of all that a run can have, stopped at random, and what holds of each.

A failure names the seed of its run; `await check(seed)` makes the same run again.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.lowlevel
import pytest
from becket import (
    Agent,
    Allow,
    Ask,
    Backoff,
    ConfigError,
    Deny,
    Edit,
    Limits,
    ModelFinished,
    PluginEvent,
    ProviderError,
    ReasoningDelta,
    RunFailed,
    RunFinished,
    Runtime,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolContext,
    ToolError,
    ToolResult,
    Usage,
    event_from_json,
    hookimpl,
    tool,
)
from becket.content import to_messages
from becket.testing import BatchListSink, ListSink, ScriptedProvider
from becket.turn import Turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from becket import AgentStream, DecisionRequested, Event, ModelRequest
    from becket.content import Message
    from becket.testing import Step

pytestmark = pytest.mark.anyio

SECRET: Final = "hunter2"  # noqa: S105  stands for one
SEEDS: Final = range(150)
ENDS: Final = ("run_finished", "run_failed")


@dataclass
class Wanted:
    """The structured output."""

    number: int
    words: str = ""


class TroubleError(Exception):
    """What is raised on purpose."""


class Stars:
    """A mask that holds back what may become the secret."""

    name = "stars"

    def __init__(self, scene: Scene, *, fails: bool) -> None:
        self._scene = scene
        self._fails = fails

    def mask(self, text: str) -> str:
        """Stars for the secret."""
        if self._fails and self._scene.chance(0.02):
            raise TroubleError
        return text.replace(SECRET, "***")

    def open(self) -> Stream:
        """One text."""
        return Stream(self)


class Stream:
    """Holds back the beginning of a secret."""

    def __init__(self, mask: Stars) -> None:
        self._mask = mask
        self._held = ""

    def feed(self, fragment: str) -> str:
        """What is decided."""
        text = self._mask.mask(self._held + fragment)
        kept = next((size for size in range(len(SECRET) - 1, 0, -1) if text.endswith(SECRET[:size])), 0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def end(self) -> str:
        """The rest."""
        held, self._held = self._held, ""
        return self._mask.mask(held)


class Scene:
    """One run, made at random of all that there is, and how it is stopped."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311  makes test cases
        self.ticks = 0
        self.stream: AgentStream[Any] | None = None
        self.stop_at = self.random.choice([None, None, self.random.randrange(1, 12), self.random.randrange(1, 60)])
        self.stop_by = self.random.choice(["cancel", "aclose"])
        self.break_at = self.random.choice([None, None, None, self.random.randrange(1, 40)])
        self.sink = ListSink("all")
        self.left: list[AgentStream[Any]] = []
        self.written: list[str] = []
        self.made: set[str] = set()
        self.providers: list[ScriptedProvider] = []
        self.masked = self.chance(0.5)
        self.runtime = Runtime(plugins=self._plugins(), discover=False)
        self.agent = self._agent("root", 0)

    def chance(self, part: float) -> bool:
        """Whether it happens."""
        return self.random.random() < part

    async def tick(self) -> None:
        """Wait a little, in the middle of anything; the run may be stopped here."""
        self.ticks += 1
        if self.ticks == self.stop_at and self.stream is not None:
            if self.stop_by == "cancel":
                self.stream.cancel()
            else:
                await self.stream.aclose()
        for _ in range(self.random.randrange(3)):
            await anyio.lowlevel.checkpoint()

    # -- plugins ---------------------------------------------------------------------------------------------------

    def _plugins(self) -> list[object]:  # noqa: C901  a function for each hook
        scene, wild = self, self.chance(0.4)

        async def something(*others: Any) -> Any:
            await scene.tick()
            if wild and scene.chance(0.04):
                raise TroubleError(SECRET)
            return scene.random.choice(others) if others and scene.chance(0.15) else None

        async def system_prompt() -> str | None:
            return await something("more")  # type: ignore[no-any-return]

        async def transform_messages(messages: tuple[Message, ...]) -> Any:
            return await something(messages)

        async def before_model_call(request: ModelRequest) -> Any:
            answer = [TextDelta(f"by the {SECRET} hook"), ModelFinished("end_turn", Usage(1, 1))]
            return await something(replace(request, system="other"), answer)

        async def after_model_call() -> None:
            await something()

        async def before_tool_call(call: ToolCall) -> Any:
            return await something(
                replace(call, tool="echo", arguments={"words": f"{SECRET} rewritten"}),
                ToolResult(call.id, "success", (Text(f"made up, {SECRET}"),)),
            )

        async def after_tool_call(call: ToolCall) -> Any:
            return await something(ToolResult(call.id, "success", (Text("another"),)))

        async def approve_tool() -> Any:
            return await something(Allow(), Ask("really?"), Deny(f"no, {SECRET}"))

        def register_masks() -> list[Stars]:
            return [Stars(scene, fails=wild)] if scene.masked else []

        hooks = [system_prompt, transform_messages, before_model_call, after_model_call, before_tool_call]
        hooks += [after_tool_call, approve_tool]
        used = {hook.__name__: hook for hook in hooks if scene.chance(0.5)} if scene.chance(0.7) else {}
        used["register_masks"] = register_masks  # type: ignore[assignment]
        return [type("Random", (), {name: staticmethod(hookimpl(hook)) for name, hook in used.items()})()]

    # -- agents ----------------------------------------------------------------------------------------------------

    def _agent(self, name: str, depth: int) -> Agent:
        tools = list(self._tools())
        if depth < 2 and self.chance(0.7):
            tools.append(self._agent(f"{name}-a", depth + 1).as_tool("ask", "An agent."))
        if depth < 2 and self.chance(0.3):
            tools.append(self._agent(f"{name}-b", depth + 1).as_tool("tell", "Another."))
        if depth < 2 and self.chance(0.2):
            tools.append(self._glance(self._agent(f"{name}-c", depth + 1)))
        names = [each.name for each in tools]
        provider = ScriptedProvider(lambda request: self._script(names, request), schema=self.chance(0.3))
        self.providers.append(provider)
        own: list[Any] = [ListSink(name)] if self.chance(0.3) else []
        if depth == 0 or self.chance(0.3):
            own.append(self.sink)
        if self.chance(0.3):
            own.append(BatchListSink(f"{name}-batch", limit=self.random.choice([1, 3, 50]), work=self._slowly))
        if self.chance(0.1):
            own.append(ListSink(f"{name}-bad", required=self.chance(0.5), fail=self._fails))
        return Agent(
            provider,
            tools,
            name=name,
            runtime=self.runtime,
            sinks=own,
            limits=Limits(
                cycles=self.random.choice([2, 4, 6]),
                tool_calls=self.random.choice([None, None, 1, 3, 6]),
                tokens=self.random.choice([None, None, 30, 100]),
                tool_seconds=self.random.choice([None, 5.0]),
            ),
            output=Wanted if self.chance(0.3) else None,
            retry=Backoff(first=0, attempts=3),
            policies=[Careful(self)] if self.chance(0.3) else [],
            approver=self.random.choice([None, self._approves, "reader"]),
            callback_handler=self._called if self.chance(0.15) else None,
        )

    def _glance(self, other: Agent) -> Any:
        @tool
        async def glance(words: str) -> str:
            """Begin to ask another, and leave it at that; nobody ends the run."""
            stream = other.stream_async(words)
            self.left.append(stream)
            return (await anext(stream)).type

        return glance

    def _called(self, **_: Any) -> None:
        if self.chance(0.01):
            raise TroubleError("handler")

    def _fails(self, _: Event) -> None:
        if self.chance(0.1):
            raise TroubleError("sink")

    async def _slowly(self, _: object) -> None:
        await anyio.lowlevel.checkpoint()

    async def _approves(self, request: DecisionRequested) -> Any:
        await self.tick()
        return self._answer()

    def _answer(self) -> Any:
        return self.random.choice([True, Allow(), False, Deny("no"), Edit({"words": "edited"})])

    def _tools(self) -> Iterator[Any]:
        scene = self
        tries: dict[str, int] = defaultdict(int)

        @tool
        async def echo(words: str) -> str:
            """Say it again."""
            await scene.tick()
            return words

        @tool
        async def reports(words: str, ctx: ToolContext) -> AsyncIterator[Any]:
            """Say how far it is."""
            for word in words.split():
                yield word
                await scene.tick()
            ctx.report({"done": True})
            yield "all of it"

        @tool
        async def fails(words: str) -> str:
            """Fail."""
            await scene.tick()
            raise scene.random.choice([TroubleError(words), ToolError(words), ToolError(words, retryable=True)])

        @tool(idempotent=True)
        async def flaky(words: str, ctx: ToolContext) -> str:
            """Fail at first."""
            await scene.tick()
            tries[ctx.key] += 1
            if tries[ctx.key] < 3:
                raise ToolError("not yet", retryable=True)
            return words

        @tool(effect="write")
        async def write(words: str, ctx: ToolContext) -> str:
            """Write it down."""
            scene.written.append(ctx.call_id)
            await scene.tick()
            return "written"

        @tool(sequential=True)
        def threaded(words: str) -> str:
            """Say it in a thread."""
            return words

        yield from (each for each in (echo, reports, fails, flaky, write) if scene.chance(0.7))
        if scene.chance(0.1):
            yield threaded

    # -- the model -------------------------------------------------------------------------------------------------

    def _script(self, tools: list[str], request: ModelRequest) -> Iterator[Step]:
        """What the model does in one call."""
        if self.chance(0.15):
            yield ProviderError("busy", retryable=self.chance(0.8))
        yield self.tick
        if self.chance(0.2):
            yield ReasoningDelta(f"hm, {SECRET}", signature="seal")
        if self.chance(0.7):
            text = self.random.choice([f"it is {SECRET}, they say", "well, hunt", '{"number": 7, "words": "seven"}'])
            size = self.random.randrange(1, 12)
            for at in range(0, len(text), size):
                yield TextDelta(text[at : at + size], 1)
                if self.chance(0.3):
                    yield self.tick
        if self.chance(0.05):
            yield self.random.choice([ProviderError("gone", retryable=True), TroubleError("broken")])
        if self.chance(0.1):
            yield PluginEvent("scripted", "said", {"what": SECRET})
        wanted = list(self._calls(tools, request)) if self.chance(0.7) else []
        yield from wanted
        yield self.tick
        if self.chance(0.97):
            yield ModelFinished("tool_use" if wanted else "end_turn", Usage(5, 5))

    def _calls(self, tools: list[str], request: ModelRequest) -> Iterator[Step]:
        for block in range(2, 2 + self.random.randrange(1, 4)):
            name = self.random.choice([*(spec.name for spec in request.tools), "unknown", *tools])
            key = "prompt" if name in ("ask", "tell") else "words"
            arguments = f'{{"{key}": "say {SECRET} to me"}}'
            if name.startswith("final_output") and self.chance(0.7):
                arguments = '{"number": 5, "words": "hunter2"}'
            if self.chance(0.1):
                arguments = arguments[:-4]
            call_id = self.random.choice([f"call-{block}", "same"])
            yield ToolCallDelta(call_id, name, arguments[:9], block)
            yield ToolCallDelta(call_id, name, arguments[9:], block)

    # -- the reader ------------------------------------------------------------------------------------------------

    async def read(self, stream: AgentStream[Any]) -> list[Event]:
        """Read as far as this reader does; what was read."""
        self.stream = stream
        events: list[Event] = []
        async with stream:
            try:
                async for event in stream:
                    events.append(event)
                    if len(events) == self.break_at:
                        break
                    if event.type == "decision_requested":
                        await self._decide(stream, event)
                    if self.chance(0.1):
                        await anyio.lowlevel.checkpoint()
            except Exception:  # the run was made to fail; how it ended is looked at below
                assert isinstance(events[-1], RunFailed | RunFinished)
        return events

    async def _decide(self, stream: AgentStream[Any], event: Any) -> None:
        try:
            await stream.decide(event.request_id, self._answer())
        except ConfigError:
            return  # it is not for the reader, or the run is over
        with pytest.raises(ConfigError):
            await stream.decide(event.request_id, True)  # a decision is made once


class Careful:
    """A policy of the host's."""

    name = "careful"

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    async def approve(self, _ctx: object, _call: ToolCall, _tool: object) -> Any:
        """Whatever comes to mind."""
        await self._scene.tick()
        if self._scene.chance(0.05):
            raise TroubleError(SECRET)
        return self._scene.random.choice([None, None, Allow(), Ask("may it?"), Deny("it may not")])


# -- what holds --------------------------------------------------------------------------------------------------------


def histories(events: list[Event]) -> dict[str, list[Message]]:
    """The history of each run, folded anew."""
    runs: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        runs[event.run_id].append(event)
    folded = {}
    for run_id, own in runs.items():
        turn = Turn(run_id)
        for event in own:
            turn.receive(event_from_json(event.to_json()))
        assert turn.phase == "done"
        assert [event.type in ENDS for event in own].count(True) == 1
        assert own[0].type == "run_started"
        folded[run_id] = turn.messages
    return folded


def assert_nested(events: list[Event]) -> None:
    """A nested run is over before the call that it was started in."""
    open_runs: dict[tuple[str | None, str | None], set[str]] = defaultdict(set)
    for event in events:
        where = (event.parent_run_id, event.parent_call_id)
        if event.parent_run_id is not None:
            open_runs[where].add(event.run_id)
            if event.type in ENDS:
                open_runs[where].discard(event.run_id)
        if event.type == "tool_finished":
            assert not open_runs[event.run_id, event.result.call_id]
        assert event.type not in ENDS or not any(
            runs for (parent, _), runs in open_runs.items() if parent == event.run_id
        )


def assert_decided(events: list[Event], written: list[str]) -> None:
    """A decision is made once, after it was asked for; nothing is begun that was denied."""
    made: dict[str, Any] = {}
    asked: list[str] = []
    for event in events:
        if event.type == "decision_requested":
            asked.append(event.request_id)
        elif event.type == "decision_made":
            assert event.request_id not in made
            made[event.request_id] = event
        elif event.type == "tool_started":
            denied = [
                one
                for one in made.values()
                if (one.run_id, one.cycle, one.call_id) == (event.run_id, event.cycle, event.call.id)
                and one.outcome == "deny"
            ]
            assert not denied
    assert len(set(asked)) == len(asked)
    begun = [event.call.id for event in events if event.type == "tool_started" and event.call.tool == "write"]
    assert sorted(begun) == sorted(written)


async def check(seed: int) -> str:
    """Make one run, and look at all that it has left; how it ended."""
    scene = Scene(seed)
    held = scene.agent.session("s") if scene.chance(0.4) else None
    with anyio.fail_after(20):
        stream = (held or scene.agent).stream_async(f"go, {SECRET}")
        read = await scene.read(stream)
        await anyio.wait_all_tasks_blocked()
    driver, events = stream._driver, scene.sink.events
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert read == events[: len(read)]
    assert (events[-1].type in ENDS, events[-1].run_id) == (True, stream.run_id)
    folded = histories(events)
    for messages in folded.values():
        to_messages(messages)  # every call has its one result in the message after it
    assert folded[stream.run_id] == driver.turn.messages
    if held is not None:
        assert await held.messages() in (folded[stream.run_id], [])
    assert_nested(events)
    assert_decided(events, scene.written)
    if scene.masked:
        assert not any(SECRET.encode() in event.to_json() for event in events)
    assert not any(provider.open for provider in scene.providers)
    assert not driver.children
    assert scene.sink.closed == len(scene.sink.opened) == 1
    return events[-1].error.kind if isinstance(events[-1], RunFailed) else events[-1]["result"].stop_reason


async def test_whatever_a_run_is_made_of_and_however_it_is_stopped(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "becket")
    ends: set[str] = set()
    for seed in SEEDS:
        try:
            ends.add(await check(seed))
        except BaseException as error:
            error.add_note(f"the seed of the run is {seed}")
            raise
    assert {"end_turn", "cancelled", "limit_tool_calls", "PluginError", "ProviderError", "TroubleError"} <= ends
