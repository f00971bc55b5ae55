"""What the client has of an answer that goes on: one that ended since a decision was waited for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from becket_aisdk._calls import Call, Calls, Question
from becket_aisdk._models import DataPart, ToolPart
from becket_aisdk._nested import NESTED_RUN, NESTED_TOOL
from becket_aisdk._read import answered_message, run_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from becket_aisdk._calls import State
    from becket_aisdk._models import ChatRequest, Pending, UIMessage

__all__ = ["EarlierAnswer", "earlier_answer"]


@dataclass(frozen=True, slots=True)
class EarlierAnswer:
    """What has come of an answer.

    Attributes:
        message_id: The message that it is.
        calls: The calls of its last step, which goes on.
        nested: The data of the parts on nested runs, by their ids.
    """

    message_id: str
    calls: Calls
    nested: Mapping[str, dict[str, object]]


def earlier_answer(body: ChatRequest) -> EarlierAnswer | None:
    """The answer that a request goes on with; None where it asks for a new one."""
    message = answered_message(body)
    if message is None:
        return None
    nested = {
        part.id: part.data
        for part in message.parts
        if isinstance(part, DataPart) and part.type in (NESTED_RUN, NESTED_TOOL) and part.id
        if isinstance(part.data, dict)
    }
    return EarlierAnswer(message.id, _calls(message, frozenset(run_request(body).answers)), nested)


def _calls(message: UIMessage, answered: frozenset[str]) -> Calls:
    parts, pending = message.parts, message.pending
    starts = [at for at, part in enumerate(parts) if part.type == "step-start"]
    last = starts[-1] if starts else 0
    tools = [part for part in parts[last:] if isinstance(part, ToolPart)]
    held = [Call(one.tool_call_id, one.tool_name, one.input, "held") for one in pending.held]
    return Calls(
        cycle=len(starts),
        before=[part.tool_call_id for part in parts[:last] if isinstance(part, ToolPart)],
        calls=(*(_call(part, pending) for part in tools), *held),
        asked={part.tool_call_id: name for part in tools if (name := message.open_request(part))},
        answered=answered,
        waiting=[Question(one.approval_id, one.tool_call_id, one.reason, one.descriptor) for one in pending.waiting],
    )


def _call(part: ToolPart, pending: Pending) -> Call:
    return Call(part.tool_call_id, part.tool, part.input, _state(part, pending))


def _state(part: ToolPart, pending: Pending) -> State:
    if part.tool_call_id in pending.running or part.state == "input-available" or part.preliminary:
        return "running"
    return "decided" if part.state in ("approval-requested", "approval-responded") else "answered"
