"""The answers: the engine writes no prose, so what a run ends with is put into words here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from becket import Json, Text

from becket_local.conversation import Call

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from becket import ToolResult

    from becket_local.conversation import Exchange, Outcome

__all__ = ["state", "without_tools"]

ADVICE = (
    "This model only calls tools and writes no prose. To chat, install a plugin that provides a chat model, "
    "and name that model with -m or BECKET_MODEL."
)

LINE = 80
"""JSON up to this length stays on one line."""


def state(exchange: Exchange, outcome: Outcome, tools: Iterable[str]) -> str:
    """The last message of a run: the results of its tools, or why it called none."""
    withheld = _withheld(outcome)
    if exchange.rounds:
        # A call that the engine itself thought better of is no news to somebody who has an answer.
        told = [withheld] if withheld and not _is_suppressed(outcome) else []
        return "\n".join([_results(exchange), *told])
    if withheld:
        # Only where the model itself saw no good call may another model do better.
        return f"No tool was called. {withheld}" + (f" {ADVICE}" if _is_suppressed(outcome) else "")
    return f"No tool on offer fits this request (there {_names(sorted(tools))}). {ADVICE}"


def without_tools(exchange: Exchange) -> str:
    """The last message of a run whose model may not call tools, or has none."""
    if exchange.rounds:
        return _results(exchange)
    return f"There is no tool that may be called. {ADVICE}"


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")  # noqa: PLR2004 -- about a line
    return f"is {shown}" if len(names) == 1 else f"are {shown}"


def _is_suppressed(outcome: Outcome) -> bool:
    return outcome.response is not None and outcome.response.suppressed == outcome.withheld


def _withheld(outcome: Outcome) -> str:
    if not outcome.withheld:
        return ""
    calls = " and ".join(str(call) for call in outcome.withheld)
    return f"The model would have called {calls}, but {outcome.why}."


def _results(exchange: Exchange) -> str:
    pairs = [pair for past in exchange.rounds for pair in past]
    if len(pairs) == 1 and pairs[0][1].status == "success":
        return text_of(pairs[0][1]) or f"{pairs[0][0].tool} is done."
    return "\n".join(_line(str(Call(call.tool, call.arguments)), result) for call, result in pairs)


def _line(call: str, result: ToolResult) -> str:
    text = text_of(result)
    match result.status:
        case "success":
            said = text or "done"
        case "error":
            said = f"failed: {text}" if text else "failed"
        case "denied":
            said = f"was not allowed: {text}" if text else "was not allowed"
        case _:
            said = "was interrupted"
    return f"{call}:\n{said}" if "\n" in said else f"{call}: {said}"


def text_of(result: ToolResult) -> str:
    """A result for a person to read."""
    parts = []
    for block in result.content:
        if isinstance(block, Text):
            parts.append(block.text)
        elif isinstance(block, Json):
            parts.append(_json_text(block.value))
        else:
            parts.append(f"[{block.type} {block.media_type}]")
    return "\n".join(parts).strip()


def _json_text(value: object) -> str:
    if isinstance(value, str):
        return value
    line = json.dumps(value, ensure_ascii=False)
    return line if len(line) <= LINE else json.dumps(value, ensure_ascii=False, indent=2)
