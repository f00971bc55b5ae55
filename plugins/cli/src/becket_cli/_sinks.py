"""The sinks of a run: the console, unless the command line names others."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TextIO, cast

from becket import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from becket import BatchSinkRun, RunInfo, Runtime, Sink, SinkRun
    from becket_console import ConsoleSink

    from becket_cli._run import Wanted
    from becket_cli._streams import Output

__all__ = ["chosen_sinks"]

CONSOLE = "console"


def chosen_sinks(wanted: Wanted, runtime: Runtime, stdout: Output, stderr: Output) -> tuple[Sequence[Sink], bool]:
    """The sinks, and whether one of them is the console, which shows how a run has ended.

    Raises:
        ConfigError: One is unknown, or does not take its argument.
    """
    names = wanted.sinks or [f"{CONSOLE}:{wanted.level}" if wanted.level else CONSOLE]
    if wanted.json and not wanted.sinks and CONSOLE not in runtime.available_sinks:
        return [], False  # blocked: the events are on standard output all the same
    sinks: list[Sink] = []
    shown = False
    for name in names:
        found, argument = runtime.available_sinks.split(name)
        if found is not None and _is_console(found):
            console = _console(stdout, stderr, answer=not wanted.json)
            sinks.append(console if argument is None else console.with_argument(argument))
            shown = True
        else:
            sink = runtime.sink(name)
            sinks.append(sink if wanted.json else _OnStdout(sink, stdout))
    return sinks, shown


def _is_console(sink: Sink) -> bool:
    """Whether it is the console that we know, and not another plugin's in its place."""
    if sink.name != CONSOLE:
        return False
    from becket_console import ConsoleSink

    return isinstance(sink, ConsoleSink)


def _console(stdout: Output, stderr: Output, *, answer: bool) -> ConsoleSink:
    """The console on these streams."""
    from becket_console import ConsoleSink

    return ConsoleSink(
        stdout=cast("TextIO", stdout), stderr=cast("TextIO", stderr), answer="stdout" if answer else "none"
    )


class _OnStdout:
    """A sink that finds standard output in `sys.stdout` while it is being opened, as it would outside the command."""

    def __init__(self, sink: Sink, stdout: Output) -> None:
        self.name = sink.name
        self.required = sink.required
        self._sink = sink
        self._stdout = stdout

    def open(self, run: RunInfo, /) -> SinkRun | BatchSinkRun:
        """The sink's own observer."""
        with contextlib.redirect_stdout(cast("TextIO", self._stdout)):
            return self._sink.open(run)

    def with_argument(self, argument: str, /) -> Sink:
        """Never asked for: the argument was given before."""
        raise ConfigError(f"the sink {self.name!r} has its argument already, and was given {argument!r}")
