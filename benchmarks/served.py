"""The row of becket-serve: what a piece of text costs the server from the model to the socket.

The server is a process of its own, and its CPU alone is counted. Limit: the same bytes from a bare ASGI application
behind the same uvicorn, in as many messages.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from measuring import Figure, Settings, interleaved_async
from serving import event_service

if TYPE_CHECKING:
    from measuring import Sample
    from serving import Service

__all__ = ["text"]

US: Final = 1e6
PIECES: Final = 5_000


def text(settings: Settings) -> list[Figure]:
    """CPU per text delta over `POST /events`, as server-sent events: that come together, and one at a time."""
    with event_service() as service:
        return [
            asyncio.run(_compared(service, settings, pace, more))
            for pace, more in (("together", TOGETHER), ("alone", ALONE))
        ]


TOGETHER: Final = 10.0
ALONE: Final = 40.0


async def _compared(service: Service, settings: Settings, pace: str, more: float) -> Figure:
    samples = [_costs(service, path, f"{pace} {PIECES}") for path in ("/bare", "/events")]
    limit, becket = await interleaved_async(samples, settings.repetitions(15))
    return Figure(row=f"text over /events, {pace}", becket=becket * US, limit=limit * US, more=more)


def _costs(service: Service, path: str, prompt: str) -> Sample:
    async def cost() -> float:
        before = await service.cpu()
        await service.whole("POST", path, prompt)
        return (await service.cpu() - before) / PIECES

    return cost
