"""Tools that most agents want: `calculator` and `current_time`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from becket import hookimpl, tool

if TYPE_CHECKING:
    from becket import Tool

__all__ = ["calculator", "current_time", "register_tools"]

# The docstrings below are what a model is told, word for word. They were chosen by trying over 100 on a small model:
# with examples in them it miscopied the question, and with `timezone` described it tended to answer "hello" by a call.
# The README tells people more. The imports are inside the functions, so that a run that calls neither does not pay.


@tool(effect="none", reach="local", idempotent=True)
def calculator(expression: str) -> str:
    """Calculate a math expression: + - * / ** sqrt sin log.

    Args:
        expression: The full expression, with numbers, + - * / and parentheses.
    """
    from becket_tools._calculate import calculate

    return calculate(expression)


# "read", not "none": it reads the clock, so that two calls differ and a recorded answer is not the answer of today.
@tool(effect="read", reach="local", idempotent=True)
def current_time(timezone: str = "") -> str:
    """Get the current time and date of a city, country or time zone."""
    from datetime import UTC, datetime

    from becket_tools._clock import describe

    return describe(datetime.now(UTC), timezone)


@hookimpl
def register_tools() -> list[Tool[..., Any]]:
    """Both tools."""
    return [calculator, current_time]
