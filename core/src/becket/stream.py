"""The stream of a run: the reader's handle.

The handle is not an async generator, and no task group or cancel scope is held across what it hands out (PEP 789).
The run lives in a task of its own, the driver, which owns every scope; the reader only takes events from a buffer. The
driver holds no reference to the handle, so that a handle nobody holds any more ends its run.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, Self

from becket._follow import LogReader
from becket._inprocess import GRACE
from becket.content import AgentResult
from becket.events import RunFinished

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import TypeVar  # for the default, which Python 3.11 has not

    from becket._driver import Driver
    from becket.events import Event
    from becket.policies import Answer
    from becket.sinks import RunInfo

    _T_co = TypeVar("_T_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    _T_co = TypeVar("_T_co", covariant=True)

__all__ = ["AgentStream", "LogReader", "result_of"]


class AgentStream(Generic[_T_co]):
    """The events of one run as they happen: an async iterator, and a context manager that ends the run when left.

    Its parameter is the type of the structured output.

    Nothing starts before the first event is asked for, or the context is entered. The documented form is::

        async with agent.stream_async("...") as events:
            async for event in events:
                ...

    since its clean-up is done before the next line runs. A bare `async for` works too: a run whose stream nobody holds
    any more is cancelled at once. One task reads at a time.
    """

    __slots__ = ("__weakref__", "_driver")

    def __init__(self, driver: Driver) -> None:
        """Streams are made by `Agent.stream_async`."""
        self._driver = driver

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._driver.turn.run_id

    @property
    def info(self) -> RunInfo:
        """The run, as sinks are told of it."""
        return self._driver.info

    @property
    def done(self) -> bool:
        """Whether the run is over and cleaned up; what was not read of it may still be there."""
        return self._driver.state == "over"

    @property
    def output(self) -> _T_co | None:
        """The structured output, validated, as a Python value; None before the run has finished, or without one.

        `RunFinished` carries the same as JSON: an event holds no live object.
        """
        output: _T_co | None = self._driver.output
        return output

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """The next event.

        Raises:
            StopAsyncIteration: The run is over and every event was taken, or the stream was closed.
            RuntimeError: Another task is reading.
            Exception: Whatever ended the run, after its `run_failed`.
        """
        driver = self._driver
        buffer = driver.buffer
        if buffer.items:
            event = buffer.items.popleft()
            buffer.taken()
            return event
        try:
            return await driver.next()
        except BaseException:
            del self  # a traceback that is kept must not keep the run
            raise

    async def read(self, most: int = 256) -> list[Event]:
        """The events that are there, at least one and at most so many; none once the run is over, or the stream closed.

        What `async for` gives one by one, for who passes events on: those that come together can go on together.

        Raises:
            RuntimeError: Another task is reading.
            Exception: Whatever ended the run, after its `run_failed`.
        """
        if events := self._driver.ready(most):
            return events
        try:
            return await self._driver.read(most)
        except BaseException:
            del self  # as above
            raise

    def ready(self, most: int = 256) -> list[Event]:
        """As `read`, without waiting: none where none is there now. It starts nothing."""
        return self._driver.ready(most)

    def unread(self, events: list[Event]) -> None:
        """Give back events that were read last, for whoever reads on."""
        self._driver.unread(events)

    def follow(self, after: int = 0) -> LogReader:
        """Another reader of the run, in any number, which reads the event log: what is there, then what comes.

        It puts no pressure on the run. A run that is not detached waits for its stream to be read all the same.

        Args:
            after: The `seq` of the last event that was seen; 0 to begin with the first.

        Raises:
            ConfigError: `after` is below 0.
            EventsDropped: The events after it are no longer there.
        """
        reader = LogReader(self._driver, after)
        reader.check()
        return reader

    async def __aenter__(self) -> Self:
        self._driver.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def cancel(self) -> None:
        """End the run with the stop reason `cancelled`; go on reading to its terminal event.

        Returns at once and may be called from any thread. A run that is over is left as it is.
        """
        self._driver.cancel("cancelled")

    async def decide(self, request_id: str, answer: Answer | bool) -> None:
        """Answer what a `decision_requested` event of this run asks.

        For an agent with `approver="reader"`. The answer holds for the one call that was asked about, with the very
        arguments that it was shown with: `request_id` is a hash of them.

        Args:
            request_id: The event's `request_id`.
            answer: `Allow()`, `Deny(reason)`, `Edit(arguments)` to have it made with these; True and False stand for
                the first two.

        Raises:
            ConfigError: There is no such open request (any more), or it is no answer.
            RuntimeError: The run lives on another event loop.
        """
        self._driver.decide(request_id, answer)

    async def aclose(self, *, grace: float = GRACE) -> None:
        """Cancel the run, stop reading, and wait until its tools have cleaned up.

        Safe to call twice and from any task. Events that were not read are dropped; the sinks have seen them. From
        within one of the run's own tools it cancels and does not wait. A run that is detached goes on; it is only read
        no more.

        Args:
            grace: Seconds to wait for clean-up. What has not finished by then is logged by name and left behind.
        """
        await self._driver.close(grace)

    def __del__(self) -> None:
        driver: Driver | None = getattr(self, "_driver", None)  # not there where the constructor was left early
        if driver is not None and driver.state == "running":
            driver.dropped()


async def result_of(stream: AgentStream[Any]) -> AgentResult[Any]:
    """Read the stream to its end; how the run ended, with its output as a Python value."""
    result: AgentResult[Any] = AgentResult("cancelled")  # stands where the stream was closed under our hands
    async with stream as events:
        async for event in events:
            if isinstance(event, RunFinished) and event.run_id == stream.run_id:
                result = event.result
    return result if stream.output is None else replace(result, output=stream.output)
