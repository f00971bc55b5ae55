"""The loop: asks the turn what is needed, awaits an effect, feeds the answer back.

Nothing here names an event loop, reads a clock or starts a task; that is what lets the same loop run on another
implementation of `Effects`. A cancellation passes through; the driver brings the run to its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from becket.effects import PlannedCall
from becket.events import CycleFinished, CycleStarted, MessageAdded, ToolFinished

if TYPE_CHECKING:
    from collections.abc import Sequence

    from becket._outcome import Outcome
    from becket.content import StopReason, ToolCall
    from becket.effects import Effects
    from becket.events import RunStarted
    from becket.options import Limits
    from becket.turn import Turn

__all__ = ["reached", "run"]


async def run(
    turn: Turn, effects: Effects, started: RunStarted, limits: Limits, outcome: Outcome | None = None
) -> None:
    """Run `turn` from its prompt to its terminal event; `outcome` takes the structured output, where one is wanted.

    Raises:
        OutputError: One is wanted, and no answer fitted.
    """
    effects.emit(started)
    reason: StopReason | None = None
    while reason is None and turn.need != "end":
        await effects.room()
        reason = effects.ending or reached(turn, limits)
        if reason is None:
            reason = await _cycle(turn, effects, limits, outcome)
    for event in turn.close(reason or _final(turn.stop), outcome.json if outcome is not None else None):
        effects.emit(event)


def reached(turn: Turn, limits: Limits) -> StopReason | None:
    """The limit that forbids another model call, or None."""
    if limits.cycles is not None and turn.cycle >= limits.cycles:
        return "limit_cycles"
    return _spent(turn, limits)


def _spent(turn: Turn, limits: Limits) -> StopReason | None:
    """The limit that forbids a call of any kind, or None."""
    if limits.tokens is not None and turn.usage.total_tokens >= limits.tokens:
        return "limit_tokens"
    if limits.cost is not None and turn.cost is not None and turn.cost >= limits.cost:
        return "limit_cost"
    return None


def _final(stop: StopReason | None) -> StopReason:
    """The stop reason of a run whose last model call asked for nothing more."""
    return "end_turn" if stop is None or stop == "tool_use" else stop


async def _cycle(turn: Turn, effects: Effects, limits: Limits, outcome: Outcome | None) -> StopReason | None:
    """One model call and the tools it asks for. Why the run ends with it, or None."""
    effects.emit(CycleStarted())
    answer = await effects.call_model(turn.cycle, len(turn.messages))
    effects.emit(answer.finished)
    if answer.message.content:
        effects.emit(MessageAdded(answer.message))
    if turn.need == "tools":
        if (reason := await _tools(turn, effects, limits, outcome)) is not None:
            return reason
    elif outcome is not None:
        for message in outcome.read(answer.message, turn):
            effects.emit(MessageAdded(message))
    if outcome is not None:
        outcome.check()
        if outcome.over:
            effects.emit(CycleFinished(_final(turn.stop)))
            return _final(turn.stop)
    effects.emit(CycleFinished("tool_use" if turn.calls or turn.again else _final(turn.stop)))
    return None


async def _tools(turn: Turn, effects: Effects, limits: Limits, outcome: Outcome | None) -> StopReason | None:
    """Answer the tool calls of this cycle. A limit that forbids some of them, or None."""
    calls, made = turn.calls, turn.tool_calls
    if outcome is not None:
        calls, made = outcome.others(calls), made - outcome.answered
    if calls and (reason := effects.ending or _spent(turn, limits)) is not None:
        return reason
    allowed = calls if limits.tool_calls is None else calls[: max(0, limits.tool_calls - made)]
    await _call(turn, effects, allowed)
    if len(allowed) < len(calls):
        return "limit_tool_calls"
    for result in outcome.answer(turn) if outcome is not None else ():
        effects.emit(ToolFinished(result))
    effects.emit(MessageAdded(turn.results_message()))
    return None


async def _call(turn: Turn, effects: Effects, calls: Sequence[ToolCall]) -> None:
    """Make these tool calls of this cycle."""
    planned = [
        await effects.decide(PlannedCall((turn.run_id, turn.cycle, index, call.id), call))
        for index, call in enumerate(calls)
    ]
    for result in await effects.call_tools(planned) if planned else ():
        if result.call_id not in turn.results:  # a journal gives the results alone
            effects.emit(ToolFinished(result))
