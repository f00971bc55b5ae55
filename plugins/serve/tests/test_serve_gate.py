"""What a request has to pass: tokens, names, sites, bodies. And what a client is told of a fault of the server."""

from __future__ import annotations

import base64
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from becket import Runtime, hookimpl
from becket.testing import Scenarios
from becket.wires import EventStreamEncoder, RunRequest
from becket_serve import ServeLimits, app

if TYPE_CHECKING:
    from collections.abc import Callable

    from becket import Event, RequestError, RunInfo
    from becket.wires import Encoder
    from starlette.requests import HTTPConnection

pytestmark = pytest.mark.anyio

TOKEN = "the-token-of-the-one"  # noqa: S105  of a test
TEXT = {"prompt": "text"}


# -- tokens ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    ["", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer ", f"Basic {TOKEN}", "Bearer \u00e9"],
)
@pytest.mark.parametrize("path", ["/stream", "/events", "/openapi.json", "/runs/x/events", "/nothing"])
async def test_a_request_without_a_token_that_is_known_is_refused(
    place: Callable[..., Any], client: Any, given: str, path: str
) -> None:
    """Whatever it asks for."""
    stranger = client(place(TOKEN).app)
    answer = await stranger.post(path, TEXT, authorization=given)
    assert (answer.status, answer.code) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("token", [TOKEN, "another-of-the-tokens"])
async def test_each_token_is_as_good(place: Callable[..., Any], token: str) -> None:
    here = place(TOKEN, "another-of-the-tokens")
    assert (await here.other(token).post("/stream", TEXT)).status == 200
    assert (await here.other("").post("/stream", TEXT, authorization=f"bearer  {token}")).status == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_is_told_to_anybody(place: Callable[..., Any], client: Any, path: str) -> None:
    """By whatever name they call."""
    answer = await client(place(TOKEN).app).get(path, host="10.0.0.1.cluster.example")
    assert (answer.status, answer.json) == (200, {"status": "ok"})


async def test_a_host_may_say_itself_who_a_client_is(client: Any) -> None:
    async def who(connection: HTTPConnection) -> str | None:
        return connection.headers.get("x-user")

    served = app(Scenarios().agent, authenticate=who)
    ann, bob, nobody = (client(served) for _ in range(3))
    ann.headers["x-user"], bob.headers["x-user"] = "ann", "bob"
    answer = await ann.post("/events", TEXT)
    assert (await ann.get(f"/runs/{answer.run_id}/events")).status == 200
    assert (await bob.get(f"/runs/{answer.run_id}/events")).code == "unknown_run"
    assert (await nobody.post("/events", TEXT)).code == "unauthorized"


# -- names and sites ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "localhost.", "127.0.0.1:1", "[::1]:8000", "10.1.2.3"])
async def test_localhost_and_addresses_are_names_of_the_server(place: Callable[..., Any], host: str) -> None:
    assert (await place().client.post("/stream", TEXT, host=host)).status == 200


@pytest.mark.parametrize(
    "host", ["", "evil.example", "localhost.evil.example", "x@localhost", "localhost:x", "[::1", "localhost/x", "1.2.3"]
)
async def test_another_name_is_not_the_servers(place: Callable[..., Any], host: str) -> None:
    """A site whose name was made to lead here is called by that name."""
    answer = await place().client.post("/stream", TEXT, host=host)
    assert (answer.status, answer.code) == (421, "unknown_host")


async def test_names_can_be_added(place: Callable[..., Any]) -> None:
    here = place(hosts=["Agents.Example.", "[::1]", "10.0.0.1"])
    assert (await here.client.post("/stream", TEXT, host="agents.example:443")).status == 200
    assert (await place(hosts=["*"]).client.post("/stream", TEXT, host="anything.example")).status == 200


@pytest.mark.parametrize(
    ("host", "origin"),
    [("localhost:8000", "http://localhost:8000"), ("localhost", "http://localhost"), ("[::1]:1", "http://[::1]:1")],
)
async def test_pages_of_the_server_itself_may_call_it(place: Callable[..., Any], host: str, origin: str) -> None:
    answer = await place().client.post("/stream", TEXT, host=host, origin=origin)
    assert answer.status == 200
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:3000", "https://localhost", "x", "http://[", "file://"]
)
async def test_pages_of_other_sites_may_not(place: Callable[..., Any], origin: str) -> None:
    """Nothing was done for them, and a browser shows them nothing."""
    here = place()
    answer = await here.client.post("/stream", TEXT, host="localhost:80", origin=origin)
    assert (answer.status, answer.code) == (403, "unknown_origin")
    assert "access-control-allow-origin" not in answer.headers
    asks = {"origin": origin, "access_control_request_method": "POST"}
    async with here.client.open("OPTIONS", "/stream", host="localhost:80", **asks) as asked:
        await asked.end()
    assert asked.status == 403


