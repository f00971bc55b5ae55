"""The application: the routes of every wire and the server's own, behind the gate."""

from __future__ import annotations

import contextlib
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import anyio
import becket
from becket import Agent, ConfigError, RequestError
from becket.wires import DocumentWire, SocketWire
from pydantic import TypeAdapter
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route, WebSocketRoute

from becket_serve._clients import Clients
from becket_serve._gate import Gate, route_path
from becket_serve._names import Names
from becket_serve._openapi import described
from becket_serve._problems import logger, problem
from becket_serve._routes import Routes, json_response
from becket_serve._runs import Runs
from becket_serve._settings import ServeLimits
from becket_serve._sockets import Sockets
from becket_serve._wires import EventsWire, TextWire, own_wires

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from becket import Runtime
    from becket.wires import AnyWire, Wire
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from becket_serve._clients import Authenticate

__all__ = ["Served", "app", "lifespan", "served"]

_OWN: Final = "the server's own routes"
_OWN_PATHS: Final = ("/runs", "/healthz", "/readyz", "/openapi.json")


def app(
    agent: Agent | Sequence[Agent],
    *,
    tokens: Sequence[object] = (),
    authenticate: Authenticate | None = None,
    hosts: Sequence[str] = (),
    origins: Sequence[str] = (),
    limits: ServeLimits | None = None,
) -> Starlette:
    """An application that serves agents in every format that their runtime has, for any ASGI server, or to mount.

    It works as it is. Run by a server, or with `becket_serve.lifespan` around it, it also opens the agents' runtime,
    and when it is stopped lets runs finish before it cancels them.

    Args:
        agent: The agent, or several with one runtime, of which the first is the default. Clients are asked about tool
            calls where its `approver` is `"reader"`.
        tokens: The bearer tokens that clients may have, texts or `SecretStr`. None: everybody is served, as one client.
        authenticate: A function, async or not, that says who has sent a request, for a host with users of its own: it
            gets Starlette's `HTTPConnection` and returns a name, or None for nobody that may. Instead of tokens.
        hosts: Names by which clients may call the server, besides `localhost` and addresses; `*` for any.
        origins: Web sites whose pages may call it, as `https://app.example.com`; `*` for any.
        limits: What clients may have; the defaults of `ServeLimits` unless given.

    Raises:
        ConfigError: Two wires have one path, a token is too short, an agent has no model, or another argument is wrong.
    """
    agents = [agent] if isinstance(agent, Agent) else list(agent)
    _check_agents(agents)
    if authenticate is not None and tokens:
        raise ConfigError("there are tokens and a function that authenticates; one of them says who a client is")
    served = Served(
        agents,
        Clients(tokens, authenticate),
        Names(hosts, origins),
        ServeLimits() if limits is None else limits,
    )
    return served.application()


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """The time in which an application serves: for the lifespan of a host that has mounted it.

    Starlette runs no lifespan but that of the outermost application. This opens the agents' runtime, unless the host
    has, and forgets runs that are over when their time has come, not at the next request. At its end it takes no more
    runs, lets those that go on finish up to `ServeLimits.grace`, and cancels others.

    Args:
        app: What `becket_serve.app` has made.

    Raises:
        ConfigError: It was made by somebody else.
    """
    server = served(app)
    server.runs.closing = False  # it may have served before
    async with contextlib.AsyncExitStack() as stack:
        becket.warm_up()
        with contextlib.suppress(RuntimeError):  # the host has opened it on this event loop
            await stack.enter_async_context(server.runtime)
        raised: BaseException | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.runs.forget_in_time)
            try:
                yield
            except (Exception, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001  the group would wrap it
                raised = error
            finally:
                await server.close()
                tasks.cancel_scope.cancel()
        if raised is not None:
            raise raised


def served(app: Starlette) -> Served:
    """What is behind an application.

    Raises:
        ConfigError: It is none of becket's.
    """
    found = getattr(app.state, "becket", None)
    if not isinstance(found, Served):
        raise ConfigError(f"{app!r} was not made by becket_serve.app, which is what becket_serve.lifespan is for")
    return found


class Served:
    """What is served, and to whom.

    Args:
        agents: The agents.
        clients: Who may.
        names: What the server may be called, and from where.
        limits: What clients may have.

    Attributes:
        runtime: The agents' runtime.
        runs: Their runs.
    """

    def __init__(self, agents: Sequence[Agent], clients: Clients, names: Names, limits: ServeLimits) -> None:
        self.runtime: Runtime = agents[0].runtime
        self.runs = Runs(agents, limits)
        self._later: list[Runtime] = []
        self._sockets = Sockets(self.runs)
        self._routes = Routes(self.runs)
        self._clients = clients
        self._names = names
        self._taken: dict[str, str] = dict.fromkeys(_OWN_PATHS, _OWN)
        self._posts: dict[str, tuple[Wire, TypeAdapter[Any]]] = {}
        self._documents: dict[str, tuple[AnyWire, Any]] = {}
        self._socket_wires: list[SocketWire] = []
        self._add_wires([agent.name for agent in agents])

    def application(self) -> Starlette:
        """The application."""
        made = Starlette(
            routes=self._made_routes(),
            middleware=[Middleware(Gate, names=self._names, clients=self._clients, wire_of=self._wire_of)],
            exception_handlers={HTTPException: self._refused, RequestError: self._refused},
            lifespan=lifespan,
        )
        made.router.redirect_slashes = False  # a POST that is sent elsewhere by its Host header is nobody's friend
        made.state.becket = self
        return made

    def renew(self, agent: Agent) -> None:
        """Serve another agent in the place of the only one, under its name: new runs take it, others keep theirs.

        The wires and their routes stay those of the first one's runtime.

        Raises:
            ConfigError: It has no model.
        """
        self.runs.renew([agent])
        self._later.append(agent.runtime)

    def unserved(self, agent: Agent) -> list[str]:
        """The paths of wires that an agent's runtime has, and that have no route here."""
        return [path for entry in agent.runtime.wires.contributions() if (path := entry.item.path) not in self._taken]

    @property
    def places(self) -> str:
        """Where clients ask, for whoever starts a server."""
        sockets = ", ".join(wire.path for wire in self._socket_wires)
        return f"POST {', '.join(self._posts)}" + (f"; WebSocket {sockets}" if sockets else "")

    async def close(self) -> None:
        """Take no more runs, and let those that go on come to their end; see `ServeLimits.grace`."""
        await self.runs.drain(self.runs.limits.grace)
        await self._sockets.close()
        while self._later:
            async with self._later.pop():  # its providers let go of what they keep for this event loop
                pass

    # -- the wires -------------------------------------------------------------------------------------------------

    def _add_wires(self, agents: Sequence[str]) -> None:
        contributions = [*self.runtime.wires.contributions()]
        wires: list[tuple[AnyWire, str]] = [(wire, "becket-serve") for wire in own_wires()]
        wires += [
            (entry.item, entry.plugin.title)
            for entry in contributions
            if not isinstance(entry.item, TextWire | EventsWire)
        ]
        for wire, whose in wires:
            title = f"the wire {wire.name!r} of {whose}"
            try:
                taken = self._add(wire, title, agents)
            except ConfigError:
                raise
            except Exception:  # noqa: BLE001  a plugin's code; the log has it
                logger().exception("%s cannot be served, and is left out; the others are", title)
                continue
            self._taken |= taken

    def _add(self, wire: AnyWire, title: str, agents: Sequence[str]) -> dict[str, str]:
        """Serve one wire; the paths that it takes."""
        paths = [wire.path]
        documents: dict[str, Any] = dict(wire.documents(agents)) if isinstance(wire, DocumentWire) else {}
        adapter: TypeAdapter[Any] | None = None if isinstance(wire, SocketWire) else TypeAdapter(wire.request_model)
        for path in (*paths, *documents):
            self._check_path(path, title)
        if isinstance(wire, SocketWire):
            self._socket_wires.append(wire)
        elif adapter is not None:
            self._posts[wire.path] = wire, adapter
        self._documents |= {path: (wire, content) for path, content in documents.items()}
        return dict.fromkeys((*paths, *documents), title)

    def _check_path(self, path: str, title: str) -> None:
        if not path.startswith("/") or "{" in path or path == "/":
            raise ConfigError(f"{title} has the path {path!r}; it takes one such as '/name'")
        first = f"/{path.split('/')[1]}"
        other = self._taken.get(path) or (self._taken[first] if self._taken.get(first) == _OWN else None)
        if other is not None:
            raise ConfigError(
                f"{title} and {other} both have the path {path!r}; block the plugin of one of them: "
                f"Runtime(block=[...]), or -p no:NAME"
            )

    def _wire_of(self, path: str) -> AnyWire | None:
        """The wire whose clients ask for a path, found or not."""
        if path in self._posts:
            return self._posts[path][0]
        for known, (wire, _) in self._documents.items():
            if path == known or path.startswith(f"{known}/"):
                return wire
        return None

    # -- the routes ------------------------------------------------------------------------------------------------

    def _made_routes(self) -> list[BaseRoute]:
        from becket_serve._models import Decision

        description = described(self._posts, self._documents, token=self._clients.need_token)
        one, decision = self._routes, TypeAdapter(Decision)
        return [
            *(Route(path, one.wire(*given), methods=["POST"]) for path, given in self._posts.items()),
            *(Route(path, _always(content)) for path, (_, content) in self._documents.items()),
            *(WebSocketRoute(wire.path, self._sockets.endpoint(wire)) for wire in self._socket_wires),
            Route("/runs/{run_id}/events", one.events),
            Route("/runs/{run_id}/cancel", one.cancel, methods=["POST"]),
            Route("/runs/{run_id}/decisions", one.decisions(decision), methods=["POST"]),
            Route("/openapi.json", _below_root(description)),
            Route("/healthz", _always({"status": "ok"})),
            Route("/readyz", self._ready),
        ]

    async def _ready(self, request: Request) -> Response:  # noqa: ARG002  an endpoint's
        if self.runs.closing:
            raise RequestError("the server is being stopped", status=503, code="shutting_down")
        return json_response({"status": "ok"})

    async def _refused(self, request: Request, error: Exception) -> Response:
        """The answer for what no route has, and for what one has refused."""
        path = route_path(request.scope)
        wire = self._wire_of(path)
        if isinstance(error, RequestError):
            return problem(error, wire)
        status, headers = getattr(error, "status_code", 500), getattr(error, "headers", None)
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            told = f"{request.method} is not for this path; {(headers or {}).get('Allow', 'other methods')} is"
            return problem(RequestError(told, status=status, code="method_not_allowed"), wire, headers)
        if wire is not None:  # it has documents, and those are about agents
            return problem(self.runs.unknown_agent(path.rpartition("/")[2]), wire)
        told = "there is nothing at this path; /openapi.json says what there is"
        return problem(RequestError(told, status=status, code="unknown_path"), None, headers)


def _always(content: Any) -> Callable[[Request], Awaitable[Response]]:
    """What answers with the same JSON each time."""

    async def endpoint(request: Request) -> Response:  # noqa: ARG001  an endpoint's
        return json_response(content)

    return endpoint


def _below_root(description: dict[str, Any]) -> Callable[[Request], Awaitable[Response]]:
    """What answers with the description of the routes, whose paths are those below where the application is mounted."""

    async def endpoint(request: Request) -> Response:
        root: str = request.scope.get("root_path", "")
        return json_response({**description, "servers": [{"url": root}]} if root else description)

    return endpoint


def _check_agents(agents: Sequence[Agent]) -> None:
    if not agents:
        raise ConfigError("there is no agent to serve; give one, or a list of some")
    for given in agents:
        one: Any = given
        if not isinstance(one, Agent):
            raise ConfigError(f"{given!r} is no agent; it takes a becket.Agent, or a list of some")
        if given.runtime is not agents[0].runtime:
            raise ConfigError(
                f"the agents {agents[0].name!r} and {given.name!r} have different runtimes; give both the same one "
                f"(Agent(runtime=...)), or make an application for each"
            )
    names = [given.name for given in agents]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(
            f"two agents are named {twice!r}, and clients choose by name; give one another: Agent(name=...)"
        )
