"""The port through which the loop touches the world.

The loop decides; everything it needs done goes through an `Effects`. Here that is done in the process
(`becket._inprocess`); an engine that journals each effect can implement the same port, and the same loop then survives
its process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from becket.content import Message, StopReason, ToolCall, ToolResult
    from becket.events import Event, ModelFinished

__all__ = ["CallKey", "Effects", "ModelAnswer", "PlannedCall"]

CallKey: TypeAlias = tuple[str, int, int, str]
"""Run id, cycle, index, call id: names one tool call in every execution of its run, and holds no attempt."""


@dataclass(slots=True)
class ModelAnswer:
    """What a model call came to.

    Attributes:
        message: The assembled message.
        finished: Stop reason, usage and times.
    """

    message: Message
    finished: ModelFinished


@dataclass(slots=True)
class PlannedCall:
    """A tool call about to be made: its key, and the call with its final arguments, or a result that stands for it."""

    key: CallKey
    call: ToolCall
    instead: ToolResult | None = None


class Effects(Protocol):
    """What the loop asks of the world.

    Attributes:
        ending: Why the run is to end early, or None.
    """

    @property
    def ending(self) -> StopReason | None:
        """Why the run is to end early, or None: `cancelled`, `limit_time`, or a budget that is used up.

        Budgets are the run's own and those of the runs that it is nested in. Looked at before a model call and before
        the tool calls of a cycle; a tool call that a budget forbids within a cycle gets an `interrupted` result.
        """
        ...

    async def call_model(self, cycle: int, length: int) -> ModelAnswer:
        """Call the model of the run with the first `length` messages of its history.

        Emits `model_started`, the deltas, and what retries there are. The key of the call is (run, cycle, "model").

        Raises:
            ProviderError: The model service refused or failed.
            ProtocolError: The provider broke its contract.
        """
        ...

    async def decide(self, planned: PlannedCall) -> PlannedCall:
        """The call as it is to be made: rewritten, approved, or answered without being made."""
        ...

    async def call_tools(self, planned: Sequence[PlannedCall]) -> list[ToolResult]:
        """Make the tool calls of one cycle, together or in order; the results are in the order of the calls.

        Emits `tool_started`, `tool_progress` and `tool_finished` as they happen, and `retry_scheduled` where a call is
        made again. That, and making a call a second time when a run is resumed in the middle of it, is only for a tool
        that is `idempotent`, and under the same key; any other call that was begun and has no result gets an
        `interrupted` one.
        """
        ...

    def emit(self, event: Event) -> bool:
        """Fold `event` into the state, stamp it, log it, show it to the sinks, and hand it to the reader.

        Never waits, so that a cancellation cannot tear an event. False means that the reader is behind: await `room`.

        Raises:
            ProtocolError: The event has no place in the run now; nothing has happened then.
        """
        ...

    async def room(self) -> None:
        """Wait until the reader, and every sink that may hold the run up, has caught up. Always a checkpoint."""
        ...

    def now(self) -> float:
        """Seconds since the epoch."""
        ...
