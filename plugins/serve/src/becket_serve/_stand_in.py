"""Stands in for `becket.asgi.EventResponse` until that is there."""

from __future__ import annotations

import contextlib
from typing import Any

import anyio

__all__ = ["EventResponse"]


class EventResponse:
    def __init__(self, stream: Any, encoder: Any, *, heartbeat: float = 15.0, headers: Any = ()) -> None:
        self.stream, self.encoder, self.headers = stream, encoder, dict(headers)
        self.parked = self.gone = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async with anyio.create_task_group() as tasks:

            async def watch() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                self.gone = True
                self.stream.cancel()

            tasks.start_soon(watch)
            begun = False

            async def write(data: bytes, *, more: bool) -> None:
                nonlocal begun
                if not begun and (data or not more):
                    begun = True
                    headers = {**self.encoder.headers, **self.headers, "content-type": self.encoder.media_type}
                    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
                    await send({"type": "http.response.start", "status": self.encoder.status, "headers": raw})
                if begun:
                    await send({"type": "http.response.body", "body": data, "more_body": more})

            async with contextlib.AsyncExitStack() as stack:
                await stack.enter_async_context(self.stream)
                while True:
                    try:
                        event = await anext(self.stream)
                    except Exception:
                        break
                    await write(self.encoder.encode(event), more=True)
                    if self.encoder.done:
                        self.parked = True
                        stack.pop_all()
                        break
                await write(self.encoder.finish(), more=False)
            tasks.cancel_scope.cancel()
