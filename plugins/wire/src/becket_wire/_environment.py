"""What the environment says of how to reach the world: proxies, and whom to trust."""

from __future__ import annotations

import functools
import os
import ssl
import sys
import urllib.request
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from becket import ConfigError

__all__ = ["proxy_for", "tls"]

_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where Linux distributions keep the authorities that they trust (the list of Go's crypto/x509)."""


def proxy_for(url: str) -> str | None:
    """The proxy of the environment or the system for this URL, or None.

    As usual: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, in either case; on macOS and Windows also the settings.

    Raises:
        ConfigError: The proxy speaks no HTTP.
    """
    parts = urlsplit(url)
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    scheme = urlsplit(proxy if "://" in proxy else f"http://{proxy}").scheme
    if scheme not in ("http", "https"):
        raise ConfigError(
            f"the environment's proxy for {parts.scheme}:// is a {scheme} one; set an http:// one in "
            f"{parts.scheme.upper()}_PROXY, or name {parts.hostname} in NO_PROXY"
        )
    return proxy if "://" in proxy else f"http://{proxy}"


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
