"""The commands for having plugins: to see, to judge, to install and to lock what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from becket_cli._exits import State
from becket_cli._options import LOCK, config_option, json_option, lock_options, plugin_options, traceback_option

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["HAVING"]


@click.command("plugins")
@click.option("--times", is_flag=True, help="Show how long each one took to import, the slowest first.")
@json_option
@plugin_options
@lock_options
@config_option
@traceback_option
@click.pass_context
def plugins_command(ctx: click.Context, /, *, times: bool, as_json: bool) -> None:
    """List the installed plugins, what they add, and why some are left out."""
    from becket_cli._installed import show_plugins

    ctx.exit(show_plugins(ctx.ensure_object(State), times=times, as_json=as_json))


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@plugin_options
@lock_options
@config_option
@traceback_option
@click.pass_context
def doctor_command(ctx: click.Context, /, *, as_json: bool) -> None:
    """Say what is wrong with this environment, its plugins and the configuration, and what to do about it.

    A problem is what does not work, or will not once it is used; a note is what may be meant as it is. The exit code
    is 1 where there is a problem. Every plugin that is not blocked is imported, but for what differs from
    a becket.lock in the working directory; no service is asked.
    """
    from becket_cli._doctor import show

    group = ctx.parent.command if ctx.parent else None
    own = group.commands if isinstance(group, click.Group) else {}
    ctx.exit(show(own, ctx.ensure_object(State), as_json=as_json))


@click.command("hooks")
@click.argument("name", required=False)
@json_option
@plugin_options
@config_option
@traceback_option
@click.pass_context
def hooks_command(ctx: click.Context, /, *, name: str | None, as_json: bool) -> None:
    """List the implementations of every hook, or of one NAME, in the order in which they are called, and why."""
    from becket_cli._installed import show_hooks

    ctx.exit(show_hooks(ctx.ensure_object(State), name, as_json=as_json))


@click.command("install")
@click.argument("names", metavar="NAME...", nargs=-1)
@click.option(
    "-e", "--editable", "folders", metavar="FOLDER", multiple=True, help="Install from a folder, and run from there."
)
@click.option("-U", "--upgrade", is_flag=True, help="Take the newest version of what is there already.")
@config_option
@traceback_option
@click.pass_context
def install_command(ctx: click.Context, /, *, names: Sequence[str], folders: Sequence[str], upgrade: bool) -> None:
    """Install plugins into the environment that becket runs in, with its own installer: uv or pip.

    NAME is that of a distribution, as the installer takes it: becket-x, 'becket-x>=1.2', a file or a folder. Where it
    comes from is the installer's own configuration. An installed plugin is trusted code; look at it before.
    """
    from becket_cli._install import install

    ctx.exit(install(names, folders=folders, upgrade=upgrade))


@click.command("uninstall")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@config_option
@traceback_option
@click.pass_context
def uninstall_command(ctx: click.Context, /, *, names: Sequence[str]) -> None:
    """Uninstall plugins from the environment that becket runs in.

    NAME is any name of a plugin: its own, its distribution's or its module's. What it needed stays.
    """
    from becket_cli._install import uninstall

    ctx.exit(uninstall(names))


@click.command("lock")
@click.argument("file", default=LOCK, required=False)
@click.option(
    "--check", is_flag=True, help="Write nothing; say what has changed since, and end with 1 if anything has."
)
@plugin_options
@config_option
@traceback_option
@click.pass_context
def lock_command(ctx: click.Context, /, *, file: str, check: bool) -> None:
    """Write down the installed plugins in FILE (becket.lock): versions, a hash of their files, what they add.

    With --locked, becket then loads nothing that is not in it, and refuses to run where what is in it has changed.
    """
    from becket_cli._lock import check_lock, write_lock

    state = ctx.ensure_object(State)
    ctx.exit(check_lock(file, state) if check else write_lock(file, state))


HAVING: Final = (
    plugins_command,
    doctor_command,
    hooks_command,
    install_command,
    uninstall_command,
    lock_command,
)
"""What is added to becket's own commands."""
