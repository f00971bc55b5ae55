"""For who writes plugins: a package made, a single file tried, and what holds of a plugin checked."""

from __future__ import annotations

from typing import Any

from becket import hookimpl

__all__ = ["register_commands"]


@hookimpl
def register_commands(cli: Any) -> None:
    """The commands `becket new`, `becket dev` and `becket check`."""
    from becket_dev._commands import commands  # click is for command lines alone

    for command in commands():
        cli.add_command(command)
