"""The sink `console`: shows a run to a person, on a terminal or as plain lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from becket import hookimpl

from becket_console._picture import render_svg
from becket_console._sink import Answer, ConsoleSink, Level

if TYPE_CHECKING:
    from becket import Sink

__all__ = ["Answer", "ConsoleSink", "Level", "register_sinks", "render_svg"]


@hookimpl
def register_sinks() -> list[Sink]:
    """The sink `console`; `console:quiet` and `console:verbose` say less and more."""
    return [ConsoleSink()]
