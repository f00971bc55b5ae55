"""The row of memory: what a run keeps while it waits for its model."""

from __future__ import annotations

import gc
import multiprocessing
import statistics
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from becket import ModelEvent, ModelRequest, TextDelta
from measuring import Figure, Settings
from models import FRAGMENT, agent_with
from streams import parked

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

__all__ = ["memory"]

RUNS = 1_000


def memory(settings: Settings, backend: str) -> list[Figure]:
    """Memory of each of 1,000 runs that wait for their model after its first delta.

    As growth of the resident set, and as tracemalloc counts it; each in processes of its own, since memory that was
    freed is used again. Limit: 1,000 tasks that wait in a bare generator after its first delta.
    """
    figures = []
    for kind, measure in (("RSS", _resident), ("tracemalloc", _traced)):
        becket, limit = [], []
        for _number in range(settings.repetitions(5)):
            becket.append(_apart(measure, _runs, backend))
            limit.append(_apart(measure, _generators, backend))
        figures.append(
            Figure(
                row=f"memory of a parked run, {kind}, {backend}",
                becket=statistics.median(becket) / 1000,
                limit=statistics.median(limit) / 1000,
                unit="KB",
                most=50,
            )
        )
    return figures


def _apart(measure: Callable[..., float], *arguments: Any) -> float:
    """`measure(*arguments)` in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def _resident(work: Callable[..., Any], backend: str) -> float:
    return float(anyio.run(work, _rss, backend=backend)) / RUNS


def _traced(work: Callable[..., Any], backend: str) -> float:
    tracemalloc.start()
    return float(anyio.run(work, lambda: tracemalloc.get_traced_memory()[0], backend=backend)) / RUNS


def _rss() -> int:
    """The resident set in bytes; from Linux's /proc, since getrusage gives only its peak."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * 4096


async def _runs(size: Callable[[], int]) -> int:
    """How much `size` grows with that many parked runs."""

    async def answer(_: ModelRequest) -> AsyncGenerator[ModelEvent]:
        yield TextDelta(FRAGMENT)
        await anyio.sleep_forever()

    agent = agent_with(answer)
    for stream in await parked(agent, 10):  # imports and first uses are not what a run keeps
        await stream.aclose()
    gc.collect()
    before = size()
    streams = await parked(agent, RUNS)
    gc.collect()
    grown = size() - before
    for stream in streams:
        stream.cancel()
    for stream in streams:
        await stream.aclose()
    return grown


async def _generators(size: Callable[[], int]) -> int:
    async def bare(started: anyio.Event) -> AsyncGenerator[ModelEvent]:
        yield TextDelta(FRAGMENT)
        started.set()
        await anyio.sleep_forever()

    async def read(started: anyio.Event) -> None:
        async for _event in bare(started):
            pass

    async with anyio.create_task_group() as tasks:
        gc.collect()
        before = size()
        waits = [anyio.Event() for _number in range(RUNS)]
        for started in waits:
            tasks.start_soon(read, started)
        for started in waits:
            await started.wait()
        gc.collect()
        grown = size() - before
        tasks.cancel_scope.cancel()
    return grown
