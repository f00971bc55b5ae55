"""Settings: of the package, in the table `[plugins.anthropic]` of the user's configuration, and of one endpoint."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from becket_wire import ServiceSettings, SettingsError

if TYPE_CHECKING:
    import pydantic
else:

    class _Pydantic:
        """pydantic, imported when the annotations below are looked at: it takes 100 ms, and often there is no table."""

        def __getattr__(self, name: str) -> Any:
            import pydantic

            return getattr(pydantic, name)

    pydantic = _Pydantic()

__all__ = ["Caching", "Endpoint", "Settings"]

Caching: TypeAlias = Literal["off", "5m", "1h"]
"""Whether the service keeps the beginning of a prompt for the next call, and for how long."""


@dataclass(kw_only=True)
class Endpoint(ServiceSettings):
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
        SettingsError: One of them is wrong.
    """

    auth_token: pydantic.SecretStr | None = field(default=None, repr=False)
    betas: tuple[str, ...] = ()
    version: str | None = None
    caching: Caching = "5m"
    default_max_tokens: int | None = None
    default_model: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.caching not in get_args(Caching):
            allowed = ", ".join(map(repr, get_args(Caching)))
            raise SettingsError(f"caching is {self.caching!r}; it is one of: {allowed}")
        if self.default_max_tokens is not None and not self.default_max_tokens >= 1:
            raise SettingsError(f"default_max_tokens is {self.default_max_tokens!r}; it is a number from 1, or None")
        if self.api_key is not None and self.auth_token is not None:
            raise SettingsError("there is both an api_key and an auth_token; a request has one of them")
        betas: object = self.betas
        if isinstance(betas, str):
            raise SettingsError(f"betas is the text {self.betas!r}; it is a list of texts")
        for name, value in (("betas", ",".join(self.betas)), ("version", self.version or "")):
            if not value.isascii() or not (value.isprintable() or not value):
                raise SettingsError(f"{name} is {value!r}, which no header of a request can have")


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
                raise SettingsError(f"endpoints.{name} has no base_url; say where the service is")

    def own(self) -> Endpoint:
        """The settings of the provider `anthropic` alone."""
        return Endpoint(**{one.name: getattr(self, one.name) for one in fields(Endpoint)})
