"""What a host says of its plugins: which ones are loaded, and in what order their hooks are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from becket._names import canonical

if TYPE_CHECKING:
    from becket.plugins import Plugin

__all__ = ["Choice"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a host says of its plugins; names are canonical.

    Attributes:
        allow: Names of the only plugins to load, or None for all; objects of the host need no leave.
        block: Names of plugins not to load; wins over `allow`.
        order: Names of plugins in the order in which their hooks are called, before all others.
        strict: Whether a plugin that cannot be used is an error.
    """

    allow: frozenset[str] | None = None
    block: frozenset[str] = frozenset()
    order: tuple[str, ...] = ()
    strict: bool = False

    def blocked(self, plugin: Plugin) -> str:
        """Why the plugin is not to be loaded, or empty."""
        if plugin.aliases & self.block:
            return "it is on the block list"
        if self.allow is not None and plugin.distribution is not None and not plugin.aliases & self.allow:
            return "it is not on the allow list"
        return ""

    def place(self, plugin: Plugin) -> tuple[int, str, str]:
        """Where the plugin's hooks come: in the configured order, then by name."""
        places = [place for place, name in enumerate(self.order) if name in plugin.aliases]
        return min(places, default=len(self.order)), canonical(plugin.name), canonical(plugin.distribution or "")

    def why(self, plugin: Plugin) -> str:
        """What has put the plugin's hooks where they are, in words."""
        place = self.place(plugin)[0]
        return f"number {place + 1} of the configured order" if place < len(self.order) else "by its name"
