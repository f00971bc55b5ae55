"""What a host has set for its HTTP requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

    from becket_tools._addresses import Exemption
    from becket_tools._guard import Resolver

__all__ = ["HttpSettings"]


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
