"""Rows over HTTP: what a token, a tool round and a crowd of runs cost from the socket to the consumer's `async for`.

The limit is the least code that does the same work: aiohttp, msgspec, and a loop. It knows asyncio alone, so that the
rows on trio are beside the limit on asyncio, in the same process, by turns.
"""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aiohttp
import anyio
import msgspec
from becket import Agent, Limits, Runtime, TextDelta
from becket_openai import Endpoint, OpenAIProvider
from measuring import Figure, Settings, cpu, interleaved
from models import add
from serving import wire_service

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["crowd", "first", "rounds", "text"]

US: Final = 1e6
CROWD, CHUNKS = 500, 40
BODY: Final = b'{"model":"bench","messages":[{"role":"user","content":"go"}],"stream":true}'


# -- the limit ---------------------------------------------------------------------------------------------------------


class _Function(msgspec.Struct):
    arguments: str = ""
    name: str | None = None


class _Call(msgspec.Struct):
    index: int
    function: _Function
    id: str | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    tool_calls: list[_Call] = []


class _Choice(msgspec.Struct):
    delta: _Delta


class _Chunk(msgspec.Struct):
    choices: list[_Choice]


_decode = msgspec.json.Decoder(_Chunk).decode


async def _bare_text(url: str, session: aiohttp.ClientSession) -> int:
    """Read an answer, and count its pieces of text."""
    count, rest = 0, b""
    async with session.post(f"{url}/chat/completions", data=BODY) as response:
        async for chunk in response.content.iter_any():
            *events, rest = (rest + chunk).split(b"\n\n")
            for event in events:
                if event != b"data: [DONE]":
                    for choice in _decode(event[6:]).choices:
                        if choice.delta.content:
                            count += 1
    return count


async def _bare_calls(url: str, session: aiohttp.ClientSession, body: bytes) -> list[_Call]:
    """Read an answer, and put its tool calls together."""
    calls: dict[int, _Call] = {}
    rest = b""
    async with session.post(f"{url}/chat/completions", data=body) as response:
        async for chunk in response.content.iter_any():
            *events, rest = (rest + chunk).split(b"\n\n")
            for event in events:
                if event == b"data: [DONE]":
                    continue
                for choice in _decode(event[6:]).choices:
                    for call in choice.delta.tool_calls:
                        if call.index in calls:
                            calls[call.index].function.arguments += call.function.arguments
                        else:
                            calls[call.index] = call
    return list(calls.values())


async def _bare_rounds(url: str, session: aiohttp.ClientSession) -> int:
    """Ask, call the tools, append what came of it, and ask again, until no tool is asked for."""
    encode, rounds = msgspec.json.encode, 0
    tools = encode([{"type": "function", "function": {"name": "add", "parameters": add.spec.schema}}])
    pieces = [b'{"role":"user","content":"go"}']
    while True:
        head = b'{"model":"bench","stream":true,"tools":' + tools + b',"messages":['
        calls = await _bare_calls(url, session, head + b",".join(pieces) + b"]}")
        if not calls:
            return rounds
        rounds += 1
        asked = [
            {"id": call.id, "type": "function", "function": {"name": "add", "arguments": call.function.arguments}}
            for call in calls
        ]
        pieces.append(encode({"role": "assistant", "tool_calls": asked}))
        for call in calls:
            made = await add.function(**msgspec.json.decode(call.function.arguments))
            pieces.append(encode({"role": "tool", "tool_call_id": call.id, "content": str(made)}))


# -- samples -----------------------------------------------------------------------------------------------------------


def _agent(provider: OpenAIProvider) -> Agent:
    runtime = Runtime(discover=False)
    return Agent(provider, [add], limits=Limits(cycles=None), runtime=runtime)


async def _read(agent: Agent) -> int:
    count = 0
    async with agent.stream_async("go") as events:
        async for event in events:
            if isinstance(event, TextDelta):
                count += 1
    return count


def _limit(work: Callable[[aiohttp.ClientSession], Awaitable[int]]) -> Callable[[], float]:
    """CPU per unit of `work`, which says how many units it did; once before, for the connection."""

    async def measure() -> float:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            await work(session)
            before = cpu()
            units = await work(session)
            return (cpu() - before) / units * US

    return lambda: asyncio.run(measure())


