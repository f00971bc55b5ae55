"""What every request passes before a route has it: the name it calls by, the page it comes from, whose it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from becket import RequestError
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import Response

from becket_serve._problems import internal_error, logger, problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from becket.wires import AnyWire
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from becket_serve._clients import Clients
    from becket_serve._names import Names

__all__ = ["CLIENT", "OPEN_PATHS", "RUN_ID", "Gate", "refuse_socket", "route_path"]

CLIENT: Final = "becket_serve.client"
"""The key of a scope under which the client's name stands."""

RUN_ID: Final = "run-id"
"""The header of an answer that names the run."""

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz"})
"""What answers anybody: who looks after the server has no token, and calls it by an address."""

_CORS_SECONDS: Final = "600"

_AS_IT_SAYS: Final = (b"x-content-type-options", b"nosniff")
"""What a model has written is text, whatever a browser would make of it."""


def route_path(scope: Scope) -> str:
    """The path below where the application is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(root) else path


class Gate:
    """Lets requests pass that may, and answers the others; and answers for what fails behind it.

    Args:
        app: What is behind it.
        names: What the server may be called, and from where.
        clients: Who may.
        wire_of: The wire whose clients ask for a path, or None.
    """

    def __init__(
        self, app: ASGIApp, *, names: Names, clients: Clients, wire_of: Callable[[str], AnyWire | None]
    ) -> None:
        self._app = app
        self._names = names
        self._clients = clients
        self._wire_of = wire_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._request(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False
        site = ""

        async def sent(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message.get("headers", ()), _AS_IT_SAYS]
                if site:
                    _let_read(message, site)
            await send(message)

        try:
            connection = HTTPConnection(scope)
            if route_path(scope) not in OPEN_PATHS:
                site = self._site(connection)
                if site and scope["method"] == "OPTIONS" and "access-control-request-method" in connection.headers:
                    await _preflight(connection)(scope, receive, sent)
                    return
                scope[CLIENT] = await self._clients.who(connection)
            await self._app(scope, receive, sent)
        except RequestError as error:
            if begun:
                raise
            await problem(error, self._wire_of(route_path(scope)), _challenge(error))(scope, receive, sent)
        except Exception:
            if begun:
                raise  # all that is left is to break off the connection
            logger().exception("%s %r failed", scope["method"], scope["path"])
            await problem(internal_error(), self._wire_of(route_path(scope)))(scope, receive, sent)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            connection = HTTPConnection(scope)
            self._site(connection)
            scope[CLIENT] = await self._clients.who(connection)
        except RequestError as error:
            await refuse_socket(error, scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _site(self, connection: HTTPConnection) -> str:
        """The other site whose page has sent a request; empty for none."""
        hosts = connection.headers.getlist("host")
        host = hosts[0] if len(hosts) == 1 else ""
        self._names.check_host(host)
        origin = connection.headers.get("origin", "")
        return origin if origin and self._names.is_other_site(origin, host) else ""


def _challenge(error: RequestError) -> dict[str, str]:
    return {"www-authenticate": "Bearer"} if error.status == 401 else {}  # noqa: PLR2004  Unauthorized, RFC 9110


def _let_read(message: Message, site: str) -> None:
    """Let the page of another site read an answer; https://fetch.spec.whatwg.org/#http-cors-protocol."""
    headers = MutableHeaders(scope=message)
    headers["access-control-allow-origin"] = site
    headers["access-control-expose-headers"] = f"{RUN_ID}, retry-after"
    headers.add_vary_header("Origin")


def _preflight(connection: HTTPConnection) -> Response:
    """What a browser asks before it sends a page's request to another site."""
    headers = {
        "access-control-allow-methods": "GET, POST",
        "access-control-allow-headers": connection.headers.get("access-control-request-headers", "")
        or "authorization, content-type, last-event-id",
        "access-control-max-age": _CORS_SECONDS,
    }
    return Response(status_code=204, headers=headers)


async def refuse_socket(error: RequestError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a WebSocket's request with an error instead of opening it."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": error.code})  # the server makes it a 403
        return

    async def denied(message: Message) -> None:
        await send({**message, "type": f"websocket.{message['type']}"})

    answer: Any = problem(error, headers=_challenge(error))
    await answer({**scope, "type": "http"}, receive, denied)
