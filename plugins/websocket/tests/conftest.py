"""A client in memory, and the runs of a server without one."""

from __future__ import annotations

import json
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from becket import Agent, AgentStream, MemoryLog, RequestError
from becket.testing import Scenarios
from becket.wires import RunRequest, SocketClosed
from becket_websocket import WebSocketWire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Client:
    """A client, seen from both ends.

    Args:
        room: Messages that the server can send before somebody reads.
    """

    def __init__(self, room: float) -> None:
        self._to_server, self._from_client = anyio.create_memory_object_stream[str | bytes](math.inf)
        self._to_client, self._from_server = anyio.create_memory_object_stream[bytes](room)
        self.sending = 0
        self.sent = 0

    # -- the socket ------------------------------------------------------------------------------------------------

    async def receive(self) -> str | bytes:
        try:
            return await self._from_client.receive()
        except anyio.EndOfStream:
            raise SocketClosed from None

    async def send(self, message: str | bytes, /) -> None:
        assert isinstance(message, bytes)
        assert self.sending == 0, "two tasks write at once"
        self.sending += 1
        try:
            await self._to_client.send(message)
        except anyio.BrokenResourceError:
            raise SocketClosed from None
        finally:
            self.sending -= 1
        self.sent += 1

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self.leave()

    # -- the client ------------------------------------------------------------------------------------------------

    def say(self, message: Any = None, /, **members: Any) -> None:
        """Send a text or bytes as they are, or members as JSON."""
        self._to_server.send_nowait(json.dumps(members) if message is None else message)

    async def hear(self) -> dict[str, Any]:
        """The next message."""
        message: dict[str, Any] = json.loads(await self._from_server.receive())
        return message

    async def hear_to(self, kind: str, event: str = "") -> list[dict[str, Any]]:
        """The messages up to the first one of this type, or the first event of that."""
        heard = []
        while True:
            heard.append(await self.hear())
            if heard[-1]["type"] == kind and event in {"", heard[-1].get("event", {}).get("type")}:
                return heard

    def leave(self) -> None:
        """Go away."""
        self._to_server.close()
        self._from_server.close()

    def free(self) -> None:
        """Both sides have gone."""
        self._from_client.close()
        self._to_client.close()


class Host:
    """The runs of one client, as a server has them.

    Args:
        agent: What is run.
        keep: Events that are kept of a run.
    """

    def __init__(self, agent: Agent[Any], keep: int = 1000) -> None:
        self.agent = agent
        self.keep = keep
        self.requests: list[RunRequest] = []
        self.streams: dict[str, AgentStream[Any]] = {}

    def start(self, request: RunRequest, /, *, asks: bool) -> AgentStream[Any]:
        assert asks
        if request.agent not in {None, self.agent.name}:
            raise RequestError(f"there is no agent {request.agent!r}", status=404, code="unknown_agent")
        self.requests.append(request)
        home = self.agent if request.session_id is None else self.agent.session(f"server/{request.session_id}")
        stream = home.stream_async(request.prompt, detach=request.detach, log=MemoryLog(self.keep))
        self.streams[stream.run_id] = stream
        return stream

    def find(self, run_id: str, /) -> AgentStream[Any]:
        if run_id not in self.streams:
            raise RequestError("there is no run of this id", status=404, code="unknown_run", members={"kept": 7})
        return self.streams[run_id]

    async def leave(self) -> None:
        """What the server does when a client has gone: what is not detached is cancelled."""
        for stream in self.streams.values():
            await stream.aclose()


@pytest.fixture
def scenarios() -> Scenarios:
    return Scenarios()


@pytest.fixture
def host(scenarios: Scenarios) -> Host:
    return Host(scenarios.agent)


@pytest.fixture
def connected(host: Host) -> Callable[..., Any]:
    """A client that talks to the wire as long as the block lasts; then it goes away."""

    @asynccontextmanager
    async def connect(*, room: float = math.inf, at: Host | None = None) -> AsyncIterator[Client]:
        client, runs = Client(room), at or host

        async def serve() -> None:
            with pytest.raises(SocketClosed):
                await WebSocketWire().serve(client, runs)
            client.free()
            await runs.leave()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve)
            with anyio.fail_after(30):
                yield client
            client.leave()

    return connect


@pytest.fixture
def make_host() -> type[Host]:
    return Host
