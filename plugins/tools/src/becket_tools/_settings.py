"""What a host has set for its tools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

    from becket_tools._addresses import Exemption
    from becket_tools._guard import Resolver

__all__ = ["FileLimits", "HttpSettings"]


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """The arguments of `make_http_request`, which says what each of them means; `allow` is read already."""

    exemptions: tuple[Exemption, ...]
    timeout: float
    connect_timeout: float
    max_bytes: int
    max_chars: int
    max_redirects: int
    resolve: Resolver | None
    ssl_context: ssl.SSLContext | None


@dataclass(frozen=True, slots=True)
class FileLimits:
    """The limits of `make_file_tools`, which says what each of them means."""

    max_bytes: int
    max_chars: int
    max_entries: int
    max_matches: int
    timeout: float
