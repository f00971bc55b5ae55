"""Settings: the table `[plugins.google]` of the user's configuration, and what a `GoogleProvider` is made of."""

from __future__ import annotations

from dataclasses import dataclass, field

from becket_wire import ServiceSettings

__all__ = ["Settings"]


@dataclass(kw_only=True)
class Settings(ServiceSettings):
    """The table `[plugins.google]`. None leaves a setting to the environment, see `GoogleProvider`.

    Attributes:
        api_key: The key.
        base_url: Where the service is.
        api_version: The version in its paths.
        default_model: The model where only the provider is named. A provider that has one offers itself as the default
            of an environment, so it has none unless you say it.
        vertex: Whether it is Vertex AI.
        headers: Headers of every request besides those that belong to it; one of the same name replaces it.
        safety: Harm categories and their thresholds.
        connect_seconds: How long a connection may take.
        read_seconds: How long the service may send nothing.
        total_seconds: How long an answer may take, or None.

    Raises:
        SettingsError: One of them is wrong.
    """

    api_version: str | None = None
    default_model: str | None = None
    vertex: bool | None = None
    safety: dict[str, str] = field(default_factory=dict)
