"""Settings: of the package, in the table `[plugins.openai]` of the user's configuration, and of one endpoint."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

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

__all__ = ["ApiName", "Endpoint", "ReasoningMember", "SchemaUse", "Settings", "SettingsError", "check_url", "plain"]

ApiName: TypeAlias = Literal["chat", "responses"]
"""`chat`: chat completions, which every compatible server has; `responses`: the Responses API."""

SchemaUse: TypeAlias = Literal["always", "without_tools", "never"]
"""When structured output is asked for by a JSON schema; otherwise it is asked for by a tool."""

ReasoningMember: TypeAlias = Literal["reasoning_content", "reasoning", ""]
"""The member of a message in which a service wants the model's reasoning back; empty where it does not."""

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]+\Z")
_TITLE: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")  # a token of RFC 9110
_CHOICES: Final = {
    "api": get_args(ApiName),
    "json_schema": get_args(SchemaUse),
    "send_reasoning": get_args(ReasoningMember),
}


class SettingsError(ConfigError, ValueError):
    """A setting of becket-openai is wrong. A `ValueError`, so that pydantic tells it with the place in the file."""


@dataclass(kw_only=True)
class Endpoint:
    """A service that speaks the wire of OpenAI. None leaves a setting to what is known of the service.

    Attributes:
        base_url: Where its paths begin, as `http://localhost:8000/v1`.
        api_key: Its key.
        api: Which of the two APIs is spoken: that of `Responses` with OpenAI itself, and `chat` with all others.
        default_model: The model where only the provider is named. A provider that has one offers itself as the default
            of an environment, so none has unless you say it.
        headers: Headers of every request besides those that belong to it; one of the same name replaces it.
        organization: For OpenAI's header of this name.
        project: As `organization`.
        api_version: For the query `api-version` of Azure's older paths.
        json_schema: When structured output is asked for by a schema; see `SchemaUse`. `without_tools` unless more is
            known of the service: what holds a model to a schema keeps it from calling tools, with some servers.
        send_reasoning: The member in which the service wants reasoning back, see `ReasoningMember`. Only chat
            completions ask.
        connect_seconds: How long a connection may take.
        read_seconds: How long the service may send nothing.
        total_seconds: How long an answer may take, or None.

    Raises:
        SettingsError: One of them is wrong.
    """

    base_url: str | None = None
    api_key: pydantic.SecretStr | None = field(default=None, repr=False)
    api: ApiName | None = None
    default_model: str | None = None
    headers: dict[str, pydantic.SecretStr] = field(default_factory=dict, repr=False)
    organization: str | None = None
    project: str | None = None
    api_version: str | None = None
    json_schema: SchemaUse | None = None
    send_reasoning: ReasoningMember | None = None
    connect_seconds: float = 10.0
    read_seconds: float = 300.0
    total_seconds: float | None = None

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            given = getattr(self, name)
            if given is not None and given not in allowed:
                raise SettingsError(f"{name} is {given!r}; it is one of: {', '.join(map(repr, allowed))}")
        for name in ("connect_seconds", "read_seconds", "total_seconds"):
            given = getattr(self, name)
            if given is not None and not (isinstance(given, int | float) and 0 < given < math.inf):
                raise SettingsError(f"{name} is {given!r}; it is a number of seconds above 0")
        if self.base_url is not None:
            check_url("base_url", self.base_url)
        for name, value in self.headers.items():
            if not _TITLE.match(name) or any(sign in plain(value) for sign in "\r\n\0"):
                raise SettingsError(f"headers has {name!r}, which no request can have")


@dataclass(kw_only=True)
class Settings(Endpoint):
    """The table `[plugins.openai]`: the settings of the provider `openai`, and other endpoints.

    Attributes:
        endpoints: Other endpoints, by the name that their provider has. One that is known already (`ollama`, `vllm`)
            keeps what you do not say.
    """

    endpoints: dict[str, Endpoint] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.endpoints:
            if not _NAME.match(name):
                raise SettingsError(f"endpoints has the name {name!r}; a name has letters, digits, '-' and '_'")
        if "openai" in self.endpoints:
            raise SettingsError("endpoints has the name 'openai'; its settings stand in [plugins.openai] itself")

    def own(self) -> Endpoint:
        """The settings of the provider `openai` alone."""
        return Endpoint(**{one.name: getattr(self, one.name) for one in fields(Endpoint)})


def check_url(what: str, url: str) -> None:
    """Refuse what is no URL, or one with a user's name or password in it.

    Raises:
        SettingsError: As told; the URL is not shown where it may hold a secret.
    """
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        parts, fits = None, False
    if parts is not None and (parts.username is not None or parts.password is not None):
        raise SettingsError(f"{what} has a name or password in it; give the key as api_key, or under headers")
    if not fits:
        raise SettingsError(
            f"{what} is {url!r}; it is a URL that starts with http:// or https://, as http://localhost:8000/v1"
        )


def plain(secret: object) -> str:
    """A secret, or a text, as a text."""
    reveal = getattr(secret, "get_secret_value", None)
    return str(secret if reveal is None else reveal())
