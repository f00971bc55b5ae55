"""What the tests of the server share: a client that calls the application in memory, on either event loop."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from becket.testing import Scenarios
from becket_serve import app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

PATIENCE = 20.0
"""Seconds; a test that is about to fail waits no longer."""


@dataclass
class Answer:
    """What has come of an answer so far.

    Attributes:
        status: The status, 0 before there is one.
        headers: The headers, by their names in small letters; the last of those that come more than once.
        body: The body.
        ended: Whether it is whole.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | bytearray = b""
    ended: bool = False

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a problem, which it must be."""
        assert self.headers["content-type"] == "application/problem+json", self
        problem = self.json
        assert problem["status"] == self.status
        assert problem["title"]
        assert problem["detail"]
        return str(problem["code"])

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events that have come whole, in either form."""
        lines = self.body.split(b"\n")
        if self.headers["content-type"] == "application/x-ndjson":
            return [json.loads(line) for line in lines[:-1] if line]
        return [json.loads(line.removeprefix(b"data: ")) for line in lines[:-1] if line.startswith(b"data: ")]

    def has(self, kind: str) -> bool:
        """Whether an event of this type has come."""
        return f'"type":"{kind}"'.encode() in self.body

    def first(self, kind: str) -> dict[str, Any]:
        """The first event of a type."""
        return next(event for event in self.events if event["type"] == kind)

    @property
    def run_id(self) -> str:
        """The run."""
        return self.headers["run-id"]


class Open(Answer):
    """An answer that is still coming."""

    def __init__(self, request: list[dict[str, Any]], spec: str) -> None:
        super().__init__(body=bytearray())
        self._request = request
        self._spec = spec
        self._changed = anyio.Event()
        self._gone = anyio.Event()
        self._reads = anyio.Event()
        self._reads.set()

    async def receive(self) -> dict[str, Any]:
        """ASGI's."""
        if self._request:
            return self._request.pop(0)
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Mapping[str, Any]) -> None:
        """ASGI's."""
        await checkpoint()
        await self._reads.wait()
        if self._gone.is_set():
            if self._spec == "2.4":
                raise OSError("the client has gone")
            return
        if message["type"] == "http.response.start":
            assert not self.status
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            assert self.status
            assert not self.ended
            self.body += message.get("body", b"")
            self.ended = not message.get("more_body", False)
        self.wake()

    def wake(self) -> None:
        """Something has changed."""
        self._changed.set()
        self._changed = anyio.Event()

    async def until(self, true: Callable[[Answer], bool]) -> None:
        """Wait until something holds of the answer."""
        with anyio.fail_after(PATIENCE):
            while not true(self):
                assert not self.ended, self
                await self._changed.wait()

    async def end(self) -> None:
        """Wait until it is whole."""
        await self.until(lambda answer: answer.ended)

    def go(self) -> None:
        """Go away."""
        self._gone.set()
        self._reads.set()

    def stop_reading(self) -> None:
        """Let the server's next `send` wait."""
        self._reads = anyio.Event()

    def read_on(self) -> None:
        """Let it go on."""
        self._reads.set()


class Client:
    """Calls an application in memory.

    Attributes:
        app: The application.
        headers: What each request has.
        spec: The version of ASGI's HTTP specification that the server has: 2.3 does not tell who sends of a client that
            has gone, 2.4 does.
    """

    def __init__(self, application: Any, *, token: str = "", spec: str = "2.4", root_path: str = "") -> None:
        self.app = application
        self.headers = {"host": "localhost"} | ({"authorization": f"Bearer {token}"} if token else {})
        self.spec = spec
        self.root_path = root_path

    def scope(self, method: str, url: str, headers: Mapping[str, str]) -> dict[str, Any]:
        """ASGI's."""
        path, _, query = url.partition("?")
        sent = {**self.headers, **headers}
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": self.spec},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": self.root_path + path,
            "raw_path": path.encode(),
            "root_path": self.root_path,
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in sent.items() if value],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8000),
        }

    @asynccontextmanager
    async def open(
        self, method: str, url: str, content: Any = None, *, body: bytes | None = None, **headers: str
    ) -> AsyncIterator[Open]:
        """Send a request; leaving the block goes away, and waits until the application has ended."""
        data = body if body is not None else b"" if content is None else json.dumps(content).encode()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if content is not None or body is not None:
            given = {"content-type": "application/json", **given}
        answer = Open([{"type": "http.request", "body": data, "more_body": False}], self.spec)

        async def call() -> None:
            await self.app(self.scope(method, url, given), answer.receive, answer.send)
            answer.wake()

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call)
                yield answer
                answer.go()

    async def get(self, url: str, **headers: str) -> Answer:
        """A whole answer."""
        async with self.open("GET", url, **headers) as answer:
            await answer.end()
        return answer

    async def post(self, url: str, content: Any = None, *, body: bytes | None = None, **headers: str) -> Answer:
        """A whole answer."""
        async with self.open("POST", url, content, body=body, **headers) as answer:
            await answer.end()
        return answer


@pytest.fixture
def client() -> type[Client]:
    """The class of clients."""
    return Client


@dataclass
class Place:
    """A server of the scenarios, and who calls it.

    Attributes:
        scenarios: Its agent.
        app: The application.
        client: A client.
    """

    scenarios: Scenarios
    app: Any
    client: Client

    def other(self, token: str) -> Client:
        """A client with another token."""
        return Client(self.app, token=token)

    @property
    def going_on(self) -> int:
        """How many runs go on."""
        return int(self.app.state.becket.runs.going_on)

    async def until(self, true: Callable[[], object], *, seconds: float = PATIENCE) -> None:
        """Wait until something holds that other tasks bring about."""
        with anyio.fail_after(seconds):
            while not true():
                await checkpoint()

    async def idle(self, *, seconds: float = PATIENCE) -> None:
        """Wait until no run goes on."""
        await self.until(lambda: not self.going_on, seconds=seconds)


@pytest.fixture
def place() -> Callable[..., Place]:
    """Makes a server of the scenarios; its arguments are those of `app`."""

    def make(
        *tokens: str, spec: str = "2.4", scenarios: Scenarios | None = None, agent: Any = None, **options: Any
    ) -> Place:
        scenarios = scenarios or Scenarios()
        application = app(agent or scenarios.agent, tokens=tokens, **options)
        return Place(scenarios, application, Client(application, token=tokens[0] if tokens else "", spec=spec))

    return make
