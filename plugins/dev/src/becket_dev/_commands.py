"""The commands, and what they take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from becket_dev._names import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from becket_dev._names import Kind

__all__ = ["commands"]


def commands() -> Iterable[click.Command]:
    """All of them."""
    return [new_command]


@click.command("new")
@click.argument("kind", metavar=f"[{'|'.join(KINDS)}]", type=click.Choice(KINDS))
@click.argument("name")
@click.option(
    "--into",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=Path(),
    help="The folder to make it in. Default: this one.",
)
def new_command(kind: str, name: str, into: Path) -> None:
    """Make a package that is a plugin: with a tool, a provider, a sink, a policy or a wire.

    'becket new tool weather' makes the folder becket-weather: the module becket_weather, the tool 'weather' in it,
    tests that pass as they are, and what it takes to install and to publish it. Nothing is overwritten.
    """
    from becket_dev._names import Names, check_free
    from becket_dev._next import commands as next_commands
    from becket_dev._project import make, rendered

    one = cast("Kind", kind)
    names = Names.of(name, one)
    folder = into / names.distribution
    content = rendered(names, one)
    check_free(names, one)
    make(folder, content)
    click.echo(f"{folder} is there: the {kind} {names.name!r} in the plugin {names.name!r}.")
    for path in content:
        click.echo(f"  {path}")
    click.echo("Next:")
    for command in next_commands(folder, names, one):
        click.echo(f"  {command}")
