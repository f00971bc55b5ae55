"""Options that several commands have, and the types of their values."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from becket_cli._exits import State

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Number", "config_option", "json_option", "plugin_option", "traceback_option"]

F = TypeVar("F", bound="Callable[..., Any]")


class Number(click.FloatRange):
    """A float in a range; neither infinite nor `nan`, which lies in every range as comparisons go."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, or a usage error."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no number that can be reached.", param, ctx)
        return number


def plugin_option(command: F) -> F:
    """`-p`, as pytest has it."""
    return click.option(
        "-p",
        "plugins",
        metavar="[no:]NAME",
        multiple=True,
        help="Leave a plugin out (no:NAME), or insist that it is there (NAME). Repeatable.",
    )(command)


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
