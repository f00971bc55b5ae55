"""Which addresses a request may go to. Decisions only: nothing here resolves a name or opens a connection."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, TypeAlias

from becket import ConfigError, ToolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Exemption", "check_host", "is_public", "parse_exemptions", "permitted"]

_Address: TypeAlias = IPv4Address | IPv6Address
_Network: TypeAlias = IPv4Network | IPv6Network

_HIGHEST_PORT = 65535
_LONGEST_NAME, _LONGEST_LABEL = 253, 63  # characters; RFC 1035
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LOCALHOST = ("127.0.0.1", "::1")

# What `is_global` of some supported Python takes for public, and is not, or must not be asked by a stranger.
_NOT_PUBLIC: tuple[_Network, ...] = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "100.64.0.0/10",  # shared address space; a cloud has its metadata service here
        "168.63.129.16/32",  # a cloud's agent for its virtual machines, on an address that looks public
        "192.0.0.0/24",  # protocol assignments; another metadata service
        "192.88.99.0/24",  # relays to IPv6
        "198.18.0.0/15",  # benchmarks
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "2001::/23",  # protocol assignments, Teredo among them, which holds an IPv4 address
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which holds an IPv4 address
        "3fff::/20",  # documentation
    )
)

# All of IPv6 that is given to the public internet. What is outside needs no list: loopback, unspecified, unique local,
# link-local, site-local, multicast, and what holds an IPv4 address: mapped (::ffff:0:0/96), compatible (::/96) and
# NAT64 (64:ff9b::/96, 64:ff9b:1::/48).
_PUBLIC_V6 = ip_network("2000::/3")


def is_public(text: str) -> bool:
    """Whether `text` is an address of the public internet, in the usual notation and without a zone."""
    address = _parse(text)
    if address is None or not address.is_global or address.is_multicast:
        return False
    if isinstance(address, IPv6Address) and address not in _PUBLIC_V6:
        return False
    return not any(address in network for network in _NOT_PUBLIC)


def _parse(text: str) -> _Address | None:
    try:
        return None if "%" in text else ip_address(text)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Exemption:
    """Where a host lets requests go although it is not public.

    Attributes:
        place: A network, or a name with whatever addresses it has.
        port: The one port, or None for all.
    """

    place: _Network | str
    port: int | None

    def covers(self, host: str, address: str, port: int) -> bool:
        """Whether a request for `host`, which has `address`, may go there."""
        if self.port not in (None, port):
            return False
        if isinstance(self.place, str):
            return self.place == host
        parsed = _parse(address)
        return parsed is not None and parsed in self.place


def parse_exemptions(entries: Iterable[str]) -> tuple[Exemption, ...]:
    """Read entries such as `10.0.0.0/8`, `127.0.0.1:8080`, `[::1]:8080`, `intranet.example` or `api:8080`.

    Raises:
        ConfigError: One is none of these, or the entries are a single text.
    """
    if isinstance(entries, str):
        raise ConfigError(f"allow is a list of places; write allow=[{entries!r}]")
    return tuple(_parse_exemption(entry) for entry in entries)


def _parse_exemption(entry: str) -> Exemption:
    place, port = entry.strip().lower(), None
    if match := re.fullmatch(r"\[(.*)\](?::(\d+))?|([^:]*):(\d+)", place):
        place = match[1] or match[3] or ""
        port = int(match[2] or match[4] or 0) or None
    network = _network(place)
    name = place.removesuffix(".")
    if (port or 1) > _HIGHEST_PORT or (network is None and not _is_name(name)):
        raise ConfigError(
            f"allow: {entry!r} is no place; write an address, a network without host bits or a name, "
            f"and a port after ':' if only that is meant: '10.0.0.0/8', '127.0.0.1:8080', '[::1]:8080', 'api:8080'"
        )
    return Exemption(name if network is None else network, port)


def _network(text: str) -> _Network | None:
    try:
        return None if "%" in text else ip_network(text)
    except ValueError:
        return None


def _is_name(text: str) -> bool:
    """Whether `text` is a host name and no number in any notation: a name ends in a label that is none."""
    labels = text.split(".")
    fits = len(text) <= _LONGEST_NAME and all(len(label) <= _LONGEST_LABEL for label in labels)
    return fits and _NAME.fullmatch(text) is not None and not _NUMBER.fullmatch(labels[-1])


def check_host(host: str) -> tuple[str, ...] | None:
    """The addresses of a host that need no resolver, or None for a name that does.

    `localhost` and the names under it are this machine's, whatever a resolver says (RFC 6761).

    Args:
        host: In lower case, without brackets and without a dot at its end.

    Raises:
        ToolError: It is neither an address in the usual notation nor a name.
    """
    if _parse(host) is not None:
        return (host,)
    if not _is_name(host):
        raise ToolError(
            f"{host[:200]!r} is not a host; write a name such as example.com, or an address as in 192.0.2.1 or "
            f"[2001:db8::1]"
        )
    if host == "localhost" or host.endswith((".localhost", ".localdomain")):
        return _LOCALHOST
    return None


def permitted(host: str, addresses: Sequence[str], port: int, exemptions: Sequence[Exemption]) -> list[str]:
    """The addresses of `host` that a request may go to.

    A name of which one address is refused is refused as a whole: a public name that leads to a private address is
    either a mistake or an attack. `localhost` is no such name, and of its two addresses one may be enough.

    Raises:
        ToolError: It must not go there.
    """
    fine = [
        address
        for address in addresses
        if is_public(address) or any(exemption.covers(host, address, port) for exemption in exemptions)
    ]
    refused = [address for address in addresses if address not in fine]
    if refused and not (fine and tuple(addresses) == _LOCALHOST):
        shown = "" if host in refused else f" ({refused[0]})"
        raise ToolError(
            f"{host}{shown} is not on the public internet, and this tool only goes there; "
            f"use a public address, or ask the user to allow this one"
        )
    return fine
