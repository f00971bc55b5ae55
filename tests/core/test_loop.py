"""The loop, without an event loop: its effects never suspend, so that a plain `send(None)` runs it to its end."""

from __future__ import annotations

import ast
import inspect
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import becket
import pytest
from becket import (
    CycleFinished,
    Event,
    Limits,
    Message,
    MessageAdded,
    ModelFinished,
    ModelStarted,
    Output,
    ProtocolError,
    RunFinished,
    RunStarted,
    Text,
    TextDelta,
    ToolCall,
    ToolFinished,
    ToolResult,
    ToolStarted,
    Usage,
)
from becket._outcome import Outcome, OutputPlan
from becket.effects import ModelAnswer, PlannedCall
from becket.loop import run
from becket.testing import ScriptedProvider
from becket.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from becket import StopReason
    from becket.effects import Effects

UNLIMITED = Limits(cycles=None)
STARTED = RunStarted("agent", "p:m", (Message("user", (Text("hi"),)),))


def says(text: str, stop: StopReason = "end_turn") -> ModelAnswer:
    content = (Text(text),) if text else ()
    return ModelAnswer(Message("assistant", content), ModelFinished(stop, Usage(10, 5)))


def asks(*ids: str, stop: StopReason = "tool_use") -> ModelAnswer:
    calls = tuple(ToolCall(name, "tool", {"name": name}) for name in ids)
    return ModelAnswer(Message("assistant", calls), ModelFinished(stop, Usage(10, 5)))


class InMemory:
    """Effects that are there at once: nothing in them ever waits.

    Args:
        answers: What the model answers, cycle by cycle.
        journal: Whether results come out of a journal: `call_tools` then emits nothing.
    """

    def __init__(self, answers: Iterable[ModelAnswer], *, journal: bool = False) -> None:
        self.turn = Turn("r")
        self.events: list[Event] = []
        self.ending: StopReason | None = None
        self.keys: list[Any] = []
        self.asked: list[tuple[int, int]] = []
        self.depths: list[int] = []
        self.decision: Callable[[PlannedCall], PlannedCall] = lambda planned: planned
        self.rooms = 0
        self._answers = iter(answers)
        self._journal = journal

    async def call_model(self, cycle: int, length: int) -> ModelAnswer:
        self.depths.append(len(inspect.stack(0)) if len(self.depths) in (0, 9_999) else 0)
        self.asked.append((cycle, length))
        self.emit(ModelStarted("p:m", length))
        answer = next(self._answers)
        for block in answer.message.content:
            if isinstance(block, Text):
                self.emit(TextDelta(block.text))
        return answer

    async def decide(self, planned: PlannedCall) -> PlannedCall:
        self.keys.append(planned.key)
        return self.decision(planned)

    async def call_tools(self, planned: Sequence[PlannedCall]) -> list[ToolResult]:
        results = [plan.instead or ToolResult(plan.call.id, "success", (Text("done"),)) for plan in planned]
        for plan, result in zip(planned, results, strict=True):
            if not self._journal:
                if plan.instead is None:
                    self.emit(ToolStarted(plan.call))
                self.emit(ToolFinished(result))
        return results

    def emit(self, event: Event) -> bool:
        self.turn.receive(event)
        self.events.append(event)
        return True

    async def room(self) -> None:
        self.rooms += 1

    def now(self) -> float:
        return 0.0

    def uuid(self) -> str:
        return "0" * 32

    async def sleep(self, seconds: float) -> None:
        pass

    @property
    def types(self) -> str:
        return " ".join(event.type for event in self.events)

    @property
    def result(self) -> becket.AgentResult:
        last = self.events[-1]
        assert isinstance(last, RunFinished)
        return last.result


def drive(effects: Effects, turn: Turn, limits: Limits = UNLIMITED) -> None:
    """Run the loop to its end; it must not suspend, since nothing here would wake it."""
    with pytest.raises(StopIteration):
        run(turn, effects, STARTED, limits).send(None)


def ran(*answers: ModelAnswer, limits: Limits = UNLIMITED, journal: bool = False) -> InMemory:
    effects = InMemory(answers, journal=journal)
    drive(effects, effects.turn, limits)
    return effects


def test_an_answer_ends_the_run() -> None:
    effects = ran(says("hello"))
    assert effects.types == (
        "run_started cycle_started model_started text_delta model_finished message_added cycle_finished run_finished"
    )
    assert effects.result == becket.AgentResult("end_turn", says("hello").message, Usage(10, 5), 1)


def test_tools_are_called_and_their_results_go_back_to_the_model() -> None:
    effects = ran(asks("a", "b"), says("done"))
    assert effects.types == (
        "run_started cycle_started model_started model_finished message_added tool_started tool_finished tool_started "
        "tool_finished message_added cycle_finished cycle_started model_started text_delta model_finished "
        "message_added cycle_finished run_finished"
    )
    assert effects.keys == [("r", 1, 0, "a"), ("r", 1, 1, "b")]
    assert effects.asked == [(1, 1), (2, 3)]
    assert effects.rooms == 2
    assert [message.role for message in effects.turn.messages] == ["user", "assistant", "user", "assistant"]
    assert [event.stop_reason for event in effects.events if isinstance(event, CycleFinished)] == [
        "tool_use",
        "end_turn",
    ]
    assert effects.result.usage == Usage(20, 10)


