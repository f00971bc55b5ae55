"""What the two splitters share: how long a thing may grow that has not ended."""

from __future__ import annotations

from typing import Final

__all__ = ["LONGEST", "TooLongError"]

LONGEST: Final = 32 * 1024 * 1024
"""Bytes that one event or line may have by default. An image that a model draws comes as one event of several MB."""


class TooLongError(ValueError):
    """An event or a line does not end."""

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(f"{what} of more than {limit} bytes")
