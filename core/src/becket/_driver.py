"""The driver of a run: the task that it lives in, which owns every scope and task group."""

from __future__ import annotations

import math
import os
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from becket import _plan
from becket._alarm import Alarm
from becket._backend import current_backend
from becket._budget import Budget
from becket._buffer import Buffer, NoBuffer
from becket._calls import unwrap
from becket._follow import LogReader
from becket._inprocess import GRACE, InProcessEffects
from becket._log import logger
from becket._nesting import Place, check_depth, current_place, inherited, mark
from becket._observers import Observers
from becket.errors import ConfigError
from becket.events import ErrorInfo, RunStarted
from becket.loop import run
from becket.sinks import RunInfo
from becket.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from becket._backend import Backend, Gate
    from becket._plan import RunPlan
    from becket._sessions import SessionRun
    from becket.content import Message, StopReason
    from becket.events import Event
    from becket.log import EventLog
    from becket.policies import Answer
    from becket.runtime import Runtime

__all__ = ["Driver"]


class Driver:
    """One run, and the task it lives in.

    Attributes:
        turn: Its state.
        state: `new`, `running` or `over`.
        buffer: What the reader has not taken.
        output: The structured output as a Python value, from the end of a run that has come to one; else None.
        parent: Where in another run this one was started, or None.
        children: The runs that were started in this one and go on.
        budget: What it may spend; None where nothing is limited.
    """

    __slots__ = (
        "_abandoned",
        "_alarm",
        "_backend",
        "_closed",
        "_context",
        "_effects",
        "_failure",
        "_finished",
        "_leaving",
        "_log",
        "_observers",
        "_outcome",
        "_place",
        "_plan",
        "_prompt",
        "_reader",
        "_runtime",
        "_scope",
        "_session",
        "_session_id",
        "budget",
        "buffer",
        "children",
        "output",
        "parent",
        "state",
        "turn",
    )

    _alarm: Alarm
    _backend: Backend
    _effects: InProcessEffects
    _observers: Observers
    _scope: anyio.CancelScope
    _finished: anyio.Event

    def __init__(
        self,
        plan: RunPlan,
        runtime: Runtime,
        prompt: tuple[Message, ...],
        *,
        history: list[Message],
        context: object,
        session: SessionRun | None = None,
        detach: bool = False,
        log: EventLog | None = None,
    ) -> None:
        self.turn = Turn(os.urandom(16).hex(), history)
        self.state: Literal["new", "running", "over"] = "new"
        self.buffer = NoBuffer() if detach else Buffer()
        self._log = log
        self._plan = plan
        self._runtime = runtime
        self._prompt = prompt
        self._context = context
        self._session = session
        self._session_id = None if session is None else session.session_id
        self._outcome = None if plan.output is None else plan.output.begin()
        self.output: Any = None
        self._failure: BaseException | None = None
        self._place: Place | None = None
        self._closed = False
        self._abandoned = False
        self._leaving = False
        self.parent: Place | None = None
        self.children: set[Driver] = set()
        self.budget: Budget | None = None
        self._reader = LogReader(self, 0) if detach else None

    @property
    def plan(self) -> RunPlan:
        """The agent, resolved."""
        return self._plan

    @property
    def info(self) -> RunInfo:
        """The run, as sinks are told of it."""
        return RunInfo(self.turn.run_id, self._plan.agent, self._plan.model_id, self._session_id)

    # -- the reader's side -----------------------------------------------------------------------------------------

    async def next(self) -> Event:
        """Wait for the next event."""
        if not await self._waited():
            raise StopAsyncIteration
        if self._reader is not None:
            return await anext(self._reader)
        event = self.buffer.items.popleft()
        self.buffer.taken()
        return event

    async def read(self, most: int) -> list[Event]:
        """Wait for events; none where the run is over."""
        return self.ready(most) if await self._waited() else []

    def ready(self, most: int) -> list[Event]:
        """The events that are there."""
        if self._reader is not None:
            return [] if self._closed else self._reader.ready(most)
        items = self.buffer.items
        if len(items) <= most:
            events = list(items)
            items.clear()
        else:
            events = [items.popleft() for _ in range(most)]
        if events:
            self.buffer.taken()
        return events

    def unread(self, events: list[Event]) -> None:
        """Take back events that were read last."""
        if self._reader is not None:
            self._reader.unread(events)
        elif not self._closed:
            self.buffer.put_back(events)

    async def _waited(self) -> bool:
        """Wait until there is an event. False where there will be none.

        Raises:
            Exception: Whatever ended the run.
        """
        if self.state == "new":
            self.start()
        if self._closed:
            return False
        if self._reader is not None:
            events = await self._reader.read()
            if events and not self._closed:
                self._reader.unread(events)
                return True
        else:
            await self.buffer.wait()
            # On asyncio a scope's cancellation passes over a task whose future is done, as it always is where the run
            # is faster than the reader. Before anything is taken, so that no event is lost.
            await checkpoint_if_cancelled()
            if self.buffer.items:
                return True
        failure, self._failure = self._failure, None
        if failure is None or self._closed:
            return False
        try:
            raise failure
        finally:
            del failure  # the traceback would hold the exception that holds it

    async def close(self, grace: float) -> None:
        """End the run and the reading of it; of a run that is detached, the reading alone."""
        self._closed = True
        if self.state == "new":
            self._leaving = True
            self.state = "over"
            return
        if self._reader is not None:
            self._backend.post(self._reader.leave)
            return
        self._leaving = True
        self.buffer.drop()
        if self.state == "over":
            return
        self.cancel("cancelled", grace)
        if not self._is_inside() and self._backend.here():
            with anyio.CancelScope(shield=True):
                await self._finished.wait()  # bounded: `cancel` has set a timer

    def dropped(self) -> None:
        """Nobody holds the handle. Called in any thread, in the middle of anything: only posts."""
        if self._reader is not None:
            return
        self._leaving = True
        self._backend.post(self._drop)

    def _drop(self) -> None:
        self.buffer.drop()
        self.cancel("cancelled")

    @property
    def leaving(self) -> bool:
        """Whether the run is about to be over: its end was asked for, or its terminal event is out."""
        return self._leaving or self.turn.phase == "done"

    @property
    def gone(self) -> bool:
        """Whether the run is over, or can never be, since its event loop was closed."""
        return self.state == "over" or not self._backend.post(_nothing)

    def _is_inside(self) -> bool:
        """Whether the caller works for this run, or for one that was started in it."""
        place = current_place()
        return place is not None and any(at.run is self for at in place.above())

    def decide(self, request_id: str, answer: Answer | bool) -> None:
        """Answer a request of the run; see `AgentStream.decide`."""
        if self.state != "running":
            raise ConfigError(f"there is no open request {request_id!r}: the run {self.turn.run_id} does not go on")
        if not self._backend.here():
            raise RuntimeError("a decision is made on the event loop that the run lives in; call decide from there")
        asking = next((run for run in self.below() if run.effects.asks(request_id)), self)
        asking.effects.answer(request_id, answer)

    def below(self) -> Iterator[Driver]:
        """This run, and those nested in it."""
        yield self
        for child in tuple(self.children):
            if child.is_here():
                yield from child.below()

    # -- ending ----------------------------------------------------------------------------------------------------

    def cancel(self, reason: StopReason, grace: float = GRACE) -> None:
        """Cancel the run; it then has `grace` seconds to clean up. From any thread; the first reason stands."""
        if self.state != "running":
            return
        self._leaving = True
        if not self._backend.here():
            self._backend.post(lambda: self.cancel(reason, grace))
            return
        if self._effects.stopped is None:
            self._effects.stopped = reason
        self._interrupt(grace)

    def _interrupt(self, grace: float = GRACE) -> None:
        self._scope.cancel()
        self._alarm.after(grace, self._abandon)
        for child in tuple(self.children):
            child.cancel(self._effects.stopped or "cancelled", grace)

    async def ended(self) -> None:
        """Wait until the run is over; on the event loop that it lives on."""
        await self._finished.wait()

    def gate(self) -> Gate:
        """A place to wait at, on the event loop that the run lives in.

        Raises:
            RuntimeError: The caller runs on another one.
        """
        if not self._backend.here():
            raise RuntimeError("a run is followed on the event loop that it lives in; call this from there")
        return self._backend.gate()

    @property
    def begun(self) -> bool:
        """Whether it has a log: it was started, and not closed before that."""
        return self.state == "running" or self.turn.phase != "new"

    @property
    def nested(self) -> bool:
        """Whether its events are in the log of a run above."""
        return self._effects.is_nested

    def is_here(self) -> bool:
        """Whether the run lives on the event loop of the caller."""
        return self._backend.here()

    def is_ending(self) -> bool:
        """Whether the run has been cancelled."""
        return self._effects.stopped is not None or self._effects.failure is not None

    def give_up(self) -> None:
        """The run above is at its end: end this one as well, now where it lives on the same event loop."""
        if self.is_here():
            self._abandon()
        else:
            self.cancel("cancelled")

    @property
    def effects(self) -> InProcessEffects:
        """Its effects, once it has started."""
        return self._effects

    def _stuck(self, what: str) -> None:
        """A tool, or a model, has swallowed the cancellation that its time limit sent: the run cannot go on past it."""
        self._effects.failure = self._effects.failure or TimeoutError(
            f"the {what} did not end when its time limit cancelled it; it is left behind"
        )
        self._abandon()

    def _abandon(self) -> None:
        """The time for cleaning up is over: end the run from outside, and leave its task to itself."""
        if self._abandoned:
            return
        self._abandoned = True
        running = sorted(self._effects.calls.running.values())
        rest = "its log or its sinks" if self.turn.need == "nothing" else f"the model {self._plan.model_id}"
        if self._session is not None and self._session.storing:
            rest = "its session store"
        logger.error(
            "run %s did not end when it was cancelled; left behind: %s",
            self.turn.run_id,
            ", ".join(f"tool {name!r}" for name in running) or rest,
        )
        self._settle(self._effects.failure)
        self._scope.cancel()
        if self._session is None:
            self._over()
        else:
            keep = partial(self._keep, self._session)
            self._backend.spawn(keep, f"becket run {self.turn.run_id}, its session", self._over)

    # -- the driver ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the run in the event loop that the caller runs in; nothing happens where it is started already.

        Raises:
            ToolError: It would be nested too deep.
            ConfigError: A run above limits the cost, and this one's model has no price.
        """
        if self.state != "new":
            return
        place = current_place()
        above = self._enter(place)
        self._backend = current_backend()
        self._alarm = Alarm(self._backend)
        self.buffer.gate = self._backend.gate()
        self._scope = anyio.CancelScope()
        self._finished = anyio.Event()
        self._observers = Observers()
        if _plan.stand_in is not None:
            self._plan = _plan.stand_in(self._plan, self.turn.run_id, self.parent is not None)
        info = self.info
        self._effects = _effects(self._plan)(
            self._plan,
            self.turn,
            info,
            context=self._context,
            backend=self._backend,
            alarm=self._alarm,
            buffer=self.buffer,
            log=self._log_of(above),
            observers=self._observers,
            stop=self._interrupt,
            stuck=self._stuck,
            save=None if self._session is None else self._session.save,
            outcome=self._outcome,
            place=lambda call_id: Place(self, call_id),
            budget=self.budget,
            above=above,
            call_id=None if place is None else place.call_id,
        )
        self.state = "running"
        if place is not None:
            place.run.children.add(self)
        if self._session is not None:
            self._effects.failure = self._session.enter(self, self.turn.run_id)
        tasks = self._runtime.home(self)
        if tasks is None:
            self._backend.spawn(self._main, f"becket run {self.turn.run_id}", self._ended)
        else:
            tasks.start_soon(self._main, name=f"becket run {self.turn.run_id}")
        if self._plan.limits.seconds is not None:
            expire = lambda: self.cancel("limit_time")  # noqa: E731  a callback of one line
            self._alarm.after(self._plan.limits.seconds, expire)
        if place is not None and place.run.is_ending():
            self.cancel(place.run.effects.stopped or "cancelled")

    def _log_of(self, above: InProcessEffects | None) -> EventLog:
        if above is not None:
            return above.log
        return self._plan.make_log(self.info) if self._log is None else self._log

    def _enter(self, place: Place | None) -> InProcessEffects | None:
        """Take this run's place among others, and what it may spend. The effects of the run that it is nested in."""
        if place is None:
            self.budget = Budget.of(self._plan.limits, None)
            return None
        check_depth(place)
        plan = inherited(self._plan, place)
        budget = Budget.of(plan.limits, place.run.budget)
        if budget is not None and budget.counts_cost:
            for model in plan.priced:
                plan.prices.need(model)
        self.parent, self.budget, self._plan = place, budget, plan
        return place.run.effects if place.nests() else None

    async def _main(self) -> None:
        """The driver's task. Lets no exception out but a cancellation that the loop itself has sent."""
        self._place = mark(self)
        try:
            if self._effects.sinks:
                await self._observed()
            else:
                await self._drive()
        finally:
            try:
                if not self._abandoned:
                    await self._flush()
            finally:
                if not self._abandoned:  # else this task is a leftover, and the run ends without it
                    self._over()

    async def _flush(self) -> None:
        """Let the log make the end of the run last, within the grace, before the reader is told that it is over."""
        try:
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + GRACE) as scope:
                await self._effects.flush()
            if scope.cancelled_caught:
                raise TimeoutError(f"the log of the run {self.turn.run_id} did not make its end last in {GRACE:g} s")  # noqa: TRY301  as what the log itself raises
        except Exception as error:  # noqa: BLE001  the record of the run is not whole: its reader must know
            self._failure = self._failure or error
        if self._session is None:
            return
        if not self._backend.here():  # thrown away: its event loop was closed in the middle of the run
            logger.error("run %s: its event loop was closed; its last cycle is not in its session", self.turn.run_id)
            return
        forget = self._alarm.after(2 * GRACE, self._abandon)  # for a store that swallows its cancellation
        await self._keep(self._session)
        forget()

    async def _keep(self, session: SessionRun) -> None:
        """Store what the session does not have yet. Where that fails, the reader must know."""
        failure = await session.finish()
        if failure is not None and self._failure is not None:
            self._failure.add_note(str(failure))
        self._failure = self._failure or failure

    async def _observed(self) -> None:
        """The run with its sinks, which are open from before its first event until after its last."""
        try:
            self._observers.open(self._effects.sinks, self.info)
        except Exception as error:  # noqa: BLE001  a required sink: the run fails with it
            self._effects.failure = error
        if not self._observers.has_tasks:
            await self._drive_and_close()
            return
        async with anyio.create_task_group() as tasks:
            self._observers.start(tasks)
            await self._drive_and_close()

    async def _drive_and_close(self) -> None:
        try:
            await self._drive()
        finally:
            await self._observers.close(GRACE)
            self._failure = self._failure or self._observers.fatal()

    async def _drive(self) -> None:
        failure: BaseException | None = None
        try:
            with self._scope:
                if self._effects.failure is None:
                    if self._session is not None:
                        self._prompt = await self._session.load(self.turn, self._prompt)
                    await run(self.turn, self._effects, self._started(), self._plan.limits, self._outcome)
                    self.output = None if self._outcome is None else self._outcome.value
        except Exception as error:  # noqa: BLE001  whatever it is: the reader gets it
            failure = unwrap(error)
        except BaseException as error:
            failure = unwrap(error)
            if isinstance(failure, (anyio.get_cancelled_exc_class(), GeneratorExit)):
                self._settle(self._effects.failure)
                raise
        self._settle(failure or self._effects.failure)

    def _started(self) -> RunStarted:
        return RunStarted(self._plan.agent, self._plan.model_id, self._prompt, self._session_id)

    def _settle(self, failure: BaseException | None) -> None:
        """Bring the run to its terminal event, without waiting; before that, those that still go on in it to theirs."""
        for child in tuple(self.children):
            child.give_up()
        if self.turn.phase == "new":  # it was ended before it could begin
            try:
                self._effects.emit(self._started())
            except Exception as error:  # noqa: BLE001  as below
                failure = failure or error
        try:
            self._effects.release()
        except Exception as error:  # noqa: BLE001  as below
            failure = failure or error
        left = math.inf
        while (events := self.turn.close(self._reason(failure))) and len(events) < left:
            left = len(events)
            try:
                self._effects.emit(events[0])
            except Exception as error:  # noqa: BLE001  a callback handler or a required sink: the run fails with it
                failure = failure or error
        self._failure = failure or self._failure

    def _reason(self, failure: BaseException | None) -> StopReason | ErrorInfo:
        return ErrorInfo.of(failure) if failure is not None else self._effects.stopped or "cancelled"

    def _over(self) -> None:
        """The run is over and cleaned up: the reader may have its end."""
        if self.state == "over":
            return
        self.state, self._place = "over", None
        if self.parent is not None:
            self.parent.run.children.discard(self)
            self.parent = None  # who keeps the handle of this run must not keep the one above
        self._alarm.close()
        self._runtime.leave(self)
        if self._session is not None:
            self._session.leave()
        self.buffer.close()
        self._finished.set()

    def _ended(self) -> None:
        """The task is over; where the loop was closed before its first step, nothing of `_main` has run."""
        self._over()


def _nothing() -> None:
    """Is only posted to see whether an event loop still takes calls."""


def _effects(plan: RunPlan) -> type[InProcessEffects]:
    if not plan.masks:
        return InProcessEffects
    from becket._masking import MaskedEffects

    return MaskedEffects
