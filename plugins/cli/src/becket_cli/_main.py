"""The command line: its commands, their options, and what becomes of errors."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, Any

import click
from becket import BecketError, ConfigError, __version__

from becket_cli._exits import CONFIG, EXITS, FAILED, INTERRUPTED, OK, PIPE, State, UnwritableError, complain, described
from becket_cli._group import Commands
from becket_cli._having import HAVING
from becket_cli._log import show_log
from becket_cli._options import (
    Number,
    config_option,
    json_option,
    lock_options,
    options_of_all,
    plugin_options,
    traceback_option,
)
from becket_cli._safe import safe

if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["cli", "run"]

_LEFT_OUT = "; 'becket plugins' shows what is left out, and why"

_EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:<3} {meaning}" for code, meaning in EXITS.items())


@click.group(cls=Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", prog_name="becket", message="%(prog)s %(version)s")
@options_of_all
@config_option
@traceback_option
def cli() -> None:
    """Run agents, and see what is installed for them.

    Models, tools, sinks and further commands come from plugins: install one, and it is there.
    """


@cli.command("run", epilog=_EPILOG)
@click.argument("prompt", required=False)
@click.option(
    "-m",
    "--model",
    metavar="PROVIDER[:MODEL]",
    help="The model. Default: BECKET_MODEL, the configuration, or the only one.",
)
@click.option(
    "-t",
    "--tool",
    "tools",
    metavar="NAME[,NAME]",
    multiple=True,
    help="Grant a tool besides those that only look. 'none' takes these away. Repeatable.",
)
@click.option("--no-tools", is_flag=True, help="Grant no tool that -t does not name.")
@click.option("--system", metavar="TEXT", help="Instructions for the model.")
@plugin_options
@lock_options
@click.option(
    "--sink",
    "sinks",
    metavar="NAME[:ARGUMENT]",
    multiple=True,
    help="Where the events go, instead of to the console. Repeatable.",
)
@click.option("-y", "--yes", "beforehand", flag_value="yes", default=None, help="Allow every call that is asked about.")
@click.option("--deny", "beforehand", flag_value="deny", help="Deny every call that is asked about.")
@click.option("--json", "as_json", is_flag=True, help="Print the events as they come, one JSON object a line.")
@click.option("-q", "--quiet", "level", flag_value="quiet", default=None, help="Show the answer and what goes wrong.")
@click.option("-v", "--verbose", "level", flag_value="verbose", help="Show model calls and tokens, too.")
@click.option("--limit-cycles", metavar="N", type=click.IntRange(min=1), help="Model calls. Default: 100.")
@click.option("--limit-tool-calls", metavar="N", type=click.IntRange(min=1), help="Tool calls. Default: no limit.")
@click.option("--limit-tokens", metavar="N", type=click.IntRange(min=1), help="Tokens in all. Default: no limit.")
@click.option(
    "--limit-cost",
    metavar="X",
    type=Number(min=0, min_open=True),
    help="What the run may cost, by the prices of the configuration. Default: no limit.",
)
@click.option("--timeout", metavar="SECONDS", type=Number(min=0, min_open=True), help="Wall time. Default: no limit.")
@click.option("--temperature", metavar="X", type=Number(min=0), help="0 for the likeliest token each time.")
@click.option("--max-tokens", metavar="N", type=click.IntRange(min=1), help="Tokens that one answer may have.")
@config_option
@traceback_option
@click.pass_context
def run_command(ctx: click.Context, /, **given: Any) -> None:
    """Run an agent on PROMPT.

    Without PROMPT, or with '-', the prompt is read from standard input.

    The answer goes to standard output, everything else to standard error. Ctrl-C cancels the run and waits for tools
    to clean up; a second one ends at once.

    The agent has the installed tools that stay on this machine and change nothing, or those that the configuration
    names; -t grants others. 'becket tools' shows which is which. Before a tool that may change something is called,
    whoever sits at the terminal is asked; where there is no terminal, the call is denied, unless --yes was given.
    """
    from becket_cli._prompt import read_prompt

    if given["sinks"] and given["level"]:
        raise click.UsageError(
            f"--{given['level']} is for the console alone; with --sink, write --sink console:{given['level']}."
        )
    prompt = read_prompt(given["prompt"])
    from becket_cli._run import Wanted, run

    state = ctx.ensure_object(State)
    limits = {
        "cycles": given["limit_cycles"],
        "tool_calls": given["limit_tool_calls"],
        "tokens": given["limit_tokens"],
        "cost": given["limit_cost"],
        "seconds": given["timeout"],
    }
    options = {"temperature": given["temperature"], "max_tokens": given["max_tokens"]}
    wanted = Wanted(
        prompt=prompt,
        model=given["model"],
        tools=[name.strip() for value in given["tools"] for name in value.split(",") if name.strip()],
        default_tools=not given["no_tools"],
        sinks=given["sinks"],
        level=given["level"] or "",
        bare=state.no_plugins and "console" not in state.block,
        json=given["as_json"],
        beforehand=given["beforehand"],
        system=given["system"],
        limits={name: value for name, value in limits.items() if value is not None},
        options={name: value for name, value in options.items() if value is not None},
    )
    ctx.exit(run(wanted, state))


@cli.command("tools")
@json_option
@plugin_options
@lock_options
@config_option
@traceback_option
@click.pass_context
def tools_command(ctx: click.Context, /, *, as_json: bool) -> None:
    """List the installed tools.

    GRANTED tools are those that 'becket run' has without being told to: they stay on this machine and change nothing.
    """
    from becket_cli import _lists
    from becket_cli._plugins import built, ended

    runtime = built(ctx.ensure_object(State), lenient=True)
    _lists.show(
        _lists.tools(runtime, schemas=as_json),
        {
            "TOOL": "name",
            "EFFECT": "effect",
            "REACH": "reach",
            "GRANTED": "granted",
            "PLUGIN": "plugin",
            "DESCRIPTION": "description",
        },
        as_json=as_json,
        otherwise="there is no tool; install a plugin that has some, such as becket-tools" + _LEFT_OUT,
    )
    ctx.exit(ended(runtime))


@cli.command("models")
@click.argument("provider", required=False)
@json_option
@plugin_options
@lock_options
@config_option
@traceback_option
@click.pass_context
def models_command(ctx: click.Context, /, *, provider: str | None, as_json: bool) -> None:
    """List the models that the installed providers know of, or those that one PROVIDER has.

    Without PROVIDER nobody is asked. With it, its service is, if it can be; that may need a key.
    """
    from becket_cli import _lists
    from becket_cli._plugins import built, ended

    runtime = built(ctx.ensure_object(State), lenient=True)
    rows = _lists.models(runtime) if provider is None else _lists.models_of(runtime, provider)
    _lists.show(
        rows if as_json else _lists.ambiguous(rows, runtime),
        {"MODEL": "name", "DEFAULT": "default", "PLUGIN": "plugin", "DESCRIPTION": "description"},
        as_json=as_json,
        otherwise="there is no model; install a plugin that has one, such as becket-local" + _LEFT_OUT
        if provider is None
        else f"the provider {provider!r} has no model for who asks",
    )
    ctx.exit(ended(runtime))


@cli.command("config")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
@plugin_options
@lock_options
@config_option
@traceback_option
@click.pass_context
def config_command(ctx: click.Context, /, *, as_json: bool) -> None:
    """Show the configuration: the files, every effective value and where it comes from. Secrets are masked."""
    from becket_cli._config import show

    ctx.exit(show(ctx.ensure_object(State), as_json=as_json))


for _command in HAVING:
    cli.add_command(_command)


def run() -> NoReturn:
    """Run the command line, and end the process."""
    _prepare_streams()
    state = State()
    code = FAILED
    try:
        code = _invoked(state)
    finally:
        code = _flushed(code)
    sys.exit(code)


def _invoked(state: State) -> int:
    """The exit code of the command that was asked for."""
    show_log(state)
    try:
        code = cli.main(prog_name="becket", standalone_mode=False, obj=state)
    except click.ClickException as error:
        _show(error)
        return error.exit_code
    except Exception as error:  # noqa: BLE001  the last resort: an error in a line, not in a page
        return _explained(error, state)
    return code if isinstance(code, int) else OK


def _show(error: click.ClickException) -> None:
    """Say what click says of it. Where nobody reads standard error any more, nothing is said."""
    said = io.StringIO()
    error.show(said)
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(safe(said.getvalue()))
        sys.stderr.flush()


def _explained(error: BaseException, state: State) -> int:
    """Say what went wrong, and return the exit code for it."""
    if isinstance(error, click.Abort) and not isinstance(error.__cause__, EOFError):
        complain("interrupted")
        return INTERRUPTED
    if isinstance(error, click.Abort):  # a command has asked something, and there was nobody to answer
        complain("standard input has ended, and an answer was wanted", error, state=state)
        return FAILED
    if isinstance(error, OSError) and _is_blocked():
        return FAILED  # and why is said when it is flushed the last time
    if isinstance(error, UnwritableError):  # what was to be written has not stayed in the buffers
        complain(f"standard output cannot be written: {error.strerror}", error, state=state)
        return FAILED
    complain(described(error), error, state=state)
    if isinstance(error, BecketError):
        return CONFIG if isinstance(error, ConfigError) else FAILED
    if not state.traceback:
        complain("BECKET_TRACEBACK=1 shows where this came from")
    return FAILED


def _is_blocked() -> bool:
    """Whether standard output takes nothing any more."""
    try:
        sys.stdout.flush()
    except OSError:
        return True
    return False


def _prepare_streams() -> None:
    """Open what was closed of the three standard streams, or the next file to be opened would pass for one of them.

    A standard output that was closed stays one that nothing can be written to: what is lost there must be said.

    What the encoding of standard output lacks is spelled out from now on, as it is on standard error.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if number == 1 else os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  for as long as the process lives
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  as above
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _flushed(code: int) -> int:
    """Hand on what was printed; where nobody takes it, drop it, or the interpreter would complain at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            code = PIPE
        except OSError as error:
            complain(f"standard output cannot be written: {error.strerror}")
            code = code or FAILED
        else:
            continue
        with contextlib.suppress(OSError, ValueError):
            sink = os.open(os.devnull, os.O_WRONLY)
            os.dup2(sink, stream.fileno())
    return code
