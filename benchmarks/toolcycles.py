"""Rows of the tool cycle: one model call and the tools it asks for, all of them instant."""

from __future__ import annotations

import functools
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread
from becket import ToolCallDelta
from measuring import Figure, Sample, Settings, cpu, interleaved_async
from models import add, add_sync, agent_with, asks_for_tools, hooked

if TYPE_CHECKING:
    from becket import Agent, ModelEvent
    from becket.tools import AnyTool

__all__ = ["cycles", "hooks", "parallel", "sync_tool"]

US = 1e6

Calls = Callable[[list[dict[str, Any]]], Awaitable[list[Any]]]


async def _asks(calls: int) -> AsyncGenerator[ModelEvent]:
    """The model of the limit."""
    for number in range(calls):
        yield ToolCallDelta(f"call-{number}", "add", '{"a": 1, "b": 2}', number)


async def _bare_cycle(history: list[object], calls: int, make: Calls) -> None:
    """The limit: read the model, parse the arguments, call the tools, append both messages. No checks, no events."""
    asked = [event async for event in _asks(calls) if isinstance(event, ToolCallDelta)]
    arguments = [json.loads(event.fragment) for event in asked]
    history.append({"role": "assistant", "content": arguments})
    history.append({"role": "user", "content": await make(arguments)})


async def _in_line(arguments: list[dict[str, Any]]) -> list[Any]:
    return [await add.function(**each) for each in arguments]


async def _in_tasks(arguments: list[dict[str, Any]]) -> list[Any]:
    results: dict[int, Any] = {}

    async def one(number: int, each: dict[str, Any]) -> None:
        results[number] = await add.function(**each)

    async with anyio.create_task_group() as tasks:
        for number, each in enumerate(arguments):
            tasks.start_soon(one, number, each)
    return [results[number] for number in range(len(arguments))]


async def _in_threads(arguments: list[dict[str, Any]]) -> list[Any]:
    return [await to_thread.run_sync(functools.partial(add_sync.function, **each)) for each in arguments]


def _bare_sample(cycles: int, calls: int, make: Calls) -> Sample:
    async def sample() -> float:
        history: list[object] = []
        before = cpu()
        for _number in range(cycles):
            await _bare_cycle(history, calls, make)
        return (cpu() - before) / cycles * US

    return sample


async def _run(agent: Agent, runs: int) -> float:
    before = cpu()
    for _number in range(runs):
        await agent.invoke_async("go")
    return (cpu() - before) / runs


def _becket_sample(tool: AnyTool, cycles: int, calls: int, *, plugins: Sequence[object] = ()) -> Sample:
    """Cycles of a run: what it costs more than a run without them, so that the run itself does not count."""
    with_them = agent_with(asks_for_tools(tool.name, cycles, calls=calls), tool, plugins=plugins)
    without = agent_with(asks_for_tools(tool.name, 0), tool, plugins=plugins)
    runs = max(1, 1_000 // cycles)

    async def sample() -> float:
        return (await _run(with_them, runs) - await _run(without, runs)) / cycles * US

    return sample


def cycles(settings: Settings, backend: str) -> list[Figure]:
    """CPU of a cycle with one instant async tool, in runs of 10 to 10,000 cycles; the same in all of them.

    Limit: a loop that reads the same model, parses the arguments, calls the tool, and appends both messages.
    """
    counts = (10, 100, 1_000) if settings.quick else (10, 100, 1_000, 10_000)

    async def measure() -> list[float]:
        bare = [_bare_sample(count, 1, _in_line) for count in counts]
        return await interleaved_async([*bare, *(_becket_sample(add, count, 1) for count in counts)], repetitions)

    # All counts in turns, since they are compared with each other.
    repetitions = settings.repetitions(8)
    measured = anyio.run(measure, backend=backend)
    pairs = list(zip(measured[: len(counts)], measured[len(counts) :], strict=True))
    figures = [
        Figure(row=f"tool cycle, {count:,} in a run, {backend}", becket=cost, limit=limit, most=150)
        for count, (limit, cost) in zip(counts, pairs, strict=True)
    ]
    growth = Figure(
        row=f"tool cycle, {counts[-1]:,} in a run beside {counts[0]}, {backend}",
        becket=pairs[-1][1],
        limit=pairs[0][1],
        times=1.15,
        note="the same, but for the machine's noise",
    )
    return [*figures, growth]


def hooks(settings: Settings, backend: str) -> list[Figure]:
    """CPU that a call of one hook adds to a cycle, with one plugin and with ten, sync and async hooks.

    No limit stands beside it: all of it is what becket adds.
    """
    count, points = 200, 5

    async def measure() -> list[float]:
        plain = _becket_sample(add, count, 1)
        samples = [
            _becket_sample(add, count, 1, plugins=hooked(plugins, waits=waits))
            for waits in (False, True)
            for plugins in (1, 10)
        ]
        return await interleaved_async([plain, *samples], settings.repetitions(15))

    plain, *measured = anyio.run(measure, backend=backend)
    kinds = [(kind, plugins) for kind in ("sync", "async") for plugins in (1, 10)]
    return [
        Figure(
            row=f"a call of one hook, {kind}, {plugins} a point, {backend}",
            becket=(cost - plain) / points / plugins,
            limit=None,
            most=5 if kind == "sync" else 20,
        )
        for (kind, plugins), cost in zip(kinds, measured, strict=True)
    ]


def parallel(settings: Settings, backend: str) -> list[Figure]:
    """CPU of a cycle with four async tools together. Limit: the same in a bare loop with a task group."""
    count, calls = 200, 4

    async def measure() -> list[float]:
        samples = [_bare_sample(count, calls, _in_tasks), _becket_sample(add, count, calls)]
        return await interleaved_async(samples, settings.repetitions(15))

    limit, cost = anyio.run(measure, backend=backend)
    return [Figure(row=f"tool cycle, 4 async tools together, {backend}", becket=cost, limit=limit, most=450)]


def sync_tool(settings: Settings, backend: str) -> list[Figure]:
    """CPU of a cycle with one sync tool, the worker thread's included. Limit: a bare loop with anyio's threads."""
    count = 200

    async def measure() -> list[float]:
        samples = [_bare_sample(count, 1, _in_threads), _becket_sample(add_sync, count, 1)]
        return await interleaved_async(samples, settings.repetitions(15))

    limit, cost = anyio.run(measure, backend=backend)
    return [Figure(row=f"tool cycle, 1 sync tool, {backend}", becket=cost, limit=limit, most=400)]
