"""Names of plugins and distributions, as they are compared."""

from __future__ import annotations

import re

__all__ = ["canonical"]


def canonical(name: str) -> str:
    """A name as PEP 503 compares distributions: `Becket_Tools` is `becket-tools`."""
    return re.sub(r"[-_.]+", "-", name).lower()
