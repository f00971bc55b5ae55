"""Against a server that listens, with the client of the package `websockets`, which nobody here wrote."""

from __future__ import annotations

import json
import socket as sockets
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import becket_serve
import pytest
from becket import Runtime, TextDelta, event_from_json
from becket.testing import Scenarios
from becket_serve import ServeLimits
from becket_serve._server import Server as StoppedWell
from becket_serve.testing import serving
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOKEN = "a token of more than 16 characters".replace(" ", "-")


class Server:
    """A server of the scenarios, and what its clients do.

    Attributes:
        scenarios: What happens in its runs.
    """

    def __init__(self, scenarios: Scenarios, app: Any, address: str) -> None:
        self.scenarios = scenarios
        self._app = app
        self._address = address.replace("http", "ws") + "/ws"

    @property
    def going_on(self) -> int:
        """Runs that are not over."""
        return int(self._app.state.becket.runs.going_on)

    @contextmanager
    def client(self, **options: Any) -> Iterator[Client]:
        options = {"subprotocols": ["becket.v1"], "max_size": None, **options}
        with connect(self._address, **options) as connection:
            yield Client(connection)

    def until(self, holds: Callable[[], bool], seconds: float = 1.0) -> None:
        """Wait until it does; the server is in another thread."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline
            threading.Event().wait(0.001)


class Client:
    """A connection.

    Attributes:
        connection: That of `websockets`.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def say(self, **members: Any) -> None:
        self.connection.send(json.dumps(members))

    def hear(self) -> dict[str, Any]:
        message = self.connection.recv(timeout=30)
        assert isinstance(message, str)  # a text, as a page in a browser expects it
        heard: dict[str, Any] = json.loads(message)
        return heard

    def hear_to(self, kind: str, event: str = "") -> list[dict[str, Any]]:
        heard = [self.hear()]
        while heard[-1]["type"] != kind or event not in {"", heard[-1].get("event", {}).get("type")}:
            heard.append(self.hear())
        return heard

    def start(self, prompt: str, **more: Any) -> str:
        self.say(type="start", prompt=prompt, **more)
        started = self.hear()
        assert started["type"] == "started", started
        run_id: str = started["run_id"]
        return run_id

    def kill(self) -> None:
        """Be gone without a word, as a process that was killed."""
        self.connection.socket.shutdown(sockets.SHUT_RDWR)


def events(heard: list[dict[str, Any]]) -> list[Any]:
    return [event_from_json(json.dumps(one["event"])) for one in heard if one["type"] == "event"]


def answer(heard: list[dict[str, Any]]) -> str:
    own = [event for event in events(heard) if isinstance(event, TextDelta) and event.parent_run_id is None]
    return "".join(event.text for event in own)


def websocket_alone() -> Runtime:
    """Without becket-guard, which is in this environment, and puts pieces together."""
    return Runtime(discover=True, allow=["websocket"])


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """On asyncio uvicorn, on trio hypercorn."""
    scenarios = Scenarios()
    app = becket_serve.app(scenarios.agent.replace(runtime=websocket_alone()))
    with serving(app, backend=request.param) as address:
        yield Server(scenarios, app, address)


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """No run goes on after a test, and nothing of one waits."""
    yield
    if "server" in request.fixturenames:
        server: Server = request.getfixturevalue("server")
        server.until(lambda: not server.going_on)
        assert server.scenarios.waiting == 0


@pytest.mark.parametrize("name", [name for name in Scenarios.names if name not in {"held", "idle tool", "flood"}])
def test_each_scenario_comes_over(name: str, server: Server) -> None:
    """Every event in its order, decisions among them, and the end."""
    with server.client() as client:
        assert client.connection.subprotocol == "becket.v1"
        run_id = client.start(name)
        heard = [client.hear()]
        while heard[-1]["type"] != "ended":
            if heard[-1]["event"]["type"] == "decision_requested":
                asked = heard[-1]["event"]["request_id"]
                client.say(type="decide", run_id=run_id, request_id=asked, outcome="allow")
            heard.append(client.hear())
    told = events(heard)
    assert [event.seq for event in told] == list(range(1, len(told) + 1))
    assert answer(heard) == Scenarios.text(name)


