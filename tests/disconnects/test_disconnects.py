"""A client that goes away, at any moment and behind any server: its run has cleaned up within a second."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import anyio
import becket_serve
import pytest
from anyio.lowlevel import checkpoint
from becket import Agent, RunFailed, RunFinished, RunStarted, Runtime, TextDelta, tool
from becket.asgi import EventResponse
from becket.testing import ScriptedProvider, calls, text
from becket.wires import EventStreamEncoder, server_sent_event
from becket_serve import AgentResponse, ServeLimits
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request  # noqa: TC002  FastAPI looks at it
from starlette.responses import StreamingResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from becket import Event, ModelRequest, RunInfo
    from becket.testing import Step

pytestmark = [
    pytest.mark.anyio,
    # Starlette's own, on trio: it leaves its generator behind where the client goes
    pytest.mark.filterwarnings("ignore:Async generator 'starlette.middleware.base:ResourceWarning"),
]

PATIENCE = 30.0  # seconds; a test that is about to fail waits no longer
AT_ONCE = 1.0  # seconds that a run has to clean up once its client has gone


class Watched:
    """An agent whose prompt names what it is doing when its client goes, and what is seen of its runs.

    Attributes:
        agent: The agent.
        waiting: Model calls and tools that wait for ever now.
        cleaned: Model calls and tools that have cleaned up.
        pieces: Pieces of text that the model has made.
        running: Runs that go on.
        ended: How each that has ended did.
        responses: What they were answered with, where that is known.
    """

    def __init__(self) -> None:
        self.waiting = self.cleaned = self.pieces = self.running = 0
        self.ended: list[str] = []
        self.responses: list[EventResponse] = []
        self.agent = Agent(
            ScriptedProvider(self._script), [tool(effect="none")(self.wait)], sinks=[_Ends(self)], runtime=_RUNTIME
        )

    def _script(self, request: ModelRequest) -> Iterable[Step]:
        match request.messages[0].text:
            case "text":
                return self._flood("so it goes ")
            case "blocked":
                return self._flood("x" * 10_000)
            case "tool":
                return calls(("wait", {}))
            case "silent":
                return [self.wait, *text("never")]
            case said:
                return text("You said ", said, ".")

    def _flood(self, piece: str) -> Iterator[Step]:
        try:
            while True:
                yield checkpoint  # as from a network, pieces come one by one
                self.pieces += 1
                yield TextDelta(piece)
        finally:
            self.cleaned += 1

    async def wait(self) -> None:
        """Wait for ever."""
        self.waiting += 1
        try:
            await anyio.sleep_forever()
        finally:
            self.waiting -= 1
            self.cleaned += 1

    def busy(self, doing: str) -> Callable[[], bool]:
        """What says whether the run is in the middle of it."""
        match doing:
            case "text":
                return lambda: self.pieces > 0
            case "blocked":
                return self._stalls()
            case _:
                return lambda: self.waiting > 0

    def _stalls(self) -> Callable[[], bool]:
        """Whether there was no piece more in a hundred turns of the event loop, each of which would make one."""
        before, turns = 0, 0

        def stalls() -> bool:
            nonlocal before, turns
            turns = turns + 1 if self.pieces == before > 0 else 0
            before = self.pieces
            return turns == 100

        return stalls


class _Ends:
    """A sink, and each of its observers, which counts the runs."""

    name = "ends"
    required = True

    def __init__(self, watched: Watched) -> None:
        self._watched = watched

    def open(self, run: RunInfo, /) -> _Ends:
        return self

    def with_argument(self, argument: str, /) -> _Ends:
        raise NotImplementedError

    def emit(self, event: Event, /) -> None:
        match event:
            case RunStarted():
                self._watched.running += 1
            case RunFinished(result=result):
                self._watched.running -= 1
                self._watched.ended.append(result.stop_reason)
            case RunFailed(error=error):
                self._watched.running -= 1
                self._watched.ended.append(error.message)
            case _:
                pass

    def close(self) -> None:
        """Nothing is held."""


_RUNTIME = Runtime(discover=False)


class _Events(EventStreamEncoder):
    def encode(self, event: Event, /) -> bytes:
        return server_sent_event(event.to_json())


def starlette(watched: Watched) -> Any:
    async def answer(request: Request) -> Any:
        stream = watched.agent.stream_async((await request.json())["prompt"])
        watched.responses.append(EventResponse(stream, _Events()))
        return watched.responses[-1]

    return Starlette(routes=[Route("/", answer, methods=["POST"])])


def plain(watched: Watched) -> Any:
    """What a host does that knows nothing of becket."""

    async def pieces(prompt: str) -> AsyncIterator[str]:
        async for event in watched.agent.stream_async(prompt):
            if isinstance(event, TextDelta):
                yield event.text

    async def answer(request: Request) -> Any:
        return StreamingResponse(pieces((await request.json())["prompt"]), media_type="text/plain")

    return Starlette(routes=[Route("/", answer, methods=["POST"])])


class Question(BaseModel):
    prompt: str


def fastapi(watched: Watched) -> Any:
    app = FastAPI()

    @app.post("/")
    async def answer(question: Question) -> AgentResponse:
        return AgentResponse(watched.agent.stream_async(question.prompt))

    return app


def middleware(watched: Watched) -> Any:
    """Middleware of this kind stands between the server and the response, in both directions."""
    app = fastapi(watched)

    @app.middleware("http")
    async def passes(request: Request, call_next: Any) -> Any:
        return await call_next(request)

    return app


def serve(watched: Watched) -> Any:
    return becket_serve.app(watched.agent)


def narrow(watched: Watched) -> Any:
    return becket_serve.app(watched.agent, limits=ServeLimits(runs=1))


def detached(watched: Watched) -> Any:
    async def answer(request: Request) -> Any:
        stream = watched.agent.stream_async((await request.json())["prompt"], detach=True)
        watched.responses.append(EventResponse(stream, _Events()))
        return watched.responses[-1]

    return Starlette(routes=[Route("/", answer, methods=["POST"])])


APPS = {
    "starlette": (starlette, "/"),
    "fastapi": (fastapi, "/"),
    "middleware": (middleware, "/"),
    "events": (serve, "/events"),
    "stream": (serve, "/stream"),
}
"""What answers, and at which path."""

_ALL = {**APPS, "plain": (plain, "/"), "narrow": (narrow, "/events"), "detached": (detached, "/")}


def served(server: Any, app: str, watched: Watched, spec: str = "2.3") -> str:
    """Have this one served; the path to ask."""
    make, path = _ALL[app]
    server.serve(make(watched), spec=spec)
    return path


@pytest.mark.parametrize("spec", ["2.3", "2.4"])
@pytest.mark.parametrize("doing", ["text", "tool", "blocked", "silent"])
@pytest.mark.parametrize("app", APPS)
async def test_a_client_that_is_killed_ends_its_run(server: Any, app: str, doing: str, spec: str) -> None:
    """While text flows; while a tool waits; while nothing can be sent, as it does not read; before the first text."""
    watched = Watched()
    path = served(server, app, watched, spec)
    with anyio.fail_after(PATIENCE):
        with server.client(path, doing) as client:
            if doing == "text":
                await client.read(b"so it goes")
            await server.until(watched.busy(doing))
        with anyio.fail_after(AT_ONCE):
            await server.until(lambda: watched.cleaned > 0 and watched.running == 0)
    assert (watched.cleaned, watched.ended) == (1, ["cancelled"])
    assert [response.gone for response in watched.responses] == [True] * len(watched.responses)


@pytest.mark.parametrize("doing", ["text", "tool", "blocked", "silent"])
async def test_the_place_of_a_killed_client_is_free_again(server: Any, doing: str) -> None:
    """The server takes one run at once."""
    watched = Watched()
    path = served(server, "narrow", watched)
    with anyio.fail_after(PATIENCE):
        with server.client(path, doing):
            await server.until(watched.busy(doing))
            with server.client(path, "hello") as another:
                await another.read(b"too_many_runs")
        await server.until(lambda: watched.running == 0)
        await server.settled()
        with server.client(path, "hello") as another:
            await another.read(b"You said ")


@pytest.mark.parametrize("spec", ["2.3", "2.4"])
async def test_a_detached_run_goes_on_without_its_client(server: Any, spec: str) -> None:
    watched = Watched()
    path = served(server, "detached", watched, spec)
    with anyio.fail_after(PATIENCE):
        with server.client(path, "tool"):
            await server.until(watched.busy("tool"))
        (response,) = watched.responses
        await server.until(lambda: response.gone)
        await server.settled()
        assert (watched.running, watched.cleaned) == (1, 0)
        response.stream.cancel()
        await server.until(lambda: watched.running == 0)


@pytest.mark.parametrize("anyio_backend", ["asyncio"], scope="module")  # trio warns of generators that nobody closes
@pytest.mark.parametrize(
    ("doing", "spec"),
    [("text", "2.3"), ("tool", "2.3"), ("blocked", "2.3"), ("silent", "2.3"), ("text", "2.4"), ("blocked", "2.4")],
)
async def test_a_plain_response_ends_its_run_as_well(server: Any, doing: str, spec: str) -> None:
    """But for what Starlette does not watch, since version 2.4: there a run ends with a piece that is not delivered."""
    watched = Watched()
    path = served(server, "plain", watched, spec)
    with anyio.fail_after(PATIENCE):
        with server.client(path, doing) as client:
            if doing == "text":
                await client.read(b"so it goes")
            await server.until(watched.busy(doing))
        with anyio.fail_after(AT_ONCE):
            await server.until(lambda: watched.cleaned > 0 and watched.running == 0)
    assert (watched.cleaned, watched.ended) == (1, ["cancelled"])


@pytest.mark.parametrize("spec", ["2.3", "2.4"])
@pytest.mark.parametrize("app", APPS)
async def test_a_client_that_never_reads_anything_leaves_nothing(server: Any, app: str, spec: str) -> None:
    """It may be gone before its run was begun; no run is left, and the server goes on."""
    watched = Watched()
    path = served(server, app, watched, spec)
    with anyio.fail_after(PATIENCE):
        for _ in range(10):
            with server.client(path, "silent"):
                pass
        with server.client(path, "hello") as client:
            await client.read(b"hello")
        await server.until(lambda: watched.running == 0)


@pytest.mark.parametrize("spec", ["2.3", "2.4"])
@pytest.mark.parametrize("app", APPS)
async def test_a_client_that_reads_to_the_end_is_not_gone(server: Any, app: str, spec: str) -> None:
    """Though servers say that it has disconnected, once everything was sent. Its connection takes the next request."""
    watched = Watched()
    path = served(server, app, watched, spec)
    with anyio.fail_after(PATIENCE), server.client(path, "hello") as client:
        await client.read(b"\r\n0\r\n\r\n")
        client.ask(path, "hello")
        await client.read(b"\r\n0\r\n\r\n")
    assert watched.ended == ["end_turn", "end_turn"]
    assert [response.gone for response in watched.responses] == [False] * len(watched.responses)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not there")
@pytest.mark.parametrize("app", APPS)
async def test_curl_that_is_killed_ends_its_run(server: Any, app: str) -> None:
    watched = Watched()
    path = served(server, app, watched)
    address = f"http://127.0.0.1:{server.port}{path}"
    command = [
        "curl",
        "-sN",
        "--noproxy",
        "*",
        "-H",
        "Content-Type: application/json",
        "-d",
        json.dumps({"prompt": "tool"}),
        address,
    ]
    curl = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: ASYNC220, S603  our own words; nobody waits
    try:
        with anyio.fail_after(PATIENCE):
            await server.until(watched.busy("tool"))
            curl.send_signal(signal.SIGKILL)
            with anyio.fail_after(AT_ONCE):
                await server.until(lambda: watched.cleaned > 0 and watched.running == 0)
    finally:
        curl.kill()
        curl.wait()
    assert watched.ended == ["cancelled"]