@pytest.mark.parametrize(
    "origins",
    [["https://app.example"], ["*"], ["https://app.example:443"], ["https://APP.example/"], ["https://app.example:"]],
)
async def test_pages_of_a_site_that_is_named_may(place: Callable[..., Any], origins: list[str]) -> None:
    here = place(TOKEN, origins=origins)
    async with here.client.open(
        "OPTIONS",
        "/events",
        authorization="",
        origin="https://app.example",
        access_control_request_method="POST",
        access_control_request_headers="authorization,content-type",
    ) as asked:
        await asked.end()
    assert asked.status == 204
    assert asked.headers["access-control-allow-origin"] == "https://app.example"
    assert asked.headers["access-control-allow-headers"] == "authorization,content-type"
    assert "POST" in asked.headers["access-control-allow-methods"]
    for answer in (
        await here.client.post("/events", TEXT, origin="https://app.example"),
        await here.client.post("/events", {}, origin="https://app.example"),
        await here.client.post("/events", TEXT, origin="https://app.example", authorization="none"),
    ):
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert answer.headers["vary"] == "Origin"
        assert "run-id" in answer.headers["access-control-expose-headers"]


# -- bodies ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed_json"),
        (b"{", 400, "malformed_json"),
        (b'{"prompt": "\xff"}', 400, "malformed_json"),
        (b"[" * 100_000, 400, "malformed_json"),
        (b"null", 422, "invalid_body"),
        (b'"text"', 422, "invalid_body"),
        (b"{}", 422, "invalid_body"),
        (b'{"prompt": 1}', 422, "invalid_body"),
        (b'{"prompt": "text", "detach": "maybe"}', 422, "invalid_body"),
        (b'{"prompt": "text", "surprise": true}', 422, "invalid_body"),
    ],
)
async def test_a_body_that_does_not_fit_is_refused(
    place: Callable[..., Any], body: bytes, status: int, code: str
) -> None:
    answer = await place().client.post("/events", body=body)
    assert (answer.status, answer.code) == (status, code)


async def test_what_does_not_fit_is_told_without_the_value(place: Callable[..., Any]) -> None:
    answer = await place().client.post("/events", {"prompt": ["a secret"], "x" * 5000: "another secret"})
    assert answer.json["errors"][0] == {"at": "prompt", "message": "Input should be a valid string"}
    assert b"secret" not in answer.body
    assert len(answer.body) < 2000


@pytest.mark.parametrize(
    "kind",
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/json; charset=latin-1"],
)
async def test_a_body_that_is_not_said_to_be_json_is_refused(place: Callable[..., Any], kind: str) -> None:
    answer = await place().client.post("/stream", TEXT, content_type=kind)
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


@pytest.mark.parametrize("kind", ["application/json", 'Application/JSON; charset="UTF-8"', "application/x.y+json"])
async def test_a_body_that_is_said_to_be_json_is_read(place: Callable[..., Any], kind: str) -> None:
    assert (await place().client.post("/stream", TEXT, content_type=kind)).status == 200


async def test_a_body_that_is_compressed_is_refused(place: Callable[..., Any]) -> None:
    answer = await place().client.post("/stream", TEXT, content_encoding="gzip")
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


@pytest.mark.parametrize("said", ["", "1000", "9" * 5000, "-1"])
async def test_a_body_that_is_too_long_is_refused(place: Callable[..., Any], said: str) -> None:
    """Whatever its length is said to be."""
    client = place(limits=ServeLimits(body_bytes=100)).client
    answer = await client.post("/stream", {"prompt": "x" * 100}, content_length=said)
    assert (answer.status, answer.code, answer.json["limit"]) == (413, "body_too_long", 100)


async def test_a_client_that_goes_before_it_has_asked_gets_nothing(place: Callable[..., Any]) -> None:
    here = place()
    async with here.client.open("POST", "/stream", body=b"") as answer:
        answer._request[0] = {"type": "http.request", "body": b'{"pro', "more_body": True}
        answer.go()
    assert (answer.status, here.going_on) == (0, 0)