@pytest.mark.parametrize(("name", "until"), [("held", "text_delta"), ("idle tool", "tool_started")])
def test_a_run_is_cancelled(name: str, until: str, server: Server) -> None:
    with server.client() as client:
        run_id = client.start(name)
        client.hear_to("event", until)
        client.say(type="cancel", run_id=run_id)
        assert events(client.hear_to("ended"))[-1].result.stop_reason == "cancelled"


@pytest.mark.parametrize(("name", "until"), [("held", "text_delta"), ("idle tool", "tool_started")])
def test_a_client_that_is_killed_ends_its_runs(name: str, until: str, server: Server) -> None:
    """While text streams, and while a tool says nothing: what was running has cleaned up within a second."""
    before = server.scenarios.cleaned
    with server.client() as client:
        client.start(name)
        client.hear_to("event", until)
        assert server.going_on == 1
        client.kill()
        server.until(lambda: server.scenarios.cleaned == before + 1 and not server.going_on)


def test_a_client_that_is_killed_while_it_does_not_read_ends_its_runs(server: Server) -> None:
    """The server waits for it in the middle of a message."""
    with server.client(max_queue=1) as client:
        client.start("flood")
        client.hear_to("event", "text_delta")
        client.kill()
        server.until(lambda: not server.going_on)


def test_a_detached_run_is_read_on_after_the_connection_was_lost(server: Server) -> None:
    """With a decision open meanwhile: no event comes twice, and none is missing."""
    with server.client() as client:
        run_id = client.start("asks", detach=True)
        heard = client.hear_to("event", "decision_requested")
        client.kill()
    seen = heard[-1]["event"]
    with server.client() as client:
        client.say(type="resume", run_id=run_id, after=seen["seq"])
        client.say(type="decide", run_id=run_id, request_id=seen["request_id"], outcome="edit", arguments={"value": 8})
        heard += client.hear_to("ended")
    told = events(heard)
    assert [event.seq for event in told] == list(range(1, len(told) + 1))
    assert answer(heard) == "The answer: changed to 8"


def test_several_runs_share_a_connection(server: Server) -> None:
    """One that waits holds up none."""
    with server.client() as client:
        held = client.start("held")
        client.hear_to("event", "text_delta")
        for name in ("text", "tools", "nested"):
            client.say(type="start", id=name, prompt=name)
        heard: list[dict[str, Any]] = []
        while sum(one["type"] == "ended" for one in heard) < 3:
            heard.append(client.hear())
        for one in [one for one in heard if one["type"] == "started"]:
            own = [other for other in heard if other["run_id"] == one["run_id"]]
            assert answer(own) == Scenarios.text(one["id"])
        client.say(type="cancel", run_id=held)
        client.hear_to("ended")


def test_a_session_goes_on_over_connections(server: Server) -> None:
    """By the client's own name for it, which is all that it is told of it."""
    for messages in (1, 3):
        with server.client() as client:
            client.start("text", session_id="mine")
            told = events(client.hear_to("ended"))
        assert told[0].session_id == "mine"
        assert next(event.messages for event in told if event.type == "model_started") == messages


@pytest.mark.parametrize(
    ("message", "status", "code"),
    [
        ("{", 400, "malformed_json"),
        ('{"type": "start", "prompt": "x", "promt": "y"}', 422, "invalid_message"),
        ('{"type": "start", "prompt": "x", "agent": "nobody"}', 404, "unknown_agent"),
        (json.dumps({"type": "start", "prompt": "x" * 200_001}), 413, "prompt_too_long"),
        ('{"type": "cancel", "run_id": "nothing"}', 404, "unknown_run"),
    ],
    ids=["no JSON", "an unknown field", "an unknown agent", "a long prompt", "an unknown run"],
)
def test_what_is_wrong_with_a_message_leaves_the_connection(
    message: str, status: int, code: str, server: Server
) -> None:
    with server.client() as client:
        client.connection.send(message)
        said = client.hear()
        assert (said["type"], said["status"], said["code"]) == ("problem", status, code)
        client.say(type="ping")
        assert client.hear() == {"type": "pong"}


