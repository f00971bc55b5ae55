"""The tests of the contract of commands find every way to break it, and say what is wrong."""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
import traceback
import unittest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from becket import BecketError, ConfigError
from becket.testing import CommandConformance
from becket.testing._contract import rules_of
from becket.testing.commands import OF_ALL
from becket_cli._options import options_of_contributed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@click.command()
@click.argument("name")
@click.option("--loud", is_flag=True, help="Say it loudly.")
@click.option("--secret", hidden=True)
def greet(name: str, *, loud: bool, secret: str | None) -> str:
    """Greet NAME.

    However long what follows is, the list shows the first line.
    """
    del secret
    if not name:
        raise click.UsageError("the name is empty; give one")
    if name == "nobody":
        raise click.ClickException("there is nobody")
    if name == "config":
        raise ConfigError("nobody is configured; write who is")
    if name == "becket":
        raise BecketError("it greets itself")
    if name == "exits":
        sys.exit("it is said by Python")
    if name == "reads":
        input()
    if name == "asks":
        click.confirm("Really?", abort=True)
    click.echo(f"Hello, {name}{'!' if loud else '.'}")
    click.echo("It was greeted.", err=True)
    return "what it returns is not its exit code"


@click.group()
def people() -> None:
    """Those who can be greeted."""


@people.command("list")
def list_people() -> None:
    """List them."""
    sys.stdout.write("Ada\n")
    sys.exit(0)


@people.command("leave", hidden=True)
def leave() -> None:
    sys.exit()


class TestGood(CommandConformance):
    examples: Mapping[str, Sequence[Sequence[str]]] = {
        "greet": [["Ada"], ["Ada", "--loud"]],
        "people list": [[]],
        "people leave": [[]],
    }
    failing: Mapping[str, Sequence[Sequence[str]]] = {
        "greet": [[], [""], ["nobody"], ["config"], ["becket"], ["exits"], ["asks"], ["reads"]],
        "people": [["gone"]],
    }

    def register_commands(self, cli: click.Group) -> None:
        cli.add_command(greet)
        cli.add_command(people)


# -- commands that break the contract ----------------------------------------------------------------------------------


class Kit(CommandConformance):
    """The tests of the contract, to be called one by one."""

    __test__ = False

    def __init__(self, add: Callable[[Any], None], *calls: str, **said: Any) -> None:
        self.add = add
        self.examples = {"x": [call.split() for call in calls]}
        self.failing = {"x": [call.split() for call in calls]}
        for name, value in said.items():
            setattr(self, name, value)

    def register_commands(self, cli: click.Group) -> None:
        self.add(cli)


def command(
    does: Callable[..., object] = lambda **_: click.echo("done"),
    *params: click.Parameter,
    cls: Callable[..., click.Command] = click.Command,
    **options: Any,
) -> Callable[[Any], None]:
    """Adds the command `x`, which does this."""
    options = {"name": "x", "help": "Do it.", **options}

    def add(cli: Any) -> None:
        cli.add_command(cls(callback=does, params=[*params], **options))

    return add


def one(does: Callable[..., object]) -> Kit:
    """A command that is called without arguments, and does this."""
    return Kit(command(does), "")


def reads() -> None:
    with Path(sys.executable).open("rb"):
        pass


def reads_first(cli: Any) -> None:
    reads()
    command()(cli)


def fails(cli: Any) -> None:
    raise OSError("no luck")


def busy() -> None:
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass


def busy_first(cli: Any) -> None:
    busy()
    command()(cli)


class Counts:
    """Another name each time."""

    def __init__(self) -> None:
        self.numbers = itertools.count()

    def __call__(self, cli: Any) -> None:
        command(name=f"x{next(self.numbers)}")(cli)


class PrintsHelpToTheOtherStream(click.Command):
    def get_help(self, ctx: click.Context) -> str:
        click.echo(super().get_help(ctx), err=True)
        ctx.exit()


class SaysMoreThanItsHelp(click.Command):
    def get_help(self, ctx: click.Context) -> str:
        click.echo("I am so glad that you ask.", err=True)
        return super().get_help(ctx)


class SaysNoUsage(click.Command):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            click.echo(error.message, err=True)
            ctx.exit(2)


class ShowsATraceback(SaysNoUsage):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return click.Command.parse_args(self, ctx, args)
        except click.NoSuchOption:
            traceback.print_exc()
            ctx.exit(2)


class RefusesLoudly(click.Command):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption:
            click.echo("I do not know that.")
            raise


class ReadsBeforeItRefuses(click.Command):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--help" not in args:
            reads()
        return super().parse_args(ctx, args)


class ShowsNothing(click.Argument):
    def get_usage_pieces(self, ctx: click.Context) -> list[str]:
        del ctx
        return ["[]"]