async def test_what_is_nowhere_is_a_problem(place: Callable[..., Any]) -> None:
    client = place().client
    nowhere = await client.get("/nowhere")
    other = await client.get("/stream")
    slash = await client.post("/stream/", TEXT)
    assert (nowhere.status, nowhere.code) == (404, "unknown_path")
    assert (other.status, other.code, other.headers["allow"]) == (405, "method_not_allowed", "POST")
    assert slash.status == 404


# -- faults ------------------------------------------------------------------------------------------------------------


class Broken:
    """A wire that fails where it is told to; its clients look for `oops` in errors."""

    name, path, media_type, asks, request_model = "broken", "/broken", "text/plain", True, dict

    def __init__(self, where: str) -> None:
        self.where = where

    def read(self, body: dict[str, Any], /) -> RunRequest:
        if self.where == "read":
            raise ValueError("secret of the server")
        return RunRequest(prompt="held") if self.where != "kind" else None  # type: ignore[return-value]

    def open(self, body: dict[str, Any], run: RunInfo, /, *, accept: str = "") -> Encoder:
        if self.where == "open":
            raise ValueError("secret of the server")
        return BrokenEncoder(self.where)

    def describe(self, error: RequestError, /) -> dict[str, Any]:
        if self.where == "describe":
            raise ValueError("secret of the server")
        return {"oops": error.code}

    @hookimpl
    def register_wires(self) -> list[Broken]:
        return [self]


class BrokenEncoder(EventStreamEncoder):
    def __init__(self, where: str) -> None:
        self._where = where

    def encode(self, event: Event, /) -> bytes:
        if self._where == "first" or event.type == "run_finished":
            raise ValueError("secret of the server")
        return b"so far"


@pytest.fixture
def broken(place: Callable[..., Any]) -> Callable[..., Any]:
    def make(where: str, *tokens: str) -> Any:
        scenarios = Scenarios()
        runtime = Runtime(plugins=[Broken(where)], discover=False)
        return place(*tokens, scenarios=scenarios, agent=scenarios.agent.replace(runtime=runtime))

    return make


@pytest.mark.parametrize("where", ["read", "kind", "open", "first"])
async def test_a_fault_of_a_wire_is_logged_and_not_told(
    broken: Callable[..., Any], caplog: pytest.LogCaptureFixture, where: str
) -> None:
    """No run is left behind, and the other wires serve on."""
    here = broken(where)
    answer = await here.client.post("/broken", {})
    assert (answer.status, answer.code) == (500, "internal_error")
    assert b"secret" not in answer.body
    assert answer.json["oops"] == "internal_error"
    assert here.going_on == 0
    (record,) = [one for one in caplog.records if one.name == "becket.serve"]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert (await here.client.post("/stream", TEXT)).status == 200


async def test_a_fault_in_the_middle_breaks_the_answer_off(broken: Callable[..., Any]) -> None:
    """What was sent cannot be taken back; the server, to which the error goes, closes the connection."""
    here = broken("later")
    with pytest.raises(ExceptionGroup) as raised:
        async with here.client.open("POST", "/broken", {}) as answer:
            await answer.until(lambda answer: answer.body)
            await here.client.post(f"/runs/{answer.run_id}/cancel")
            await answer.end()
    assert raised.group_contains(ValueError, match="secret of the server")
    assert (answer.status, here.going_on) == (200, 0)


async def test_an_error_says_what_the_clients_of_its_wire_look_for(broken: Callable[..., Any]) -> None:
    """Also one that comes before the wire does."""
    here = broken("", TOKEN)
    assert (await here.client.post("/broken", body=b"x")).json["oops"] == "malformed_json"
    assert (await here.other("").post("/broken", {})).json["oops"] == "unauthorized"
    assert (await here.client.get("/broken")).json["oops"] == "method_not_allowed"
    assert "oops" not in (await here.client.post("/stream", body=b"x")).json


async def test_a_wire_that_cannot_describe_an_error_does_not_hide_it(broken: Callable[..., Any]) -> None:
    answer = await broken("describe").client.post("/broken", body=b"x")
    assert (answer.status, answer.code) == (400, "malformed_json")


def test_a_token_for_a_socket_is_spelled_as_a_subprotocol_can_be() -> None:
    """The form that the pages show: base64url, without what fills it up."""
    from becket_serve._clients import _decoded

    for token in (TOKEN, "x" * 16, "y/+=" * 5):
        spelled = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
        assert _decoded(spelled) == token
    assert _decoded("\xff") == ""
    assert json.dumps(_decoded("gA")) == '""'
