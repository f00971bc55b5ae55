"""`Effects` done in this process: nothing is journaled."""

from __future__ import annotations

import inspect
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

import anyio

from becket._calls import ToolCalls
from becket._decisions import Decisions
from becket._dispatch import Dispatch
from becket._table import NO_HOOKS
from becket._values import clean_text, to_json_value
from becket.content import MalformedArguments, Message, ToolCall
from becket.effects import ModelAnswer, PlannedCall
from becket.errors import ConfigError, PluginError, ProtocolError, ProviderError
from becket.events import (
    Event,
    ModelEvent,
    ModelFinished,
    ModelStarted,
    PluginEvent,
    ReasoningDelta,
    RetryScheduled,
    TextDelta,
    ToolCallDelta,
)
from becket.providers import ModelRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from becket._alarm import Alarm
    from becket._backend import Backend
    from becket._budget import Budget
    from becket._buffer import Buffer
    from becket._nesting import Place
    from becket._observers import Observers
    from becket._outcome import Outcome
    from becket._plan import RunPlan
    from becket.content import StopReason, ToolResult
    from becket.log import EventLog
    from becket.policies import Answer
    from becket.sinks import RunInfo, Sink
    from becket.turn import Turn

__all__ = ["GRACE", "InProcessEffects"]

GRACE: Final = 5.0
"""Seconds that a tool, a provider or a sink has to clean up once its run was cancelled."""

_MODEL_STOPS: Final = ("end_turn", "max_tokens", "stop_sequence", "content_filtered", "tool_use")

