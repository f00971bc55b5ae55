"""The application as a whole: what it is made of, how it is mounted, how it stops."""

from __future__ import annotations

import subprocess
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import becket_serve
import pytest
from anyio.lowlevel import checkpoint
from becket import Agent, Allow, ConfigError, Message, ModelOptions, Runtime, Text, hookimpl
from becket.testing import Scenarios, ScriptedProvider, text
from becket.wires import EventStreamEncoder, RunRequest
from becket_serve import ServeLimits, Settings, app, lifespan
from pydantic import InstanceOf
from starlette.applications import Starlette
from starlette.routing import Mount

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

TOKEN = "the-token-of-the-one"  # noqa: S105  of the tests
TEXT = {"prompt": "text"}


class Wire:
    """A wire that has what it is given."""

    media_type, asks, request_model = "text/event-stream", False, dict

    def __init__(self, name: str, path: str, **more: Any) -> None:
        self.name, self.path = name, path
        self.__dict__.update(more)

    def read(self, body: Any, /) -> RunRequest:
        return RunRequest(prompt="text")

    def open(self, body: Any, run: Any, /, *, accept: str = "") -> Any:
        return Silent()


class Silent(EventStreamEncoder):
    def encode(self, event: Any, /) -> bytes:
        return b""


class Documents(Wire):
    def documents(self, agents: Any, /) -> dict[str, Any]:
        return {"/v1/models": {"data": [*agents]}, **{f"/v1/models/{name}": {"id": name} for name in agents}}

    def describe(self, error: Any, /) -> dict[str, Any]:
        return {"error": {"code": error.code}}


class Unusable(Wire):
    @property
    def request_model(self) -> type:  # type: ignore[override]
        raise ImportError("no such client")


class Plugin:
    def __init__(self, *wires: Any) -> None:
        self.wires = wires

    @hookimpl
    def register_wires(self) -> Any:
        return self.wires


def served(*wires: Any, name: str = "agent", **options: Any) -> Starlette:
    runtime = Runtime(plugins=[Plugin(*wires)], discover=False)
    return app(Agent(ScriptedProvider(text("hi")), name=name, runtime=runtime), **options)


# -- what it is made of ------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_every_wire_has_its_route_and_the_servers_own_are_there(client: Any) -> None:
    """Whether plugins are looked for or not."""
    one = client(served(Wire("one", "/one")))
    assert (await one.post("/one", {})).status == 200
    assert (await one.post("/stream", TEXT)).body == b"hi"
    assert (await one.post("/events", TEXT)).events[0]["type"] == "run_started"
    found = client(app(Agent(ScriptedProvider(text("hi")), runtime=Runtime(allow=["becket-serve"]))))
    assert (await found.post("/stream", TEXT)).body == b"hi"