def _becket(url: str, work: Callable[[Agent], Awaitable[int]], backend: str) -> Callable[[], float]:
    async def measure() -> float:
        endpoint = Endpoint(default_model="bench")
        provider = OpenAIProvider("bench", base_url=url, api_key="none", api="chat", endpoint=endpoint)
        agent = _agent(provider)
        try:
            await work(agent)
            before = cpu()
            units = await work(agent)
            return (cpu() - before) / units * US
        finally:
            await provider.aclose()

    return lambda: anyio.run(measure, backend=backend)


# -- rows --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Budget:
    times: float | None = None
    more: float | None = None


def _figure(row: str, backend: str, cost: float, limit: float, budget: _Budget) -> Figure:
    """A line; the budgets are for asyncio, where the limit lives."""
    held = budget if backend == "asyncio" else _Budget()
    return Figure(row=f"{row}, {backend}", becket=cost, limit=limit, times=held.times, more=held.more)


def text(settings: Settings, backend: str) -> list[Figure]:
    """CPU per text event, from the socket to the consumer: an HTTP chunk each, 8 KiB together, and one at a time."""
    figures = []
    kinds = (
        ("an HTTP chunk each", "each", 20_000, _Budget(times=2)),
        ("in chunks of 8 KiB", "together", 20_000, _Budget(more=3)),
        ("one at a time", "paced", 2_000, _Budget(times=2)),
    )
    with wire_service() as root:
        for said, mode, count, budget in kinds:
            url = f"{root}/{mode}/{count}"
            samples = [_limit(functools.partial(_bare_text, url)), _becket(url, _read, backend)]
            limit, cost = interleaved(samples, settings.repetitions(15))
            figures.append(_figure(f"text over HTTP, {said}", backend, cost, limit, budget))
    return figures


def rounds(settings: Settings, backend: str) -> list[Figure]:
    """CPU per tool round: ask, call the tool, append both messages, ask again; in runs of 50 and of 500."""
    figures = []
    with wire_service() as root:
        for count in (50, 500):
            url = f"{root}/tools/{count}"

            async def run(agent: Agent, count: int = count) -> int:
                await agent.invoke_async("go")
                return count

            samples = [_limit(functools.partial(_bare_rounds, url)), _becket(url, run, backend)]
            limit, cost = interleaved(samples, settings.repetitions(8))
            figures.append(_figure(f"tool round over HTTP, {count} in a run", backend, cost, limit, _Budget(times=2)))
    return figures


def first(settings: Settings, backend: str) -> list[Figure]:
    """CPU of a run of one word, from `stream_async` to its end: what is added to the time to the first token."""
    runs = 100
    with wire_service() as root:
        url = f"{root}/each/1"

        async def bare(session: aiohttp.ClientSession) -> int:
            for _number in range(runs):
                await _bare_text(url, session)
            return runs

        async def run(agent: Agent) -> int:
            for _number in range(runs):
                await _read(agent)
            return runs

        limit, cost = interleaved([_limit(bare), _becket(url, run, backend)], settings.repetitions(15))
    return [_figure("a run of one token over HTTP", backend, cost, limit, _Budget(more=1000))]


def crowd(settings: Settings, backend: str) -> list[Figure]:
    """CPU of each of 500 runs at once over HTTP, 40 chunks each."""
    with wire_service() as root:
        url = f"{root}/paced/{CHUNKS}"

        async def bare(session: aiohttp.ClientSession) -> int:
            async with anyio.create_task_group() as tasks:
                for _number in range(CROWD):
                    tasks.start_soon(_bare_text, url, session)
            return CROWD

        async def run(agent: Agent) -> int:
            async with anyio.create_task_group() as tasks:
                for _number in range(CROWD):
                    tasks.start_soon(_read, agent)
            return CROWD

        limit, cost = interleaved([_limit(bare), _becket(url, run, backend)], settings.repetitions(8))
    row = f"one of {CROWD} runs at once over HTTP, {CHUNKS} chunks"
    return [_figure(row, backend, cost, limit, _Budget(times=2))]
