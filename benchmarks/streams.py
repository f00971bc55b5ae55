"""Rows of the stream: what becket adds between a provider's delta and the consumer's `async for`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio
import trio
from becket import ModelEvent, TextDelta
from measuring import Figure, Sample, Settings, cpu, interleaved_async
from models import FRAGMENT, agent_with, talks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine

    from becket import Agent, AgentStream

__all__ = ["alone", "crowd", "first", "together"]

US = 1e6
SINKS = (0, 3)
CROWD, CHUNKS = 500, 40


async def _bare(deltas: int) -> AsyncGenerator[ModelEvent]:
    """The limit where deltas come together: a generator that builds the event and yields it, and no becket."""
    for _number in range(deltas):
        yield TextDelta(FRAGMENT)


async def _bare_alone(deltas: int, pause: Callable[[], Awaitable[object]]) -> AsyncGenerator[ModelEvent]:
    """The limit where each delta comes alone."""
    for _number in range(deltas):
        await pause()
        yield TextDelta(FRAGMENT)


async def _count(events: AsyncIterator[object]) -> int:
    """The consumer, the same for both."""
    count = 0
    async for _event in events:
        count += 1
    return count


async def _read(agent: Agent) -> int:
    async with agent.stream_async("go") as events:
        return await _count(events)


def _bare_sample(make: Callable[[], AsyncIterator[object]]) -> Sample:
    async def sample() -> float:
        before = cpu()
        count = await _count(make())
        return (cpu() - before) / count * US

    return sample


def _becket_sample(agent: Agent, deltas: int) -> Sample:
    async def sample() -> float:
        before = cpu()
        await _read(agent)
        return (cpu() - before) / deltas * US

    return sample


def together(settings: Settings, backend: str) -> list[Figure]:
    """CPU per delta where the provider never waits, from the provider's `yield` to the consumer's `async for`.

    Limit: the same generator, iterated by the same consumer with nothing between them. It builds the same event, since
    somebody has to; the event is about half of it.
    """
    deltas = 20_000

    async def measure() -> list[float]:
        samples = [_bare_sample(lambda: _bare(deltas))]
        samples += [_becket_sample(agent_with(talks(deltas), sinks=sinks), deltas) for sinks in SINKS]
        return await interleaved_async(samples, settings.repetitions(25))

    limit, *costs = anyio.run(measure, backend=backend)
    return [
        Figure(row=f"delta, together, {sinks} sinks, {backend}", becket=cost, limit=limit, most=3)
        for sinks, cost in zip(SINKS, costs, strict=True)
    ]


def _native_pause(backend: str) -> Callable[[], Awaitable[object]]:
    """What lets every other task that is ready run, twice: trio's order is random, and once would batch some deltas."""

    async def asyncio_pause() -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def trio_pause() -> None:
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()

    return trio_pause if backend == "trio" else asyncio_pause


def alone(settings: Settings, backend: str) -> list[Figure]:
    """CPU per delta where each is preceded by a real suspension, so that the consumer is woken for each.

    Limit: the same generator with the same suspensions, in the consumer's own task.
    """
    deltas = 5_000

    async def measure() -> list[float]:
        pause = _native_pause(backend)
        samples = [_bare_sample(lambda: _bare_alone(deltas, pause))]
        samples += [_becket_sample(agent_with(talks(deltas, pause), sinks=sinks), deltas) for sinks in SINKS]
        return await interleaved_async(samples, settings.repetitions(25))

    limit, *costs = anyio.run(measure, backend=backend)
    return [
        Figure(row=f"delta, alone, {sinks} sinks, {backend}", becket=cost, limit=limit, more=10)
        for sinks, cost in zip(SINKS, costs, strict=True)
    ]


def first(settings: Settings, backend: str) -> list[Figure]:
    """CPU from `stream_async` to the first event, and to the first delta, of a model that answers at once.

    Limit: making a bare generator and taking its first event.
    """
    runs = 200
    agent = agent_with(talks(1))

    async def bare() -> float:
        used = 0.0
        for _number in range(runs):
            before = cpu()
            events = _bare(1)
            await anext(events)
            used += cpu() - before
            await events.aclose()
        return used / runs * US

    def until(kind: type) -> Sample:
        async def sample() -> float:
            used = 0.0
            for _number in range(runs):
                before = cpu()
                async with agent.stream_async("go") as events:
                    async for event in events:
                        if isinstance(event, kind):
                            break
                    used += cpu() - before
            return used / runs * US

        return sample

    async def measure() -> list[float]:
        return await interleaved_async([bare, until(object), until(TextDelta)], settings.repetitions(15))

    limit, event, delta = anyio.run(measure, backend=backend)
    return [
        Figure(row=f"run to its first event, {backend}", becket=event, limit=limit, more=1000),
        Figure(row=f"run to its first delta, {backend}", becket=delta, limit=limit, more=1000),
    ]


def crowd(settings: Settings, backend: str) -> list[Figure]:
    """CPU of 500 runs at once, 40 chunks each, every chunk preceded by a real suspension.

    Limit: 500 bare generators, each read by a task of the same task group. The budget is that of the same row over
    HTTP, twice the 0.8 s that reading the bytes of all 500 takes there: becket may add as much,
    1,600 us a run.
    """

    async def measure() -> list[float]:
        pause = _native_pause(backend)
        agent = agent_with(talks(CHUNKS, pause))

        def all_at_once(read: Callable[[], Coroutine[object, object, int]]) -> Sample:
            async def sample() -> float:
                before = cpu()
                async with anyio.create_task_group() as tasks:
                    for _number in range(CROWD):
                        tasks.start_soon(read)
                return (cpu() - before) / CROWD * US

            return sample

        samples = [all_at_once(lambda: _count(_bare_alone(CHUNKS, pause))), all_at_once(lambda: _read(agent))]
        return await interleaved_async(samples, settings.repetitions(10))

    limit, cost = anyio.run(measure, backend=backend)
    return [
        Figure(
            row=f"one of {CROWD} runs at once, {CHUNKS} chunks, {backend}",
            becket=cost,
            limit=limit,
            more=1600,
            note=f"{(cost - limit) / CHUNKS:.1f} us more per chunk",
        )
    ]


async def parked(agent: Agent, runs: int) -> list[AgentStream]:
    """So many runs, each read up to its first delta and then waiting for its model."""
    streams = [agent.stream_async("go") for _number in range(runs)]
    for stream in streams:
        async for event in stream:
            if isinstance(event, TextDelta):
                break
    return streams
