"""The names by which a server may be called, and the web sites whose pages may call it."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from becket import ConfigError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Names"]


class Names:
    """The names by which the server may be called, and the web sites whose pages may.

    A page of any site can make its visitor's browser send requests to this machine. It is told by its `Origin`, unless
    its site's name was made to lead to this machine (DNS rebinding): then the `Host` is that name.

    Args:
        hosts: Names besides `localhost`. An address is always right: it leads nowhere else.
        origins: Web sites besides the server's own.

    Raises:
        ConfigError: A name or an origin is none.
    """

    def __init__(self, hosts: Iterable[str], origins: Iterable[str]) -> None:
        self._hosts = {"localhost", *(_checked_host(host) for host in _listed("hosts", hosts))}
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


def _checked_host(host: str) -> str:
    if host == "*" or _is_address(host.strip("[]")) or (_host_name(host) == host and "*" not in host):
        return host
    raise ConfigError(
        f"hosts has {host!r} in it; it takes names as 'agents.example.com', with neither scheme nor port, or '*' for "
        f"any"
    )


def _checked_origin(origin: str) -> str:
    """An origin as browsers send it, so that it can be compared: without the port that its scheme has anyway."""
    if origin == "*":
        return origin
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    plain = f"{parts.scheme}://{parts.netloc}" == origin and origin.isascii() and not set(parts.netloc) & set("*@ ")
    if not (plain and parts.scheme and parts.hostname):
        raise ConfigError(
            f"origins has {origin!r} in it; it takes web sites as browsers name them, 'https://app.example.com', each "
            f"one by itself and with nothing after its name and port, or '*' for any"
        )
    usual = port is not None and port == _PORTS.get(parts.scheme)
    return origin.removesuffix(f":{port}") if usual else origin.removesuffix(":")


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
