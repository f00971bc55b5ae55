"""The commands, and what they take."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from becket_dev._names import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    from becket_dev._names import Kind
    from becket_dev._source import SourceFile

__all__ = ["commands"]


def commands() -> Iterable[click.Command]:
    """All of them."""
    return [new_command, dev_command, check_command]


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
    from becket_dev._names import Names, called, check_free
    from becket_dev._next import commands as next_commands
    from becket_dev._next import commands_of_yours
    from becket_dev._project import make, rendered

    one = cast("Kind", kind)
    names = Names.of(name, one)
    folder = into / names.distribution
    content = rendered(names, one)
    check_free(names, one)
    make(folder, content)
    click.echo(f"{folder} is there: the {kind} {called(names, one)!r} in the plugin {names.name!r}.")
    for path in content:
        click.echo(f"  {path}")
    click.echo("Next:")
    for command in next_commands(folder, names, one):
        click.echo(f"  {command}")
    click.echo(f"What it does is a sample. Once src/{names.module}/__init__.py has yours:")
    for command in commands_of_yours(names, one):
        click.echo(f"  {command}")


@click.command("dev", context_settings={"allow_interspersed_args": False})
@click.option("--watch", is_flag=True, help="Run the command again whenever the file has changed, until Ctrl-C.")
@click.argument("file", metavar="FILE.py", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("command", metavar="[-- COMMAND...]", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def dev_command(ctx: click.Context, *, watch: bool, file: Path, command: tuple[str, ...]) -> None:
    """Run another command with a single FILE as a plugin, without a package.

    'becket dev weather.py -- run -t weather "..."' runs an agent that has the tool of the file. A module with '@tool'
    functions is a plugin, and so is one with hooks.

    'becket dev weather.py -- serve -t weather' serves it; when the file changes, new runs have the new version, and
    runs that go on keep theirs. A version that cannot be used is said, and the one before is served on.

    Without a command it says what the file adds.
    """
    from becket_dev import _following
    from becket_dev._source import SourceFile, installed

    if command[:1] == ("--",):
        command = command[1:]
    elif command and command[0].startswith("-"):
        raise click.UsageError(f"{command[0]!r} comes before the file, or after a command.", ctx)
    source = SourceFile.of(file)
    if watch and not _following.is_watched():
        _following.watch(source)
        return
    stamp = _following.Stamp(source.path)
    module = source.load()
    if not command:
        _tell_adds(source, module)
        return
    root = ctx.find_root()
    group = cast("click.Group", root.command)
    with installed(source), _following.followed(source, stamp):
        code = group.main(list(command), prog_name=root.info_name, standalone_mode=False, obj=root.obj)
    ctx.exit(code if isinstance(code, int) else 0)


@click.command("check")
@click.argument("plugin", metavar="[PATH|NAME]", default=".")
@click.option("--no-tests", is_flag=True, help="Do not run the conformance classes of the project's own tests.")
@click.option("--json", "json", is_flag=True, help="Print one JSON array instead of a table.")
@click.pass_context
def check_command(ctx: click.Context, *, plugin: str, no_tests: bool, json: bool) -> None:
    """Check a plugin against its contracts: the folder of a project, a single file, or something installed.

    PATH is a folder with a pyproject.toml (this one, unless said otherwise) or a Python file; NAME is that of the
    plugin, of its distribution, or of its module.

    It happens in a process of its own, which imports the plugin and uses what it adds, as far as that does no harm:
    model providers, and tools that read or change something, are not called. Their own tests do that, as 'becket new'
    makes them: of the folder of a project, the classes that inherit from those of becket.testing run as well, by
    pytest, and what they say counts.

    The exit code is 1 where something does not hold, and 2 where there is no such plugin.
    """
    from becket import ConfigError
    from becket.testing import check

    from becket_dev._checking import as_json, as_table

    if plugin == "." and not Path("pyproject.toml").is_file():
        raise click.UsageError("there is no pyproject.toml here; give the folder of a project, a file, or a name.", ctx)
    if plugin.endswith(".py") and Path(plugin).is_file():
        from becket_dev._source import SourceFile

        SourceFile.of(Path(plugin))
    try:
        findings = check(plugin, waiting=_tell_waiting if sys.stderr.isatty() else None)
    except ConfigError as error:
        raise click.UsageError(str(error), ctx) from error
    folder = Path(plugin)
    if not no_tests and (folder / "pyproject.toml").is_file():
        from becket_dev._own_tests import held_files, joined, own_findings

        if files := held_files(folder):
            findings = joined(findings, own_findings(folder, files))
    if json:
        click.echo(as_json(findings))
    else:
        for line in as_table(findings):
            click.echo(line)
    ctx.exit(1 if any(finding.holds is False for finding in findings) else 0)


def _tell_waiting(place: str) -> None:
    click.echo(f"still looking at {place}", err=True)


def _tell_adds(source: SourceFile, module: ModuleType) -> None:
    from becket import hookspecs

    from becket_dev._source import usable

    plugin = usable(module)
    given = {kind: names for kind, names in plugin.adds.items() if kind != "hooks"}
    given["hooks"] = tuple(name for name in hookspecs.__all__ if callable(getattr(module, name, None)))
    click.echo(f"{source.path.name} is a plugin. It adds:")
    for kind, names in given.items():
        if names:
            click.echo(f"  {kind}: {', '.join(names)}")
    if plugin.reason:
        click.echo(f"It is not in use: {plugin.reason}.")
    use = f"-t {given['tools'][0]} " if "tools" in given else ""
    click.echo(f'Next:\n  becket dev {source.path.name} -- run {use}"..."')
