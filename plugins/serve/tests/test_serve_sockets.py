"""Wires over WebSockets: who may open one, what ends it, and what becomes of its runs."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import TYPE_CHECKING, Any, Literal

import anyio
import pytest
from anyio.lowlevel import checkpoint
from becket import Allow, RequestError, Runtime, hookimpl
from becket.testing import Scenarios
from becket.wires import RunRequest
from becket_serve import ServeLimits
from becket_serve.testing import serving
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from becket.wires import RunHost, Socket

TOKEN, OTHER = "the-token-of-the-one", "the-token-of-the-other"
BEARER = {"authorization": f"Bearer {TOKEN}"}


class Talk:
    """A wire over sockets, by words: `run NAME`, `detach NAME`, `find ID`, `refuse`, `fail`, `leave`; else an echo."""

    name, path, subprotocols = "talk", "/talk", ("talk.2", "talk.1")

    async def serve(self, socket: Socket, runs: RunHost, /) -> None:  # noqa: C901  one case for each word
        while True:
            message = await socket.receive()
            word, _, rest = (message if isinstance(message, str) else message.decode()).partition(" ")
            match word:
                case "run" | "detach":
                    stream = runs.start(RunRequest(prompt=rest, detach=word == "detach"), asks=True)
                    await socket.send(stream.run_id)
                    while events := await stream.read():
                        for event in events:
                            await socket.send(event.to_json())
                            if event.type == "text_delta" and rest == "held":
                                await socket.receive()
                case "find":
                    reader = runs.find(rest).follow()
                    for event in await reader.read():
                        await socket.send(event.to_json())
                case "answer":
                    runs.start(RunRequest(answers={"x": Allow()}), asks=True)
                case "refuse":
                    raise RequestError("not like this " + 200 * "\u00e9")
                case "fail":
                    raise ValueError("secret of the server")
                case "leave":
                    return
                case _:
                    await socket.send(message)

    @hookimpl
    def register_wires(self) -> list[Talk]:
        return [self]


@pytest.fixture
def talking(place: Callable[..., Any]) -> Callable[..., Any]:
    def make(*tokens: str, **options: Any) -> Any:
        scenarios = Scenarios()
        runtime = Runtime(plugins=[Talk()], discover=False)
        return place(*tokens, scenarios=scenarios, agent=scenarios.agent.replace(runtime=runtime), **options)

    return make


class Line:
    """One end of a socket in memory, and what has come of it."""

    def __init__(self, here: Any, *, extension: bool, subprotocols: tuple[str, ...], headers: dict[str, str]) -> None:
        self.scope = here.client.scope("GET", "/talk", headers) | {
            "type": "websocket",
            "scheme": "ws",
            "subprotocols": list(subprotocols),
            "extensions": {"websocket.http.response": {}} if extension else {},
        }
        del self.scope["method"]
        self.said: list[dict[str, Any]] = []
        self.to, self._from = anyio.create_memory_object_stream[dict[str, Any]](10)
        self.to.send_nowait({"type": "websocket.connect"})

    async def receive(self) -> dict[str, Any]:
        return await self._from.receive()

    async def send(self, message: dict[str, Any]) -> None:
        await checkpoint()
        self.said.append(message)

    async def say(self, text: str) -> None:
        await self.to.send({"type": "websocket.receive", "text": text})

    async def until(self, kind: str, count: int = 1) -> dict[str, Any]:
        with anyio.fail_after(20):
            while len(found := [one for one in self.said if one["type"] == kind]) < count:
                await checkpoint()
        return found[-1]

    def close(self) -> None:
        self.to.close()
        self._from.close()


@contextlib.asynccontextmanager
async def opened(
    here: Any, *, extension: bool = True, subprotocols: tuple[str, ...] = (), **headers: str
) -> AsyncIterator[Line]:
    """A socket; leaving the block goes away."""
    line = Line(here, extension=extension, subprotocols=subprotocols, headers=headers)
    try:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(here.app, line.scope, line.receive, line.send)
                yield line
                await line.to.send({"type": "websocket.disconnect", "code": 1001})
    finally:
        line.close()


@pytest.mark.anyio
async def test_it_agrees_on_the_best_subprotocol_that_is_offered(talking: Callable[..., Any]) -> None:
    here = talking()
    for offered, agreed in (((), None), (("talk.1", "talk.2"), "talk.2"), (("x", "talk.1"), "talk.1"), (("x",), None)):
        async with opened(here, subprotocols=offered) as line:
            assert (await line.until("websocket.accept"))["subprotocol"] == agreed
            await line.say("hello")
            assert (await line.until("websocket.send"))["text"] == "hello"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": ""}, 401),
        ({"authorization": f"Bearer {TOKEN}x"}, 401),
        ({"host": "evil.example"}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
    ],
)
async def test_who_may_not_is_told_before_it_is_open(
    talking: Callable[..., Any], headers: dict[str, str], status: int
) -> None:
    """By the status and a problem, or where the server cannot send one, by closing it."""
    here = talking(TOKEN)
    async with opened(here, **headers) as line:
        assert (await line.until("websocket.http.response.start"))["status"] == status
        assert f'"status":{status}'.encode() in (await line.until("websocket.http.response.body"))["body"]
    async with opened(here, extension=False, **headers) as line:
        assert (await line.until("websocket.close"))["code"] == 1008
    assert "websocket.accept" not in [one["type"] for one in line.said]


@pytest.mark.anyio
async def test_one_socket_too_many_is_told_to_come_back(talking: Callable[..., Any]) -> None:
    """Before it is open; and there is room again where one has gone."""
    here = talking(limits=ServeLimits(readers=1))
    async with opened(here) as first:
        await first.until("websocket.accept")
        async with opened(here) as line:
            start = await line.until("websocket.http.response.start")
            assert (start["status"], dict(start["headers"])[b"retry-after"]) == (429, b"5")
        async with opened(here, extension=False) as line:
            assert (await line.until("websocket.close"))["reason"] == "too_many_readers"
    async with opened(here) as line:
        await line.until("websocket.accept")


@pytest.mark.anyio
async def test_a_page_gives_its_token_as_a_subprotocol(talking: Callable[..., Any]) -> None:
    """It can set no header. The token is nothing that could be agreed on."""
    here = talking(TOKEN)
    spelled = base64.urlsafe_b64encode(TOKEN.encode()).decode().rstrip("=")
    async with opened(
        here, subprotocols=("talk.1", f"bearer.{spelled}"), authorization="", origin="http://localhost"
    ) as line:
        assert (await line.until("websocket.accept"))["subprotocol"] == "talk.1"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("word", "code", "reason"),
    [
        ("leave", 1000, ""),
        ("refuse", 1008, "not like this"),
        ("fail", 1011, "the server has failed"),
        ("find " + "0" * 32, 1008, "there is no run of this id"),
        ("run ", 1008, "the prompt is empty"),
        ("answer", 1008, "decisions are made on the run's own stream"),
        ("x" * 2000, 1009, "a message has at most 1000 bytes"),
    ],
)
async def test_what_ends_it_is_said_by_its_code(
    talking: Callable[..., Any], word: str, code: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The reason fits into the frame, and says nothing of the server's own faults."""
    here = talking(limits=ServeLimits(body_bytes=1000))
    async with opened(here) as line:
        await line.say(word)
        closed = await line.until("websocket.close")
    assert (closed["code"], closed["reason"].startswith(reason)) == (code, True), closed
    assert len(closed["reason"].encode()) <= 123
    assert "secret" not in closed["reason"]
    assert ("secret of the server" in caplog.text) == (word == "fail")


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["idle tool", "held"])
async def test_its_runs_end_with_it(talking: Callable[..., Any], name: str) -> None:
    """Whether the wire waits for a message just now, or for its run."""
    here = talking()
    async with opened(here) as line:
        await line.say(f"run {name}")
        await here.until(lambda: here.scenarios.waiting)
        run_id = line.said[1]["text"]
    assert (here.scenarios.waiting, here.scenarios.cleaned, here.going_on) == (0, 1, 0)
    kept = await here.client.get(f"/runs/{run_id}/events")
    assert kept.events[-1]["result"]["stop_reason"] == "cancelled"