_FROM_PROVIDERS = (TextDelta, ReasoningDelta, ToolCallDelta, ModelFinished, PluginEvent)


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
        self._outcome = outcome
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
        self._counts = budget is not None or bool(plan.prices)
        self._above = above
        self._call_id = call_id
        if above is not None:
            self._put, self._append = self._put_own, self._append_nested
            self.sinks = tuple(sink for sink in plan.sinks if not above.shows(sink))
            self._callback = None if above.calls_back(self._callback) else self._callback
        self._watched = bool(self.sinks) or self._callback is not None or above is not None
        self._stop = stop
        self._stuck = stuck
        self._save = save
        self._alarm = alarm
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
        while True:
            try:
                return await self._attempt(cycle)
            except ProviderError as error:
                error.provider = error.provider or self._plan.provider.name
                delay = self._delay(error)
                if delay is None:
                    raise
                self.emit(RetryScheduled(clean_text(str(error)), delay, self._turn.attempt + 1))
            await anyio.sleep(delay)

    def _account(self, model: str, finished: ModelFinished) -> None:
        """Take down what a call of `model`, `provider:model`, has used."""
        prices, stamped = self._plan.prices, cast("Any", finished)
        if self._budget is not None and self._budget.counts_cost:
            prices.need(model)
        if (price := prices.find(model)) is not None:
            stamped.cost = price.cost(finished.usage)
        if self._budget is not None:
            self._budget.spend(finished.usage, finished.cost or 0.0)

    def _delay(self, error: ProviderError) -> float | None:
        """Seconds until the call is made again; None where it is not, as after a delta, which cannot be taken back."""
        retry, turn = self._plan.retry, self._turn
        if retry is None or turn.phase != "model" or turn.parts:
            return None
        return retry.delay(error, turn.attempt)

    async def _attempt(self, cycle: int) -> ModelAnswer:
        plan, turn = self._plan, self._turn
        key = (turn.run_id, cycle, turn.attempt + 1)
        request = ModelRequest(plan.model, turn.messages, plan.system_prompt, plan.specs, plan.options, key)
        if self._outcome is not None:
            self._outcome.ask(request)
        if self._dispatch is None:
            return await self._ask(request)
        request.system = await self._dispatch.system_prompt(request.system)
        request.messages = await self._dispatch.messages(request.messages)
        made = await self._dispatch.before_model(request)
        if isinstance(made, ModelRequest):
            answer = await self._ask(request := made)
        else:
            answer = await self._ask(request, made)
        await self._dispatch.after_model(request, answer)
        return answer

    async def _ask(self, request: ModelRequest, instead: Sequence[ModelEvent] | None = None) -> ModelAnswer:
        """The model's answer to `request`, or the one that these events are."""
        plan, turn = self._plan, self._turn
        model = plan.model_id if request.model == plan.model else f"{plan.provider.name}:{request.model}"
        self.emit(ModelStarted(model, len(request.messages), tuple(spec.name for spec in request.tools)))
        answer = _Answer(plan.provider.name, time.perf_counter())
        try:
            events = plan.provider.stream(request) if instead is None else _each(instead)
            finished = await self._pump(events, answer)
        except SystemExit as error:  # a host must not end because a plugin calls sys.exit
            name = plan.provider.name
            raise PluginError(
                f"the provider {name!r} tried to end the process: SystemExit({error})", plugin=name
            ) from error
        if self._counts:
            self._account(model, finished)
        self.release()
        return ModelAnswer(answer.renamed(turn.answer(argument_chars=plan.limits.argument_chars)), finished)

    async def _pump(self, events: AsyncIterator[ModelEvent], answer: _Answer) -> ModelFinished:
        """Emit the deltas; this is the path of a token."""
        _check_iterator(self._plan.provider.name, events)
        emit, take = self.emit if self._outcome is None else self._with_partials(self._outcome), answer.take
        with anyio.CancelScope() as scope:
            forget = self._listen(answer, scope)
            try:
                async for event in events:
                    if take(event) and not emit(event):
                        answer.held_up = True
                        await self.room()
                        answer.held_up = False
            finally:
                await _close(events)
                forget()
        if scope.cancelled_caught:
            raise ProviderError(
                f"{self._plan.model_id} sent nothing for {self._plan.limits.silence_seconds:g} s; try again, "
                f"or allow it more with Limits(silence_seconds=...)",
                retryable=True,
            )
        return answer.end()

    def _with_partials(self, outcome: Outcome) -> Callable[[Event], bool]:
        """`emit`, and after a piece of the output what has come of it so far."""
        partials = outcome.partials()

        def emit(event: Any) -> bool:
            room = self.emit(event)
            partial = partials.take(event)
            return room if partial is None else self.emit(partial) and room

        return emit

    def _listen(self, answer: _Answer, scope: anyio.CancelScope) -> Callable[[], object]:
        """Cancel `scope` when the model has sent nothing for as long as the limit allows.

        A look at a count once per period, and not a deadline moved by every delta: that would cost more than the delta.
        """
        seconds = self._plan.limits.silence_seconds
        if seconds is None:
            return _nothing
        heard = answer.taken
        forget: Callable[[], object]

        def look() -> None:
            nonlocal heard, forget
            if answer.taken == heard and not answer.held_up:
                scope.cancel()
                forget = self._alarm.after(GRACE, lambda: self._stuck(f"model {self._plan.model_id!r}"))
                return
            heard = answer.taken
            forget = self._alarm.after(seconds, look)

        forget = self._alarm.after(seconds, look)
        return lambda: forget()  # noqa: PLW0108  what it names changes with every look


async def _close(events: AsyncIterator[ModelEvent]) -> None:
    """Close a provider's generator, within the grace, before anything else happens; it may be closed already."""
    if getattr(events, "ag_frame", events) is None:
        return  # a generator that has ended; asking again would cost 18 us a model call
    close = getattr(events, "aclose", None)
    if close is not None:
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + GRACE), suppress(ProviderError):
            await close()


