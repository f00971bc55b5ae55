"""becket-openai: OpenAI and every service that speaks its wire, as model providers of becket."""

from __future__ import annotations

from becket import hookimpl

from becket_openai._provider import OpenAIProvider
from becket_openai._settings import Endpoint, Settings

__all__ = ["Endpoint", "OpenAIProvider", "Settings"]


@hookimpl
def declare_config() -> type[Settings]:
    """The table `[plugins.openai]`."""
    return Settings


@hookimpl
def register_providers(config: Settings) -> list[OpenAIProvider]:
    """A provider for each service that is known, and for each endpoint of the configuration."""
    from becket_openai._presets import PRESETS

    endpoints = {**dict.fromkeys(PRESETS, Endpoint()), **config.endpoints, "openai": config.own()}
    return [OpenAIProvider(name, endpoint=endpoint) for name, endpoint in endpoints.items()]
