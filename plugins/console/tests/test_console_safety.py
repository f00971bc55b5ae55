"""Text from models and tools is shown, whatever is in it, and never steers the terminal."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import pytest
from becket import (
    AgentResult,
    CycleStarted,
    DecisionRequested,
    ErrorInfo,
    ModelFinished,
    PluginEvent,
    PluginFailed,
    ReasoningDelta,
    RetryScheduled,
    RunFailed,
    RunFinished,
    RunInfo,
    RunStarted,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolFinished,
    ToolProgress,
    ToolResult,
    ToolStarted,
)
from becket_console import ConsoleSink, render_svg
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

    from becket import Event

    At = Callable[..., Event]

OWN_SEQUENCES = re.compile(r"\x1b\[(?:\d+A|J|\?7[lh]|[\d;]*m)|\r(?=\x1b\[\d+A)")
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

ATTACKS = {
    "colour": ("\x1b[31mred", "\\x1b[31mred"),
    "window title": ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
    "C1 window title": ("\x9d0;owned\x9c", "\\x9d0;owned\\x9c"),
    "C1 erase": ("\x9b2J", "\\x9b2J"),
    "hyperlink": ("\x1b]8;;http://a\x1b\\x", "\\x1b]8;;http://a\\x1b\\x"),
    "overwrite": ("safe\rrm -rf", "safe\\rrm -rf"),
    "backspace": ("ab\b\bcd", "ab\\x08\\x08cd"),
    "bell": ("\a", "\\x07"),
    "delete": ("\x7f", "\\x7f"),
    "form feed": ("a\fb\vc", "a\\x0cb\\x0bc"),
    "bidi override": ("a\u202etxt.exe\u202c", "a\\u202etxt.exe\\u202c"),
    "bidi isolate": ("\u2066x\u2069", "\\u2066x\\u2069"),
    "line separator": ("a\u2028b\u2029c", "a\\u2028b\\u2029c"),
    "lone surrogate": ("a\ud800b", "a\\ud800b"),
    "nul": ("a\0b", "a\\x00b"),
}


def everywhere(text: str, at: At) -> list[Event]:
    """A run in which every text that comes from outside is this one."""
    call, other = ToolCall("c", text, {text: text, "list": [text]}), ToolCall("d", "d", {"x": text})
    inner = {"run": "inner", "parent": "run"}
    return [
        at(0, RunStarted(text, text, ())),
        at(0, CycleStarted()),
        at(0, PluginEvent(text, text, {text: text})),
        at(0, ReasoningDelta(text)),
        at(0, TextDelta(text)),
        at(0, ReasoningDelta(text)),
        at(0, TextDelta(text)),
        at(0, ToolCallDelta("c", text, text)),
        at(0, RetryScheduled(text, 1.0)),
        at(0, ModelFinished("tool_use")),
        at(0, ToolStarted(call)),
        at(0, ToolStarted(other)),
        at(1, ToolProgress("c", text)),
        at(2, ToolProgress("d", {text: [text]})),
        at(2, RunStarted(text, text, ()), **inner),
        at(2, TextDelta(text), **inner),
        at(2, ReasoningDelta(text), **inner),
        at(2, ToolStarted(call), **inner),
        at(2, RunFailed(ErrorInfo(text, text)), **inner),
        at(2, DecisionRequested("r", text, call, text)),
        at(2, PluginFailed(text, text, text, text)),
        at(2, ToolFinished(ToolResult("c", "error", (Text(text),)))),
        at(2, ToolFinished(ToolResult("d", "success", (Text(text), Text(text))))),
        at(3, TextDelta(text)),
        at(3, RunFinished(AgentResult("end_turn"))),
    ]


@pytest.mark.parametrize(("attack", "spelled"), ATTACKS.values(), ids=ATTACKS)
def test_what_would_steer_a_terminal_is_spelled_out(
    attack: str, spelled: str, glass: Callable[..., Any], at: At
) -> None:
    screen = glass()
    run = ConsoleSink(stdout=screen, stderr=screen).open(RunInfo("run", "demo", "m"))
    run.emit(at(0, TextDelta(attack)))
    run.emit(at(0, ToolFinished(ToolResult("c", "success", (Text(attack),)))))
    assert screen.rows == [spelled, f"+ c() -> {spelled} (0.00 s)"]
    assert screen.screen.title == ""


def test_text_keeps_its_newlines_and_tabs(glass: Callable[..., Any], at: At) -> None:
    screen = glass()
    ConsoleSink(stdout=screen, stderr=screen).open(RunInfo("run", "demo", "m")).emit(at(0, TextDelta("a\tb\nc")))
    assert screen.rows == ["a       b", "c"]


def test_a_file_gets_its_control_characters_spelled_out_too(plain: Callable[..., tuple[str, str]], at: At) -> None:
    assert plain([at(0, TextDelta("\x1b[2Jx")), at(0, ModelFinished("end_turn"))])[0] == "\\x1b[2Jx\n"


def test_joined_emoji_and_right_to_left_marks_stay_as_they_are(plain: Callable[..., tuple[str, str]], at: At) -> None:
    text = "👩‍👩‍👧 שלום\u200f עולם é"
    assert plain([at(0, TextDelta(text)), at(0, ModelFinished("end_turn"))])[0] == text + "\n"


def test_a_stream_that_lacks_a_character_gets_it_spelled_out(at: At, shown: Callable[..., None]) -> None:
    raw, raw_notes = io.BytesIO(), io.BytesIO()
    stdout, stderr = io.TextIOWrapper(raw, encoding="cp1252"), io.TextIOWrapper(raw_notes, encoding="ascii")
    call = ToolCall("c", "wetter", {"stadt": "Köln"})
    shown([at(0, TextDelta("é 日")), at(0, ToolStarted(call))], ConsoleSink(stdout=stdout, stderr=stderr))
    assert raw.getvalue().decode("cp1252").splitlines() == ["é \\u65e5"]
    assert raw_notes.getvalue().splitlines() == [b'tool wetter(stadt="K\\xf6ln")']


def test_a_terminal_without_unicode_gets_marks_in_ascii(glass: Callable[..., Any], at: At) -> None:
    screen = glass(columns=24)
    screen.encoding = "ascii"
    run = ConsoleSink(stdout=screen, stderr=screen).open(RunInfo("run", "demo", "m"))
    run.emit(at(0, ReasoningDelta("hm")))
    run.emit(at(0, ToolStarted(ToolCall("c", "calculator", {"expression": "42 + 7"}))))
    assert screen.rows == ["| hm", "* calculator(ex. 0.00 s"]
    assert "".join(screen.raw).isascii()


ANYTHING = st.text(st.characters() | st.sampled_from("\x1b\x9b\x9d\r\b\a\u202e\ud800[]m;0J日"))


# No deadline: an emulator in Python is slow, and slower on a busy machine.
@settings(deadline=None)
@given(text=ANYTHING)
def test_no_text_reaches_a_terminal_as_a_command(text: str, glass_80: Callable[[], Any], at: At) -> None:
    screen = glass_80()
    run = ConsoleSink(stdout=screen, stderr=screen, level="verbose").open(RunInfo("run", "demo", "m"))
    for event in everywhere(text, at):
        run.emit(event)
    run.close()
    assert STEERING.search(OWN_SEQUENCES.sub("", "".join(screen.raw))) is None
    assert screen.screen.title == ""


@settings(deadline=None)
@given(data=st.data())
def test_events_in_an_order_that_no_run_has_are_shown_somehow(
    data: st.DataObject, glass_80: Callable[[], Any], tool_run: list[Event], at: At
) -> None:
    """A log may have gaps, and a sink may come late."""
    events = data.draw(st.lists(st.sampled_from([*tool_run, *everywhere("x", at)]), max_size=30))
    for stream in (glass_80(), io.StringIO()):
        run = ConsoleSink(stdout=stream, stderr=stream).open(RunInfo("run", "demo", "m"))
        for event in events:
            run.emit(event)
        run.close()
        if not isinstance(stream, io.StringIO):
            assert "▸" not in "".join(stream.rows)


@given(text=ANYTHING)
def test_no_text_puts_a_control_character_into_plain_lines(
    text: str, plain: Callable[..., tuple[str, str]], at: At
) -> None:
    for stream in plain(everywhere(text, at)):
        assert STEERING.search(stream) is None


@given(text=ANYTHING)
def test_no_text_adds_lines_to_what_is_not_the_answer(text: str, plain: Callable[..., tuple[str, str]], at: At) -> None:
    call = ToolCall("c", text, {text: text})
    events = [
        at(0, RunStarted(text, text, ())),
        at(0, ToolStarted(call)),
        at(0, ToolProgress("c", text)),
        at(0, ToolFinished(ToolResult("c", "success", (Text(text), Text(text))))),
        at(0, PluginEvent(text, text, text)),
        at(0, RunFailed(ErrorInfo(text, text))),
    ]
    assert plain(events)[1].count("\n") == len(events)


@pytest.mark.parametrize("columns", [1, 2, 3, 20])
@pytest.mark.parametrize("text", ["", "x", "日", "👩‍👩‍👧", "\x1b[2J", "é" * 50, "שלום"])
def test_the_narrowest_terminals_are_served(
    text: str, columns: int, glass: Callable[..., Any], shown: Callable[..., None], at: At
) -> None:
    screen = glass(columns=columns)
    shown(everywhere(text, at), ConsoleSink(stdout=screen, stderr=screen))
    assert "▸" not in "".join(screen.rows)


def test_a_picture_holds_no_control_characters_either(at: At) -> None:
    svg = render_svg([at(0, TextDelta("\x1b]0;owned\x07 <script>"))])
    assert STEERING.search(svg) is None
    assert "<script>" not in svg
