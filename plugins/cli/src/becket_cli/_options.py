"""Options that several commands have, and the types of their values."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import click

from becket_cli._exits import State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "LOCK",
    "Number",
    "config_option",
    "json_option",
    "lock_options",
    "options_of_all",
    "options_of_contributed",
    "plugin_options",
    "traceback_option",
]

LOCK: Final = "becket.lock"
"""The lock, unless another is named."""

F = TypeVar("F", bound="Callable[..., Any]")
Callback: TypeAlias = "Callable[[click.Context, click.Parameter, Any], None]"


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
    return _plugin_options(command, _want_plugins, _want_no_plugins)


def lock_options(command: F) -> F:
    """`--locked` and `--lock`."""
    return _lock_options(command, _want_lock)


def options_of_all(command: F) -> F:
    """The same before the name of a command, where they say which plugins are asked for commands, too.

    They come before `--help`, which lists these.
    """
    made = _plugin_options(command, _want_plugins_of_all, _want_no_plugins_of_all, eager=True)
    return _lock_options(made, _want_lock_of_all, eager=True)


def options_of_contributed(*, early: bool = False) -> list[click.Parameter]:
    """What every command of a plugin has besides its own, after its name as before it.

    Each may be read twice.

    Args:
        early: Whether they are those that count while the command is looked for. `--no-plugins` is not: of the plugins
            it leaves the command itself.
    """

    def nothing() -> None: ...

    read = _lock_options(config_option(traceback_option(nothing)), _want_lock_of_all)
    read = _plugin_options(read, _want_plugins_of_all, None if early else _want_no_plugins_of_all)
    return click.command()(read).params


def _plugin_options(command: F, want: Callback, want_none: Callback | None, *, eager: bool = False) -> F:
    none = click.option(
        "--no-plugins",
        is_flag=True,
        is_eager=eager,
        expose_value=False,
        callback=want_none,
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
    state = ctx.ensure_object(State)
    state.plugins += [name for name in names if name not in state.plugins]


def _want_plugins_of_all(ctx: click.Context, param: click.Parameter, names: Sequence[str]) -> None:
    _want_plugins(ctx, param, names)
    _tell_others(*names)


def _want_no_plugins(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted:
        ctx.ensure_object(State).no_plugins = True


def _want_no_plugins_of_all(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    _want_no_plugins(ctx, param, wanted)
    if wanted:
        _tell_others("no:*")


def _tell_others(*words: str) -> None:
    """Say it to the commands of plugins, and to the programs that tools start."""
    before = [word for word in os.environ.get("BECKET_PLUGINS", "").split(",") if word]
    if new := [word for word in words if word not in before]:
        os.environ["BECKET_PLUGINS"] = ",".join((*before, *new))


def _lock_options(command: F, want: Callback, *, eager: bool = False) -> F:
    locked = click.option(
        "--locked",
        "lock",
        flag_value=LOCK,
        default=None,
        is_eager=eager,
        expose_value=False,
        callback=want,
        help=f"Hold the plugins to {LOCK}; see 'becket lock'.",
    )
    lock = click.option(
        "--lock",
        "lock_file",
        metavar="FILE",
        is_eager=eager,
        expose_value=False,
        callback=want,
        help=f"The same, with another file than {LOCK}.",
    )
    return locked(lock(command))


def _want_lock(ctx: click.Context, param: click.Parameter, path: str | None) -> None:
    state = ctx.ensure_object(State)
    if path is not None and (state.lock is None or param.name == "lock_file"):
        state.lock = path


def _want_lock_of_all(ctx: click.Context, param: click.Parameter, path: str | None) -> None:
    _want_lock(ctx, param, path)
    lock = ctx.ensure_object(State).lock
    if path is not None and lock is not None:
        os.environ["BECKET_LOCK"] = str(Path(lock).absolute())  # as with `--config`


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
