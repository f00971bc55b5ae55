"""Making the model calls of one run: hooks, the provider's stream, what it comes to, and when it is made again."""

from __future__ import annotations

import inspect
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import anyio

from becket._gone import gone
from becket._values import clean_text
from becket._yielded import Yielded
from becket.effects import ModelAnswer
from becket.errors import BecketError, PluginError, ProtocolError, ProviderError
from becket.events import ModelStarted, RetryScheduled
from becket.providers import ModelRequest
from becket.retries import asked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from becket._alarm import Alarm
    from becket._budget import Budget
    from becket._dispatch import Dispatch
    from becket._inprocess import InProcessEffects
    from becket._outcome import Outcome
    from becket._plan import RunPlan
    from becket.events import Event, ModelEvent, ModelFinished
    from becket.turn import Turn

__all__ = ["ModelCalls"]


class ModelCalls:
    """Makes the model calls of one run.

    Args:
        plan: The agent, resolved.
        turn: The run's state.
        effects: Where events go, and where the reader is waited for.
        alarm: The run's time limits.
        dispatch: Calls the hooks; None where there are none.
        outcome: Takes the structured output; None where none is wanted.
        budget: What the run may spend; None where nothing is limited.
        stuck: Called with a name when a provider has swallowed the cancellation that its time limit sent.
        grace: Seconds that a provider has to end once it was cancelled.
    """

    __slots__ = (
        "_alarm",
        "_budget",
        "_counts",
        "_dispatch",
        "_effects",
        "_grace",
        "_kept",
        "_outcome",
        "_plan",
        "_stuck",
        "_turn",
    )

    def __init__(
        self,
        plan: RunPlan,
        turn: Turn,
        effects: InProcessEffects,
        *,
        alarm: Alarm,
        dispatch: Dispatch | None,
        outcome: Outcome | None,
        budget: Budget | None,
        stuck: Callable[[str], None],
        grace: float,
    ) -> None:
        self._plan = plan
        self._turn = turn
        self._effects = effects
        self._alarm = alarm
        self._dispatch = dispatch
        self._outcome = outcome
        self._budget = budget
        self._counts = budget is not None or bool(plan.prices)
        self._stuck = stuck
        self._grace = grace
        self._kept: dict[object, Any] = {}

    async def make(self, cycle: int) -> ModelAnswer:
        """Call the provider, again where the retry policy says so, and emit what it yields."""
        while True:
            try:
                return await self._attempt(cycle)
            except ProviderError as error:
                error.provider = error.provider or self._plan.provider.name
                delay = self._delay(error)
                if delay is None:
                    raise
                self._effects.emit(RetryScheduled(clean_text(str(error)), delay, self._turn.attempt + 1))
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
        return asked(retry, error, turn.attempt)

    async def _attempt(self, cycle: int) -> ModelAnswer:
        plan, turn = self._plan, self._turn
        key = (turn.run_id, cycle, turn.attempt + 1)
        request = ModelRequest(
            plan.model, turn.messages, plan.system_prompt, plan.specs, plan.options, key, kept=self._kept
        )
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
        self._effects.emit(ModelStarted(model, len(request.messages), tuple(spec.name for spec in request.tools)))
        answer = Yielded(f"the provider {plan.provider.name!r}", time.perf_counter())
        try:
            events = plan.provider.stream(request) if instead is None else _each(instead)
            finished = await self._pump(events, answer)
        except SystemExit as error:  # a host must not end because a plugin calls sys.exit
            name = plan.provider.name
            raise PluginError(
                f"the provider {name!r} tried to end the process: SystemExit({error})", plugin=name
            ) from error
        except Exception as error:
            name = plan.provider.name
            if why := gone(error):
                said = f"the provider {name!r} failed: {type(error).__name__}: {error}{why}"
                raise PluginError(said, plugin=name) from error
            if instead is None and not isinstance(error, BecketError):
                _note(error, f"raised by the provider {name!r}")
            raise
        if self._counts:
            self._account(finished.model or model, finished)
        self._effects.release()
        return ModelAnswer(answer.renamed(turn.answer(argument_chars=plan.limits.argument_chars)), finished)

    async def _pump(self, events: AsyncIterator[ModelEvent], answer: Yielded) -> ModelFinished:
        """Emit the deltas; this is the path of a token."""
        _check_iterator(self._plan.provider.name, events)
        emit, take = self._effects.emit if self._outcome is None else self._with_partials(self._outcome), answer.take
        with anyio.CancelScope() as scope:
            forget = self._listen(answer, scope)
            try:
                async for event in events:
                    if take(event) and not emit(event):
                        answer.held_up = True
                        await self._effects.room()
                        answer.held_up = False
            finally:
                await _close(events, self._grace)
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
            room = self._effects.emit(event)
            partial = partials.take(event)
            return room if partial is None else self._effects.emit(partial) and room

        return emit

    def _listen(self, answer: Yielded, scope: anyio.CancelScope) -> Callable[[], object]:
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
                forget = self._alarm.after(self._grace, lambda: self._stuck(f"model {self._plan.model_id!r}"))
                return
            heard = answer.taken
            forget = self._alarm.after(seconds, look)

        forget = self._alarm.after(seconds, look)
        return lambda: forget()  # noqa: PLW0108  what it names changes with every look


async def _close(events: AsyncIterator[ModelEvent], grace: float) -> None:
    """Close a provider's generator, within the grace, before anything else happens; it may be closed already."""
    if getattr(events, "ag_frame", events) is None:
        return  # a generator that has ended; asking again would cost 18 us a model call
    close = getattr(events, "aclose", None)
    if close is not None:
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + grace), suppress(ProviderError):
            await close()


def _note(error: Exception, whose: str) -> None:
    """Say whose code has raised this, unless it comes from a handler or a sink, which is called in the same place."""
    step = error.__traceback__
    while step is not None and step.tb_frame.f_globals is globals():
        step = step.tb_next
    own = "becket._" if step is None else str(step.tb_frame.f_globals.get("__name__"))
    if not own.startswith("becket._") and whose not in getattr(error, "__notes__", ()):
        error.add_note(whose)


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
