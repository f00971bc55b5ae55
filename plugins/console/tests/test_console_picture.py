"""Pictures of a terminal, for a README."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from becket import event_from_json
from becket_console import render_svg

if TYPE_CHECKING:
    from becket import Event


def words(svg: str) -> str:
    """The text in a picture."""
    return html.unescape(re.sub(r"<[^>]+>", " ", svg)).replace("\xa0", " ")


def test_a_run_becomes_a_picture(tool_run: list[Event]) -> None:
    svg = render_svg(tool_run, columns=60, title="a run")
    assert ET.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - our own output
    seen = words(svg)
    assert "a run" in seen
    assert 'calculator(expression="42 + 7")' in seen
    assert "It is 49." in seen
    assert "▸" not in seen


def test_a_run_that_stops_in_the_middle_is_shown_in_the_middle(tool_run: list[Event]) -> None:
    seen = words(render_svg(tool_run[:13]))
    assert re.search(r'▸ +calculator\(expression="42 \+ 7"\)', seen)
    assert '0.10 s  {"percent": 50}' in seen


def test_a_picture_loads_nothing_and_is_the_same_each_time(tool_run: list[Event]) -> None:
    svg = render_svg(tool_run)
    assert 'url("http' not in svg
    assert "@font-face" not in svg
    assert svg == render_svg(event_from_json(event.to_json()) for event in tool_run)


def test_no_events_make_an_empty_picture() -> None:
    assert "<svg" in render_svg([])
