"""Where it is shown: lines that scroll up and are never touched again, and below them the block of running tools.

Only that block is live: it is erased and drawn anew around each line. It is drawn only where the cursor stands at the
start of a line; while text streams it is away. So nothing needs to know in which column a wide or a right-to-left
character has left the cursor.
"""

from __future__ import annotations

import codecs
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from becket_console._safe import shown, shown_on_a_line
from becket_console._words import moment

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

__all__ = ["Row", "Screen", "Span", "Terminal", "Tone"]

Tone: TypeAlias = Literal["plain", "dim", "strong", "good", "bad", "warn"]

Span: TypeAlias = str | tuple[Tone, str]
"""A piece of a line: its text, or its tone and its text."""

_STYLES: dict[Tone, str] = {"dim": "dim", "strong": "bold", "good": "green", "bad": "red", "warn": "yellow"}

_FRAME_S = 0.05
"""The block is not drawn more often than this, unless a tool starts or ends: a terminal shows no more."""

_LEAST_HEIGHT = 3
"""A terminal of fewer lines gets no block: there would be no line left for what scrolls."""

_LEAST_HEAD = 6
"""Cells that a tool's name is worth; where fewer are left, the elapsed time goes."""


@dataclass(slots=True)
class Row:
    """One line of the live block.

    Attributes:
        head: What is running.
        since: The time at which it started, in seconds since the epoch.
        note: How far it is.
        indent: Spaces before it.
    """

    head: str
    since: float
    note: str = ""
    indent: str = ""


