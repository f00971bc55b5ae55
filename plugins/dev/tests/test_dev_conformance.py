"""The commands of becket-dev keep the contract of commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from becket.testing import CommandConformance
from becket_dev import register_commands

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import click


class TestDev(CommandConformance):
    examples: Mapping[str, Sequence[Sequence[str]]] = {"new": [["tool", "weather"], ["sink", "lamp", "--into", "."]]}
    failing: Mapping[str, Sequence[Sequence[str]]] = {
        "new": [["tool"], ["toy", "bear"], ["tool", "not a name"]],
        "dev": [["gone.py"]],
        "check": [[], ["no_such_plugin_is_there"]],
    }

    def register_commands(self, cli: click.Group) -> None:
        register_commands(cli)