class _Answer:
    """What one model call has yielded, checked against the provider's contract."""

    __slots__ = ("_first", "_ids", "_provider", "_started", "_twice", "finished", "held_up", "taken")

    def __init__(self, provider: str, started: float) -> None:
        self._provider = provider
        self._started = started
        self._first: float | None = None
        self._ids: dict[tuple[int, str], str] = {}
        self._twice: dict[str, str] = {}
        self.finished: ModelFinished | None = None
        self.taken = 0
        self.held_up = False

    def take(self, event: ModelEvent) -> bool:
        """Check and clean one event. Whether it is to be emitted now.

        Raises:
            ProtocolError: It is none that a provider may yield, or comes after the end.
        """
        self.taken += 1
        kind = type(event)
        if self.finished is not None or kind not in _FROM_PROVIDERS:
            self._refuse(event)
        if self._first is None and kind is not PluginEvent:
            self._first = time.perf_counter() - self._started
        if kind is TextDelta:
            if not event.text.isascii():  # type: ignore[union-attr]
                _clean(event, "text")
            return True
        return self._take_other(event)

    def _take_other(self, event: ModelEvent) -> bool:
        match event:
            case ToolCallDelta():
                _clean(event, "call_id", "tool", "fragment")
                self._name(event)
            case ReasoningDelta():
                _clean(event, "text", "signature", "redacted")
            case PluginEvent():
                _clean(event, "plugin", "name")
                _make_json(event)
            case _:
                if event.stop_reason not in _MODEL_STOPS:  # type: ignore[union-attr]  # the one that is left
                    self._refuse(event)
                self.finished = event  # type: ignore[assignment]
                return False
        return True

    def _name(self, event: ToolCallDelta) -> None:
        """Give the call an id that no other call of this answer has: history pairs calls and results by it."""
        named = self._ids.get((event.block, event.call_id))
        if named is None:
            named = event.call_id or f"call-{len(self._ids) + 1}"
            if named in self._ids.values():
                named = f"{named}-{len(self._ids) + 1}"
                self._twice[named] = event.call_id
            self._ids[event.block, event.call_id] = named
        stamped: Any = event
        stamped.call_id = named

    def renamed(self, message: Message) -> Message:
        """`message` with each call malformed that used the id of an earlier one."""
        if not self._twice:
            return message
        return Message(message.role, tuple(self._refused(block) for block in message.content))

    def _refused(self, block: Any) -> Any:
        if not isinstance(block, ToolCall) or block.id not in self._twice:
            return block
        reason = f"the call id {self._twice[block.id]!r} was used twice in one answer; this second call was refused"
        return ToolCall(block.id, block.tool, malformed=MalformedArguments("", reason))

    def end(self) -> ModelFinished:
        """The event that ended the answer, with its times.

        Raises:
            ProtocolError: There was none: what came may be half an answer.
        """
        if self.finished is None:
            raise ProtocolError(
                f"the provider {self._provider!r} ended without a ModelFinished event: its answer may be cut off; "
                f"what came is kept in the history, marked as interrupted"
            )
        stamped: Any = self.finished
        stamped.first_token_s = self._first
        stamped.duration_s = time.perf_counter() - self._started
        return self.finished

    def _refuse(self, event: object) -> None:
        if isinstance(event, ModelFinished) and self.finished is None:
            raise ProtocolError(
                f"the provider {self._provider!r} gave the stop reason {event.stop_reason!r}, the run's to give; "
                f"a model's are {', '.join(_MODEL_STOPS)}"
            )
        if self.finished is not None:
            raise ProtocolError(f"the provider {self._provider!r} yielded {event!r} after ModelFinished, the last one")
        raise ProtocolError(
            f"the provider {self._provider!r} yielded {event!r}; a provider yields TextDelta, ReasoningDelta, "
            f"ToolCallDelta, PluginEvent, and last ModelFinished"
        )


def _check_iterator(provider: str, events: Any) -> None:
    if hasattr(events, "__aiter__"):
        return
    if inspect.iscoroutine(events):
        events.close()  # else Python warns that nobody awaited it, far from here
    raise ProtocolError(
        f"stream() of the provider {provider!r} returned {events!r}, no async iterator; "
        f"make it an async generator: async def, and yield"
    )


async def _each(events: Sequence[ModelEvent]) -> AsyncIterator[ModelEvent]:
    for event in events:
        yield event


def _nothing() -> None:
    """There is no timer to stop."""


def _clean(event: Any, *names: str) -> None:
    for name in names:
        if (text := getattr(event, name)) is not None:
            setattr(event, name, clean_text(text))


def _make_json(event: PluginEvent) -> None:
    """Make what a provider reports a JSON value, or an event of its run could not be serialised."""
    stamped: Any = event
    try:
        stamped.data = to_json_value(event.data)
    except ValueError as error:
        raise ProtocolError(f"the event {event.name!r} of {event.plugin!r} holds no JSON value: {error}") from error
