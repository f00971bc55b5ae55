"""Which event loop this is; the one place of the package that asks."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["on_trio"]


def on_trio() -> bool:
    """Whether the running event loop is trio's. trio is not imported: where it was not, it does not run."""
    lowlevel: Any = getattr(sys.modules.get("trio"), "lowlevel", None)
    return hasattr(lowlevel, "in_trio_run") and bool(lowlevel.in_trio_run())