@pytest.mark.parametrize(
    ("wires", "said"),
    [
        ((Wire("one", "/same"), Wire("two", "/same")), "the wire 'two' of .* and the wire 'one' of .* both have"),
        ((Wire("one", "/stream"),), "the wire 'one' of .* and the wire 'text' of becket-serve both have"),
        ((Wire("one", "/healthz"),), "and the server's own routes both have the path '/healthz'"),
        ((Wire("one", "/runs/mine"),), "both have the path '/runs/mine'"),
        ((Documents("one", "/v1/models"), Wire("two", "/v1/models/agent")), "both have the path '/v1/models/agent'"),
        ((Wire("one", "nowhere"),), "has the path 'nowhere'; it takes one such as '/name'"),
        ((Wire("one", "/"),), "has the path '/'"),
        ((Wire("one", "/{any}"),), "has the path '/{any}'"),
    ],
)
def test_paths_that_cannot_be_served_are_said(wires: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        served(*wires)


@pytest.mark.anyio
async def test_a_wire_that_is_broken_is_left_out(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    """It is said in the log; the others are served, and described."""
    here = client(served(Unusable("one", "/one"), Wire("two", "/two")))
    assert "the wire 'one' of plugin 'Plugin' cannot be served" in caplog.text
    assert "no such client" in caplog.text
    assert (await here.post("/one", {})).code == "unknown_path"
    assert (await here.post("/two", {})).status == 200
    paths = (await here.get("/openapi.json")).json["paths"]
    assert "/two" in paths
    assert "/one" not in paths


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda agent: app([]), "there is no agent to serve"),
        (lambda agent: app([agent, agent]), "two agents are named 'scenarios'"),
        (lambda agent: app(["scenarios"]), "'scenarios' is no agent"),
        (lambda agent: app([agent, agent.replace(name="x", runtime=Runtime(discover=False))]), "different runtimes"),
        (lambda agent: app(agent.replace(model=None)), "no installed provider offers a default"),
        (lambda agent: app(agent, tokens=["short"]), "a token has 5 characters"),
        (lambda agent: app(agent, tokens=["a token with a space"]), "no header can carry"),
        (lambda agent: app(agent, tokens=[b"bytes-are-no-token-at-all"]), "a token is a bytes; it takes texts"),
        (lambda agent: app(agent, tokens=TOKEN), "tokens is a text; it takes a list"),
        (lambda agent: app(agent, tokens=[TOKEN], authenticate=lambda _: "x"), "one of them says who a client is"),
        (lambda agent: app(agent, hosts="example.com"), "hosts is the text 'example.com'; it takes a list"),
        (lambda agent: app(agent, hosts=["https://example.com"]), "with neither scheme nor port"),
        (lambda agent: app(agent, hosts=["example.com:8000"]), "hosts has 'example.com:8000' in it"),
        (lambda agent: app(agent, hosts=["*.example.com"]), "or '\\*' for "),
        (lambda agent: app(agent, hosts=[""]), "hosts has '' in it"),
        (lambda agent: app(agent, origins=["example.com"]), "origins has 'example.com' in it"),
        (lambda agent: app(agent, origins=["https://example.com/app"]), "it takes web sites as"),
        (lambda agent: app(agent, origins=["https://*.example.com"]), "it takes web sites as"),
        (lambda agent: app(agent, origins=["https://example.com?x"]), "it takes web sites as"),
        (lambda agent: app(agent, origins=["https://me@example.com"]), "it takes web sites as"),
        (lambda agent: app(agent, origins=["https://example.com:web"]), "it takes web sites as"),
        (lambda agent: app(agent, origins=["https://b\u00fccher.example"]), "it takes web sites as"),
        (lambda agent: app(agent, origins=["http://["]), "it takes web sites as"),
        (lambda agent: app(agent, limits=ServeLimits(runs=0)), "runs is 0; it takes a whole number above 0"),
        (lambda agent: app(agent, limits=ServeLimits(grace=-1)), "grace is -1; it takes a number of seconds"),
        (lambda agent: app(agent, limits=ServeLimits(body_bytes=1.5)), "body_bytes is 1.5"),  # type: ignore[arg-type]
        (lambda agent: app(agent, limits=ServeLimits(run_seconds=float("inf"))), "run_seconds is inf"),
        (lambda agent: served(Wire("x", "/x"), limits=ServeLimits(runs=True)), "runs is True"),
    ],
)
def test_what_cannot_be_served_is_said(make: Callable[[Agent], object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make(Scenarios().agent)


def test_no_token_is_in_a_message_or_a_repr() -> None:
    from pydantic import SecretStr

    with pytest.raises(ConfigError) as raised:
        app(Scenarios().agent, tokens=["not long"])
    assert "not long" not in str(raised.value)
    assert TOKEN not in repr(Settings(tokens=[SecretStr(TOKEN)]))


@pytest.mark.anyio
async def test_documents_of_wires_are_served(client: Any) -> None:
    """One that is not there is told as the clients of the wire want it. An agent's name need not be a path's."""
    here = client(served(Documents("one", "/v1/chat"), name="my agent", tokens=[TOKEN]), token=TOKEN)
    assert (await here.get("/v1/models")).json == {"data": ["my agent"]}
    assert (await here.get("/v1/models/my agent")).json == {"id": "my agent"}
    unknown = await here.get("/v1/models/other")
    assert (unknown.status, unknown.code) == (404, "unknown_agent")
    assert unknown.json["error"] == {"code": "unknown_agent"}
    assert unknown.json["detail"] == "there is no agent 'other'; there are: 'my agent'"
    stranger = await client(here.app).get("/v1/models")
    assert (stranger.status, stranger.json["error"]) == (401, {"code": "unauthorized"})


@pytest.mark.anyio
async def test_the_description_names_every_route(client: Any) -> None:
    """With a problem for everything that can go wrong, and every reference leading somewhere."""
    description = (await client(served(Wire("one", "/one"), tokens=[TOKEN]), token=TOKEN).get("/openapi.json")).json
    assert set(description["paths"]) == {
        "/one",
        "/stream",
        "/events",
        "/runs/{run_id}/events",
        "/runs/{run_id}/cancel",
        "/runs/{run_id}/decisions",
        "/healthz",
        "/readyz",
        "/openapi.json",
    }
    assert description["security"] == [{"token": []}]
    started = description["paths"]["/events"]["post"]
    assert {"400", "401", "403", "404", "406", "413", "415", "421", "422", "429", "500", "503"} <= set(
        started["responses"]
    )
    schemas = description["components"]["schemas"]
    assert set(schemas["Started"]["properties"]) == {"prompt", "agent", "session_id", "detach"}
    assert schemas["Started"]["additionalProperties"] is False
    for part in str(description).split("'$ref': '#/components/schemas/")[1:]:
        assert part.split("'")[0] in schemas


@pytest.mark.anyio
async def test_a_body_that_has_no_schema_is_served_and_not_described(
    client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    here = client(served(Wire("one", "/one", request_model=InstanceOf[Scenarios])))
    assert (await here.post("/one", {})).status == 422
    described = (await here.get("/openapi.json")).json["paths"]["/one"]["post"]
    assert described["requestBody"]["content"]["application/json"]["schema"] == {}
    assert "the body that /one takes is not in /openapi.json" in caplog.text


# -- mounted, and stopped ----------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_it_works_mounted_in_an_application_that_knows_nothing_of_it(client: Any) -> None:
    """Without a lifespan. The client's requests go to the host's path."""
    scenarios = Scenarios()
    host = Starlette(routes=[Mount("/agents", app(scenarios.agent))])
    here = client(host)
    assert (await here.post("/agents/stream", TEXT)).body == b"Hello, world."
    assert (await here.get("/agents/healthz", host="whatever.example")).status == 200
    async with here.open("POST", "/agents/events", {"prompt": "held"}) as answer:
        await answer.until(lambda answer: answer.has("text_delta"))
    assert scenarios.cleaned == 1
    described = (await here.get("/agents/openapi.json")).json
    assert described["servers"] == [{"url": "/agents"}]
    assert "/stream" in described["paths"]


@pytest.mark.anyio
@pytest.mark.parametrize("is_open", [False, True])
async def test_its_lifespan_is_the_home_of_its_runs(client: Any, *, is_open: bool) -> None:
    """In the host's lifespan, also where the host has opened the runtime itself."""
    scenarios = Scenarios()
    mounted = app(scenarios.agent, limits=ServeLimits(grace=0))

    @asynccontextmanager
    async def host(_: Any) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if is_open:
                await stack.enter_async_context(scenarios.runtime)
            await stack.enter_async_context(lifespan(mounted))
            yield

    outer = Starlette(routes=[Mount("/agents", mounted)], lifespan=host)
    async with outer.router.lifespan_context(outer):
        here = client(outer)
        async with here.open("POST", "/agents/events", {"prompt": "held", "detach": True}) as answer:
            await answer.until(lambda answer: answer.has("text_delta"))
        assert scenarios.waiting == 1
    assert (scenarios.waiting, scenarios.cleaned) == (0, 1)


@pytest.mark.anyio
async def test_it_may_serve_again(client: Any) -> None:
    served_twice = served()
    for _ in range(2):
        async with served_twice.router.lifespan_context(served_twice):
            assert (await client(served_twice).post("/stream", TEXT)).body == b"hi"
        assert (await client(served_twice).get("/readyz")).status == 503


@pytest.mark.anyio
async def test_its_lifespan_is_for_what_it_has_made() -> None:
    with pytest.raises(ConfigError, match="was not made by"):
        async with lifespan(Starlette()):
            pass


@pytest.mark.anyio
async def test_a_server_that_stops_lets_runs_finish(place: Callable[..., Any]) -> None:
    """It takes no new ones, and says so to whoever looks after it."""
    here = place(limits=ServeLimits(grace=20))
    async with here.client.open("POST", "/events", {"prompt": "asks"}) as answer:
        await answer.until(lambda answer: answer.has("decision_requested"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(here.app.state.becket.close)
            while not here.app.state.becket.runs.closing:
                await checkpoint()
            ready, refused = await here.client.get("/readyz"), await here.client.post("/stream", TEXT)
            assert (ready.status, ready.code) == (503, "shutting_down")
            assert (refused.status, refused.code) == (503, "shutting_down")
            assert int(refused.headers["retry-after"]) > 0
            assert (await here.client.get("/healthz")).status == 200
            body = {"request_id": answer.first("decision_requested")["request_id"], "outcome": "allow"}
            assert (await here.client.post(f"/runs/{answer.run_id}/decisions", body)).status == 202
        await answer.end()
    assert answer.events[-1]["result"]["stop_reason"] == "end_turn"


@pytest.mark.anyio
@pytest.mark.parametrize("detach", [False, True])
async def test_a_server_that_stops_cancels_what_does_not_finish(place: Callable[..., Any], *, detach: bool) -> None:
    """And its client gets the terminal event."""
    here = place(limits=ServeLimits(grace=0.01))
    async with here.client.open("POST", "/events", {"prompt": "idle tool", "detach": detach}) as answer:
        await answer.until(lambda answer: answer.has("tool_started"))
        await here.app.state.becket.close()
        assert here.going_on == 0
        await answer.end()
    assert answer.events[-1]["result"]["stop_reason"] == "cancelled"
    assert here.scenarios.cleaned == 1


@pytest.mark.anyio
async def test_a_server_that_stops_does_not_wait_for_a_client_that_does_not_read(place: Callable[..., Any]) -> None:
    here = place(limits=ServeLimits(grace=0.01))
    async with here.client.open("POST", "/stream", {"prompt": "flood"}) as answer:
        await answer.until(lambda answer: answer.body)
        answer.stop_reading()
        with anyio.fail_after(10):
            await here.app.state.becket.close()
        assert here.going_on == 0


@pytest.mark.anyio
async def test_a_server_that_stops_begins_nothing(place: Callable[..., Any]) -> None:
    """A run that its client was not told of yet, since it does not read: neither by waiting for it, nor later."""
    here = place(limits=ServeLimits(grace=0.01))
    mine = here.app.state.becket.runs.of("everybody")
    first = mine.start(RunRequest(prompt="held"), asks=True)
    async with mine.start(RunRequest(prompt="idle tool"), asks=True) as going:
        last = mine.start(RunRequest(prompt="held"), asks=True)
        while (await anext(going)).type != "tool_started":
            pass
        with anyio.fail_after(10):
            await here.app.state.becket.close()
    assert here.scenarios.cleaned == 1
    assert (here.going_on, here.scenarios.waiting) == (0, 0)
    assert await first.read() == await last.read() == []


# -- its cost ----------------------------------------------------------------------------------------------------------


def test_to_be_installed_costs_nothing() -> None:
    """A runtime that finds the plugin imports neither Starlette nor pydantic."""
    program = (
        "import sys, becket; runtime = becket.Runtime(allow=['becket-serve']); assert 'text' in runtime.wires;"
        "heavy = {'starlette', 'uvicorn', 'pydantic', 'websockets', 'click', 'asyncio'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)  # noqa: S603  our own program


def test_its_names_are_these() -> None:
    assert becket_serve.__all__ == sorted(becket_serve.__all__)
    for name in becket_serve.__all__:
        assert getattr(becket_serve, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = becket_serve.nothing  # type: ignore[attr-defined]


# -- what a wire asks for ----------------------------------------------------------------------------------------------


class Asking(Wire):
    """A wire whose requests are given."""

    def __init__(self, request: RunRequest) -> None:
        super().__init__("asking", "/asking", asks=False)
        self._request = request

    def read(self, body: Any, /) -> RunRequest:
        return self._request


@pytest.mark.anyio
async def test_what_a_client_says_of_the_model_is_laid_over_what_the_agent_says(client: Any) -> None:
    model = ScriptedProvider(text("hi"))
    asked = RunRequest(
        prompt="and now?",
        history=(Message("user", (Text("before"),)), Message("assistant", (Text("yes"),))),
        instructions="Be brief.",
        options=ModelOptions(temperature=0.5, extra={"b": 3}),
    )
    agent = Agent(
        model,
        system_prompt="Be kind.",
        options=ModelOptions(max_tokens=7, temperature=1.0, extra={"a": 1, "b": 2}),
        runtime=Runtime(plugins=[Plugin(Asking(asked))], discover=False),
    )
    assert (await client(app(agent)).post("/asking", {})).status == 200
    (request,) = model.requests
    assert request.system == "Be kind.\n\nBe brief."
    assert request.options == ModelOptions(max_tokens=7, temperature=0.5, extra={"a": 1, "b": 3})
    assert [message.text for message in request.messages][:3] == ["before", "yes", "and now?"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (RunRequest(prompt="x", history=(Message("user", (Text("x"),)),), session_id="one"), "history_in_session"),
        (RunRequest(prompt=()), "invalid_prompt"),
        (RunRequest(answers={"x": Allow()}), "unknown_decision"),
    ],
)
async def test_what_cannot_be_had_is_refused(client: Any, asked: RunRequest, code: str) -> None:
    agent = Agent(ScriptedProvider(text("hi")), runtime=Runtime(plugins=[Plugin(Asking(asked))], discover=False))
    assert (await client(app(agent)).post("/asking", {})).code == code
