"""A server in the event loop of the tests, and clients of it that are killed."""

from __future__ import annotations

import json
import os
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

import anyio
import hypercorn.config
import hypercorn.trio
import pytest
import uvicorn
from anyio.lowlevel import checkpoint
from starlette.requests import ClientDisconnect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from becket.asgi import Message, Receive, Scope, Send


class Server:
    """One that serves what it is given from test to test.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self._app: Any = None
        self._spec = ""

    def serve(self, app: Any, *, spec: str = "2.3") -> None:
        """Serve this one from now on, speaking this version of ASGI's HTTP specification."""
        self._app, self._spec = app, spec

    def client(self, path: str, prompt: str) -> Client:
        """One that has asked for a run."""
        return Client(self.port, path, prompt)

    @staticmethod
    async def until(condition: Callable[[], bool]) -> None:
        """Turn the event loop until it holds."""
        while not condition():
            await checkpoint()

    @staticmethod
    async def settled() -> None:
        """Turn the event loop a hundred times: what was about to happen has."""
        for _ in range(100):
            await checkpoint()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        scope["asgi"] = {**scope["asgi"], "spec_version": self._spec}
        if self._spec == "2.3":
            await self._app(scope, receive, send)
        else:
            await self._later(scope, receive, send)

    async def _later(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As servers do since version 2.4: what is sent to a client that has gone raises OSError."""
        post, box = anyio.create_memory_object_stream["Message"](10)
        gone = False

        async def pump() -> None:
            nonlocal gone
            while not gone:
                message = await receive()
                gone = message["type"] == "http.disconnect"
                post.send_nowait(message)

        async def deliver(message: Message) -> None:
            if not gone:
                await send(message)
                if not message.get("more_body", True):
                    return  # the end, after which it has every right to
            if gone:
                raise OSError("the client has gone")

        with post, box:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(pump)
                with suppress(ClientDisconnect):  # what it said itself; pytest would keep the traceback
                    await self._app(scope, box.receive, deliver)
                tasks.cancel_scope.cancel()


@pytest.fixture(scope="module")
async def server(anyio_backend: str) -> AsyncIterator[Server]:
    """On asyncio uvicorn, on trio hypercorn; in the event loop of the tests."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # so has each connection then
        it = Server(listening.getsockname()[1])
        run = behind_uvicorn if anyio_backend == "asyncio" else behind_hypercorn
        async with run(it, listening):
            yield it


@asynccontextmanager
async def behind_uvicorn(app: Any, listening: socket.socket) -> AsyncIterator[None]:
    served = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(served.serve, [listening])
        yield
        served.should_exit = True


@asynccontextmanager
async def behind_hypercorn(app: Any, listening: socket.socket) -> AsyncIterator[None]:
    config, stop = hypercorn.config.Config(), anyio.Event()
    config.bind = [f"fd://{os.dup(listening.fileno())}"]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: hypercorn.trio.serve(app, config, shutdown_trigger=stop.wait))
        yield
        stop.set()


class Client:
    """One whose process was killed when the block is left."""

    def __init__(self, port: int, path: str, prompt: str) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.connect(("127.0.0.1", port))  # the kernel takes it, and a small request as well
        self.ask(path, prompt)

    def ask(self, path: str, prompt: str) -> None:
        body = json.dumps({"prompt": prompt}).encode()
        self._socket.sendall(
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    async def read(self, until: bytes) -> bytes:
        """What comes, to the first time that this does."""
        got = b""
        while until not in got:
            await anyio.wait_readable(self._socket)
            piece = self._socket.recv(1000)
            assert piece, got
            got += piece
        return got