def test_results_out_of_a_journal_make_the_same_history() -> None:
    """An engine that replays a run gives the results alone; the loop then says that the calls are finished."""
    answers = (asks("a", "b"), asks("c"), says("done"))
    live, replayed = ran(*answers), ran(*answers, journal=True)
    assert replayed.turn.messages == live.turn.messages
    assert replayed.types == live.types.replace("tool_started ", "")
    assert replayed.turn.tool_calls == live.turn.tool_calls == 3


def test_a_decision_can_stand_for_a_call() -> None:
    denied = ToolResult("a", "denied", (Text("no"),))
    effects = InMemory([asks("a", "b"), says("done")])
    effects.decision = lambda plan: PlannedCall(plan.key, plan.call, denied if plan.call.id == "a" else None)
    drive(effects, effects.turn)
    assert [event.call.id for event in effects.events if isinstance(event, ToolStarted)] == ["b"]
    assert effects.turn.messages[2].content == (denied, ToolResult("b", "success", (Text("done"),)))


@pytest.mark.parametrize("stop", ["max_tokens", "stop_sequence", "content_filtered", "end_turn"])
def test_the_last_answer_says_why_the_run_stopped(stop: StopReason) -> None:
    assert ran(says("hel", stop)).result.stop_reason == stop


def test_asking_for_tools_without_naming_one_ends_the_turn() -> None:
    effects = ran(says("hm", "tool_use"))
    assert effects.result.stop_reason == "end_turn"
    assert [event.stop_reason for event in effects.events if isinstance(event, CycleFinished)] == ["end_turn"]


def test_tools_are_called_whatever_the_stop_reason_says() -> None:
    """Services are known to send `stop` with a tool call; what was asked for is what counts."""
    effects = ran(asks("a", stop="end_turn"), says("done"))
    assert effects.turn.tool_calls == 1
    assert effects.result.text == "done"


def test_an_empty_answer_adds_no_message() -> None:
    """Model services refuse an empty message in a history."""
    effects = ran(says(""))
    assert effects.types == "run_started cycle_started model_started model_finished cycle_finished run_finished"
    assert effects.result == becket.AgentResult("end_turn", None, Usage(10, 5), 1)
    assert len(effects.turn.messages) == 1


def test_the_limit_on_cycles_ends_the_run_between_cycles() -> None:
    effects = ran(asks("a"), asks("b"), says("never"), limits=Limits(cycles=2))
    assert effects.result.stop_reason == "limit_cycles"
    assert effects.result.cycles == 2
    assert effects.result.message == asks("b").message
    assert effects.types.endswith("message_added cycle_finished run_finished")


def test_the_limit_on_tokens_ends_the_run_between_model_calls() -> None:
    assert ran(asks("a"), asks("b"), says("never"), limits=Limits(tokens=30)).result.stop_reason == "limit_tokens"
    assert ran(asks("a"), asks("b"), says("done"), limits=Limits(tokens=31)).result.stop_reason == "end_turn"


def test_the_limit_on_cost_ends_the_run_before_the_call_that_it_forbids() -> None:
    """The loop keeps it by itself: an engine of another kind has no budget to be told by."""
    dear = [asks("a"), asks("b"), says("never")]
    for answer in dear:
        answer.finished.cost = 0.5  # type: ignore[misc]  # as the effect of a model call fills it in
    assert ran(*dear, limits=Limits(cost=0.9)).result.stop_reason == "limit_cost"


def test_an_answer_that_reaches_a_limit_is_still_the_answer() -> None:
    assert ran(says("done"), limits=Limits(cycles=1, tokens=1)).result.stop_reason == "end_turn"


@pytest.mark.parametrize("journal", [False, True])
@pytest.mark.parametrize(("allowed", "made"), [(1, ["a"]), (2, ["a", "b"]), (4, ["a", "b", "c", "d"])])
def test_the_limit_on_tool_calls_makes_as_many_as_it_allows(allowed: int, made: list[str], *, journal: bool) -> None:
    """Those that it does not allow are answered as interrupted: each call in the history has its result."""
    effects = ran(asks("a"), asks("b", "c"), asks("d", "e"), limits=Limits(tool_calls=allowed), journal=journal)
    assert effects.result.stop_reason == "limit_tool_calls"
    assert [key[3] for key in effects.keys] == made
    results = {b.call_id: b.status for m in effects.turn.messages for b in m.content if isinstance(b, ToolResult)}
    asked = [call.id for message in effects.turn.messages for call in message.tool_calls]
    assert results == {name: "success" if name in made else "interrupted" for name in asked}


