"""The contract of commands as tests, which the tests of a plugin that adds commands inherit."""

from __future__ import annotations

import re
import shlex
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from becket.testing._command_lines import HELP, INTERRUPTED, PIPE, USAGE, called, watched
from becket.testing._contract import Contract, missing, must, not_looked_at
from becket.testing._model_calls import as_failures

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import click

    from becket.testing._command_lines import Ended, Seen

__all__ = ["CommandConformance"]

OF_ALL: Final = frozenset({"-p", "--no-plugins", "--locked", "--lock", "--config", "--traceback"})
"""Options that every command has of `becket`."""

CALLING: Final = frozenset(
    {
        "test_examples_succeed",
        "test_its_output_can_be_piped",
        "test_it_does_the_same_again",
        "test_a_reader_may_go_away",
        "test_ctrl_c_ends_it",
        "test_an_error_is_said_in_words",
    }
)
"""Tests that have a command do its work."""

_NO_CALLS: Final[Mapping[str, Sequence[Sequence[str]]]] = MappingProxyType({})
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_UNKNOWN: Final = "--no-command-has-this-option"
_LINE: Final = 120
_STEERING: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_TRACEBACK: Final = "Traceback (most recent call last)"


class CommandConformance(Contract):
    """What every command must do, as tests.

    Subclass it in a test file, add the commands as the plugin's hook does, and say how they are called::

        class TestGreet(CommandConformance):
            examples = {"greet": [["Ada"]]}
            failing = {"greet": [[""]]}

            def register_commands(self, cli):
                greet.register_commands(cli)

    They are called in this process, as `becket` calls them: each time in an empty folder, and with nothing on standard
    input. click is needed for it, as for commands themselves.
    """

    examples: Mapping[str, Sequence[Sequence[str]]] = _NO_CALLS
    """By command, arguments with which it succeeds. The name of one below a group is written as it is typed."""

    failing: Mapping[str, Sequence[Sequence[str]]] = _NO_CALLS
    """By command, arguments with which it fails."""

    seconds: float = 0.5
    """Seconds of CPU time that adding the commands may take, and the help of each."""

    def register_commands(self, cli: click.Group) -> None:  # noqa: ARG002  a subclass uses it
        """Add the commands under test to `cli`."""
        raise missing(self, "register_commands")

    # -- what is added -------------------------------------------------------------------------------------------------

    def test_commands_are_added(self) -> None:
        """There is a command, and each is one of click's."""
        group = self._group()
        must(group.commands, "register_commands adds no command to the group that it is given")

    def test_its_name_can_be_typed(self) -> None:
        """It has letters, digits, '-' and '_', and begins as no option does."""
        for (*_, name), _ in self._commands():
            must(
                _NAME.fullmatch(name),
                f"the name {name!r} has letters, digits, '-' and '_', and begins with a letter or a digit",
            )

    def test_its_help_begins_with_a_line(self) -> None:
        """`becket --help` shows it in a list: what it does is said first, in a paragraph of a line."""
        for words, command in self._commands():
            if command.hidden:
                continue
            name = " ".join(words)
            first = command.short_help or (command.help or "").strip().partition("\n\n")[0]
            line = " ".join(first.split())
            must(line, f"the command {name!r} has a help text: give its function a docstring")
            must(
                len(line) <= _LINE,
                f"the help of {name!r} begins with a paragraph of {len(line)} characters; let it be a line of at "
                f"most {_LINE}, and an empty one follow: {line[:_LINE]!r}...",
            )

    def test_its_options_are_explained(self) -> None:
        """Each has a help text, and what is to be typed has a name in the usage."""
        import click

        for words, command in self._commands():
            name, context = " ".join(words), _context(command)
            for param in command.params:
                if isinstance(param, click.Option):
                    explained = param.hidden or (param.help or "").strip()
                    must(explained, f"the option {param.opts[0]} of {name!r} has a help text: give it help=...")
                else:
                    shown = "".join(param.get_usage_pieces(context))
                    must(shown.strip(" []."), f"the argument {param.name!r} of {name!r} is shown: give it a metavar")

    def test_its_options_are_its_own(self) -> None:
        """Those that all commands have are none of them, as `becket` adds them: it would refuse the command."""
        for name, command in self._group().commands.items():
            names = {one for param in command.params for one in (*param.opts, *param.secondary_opts)}
            taken = sorted(names & OF_ALL)
            must(not taken, f"the command {name!r} declares {', '.join(taken)}, which all commands have: leave it out")

    def test_adding_them_is_quick_and_touches_nothing(self) -> None:
        """It is done for every help: import what is heavy, and connect, inside of the command."""
        with watched() as seen:
            self._group()
        self._check_idle(seen, "adding the commands")

    def test_the_same_are_added_again(self) -> None:
        """A second command line in a process has the same commands."""
        first, again = ([" ".join(words) for words, _ in self._commands()] for _ in range(2))
        must(first == again, f"first, register_commands adds {first}, and then {again}")

    # -- calls that need nothing said ----------------------------------------------------------------------------------

    def test_its_help_does_no_work(self) -> None:
        """`--help` prints to standard output, ends with 0, and has nothing done."""
        for words, command in self._commands():
            name, context = " ".join(words), _context(command)
            there = any("--help" in param.opts for param in command.get_params(context))
            must(there, f"becket {name} --help: it has no such option; leave add_help_option as it is")
            ended = self._called([*words, "--help"])
            must(not ended.bug and ended.code == 0, f"becket {name} --help: it {ended}, and is to end with 0")
            must("Usage:" in ended.out, f"becket {name} --help: the help is printed to standard output: {ended.out!r}")
            must(not ended.said, f"becket {name} --help: it says {ended.said!r}, and is asked for its help alone")
            self._check_idle(ended.seen, f"becket {name} --help")

    def test_an_unknown_option_is_refused(self) -> None:
        """It ends with 2 and the usage on standard error, before anything is done: a misspelt option is not ignored."""
        for words, command in self._commands():
            name = " ".join(words)
            must(
                not _context(command).ignore_unknown_options,  # it would do its work if it were called
                f"the command {name!r} ignores options that it does not know: let click refuse them, and let what is "
                f"meant for another program follow '--'",
            )
            ended = self._called([*words, _UNKNOWN])
            must(
                not ended.bug and ended.code == USAGE,
                f"becket {name} {_UNKNOWN}: it {ended}, and is to end with {USAGE}; let click refuse it",
            )
            must(_TRACEBACK not in ended.said, f"becket {name} {_UNKNOWN}: it says it with a traceback: {ended.said}")
            must("Usage:" in ended.said, f"becket {name} {_UNKNOWN}: the usage is on standard error: {ended.said!r}")
            must(not ended.out, f"becket {name} {_UNKNOWN}: standard output is for results, and has {ended.out!r}")
            self._check_idle(ended.seen, f"becket {name} {_UNKNOWN}")

    # -- calls that were said ------------------------------------------------------------------------------------------

    def test_examples_succeed(self) -> None:
        """They end with 0, and nothing is raised."""
        for given in self._examples():
            ended = self._called(given)
            must(not ended.bug and ended.code == 0, f"{_typed(given)}: it {ended}, and is to end with 0")

    def test_its_output_can_be_piped(self) -> None:
        """Where standard output is no terminal, nothing that steers one is printed to it."""
        for given in self._examples():
            ended = self._called(given)
            steering = _STEERING.search(ended.out)
            must(
                not steering,
                f"{_typed(given)}: {steering and steering[0]!r} is printed, and standard output is no terminal; use "
                f"click.echo, which leaves it out",
            )

    def test_it_does_the_same_again(self) -> None:
        """Called twice in a process, in two folders alike, it prints the same: nothing stays of the first time."""
        for given in self._examples():
            first, again = self._called(given), self._called(given)
            must(
                (first.code, first.out) == (again.code, again.out) and first.bug == again.bug,
                f"{_typed(given)}: first it {first}, with the output {first.out[:200]!r}; then it {again}, with "
                f"{again.out[:200]!r}",
            )

    def test_a_reader_may_go_away(self) -> None:
        """As that of `becket ... | head -1`: BrokenPipeError goes through, and nobody sees a traceback."""
        self._check_writing(BrokenPipeError, PIPE, "its reader has gone, so let BrokenPipeError through")

    def test_ctrl_c_ends_it(self) -> None:
        """KeyboardInterrupt goes through, here from where it prints: `becket` says it, and ends with 130."""
        self._check_writing(KeyboardInterrupt, INTERRUPTED, "it was interrupted, so let KeyboardInterrupt through")

    def test_an_error_is_said_in_words(self) -> None:
        """One of click's or of becket's is raised: standard error says it, standard output has nothing of it."""
        if not any(self.failing.values()):
            not_looked_at("say in `failing` with which arguments it fails, so that it can be looked at")
        for given in self._given(self.failing):
            ended = self._called(given)
            must(
                not ended.bug,
                f"{_typed(given)}: it {ended}; raise click.UsageError for what was typed, and click.ClickException or "
                f"a BecketError for the rest",
            )
            must(ended.code, f"{_typed(given)}: it ends with 0, as if it had done what was asked")
            must(_TRACEBACK not in ended.said, f"{_typed(given)}: a traceback is no message: {ended.said[-300:]}")
            must(ended.said.strip(), f"{_typed(given)}: it {ended}, and standard error does not say why")

    # -- how the tests use it ------------------------------------------------------------------------------------------

    def _group(self) -> click.Group:
        import click

        group = click.Group("becket", context_settings=HELP)
        with as_failures("adding the commands"):
            self.register_commands(group)
        for name, command in group.commands.items():
            must(isinstance(command, click.Command), f"{name!r} is a click.Command, and not {command!r}")
        return group

    def _commands(self) -> Iterator[tuple[list[str], click.Command]]:
        """Each, and each below a group, by what is typed."""
        return _below(self._group(), [])

    def _given(self, calls: Mapping[str, Sequence[Sequence[str]]]) -> Iterator[list[str]]:
        known = {" ".join(words): words for words, _ in self._commands()}
        for name, ways in calls.items():
            must(name in known, f"there is no command {name!r}; there are {', '.join(known)}")
            for arguments in ways:
                must(not isinstance(arguments, str), f"{arguments!r} is a list of arguments, one for each word")
                yield [*known[name], *arguments]

    def _examples(self) -> Iterator[list[str]]:
        """What is said of calls; a test that is of none ends here."""
        if not any(self.examples.values()):
            not_looked_at("say in `examples` with which arguments it succeeds, so that it can be looked at")
        return self._given(self.examples)

    def _called(self, given: Sequence[str], raising: type[BaseException] | None = None) -> Ended:
        return called(self._group(), given, raising)

    def _check_idle(self, seen: Seen, doing: str) -> None:
        must(not seen.touched, f"{doing} does what is for the command itself: {'; '.join(seen.touched)}")
        must(
            seen.seconds <= self.seconds,
            f"{doing} takes {seen.seconds:.2f} s of CPU time, and may take {self.seconds:g} s; import what is heavy "
            f"inside of the command",
        )

    def _check_writing(self, error: type[BaseException], code: int, why: str) -> None:
        wrote = False
        for given in self._examples():
            ended = self._called(given, error)
            wrote = wrote or ended.wrote
            right = not ended.wrote or (not ended.bug and ended.code == code and _TRACEBACK not in ended.said)
            must(right, f"{_typed(given)}: it {ended}, and is to end with {code}: {why}")
        if not wrote:
            not_looked_at("none of the `examples` prints anything")


def _below(group: click.Group, before: list[str]) -> Iterator[tuple[list[str], click.Command]]:
    import click

    for name, command in group.commands.items():
        yield [*before, name], command
        if isinstance(command, click.Group):
            yield from _below(command, [*before, name])


def _context(command: click.Command) -> click.Context:
    return command.context_class(command, **{**HELP, **command.context_settings})


def _typed(given: Sequence[str]) -> str:
    return shlex.join(["becket", *given])
