"""A model that says what a script tells it to, and sinks that keep what they see."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from becket.content import Usage
from becket.errors import ConfigError
from becket.events import ModelEvent, ModelFinished, TextDelta, ToolCallDelta
from becket.providers import ModelInfo, ModelRequest

if TYPE_CHECKING:
    from becket._values import JsonValue
    from becket.events import Event
    from becket.sinks import Overflow, RunInfo

__all__ = ["BatchListSink", "ListSink", "Script", "ScriptedProvider", "Step", "calls", "copied", "text"]

Step: TypeAlias = ModelEvent | BaseException | Callable[[], Awaitable[object]]
"""An event to yield, an exception to raise, or a function to await before going on."""

Script: TypeAlias = Sequence[Step] | Callable[[ModelRequest], Iterable[Step]]
"""The steps of one model call, or a function that makes them from the request."""


def text(*pieces: str, stop: ModelFinished | None = None) -> list[Step]:
    """The script of an answer that comes in these pieces and ends the turn."""
    return [*(TextDelta(piece) for piece in pieces), stop or ModelFinished("end_turn", Usage(10, len(pieces)))]


def calls(*wanted: tuple[str, dict[str, JsonValue]], prefix: str = "call") -> list[Step]:
    """The script of an answer that asks for these tools with these arguments; the ids are `call-1`, `call-2`, ..."""
    deltas = [
        ToolCallDelta(f"{prefix}-{number}", name, json.dumps(arguments), number)
        for number, (name, arguments) in enumerate(wanted, start=1)
    ]
    return [*deltas, ModelFinished("tool_use", Usage(10, len(deltas)))]


class ScriptedProvider:
    """A model that follows a script, so that the loop around it can be tested: real events, real timing, no network.

    It takes one script per model call, in order, for each run anew. A run that asks for more than the scripts there
    are gets the last one again. Events in a script are copied, so a script may serve many runs.

    Args:
        scripts: The script of the first model call of a run, of the second, and so on.
        name: The provider's name.
        model: Its default model.
        schema: Whether the model can be held to a JSON schema; its scripts then give structured output as text.

    Attributes:
        requests: Every request it was given, in order; `requests[0].messages` shows the history as it is now.
        open: Streams that were begun and are not closed.
    """

    def __init__(self, *scripts: Script, name: str = "scripted", model: str = "model", schema: bool = False) -> None:
        if not scripts:
            raise ConfigError("ScriptedProvider needs a script; ScriptedProvider(text('hello')) is the shortest")
        self.name = name
        self.default_model: str | None = model
        self.requests: list[ModelRequest] = []
        self.open = 0
        self._scripts = scripts
        self._schema = schema

    def models(self) -> Sequence[ModelInfo]:
        """The one model."""
        return [ModelInfo(self.default_model or "", "follows a script")]

    def takes_schema(self, model: str, /, *, with_tools: bool) -> bool:  # noqa: ARG002  one model, with tools or without
        """Whether the mode `schema` was asked for."""
        return self._schema

    async def stream(self, request: ModelRequest, /) -> AsyncIterator[ModelEvent]:
        """Follow the script of this call."""
        self.requests.append(request)
        script = self._scripts[min(request.key[1], len(self._scripts)) - 1]
        self.open += 1
        try:
            for step in script(request) if callable(script) else script:
                if isinstance(step, BaseException):
                    raise step
                if callable(step):
                    await step()
                else:
                    yield copied(step)
        finally:
            self.open -= 1

    async def aclose(self) -> None:
        """Nothing is kept."""


def copied(event: ModelEvent) -> ModelEvent:
    """The same event, unstamped: a provider gives each event up once."""
    rebuild, (cls, own) = event.__reduce__()
    copied: ModelEvent = rebuild(cls, own)
    return copied


class ListSink:
    """A sink that keeps the events of every run.

    Args:
        name: The sink's name.
        required: Whether a run must fail when it does.
        fail: Called with each event before it is kept; what it raises, the sink raises.

    Attributes:
        events: The events, in the order in which they were seen.
        opened: The runs it was opened for.
        closed: How many of them are closed.
    """

    def __init__(
        self, name: str = "list", *, required: bool = False, fail: Callable[[Event], object] | None = None
    ) -> None:
        self.name = name
        self.required = required
        self.events: list[Event] = []
        self.opened: list[RunInfo] = []
        self.closed = 0
        self._fail = fail

    def open(self, run: RunInfo, /) -> ListSink:
        """Itself: it keeps the events of all runs together."""
        self.opened.append(run)
        return self

    def with_argument(self, argument: str, /) -> ListSink:
        """Take no argument."""
        raise ConfigError(f"the sink {self.name!r} takes no argument, and was given {argument!r}")

    def emit(self, event: Event, /) -> None:
        """Keep `event`."""
        if self._fail is not None:
            self._fail(event)
        self.events.append(event)

    def close(self) -> None:
        """Count a run that is over."""
        self.closed += 1

    @property
    def types(self) -> list[str]:
        """The types of the events, in order."""
        return [event.type for event in self.events]


class BatchListSink:
    """A sink that keeps the events of every run, and takes them in batches in a task of its own.

    Args:
        name: The sink's name.
        required: Whether a run must fail when it does.
        overflow: What happens when its queue is full.
        limit: Events that the queue holds.
        work: Awaited with each batch before it is kept; what it raises, the sink raises.
        end: Awaited when a run is over; what it raises, the sink raises.

    Attributes:
        batches: The batches, in the order in which they came.
        opened: The runs it was opened for.
        closed: How many of them are closed.
    """

    def __init__(
        self,
        name: str = "batches",
        *,
        required: bool = False,
        overflow: Overflow = "block",
        limit: int = 64,
        work: Callable[[Sequence[Event]], Awaitable[object]] | None = None,
        end: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self.name = name
        self.required = required
        self.overflow: Overflow = overflow
        self.limit = limit
        self.batches: list[list[Event]] = []
        self.opened: list[RunInfo] = []
        self.closed = 0
        self._work = work
        self._end = end

    def open(self, run: RunInfo, /) -> BatchListSink:
        """Itself: it keeps the events of all runs together."""
        self.opened.append(run)
        return self

    def with_argument(self, argument: str, /) -> BatchListSink:
        """Take no argument."""
        raise ConfigError(f"the sink {self.name!r} takes no argument, and was given {argument!r}")

    async def emit_batch(self, events: Sequence[Event], /) -> None:
        """Keep `events`."""
        if self._work is not None:
            await self._work(events)
        self.batches.append(list(events))

    async def aclose(self) -> None:
        """Count a run that is over."""
        self.closed += 1
        if self._end is not None:
            await self._end()

    @property
    def types(self) -> list[str]:
        """The types of the events, in order."""
        return [event.type for batch in self.batches for event in batch]