class Terminal:
    """What a terminal can do: its size, its styles, and whether it has more than ASCII."""

    def __init__(self, size: Callable[[], tuple[int, int]], *, styles: bool, unicode: bool = True) -> None:
        """Take `size`, which gives columns and lines and is asked again for each drawing."""
        self.size = size
        self.unicode = unicode
        self._codes = _codes() if styles else {}

    @classmethod
    def behind(cls, stream: TextIO) -> Terminal | None:
        """The terminal that `stream` writes to; None for a file, a pipe, and a terminal that cannot move its cursor."""
        if not _is_tty(stream):
            return None
        from rich.console import Console

        console = Console(file=stream)
        if not console.is_terminal or console.is_dumb_terminal or console.legacy_windows:
            return None

        def size() -> tuple[int, int]:
            # This stream's own, where there is one: rich asks the process's standard streams.
            try:
                columns, lines = os.get_terminal_size(stream.fileno())
            except (OSError, ValueError):
                columns, lines = 0, 0
            return (columns, lines) if columns and lines else (console.width, console.height)

        styles = console.color_system is not None and not console.no_color
        return cls(size, styles=styles, unicode=_narrow_encoding(stream) is None)

    def styled(self, tone: Tone, text: str) -> str:
        """`text`, which is safe already, in this tone."""
        before, after = self._codes.get(tone, ("", ""))
        return f"{before}{text}{after}"

    def cut(self, text: str, cells: int) -> str:
        """As much of `text`, which is safe already, as fits into so many cells; the last one says that it was cut."""
        from rich.cells import cell_len, set_cell_size

        if cell_len(text) <= cells:
            return text
        if cells < 1:
            return ""
        return set_cell_size(text, cells - 1).rstrip() + ("…" if self.unicode else ".")

    def row(self, row: Row, columns: int, now: float) -> str:
        """A row of the block: what runs, for how long, how far it is; on a narrow terminal, in this order."""
        from rich.cells import cell_len

        mark = row.indent[: columns // 4] + ("▸ " if self.unicode else "* ")
        elapsed = " " + moment(now - row.since)
        room = columns - 1 - len(mark) - len(elapsed)
        if room < _LEAST_HEAD:
            room, elapsed = room + len(elapsed), ""
        head, note = shown_on_a_line(row.head), shown_on_a_line(row.note)
        for_note = min(cell_len(note) + 2, room // 2, max(room - cell_len(head), room // 2)) if note else 0
        head = self.cut(head, room - for_note)
        note = "  " + self.cut(note, room - cell_len(head) - 2) if for_note else ""
        return self.styled("warn", mark) + head + self.styled("dim", elapsed + note)


class _Pen:
    """Writes at once, and in the stream's encoding: what that lacks is spelled out instead of raised."""

    __slots__ = ("_encoding", "_stream")

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._encoding = _narrow_encoding(stream)

    def write(self, text: str) -> None:
        if self._encoding is not None:
            text = text.encode(self._encoding, "backslashreplace").decode(self._encoding)
        self._stream.write(text)
        self._stream.flush()


class Screen:
    """Two streams and a block: the answer goes to one, everything else to the other, and they never garble each other.

    Attributes:
        now: The time, in seconds since the epoch; set by whoever shows something.
        rows: The live block, by run id and call id. To change it is free; `redraw` shows it.
        holds: How many want the block away, since they are about to write to the terminal themselves.
    """

    def __init__(self, answer: TextIO | None, notes: TextIO, *, terminal: Terminal | None, shared: bool) -> None:
        """Write the answer to `answer` (nowhere if None), the rest to `notes`.

        `terminal` is what `notes` writes to, or None for plain lines; `shared` says that both end up in one place.
        """
        self.now = 0.0
        self.rows: dict[tuple[str, str], Row] = {}
        self.holds = 0
        self._answer = None if answer is None else _Pen(answer)
        self._notes = _Pen(notes)
        self._terminal = terminal
        self._shared = shared
        self._answer_open = False
        self._thinking = False
        self._thought_open = False
        self._thought: list[str] = []
        self._height = 0
        self._drawn_at = 0.0

    @classmethod
    def on(cls, answer: TextIO | None, notes: TextIO) -> Screen:
        """The screen made of these streams."""
        return cls(answer, notes, terminal=Terminal.behind(notes), shared=answer is not None and _shared(answer, notes))

    @property
    def live(self) -> bool:
        """Whether there is a terminal to draw the block on."""
        return self._terminal is not None

    @property
    def answers(self) -> bool:
        """Whether the answer goes anywhere."""
        return self._answer is not None

    def answer(self, text: str) -> None:
        """Stream a fragment of the answer."""
        if self._answer is None or not text:
            return
        if self._thinking:
            self.end_thought()
        if self._height and self._shared:
            self._notes.write(self._erased())
        self._answer.write(shown(text))
        self._answer_open = text[-1] != "\n"

    def end_answer(self) -> None:
        """End the line of the answer, if it is open."""
        if self._answer_open and self._answer is not None:
            self._answer_open = False
            self._answer.write("\n")

    def thought(self, text: str) -> None:
        """Stream a fragment of reasoning: dimmed on a terminal; line by line elsewhere."""
        if not text:
            return
        if self._terminal is None:
            self._thinking = True
            self._hold_thought(text)
            return
        opening = "" if self._thinking else self._erased() + self._broken()
        gutter = "│ " if self._terminal.unicode else "| "
        body = shown(text)
        inner = body.removesuffix("\n")
        dimmed = ("" if self._thought_open else gutter) + inner.replace("\n", "\n" + gutter)
        self._thinking, self._thought_open = True, len(inner) == len(body)
        self._notes.write(opening + self._terminal.styled("dim", dimmed) + body[len(inner) :])

    def end_thought(self) -> None:
        """End the line of the reasoning, if it is open."""
        if not self._thinking:
            return
        self._thinking = False
        if self._thought_open:
            self._thought_open = False
            self._notes.write("\n")
        if self._thought:
            self._end_held_thought()

    def line(self, *spans: Span) -> None:
        """Write a line that scrolls up: never more than one, whatever is in it."""
        self.end_thought()
        self._notes.write(self._erased() + self._broken() + "".join(map(self._rendered, spans)) + "\n" + self._drawn())

    def redraw(self, *, hard: bool = False) -> None:
        """Show the block as it is now.

        Unless it is `hard`, only where it was not drawn just before and no line is open.
        """
        if self._terminal is None or not (self.rows or self._height):
            return
        if hard:
            self.end_thought()
        elif 0 <= self.now - self._drawn_at < _FRAME_S or self._thinking or (self._shared and self._answer_open):
            return
        self._notes.write(self._erased() + self._broken() + self._drawn())

    def close(self) -> None:
        """End what line is open; the rows are gone already."""
        self.end_thought()
        self.end_answer()

    def _hold_thought(self, text: str) -> None:
        *lines, rest = text.split("\n")
        for line in lines:
            self._thought.append(line)
            self._end_held_thought()
        if rest:
            self._thought.append(rest)

    def _end_held_thought(self) -> None:
        text, self._thought = "".join(self._thought), []
        self._notes.write(f"{self._broken()}reasoning: {shown_on_a_line(text)}\n")

    def _rendered(self, span: Span) -> str:
        if isinstance(span, str):
            return shown_on_a_line(span)
        tone, text = span
        text = shown_on_a_line(text)
        return text if self._terminal is None or not text else self._terminal.styled(tone, text)

    def _broken(self) -> str:
        """What ends the open line of the answer, where it stands in the notes' way.

        Written to the notes: the stream of the answer carries the answer and nothing else.
        """
        if not (self._shared and self._answer_open):
            return ""
        self._answer_open = False
        return "\n"

    def _erased(self) -> str:
        """What takes the block away; the cursor stands below it, at the start of a line."""
        if not self._height:
            return ""
        up, self._height = self._height, 0
        return f"\r\x1b[{up}A\x1b[J"

    def _drawn(self) -> str:
        """What draws the block, below the cursor, which stands at the start of a line."""
        if self._terminal is None or not self.rows or self.holds:
            return ""
        columns, lines = self._terminal.size()
        if lines < _LEAST_HEIGHT:
            return ""
        most, rows = lines - 1, list(self.rows.values())
        shown_rows = rows if len(rows) <= most else rows[: most - 1]
        drawn = [self._terminal.row(row, columns, self.now) for row in shown_rows]
        if len(shown_rows) < len(rows):
            drawn.append(self._terminal.cut(f"  and {len(rows) - len(shown_rows)} more", columns - 1))
        self._height, self._drawn_at = len(drawn), self.now
        # Without automatic wrapping, a row stays one row even where the terminal counts a character's cells otherwise
        # than we do; erasing relies on that.
        return "\x1b[?7l" + "\n".join(drawn) + "\x1b[?7h\n"


def _codes() -> dict[Tone, tuple[str, str]]:
    """What goes before and after a text, by its tone."""
    from rich.color import ColorSystem
    from rich.style import Style

    codes: dict[Tone, tuple[str, str]] = {}
    for tone, definition in _STYLES.items():
        # The sixteen colours are spelled alike in every colour system.
        before, _, after = Style.parse(definition).render("|", color_system=ColorSystem.STANDARD).partition("|")
        codes[tone] = (before, after)
    return codes


def _is_tty(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # a stand-in for a stream, or a closed one
        return False


def _narrow_encoding(stream: TextIO) -> str | None:
    """The encoding of a stream that cannot carry every character, or None."""
    encoding = getattr(stream, "encoding", None)
    if not isinstance(encoding, str):
        return None
    name = codecs.lookup(encoding).name
    return None if name.startswith("utf") else name


def _shared(answer: TextIO, notes: TextIO) -> bool:
    """Whether both streams end up in one place: the same file, or a person's eyes."""
    if answer is notes or (_is_tty(answer) and _is_tty(notes)):
        return True
    try:
        return os.path.sameopenfile(answer.fileno(), notes.fileno())
    except (OSError, ValueError, AttributeError):  # no file behind one of them
        return False
