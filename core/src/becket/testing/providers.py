"""The contract of model providers as tests, which the tests of a provider inherit."""

from __future__ import annotations

import copy
import functools
import json
import re
import sys
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

import anyio
import anyio.to_thread

from becket.content import Message, Text, Usage
from becket.events import (
    ModelEvent,
    ModelFinished,
    PluginEvent,
    ReasoningDelta,
    RunFinished,
    TextDelta,
    ToolCallDelta,
    ToolFinished,
)
from becket.providers import ModelInfo, ModelRequest, Provider, ToolSpec
from becket.testing._contract import Contract, missing
from becket.testing._model_calls import WAYS, Cancelled, agent_of, as_failures, closed_after, collected, events_of
from becket.testing._watch import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

__all__ = ["ProviderConformance", "ProviderContract", "Scenario"]

Scenario: TypeAlias = Literal["text", "tool", "parallel_tools"]
"""What a model call answers: a text, one call of the tool `weather`, or two calls of it in one answer."""

WEATHER: Final = ToolSpec(
    "weather",
    "Tell the weather of a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)

_CALLS: Final[dict[str, int]] = {"text": 0, "tool": 1, "parallel_tools": 2}
_STOPS: Final = ("end_turn", "max_tokens", "stop_sequence", "content_filtered", "tool_use")


class ProviderContract(Contract):
    """The tests of every provider; subclass `ProviderConformance` or `HttpProviderConformance`, which run them.

    The tests run on every event loop that the fixture `anyio_backend` names: asyncio and trio, unless it is overridden.
    """

    scenarios: Sequence[Scenario] = ("text", "tool", "parallel_tools")
    """What the provider can be made to answer; a provider without tools has only `text`."""

    model: str = "model"
    """The model that is asked for."""

    at_once: int = 20
    """Calls that are made at the same time; fewer for an engine that is slow."""

    waits: int = 300
    """The most places at which calls and runs are ended, one after the other; fewer for an engine that is slow."""

    patience: float = 10.0
    """Seconds that any call may take, and what is waited for after it."""

    def playing(self, *scenarios: Scenario) -> AbstractAsyncContextManager[Provider]:  # noqa: ARG002  to be overridden
        """A provider whose model calls are answered so, in this order within a run; the last one again and again."""
        raise missing(self, "playing")

    def make_request(self, scenario: Scenario) -> ModelRequest:
        """The call that is answered so."""
        question = {"text": "Hello", "tool": "How is Oslo?"}.get(scenario, "How are Oslo and Rome?")
        tools = () if scenario == "text" else (WEATHER,)
        return ModelRequest(self.model, [Message("user", (Text(question),))], tools=tools, key=("run", 1, 1))

    def usage_of(self, scenario: Scenario) -> Usage | None:  # noqa: ARG002  for those that know
        """The tokens that the answer is known to have used; None where that is not known."""
        return None

    async def settled(self) -> None:
        """Wait until the other side has seen that a call is over."""

    # -- what is said of itself ----------------------------------------------------------------------------------------

    async def test_it_names_itself_and_its_models(self) -> None:
        """The name can stand before a colon, and models are told of without asking a service."""
        async with self.playing(self.scenarios[0]) as provider:
            check(isinstance(provider, Provider), f"{provider!r} has what a provider has: see becket.Provider")
            check(
                re.fullmatch(r"[A-Za-z0-9_-]+", provider.name), f"the name {provider.name!r} can stand before a colon"
            )
            default: object = provider.default_model
            check(default is None or isinstance(default, str), f"default_model is a name or None: {default!r}")
            for info in provider.models():
                check(isinstance(info, ModelInfo), f"models() gives ModelInfo: {info!r}")

    # -- events --------------------------------------------------------------------------------------------------------

    async def test_events_come_in_order(self) -> None:
        """Deltas, then `ModelFinished`, once and last; `PluginEvent` only before the first delta."""
        for scenario in self.scenarios:
            async with self.playing(scenario) as provider:
                events = await self._ask(provider, scenario)
            for event in events:
                check(
                    isinstance(event, get_args(ModelEvent)), f"{scenario}: this is none that may be yielded: {event!r}"
                )
            check(events and isinstance(events[-1], ModelFinished), f"{scenario}: ModelFinished is the last event")
            kinds = [type(event) for event in events]
            check(kinds.count(ModelFinished) == 1, f"{scenario}: ModelFinished comes once")
            first = next(number for number, kind in enumerate(kinds) if kind is not PluginEvent)
            check(PluginEvent not in kinds[first:], f"{scenario}: PluginEvent comes before the first delta")
            self._check_end(scenario, events)

    def _check_end(self, scenario: Scenario, events: list[ModelEvent]) -> None:
        stop = events[-1].stop_reason  # type: ignore[union-attr]  # looked at already
        if scenario == "text":
            check(stop in _STOPS and stop != "tool_use", f"text: the stop reason {stop!r} is one of an answer")
            said = "".join(event.text for event in events if isinstance(event, TextDelta))
            check(said, "text: the answer has text")
        else:
            check(stop == "tool_use", f"{scenario}: the stop reason is 'tool_use', not {stop!r}")

    async def test_each_tool_call_has_a_block_of_its_own(self) -> None:
        """A block is of one kind and one call, and the fragments of a call make one JSON object."""
        for scenario in self.scenarios:
            async with self.playing(scenario) as provider:
                events = await self._ask(provider, scenario)
            blocks: dict[int, list[Any]] = {}
            for event in events:
                if isinstance(event, TextDelta | ReasoningDelta | ToolCallDelta):
                    blocks.setdefault(event.block, []).append(event)
            calls: list[str] = []
            for number, deltas in blocks.items():
                kinds = {type(delta).__name__ for delta in deltas}
                check(len(kinds) == 1, f"{scenario}: the block {number} is of one kind, not of {sorted(kinds)}")
                if isinstance(deltas[0], ToolCallDelta):
                    calls.append(_call_of(scenario, number, deltas))
            check(len(set(calls)) == len(calls), f"{scenario}: each call has an id of its own: {calls}")
            wanted = _CALLS[scenario]
            check(len(calls) == wanted, f"{scenario}: the answer has {wanted} calls in blocks of their own: {calls}")

    async def test_each_event_is_a_new_object(self) -> None:
        """A provider gives each event up: the run stamps it. Two calls share none."""
        for scenario in self.scenarios:
            async with self.playing(scenario) as provider:
                events = [*await self._ask(provider, scenario), *await self._ask(provider, scenario)]
            check(len({id(event) for event in events}) == len(events), f"{scenario}: an event is yielded once")

    async def test_usage_is_that_of_the_call(self) -> None:
        """The tokens of one call, also where it is not the provider's first."""
        for scenario in self.scenarios:
            known = self.usage_of(scenario)
            async with self.playing(scenario) as provider:
                used = [(await self._ask(provider, scenario))[-1].usage for _ in range(3)]  # type: ignore[union-attr]
            for usage in used:
                if known is None:
                    check(
                        usage.input_tokens == used[0].input_tokens, f"{scenario}: the same call, the same input: {used}"
                    )
                else:
                    check(usage == known, f"{scenario}: the usage is {known}, not {usage}")
                parts = usage.cached_tokens <= usage.input_tokens and usage.reasoning_tokens <= usage.output_tokens
                check(parts, f"{scenario}: cached tokens are of the input, reasoning tokens of the output: {usage}")

    async def test_the_request_is_left_as_it_is(self) -> None:
        """The history is a view of the run's, and options may be shared by many runs."""
        for scenario in self.scenarios:
            request = self.make_request(scenario)
            before = copy.deepcopy([request.messages, request.tools, request.options, request.system, request.model])
            async with self.playing(scenario) as provider:
                await self._ask(provider, scenario, request)
            after = [request.messages, request.tools, request.options, request.system, request.model]
            check(before == after, f"{scenario}: the request is as it was: {after}")

    # -- ending early --------------------------------------------------------------------------------------------------

    async def test_a_cancellation_at_any_wait_ends_the_call(self) -> None:
        """Wherever it arrives, by a task group or a time limit: nothing else is raised, and nothing left open."""
        for scenario in self.scenarios:
            async with self._watched(scenario) as (provider, watch):
                for way in WAYS:
                    wait = 1
                    while wait <= self.waits and await Cancelled(way, wait=wait).make(
                        provider, self.make_request(scenario)
                    ):
                        await watch.check(f"{scenario}, cancelled by a {way} at its wait {wait}")
                        await self.settled()
                        wait += 1
                await self._ask(provider, scenario)

    async def test_a_cancellation_after_any_event_ends_the_call(self) -> None:
        """Also before the first, and after the last."""
        for scenario in self.scenarios:
            async with self._watched(scenario) as (provider, watch):
                for way in WAYS:
                    after = 0
                    while await Cancelled(way, after=after).make(provider, self.make_request(scenario)):
                        await watch.check(f"{scenario}, cancelled by a {way} after {after} events")
                        await self.settled()
                        after += 1
                await self._ask(provider, scenario)

    async def test_closing_after_any_event_ends_the_call(self) -> None:
        """What the generator has begun is closed when `aclose` returns; closing it again is no error."""
        for scenario in self.scenarios:
            async with self._watched(scenario) as (provider, watch):
                after = 0
                while await closed_after(provider, self.make_request(scenario), after):
                    await watch.check(f"{scenario}, closed after {after} events")
                    await self.settled()
                    after += 1
                await self._ask(provider, scenario)

    # -- many of them --------------------------------------------------------------------------------------------------

    async def test_many_calls_go_on_at_once(self) -> None:
        """Each has the events that it has alone."""
        answers: list[list[ModelEvent]] = []
        async with self.playing(self.scenarios[-1]) as provider:
            alone = await self._ask(provider, self.scenarios[-1])

            async def ask() -> None:
                answers.append(await self._ask(provider, self.scenarios[-1]))

            with as_failures(f"one of {self.at_once} calls at once"):
                async with anyio.create_task_group() as tasks:
                    for _ in range(self.at_once):
                        tasks.start_soon(ask)
        for answer in answers:
            _same_answer(alone, answer, f"of {self.at_once} calls at once, one")

    async def test_it_serves_several_event_loops_at_once(self) -> None:
        """Two in threads of their own, while it is used in this one."""
        scenario = self.scenarios[0]
        async with self.playing(scenario) as provider:
            alone = await self._ask(provider, scenario)

            async def elsewhere() -> None:
                try:
                    for _ in range(2):
                        _same_answer(alone, await self._ask(provider, scenario), "a call in another event loop")
                finally:
                    await provider.aclose()

            with as_failures("used in several event loops at once"):
                async with anyio.create_task_group() as tasks:
                    for backend in _backends():
                        tasks.start_soon(
                            anyio.to_thread.run_sync, functools.partial(anyio.run, elsewhere, backend=backend)
                        )
                    for _ in range(2):
                        _same_answer(alone, await self._ask(provider, scenario), "a call in this event loop")
            _same_answer(alone, await self._ask(provider, scenario), "a call after those in other event loops")

    async def test_it_serves_one_event_loop_after_the_other(self) -> None:
        """What was bound to one that has ended is in nobody's way."""
        scenario = self.scenarios[0]
        async with self.playing(scenario) as provider:

            async def elsewhere() -> list[ModelEvent]:
                try:
                    return await self._ask(provider, scenario)
                finally:
                    await provider.aclose()

            for backend in _backends() * 2:
                with as_failures("used in one event loop after the other"):
                    await anyio.to_thread.run_sync(functools.partial(anyio.run, elsewhere, backend=backend))
            await self._ask(provider, scenario)

    async def test_it_stays_usable_when_it_was_closed(self) -> None:
        """Closing lets go of what is kept for the event loop; twice is no error, and before the first call neither."""
        scenario = self.scenarios[0]
        async with self.playing(scenario) as provider:
            for _ in range(2):
                with as_failures("closed before its first call"):
                    await provider.aclose()
            first = await self._ask(provider, scenario)
            for _ in range(2):
                with as_failures("closed after a call"):
                    await provider.aclose()
            _same_answer(first, await self._ask(provider, scenario), "a call of a provider that was closed")

    async def test_nothing_is_left_open(self) -> None:
        """When it was closed, every task and async generator that it has begun has ended."""
        for scenario in self.scenarios:
            async with self._watched(scenario) as (provider, watch):
                await self._ask(provider, scenario)
                await watch.check(f"{scenario}, after a whole call")
            await self.settled()

    # -- in a run ------------------------------------------------------------------------------------------------------

    async def test_a_run_has_its_answer(self) -> None:
        """Its text is the text of the deltas."""
        async with self.playing("text") as provider:
            alone = await self._ask(provider, "text")
            events, error = await self._run(provider, "text")
        check(error is None, f"a run fails: {error!r}")
        result = events[-1].result
        said = "".join(event.text for event in alone if isinstance(event, TextDelta))
        check(result.text == said, f"the answer of a run is {said!r}, not {result.text!r}")

    async def test_a_run_calls_tools_and_goes_on(self) -> None:
        """The calls are made, and the provider takes the history with their results."""
        for scenario in (scenario for scenario in self.scenarios if scenario != "text"):
            async with self.playing(scenario, "text") as provider:
                events, error = await self._run(provider, scenario)
            check(error is None, f"{scenario}: a run fails: {error!r}")
            results = [event.result.status for event in events if isinstance(event, ToolFinished)]
            wanted = ["success"] * _CALLS[scenario]
            check(results == wanted, f"{scenario}: the calls of a run come to {wanted}, not {results}")
            check(events[-1].result.stop_reason != "tool_use", f"{scenario}: a run ends with an answer")

    async def test_a_run_can_be_left_and_cancelled_after_any_event(self) -> None:
        """The call is over before the run is."""
        scenario = self.scenarios[0]
        async with self._watched(scenario) as (provider, watch):
            agent, number, over = agent_of(provider, self.make_request(scenario)), 0, False
            while not over and number < self.waits:
                number += 1
                for verb in ("left", "cancelled"):
                    with as_failures(f"a run that was {verb} after {number} events"), anyio.fail_after(self.patience):
                        over = await _end_early(agent, self.make_request(scenario), number, verb)
                    await watch.check(f"a run that was {verb} after {number} events")
                    await self.settled()

    # -- how the tests call it -----------------------------------------------------------------------------------------

    async def _ask(
        self, provider: Provider, scenario: Scenario, request: ModelRequest | None = None
    ) -> list[ModelEvent]:
        with as_failures(scenario), anyio.fail_after(self.patience):
            return await collected(provider, request or self.make_request(scenario))

    async def _run(self, provider: Provider, scenario: Scenario, **more: Any) -> tuple[list[Any], Exception | None]:
        request = self.make_request(scenario)
        with anyio.fail_after(self.patience):
            return await events_of(agent_of(provider, request, **more), request.messages[-1].text)

    @asynccontextmanager
    async def _watched(self, scenario: Scenario) -> AsyncIterator[tuple[Provider, Watch]]:
        """A provider that has answered once, so that what it keeps is there, and is closed in the end."""
        async with self.playing(scenario) as provider:
            with Watch() as watch:
                await self._ask(provider, scenario)
                watch.mark()
                yield provider, watch
                await provider.aclose()
                await watch.check_all(f"{scenario}, when the provider was closed")


class ProviderConformance(ProviderContract):
    """What every model provider must do, as tests.

    Subclass it in a test file, and say how a provider is made that answers so::

        class TestMyProvider(ProviderConformance):
            def make_provider(self, *scenarios):
                return MyProvider(answers=[ANSWERS[scenario] for scenario in scenarios])

    A provider that speaks HTTP is tested with `HttpProviderConformance`, which has these tests and more.
    """

    def make_provider(self, *scenarios: Scenario) -> Provider:  # noqa: ARG002  to be overridden
        """A provider whose model calls are answered so, in this order within a run; the last one again and again."""
        raise missing(self, "make_provider")

    @asynccontextmanager
    async def playing(self, *scenarios: Scenario) -> AsyncIterator[Provider]:
        """One that `make_provider` makes, closed in the end."""
        provider = self.make_provider(*scenarios)
        try:
            yield provider
        finally:
            with as_failures("closed in the end"):
                await provider.aclose()


async def _end_early(agent: Any, request: ModelRequest, number: int, verb: str) -> bool:
    """Leave or cancel a run after so many events. Whether it was over by then."""
    taken: list[Any] = []
    async with agent.stream_async(request.messages[-1].text) as stream:
        async for event in stream:
            taken.append(event)
            if len(taken) == number:
                if verb == "left":
                    break
                stream.cancel()
    return isinstance(taken[min(number, len(taken)) - 1], RunFinished)


def _call_of(scenario: str, number: int, deltas: list[ToolCallDelta]) -> str:
    """The id of the call whose deltas these are."""
    named = {(delta.call_id, delta.tool) for delta in deltas}
    check(len(named) == 1, f"{scenario}: the block {number} is of one call, not of {sorted(named)}")
    check(deltas[0].tool == WEATHER.name, f"{scenario}: the tool that is called is 'weather', not {deltas[0].tool!r}")
    whole = "".join(delta.fragment for delta in deltas)
    try:
        arguments = json.loads(whole)
    except ValueError:
        arguments = None
    check(isinstance(arguments, dict), f"{scenario}: the fragments of a call make one JSON object: {whole!r}")
    return deltas[0].call_id


def _same_answer(expected: list[ModelEvent], events: list[ModelEvent], what: str) -> None:
    """Compare two answers to one request: what they say, and not into how many deltas it was cut."""
    wanted, given = _summary(expected), _summary(events)
    check(wanted == given, f"{what} has the answer {wanted!r}, not {given!r}")


def _summary(events: list[ModelEvent]) -> list[Any]:
    """The deltas of each block, joined, and the stop reason. Ids may be made up anew for each answer."""
    blocks: dict[tuple[int, str], str] = {}
    for event in events:
        match event:
            case TextDelta(text=text) | ReasoningDelta(text=text):
                blocks[event.block, event.type] = blocks.get((event.block, event.type), "") + text
            case ToolCallDelta():
                blocks[event.block, event.tool] = blocks.get((event.block, event.tool), "") + event.fragment
    return [*blocks.values(), events[-1].stop_reason]  # type: ignore[union-attr]


def _backends() -> list[str]:
    """asyncio, and trio where this is trio: core does not need it."""
    trio = sys.modules.get("trio")
    return ["asyncio", "trio"] if trio is not None and trio.lowlevel.in_trio_run() else ["asyncio", "asyncio"]


def check(holds: object, rule: str) -> None:
    """Not `assert`, which says little outside of test files, and nothing under `python -O`."""
    if not holds:
        raise AssertionError(rule)
