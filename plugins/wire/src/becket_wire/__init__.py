"""becket-wire: what becket's model providers over HTTP share: one pooled client, event splitting, errors."""

from __future__ import annotations

__all__: list[str] = []
