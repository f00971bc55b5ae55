"""becket-google: Google's Gemini models as the provider `google`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from becket import hookimpl

from becket_google.provider import GoogleProvider

if TYPE_CHECKING:
    from becket_google._config import GoogleConfig

__all__ = ["GoogleProvider", "declare_config", "register_providers"]


@hookimpl
def declare_config() -> type:
    """`[plugins.google]`: the key, the address, and what the service lets through."""
    from becket_google._config import GoogleConfig

    return GoogleConfig


@hookimpl
def register_providers(config: GoogleConfig) -> list[GoogleProvider]:
    """The provider; it connects at the first model call."""
    from becket_wire import TimeLimits

    return [
        GoogleProvider(
            api_key=config.api_key.get_secret_value() if config.api_key else None,
            base_url=config.base_url,
            api_version=config.api_version,
            vertex=config.vertex,
            headers={name: value.get_secret_value() for name, value in config.headers.items()},
            safety=config.safety,
            limits=TimeLimits(connect=config.connect_seconds, read=config.read_seconds, total=config.total_seconds),
        )
    ]
