"""Files that no tool shows or writes: becket's own configuration, and what a host names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from becket.config import user_file

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Secret"]


class Secret:
    """Gives the paths of these files, whether they are there or not.

    Args:
        root: The folder that relative paths count from.
        paths: What a host has named.
    """

    def __init__(self, root: str, paths: Iterable[str]) -> None:
        self._paths = [os.path.join(root, os.path.expanduser(path)) for path in paths]  # noqa: PTH111, PTH118  texts

    def __call__(self) -> list[str]:
        """Looked up for each call: the environment may have changed since."""
        return [path for path in (os.environ.get("BECKET_CONFIG", ""), user_file(), *self._paths) if path]
