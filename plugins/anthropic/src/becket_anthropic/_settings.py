"""Settings: of the package, in the table `[plugins.anthropic]` of the user's configuration, and of one endpoint."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

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

__all__ = ["Caching", "Endpoint", "Settings", "plain"]

Caching: TypeAlias = Literal["off", "5m", "1h"]
"""Whether the service keeps the beginning of a prompt for the next call, and for how long."""


@dataclass(kw_only=True)
class Endpoint:
    """A service that speaks the Messages API.

    Attributes:
        base_url: Where its paths begin, as `https://gateway.example/anthropic`; `/v1/messages` follows.
        api_key: Its key, sent as `x-api-key`.
        auth_token: Its key where it is sent as `authorization: Bearer`, as gateways have it.
        headers: Headers of every request besides those that belong to it; one of the same name replaces it.
        betas: What is sent as `anthropic-beta`.
        version: What is sent as `anthropic-version`. None for 2026-10-21, and for 2023-06-01 where a call sets
            `temperature`, `top_p` or `top_k`, which the newer one refuses.
        caching: How long the service keeps the beginning of a prompt; `off` where it is not to.
        default_max_tokens: The tokens that one answer may have where a call does not say it. None for what the model
            can write at most.
        default_model: The model where only the provider is named. A provider that has one offers itself as the default
            of an environment, so none has unless you say it.
        connect_seconds: How long a connection may take.
        read_seconds: How long the service may send nothing.
        total_seconds: How long an answer may take, or None.

    Raises:
        ConfigError: One of them is wrong.
    """

    base_url: str | None = None
    api_key: pydantic.SecretStr | None = field(default=None, repr=False)
    auth_token: pydantic.SecretStr | None = field(default=None, repr=False)
    headers: dict[str, pydantic.SecretStr] = field(default_factory=dict, repr=False)
    betas: tuple[str, ...] = ()
    version: str | None = None
    caching: Caching = "5m"
    default_max_tokens: int | None = None
    default_model: str | None = None
    connect_seconds: float = 10.0
    read_seconds: float = 300.0
    total_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.caching not in get_args(Caching):
            allowed = ", ".join(map(repr, get_args(Caching)))
            raise ConfigError(f"caching is {self.caching!r}; it is one of: {allowed}")
        if self.default_max_tokens is not None and not self.default_max_tokens >= 1:
            raise ConfigError(f"default_max_tokens is {self.default_max_tokens!r}; it is a number from 1, or None")
        if self.api_key is not None and self.auth_token is not None:
            raise ConfigError("there is both an api_key and an auth_token; a request has one of them")
        for name in ("connect_seconds", "read_seconds", "total_seconds"):
            given = getattr(self, name)
            if given is not None and not (isinstance(given, int | float) and 0 < given < math.inf):
                raise ConfigError(f"{name} is {given!r}; it is a number of seconds above 0")
        if self.base_url is not None:
            check_url("base_url", self.base_url)
        betas: object = self.betas
        if isinstance(betas, str):
            raise ConfigError(f"betas is the text {self.betas!r}; it is a list of texts")
        for name, value in (*self.headers.items(), ("anthropic-beta", ",".join(self.betas))):
            if not name or not name.isascii() or any(sign in name + plain(value) for sign in "\r\n\0"):
                raise ConfigError(f"headers has {name!r}, which no request can have")


@dataclass(kw_only=True)
class Settings(Endpoint):
    """The table `[plugins.anthropic]`: the settings of the provider `anthropic`, and other endpoints.

    Attributes:
        endpoints: Other services that speak the Messages API, by the name that their provider has.
    """

    endpoints: dict[str, Endpoint] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, endpoint in self.endpoints.items():
            if endpoint.base_url is None:
                raise ConfigError(f"endpoints.{name} has no base_url; say where the service is")

    def own(self) -> Endpoint:
        """The settings of the provider `anthropic` alone."""
        return Endpoint(**{one.name: getattr(self, one.name) for one in fields(Endpoint)})


def check_url(what: str, url: str) -> None:
    """Refuse what is no URL, or one with a user's name or password in it.

    Raises:
        ConfigError: As told; the URL is not shown where it may hold a secret.
    """
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        parts, fits = None, False
    if parts is not None and (parts.username is not None or parts.password is not None):
        raise ConfigError(f"{what} has a name or a password in it; give the key as api_key, or under headers")
    if not fits:
        raise ConfigError(f"{what} is {url!r}; it is a URL that starts with https:// or http://")


def plain(secret: object) -> str:
    """A secret, or a text, as a text."""
    reveal = getattr(secret, "get_secret_value", None)
    return str(secret if reveal is None else reveal())
