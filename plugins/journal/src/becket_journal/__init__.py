"""The sink `journal`: the record of runs, one event a line, in a file that can be read back and replayed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from becket import hookimpl

from becket_journal._format import JournalError
from becket_journal._reader import Gap, Journal, Torn, read_journal
from becket_journal._sink import Fsync, JournalSink

if TYPE_CHECKING:
    from becket import Sink

__all__ = [
    "Fsync",
    "Gap",
    "Journal",
    "JournalError",
    "JournalSink",
    "Torn",
    "read_journal",
    "register_commands",
    "register_sinks",
]


@hookimpl
def register_sinks() -> list[Sink]:
    """The sink `journal`, used as `journal:PATH`."""
    return [JournalSink()]


@hookimpl
def register_commands(cli: Any) -> None:
    """The command `becket replay`."""
    from becket_journal._replay import replay  # click is for command lines alone

    cli.add_command(replay)
