"""becket-fallback: a model provider of becket that moves on to the next model when one fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from becket import hookimpl

from becket_fallback._provider import FallbackProvider, ListedModel
from becket_fallback._settings import Settings

if TYPE_CHECKING:
    from becket.hookspecs import FindModel

__all__ = ["FallbackProvider", "ListedModel", "Settings"]


@hookimpl
def declare_config() -> type[Settings]:
    """The table `[plugins.fallback]`."""
    return Settings


@hookimpl
def register_providers(config: Settings, find_model: FindModel) -> list[FallbackProvider]:
    """The provider `fallback`, with the lists of the configuration."""
    return [FallbackProvider(config.models, find_model=find_model)]
