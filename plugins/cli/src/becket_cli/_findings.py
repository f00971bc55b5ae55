"""What `becket doctor` has found, and how it is shown: a paragraph each, in groups, and at last how many there are."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import click

from becket_cli._lists import echo
from becket_cli._safe import safe, safe_on_a_line
from becket_cli._table import width_wanted, wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["GROUPS", "Finding", "Group", "counted", "ended", "sentence", "show"]

Group: TypeAlias = Literal["environment", "plugins", "names", "configuration", "models", "lock"]

GROUPS: Final[dict[Group, str]] = {
    "environment": "Environment",
    "plugins": "Plugins",
    "names": "Names",
    "configuration": "Configuration",
    "models": "Models",
    "lock": "Lock",
}
"""The groups, in the order in which they are shown, and their headings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found.

    Attributes:
        group: Where it belongs.
        kind: What it is, for programs.
        about: The plugin, distribution, provider or file that it is about.
        problem: Whether something does not work, or will not once it is used; else it may be meant as it is.
        what: What was found, in a sentence.
        do: What to do about it, in a sentence; empty where `what` says it.
        traceback: Where it came from, empty where that says nothing.
    """

    group: Group
    kind: str
    about: str
    what: str
    do: str = ""
    problem: bool = True
    traceback: str = ""

    @property
    def row(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "group": self.group,
            "kind": self.kind,
            "about": self.about,
            "problem": self.problem,
            "what": self.what,
            "do": self.do,
            "traceback": self.traceback,
        }


def show(facts: dict[str, str], findings: Sequence[Finding]) -> None:
    """Print them.

    Args:
        facts: What the findings were found in: titles, and what stands beside them.
        findings: What was found.
    """
    widest = max(map(len, facts), default=0)
    for title, fact in facts.items():
        _paragraph(fact, first=f"{title:<{widest}}  ")
    for group, heading in GROUPS.items():
        # A problem first: it is what somebody has come for.
        of_group = sorted((one for one in findings if one.group == group), key=lambda one: not one.problem)
        if of_group:
            echo(f"\n{_styled(heading, bold=True)}")
        for one in of_group:
            echo("")
            _show(one)
    echo(f"\n{_styled(counted(findings), bold=True)}")


def counted(findings: Sequence[Finding]) -> str:
    """How many there are, in a line."""
    problems = sum(one.problem for one in findings)
    notes = len(findings) - problems
    if not findings:
        return "Nothing is wrong."
    found = [_of(problems, "problem")] if problems else ["No problem"]
    return f"{', '.join([*found, *([_of(notes, 'note')] if notes else [])])}."


def sentence(text: str) -> str:
    """A message as a sentence: it begins so, and ends so."""
    return ended(f"{text[:1].upper()}{text[1:]}")


def ended(text: str) -> str:
    """A message with what ends a sentence."""
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _of(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _show(one: Finding) -> None:
    word = "problem" if one.problem else "note"
    _paragraph(one.what, first=f"  {word}: ", style={"fg": "red" if one.problem else "yellow"})
    if one.do:
        _paragraph(one.do, first="  do: ")
    if one.traceback:
        for line in safe(one.traceback).splitlines():
            echo(_styled(f"      {line}", dim=True))


def _paragraph(text: str, *, first: str, style: dict[str, Any] | None = None) -> None:
    """Print a text after its first words, on as many lines as it needs, all but the first indented."""
    width = width_wanted()
    lines = wrapped(safe_on_a_line(text), None if width is None else max(width - len(first), 20))
    echo(f"{_styled(first, **style) if style else first}{lines[0]}")
    for line in lines[1:]:
        echo(f"{' ' * len(first)}{line}")


def _styled(text: str, **style: Any) -> str:
    """The text in colour, on a terminal whose user has not asked for none (https://no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty()
    return text if plain else click.style(text, **style)
