"""The cheapest providers, sinks and tools there are, so that what is measured is becket.

`becket.testing.ScriptedProvider` copies each event of its script, which costs more than becket does with it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from becket import (
    Agent,
    Event,
    Limits,
    ModelEvent,
    ModelFinished,
    ModelInfo,
    ModelRequest,
    RunInfo,
    Runtime,
    TextDelta,
    ToolCallDelta,
    hookimpl,
    tool,
)

if TYPE_CHECKING:
    from becket.tools import AnyTool

__all__ = [
    "FRAGMENT",
    "Answer",
    "CountingSink",
    "Model",
    "add",
    "add_sync",
    "agent_with",
    "asks_for_tools",
    "hooked",
    "talks",
]

FRAGMENT = "token "
"""The text of every delta: about that of a token."""

Answer: TypeAlias = Callable[[ModelRequest], AsyncGenerator[ModelEvent]]
"""What a model answers; takes the request, and yields events as a provider does."""


class Model:
    """A provider that answers with `answer`, and does nothing else."""

    name = "bench"
    default_model: str | None = "bench"

    def __init__(self, answer: Answer) -> None:
        self.stream = answer

    def models(self) -> Sequence[ModelInfo]:
        """None that anybody asks for."""
        return ()

    async def aclose(self) -> None:
        """Nothing is kept."""


async def _no_pause() -> None:
    """Go on at once."""


def talks(deltas: int, pause: Callable[[], Awaitable[object]] | None = None) -> Answer:
    """An answer of so many text deltas, with `pause` awaited before each."""
    wait = pause or _no_pause

    async def together(_: ModelRequest) -> AsyncGenerator[ModelEvent]:
        for _number in range(deltas):
            yield TextDelta(FRAGMENT)
        yield ModelFinished("end_turn")

    async def alone(_: ModelRequest) -> AsyncGenerator[ModelEvent]:
        for _number in range(deltas):
            await wait()
            yield TextDelta(FRAGMENT)
        yield ModelFinished("end_turn")

    return together if pause is None else alone


def asks_for_tools(name: str, cycles: int, *, calls: int = 1) -> Answer:
    """A model that calls a tool, so many times a cycle, for so many cycles, and then says one word."""

    async def answer(request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        if request.key[1] > cycles:
            yield TextDelta("done")
            yield ModelFinished("end_turn")
            return
        for number in range(calls):
            yield ToolCallDelta(f"call-{number}", name, '{"a": 1, "b": 2}', number)
        yield ModelFinished("tool_use")

    return answer


@tool(effect="none")
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool(effect="none")
def add_sync(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class CountingSink:
    """A sink that counts: the least that a sink can do."""

    name = "count"
    required = False

    def __init__(self) -> None:
        self.seen = 0

    def open(self, _: RunInfo, /) -> CountingSink:
        """Itself."""
        return self

    def with_argument(self, _: str, /) -> CountingSink:
        """Take none."""
        return self

    def emit(self, _: Event, /) -> None:
        """Count."""
        self.seen += 1

    def close(self) -> None:
        """Nothing is kept."""


def hooked(count: int, *, waits: bool) -> list[object]:
    """So many plugins with one hook for each point of a cycle, which does nothing; async ones where it `waits`."""

    def hook() -> None:
        """Do nothing."""

    async def async_hook() -> None:
        """Do nothing."""

    function = hookimpl(async_hook if waits else hook)
    names = ("transform_messages", "before_model_call", "after_model_call", "before_tool_call", "after_tool_call")
    hooks = {name: staticmethod(function) for name in names}
    return [type(f"Hooked{number}", (), hooks)() for number in range(count)]


def agent_with(answer: Answer, *tools: AnyTool, sinks: int = 0, plugins: Sequence[object] = ()) -> Agent:
    """An agent on that model, without a limit of cycles, and with these plugins alone, whatever is installed."""
    return Agent(
        Model(answer),
        tools,
        limits=Limits(cycles=None),
        sinks=[CountingSink() for _ in range(sinks)],
        runtime=Runtime(discover=False, plugins=plugins),
    )
