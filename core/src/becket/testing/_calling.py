"""Calling asynchronous code as the tests of contracts do: tools as a run calls them, anything cancelled at any wait."""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from becket.testing._contract import must
from becket.testing._model_calls import as_failures
from becket.testing._watch import Steps
from becket.tools import ToolContext

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from becket.tools import AnyTool

__all__ = ["LaterContext", "backends", "called", "cancelled_at", "context_of", "within"]


@contextmanager
def within(seconds: float, what: str) -> Iterator[None]:
    """Cancel the block after that time, and say so: a `TimeoutError` says nothing, and may be one of the block's own.

    Raises:
        AssertionError: It was cancelled.
    """
    with anyio.move_on_after(seconds) as scope:
        yield
    must(not scope.cancelled_caught, f"{what}: it did not end within {seconds:g} s")


@dataclass(frozen=True, slots=True)
class LaterContext(ToolContext[Any]):
    """What a later becket may tell a tool: everything that this one does, and more."""

    cycle: int = 1
    told_later: str = "a field that this becket has not"


def context_of(tool: AnyTool, context: object, kind: type[ToolContext[Any]] = ToolContext) -> ToolContext[Any]:
    """The context of a call that is in no run."""
    return kind("run", "agent", "call-1", f"run:1:0:{tool.name}", context, lambda _: None)


async def called(tool: AnyTool, arguments: Mapping[str, Any], context: ToolContext[Any]) -> object:
    """What a call comes to, made as a run makes it: a sync function in a worker thread, a generator to its end.

    Raises:
        ValueError: The arguments do not fit.
    """
    given = {**tool.arguments.validate(dict(arguments)), **dict.fromkeys(tool.arguments.contexts, context)}
    if tool.is_async:
        value = tool.function(**given)
    else:
        value = await anyio.to_thread.run_sync(lambda: _drained(tool.function(**given)), abandon_on_cancel=True)
    if isinstance(value, AsyncGenerator):
        last: object = None
        async with aclosing(value):
            async for last in value:  # noqa: B007  the last is the result
                pass
        return last
    return await value if inspect.isawaitable(value) else value


def _drained(value: object) -> object:
    if not isinstance(value, Generator):
        return value
    while True:
        try:
            next(value)
        except StopIteration as end:
            return end.value


async def cancelled_at(wait: int, work: Callable[[], Awaitable[object]], when: str) -> bool:
    """Do `work`, and cancel it at its wait of this number, from 1. Whether it came to that.

    Raises:
        AssertionError: It went on, or raised something of its own.
    """
    scope = anyio.CancelScope()
    steps = Steps(scope.cancel, at=wait)
    when = f"{when}, cancelled at its wait {wait}"
    with as_failures(when), scope:
        await steps.of(work())
        must(not steps.cancelled, f"{when}, it went on to its end: let a cancellation through, and clean up in finally")
    return steps.reached


def backends() -> list[str]:
    """asyncio, and trio where this is trio: core does not need it."""
    trio = sys.modules.get("trio")
    return ["asyncio", "trio"] if trio is not None and trio.lowlevel.in_trio_run() else ["asyncio", "asyncio"]