def group_that_works(cli: Any) -> None:
    """Below a group: click calls the group before it shows the help of what is below."""
    group = click.Group("x", callback=reads, help="Do it.")
    command(name="y")(group)
    cli.add_command(group)


def swallows_all() -> None:
    with contextlib.suppress(BaseException):
        click.echo("done")


def translates() -> None:
    try:
        click.echo("done")
    except OSError as error:
        raise RuntimeError("it cannot be written") from error


def tells() -> None:
    try:
        click.echo("done")
    except BrokenPipeError:
        traceback.print_exc()
        sys.exit(141)


def prints_its_error() -> None:
    try:
        del {}["y"]
    except KeyError:
        traceback.print_exc()
        sys.exit(1)


def appends() -> Callable[[], None]:
    seen: list[int] = []

    def does() -> None:
        seen.append(1)
        click.echo(f"done {len(seen)}")

    return does


def fails_later() -> Callable[[], None]:
    seen: list[int] = []

    def does() -> None:
        seen.append(1)
        click.echo("done")
        if len(seen) > 1:
            raise KeyError("x")

    return does


def leaves_a_file() -> None:
    """Finds none: each call has a folder of its own."""
    with Path("here").open("x", encoding="utf-8"):
        click.echo("done")


LONG = "Do it, " * 20
TAKEN = click.Option(["--yes/--no-plugins"], help="Yes.")


class IgnoresOptions(click.Command):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [one for one in args if not one.startswith("--no-")])


class WantsNoHelp(click.Command):
    def get_help(self, ctx: click.Context) -> str:
        raise KeyError(ctx.info_name)


FAULTS: list[tuple[Kit, str, str]] = [
    (Kit(lambda _: None), "test_commands_are_added", "adds no command to the group"),
    (Kit(fails), "test_commands_are_added", r"adding the commands, it raised OSError\('no luck'\)"),
    (
        Kit(lambda cli: cli.commands.update(x=7)),
        "test_commands_are_added",
        "'x' is a click.Command, and not 7",
    ),
    (Kit(command(name="-x")), "test_its_name_can_be_typed", "the name '-x' has letters, digits"),
    (Kit(command(name="x y")), "test_its_name_can_be_typed", "the name 'x y' has"),
    (Kit(command(name="x\n")), "test_its_name_can_be_typed", r"the name 'x\\n' has letters"),
    (Kit(command(help=None)), "test_its_help_begins_with_a_line", "'x' has a help text: give its function a docstr"),
    (Kit(command(help="  \n")), "test_its_help_begins_with_a_line", "'x' has a help text"),
    (Kit(command(help=LONG)), "test_its_help_begins_with_a_line", "begins with a paragraph of 139 characters"),
    (
        Kit(command(lambda **_: None, click.Option(["--y"]))),
        "test_its_options_are_explained",
        "the option --y of 'x' has a help text: give it help=",
    ),
    (
        Kit(command(lambda **_: None, ShowsNothing(["y"]))),
        "test_its_options_are_explained",
        "the argument 'y' of 'x' is shown: give it a metavar",
    ),
    (
        Kit(command(lambda **_: None, TAKEN)),
        "test_its_options_are_its_own",
        "'x' declares --no-plugins, which all commands have: leave it out",
    ),
    (Kit(reads_first), "test_adding_them_is_quick_and_touches_nothing", r"adding the commands does .* file: open\("),
    (
        Kit(busy_first, seconds=0.01),
        "test_adding_them_is_quick_and_touches_nothing",
        r"takes 0\.\d\d s of CPU time, and may take 0.01 s; import what is heavy",
    ),
    (Kit(Counts()), "test_the_same_are_added_again", r"first, register_commands adds \['x0'\], and then \['x1'\]"),
    (Kit(command(add_help_option=False)), "test_its_help_does_no_work", "x --help: it has no such option"),
    (Kit(command(cls=WantsNoHelp)), "test_its_help_does_no_work", r"raises KeyError\('x'\).*, and is to end with 0"),
    (Kit(command(cls=PrintsHelpToTheOtherStream)), "test_its_help_does_no_work", "is printed to standard output: ''"),
    (Kit(command(cls=SaysMoreThanItsHelp)), "test_its_help_does_no_work", "it says 'I am so glad"),
    (Kit(group_that_works), "test_its_help_does_no_work", r"becket x y --help does .*: file: open\("),
    (
        Kit(command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})),
        "test_an_unknown_option_is_refused",
        "'x' ignores options that it does not know: let click refuse them",
    ),
    (
        Kit(command(cls=IgnoresOptions)),
        "test_an_unknown_option_is_refused",
        "it ends with the exit code 0, and is to end with 2; let click refuse it",
    ),
    (Kit(command(cls=ShowsATraceback)), "test_an_unknown_option_is_refused", "it says it with a traceback"),
    (Kit(command(cls=SaysNoUsage)), "test_an_unknown_option_is_refused", "the usage is on standard error: .No such"),
    (Kit(command(cls=RefusesLoudly)), "test_an_unknown_option_is_refused", "and has 'I do not know that"),
    (
        Kit(command(cls=ReadsBeforeItRefuses)),
        "test_an_unknown_option_is_refused",
        "no-command-has-this-option does what is for the command itself: file: ",
    ),
    (one(lambda: sys.exit(4)), "test_examples_succeed", "becket x: it ends with the exit code 4, and is to end with 0"),
    (one(lambda: sys.exit("no")), "test_examples_succeed", "the exit code 1, and says 'no"),
    (one(lambda: {}["y"]), "test_examples_succeed", r"raises KeyError\('y'\) at test_command_kit.py:\d+, and is"),
    (Kit(command(), examples={"y": [[]]}), "test_examples_succeed", "there is no command 'y'; there are x"),
    (Kit(command(), examples={"x": ["--y"]}), "test_examples_succeed", "'--y' is a list of arguments"),
    (
        one(lambda: sys.stdout.write("\x1b[1mdone\n")),
        "test_its_output_can_be_piped",
        r"becket x: '\\x1b' is printed, and",
    ),
    (one(appends()), "test_it_does_the_same_again", "with the output 'done 1\\\\n'; then .* with 'done 2\\\\n'"),
    (one(fails_later()), "test_it_does_the_same_again", r"then it raises KeyError\('x'\)"),
    (one(swallows_all), "test_a_reader_may_go_away", "ends with the exit code 0, and is to end with 141: its reader"),
    (one(translates), "test_a_reader_may_go_away", "raises RuntimeError.'it cannot be written'"),
    (one(tells), "test_a_reader_may_go_away", "and is to end with 141"),
    (one(swallows_all), "test_ctrl_c_ends_it", "ends with the exit code 0, and is to end with 130: it was interrupted"),
    (one(lambda: {}["y"]), "test_an_error_is_said_in_words", "raise click.UsageError for what was typed"),
    (one(lambda: click.echo("no")), "test_an_error_is_said_in_words", "ends with 0, as if it had done"),
    (one(lambda: sys.exit(1)), "test_an_error_is_said_in_words", "the exit code 1, and standard error does not say"),
    (one(prints_its_error), "test_an_error_is_said_in_words", "becket x: a traceback is no message: Trace"),
]


