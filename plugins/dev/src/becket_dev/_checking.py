"""`becket check`: what holds of a plugin, and what does not, for people and for programs."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from itertools import groupby
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from becket.testing import Finding

__all__ = ["as_json", "as_table"]

_MARKS: Final = {True: "yes", False: "NO", None: "-"}
_INDENT: Final = 7
"""Columns before what is said: two, the longest mark, two."""

_LEAST: Final = 24
"""Columns that it is worth, also in a narrow terminal."""


def as_json(findings: Sequence[Finding]) -> str:
    """One JSON array of all findings."""
    return json.dumps([finding.to_json() for finding in findings], indent=2)


def as_table(findings: Sequence[Finding]) -> Iterator[str]:
    """The lines of a table for each thing that was looked at, and of what it comes to."""
    width = shutil.get_terminal_size().columns - _INDENT if sys.stdout.isatty() else sys.maxsize
    for (kind, name), group in groupby(findings, lambda one: (one.kind, one.name)):
        yield _printable(f"{kind} {name}")
        for finding in group:
            text = _printable(f"{finding.rule}: {finding.sentence}")
            first, *more = textwrap.wrap(text, max(width, _LEAST))
            line = f"  {_MARKS[finding.holds]:<3}  {first}"
            yield click.style(line, fg="red") if finding.holds is False else line
            yield from (f"{' ' * _INDENT}{line}" for line in more)
    yield _sum(findings)


def _sum(findings: Sequence[Finding]) -> str:
    counts = {mark: sum(one.rules for one in findings if one.holds is holds) for holds, mark in _MARKS.items()}
    told = [f"{counts['yes']} hold"]
    if broken := counts["NO"]:
        told.append(f"{broken} {'does' if broken == 1 else 'do'} not")
    if unseen := counts["-"]:
        told.append(f"{unseen} {'was' if unseen == 1 else 'were'} not looked at")
    needy = [one for one in findings if one.needs]
    if needed := sum(one.rules for one in needy):
        classes = " and ".join(dict.fromkeys(one.needs for one in needy))
        told[-1] += f"; {needed} {'needs' if needed == 1 else 'need'} an example of yours: subclass {classes}"
    return f"{', '.join(told)}."


def _printable(text: str) -> str:
    """On one line, with what would steer a terminal spelled out: errors of the plugin are quoted."""
    text = " ".join(text.split())
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
