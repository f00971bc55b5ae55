"""The logger `becket`, fetched when there is something to say.

Importing `logging` costs 7 ms of the 60 that `import becket` has over bare Python, and most processes never log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logging import Logger

__all__ = ["logger"]


class _Lazy:
    """Stands for the logger; the standard library keeps the logger itself, so this keeps nothing."""

    def __getattr__(self, name: str) -> Any:
        import logging

        return getattr(logging.getLogger("becket"), name)


_lazy: Any = _Lazy()
logger: Logger = _lazy
