"""A run as a response of Starlette and FastAPI, without a server of becket's around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import pytest
from becket import Agent, ConfigError, RequestError
from becket.testing import Scenarios, ScriptedProvider, text
from becket_serve import AgentResponse, EventsWire
from fastapi import Depends, FastAPI, Response
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request  # noqa: TC002  FastAPI looks at the annotations of endpoints
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["fastapi", "starlette"])
def hosted(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Makes an application of either framework whose `/ask/NAME` answers with a response."""

    def make(respond: Callable[[str, Request], Any]) -> Any:
        async def ask(request: Request) -> Any:
            return respond(request.path_params["name"], request)

        if request.param == "starlette":
            return Starlette(routes=[Route("/ask/{name}", ask)])
        app = FastAPI()
        app.add_api_route("/ask/{name}", ask, response_model=None)
        return app

    return make


async def test_an_endpoint_returns_it(hosted: Callable[..., Any], client: Any) -> None:
    agent = Scenarios().agent
    here = client(hosted(lambda name, request: AgentResponse(agent.stream_async(name))))
    answer = await here.get("/ask/text")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
    assert "content-length" not in answer.headers
    assert answer.events[-1]["run_id"] == answer.run_id


@pytest.mark.parametrize(
    ("wire", "accept", "kind"),
    [
        ("text", "", "text/plain; charset=utf-8"),
        ("events", "application/x-ndjson", "application/x-ndjson"),
        (EventsWire(), "", "text/event-stream"),
    ],
)
async def test_the_format_is_that_of_a_wire(
    hosted: Callable[..., Any], client: Any, wire: Any, accept: str, kind: str
) -> None:
    agent = Scenarios().agent
    here = client(hosted(lambda name, request: AgentResponse(agent.stream_async(name), wire, accept=accept)))
    assert (await here.get("/ask/text")).headers["content-type"] == kind


@pytest.mark.parametrize("spec", ["2.3", "2.4"])
@pytest.mark.parametrize("name", ["held", "idle tool"])
async def test_a_client_that_goes_away_ends_the_run(
    hosted: Callable[..., Any], client: Any, name: str, spec: str
) -> None:
    """Before the response is left, whatever the server tells of a client that has gone."""
    scenarios = Scenarios()
    here = client(hosted(lambda name, request: AgentResponse(scenarios.agent.stream_async(name))), spec=spec)
    async with here.open("GET", f"/ask/{name}") as answer:
        await answer.until(lambda answer: scenarios.waiting)
    assert (scenarios.waiting, scenarios.cleaned) == (0, 1)


async def test_headers_and_what_runs_afterwards_are_the_hosts(hosted: Callable[..., Any], client: Any) -> None:
    done = []

    def respond(name: str, request: Request) -> AgentResponse:
        response = AgentResponse(
            Scenarios().agent.stream_async(name),
            "text",
            headers={"x-host": "1"},
            background=BackgroundTask(done.append, name),
        )
        response.set_cookie("seen", "yes")
        return response

    answer = await client(hosted(respond)).get("/ask/text")
    assert (answer.headers["x-host"], answer.headers["set-cookie"][:8]) == ("1", "seen=yes")
    assert answer.body == b"Hello, world."
    assert done == ["text"]


async def test_a_failure_before_the_first_byte_has_a_status(hosted: Callable[..., Any], client: Any) -> None:
    agent = Scenarios().agent
    here = client(hosted(lambda name, request: AgentResponse(agent.stream_async(name), "text")))
    assert (await here.get("/ask/fails first")).status == 502


async def test_it_says_whether_its_client_has_gone(client: Any) -> None:
    made = []

    async def ask(request: Request) -> Any:
        made.append(AgentResponse(Scenarios().agent.stream_async(request.path_params["name"])))
        return made[-1]

    here = client(Starlette(routes=[Route("/ask/{name}", ask)]))
    await here.get("/ask/text")
    async with here.open("GET", "/ask/held") as answer:
        await answer.until(lambda answer: answer.status)
    assert [(one.gone, one.parked) for one in made] == [(False, False), (True, False)]


ENDED: list[str] = []


async def resource() -> AsyncIterator[str]:
    yield "the resource"
    ENDED.append("the resource")


async def test_what_fastapi_has_around_endpoints_works_with_it(client: Any) -> None:
    """Dependencies that end with the request, and middleware that rewrites answers."""
    ENDED.clear()
    app = FastAPI(middleware=[Middleware(GZipMiddleware)])

    @app.get("/ask")
    async def ask(given: Annotated[str, Depends(resource)]) -> Response:
        return AgentResponse(Agent(ScriptedProvider(text(given))).stream_async("hi"), "text")

    answer = await client(app).get("/ask")
    assert answer.body == b"the resource"
    assert ENDED == ["the resource"]


def test_a_wire_that_is_none_is_said() -> None:
    stream = Scenarios().agent.stream_async("text")
    with pytest.raises(ConfigError, match=r"by name it takes 'text' and 'events', others as objects"):
        AgentResponse(stream, "agui")
    with pytest.raises(ConfigError, match="wire is 1; it takes"):
        AgentResponse(stream, 1)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="accepts neither"):
        AgentResponse(stream, accept="text/html")
