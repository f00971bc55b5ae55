"""Settings: of the package, in the table `[plugins.openai]` of the user's configuration, and of one endpoint."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from typing import Final, Literal, TypeAlias, get_args

from becket_wire import ServiceSettings, SettingsError

__all__ = ["ApiName", "Endpoint", "ReasoningMember", "SchemaUse", "Settings"]

ApiName: TypeAlias = Literal["chat", "responses"]
"""`chat`: chat completions, which every compatible server has; `responses`: the Responses API."""

SchemaUse: TypeAlias = Literal["always", "without_tools", "never"]
"""When structured output is asked for by a JSON schema; otherwise it is asked for by a tool."""

ReasoningMember: TypeAlias = Literal["reasoning_content", "reasoning", ""]
"""The member of a message in which a service wants the model's reasoning back; empty where it does not."""

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]+\Z")
_CHOICES: Final = {
    "api": get_args(ApiName),
    "json_schema": get_args(SchemaUse),
    "send_reasoning": get_args(ReasoningMember),
}


@dataclass(kw_only=True)
class Endpoint(ServiceSettings):
    """A service that speaks the wire of OpenAI. None leaves a setting to what is known of the service.

    Attributes:
        api: Which of the two APIs is spoken: that of `Responses` with OpenAI itself, and `chat` with all others.
        default_model: The model where only the provider is named. A provider that has one offers itself as the default
            of an environment, so none has unless you say it.
        organization: For OpenAI's header of this name.
        project: As `organization`.
        api_version: For the query `api-version` of Azure's older paths.
        json_schema: When structured output is asked for by a schema, and not by a tool. `without_tools` unless more is
            known of the service: what holds a model to a schema keeps it from calling tools, with some servers.
        send_reasoning: The member of a message in which the service wants the model's reasoning back; empty where it
            does not. Only chat completions ask.

    Raises:
        SettingsError: One of them is wrong.
    """

    api: Literal["chat", "responses"] | None = None
    default_model: str | None = None
    organization: str | None = None
    project: str | None = None
    api_version: str | None = None
    json_schema: Literal["always", "without_tools", "never"] | None = None
    send_reasoning: Literal["reasoning_content", "reasoning", ""] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, allowed in _CHOICES.items():
            given = getattr(self, name)
            if given is not None and given not in allowed:
                raise SettingsError(f"{name} is {given!r}; it is one of: {', '.join(map(repr, allowed))}")


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