def test_the_limit_on_tool_calls_is_no_limit_until_more_are_asked_for() -> None:
    assert ran(asks("a", "b"), says("done"), limits=Limits(tool_calls=2)).result.stop_reason == "end_turn"
    effects = ran(asks("a", "b"), asks("c"), limits=Limits(tool_calls=2))
    assert effects.result.stop_reason == "limit_tool_calls"
    assert [key[3] for key in effects.keys] == ["a", "b"]


def test_a_run_that_is_to_end_ends_before_the_next_model_call() -> None:
    effects = InMemory([asks("a"), says("never")])

    def stop(planned: PlannedCall) -> PlannedCall:
        effects.ending = "cancelled"
        return planned

    effects.decision = stop
    drive(effects, effects.turn)
    assert effects.result.stop_reason == "cancelled"
    assert len(effects.asked) == 1
    assert effects.turn.messages[-1].content == (ToolResult("a", "success", (Text("done"),)),)


def test_a_run_that_is_to_end_at_once_calls_no_model() -> None:
    effects = InMemory([])
    effects.ending = "limit_time"
    drive(effects, effects.turn)
    assert effects.types == "run_started run_finished"
    assert effects.result == becket.AgentResult("limit_time")


def test_a_wish_to_end_that_comes_with_the_last_answer_changes_nothing() -> None:
    effects = InMemory([])

    def answers() -> Iterable[ModelAnswer]:
        effects.ending = "cancelled"
        yield says("done")

    effects._answers = iter(answers())
    drive(effects, effects.turn)
    assert effects.result.stop_reason == "end_turn"


def test_effects_that_lose_a_result_broke_their_contract() -> None:
    class Forgetful(InMemory):
        async def call_tools(self, planned: Sequence[PlannedCall]) -> list[ToolResult]:
            return await super().call_tools(planned[:1])

    effects = Forgetful([asks("a", "b")])
    with pytest.raises(ProtocolError, match="the tool call 'b' has no result in the run 'r'"):
        run(effects.turn, effects, STARTED, UNLIMITED).send(None)


@pytest.mark.parametrize("journal", [False, True])
def test_structured_output_is_taken_and_asked_for_again_without_a_word_to_the_world(*, journal: bool) -> None:
    """The port has nothing to do for it but to call the model: a run that is replayed takes the same turns."""
    plan = OutputPlan.of(Output(int), ScriptedProvider([]), "m", ("tool",))
    wrong, right = (ToolCall("o", "final_output", {"value": given}) for given in ("x", 42))
    answers = [
        says("Let me see."),
        ModelAnswer(Message("assistant", (ToolCall("a", "tool"), wrong)), ModelFinished("tool_use")),
        ModelAnswer(Message("assistant", (right,)), ModelFinished("tool_use")),
    ]
    effects, outcome = InMemory(answers, journal=journal), Outcome(replace(plan, output=Output(int, repairs=2)))
    with pytest.raises(StopIteration):
        run(effects.turn, effects, STARTED, UNLIMITED, outcome).send(None)
    assert (outcome.value, effects.result.output, effects.result.stop_reason) == (42, 42, "end_turn")
    assert [key[3] for key in effects.keys] == ["a"]
    assert [message.role for message in effects.turn.messages] == ["user", "assistant"] * 3 + ["user"]
    assert [event.stop_reason for event in effects.events if isinstance(event, CycleFinished)] == [
        "tool_use",
        "tool_use",
        "end_turn",
    ]


def test_ten_thousand_cycles_run_on_a_flat_stack() -> None:
    effects = InMemory([*(asks(f"c{number}") for number in range(9_999)), says("done")])
    drive(effects, effects.turn)
    assert effects.result.cycles == 10_000
    assert len(effects.turn.messages) == 20_000
    assert effects.depths[0] == effects.depths[-1] > 0
    assert effects.depths[0] < sys.getrecursionlimit()


# -- what the files may not do -----------------------------------------------------------------------------------------


def tree(name: str) -> ast.Module:
    return ast.parse((Path(becket.__file__).parent / name).read_text(encoding="utf-8"))


def imported(name: str) -> set[str]:
    """The top-level packages that a module names in an import, wherever that stands."""
    found: set[str] = set()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).partition(".")[0])
    return found


@pytest.mark.parametrize(
    "name", ["loop.py", "turn.py", "events.py", "content.py", "effects.py", "log.py", "_values.py"]
)
def test_what_decides_knows_no_event_loop_no_clock_and_no_chance(name: str) -> None:
    forbidden = {"anyio", "asyncio", "trio", "sniffio", "threading", "time", "datetime", "random", "uuid", "secrets"}
    assert not imported(name) & forbidden


@pytest.mark.parametrize("name", ["turn.py", "events.py", "content.py", "_values.py"])
def test_what_is_pure_never_waits(name: str) -> None:
    waiting = (ast.Await, ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith)
    assert not [node for node in ast.walk(tree(name)) if isinstance(node, waiting)]


def test_a_message_that_closes_the_run_is_emitted_like_any_other() -> None:
    effects = ran(asks("a", "b"), limits=Limits(tool_calls=1))
    added = [event.message for event in effects.events if isinstance(event, MessageAdded)]
    assert added == effects.turn.messages[1:]
