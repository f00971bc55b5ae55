"""Rows of the wire: an event as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from becket import Message, MessageAdded, Text, TextDelta, ToolCall, ToolCallDelta
from measuring import Figure, Settings, cpu, interleaved
from pydantic import TypeAdapter

if TYPE_CHECKING:
    from collections.abc import Callable

    from becket import Event

__all__ = ["encoding"]

US = 1e6
STAMP = {"run_id": "4f1c0f0e8d7b4c559f6d3f1a2b3c4d5e", "seq": 17, "time": 1790000000.123456, "cycle": 1, "attempt": 1}


def encoding(settings: Settings) -> list[Figure]:
    """CPU of `event.to_json()`. Limit: pydantic's serializer of that event's class, called with nothing around it."""
    answer = Message("assistant", (Text("Some words. " * 10), ToolCall("call-1", "add", {"a": 1, "b": 2})))
    events: list[Event] = [
        TextDelta("token ", **STAMP),  # type: ignore[arg-type]
        ToolCallDelta("call-1", "add", '{"a": 1', **STAMP),  # type: ignore[arg-type]
        MessageAdded(answer, **STAMP),  # type: ignore[arg-type]
    ]
    return [_figure(event, settings) for event in events]


def _figure(event: Event, settings: Settings) -> Figure:
    serializer = TypeAdapter(type(event)).serializer
    limit, cost = interleaved(
        [_sample(lambda: serializer.to_json(event, exclude_none=True)), _sample(event.to_json)],
        settings.repetitions(25),
    )
    return Figure(row=f"{type(event).__name__} to JSON", becket=cost, limit=limit, most=5)


def _sample(encode: Callable[[], bytes]) -> Callable[[], float]:
    def sample() -> float:
        before = cpu()
        for _number in range(5_000):
            encode()
        return (cpu() - before) / 5_000 * US

    return sample
