"""The scripted provider keeps the contract of providers; the tests of the contract find every way to break it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, ClassVar

import anyio
import pytest
import trio
from anyio.lowlevel import checkpoint
from becket import Message, ModelFinished, ModelInfo, PluginEvent, ProviderError, Text, TextDelta, ToolCallDelta, Usage
from becket.testing import ProviderConformance, ScriptedProvider, calls, text
from becket.testing.providers import ProviderContract

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from becket import ModelEvent, ModelRequest, Provider
    from becket.testing.fakes import Step
    from becket.testing.providers import Scenario

pytestmark = pytest.mark.anyio

CITIES = [("weather", {"city": "Oslo"}), ("weather", {"city": "Rome"})]


def answer(scenario: Scenario) -> list[Step]:
    """The script of an answer, with a wait before each step."""
    steps = {"text": text("Hel", "lo"), "tool": calls(CITIES[0]), "parallel_tools": calls(*CITIES)}[scenario]  # type: ignore[arg-type]
    return [waited for step in steps for waited in (checkpoint, step)]


class TestScriptedProvider(ProviderConformance):
    def make_provider(self, *scenarios: Scenario) -> Provider:
        return ScriptedProvider(*(answer(scenario) for scenario in scenarios))


# -- providers that break the contract ---------------------------------------------------------------------------------


class Faulty:
    """A provider that answers as it should, open to what the classes below do wrong."""

    name = "faulty"
    default_model: str | None = None

    def __init__(self, *scenarios: Scenario) -> None:
        self.scenarios = scenarios
        self.asked = 0
        self.closed = 0

    def models(self) -> Sequence[ModelInfo]:
        return [ModelInfo("model")]

    async def stream(self, request: ModelRequest, /) -> AsyncGenerator[ModelEvent]:
        self.asked += 1
        for event in self.answer(request):
            await checkpoint()
            yield event

    def answer(self, request: ModelRequest) -> list[ModelEvent]:
        scenario = self.scenarios[min(request.key[1], len(self.scenarios)) - 1]
        called: list[ModelEvent] = [
            ToolCallDelta(f"id-{block}", "weather", fragment, block)
            for block, city in ((1, "Oslo"), (2, "Rome"))[: {"text": 0, "tool": 1}.get(scenario, 2)]
            for fragment in ('{"city": ', f'"{city}"}}')
        ]
        if called:
            return [*called, ModelFinished("tool_use", Usage(7, 3))]
        return [TextDelta("Hel"), TextDelta("lo"), ModelFinished("end_turn", Usage(7, 2))]

    async def aclose(self) -> None:
        self.closed += 1


class HasAName(Faulty):
    name = "not: one"


class SaysNoModels(Faulty):
    def models(self) -> Any:
        return ["model"]


class EndsWithoutAnEnd(Faulty):
    def answer(self, request: ModelRequest) -> list[ModelEvent]:
        return super().answer(request)[:-1]


class EndsTwice(Faulty):
    def answer(self, request: ModelRequest) -> list[ModelEvent]:
        return [ModelFinished("end_turn"), *super().answer(request)]


class GoesOnAfterTheEnd(Faulty):
    def answer(self, request: ModelRequest) -> list[ModelEvent]:
        return [*super().answer(request), TextDelta("P.S.")]


class YieldsSomethingElse(Faulty):
    def answer(self, request: ModelRequest) -> list[ModelEvent]:
        return [{"text": "Hello"}, *super().answer(request)]  # type: ignore[list-item]


class ReportsLate(Faulty):
    def answer(self, request: ModelRequest) -> list[ModelEvent]:
        first, *rest = super().answer(request)
        return [first, PluginEvent("faulty", "loaded"), *rest]


class AlwaysEndsTheTurn(Faulty):
    def answer(self, request: ModelRequest) -> list[ModelEvent]:
        return [*super().answer(request)[:-1], ModelFinished("end_turn", Usage(7, 2))]


class SaysNothing(Faulty):
    def answer(self, request: ModelRequest) -> list[ModelEvent]:
        return super().answer(request)[-1:]


class PutsCallsInOneBlock(Faulty):
    def answer(self, request: ModelRequest) -> list[ModelEvent]:
        return [_changed(event, block=0) for event in super().answer(request)]


class PutsTextInTheBlockOfACall(Faulty):
    def answer(self, request: ModelRequest) -> list[ModelEvent]:
        return [TextDelta("Hm.", 1), *super().answer(request)]


class GivesCallsOneId(Faulty):
    def answer(self, request: ModelRequest) -> list[ModelEvent]:
        return [_changed(event, call_id="id") for event in super().answer(request)]


class CutsArgumentsOff(Faulty):
    def answer(self, request: ModelRequest) -> list[ModelEvent]:
        return [_changed(event, fragment='{"city": ') for event in super().answer(request)]


class GivesArgumentsAsText(Faulty):
    def answer(self, request: ModelRequest) -> list[ModelEvent]:
        return [_changed(event, fragment='"Oslo"') for event in super().answer(request) if not _second(event)]


class CallsAnotherTool(Faulty):
    def answer(self, request: ModelRequest) -> list[ModelEvent]:
        return [_changed(event, tool="functions.weather") for event in super().answer(request)]


class LosesTheSecondCall(Faulty):
    def answer(self, request: ModelRequest) -> list[ModelEvent]:
        return [event for event in super().answer(request) if getattr(event, "block", 0) != 2]


class SharesItsLastEvent(Faulty):
    ends: ClassVar[dict[str, ModelEvent]] = {}

    def answer(self, request: ModelRequest) -> list[ModelEvent]:
        *rest, last = super().answer(request)
        return [*rest, self.ends.setdefault(last.stop_reason, last)]  # type: ignore[union-attr]


class AddsUsageUp(Faulty):
    def answer(self, request: ModelRequest) -> list[ModelEvent]:
        return [_changed(event, usage=Usage(7 * self.asked, 3)) for event in super().answer(request)]


class CountsReasoningApart(Faulty):
    def answer(self, request: ModelRequest) -> list[ModelEvent]:
        return [_changed(event, usage=Usage(7, 3, 0, 20)) for event in super().answer(request)]


class ChangesTheHistory(Faulty):
    def answer(self, request: ModelRequest) -> list[ModelEvent]:
        request.messages.insert(0, Message("user", (Text("Be brief."),)))  # type: ignore[attr-defined]
        return super().answer(request)


class SwallowsCancellation(Faulty):
    async def stream(self, request: ModelRequest, /) -> AsyncGenerator[ModelEvent]:
        for event in self.answer(request):
            with suppress(BaseException):
                await checkpoint()
            yield event


class TranslatesCancellation(Faulty):
    async def stream(self, request: ModelRequest, /) -> AsyncGenerator[ModelEvent]:
        for event in self.answer(request):
            try:
                await checkpoint()
            except BaseException as error:
                raise ProviderError("the service failed", retryable=True) from error
            yield event


class IsShielded(Faulty):
    async def stream(self, request: ModelRequest, /) -> AsyncGenerator[ModelEvent]:
        for event in self.answer(request):
            with anyio.CancelScope(shield=True):
                await checkpoint()
                await checkpoint()
            yield event


class LeavesAGeneratorOpen(Faulty):
    async def stream(self, request: ModelRequest, /) -> AsyncGenerator[ModelEvent]:
        async for event in super().stream(request):
            yield event


class KeepsAGeneratorOpen(Faulty):
    kept: Any = None

    async def stream(self, request: ModelRequest, /) -> AsyncGenerator[ModelEvent]:
        self.kept = super().stream(request)
        async for event in self.kept:
            yield event

    async def aclose(self) -> None:
        await self.kept.aclose()


class LeavesATask(Faulty):
    """Reads ahead in a task of its own, which outlives the call."""

    async def stream(self, request: ModelRequest, /) -> AsyncGenerator[ModelEvent]:
        spawn(anyio.sleep_forever)
        async with aclosing(super().stream(request)) as events:
            async for event in events:
                yield event


class LeavesATaskWhenItIsClosed(Faulty):
    async def aclose(self) -> None:
        if self.asked:
            spawn(anyio.sleep_forever)


class RaisesWhenItIsLeft(Faulty):
    async def stream(self, request: ModelRequest, /) -> AsyncGenerator[ModelEvent]:
        try:
            async with aclosing(super().stream(request)) as events:
                async for event in events:
                    yield event
        except GeneratorExit:
            raise ProviderError("the answer was not read to its end") from None


class YieldsWhenItIsClosed(Faulty):
    async def stream(self, request: ModelRequest, /) -> AsyncGenerator[ModelEvent]:
        try:
            async with aclosing(super().stream(request)) as events:
                async for event in events:
                    yield event
        except GeneratorExit:
            yield ModelFinished("end_turn")


class IteratesWell(Faulty):
    """Without a fault: a class with `__anext__` instead of a generator, which has nothing to close."""

    def stream(self, request: ModelRequest, /) -> Any:
        return _Iterator(self.answer(request))


class Iterates(Faulty):
    """The same, with an `aclose` that does nothing."""

    def stream(self, request: ModelRequest, /) -> Any:
        return _Closable(self.answer(request))


class _Iterator:
    def __init__(self, events: list[ModelEvent]) -> None:
        self._events = events

    def __aiter__(self) -> AsyncIterator[ModelEvent]:
        return self

    async def __anext__(self) -> ModelEvent:
        await checkpoint()
        if not self._events:
            raise StopAsyncIteration
        return self._events.pop(0)


class _Closable(_Iterator):
    async def aclose(self) -> None:
        await checkpoint()


class MixesCallsUp(Faulty):
    """Keeps in itself what belongs to a call."""

    left: list[ModelEvent]

    async def stream(self, request: ModelRequest, /) -> AsyncGenerator[ModelEvent]:
        self.left = self.answer(request)
        while self.left:
            await checkpoint()
            if self.left:
                yield self.left.pop(0)


class IsBoundToItsFirstLoop(Faulty):
    token: Any = None

    async def stream(self, request: ModelRequest, /) -> AsyncGenerator[ModelEvent]:
        token = anyio.lowlevel.current_token()
        if self.token not in (None, token):
            raise RuntimeError("it is bound to another event loop")
        self.token = token
        async with aclosing(super().stream(request)) as events:
            async for event in events:
                yield event


class IsBusyElsewhere(Faulty):
    """Serves one event loop after the other, and not two at once."""

    token: Any = None

    async def stream(self, request: ModelRequest, /) -> AsyncGenerator[ModelEvent]:
        token = anyio.lowlevel.current_token()
        if self.token not in (None, token):
            raise RuntimeError("another event loop uses it")
        self.token = token
        async with aclosing(super().stream(request)) as events:
            async for event in events:
                yield event

    async def aclose(self) -> None:
        self.token = None


class ClosesForGood(Faulty):
    async def stream(self, request: ModelRequest, /) -> AsyncGenerator[ModelEvent]:
        if self.closed:
            raise ProviderError("the client was closed")
        async with aclosing(super().stream(request)) as events:
            async for event in events:
                yield event


class ClosesOnce(Faulty):
    async def aclose(self) -> None:
        await super().aclose()
        if self.closed > 1:
            raise RuntimeError("it was closed before")


class RefusesToolResults(Faulty):
    def answer(self, request: ModelRequest) -> list[ModelEvent]:
        if any(message.tool_results for message in request.messages):
            raise ProviderError("400: messages[2].role: 'tool' expected")
        return super().answer(request)


class KnowsOneRun(Faulty):
    """Takes the run that it is tested with for the only one."""

    def answer(self, request: ModelRequest) -> list[ModelEvent]:
        if request.key[0] != "run":
            raise ProviderError(f"the run {request.key[0]!r} is not known")
        return super().answer(request)


def _second(event: Any) -> bool:
    return isinstance(event, ToolCallDelta) and event.fragment != '{"city": '


def _changed(event: Any, **changes: Any) -> Any:
    for name, value in changes.items():
        if hasattr(event, name):
            setattr(event, name, value)
    return event


def spawn(work: Any) -> None:
    """Begin a task that nobody waits for, as a careless provider does; it ends with the event loop."""
    if trio.lowlevel.in_trio_run():
        trio.lowlevel.spawn_system_task(work)
    else:
        TASKS.append(asyncio.get_running_loop().create_task(work()))


TASKS: list[Any] = []

TESTS = [name for name in vars(ProviderContract) if name.startswith("test_")]

FAULTS: list[tuple[type[Faulty], str]] = [
    (HasAName, "test_it_names_itself_and_its_models"),
    (SaysNoModels, "test_it_names_itself_and_its_models"),
    (EndsWithoutAnEnd, "test_events_come_in_order"),
    (EndsTwice, "test_events_come_in_order"),
    (GoesOnAfterTheEnd, "test_events_come_in_order"),
    (YieldsSomethingElse, "test_events_come_in_order"),
    (ReportsLate, "test_events_come_in_order"),
    (AlwaysEndsTheTurn, "test_events_come_in_order"),
    (SaysNothing, "test_events_come_in_order"),
    (PutsCallsInOneBlock, "test_each_tool_call_has_a_block_of_its_own"),
    (PutsTextInTheBlockOfACall, "test_each_tool_call_has_a_block_of_its_own"),
    (GivesCallsOneId, "test_each_tool_call_has_a_block_of_its_own"),
    (CutsArgumentsOff, "test_each_tool_call_has_a_block_of_its_own"),
    (GivesArgumentsAsText, "test_each_tool_call_has_a_block_of_its_own"),
    (CallsAnotherTool, "test_each_tool_call_has_a_block_of_its_own"),
    (LosesTheSecondCall, "test_each_tool_call_has_a_block_of_its_own"),
    (SharesItsLastEvent, "test_each_event_is_a_new_object"),
    (AddsUsageUp, "test_usage_is_that_of_the_call"),
    (CountsReasoningApart, "test_usage_is_that_of_the_call"),
    (ChangesTheHistory, "test_the_request_is_left_as_it_is"),
    (SwallowsCancellation, "test_a_cancellation_at_any_wait_ends_the_call"),
    (TranslatesCancellation, "test_a_cancellation_at_any_wait_ends_the_call"),
    (IsShielded, "test_a_cancellation_at_any_wait_ends_the_call"),
    (LeavesATask, "test_a_cancellation_at_any_wait_ends_the_call"),
    (SwallowsCancellation, "test_a_cancellation_after_any_event_ends_the_call"),
    (LeavesATask, "test_a_cancellation_after_any_event_ends_the_call"),
    (LeavesAGeneratorOpen, "test_closing_after_any_event_ends_the_call"),
    (KeepsAGeneratorOpen, "test_closing_after_any_event_ends_the_call"),
    (LeavesATask, "test_closing_after_any_event_ends_the_call"),
    (RaisesWhenItIsLeft, "test_closing_after_any_event_ends_the_call"),
    (YieldsWhenItIsClosed, "test_closing_after_any_event_ends_the_call"),
    (Iterates, "test_closing_after_any_event_ends_the_call"),
    (MixesCallsUp, "test_many_calls_go_on_at_once"),
    (IsBusyElsewhere, "test_it_serves_several_event_loops_at_once"),
    (IsBoundToItsFirstLoop, "test_it_serves_one_event_loop_after_the_other"),
    (ClosesForGood, "test_it_stays_usable_when_it_was_closed"),
    (ClosesOnce, "test_it_stays_usable_when_it_was_closed"),
    (LeavesATask, "test_nothing_is_left_open"),
    (LeavesATaskWhenItIsClosed, "test_nothing_is_left_open"),
    (KnowsOneRun, "test_a_run_has_its_answer"),
    (RefusesToolResults, "test_a_run_calls_tools_and_goes_on"),
    (LeavesATask, "test_a_run_can_be_left_and_cancelled_after_any_event"),
]


class Kit(ProviderConformance):
    """The tests of the contract, to be called one by one."""

    __test__ = False

    def __init__(self, cls: type[Faulty]) -> None:
        self.cls = cls

    def make_provider(self, *scenarios: Scenario) -> Provider:
        return self.cls(*scenarios)


@pytest.mark.parametrize(("cls", "test"), FAULTS)
async def test_a_provider_that_breaks_the_contract_is_found(cls: type[Faulty], test: str) -> None:
    with pytest.raises(AssertionError):
        await getattr(Kit(cls), test)()


@pytest.mark.parametrize("cls", [Faulty, IteratesWell])
@pytest.mark.parametrize("test", TESTS)
async def test_a_provider_without_a_fault_passes(cls: type[Faulty], test: str) -> None:
    await getattr(Kit(cls), test)()


def test_every_test_of_the_contract_finds_a_fault() -> None:
    assert {test for _, test in FAULTS} == set(TESTS)
