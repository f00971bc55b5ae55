"""What every request passes before a route has it: the name it calls by, the page it comes from, whose it is."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from becket import ConfigError, RequestError
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import Response

from becket_serve._problems import internal_error, logger, problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from becket.wires import AnyWire
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from becket_serve._clients import Clients

__all__ = ["CLIENT", "OPEN_PATHS", "RUN_ID", "Gate", "Names", "refuse_socket", "route_path"]

CLIENT: Final = "becket_serve.client"
"""The key of a scope under which the client's name stands."""

RUN_ID: Final = "run-id"
"""The header of an answer that names the run."""

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz"})
"""What answers anybody: who looks after the server has no token, and calls it by an address."""

_CORS_SECONDS: Final = "600"


_AS_IT_SAYS: Final = (b"x-content-type-options", b"nosniff")
"""What a model has written is text, whatever a browser would make of it."""


class Names:
    """The names by which the server may be called, and the web sites whose pages may.

    A page of any site can make its visitor's browser send requests to this machine. It is told by its `Origin`, unless
    its site's name was made to lead to this machine (DNS rebinding): then the `Host` is that name.

    Args:
        hosts: Names besides `localhost`. An address is always right: it leads nowhere else.
        origins: Web sites besides the server's own.

    Raises:
        ConfigError: An origin is none.
    """

    def __init__(self, hosts: Iterable[str], origins: Iterable[str]) -> None:
        self._hosts = {"localhost", *(_listed("hosts", hosts))}
        self._origins = {_checked_origin(origin) for origin in _listed("origins", origins)}

    def check_host(self, host: str) -> None:
        """Let a name pass.

        Raises:
            RequestError: It is none of the server's, status 421.
        """
        name = _host_name(host)
        if name is None or not ("*" in self._hosts or name in self._hosts or _is_address(name)):
            raise RequestError(
                f"this server is not called {host[:100]!r}; if it should be, its operator adds the name to its hosts",
                status=421,
                code="unknown_host",
            )

    def is_other_site(self, origin: str, host: str) -> bool:
        """Whether a request comes from a page of another site, which may.

        Raises:
            RequestError: It may not, status 403.
        """
        if _same_site(origin, host):
            return False
        if "*" not in self._origins and origin.lower() not in self._origins:
            raise RequestError(
                f"pages of {origin[:100]!r} may not call this server; if they should, its operator adds it to its "
                f"origins",
                status=403,
                code="unknown_origin",
            )
        return True


def _listed(option: str, given: Iterable[str]) -> list[str]:
    if isinstance(given, str):
        raise ConfigError(f"{option} is the text {given!r}; it takes a list, as in {option}=[{given!r}]")
    return [name.lower().rstrip("./") for name in given]


def _checked_origin(origin: str) -> str:
    parts = urlsplit(origin)
    if origin == "*" or (parts.scheme and parts.netloc and not parts.path and not parts.query):
        return origin
    raise ConfigError(f"origins has {origin!r} in it; it takes web sites as 'https://app.example.com', or '*' for any")


def _host_name(host: str) -> str | None:
    """The name in a `Host` header, without its port."""
    try:
        parts = urlsplit(f"//{host}")
        parts.port  # noqa: B018  raises where it is none
    except ValueError:
        return None
    if "@" in host or parts.path or parts.query or parts.fragment:
        return None
    return (parts.hostname or "").rstrip(".") or None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    else:
        return True


_PORTS: Final = {"http": 80, "https": 443}


def _same_site(origin: str, host: str) -> bool:
    """Whether an origin is where the request goes to.

    Behind a proxy the scheme of the request is not known, so that of the page counts for no more than its port.
    """
    try:
        page, here = urlsplit(origin), urlsplit(f"//{host}")
        ports = page.port, here.port
    except ValueError:
        return False
    default = _PORTS.get(page.scheme)
    if default is None:
        return False
    return page.hostname == here.hostname and (ports[0] or default) == (ports[1] or default)


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
