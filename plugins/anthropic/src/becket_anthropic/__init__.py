"""becket-anthropic: Anthropic's Claude models as a model provider of becket."""

from __future__ import annotations

__all__: list[str] = []
