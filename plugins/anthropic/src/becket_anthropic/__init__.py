"""becket-anthropic: Anthropic's Claude models, and services that speak its Messages API, as providers of becket."""

from __future__ import annotations

from becket import hookimpl

from becket_anthropic._settings import Caching, Endpoint, Settings
from becket_anthropic.provider import AnthropicProvider

__all__ = ["AnthropicProvider", "Caching", "Endpoint", "Settings"]


@hookimpl
def declare_config() -> type[Settings]:
    """The table `[plugins.anthropic]`."""
    return Settings


@hookimpl
def register_providers(config: Settings) -> list[AnthropicProvider]:
    """The provider `anthropic`, and one for each endpoint of the configuration."""
    endpoints = {"anthropic": config.own(), **config.endpoints}
    return [AnthropicProvider(name, endpoint=endpoint) for name, endpoint in endpoints.items()]
