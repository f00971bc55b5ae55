"""The provider `local`: one model, `needle`."""

from __future__ import annotations

import functools
import json
import os
import re
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from becket import (
    ConfigError,
    ModelFinished,
    ModelInfo,
    PluginEvent,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)

from becket_local.answer import state, without_tools
from becket_local.conversation import Response, converse, read_exchange
from becket_local.schema import tools_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from becket import ModelEvent, ModelRequest, ToolSpec

    from becket_local.conversation import Exchange, Outcome
    from becket_local.engine import Engine

__all__ = ["LocalProvider"]

FLOOR = "BECKET_LOCAL_CONFIDENCE_FLOOR"

READ_AT_ONCE = 5
"""Tools that the engine reads with each request. Of more it first makes an embedding each: half a second a tool."""

_SPEAKS_OF_TIME = re.compile(
    r"\b(to(day|night|morrow)|yesterday|now|next|this|coming|ago|in (an?|\d+)"
    r"|(mon|tues|wednes|thurs|fri|satur|sun)day)\b",
    re.IGNORECASE,
)


class LocalProvider:
    """Needle 3, a tool-calling model of 121 million parameters, in a worker process on this machine's CPU.

    It chooses tools and fills in their arguments; it writes no prose. The answer of a run states the results of its
    tools. It reads the last text of the user alone: no system prompt, no earlier turns, no images. Of the model options
    it heeds `tool_choice` where that is `none` or a tool's name; the others have no meaning for it.

    The worker, of about 100 MB, starts at the first model call, answers one call at a time, is killed when the run it
    works for is cancelled, and ends with `aclose` or with the program.

    Args:
        confidence_floor: The least confidence, 0 to 1, at which calls are made. None: what the environment variable
            `BECKET_LOCAL_CONFIDENCE_FLOOR` says, or else the engine's own judgement: it withholds calls below some 0.1.

    Raises:
        ConfigError: The floor is not between 0 and 1.
    """

    name = "local"
    default_model: str | None = "needle"

    def __init__(self, *, confidence_floor: float | None = None) -> None:
        if confidence_floor is not None:
            _check_floor(confidence_floor, "confidence_floor")
        self._floor = confidence_floor
        self._engine: Engine | None = None
        self._making = threading.Lock()
        # One run keeps one date, in a conversation that has to be rebuilt too.
        self._date_of = functools.lru_cache(maxsize=256)(_date_fact)

    def models(self) -> Sequence[ModelInfo]:
        """The one model."""
        return [ModelInfo("needle", "calls tools, writes no prose; 121M parameters on the CPU, without a network")]

    async def stream(self, request: ModelRequest, /) -> AsyncIterator[ModelEvent]:
        """One cycle; see `becket.Provider.stream`.

        Raises:
            ProviderError: The worker ended (retryable), the engine gave up, or the prompt is not one it can read.
            ConfigError: The model is unknown, or the environment's confidence floor is no number between 0 and 1.
        """
        if request.model != self.default_model:
            raise ConfigError(f"the provider 'local' has no model {request.model!r}; it has 'needle'")
        floor = self._confidence_floor()
        exchange = read_exchange(request.messages)
        tools = _offered(request)
        if not tools:
            yield TextDelta(without_tools(exchange))
            yield ModelFinished("end_turn")
            return
        engine, offered = self._engine_made(), tools_json(tools)
        outcome: Outcome | None = None
        while outcome is None:  # more than once where a worker was lost while this run waited for it
            if not engine.ready:
                yield PluginEvent("local", "loading", {"model": "needle", "tools": len(tools)})
                seconds = await engine.load()
                yield PluginEvent("local", "loaded", {"model": "needle", "seconds": round(seconds, 3)})
            if len(tools) > READ_AT_ONCE and not engine.has_read(offered):
                yield PluginEvent("local", "reading_tools", {"model": "needle", "tools": len(tools)})
            outcome = await self._converse(engine, request.key[0], offered, exchange, floor)
        for event in _events(request.key[1], exchange, outcome, tools):
            yield event

    async def aclose(self) -> None:
        """End the worker, unless a run in another event loop is using it. The next run starts a new one."""
        if self._engine is not None:
            await self._engine.aclose()

    async def _converse(
        self, engine: Engine, run: str, tools: str, exchange: Exchange, floor: float | None
    ) -> Outcome | None:
        """The outcome of one cycle, or None where the worker is gone."""
        system, talk, texts = self._system(run, exchange.query), converse(exchange, floor), list[str]()
        async with engine.turn() as turn:
            if turn is None:
                return None
            try:
                texts.append(next(talk))
                while True:
                    raw = await turn.respond(run=run, system=system, tools=tools, texts=texts)
                    texts.append(talk.send(Response.read(raw)))
            except StopIteration as end:
                outcome: Outcome = end.value
                return outcome

    def _system(self, run: str, query: str) -> str:
        """The facts that the engine is told: the date, where the request speaks of time.

        With it in every conversation the same request would be answered another way each minute.
        """
        if not _SPEAKS_OF_TIME.search(query):
            return ""
        return self._date_of(run) if run else _date_fact(run)

    def _confidence_floor(self) -> float | None:
        if self._floor is not None:
            return self._floor
        text = os.environ.get(FLOOR, "")
        if not text:
            return None
        try:
            return _check_floor(float(text), FLOOR)
        except ValueError as error:
            raise ConfigError(f"{FLOOR} is {text!r}; it must be a number between 0 and 1") from error

    def _engine_made(self) -> Engine:
        from becket_local.engine import Engine

        with self._making:  # two event loops may come here at once
            if self._engine is None:
                self._engine = Engine()
            return self._engine


def _check_floor(floor: float, name: str) -> float:
    if not 0 <= floor <= 1:
        raise ConfigError(f"{name} is {floor}; it must be between 0 and 1")
    return floor


def _date_fact(_run: str) -> str:
    """The date and time in the engine's own form, such as `date: 2026-11-22 Sun 14:05`."""
    return datetime.now(tz=UTC).astimezone().strftime("date: %Y-%m-%d %a %H:%M")


def _offered(request: ModelRequest) -> tuple[ToolSpec, ...]:
    match request.options.tool_choice:
        case "auto" | "any":
            return request.tools
        case "none":
            return ()
        case name:
            return tuple(tool for tool in request.tools if tool.name == name)


def _events(cycle: int, exchange: Exchange, outcome: Outcome, tools: Sequence[ToolSpec]) -> Iterator[ModelEvent]:
    response = outcome.response
    if response is not None and response.reasoning:
        yield ReasoningDelta(response.reasoning, block=0)
    for number, call in enumerate(outcome.calls, 1):
        arguments = json.dumps(call.arguments, ensure_ascii=False)
        yield ToolCallDelta(f"call-{cycle}-{number}", call.tool, arguments, block=number)
    if not outcome.calls:
        yield TextDelta(state(exchange, outcome, [tool.name for tool in tools]), block=1)
    confidence = None if response is None else response.confidence
    yield ModelFinished("tool_use" if outcome.calls else "end_turn", confidence=confidence)