@pytest.mark.anyio
async def test_a_run_that_is_detached_goes_on_without_it(talking: Callable[..., Any]) -> None:
    """And is found by the next one."""
    here = talking()
    async with opened(here) as line:
        await line.say("detach held")
        await here.until(lambda: here.scenarios.waiting)
        run_id = line.said[1]["text"]
    assert here.going_on == 1
    async with opened(here) as line:
        await line.say(f"find {run_id}")
        await line.until("websocket.send", 4)
        assert b"run_started" in line.said[1]["text"].encode()
    await here.client.post(f"/runs/{run_id}/cancel")
    await here.idle()


@pytest.mark.anyio
async def test_a_run_of_another_client_is_not_found(talking: Callable[..., Any]) -> None:
    here = talking(TOKEN, OTHER)
    answer = await here.client.post("/events", {"prompt": "text"})
    async with opened(here, authorization=f"Bearer {OTHER}") as line:
        await line.say(f"find {answer.run_id}")
        assert (await line.until("websocket.close"))["code"] == 1008


@pytest.mark.anyio
async def test_a_decision_made_aside_leaves_its_reader_what_it_reads(talking: Callable[..., Any]) -> None:
    here = talking()
    async with opened(here) as line:
        await line.say("run asks")
        await here.until(lambda: any("decision_requested" in one.get("text", "") for one in line.said))
        run_id = line.said[1]["text"]
        asked = next(one["text"] for one in line.said if "decision_requested" in one.get("text", ""))
        body = {"request_id": json.loads(asked)["request_id"], "outcome": "allow"}
        assert (await here.client.post(f"/runs/{run_id}/decisions", body)).status == 202
        await here.until(lambda: "run_finished" in line.said[-1].get("text", ""))
    events = [json.loads(one["text"]) for one in line.said[2:] if one["type"] == "websocket.send"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))


