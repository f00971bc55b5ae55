"""`Effects` done in this process: nothing is journaled."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from becket._calls import ToolCalls
from becket._decisions import Decisions
from becket._dispatch import Dispatch
from becket._models import ModelCalls
from becket._table import NO_HOOKS
from becket.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from becket._alarm import Alarm
    from becket._backend import Backend
    from becket._budget import Budget
    from becket._buffer import Buffer
    from becket._nesting import Place
    from becket._observers import Observers
    from becket._outcome import Outcome
    from becket._plan import RunPlan
    from becket.content import StopReason, ToolResult
    from becket.effects import ModelAnswer, PlannedCall
    from becket.events import (
        Event,
    )
    from becket.log import EventLog
    from becket.policies import Answer
    from becket.sinks import RunInfo, Sink
    from becket.turn import Turn

__all__ = ["GRACE", "InProcessEffects"]

GRACE: Final = 5.0
"""Seconds that a tool, a provider or a sink has to clean up once its run was cancelled."""


class InProcessEffects:
    """The effects of one run.

    Attributes:
        stopped: Why the run was cancelled, or None.
        failure: The exception that it is to fail with, which arose outside of its tasks; or None.
        calls: Its tool calls.
        log: Its events; those of the root's, where it is nested.
        sinks: What observes it, and not the run above as well.
    """

    def __init__(
        self,
        plan: RunPlan,
        turn: Turn,
        info: RunInfo,
        *,
        context: object,
        backend: Backend,
        alarm: Alarm,
        buffer: Buffer,
        log: EventLog,
        observers: Observers,
        stop: Callable[[], None],
        stuck: Callable[[str], None],
        place: Callable[[str], Place],
        budget: Budget | None,
        above: InProcessEffects | None,
        call_id: str | None,
        save: Callable[[], Awaitable[None]] | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        self._plan = plan
        self._turn = turn
        self._run_id = turn.run_id
        self._buffer = buffer
        self._put = buffer.put
        self._append = log.append
        self.log = log
        self.sinks = plan.sinks
        self._observers = observers
        self._callback = plan.callback_handler
        self._budget = budget
        self._above = above
        self._call_id = call_id
        if above is not None:
            self._put, self._append = self._put_own, self._append_nested
            self.sinks = tuple(sink for sink in plan.sinks if not above.shows(sink))
            self._callback = None if above.calls_back(self._callback) else self._callback
        self._watched = bool(self.sinks) or self._callback is not None or above is not None
        self._stop = stop
        self._save = save
        self.stopped: StopReason | None = None
        self.failure: Exception | None = None
        self._dispatch: Dispatch | None = None
        self._decisions: Decisions | None = None
        if plan.hooks is not NO_HOOKS or len(plan.free) < len(plan.tools):
            self._dispatch = Dispatch(
                plan,
                turn,
                info,
                context=context,
                backend=backend,
                alarm=alarm,
                emit=self.emit,
                stuck=stuck,
                grace=GRACE,
            )
            self._decisions = Decisions(plan, self._dispatch, emit=self.emit, now=self.now)
        self._models = ModelCalls(
            plan,
            turn,
            self,
            alarm=alarm,
            dispatch=self._dispatch,
            outcome=outcome,
            budget=budget,
            stuck=stuck,
            grace=GRACE,
        )
        self.calls = ToolCalls(
            plan.tools,
            self,
            backend=backend,
            alarm=alarm,
            threads=plan.threads,
            seconds=plan.limits.tool_seconds,
            agent=plan.agent,
            context=context,
            stuck=lambda name: stuck(f"tool {name!r}"),
            over=lambda: turn.phase == "done",
            after=self._dispatch.after_tool if self._dispatch is not None and plan.hooks.after_tool_call else None,
            fail=self.fail,
            grace=GRACE,
            place=place,
            budget=budget,
            retry=plan.retry,
        )

    @property
    def is_nested(self) -> bool:
        """Whether its events are in the log of a run above."""
        return self._above is not None

    @property
    def ending(self) -> StopReason | None:
        """Why the run is to end early, or None: it was cancelled, or a budget is used up."""
        if self.stopped is not None or self._budget is None:
            return self.stopped
        return self._budget.reached()

    def emit(self, event: Event) -> bool:
        """Fold, stamp, log, show and hand over `event`; see `Effects.emit`."""
        turn = self._turn
        turn.receive(event)
        stamped: Any = event
        stamped.run_id = self._run_id
        stamped.time = time.time()
        if turn.phase != "done":
            stamped.cycle = turn.cycle
            stamped.attempt = turn.attempt or (1 if turn.cycle else 0)
        if not self._append(event):
            return True
        return self._show(event) if self._watched else self._put(event)

    def release(self) -> None:
        """Emit what was held back of deltas, as masks do: the message is made of what is folded."""

    def _show(self, event: Event) -> bool:
        """Show `event` to the sinks and the callback handler, and hand it over, and upwards, whatever they do."""
        observers, room = self._observers, True
        own = event.run_id == self._run_id
        try:
            room = observers.show(event)
            if self._callback is not None and (view := event._view() if own else event._nested_view()):  # noqa: SLF001  the mapping face without a copy
                self._callback(**view)
        finally:
            room = (self._put if own else self._buffer.put)(event) and room
            if self._above is not None:
                room = self._above.take_in(event) and room
        while observers.failed:
            self.emit(observers.failed.pop(0))
        return room

    # -- nested runs -----------------------------------------------------------------------------------------------

    def _append_nested(self, event: Event) -> bool:
        stamped: Any = event
        stamped.parent_run_id, stamped.parent_call_id = self._above._run_id, self._call_id  # type: ignore[union-attr]  # noqa: SLF001  its own kind
        return self.log.append(event)

    def _put_own(self, event: Event) -> bool:
        return not self._buffer.closed and self._buffer.put(event.as_own())

    def take_in(self, event: Event) -> bool:
        """Show and hand over the event of a nested run. What fails at that fails this run, and not the nested one."""
        try:
            return self._show(event) if self._watched else self._buffer.put(event)
        except Exception as error:  # noqa: BLE001  a callback handler or a required sink, whatever it raised
            self.fail(error)
            return False

    def shows(self, sink: Sink) -> bool:
        """Whether `sink` observes this run, by itself or through the run above."""
        return any(sink is own for own in self.sinks) or (self._above is not None and self._above.shows(sink))

    def calls_back(self, handler: Callable[..., Any] | None) -> bool:
        """Whether `handler` is called with the events of this run."""
        return self._callback is handler or (self._above is not None and self._above.calls_back(handler))

    # -- the rest of the port --------------------------------------------------------------------------------------

    def fail(self, error: Exception) -> None:
        """End the run with `error`, which was raised where none of its tasks was there to raise at."""
        self.failure = self.failure or error
        self._stop()

    async def room(self) -> None:
        """Wait for the readers and the sinks."""
        await self._buffer.room()
        await self._observers.room()
        if self._above is not None:
            await self._above.caught_up()
        await self.flush()
        if self._save is not None:
            await self._save()
        if (fatal := self._observers.fatal()) is not None:
            raise fatal

    async def caught_up(self) -> None:
        """Wait for the readers and the sinks, for a nested run: what has failed here is not its own."""
        await self._buffer.room()
        await self._observers.room()
        if self._above is not None:
            await self._above.caught_up()

    async def flush(self) -> None:
        """Wait until what was logged lasts."""
        await self.log.flush()

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    async def decide(self, planned: PlannedCall) -> PlannedCall:
        """The call as it is to be made."""
        if self._decisions is None or planned.call.tool in self._plan.free:
            return planned
        return await self._decisions.decide(planned)

    def asks(self, request_id: str) -> bool:
        """Whether the run waits for the reader's answer to this request."""
        return self._decisions is not None and self._decisions.waits(request_id)

    def answer(self, request_id: str, answer: Answer | bool) -> None:
        """Take the reader's answer to a request.

        Raises:
            ConfigError: There is no such open request, or it is no answer.
        """
        if self._decisions is None:
            raise ConfigError(f"there is no open request {request_id!r} in this run: nothing in it asks")
        self._decisions.answer(request_id, answer)

    async def call_tools(self, planned: Sequence[PlannedCall]) -> list[ToolResult]:
        """Make the calls of one cycle."""
        return await self.calls.make(planned)

    async def call_model(self, cycle: int, length: int) -> ModelAnswer:  # noqa: ARG002  the history is here, and as long
        """Call the provider, again where the retry policy says so, and emit what it yields."""
        return await self._models.make(cycle)
