"""The group of commands: becket's own, and those that plugins contribute, asked for only where they are needed."""

from __future__ import annotations

import contextlib
import copy
import os
import sys
from typing import TYPE_CHECKING, Any

import click
from becket import ConfigError

from becket_cli._exits import CONFIG, PIPE, State, complain, described
from becket_cli._options import options_of_contributed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Commands", "Offered"]


class Commands(click.Group):
    """Finds a contributed command where the name is none of becket's own, and lists all of them in the help.

    So `becket run` and `becket --version` import no plugin for their commands, and a plugin cannot replace one of
    becket's own.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        return sorted({*super().list_commands(ctx), *self._contributed(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, or None."""
        return super().get_command(ctx, cmd_name) or self._contributed(ctx).get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the command line names.

        Where its plugin, or what the command line says of plugins, is wrong, that was said just now, and the name is as
        it should be.

        Raises:
            ConfigError: It names one of a plugin's, and the plugins are not those of the lock.
        """
        if super().get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            _read_early(ctx, args[1:])
            _check_lock(ctx.ensure_object(State))
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            if args[0] in ctx.meta.get("becket.misconfigured", ()) or "becket.refused" in ctx.meta:
                ctx.exit(CONFIG)
            raise

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        """Read the command line; `--help` and `--version` print here."""
        with _quiet_about_pipes():
            return super().make_context(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. What it returns is not its exit code: `ctx.exit(code)` gives one."""
        with _quiet_about_pipes():
            super().invoke(ctx)

    def _contributed(self, ctx: click.Context) -> Mapping[str, click.Command]:
        found: Mapping[str, click.Command] | None = ctx.meta.get("becket.commands")
        if found is None:
            found = ctx.meta["becket.commands"] = self._collected(ctx)
        return found

    def _collected(self, ctx: click.Context) -> Mapping[str, click.Command]:
        from becket_cli._plugins import built, tell_left_out

        state = ctx.ensure_object(State)
        offered = Offered(self.commands)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                # Not a project's file: what it may say does not matter here, and the help is not for it to spoil.
                runtime = built(state, tell=False, lenient=True, project=False)
                runtime.commands(offered)
        except Exception as error:  # noqa: BLE001  whatever is wrong with the environment: the help must come
            complain(f"the plugins could not be asked for their commands: {described(error)}", error, state=state)
            if isinstance(error, ConfigError):
                ctx.meta["becket.refused"] = True
            return {}
        if not ctx.resilient_parsing:  # a shell completes a word: nobody wants to read anything
            tell_left_out(runtime.plugins, state)
        ctx.meta["becket.misconfigured"] = {
            plugin.name
            for plugin in runtime.plugins
            if plugin.status == "quarantined" and isinstance(plugin.error, ConfigError)
        }
        return offered.taken()


def _read_early(ctx: click.Context, args: list[str]) -> None:
    """Go by those options of a contributed command that say which plugins may be asked for it.

    Nothing is known of its own ones. What is wrong with the command line is said when these are.
    """
    reader = click.Command(
        None,
        params=options_of_contributed(early=True),
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    with contextlib.suppress(click.UsageError):
        reader.make_context(ctx.info_name, [*args], parent=ctx)


def _check_lock(state: State) -> None:
    """Raise where the plugins are not those of the lock, if there is one: what differs is not imported for commands."""
    if state.lock is None and not os.environ.get("BECKET_LOCK"):
        return
    from becket_cli._plugins import build, configured

    build(configured(state, project=False), state)


@contextlib.contextmanager
def _quiet_about_pipes() -> Iterator[None]:
    """End with the exit code for a reader who has gone. click would end with 1, as if the command had failed."""
    try:
        yield
    except BrokenPipeError:
        raise click.exceptions.Exit(PIPE) from None


class Offered(click.Group):
    """What plugins add to. A command that would spoil the help of all others is refused, to the plugin that adds it.

    Args:
        own: Becket's own commands, which no plugin replaces.
    """

    def __init__(self, own: Mapping[str, click.Command]) -> None:
        super().__init__()
        self._own = own

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Take a command.

        Raises:
            TypeError: It is none.
            ValueError: It has no name, or one that is taken, or an option that all commands have.
        """
        if not isinstance(cmd, click.Command):
            raise TypeError(f"{cmd!r} is no click.Command")
        name = name or cmd.name
        if not name:
            raise ValueError(f"{cmd!r} has no name")
        if name in self._own or name in self.commands:
            raise ValueError(f"there is a command {name!r} already; give it another name")
        common = _names_of(options_of_contributed())
        if taken := sorted(_names_of(cmd.params) & common):
            raise ValueError(
                f"the command {name!r} has the option {taken[0]}, which all commands have; name it otherwise"
            )
        cmd.get_short_help_str()
        super().add_command(cmd, name)

    def taken(self) -> Mapping[str, click.Command]:
        """The commands, with the options that all have, which say how a runtime is made: `load_config()` knows them."""
        return {name: _with_options(command) for name, command in self.commands.items()}


def _with_options(command: click.Command) -> click.Command:
    """The command, and those of the options of all that it does not have itself, as one below a group may."""
    made = copy.copy(command)
    own = _names_of(command.params)
    made.params = [*command.params, *(more for more in options_of_contributed() if not _names_of([more]) & own)]
    if isinstance(made, click.Group):
        made.commands = {name: _with_options(one) for name, one in made.commands.items()}
    return made


def _names_of(params: Iterable[click.Parameter]) -> set[str]:
    return {name for param in params if isinstance(param, click.Option) for name in param.opts}
