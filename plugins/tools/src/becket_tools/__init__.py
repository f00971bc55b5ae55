"""Tools that most agents want: `calculator`, `current_time`, `http_request`, and those for files of one folder."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from becket import ConfigError, hookimpl, tool

from becket_tools._files import FileTools, file_tools, make_file_tools
from becket_tools._settings import HttpSettings

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, Sequence

    from becket import Tool

    from becket_tools._addresses import Exemption
    from becket_tools._config import ToolsConfig
    from becket_tools._guard import Resolver
    from becket_tools._http import Sender

__all__ = [
    "FileTools",
    "calculator",
    "current_time",
    "declare_config",
    "http_request",
    "make_file_tools",
    "make_http_request",
    "register_tools",
]

# The docstrings below are what a model is told, word for word. They were chosen by trying over 100 on a small model:
# with examples in them it miscopied the question, and with `timezone` described it tended to answer "hello" by a call.
# The README tells people more. The imports are inside the functions, so that a run that calls none does not pay.
#
# `http_request` was not part of that trial, and need not be: it writes and leaves the machine, so no host grants it
# unless it is named, and what the small model is told by default is unaffected by its wording.


@tool(effect="none", reach="local", idempotent=True)
def calculator(expression: str) -> str:
    """Calculate a math expression: + - * / ** sqrt sin log.

    Args:
        expression: The full expression, with numbers, + - * / and parentheses.
    """
    from becket_tools._calculate import calculate

    return calculate(expression)


# "read", not "none": it reads the clock, so that two calls differ and a recorded answer is not the answer of today.
@tool(effect="read", reach="local", idempotent=True)
def current_time(timezone: str = "") -> str:
    """Get the current time and date of a city, country or time zone."""
    from datetime import UTC, datetime

    from becket_tools._clock import describe

    return describe(datetime.now(UTC), timezone)


_Method: TypeAlias = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def make_http_request(
    *,
    allow: Sequence[str] = (),
    timeout: float = 30.0,
    connect_timeout: float = 10.0,
    max_bytes: int = 5_000_000,
    max_chars: int = 30_000,
    max_redirects: int = 5,
    resolve: Resolver | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> Tool[..., Any]:
    """Make an `http_request` tool with a host's own limits, and exceptions from what it refuses.

    Args:
        allow: Where requests may go beyond the public internet: addresses, networks and host names, each with a port
            if only that is meant, as in `["127.0.0.1:8080", "10.0.0.0/8", "[::1]:8080", "intranet.example"]`. An
            address or network counts for every name that leads there; a name counts with whatever address it has.
        timeout: Seconds for the whole call, redirects included.
        connect_timeout: Seconds for finding and reaching a server, of each redirect anew, and again for its TLS.
        max_bytes: The most bytes of a response that are read, after decompression.
        max_chars: The most characters of a text that the model gets.
        max_redirects: The most redirects that are followed.
        resolve: Gives the addresses of a host name, for a port; the operating system is asked unless given.
        ssl_context: Verifies servers, for a host with certificates of its own; the system's are trusted unless given.

    Raises:
        ConfigError: A limit is not above 0, or an entry of `allow` is no place.
    """
    limits = {"timeout": timeout, "connect_timeout": connect_timeout, "max_bytes": max_bytes, "max_chars": max_chars}
    for name, limit in limits.items():
        if not limit > 0:  # so that NaN is refused, too
            raise ConfigError(f"make_http_request: {name} is {limit}; it must be above 0")
    exemptions: tuple[Exemption, ...] = ()
    if allow:
        from becket_tools._addresses import parse_exemptions

        exemptions = parse_exemptions(allow)
    settings = HttpSettings(
        exemptions, timeout, connect_timeout, max_bytes, max_chars, max_redirects, resolve, ssl_context
    )
    senders: list[Sender] = []

    @tool(effect="write", effect_of=_effect_of_request, reach="network")
    async def http_request(
        url: str, method: _Method = "GET", headers: dict[str, str] | None = None, body: str = ""
    ) -> Any:
        """Send an HTTP request and get the response.

        Args:
            url: The full URL, starting with https:// or http://.
            method: GET to read.
            headers: Request headers.
            body: Request body, as text.
        """
        if not senders:
            from anyio import to_thread

            senders.append(await to_thread.run_sync(_sender, settings))
        return await senders[0].send(method, url, headers, body)

    return http_request


_METHOD_HEADERS: Final = frozenset(("x-http-method", "x-http-method-override", "x-method-override"))


def _effect_of_request(arguments: Mapping[str, Any]) -> Literal["read", "write"]:
    """GET and HEAD ask for something and change nothing (RFC 9110, 9.2.1); all others may.

    And so may those with a body, or with a header that some servers take for the method that is meant.
    """
    headers = arguments.get("headers")
    names = {str(name).lower() for name in headers} if isinstance(headers, dict) else set()
    plain = not arguments.get("body") and not names & _METHOD_HEADERS
    return "read" if plain and arguments.get("method", "GET") in {"GET", "HEAD"} else "write"


def _sender(settings: HttpSettings) -> Sender:
    """Import and prepare what a call needs; some 200 ms, so a thread of its own does it."""
    from becket_tools._http import Sender

    return Sender(settings)


http_request = make_http_request()


@hookimpl
def declare_config() -> type:
    """`[plugins.tools]`: the folder of the file tools, and what HTTP requests may do."""
    from becket_tools._config import ToolsConfig

    return ToolsConfig


@hookimpl
def register_tools(config: ToolsConfig) -> list[Tool[..., Any]]:
    """The calculator, the clock and HTTP requests; and the file tools, if their folder is configured.

    Registered without a folder they could only refuse, and still each run would tell its model of them: `becket run`
    grants what only looks.
    """
    default = type(config.http)()
    request = http_request if config.http == default else make_http_request(**asdict(config.http))
    files = file_tools(config.files.root, config.files.limits, config.files.secret) if config.files else ()
    return [calculator, current_time, request, *files]
