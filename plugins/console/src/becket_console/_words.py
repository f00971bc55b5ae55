"""How the console says numbers and endings."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from becket import ErrorInfo, Usage

__all__ = ["counted", "failure", "moment", "span", "stop", "tokens"]

_WHY = {
    "max_tokens": "the model reached its token limit",
    "stop_sequence": "the model wrote a stop sequence",
    "content_filtered": "the service filtered the answer",
    "cancelled": "the run was cancelled",
    "interrupted": "the run waits for a decision",
    "limit_cycles": "the limit on cycles was reached",
    "limit_tool_calls": "the limit on tool calls was reached",
    "limit_tokens": "the limit on tokens was reached",
    "limit_cost": "the limit on cost was reached",
    "limit_time": "the limit on time was reached",
}

_MINUTE = 60.0


def moment(seconds: float) -> str:
    """A short time, to the hundredth: `0.04 s`."""
    return f"{max(seconds, 0.0):.2f} s" if seconds < _MINUTE else span(seconds)


def span(seconds: float) -> str:
    """A longer time: `1.2 s`, `3 min 07 s`."""
    # Clocks are set back now and then; a negative time would only puzzle.
    seconds = max(seconds, 0.0)
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), int(_MINUTE))
    return f"{minutes} min {rest:02d} s"


def counted(number: int, noun: str) -> str:
    """`1 tool call`, `1,200 tokens`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def tokens(usage: Usage) -> str:
    """`12 tokens in, 3 out`, and what was cached or spent on reasoning."""
    parts = [f"{counted(usage.input_tokens, 'token')} in", f"{usage.output_tokens:,} out"]
    if usage.cached_tokens:
        parts.append(f"{usage.cached_tokens:,} cached")
    if usage.reasoning_tokens:
        parts.append(f"{usage.reasoning_tokens:,} on reasoning")
    return ", ".join(parts)


def stop(reason: str) -> str:
    """A stop reason other than `end_turn`, by its name and in words."""
    why = _WHY.get(reason)
    return f"stopped: {reason} ({why})" if why else f"stopped: {reason}"


def failure(error: ErrorInfo) -> str:
    """An error by its kind and message, what its service calls it, and whether it is worth another try."""
    ids = {"code": error.code, "request": error.request_id}
    said = [f"{name} {given}" for name, given in ids.items() if given and given not in error.message]
    if error.retryable:
        said.append("the same run may succeed later")
    note = f" ({', '.join(said)})" if said else ""
    return f"failed: {error.kind}: {error.message}{note}"