def test_a_message_that_is_too_large_closes_it(server: Server) -> None:
    with server.client() as client:
        client.connection.send(json.dumps({"type": "start", "prompt": "x" * 4_000_001}))
        with pytest.raises(ConnectionClosed) as caught:
            client.hear()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1009


def test_a_client_that_offers_no_subprotocol_is_served(server: Server) -> None:
    with server.client(subprotocols=None) as client:
        client.start("text")
        assert answer(client.hear_to("ended")) == Scenarios.text("text")


def test_a_hundred_thousand_pieces_come_over(guarded: Server) -> None:
    """On one of the servers: the other one takes ten seconds for it."""
    with guarded.client(additional_headers=bearer(TOKEN)) as client:
        client.start("flood")
        pieces = 0
        while (said := client.hear())["type"] == "event":
            pieces += said["event"]["type"] == "text_delta"
    assert pieces == len(Scenarios.text("flood"))


@pytest.mark.parametrize(("name", "until"), [("held", "text_delta"), ("idle tool", "tool_started")])
def test_a_server_that_is_stopped_says_how_its_runs_have_ended(name: str, until: str) -> None:
    """As `becket serve` is, by a signal: their last events come, and then the end of the connection."""
    scenarios = Scenarios()
    agent = scenarios.agent.replace(runtime=websocket_alone())
    server = StoppedWell(becket_serve.app(agent, limits=ServeLimits(grace=0)))
    with sockets.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        with connect(f"ws://127.0.0.1:{listening.getsockname()[1]}/ws") as connection:
            client = Client(connection)
            client.start(name)
            client.hear_to("event", until)
            server.should_exit = True
            assert events(client.hear_to("ended"))[-1].result.stop_reason == "cancelled"
            with pytest.raises(ConnectionClosed) as caught:
                client.hear()
        thread.join(30)
        assert not thread.is_alive()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1001
    assert scenarios.cleaned == 1


# -- who may -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    """A server that wants a token."""
    scenarios = Scenarios()
    agent = scenarios.agent.replace(runtime=websocket_alone())
    app = becket_serve.app(agent, tokens=[TOKEN, TOKEN[::-1]], origins=["https://app.example.com"])
    with serving(app) as address:
        yield Server(scenarios, app, address)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("headers", [{}, bearer("another token, of nobody"), {"Authorization": TOKEN}])
def test_without_the_token_nobody_is_let_in(headers: dict[str, str], guarded: Server) -> None:
    """Before there is a connection."""
    with pytest.raises(InvalidStatus) as caught, guarded.client(additional_headers=headers):
        pass
    assert caught.value.response.status_code == 401


def test_a_page_of_another_site_is_not_let_in(guarded: Server) -> None:
    """A browser would let it try: WebSockets have no CORS."""
    with (
        pytest.raises(InvalidStatus) as caught,
        guarded.client(additional_headers=bearer(TOKEN), origin="https://evil.example"),
    ):
        pass
    assert caught.value.response.status_code == 403
    with guarded.client(additional_headers=bearer(TOKEN), origin="https://app.example.com") as client:
        client.start("text")
        client.hear_to("ended")


def test_a_run_belongs_to_the_token_that_has_started_it(guarded: Server) -> None:
    """Another client can neither read, nor cancel, nor decide, and is not told that there is such a run."""
    with (
        guarded.client(additional_headers=bearer(TOKEN)) as own,
        guarded.client(additional_headers=bearer(TOKEN[::-1])) as other,
    ):
        run_id = own.start("held")
        own.hear_to("event", "text_delta")
        for message in (
            {"type": "resume"},
            {"type": "cancel"},
            {"type": "decide", "request_id": "x", "outcome": "allow"},
        ):
            other.say(run_id=run_id, **message)
            said = other.hear()
            assert (said["status"], said["code"]) == (404, "unknown_run")
