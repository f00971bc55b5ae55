"""What the environment says of how to reach the world: proxies, and whom to trust."""

from __future__ import annotations

import base64
import functools
import os
import ssl
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from becket import ConfigError

__all__ = ["Proxy", "basic", "is_url", "proxy_for", "tls"]

_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where Linux distributions keep the authorities that they trust (the list of Go's crypto/x509)."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy.

    Attributes:
        url: Where it is, without a user and a password: the libraries show it in their errors.
        authorization: The value of `Proxy-Authorization`, or empty.
    """

    url: str
    authorization: str = field(default="", repr=False)


def proxy_for(url: str) -> Proxy | None:
    """The proxy of the environment or the system for this URL, or None.

    As usual: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, in either case; on macOS and Windows also the settings.

    Raises:
        ConfigError: The proxy speaks no HTTP, or is no URL.
    """
    parts = urlsplit(url)
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or _is_bypassed(parts):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    scheme = proxy.partition("://")[0].lower()
    if scheme not in ("http", "https"):
        raise ConfigError(
            f"the environment's proxy for {parts.scheme}:// is a {scheme} one; set an http:// one in "
            f"{parts.scheme.upper()}_PROXY, or name {parts.hostname} in NO_PROXY"
        )
    if not is_url(proxy):  # it is not shown: there may be a password in it
        raise ConfigError(
            f"the environment's proxy for {parts.scheme}:// is no URL; set one such as http://proxy:3128 in "
            f"{parts.scheme.upper()}_PROXY, with what is special in its user and password as %XX"
        )
    found = urlsplit(proxy)
    credentials, at, place = found.netloc.rpartition("@")
    return Proxy(f"{found.scheme}://{place}", basic(credentials) if at else "")


def basic(credentials: str) -> str:
    """The value of an `Authorization` header for a user and a password as a URL has them (RFC 7617)."""
    return f"Basic {base64.b64encode(unquote_to_bytes(credentials)).decode()}"


def is_url(text: str) -> bool:
    """Whether it is one as RFC 3986 has it, of http, with a host: ASCII, without spaces and controls."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and " " not in text
    return plain and parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0


def _is_bypassed(to: SplitResult) -> bool:
    """Whether NO_PROXY, or the system, names the host; an address of IPv6 with its brackets or without."""
    host = to.hostname or ""
    return any(map(urllib.request.proxy_bypass, (to.netloc.rpartition("@")[2], *((host,) if ":" in host else ()))))


@functools.lru_cache(maxsize=1)
def tls() -> ssl.SSLContext:
    """The TLS settings of this process, made once: reading the authorities takes some 20 ms.

    SSL_CERT_FILE and SSL_CERT_DIR name the authorities to trust; else they are the system's.
    """
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        return ssl.create_default_context()
    if sys.platform in ("darwin", "win32"):
        import truststore

        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = ssl.create_default_context()
    folder = ssl.get_default_verify_paths().capath  # read only when a certificate is looked for
    if not context.cert_store_stats()["x509_ca"] and not (folder and any(Path(folder).glob("*.0"))):
        bundle = next((name for name in _BUNDLES if Path(name).is_file()), None)
        if bundle is not None:
            context.load_verify_locations(bundle)
    return context