@pytest.mark.anyio
async def test_a_server_that_stops_hangs_up(talking: Callable[..., Any]) -> None:
    here = talking(limits=ServeLimits(grace=0.01))
    async with opened(here) as line:
        await line.say("run idle tool")
        await here.until(lambda: here.scenarios.waiting)
        await here.app.state.becket.close()
        assert (await line.until("websocket.close"))["code"] in {1001, 1000}
    assert (here.scenarios.waiting, here.going_on) == (0, 0)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_it_is_opened_by_a_real_client_through_a_real_server(
    talking: Callable[..., Any], backend: Literal["asyncio", "trio"]
) -> None:
    """uvicorn, and hypercorn on trio; the client is the package websockets."""
    here = talking(TOKEN)
    with serving(here.app, backend=backend) as url:
        address = f"{url.replace('http', 'ws')}/talk"
        with connect(address, additional_headers=BEARER, subprotocols=["talk.1"], proxy=None) as socket:  # type: ignore[list-item]
            assert socket.subprotocol == "talk.1"
            socket.send("run unicode")
            assert len(str(socket.recv(20))) == 32
            events = []
            while not events or events[-1]["type"] != "run_finished":
                events.append(json.loads(socket.recv(20)))
            assert "".join(one["text"] for one in events if one["type"] == "text_delta") == Scenarios.text("unicode")
        with pytest.raises(InvalidStatus) as refused:
            connect(address, proxy=None)
        assert refused.value.response.status_code in {401, 403}
