"""What a run may spend, the runs nested in it included."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from becket.content import StopReason, Usage
    from becket.options import Limits

__all__ = ["Budget"]

_lock = threading.Lock()  # a run that is started in a sync tool spends in another thread


class Budget:
    """What one run, and those nested in it, have spent, and the limits that hold it.

    The tokens, the cost and the tool calls of a run count for every run above it. Each is checked before each call, so
    that what goes on at the same time may take a limit over by one call each.

    Attributes:
        tokens: Input and output tokens of the model calls.
        cost: What they cost, in the currency of the prices.
        tool_calls: Tool calls begun.
    """

    __slots__ = ("_above", "_limits", "_refused", "cost", "tokens", "tool_calls")

    def __init__(self, limits: Limits, above: Budget | None = None) -> None:
        self._limits = limits
        self._above = above
        self._refused = False
        self.tokens = 0
        self.cost = 0.0
        self.tool_calls = 0

    @classmethod
    def of(cls, limits: Limits, above: Budget | None) -> Budget | None:
        """The budget of a run: its own, that of the run above where it adds none, None where nothing is limited."""
        if limits.tokens is limits.tool_calls is limits.cost is None:
            return above
        return cls(limits, above)

    @property
    def counts_cost(self) -> bool:
        """Whether one of the limits is on the cost."""
        return any(at._limits.cost is not None for at in self._chain())  # noqa: SLF001  its own kind

    def spend(self, usage: Usage, cost: float) -> None:
        """Take down what a model call has used."""
        with _lock:
            for at in self._chain():
                at.tokens += usage.total_tokens
                at.cost += cost

    def take_call(self) -> StopReason | None:
        """Take down a tool call that is about to be made. The limit that forbids it, or None."""
        with _lock:
            for at in self._chain():
                most = at._limits.tool_calls  # noqa: SLF001  its own kind
                at._refused = at._refused or (most is not None and at.tool_calls >= most)  # noqa: SLF001  as above
            if (reason := self.reached()) is None:
                for at in self._chain():
                    at.tool_calls += 1
            return reason

    def reached(self) -> StopReason | None:
        """The limit, the run's own or that of one above, that forbids another call; None where none does."""
        return next((reason for at in self._chain() if (reason := at._own()) is not None), None)  # noqa: SLF001  as above

    def _own(self) -> StopReason | None:
        limits = self._limits
        if limits.tokens is not None and self.tokens >= limits.tokens:
            return "limit_tokens"
        if limits.cost is not None and self.cost >= limits.cost:
            return "limit_cost"
        return "limit_tool_calls" if self._refused else None

    def _chain(self) -> Iterator[Budget]:
        at: Budget | None = self
        while at is not None:
            yield at
            at = at._above  # noqa: SLF001  its own kind
