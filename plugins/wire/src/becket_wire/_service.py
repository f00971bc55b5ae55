"""The settings that every service over HTTP has, for the tables of plugins."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from becket import ConfigError

if TYPE_CHECKING:
    import pydantic

    from becket_wire._limits import TimeLimits
else:

    class _Pydantic:
        """pydantic, imported when the annotations below are looked at: it takes 100 ms, and often there is no table."""

        def __getattr__(self, name: str) -> Any:
            import pydantic

            return getattr(pydantic, name)

    pydantic = _Pydantic()

__all__ = ["ServiceSettings", "SettingsError", "plain"]

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")  # RFC 9110: the name of a header
_SECONDS: Final = ("connect_seconds", "read_seconds", "total_seconds")


class SettingsError(ConfigError, ValueError):
    """A setting of a service is wrong. A `ValueError`, so that pydantic tells it with the place in the file."""


@dataclass(kw_only=True)
class ServiceSettings:
    """The settings that every service has; the table of a plugin is a subclass with its own.

    None of it is a project's to set: it says who gets the key.

    Attributes:
        base_url: Where its paths begin. None leaves it to what is known of the service.
        api_key: Its key.
        headers: Headers of every request besides those that belong to it; one of the same name replaces it.
        connect_seconds: How long a connection may take.
        read_seconds: How long the service may send nothing.
        total_seconds: How long an answer may take, or None.

    Raises:
        SettingsError: One of them is wrong. A URL that may hold a secret is not shown.
    """

    base_url: str | None = None
    api_key: pydantic.SecretStr | None = field(default=None, repr=False)
    headers: dict[str, pydantic.SecretStr] = field(default_factory=dict, repr=False)
    connect_seconds: float = 10.0
    read_seconds: float = 300.0
    total_seconds: float | None = None

    def __post_init__(self) -> None:
        for name in _SECONDS:
            given = getattr(self, name)
            if given is not None and not (isinstance(given, int | float) and 0 < given < math.inf):
                raise SettingsError(f"{name} is {given!r}; it is a number of seconds above 0")
        if self.base_url is not None:
            _check_url(self.base_url)
        if _breaks(plain(self.api_key)):
            raise SettingsError("api_key holds what no header of a request can have: a line break, or worse")
        for name, value in self.headers.items():
            if not _TOKEN.match(name) or _breaks(plain(value)):
                raise SettingsError(f"headers has {name!r}, which no request can have")

    @property
    def limits(self) -> TimeLimits:
        """The time limits of a client."""
        from becket_wire._limits import TimeLimits

        return TimeLimits(connect=self.connect_seconds, read=self.read_seconds, total=self.total_seconds)


def plain(secret: object) -> str:
    """A secret, or a text, as a text, without the white space around it; empty for None."""
    reveal = getattr(secret, "get_secret_value", None)
    return str(secret or "" if reveal is None else reveal()).strip()


def _breaks(value: str) -> bool:
    """Whether a value would end its header, or begin another one."""
    return any(sign in value for sign in "\r\n\0")


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise SettingsError("base_url has a name or password in it; give the key as api_key, or under headers")
    if "?" in url or "#" in url:  # the paths that follow would be part of it
        raise SettingsError("base_url has a query or a fragment, and paths follow it; end it before the ? or #")
    if not fits:
        raise SettingsError(
            f"base_url is {url!r}; it is a URL that starts with http:// or https://, as http://localhost:8000/v1"
        )
