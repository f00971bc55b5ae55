"""Settings: the table `[plugins.google]` of the user's configuration, and what a `GoogleProvider` is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from becket import ConfigError

if TYPE_CHECKING:
    import pydantic
else:

    class _Pydantic:
        """pydantic, imported when the annotations below are looked at: it takes 100 ms, and often there is no table."""

        def __getattr__(self, name: str) -> Any:
            import pydantic

            return getattr(pydantic, name)

    pydantic = _Pydantic()

__all__ = ["Settings", "plain"]


@dataclass(kw_only=True)
class Settings:
    """The table `[plugins.google]`. None leaves a setting to the environment, see `GoogleProvider`.

    None of it is a project's to set: it says who gets the key.

    Attributes:
        api_key: The key.
        base_url: Where the service is.
        api_version: The version in its paths.
        vertex: Whether it is Vertex AI.
        headers: Headers of every request besides those that belong to it; one of the same name replaces it.
        safety: Harm categories and their thresholds.
        connect_seconds: How long a connection may take.
        read_seconds: How long the service may send nothing.
        total_seconds: How long an answer may take, or None.

    Raises:
        ConfigError: One of them is wrong.
    """

    api_key: pydantic.SecretStr | None = field(default=None, repr=False)
    base_url: str | None = None
    api_version: str | None = None
    vertex: bool | None = None
    headers: dict[str, pydantic.SecretStr] = field(default_factory=dict, repr=False)
    safety: dict[str, str] = field(default_factory=dict)
    connect_seconds: float = 10.0
    read_seconds: float = 300.0
    total_seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("connect_seconds", "read_seconds", "total_seconds"):
            given = getattr(self, name)
            if given is not None and not (isinstance(given, int | float) and 0 < given < math.inf):
                raise ConfigError(f"{name} is {given!r}; it is a number of seconds above 0")
        if self.base_url is not None:
            _check_url(self.base_url)
        for name, value in [("api_key", self.api_key), *self.headers.items()]:
            if not name or not name.isascii() or any(sign in name + plain(value).strip() for sign in "\r\n\0"):
                raise ConfigError(f"{name!r} holds what no header of a request can have: a line break, or worse")


def _check_url(url: str) -> None:
    """Refuse what is no URL, and one with a password in it, which is then not shown."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        parts, fits = None, False
    if parts is not None and "@" in parts.netloc:
        raise ConfigError("base_url has a name or password in it; give the key as api_key, or under headers")
    if not fits:
        raise ConfigError(f"base_url is {url!r}; it is a URL that starts with http:// or https://")


def plain(secret: object) -> str:
    """A secret, or a text, as a text; empty for None."""
    reveal = getattr(secret, "get_secret_value", None)
    return str(reveal() if reveal is not None else secret or "")
