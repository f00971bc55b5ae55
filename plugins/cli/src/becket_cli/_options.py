"""Options that several commands have, and the types of their values."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from becket_cli._exits import State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "LOCK",
    "Number",
    "config_option",
    "group_plugin_options",
    "json_option",
    "lock_options",
    "plugin_options",
    "traceback_option",
]

LOCK: Final = "becket.lock"
"""The lock, unless another is named."""

F = TypeVar("F", bound="Callable[..., Any]")


class Number(click.FloatRange):
    """A float in a range; neither infinite nor `nan`, which lies in every range as comparisons go."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, or a usage error."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no number that can be reached.", param, ctx)
        return number


def plugin_options(command: F) -> F:
    """`-p`, as pytest has it, and `--no-plugins`."""
    return _plugin_options(command, eager=False, want=_want_plugins)


def group_plugin_options(command: F) -> F:
    """The same before the name of a command, where they say which plugins are asked for commands, too.

    They come before `--help`, which lists these.
    """
    return _plugin_options(command, eager=True, want=_want_plugins_of_all)


def _plugin_options(command: F, *, eager: bool, want: Callable[..., None]) -> F:
    none = click.option(
        "--no-plugins",
        is_flag=True,
        is_eager=eager,
        expose_value=False,
        callback=_want_no_plugins,
        help="Load no plugin but those that -p insists on.",
    )
    choice = click.option(
        "-p",
        "plugins",
        metavar="[no:]NAME",
        multiple=True,
        is_eager=eager,
        expose_value=False,
        callback=want,
        help="Leave a plugin out (no:NAME), or insist that it is there (NAME). Repeatable.",
    )
    return choice(none(command))


def _want_plugins(ctx: click.Context, param: click.Parameter, names: Sequence[str]) -> None:
    for name in names:
        if not name.removeprefix("no:").strip():
            raise click.BadParameter(f"{name!r} names no plugin.", ctx=ctx, param=param)
    ctx.ensure_object(State).plugins += names


def _want_plugins_of_all(ctx: click.Context, param: click.Parameter, names: Sequence[str]) -> None:
    _want_plugins(ctx, param, names)
    if names:
        # For the commands of plugins, and for the programs that tools start, as with `--config`.
        os.environ["BECKET_PLUGINS"] = ",".join(filter(None, (os.environ.get("BECKET_PLUGINS", ""), *names)))


def _want_no_plugins(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted:
        ctx.ensure_object(State).no_plugins = True


def lock_options(command: F) -> F:
    """`--locked` and `--lock`."""
    locked = click.option(
        "--locked",
        is_flag=True,
        expose_value=False,
        callback=_want_locked,
        help=f"Hold the plugins to {LOCK}; see 'becket lock'.",
    )
    lock = click.option(
        "--lock",
        metavar="FILE",
        expose_value=False,
        callback=_want_lock,
        help=f"The same, with another file than {LOCK}.",
    )
    return locked(lock(command))


def _want_locked(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    state = ctx.ensure_object(State)
    if wanted and state.lock is None:
        state.lock = LOCK


def _want_lock(ctx: click.Context, _param: click.Parameter, path: str | None) -> None:
    if path is not None:
        ctx.ensure_object(State).lock = path


def config_option(command: F) -> F:
    """`--config`."""
    return click.option(
        "--config",
        metavar="FILE",
        expose_value=False,
        callback=_want_config,
        help="Read this configuration instead of your own becket.toml. Default: BECKET_CONFIG.",
    )(command)


def _want_config(ctx: click.Context, _param: click.Parameter, path: str | None) -> None:
    if path is not None:
        ctx.ensure_object(State).config = path
        # For the commands of plugins, and for the programs that tools start.
        os.environ["BECKET_CONFIG"] = str(Path(path).absolute())


def json_option(command: F) -> F:
    """`--json` of a command that lists something."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON array instead of a table.")(command)


def traceback_option(command: F) -> F:
    """`--traceback`."""
    return click.option(
        "--traceback",
        is_flag=True,
        expose_value=False,
        callback=_want_traceback,
        help="Show where an error came from. BECKET_TRACEBACK=1 does so for every command.",
    )(command)


def _want_traceback(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted:
        ctx.ensure_object(State).traceback = True
