"""becket-fallback: a model provider of becket that moves on to the next model when one fails."""

from __future__ import annotations

__all__: list[str] = []
