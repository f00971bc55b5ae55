"""becket-serve behind uvicorn, in a process of its own, with a model that follows the prompt.

`python eventserver.py` prints its port. Besides the routes of becket-serve it has

    POST /bare      the very bytes of the answer of `POST /events`, from a bare ASGI application
    GET /cpu        CPU seconds that the process has used
    GET /measure    the same, and what is left in it, as JSON; garbage is collected before

The prompt says how the model answers:

    together N      N pieces of text, without a pause
    alone N         N pieces of text, each after a turn of the event loop
    paced N         a tool call, and N pieces of text, a pause before each
    large N         N pieces of text of 1,000 characters, each after a turn of the event loop
"""

from __future__ import annotations

import asyncio
import gc
import json
import socket
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import becket_serve
import uvicorn
from becket import ModelFinished, RunFailed, RunFinished, RunStarted, TextDelta, ToolCallDelta, ToolResult
from measuring import cpu
from models import FRAGMENT, add, agent_with

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from becket import Event, ModelEvent, ModelRequest, RunInfo
    from becket.asgi import Message, Receive, Scope, Send

__all__ = ["PAUSE"]

PAUSE: Final = 0.05
"""Seconds between two pieces of a paced answer: a fast model's."""

RUNS: Final = 1_000
"""Runs that may go on at once."""


async def _answer(request: ModelRequest) -> AsyncGenerator[ModelEvent]:
    pace, _, count = request.messages[0].text.partition(" ")
    if pace == "paced" and not isinstance(request.messages[-1].content[0], ToolResult):
        yield ToolCallDelta("call-1", "add", '{"a": 1, "b": 2}', 0)
        yield ModelFinished("tool_use")
        return
    text = "x" * 1000 if pace == "large" else FRAGMENT
    for _number in range(int(count)):
        if pace != "together":
            await asyncio.sleep(PAUSE if pace == "paced" else 0)
        yield TextDelta(text)
    yield ModelFinished("end_turn")


class Ends:
    """A sink that counts how the runs end.

    Attributes:
        runs: Runs that have begun.
        running: Those of them that go on.
        ends: Runs that are over, by how many terminal events they had.
    """

    name = "ends"
    required = True

    def __init__(self) -> None:
        self.runs = 0
        self.running = 0
        self.ends: Counter[int] = Counter()

    def open(self, _: RunInfo, /) -> _RunEnds:
        """What counts for one run."""
        return _RunEnds(self)

    def with_argument(self, _: str, /) -> Ends:
        """Take none."""
        return self


class _RunEnds:
    """An observer that counts the terminal events of its run."""

    def __init__(self, into: Ends) -> None:
        self._into = into
        self._count = 0

    def emit(self, event: Event, /) -> None:
        """Count."""
        if isinstance(event, RunStarted):
            self._into.runs += 1
            self._into.running += 1
        elif isinstance(event, RunFinished | RunFailed):
            self._into.running -= 1
            self._count += 1

    def close(self) -> None:
        """Nothing comes after this."""
        self._into.ends[self._count] += 1


class Served:
    """The application."""

    def __init__(self) -> None:
        self._ends = Ends()
        agent = agent_with(_answer, add).replace(sinks=[self._ends])
        self._app = becket_serve.app(agent, limits=becket_serve.ServeLimits(runs=RUNS))
        self._bodies: dict[bytes, list[bytes]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        match scope.get("path"):
            case "/cpu":
                await _begin(send, b"text/plain")
                await send({"type": "http.response.body", "body": str(cpu()).encode()})
            case "/measure":
                await _begin(send, b"application/json")
                await send({"type": "http.response.body", "body": json.dumps(self.measured()).encode()})
            case "/bare":
                await self._bare(scope, receive, send)
            case _:
                await self._app(scope, receive, send)

    async def _bare(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The least: what was sent before is sent again, in as many messages, with the same turns of the loop."""
        asked = await receive()
        pace = json.loads(asked["body"])["prompt"].partition(" ")[0]
        bodies = self._bodies.get(asked["body"]) or await self._recorded(scope, asked, together=pace == "together")
        await _begin(send, b"text/event-stream")
        for body in bodies:
            if pace != "together":
                await asyncio.sleep(0)
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _recorded(self, scope: Scope, asked: Message, *, together: bool) -> list[bytes]:
        sent: list[bytes] = []
        once = [asked]

        async def receive() -> Message:
            if once:
                return once.pop()
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            sent.append(message.get("body", b""))

        await self._app({**scope, "path": "/events", "raw_path": b"/events"}, receive, send)
        events = b"".join(sent).split(b"\n\n")[:-1]
        of = 256 if together else 1  # as many as are handed over together
        whole = [event + b"\n\n" for event in events]
        bodies = [b"".join(whole[start : start + of]) for start in range(0, len(whole), of)]
        self._bodies[asked["body"]] = bodies
        return bodies

    def measured(self) -> dict[str, Any]:
        """What the process has used, and what is left in it."""
        gc.collect()
        return {
            "cpu": cpu(),
            "tasks": len(asyncio.all_tasks()),
            "files": len(list(Path("/proc/self/fd").iterdir())),
            "resident": int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096,
            "running": self._ends.running,
            "runs": self._ends.runs,
            "ended_once": self._ends.ends[1],
        }


async def _begin(send: Send, media_type: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", media_type)]})


def _main() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        print(listening.getsockname()[1], flush=True)
        config = uvicorn.Config(Served(), log_level="warning", access_log=False, lifespan="off", backlog=1024)
        uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    _main()
