"""What is asked of a server, checked before anything is sent, and what becomes of it after a redirect."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import httpx2
from becket import ToolError

from becket_tools._addresses import check_host

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MAX_BODY", "METHODS", "REDIRECTS", "Ask", "check", "redirected"]

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
MAX_BODY: Final = 1_000_000  # bytes
REDIRECTS: Final = (301, 302, 303, 307, 308)

_MAX_URL = 8_000  # characters; RFC 9110 asks of servers that they take as many
_MAX_HEADERS = 16_000  # characters together; common servers refuse more
_PORTS = range(1, 65536)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*")

# They say where a message ends and which host is meant; two opinions on that are how requests are smuggled.
_OURS = frozenset(
    (
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)

# What goes along to another origin. Not only Authorization and Cookie stay behind: a key may be in any header.
_HARMLESS = frozenset(("accept", "accept-language", "content-type", "user-agent"))


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, fit to be sent.

    Attributes:
        method: One of `METHODS`.
        url: With a host that `check_host` takes.
        headers: Without those that the client sets itself.
        body: Empty where there is none.
    """

    method: str
    url: httpx2.URL
    headers: dict[str, str]
    body: bytes


def check(method: str, url: str, headers: Mapping[str, str] | None, body: str) -> Ask:
    """The request that is meant.

    Raises:
        ToolError: It is none that this tool sends. The text says what to change.
    """
    if method.upper() not in METHODS:
        raise ToolError(f"the method {method[:20]!r} is unknown; use one of: {', '.join(METHODS)}")
    content = body.encode("utf-8", "replace")
    if len(content) > MAX_BODY:
        raise ToolError(f"the body has {len(content)} bytes, and {MAX_BODY} is the most; send less")
    checked = _check_headers(headers or {})
    if content and not any(name.lower() == "content-type" for name in checked):
        checked["Content-Type"] = "application/json" if _is_json(body) else "text/plain; charset=utf-8"
    return Ask(method.upper(), _check_url(_parse_url(url.strip())), checked, content)


def _check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    if sum(len(name) + len(value) for name, value in headers.items()) > _MAX_HEADERS:
        raise ToolError(f"the headers have more than {_MAX_HEADERS} characters; send fewer")
    for name, value in headers.items():
        if name.lower() in _OURS or name.lower().startswith("proxy-"):
            raise ToolError(f"the header {name!r} cannot be set; leave it out, it is set as the request needs it")
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise ToolError(
                f"the header {name[:40]!r} cannot be sent: a name has letters, digits and '-', a value is one line of "
                f"ASCII characters"
            )
    return {name: value.strip(" \t") for name, value in headers.items()}


def _is_json(body: str) -> bool:
    """Whether `body` is a JSON object or list; "42" more likely is a text."""
    try:
        return body.lstrip()[:1] in ("{", "[") and json.loads(body) is not None
    except (ValueError, RecursionError):
        return False


def _parse_url(text: str) -> httpx2.URL:
    if len(text) > _MAX_URL:
        raise ToolError(f"the URL has {len(text)} characters, and {_MAX_URL} is the most")
    try:
        return httpx2.URL(text)
    except httpx2.InvalidURL as error:
        raise ToolError(f"{text[:200]!r} is no URL: {error}; write one such as https://example.com/path") from error


def _check_url(url: httpx2.URL) -> httpx2.URL:
    shown = str(url)[:200]
    if url.scheme not in ("http", "https") or not url.raw_host:
        raise ToolError(f"{shown!r} is no URL that can be asked; write one that starts with http:// or https://")
    if url.userinfo:
        # The URL is not repeated: it goes to logs.
        raise ToolError("the URL has a user name or password in it; send them in an Authorization header instead")
    if url.port is not None and url.port not in _PORTS:
        raise ToolError(f"{shown!r} has the port {url.port}; ports go from 1 to 65535")
    host = url.raw_host.decode("ascii").lower().removesuffix(".")
    check_host(host)
    return url.copy_with(host=host)


def redirected(ask: Ask, status: int, location: str) -> Ask:
    """The request that follows a redirect, as RFC 9110 has it.

    303 is answered by a GET (or a HEAD), 301 and 302 of a POST by a GET, as every client does; all else is asked again
    as it was, with its body. To another origin only harmless headers go along.

    Raises:
        ToolError: It leads to nowhere that may be asked.
    """
    try:
        url = _check_url(_parse_url(str(ask.url.join(location))))
    except (ToolError, httpx2.InvalidURL) as error:
        raise ToolError(f"{_shown(ask.url)} redirects to where this tool does not go: {error}") from error
    headers = ask.headers
    if url.origin != ask.url.origin:
        headers = {name: value for name, value in headers.items() if name.lower() in _HARMLESS}
    if (status == 303 and ask.method != "HEAD") or (status in (301, 302) and ask.method == "POST"):  # noqa: PLR2004  status codes
        without = {name: value for name, value in headers.items() if not name.lower().startswith("content-")}
        return Ask("GET", url, without, b"")
    return replace(ask, url=url, headers=headers)


def _shown(url: httpx2.URL) -> str:
    return str(url)[:200]