@pytest.mark.parametrize(("kit", "rule", "said"), FAULTS)
def test_a_command_that_breaks_the_contract_is_found(kit: Kit, rule: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        getattr(kit, rule)()


def test_every_test_of_the_contract_finds_a_fault() -> None:
    assert {rule for _, rule, _ in FAULTS} == set(rules_of(CommandConformance))


def test_the_options_that_all_commands_have_are_those_of_becket() -> None:
    given = {name for param in options_of_contributed() for name in (*param.opts, *param.secondary_opts)}
    assert given == OF_ALL


@pytest.mark.parametrize("rule", [rule for rule in rules_of(CommandConformance) if "help" not in rule])
def test_a_command_that_leaves_files_behind_has_an_empty_folder_each_time(rule: str) -> None:
    kit = Kit(command(leaves_a_file), "", failing={"x": [["--gone"]]})
    here = Path.cwd()
    getattr(kit, rule)()
    assert Path.cwd() == here
    assert not Path("here").exists()


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("test_examples_succeed", "say in `examples` with which arguments it succeeds"),
        ("test_a_reader_may_go_away", "say in `examples`"),
        ("test_an_error_is_said_in_words", "say in `failing` with which arguments it fails"),
    ],
)
def test_what_was_not_said_is_not_looked_at(rule: str, why: str) -> None:
    with pytest.raises(unittest.SkipTest, match=why):
        getattr(Kit(command(), examples={}, failing={"x": []}), rule)()


def test_a_command_that_prints_nothing_cannot_be_cut_off() -> None:
    with pytest.raises(unittest.SkipTest, match="none of the `examples` prints anything"):
        one(lambda: None).test_ctrl_c_ends_it()


def test_a_command_may_close_what_it_writes_to() -> None:
    one(lambda: sys.stdout.close()).test_examples_succeed()  # noqa: PLW0108  it is replaced later


def test_the_streams_are_as_they_were() -> None:
    before = sys.stdin, sys.stdout, sys.stderr
    one(swallows_all)._called(["x"], KeyboardInterrupt)
    assert (sys.stdin, sys.stdout, sys.stderr) == before


def test_a_class_that_does_not_say_what_is_tested_fails() -> None:
    with pytest.raises(NotImplementedError, match="define register_commands"):
        CommandConformance().register_commands(click.Group())
