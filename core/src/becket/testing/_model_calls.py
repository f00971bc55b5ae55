"""Model calls as the tests of providers make them: read whole, closed early, cancelled anywhere, and those of a run."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import anyio

from becket._marker import hookimpl
from becket.agent import Agent
from becket.runtime import Runtime
from becket.testing._watch import Steps
from becket.tools import tool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from becket.events import Event, ModelEvent
    from becket.providers import ModelRequest, Provider
    from becket.retries import RetryPolicy

__all__ = ["WAYS", "Cancelled", "Way", "agent_of", "as_failures", "close", "closed_after", "collected", "events_of"]

Way: TypeAlias = Literal["nursery", "deadline"]
"""How a call is cancelled: by its task group, or by a time limit around it."""

WAYS: Final[tuple[Way, ...]] = ("nursery", "deadline")


@tool(effect="none")
def weather(city: str) -> str:
    """Tell the weather of a city.

    Args:
        city: The city's name.
    """
    return f"It is raining in {city}."


class _Plugin:
    """Registers a provider that is there already."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    @hookimpl
    def register_providers(self) -> Sequence[Provider]:
        return [self._provider]


def agent_of(provider: Provider, request: ModelRequest, retry: RetryPolicy | None = None) -> Agent:
    """An agent that asks `provider` as `request` does, with the tool `weather` where that offers one."""
    return Agent(
        f"{provider.name}:{request.model}",
        [weather] if request.tools else [],
        system_prompt=request.system,
        options=request.options,
        runtime=Runtime(plugins=[_Plugin(provider)], discover=False),
        retry=retry,
    )


async def events_of(agent: Agent, prompt: str, **options: Any) -> tuple[list[Event], Exception | None]:
    """The events of a run, and what it raised in the end."""
    events: list[Event] = []
    try:
        async with agent.stream_async(prompt, **options) as stream:
            async for event in stream:
                events.append(event)  # noqa: PERF401  what came before an error is wanted too
    except Exception as error:  # noqa: BLE001  it is what is asked for
        return events, error
    return events, None


async def collected(provider: Provider, request: ModelRequest) -> list[ModelEvent]:
    """The events of a whole call."""
    stream = provider.stream(request)
    try:
        return [event async for event in stream]
    finally:
        await close(stream)


async def close(stream: Any) -> None:
    """Close what a provider's `stream` returned, where it can be closed."""
    if hasattr(stream, "aclose"):
        await stream.aclose()


async def closed_after(provider: Provider, request: ModelRequest, number: int) -> bool:
    """Make a call, and close it after so many events, twice. Whether there were as many.

    Raises:
        AssertionError: Something was raised, or the call went on.
    """
    when = f"closed after {number} events"
    stream: Any = provider.stream(request)
    with as_failures(when):
        taken = 0
        while taken < number and await anext(stream, None) is not None:
            taken += 1
        for _ in range(2):
            await close(stream)
        if hasattr(stream, "aclose") and (more := await anext(stream, None)) is not None:
            raise AssertionError(f"{when}, the call went on with {more!r}")
    return taken == number


class Cancelled:
    """A model call that is cancelled, at one of its waits or after one of its events.

    Args:
        way: How it is cancelled.
        wait: At its wait of this number, from 1; 0 for at none.
        after: After so many events, before the next is asked for; -1 for after none.

    Attributes:
        reached: Whether it came to that.
    """

    def __init__(self, way: Way, *, wait: int = 0, after: int = -1) -> None:
        self.reached = False
        self._way = way
        self._wait = wait
        self._after = after
        place = f"at its wait {wait}" if wait else f"after {after} events"
        self._when = f"cancelled by a {way} {place}"

    async def make(self, provider: Provider, request: ModelRequest) -> bool:
        """Make the call. Whether it came to the cancellation.

        Raises:
            AssertionError: The call went on, or raised something of its own.
        """
        with as_failures(self._when):
            if self._way == "nursery":
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._take, provider, request, tasks.cancel_scope)
            else:
                with anyio.CancelScope() as scope:
                    await self._take(provider, request, scope)
        return self.reached

    async def _take(self, provider: Provider, request: ModelRequest, scope: anyio.CancelScope) -> None:
        steps = Steps(lambda: self._cancel(scope), at=self._wait)
        stream = provider.stream(request)
        taken = 0
        try:
            while True:
                if taken == self._after:
                    steps.act()
                if await steps.of(anext(stream, None)) is None:
                    return
                taken += 1
                if steps.since > 1:  # what had come by then may pass
                    raise AssertionError(f"{self._when}, the call went on")
        finally:
            await close(stream)

    def _cancel(self, scope: anyio.CancelScope) -> None:
        self.reached = True
        if self._way == "nursery":
            scope.cancel()
        else:
            scope.deadline = anyio.current_time()


@contextmanager
def as_failures(when: str) -> Iterator[None]:
    """Let what is raised be the failure of a test, that says when it was raised."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  it is a failure of the test, whatever it is
        found: Exception = error
        while isinstance(found, ExceptionGroup):
            found = found.exceptions[0]
        if isinstance(found, AssertionError):
            raise found from None
        raise AssertionError(f"{when}, it raised {found!r}") from found
