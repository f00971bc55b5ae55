"""`becket replay`: the recorded events, shown to any sink as the run showed them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import click
from becket import BatchSinkRun, PluginError, RunInfo, RunStarted, Runtime, load_config

from becket_journal._format import JournalError
from becket_journal._reader import Journal
from becket_journal._roots import Roots

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from becket import Event, Sink, SinkRun

__all__ = ["feed", "replay"]


@click.command("replay")
@click.argument("file", type=click.Path())
@click.option(
    "--sink",
    "sinks",
    metavar="NAME[:ARGUMENT]",
    multiple=True,
    help="Where the events go, instead of to the console. Repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the events, one JSON object a line.")
def replay(file: str, sinks: Sequence[str], *, as_json: bool) -> None:
    """Show the runs that FILE has recorded, as they were.

    FILE is what the sink 'journal' has written, or the output of 'becket run --json'. No model is called, and no tool.
    """
    names = sinks or ([] if as_json else ["console"])
    chosen: list[Sink] = []
    if names:
        runtime = Runtime(sinks=(), config=load_config())
        chosen = [runtime.sink(name) for name in names]
    if as_json:
        chosen.append(_Lines())
    journal = Journal(file)
    try:
        anyio.run(feed, journal, chosen)
    finally:
        _tell(journal)


def _tell(journal: Journal) -> None:
    """Say what the recorded runs lack."""
    for torn in journal.torn:
        click.echo(f"becket: line {torn.line} of {str(torn.path)!r} is torn: its event was lost", err=True)
    for gap in journal.gaps:
        click.echo(
            f"becket: run {gap.run_id!r}: no event between {gap.after} and {gap.before} is in the journal", err=True
        )
    for run_id in journal.unfinished:
        click.echo(f"becket: the record of run {run_id!r} has no end: it was cut off, or goes on", err=True)


async def feed(events: Iterable[Event], sinks: Sequence[Sink]) -> None:
    """Show recorded events to sinks: each is opened for every run, sees what is nested in it, and is closed with it.

    Raises:
        JournalError: The events come from a journal that is not whole; the sinks have seen what could be read.
        PluginError: A sink failed.
    """
    shows: dict[str, _Show] = {}
    roots = Roots()
    try:
        for event in events:
            root = roots.root(event)
            if root not in shows:
                shows[root] = _Show(sinks, event)
            await shows[root].emit(event)
            if roots.is_end(event):
                await shows.pop(root).close()
    finally:
        with anyio.CancelScope(shield=True):
            for show in shows.values():
                await show.close()


class _Show:
    """One recorded run, and what observes it."""

    def __init__(self, sinks: Sequence[Sink], first: Event) -> None:
        run = _run_info(first)
        self._observers: list[tuple[str, SinkRun | BatchSinkRun]] = [(sink.name, sink.open(run)) for sink in sinks]

    async def emit(self, event: Event) -> None:
        """Show one event to all."""
        for name, observer in self._observers:
            try:
                if isinstance(observer, BatchSinkRun):
                    await observer.emit_batch([event])
                else:
                    observer.emit(event)
            except (JournalError, PluginError, BrokenPipeError):
                raise
            except Exception as error:
                raise PluginError(
                    f"the sink {name!r} failed at event {event.seq}: {type(error).__name__}: {error}; "
                    f"mend it, or replay to another one",
                    plugin=name,
                    hook="sink.emit",
                ) from error

    async def close(self) -> None:
        """The recorded run is over."""
        for _, observer in self._observers:
            if isinstance(observer, BatchSinkRun):
                await observer.aclose()
            else:
                observer.close()


def _run_info(first: Event) -> RunInfo:
    """The run, as far as its first recorded event knows it: the one before may be in a file that is gone."""
    if isinstance(first, RunStarted):
        return RunInfo(first.run_id, first.agent, first.model, first.session_id)
    return RunInfo(first.run_id, "unknown", "unknown:unknown")


class _Lines:
    """Prints events as JSON."""

    name = "json"
    required = True

    def open(self, run: RunInfo, /) -> SinkRun:
        """Itself: a line says which run it is of."""
        del run
        return self

    def with_argument(self, argument: str, /) -> Sink:
        """Never asked for."""
        raise NotImplementedError(argument)

    def emit(self, event: Event, /) -> None:
        """Print one event."""
        click.echo(event.to_json())

    def close(self) -> None:
        """Nothing is held back."""
