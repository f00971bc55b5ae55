"""becket-google: Google's Gemini models as the provider `google`."""

from __future__ import annotations

from becket import hookimpl

from becket_google._provider import GoogleProvider
from becket_google._settings import Settings

__all__ = ["GoogleProvider", "Settings"]


@hookimpl
def declare_config() -> type[Settings]:
    """The table `[plugins.google]`."""
    return Settings


@hookimpl
def register_providers(config: Settings) -> list[GoogleProvider]:
    """The provider; it connects at the first model call."""
    return [GoogleProvider(settings=config)]
