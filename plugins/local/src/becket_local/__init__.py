"""becket-local: a small tool-calling model on the CPU, without a network, as the provider `local`."""

from __future__ import annotations

from becket import hookimpl

from becket_local.provider import LocalProvider

__all__ = ["LocalProvider"]


@hookimpl
def register_providers() -> list[LocalProvider]:
    """The provider; its worker process is started at the first model call."""
    return [LocalProvider()]
