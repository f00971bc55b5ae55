"""The sinks of a run: the console, unless the command line names others."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO, cast

from becket import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from becket import BatchSinkRun, Event, RunInfo, Runtime, Sink, SinkRun
    from becket_console import ConsoleSink

    from becket_cli._run import Wanted
    from becket_cli._streams import Output

__all__ = ["Chosen", "chosen_sinks"]

CONSOLE = "console"


@dataclass(slots=True)
class Chosen:
    """The sinks of a run, and what became of those that the command line names.

    Attributes:
        sinks: The sinks.
        shown: Whether one of them is the console, which shows how a run has ended.
        failures: Those that could not be opened, by name, and why.
        told: Called when one cannot be opened. Whoever has named a sink wants it: the run is to end.
    """

    sinks: list[Sink] = field(default_factory=list)
    shown: bool = False
    failures: list[tuple[str, Exception | SystemExit]] = field(default_factory=list)
    told: Callable[[], None] = lambda: None

    def fail(self, name: str, error: Exception | SystemExit) -> None:
        """Take down that this sink could not be opened."""
        self.failures.append((name, error))
        self.told()


def chosen_sinks(wanted: Wanted, runtime: Runtime, stdout: Output, stderr: Output) -> Chosen:
    """The sinks that the command line names; else the console, and what the configuration names.

    Raises:
        ConfigError: One is unknown, or does not take its argument.
    """
    names = wanted.sinks or _usual(wanted, runtime)
    if wanted.json and not wanted.sinks and CONSOLE not in runtime.available_sinks:
        return Chosen()  # blocked: the events are on standard output all the same
    chosen = Chosen()
    for name in names:
        found, argument = runtime.available_sinks.split(name)
        if found is None and wanted.bare and name.partition(":")[0] == CONSOLE:
            from becket_console import ConsoleSink

            found, argument = ConsoleSink(), name.partition(":")[2] or None
        if found is not None and _is_console(found):
            console = _console(stdout, stderr, answer=not wanted.json)
            chosen.sinks.append(console if argument is None else console.with_argument(argument))
            chosen.shown = True
        else:
            sink = runtime.sink(name)
            chosen.sinks.append(_Named(sink, chosen, None if wanted.json else stdout))
    return chosen


def _usual(wanted: Wanted, runtime: Runtime) -> list[str]:
    """The console, with the level that is asked for here or else in the configuration, and what that names besides."""
    named = runtime.config.sinks
    consoles = [name for name in named if name.partition(":")[0] == CONSOLE]
    console = f"{CONSOLE}:{wanted.level}" if wanted.level else CONSOLE
    return [
        *(consoles if consoles and not wanted.level else [console]),
        *(name for name in named if name not in consoles),
    ]


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


class _Named:
    """A sink that the command line names: one that cannot be opened ends the run, instead of being left out.

    While it is being opened it finds standard output, if it may have that, in `sys.stdout`, as outside the command.
    """

    def __init__(self, sink: Sink, chosen: Chosen, stdout: Output | None) -> None:
        self.name = sink.name
        self.required = sink.required
        self._sink = sink
        self._chosen = chosen
        self._stdout = stdout

    def open(self, run: RunInfo, /) -> SinkRun | BatchSinkRun:
        """The sink's own observer."""
        redirected = (
            contextlib.redirect_stdout(cast("TextIO", self._stdout)) if self._stdout else contextlib.nullcontext()
        )
        try:
            with redirected:
                return self._sink.open(run)
        except (Exception, SystemExit) as error:  # noqa: BLE001  a plugin's code; told at the end of the run, once
            self._chosen.fail(self.name, error)
            return _Blind()

    def with_argument(self, argument: str, /) -> Sink:
        """Never asked for: the argument was given before."""
        raise ConfigError(f"the sink {self.name!r} has its argument already, and was given {argument!r}")


class _Blind:
    """Stands in for what could not be opened, while the run ends."""

    def emit(self, event: Event, /) -> None:
        """Pass over it."""

    def close(self) -> None:
        """There is nothing to close."""
