"""becket-openai: OpenAI and every service that speaks its wire, as model providers of becket."""

from __future__ import annotations

__all__: list[str] = []
