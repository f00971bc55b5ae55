"""A picture of a terminal that shows a run."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from becket import RunInfo

from becket_console._screen import Screen, Terminal
from becket_console._view import Level, View

if TYPE_CHECKING:
    from collections.abc import Iterable

    from becket import Event

__all__ = ["render_svg"]

_HEIGHT = 1000
"""A picture is as high as what it shows."""


def render_svg(events: Iterable[Event], *, columns: int = 80, title: str = "becket", level: Level = "normal") -> str:
    """The events of a run as a picture (SVG) of the terminal that shows them.

    Events that stop in the middle of a run show it in the middle: with the lines of the tools that are running.
    The same events give the same picture, and it loads nothing from elsewhere.

    Args:
        events: The run, from its beginning; from a log, `event_from_json(line)` of each line.
        columns: The width of the terminal.
        title: What stands in the title bar.
        level: As for `ConsoleSink`.
    """
    from rich.console import Console
    from rich.text import Text

    paper = io.StringIO()
    _show(events, paper, columns, level)
    console = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True, legacy_windows=False)
    console.print(Text.from_ansi(paper.getvalue()))
    svg = console.export_svg(title=title, unique_id="becket")
    # A font from a server that the reader of the picture did not choose; without it, the viewer's own monospace font.
    return re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)


def _show(events: Iterable[Event], paper: io.StringIO, columns: int, level: Level) -> None:
    terminal = Terminal(lambda: (columns, _HEIGHT), styles=True)
    screen = Screen(paper, paper, terminal=terminal, shared=True)
    view: View | None = None
    # On paper nothing can be erased, so the block is drawn once, at the end.
    screen.holds += 1
    for event in events:
        if view is None:
            view = View(screen, RunInfo(event.parent_run_id or event.run_id, "", ""), level=level, label="")
        view.show(event)
    screen.holds -= 1
    screen.redraw(hard=True)
