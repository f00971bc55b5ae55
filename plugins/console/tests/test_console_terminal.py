"""A terminal: judged by an emulator, which finds what was garbled."""

from __future__ import annotations

import io
import itertools
import re
from typing import TYPE_CHECKING, Any

import pytest
from becket import (
    AgentResult,
    CycleStarted,
    DecisionMade,
    DecisionRequested,
    ErrorInfo,
    Message,
    MessageAdded,
    ModelFinished,
    ReasoningDelta,
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
from becket_console import ConsoleSink
from becket_console._picture import _show
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from becket import Event, SinkRun

    At = Callable[..., Event]

RUNNING = "▸"


def opened(glass: Any, **options: Any) -> SinkRun:
    """A run shown on this terminal, on both streams."""
    return ConsoleSink(stdout=glass, stderr=glass, **options).open(RunInfo("run", "demo", "m"))


def succeeded(call: ToolCall, text: str = "ok") -> ToolFinished:
    return ToolFinished(ToolResult(call.id, "success", (Text(text),)), 0.5)


def test_a_run_with_a_tool_ends_up_like_this(
    glass: Callable[..., Any], shown: Callable[..., None], tool_run: list[Event]
) -> None:
    screen = glass()
    shown(tool_run, ConsoleSink(stdout=screen, stderr=screen))
    assert screen.rows == [
        "run demo on scripted:echo",
        "cycle 1",
        "│ A sum.",
        "│ I know a tool.",
        "Let me compute.",
        '+ calculator(expression="42 + 7") -> 49 (0.20 s)',
        "cycle 2",
        "It is 49.",
        "done in 1.2 s, 1 tool call, 123 tokens",
    ]


def test_text_streams_as_it_comes(glass: Callable[..., Any], at: At) -> None:
    screen = glass()
    run = opened(screen)
    run.emit(at(0, TextDelta("It is ")))
    assert screen.rows == ["It is"]
    run.emit(at(0, TextDelta("49.")))
    assert screen.rows == ["It is 49."]


def test_reasoning_is_dimmed_and_marked_on_each_line(glass: Callable[..., Any], at: At) -> None:
    screen = glass()
    run = opened(screen)
    for text in ("one\n", "two\nthr", "ee"):
        run.emit(at(0, ReasoningDelta(text)))
    run.emit(at(0, TextDelta("text")))
    assert screen.rows == ["│ one", "│ two", "│ three", "text"]
    assert "".join(screen.raw).startswith("\x1b[2m│ one\x1b[0m\n\x1b[2m│ two")
    assert screen.raw[-1] == "text"


def test_reasoning_that_ends_with_a_newline_leaves_no_empty_line(glass: Callable[..., Any], at: At) -> None:
    screen = glass()
    run = opened(screen)
    for event in (ReasoningDelta("a\n"), ReasoningDelta("\n"), TextDelta("text\n"), ReasoningDelta("b")):
        run.emit(at(0, event))
    assert screen.rows == ["│ a", "│", "text", "│ b"]


def test_running_tools_are_live_lines_below_what_scrolls(glass: Callable[..., Any], at: At) -> None:
    screen = glass(columns=60)
    run = opened(screen)
    slow, fast = ToolCall("1", "fetch", {"url": "https://example.org"}), ToolCall("2", "add", {"a": 1})
    run.emit(at(0, ToolStarted(slow)))
    run.emit(at(1, ToolStarted(fast)))
    assert screen.rows == ['▸ fetch(url="https://example.org") 1.00 s', "▸ add(a=1) 0.00 s"]
    run.emit(at(2, ToolProgress("1", "half")))
    assert screen.rows == ['▸ fetch(url="https://example.org") 2.00 s  half', "▸ add(a=1) 1.00 s"]
    run.emit(at(2.5, succeeded(fast, "3")))
    assert screen.rows == ["+ add(a=1) -> 3 (0.50 s)", '▸ fetch(url="https://example.org") 2.50 s  half']
    run.emit(at(75, ToolProgress("1", "most")))
    assert screen.rows[1] == '▸ fetch(url="https://example.org") 1 min 15 s  most'
    run.emit(at(76, ToolFinished(ToolResult("1", "error", (Text("gone"),)), 76.0)))
    assert screen.rows[1:] == ['x fetch(url="https://example.org") failed: gone (1 min 16 s)']


def test_progress_is_drawn_twenty_times_a_second_at_most(glass: Callable[..., Any], at: At) -> None:
    screen = glass()
    run = opened(screen)
    run.emit(at(0, ToolStarted(ToolCall("1", "t"))))
    before = len(screen.raw)
    for step in range(1000):
        run.emit(at(step / 1000, ToolProgress("1", step)))
    assert len(screen.raw) - before <= 20


def test_a_call_that_is_being_written_is_live_too(glass: Callable[..., Any], at: At) -> None:
    screen = glass()
    run = opened(screen)
    call = ToolCall("1", "edit", {"text": "x"})
    run.emit(at(0, TextDelta("I will edit.")))
    for tenth in range(11):
        run.emit(at(tenth / 10, ToolCallDelta("1", "edit", "x" * 200)))
    assert screen.rows == ["I will edit.", "▸ edit 1.00 s  2,200 characters"]
    run.emit(at(1.1, ModelFinished("tool_use")))
    run.emit(at(1.1, MessageAdded(Message("assistant", (Text("I will edit."), call)))))
    run.emit(at(1.1, ToolStarted(call)))
    assert screen.rows == ["I will edit.", '▸ edit(text="x") 0.00 s']


def test_an_attempt_that_failed_leaves_no_live_line(glass: Callable[..., Any], at: At) -> None:
    screen = glass()
    run = opened(screen)
    run.emit(at(0, CycleStarted()))
    run.emit(at(0, ToolCallDelta("1", "edit", "{")))
    run.emit(at(0, ReasoningDelta("again"), attempt=2))
    assert screen.rows == ["cycle 1", "retrying, attempt 2", "│ again"]


def test_more_tools_than_lines_are_counted(glass: Callable[..., Any], at: At) -> None:
    screen = glass(lines=5)
    run = opened(screen)
    for number in range(20):
        run.emit(at(0, ToolStarted(ToolCall(str(number), f"tool{number}"))))
    assert screen.rows == ["▸ tool0() 0.00 s", "▸ tool1() 0.00 s", "▸ tool2() 0.00 s", "  and 17 more"]
    for number in range(20):
        run.emit(at(0, succeeded(ToolCall(str(number), ""))))
    assert screen.rows == [f"+ tool{number}() -> ok (0.50 s)" for number in range(20)]


def test_a_terminal_of_two_lines_gets_no_live_lines(glass: Callable[..., Any], at: At) -> None:
    screen = glass(lines=2)
    opened(screen).emit(at(0, ToolStarted(ToolCall("1", "t"))))
    assert screen.rows == []


@pytest.mark.parametrize("columns", [5, 20, 40, 120])
def test_live_lines_are_cut_to_the_width(columns: int, glass: Callable[..., Any], at: At) -> None:
    screen = glass(columns=columns)
    run = opened(screen)
    run.emit(at(0, ToolStarted(ToolCall("1", "天気予報", {"都市": "札幌" * 50, "emoji": "👩‍👩‍👧🇯🇵" * 9}))))
    run.emit(at(9, ToolProgress("1", "שלום עולם " * 30)))
    assert len(screen.rows) == 1
    assert screen.rows[0].startswith(RUNNING)
    if columns >= 20:
        assert "9.00 s" in screen.rows[0]


def test_a_name_is_kept_longer_than_the_elapsed_time(glass: Callable[..., Any], at: At) -> None:
    screen = glass(columns=12)
    opened(screen).emit(at(0, ToolStarted(ToolCall("1", "calculator"))))
    assert screen.rows == ["▸ calculat…"]


def test_nested_text_scrolls_past_live_lines(glass: Callable[..., Any], at: At) -> None:
    screen = glass()
    run = opened(screen)
    inner = {"run": "inner", "parent": "run"}
    call = ToolCall("1", "delegate")
    run.emit(at(0, ToolStarted(call)))
    run.emit(at(0, RunStarted("sub", "m", ()), **inner))
    run.emit(at(1, TextDelta("one\ntw"), **inner))
    run.emit(at(1, ToolStarted(ToolCall("1", "add")), **inner))
    assert screen.rows == [
        "  [sub] run sub on m",
        "  [sub] one",
        "▸ delegate() 1.00 s",
        "  ▸ [sub] add() 0.00 s",
    ]


def test_a_thought_beside_live_lines_takes_their_place(glass: Callable[..., Any], at: At) -> None:
    screen = glass()
    run = opened(screen)
    call = ToolCall("1", "t")
    run.emit(at(0, ToolStarted(call)))
    run.emit(at(0, ReasoningDelta("hm")))
    run.emit(at(1, ToolProgress("1", 1)))
    assert screen.rows == ["│ hm"]
    run.emit(at(1, ToolStarted(ToolCall("2", "u"))))
    assert screen.rows == ["│ hm", "▸ t() 1.00 s  1", "▸ u() 0.00 s"]


def test_a_call_id_that_comes_again_in_the_next_cycle_is_a_new_line(glass: Callable[..., Any], at: At) -> None:
    screen = glass()
    run = opened(screen)
    for cycle in (1, 2):
        run.emit(at(cycle, ToolCallDelta("1", "edit", "x" * 10), cycle=cycle))
        assert screen.rows == ["▸ edit 0.00 s"]
        run.emit(at(cycle, ModelFinished("tool_use"), cycle=cycle))
        assert screen.rows == []


def test_a_fragment_of_a_call_that_is_answered_already_brings_no_line_back(glass: Callable[..., Any], at: At) -> None:
    screen = glass()
    run = opened(screen)
    call = ToolCall("1", "edit")
    for event in (ToolCallDelta("1", "edit"), ToolStarted(call), succeeded(call), ToolCallDelta("1", "edit", "{")):
        run.emit(at(0, event))
    assert screen.rows == ["+ edit() -> ok (0.50 s)"]


def test_a_nested_run_that_ends_takes_its_live_lines_along(glass: Callable[..., Any], at: At) -> None:
    screen = glass()
    run = opened(screen)
    inner = {"run": "inner", "parent": "run"}
    run.emit(at(0, ToolStarted(ToolCall("1", "delegate"))))
    for end in (RunFinished(AgentResult("cancelled")), RunFailed(ErrorInfo("ToolError", "no"))):
        run.emit(at(0, RunStarted("sub", "m", ()), **inner))
        run.emit(at(0, ToolStarted(ToolCall("1", "add")), **inner))
        assert screen.rows[-2:] == ["▸ delegate() 0.00 s", "  ▸ [sub] add() 0.00 s"]
        run.emit(at(0, end, **inner))
        assert screen.rows[-1] == "▸ delegate() 0.00 s"


def test_a_run_that_is_closed_takes_its_live_lines_along_and_leaves_those_of_others(
    glass: Callable[..., Any], at: At
) -> None:
    screen = glass()
    sink = ConsoleSink(stdout=screen, stderr=screen)
    one, two = sink.open(RunInfo("run", "demo", "m")), sink.open(RunInfo("two", "demo", "m"))
    one.emit(at(0, ToolStarted(ToolCall("1", "t"))))
    two.emit(at(0, ToolStarted(ToolCall("1", "u")), run="two"))
    two.close()
    assert screen.rows == ["▸ t() 0.00 s"]


def test_a_run_that_is_closed_does_not_break_the_line_of_another(glass: Callable[..., Any], at: At) -> None:
    screen = glass()
    sink = ConsoleSink(stdout=screen, stderr=screen)
    one, two = sink.open(RunInfo("run", "demo", "m")), sink.open(RunInfo("two", "demo", "m"))
    one.emit(at(0, TextDelta("one ")))
    two.close()
    one.emit(at(0, TextDelta("line")))
    assert screen.rows == ["one line"]


def test_a_tool_beside_a_thought_ends_its_line(glass: Callable[..., Any], at: At) -> None:
    screen, paper = glass(), io.StringIO()
    run = ConsoleSink(stdout=paper, stderr=screen).open(RunInfo("run", "demo", "m"))
    run.emit(at(0, ReasoningDelta("hm")))
    run.emit(at(0, TextDelta("text")))
    run.emit(at(0, ToolStarted(ToolCall("1", "t"))))
    run.emit(at(1, TextDelta("more")))
    assert screen.rows == ["│ hm", "▸ t() 1.00 s"]
    run.close()
    assert screen.rows == ["│ hm"]
    assert paper.getvalue() == "textmore\n"


def test_while_a_decision_is_waited_for_the_terminal_is_free(glass: Callable[..., Any], at: At) -> None:
    screen = glass()
    run = opened(screen)
    call = ToolCall("1", "t")
    run.emit(at(0, ToolStarted(call)))
    run.emit(at(0, DecisionRequested("d", "approve_tool", ToolCall("2", "rm"))))
    run.emit(at(1, ToolProgress("1", 1)))
    assert screen.rows == ["decision needed, approve_tool for rm()"]
    run.emit(at(2, DecisionMade("d", "allow", by="you")))
    assert screen.rows[1:] == ["decision: allow by you", "▸ t() 2.00 s  1"]


def test_a_decision_that_was_never_made_does_not_keep_the_next_run_from_its_lines(
    glass: Callable[..., Any], at: At
) -> None:
    screen = glass()
    sink = ConsoleSink(stdout=screen, stderr=screen)
    one, two = sink.open(RunInfo("run", "demo", "m")), sink.open(RunInfo("two", "demo", "m"))
    one.emit(at(0, DecisionRequested("d", "budget")))
    one.close()
    two.emit(at(0, ToolStarted(ToolCall("1", "t")), run="two"))
    assert screen.rows == ["decision needed, budget", "▸ [demo] t() 0.00 s"]


def test_a_run_that_is_closed_in_the_middle_leaves_no_live_line(glass: Callable[..., Any], at: At) -> None:
    screen = glass()
    run = opened(screen)
    run.emit(at(0, TextDelta("part")))
    run.emit(at(0, ToolStarted(ToolCall("1", "t"))))
    run.close()
    assert screen.rows == ["part"]
    screen.write("$ ")
    assert screen.rows == ["part", "$"]


def test_no_color_means_no_styles_and_live_lines_still(
    glass: Callable[..., Any], tool_run: list[Event], shown: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    screen = glass()
    shown(tool_run, ConsoleSink(stdout=screen, stderr=screen))
    raw = "".join(screen.raw)
    assert re.search(r"\x1b\[[\d;]*m", raw) is None
    assert "\x1b[J" in raw


@pytest.mark.parametrize("setting", ["TERM=dumb", "TTY_COMPATIBLE=0"])
def test_a_terminal_that_says_it_can_do_nothing_gets_plain_lines(
    setting: str,
    glass: Callable[..., Any],
    tool_run: list[Event],
    shown: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(*setting.split("="))
    screen = glass()
    shown(tool_run, ConsoleSink(stdout=screen, stderr=screen))
    assert "\x1b" not in "".join(screen.raw)
    assert "tool calculator -> 49 (0.20 s)" in screen.rows


def test_colour_that_is_asked_for_does_not_make_a_file_a_terminal(
    tool_run: list[Event], plain: Callable[..., tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in "".join(plain(tool_run))


def test_an_answer_into_a_file_does_not_disturb_the_terminal(
    glass: Callable[..., Any], tool_run: list[Event], shown: Callable[..., None]
) -> None:
    screen, paper = glass(), io.StringIO()
    shown(tool_run, ConsoleSink(stdout=paper, stderr=screen))
    assert paper.getvalue() == "Let me compute.\nIt is 49.\n"
    assert screen.rows == [
        "run demo on scripted:echo",
        "cycle 1",
        "│ A sum.",
        "│ I know a tool.",
        '+ calculator(expression="42 + 7") -> 49 (0.20 s)',
        "cycle 2",
        "done in 1.2 s, 1 tool call, 123 tokens",
    ]


def test_runs_side_by_side_share_the_terminal(glass: Callable[..., Any], at: At) -> None:
    screen = glass()
    sink = ConsoleSink(stdout=screen, stderr=screen)
    one, two = sink.open(RunInfo("1", "demo", "m")), sink.open(RunInfo("2", "demo", "m"))
    call = ToolCall("c", "t")
    one.emit(at(0, ToolStarted(call), run="1"))
    two.emit(at(0, ToolStarted(call), run="2"))
    two.emit(at(0, TextDelta("hello\n"), run="2"))
    one.emit(at(1, TextDelta("Streaming "), run="1"))
    two.emit(at(1, ReasoningDelta("hm"), run="2"))
    one.emit(at(1, TextDelta("on"), run="1"))
    two.emit(at(1, succeeded(call), run="2"))
    two.close()
    assert screen.rows == [
        "[demo] hello",
        "Streaming on",
        "[demo] hm",
        "[demo] + t() -> ok (0.50 s)",
        "▸ t() 1.00 s",
    ]
    one.close()
    assert RUNNING not in "".join(screen.rows)


# What a run may be made of, for the two tests below: text that no terminal and no emulator disagree about
# (they count the cells of joined emoji and of some scripts differently, which is the terminal's business).
WORDS = st.text(st.sampled_from("ab cd\n日本한é—"), max_size=60)
TOOLS = [ToolCall(str(number), f"tool{number}", {"n": number, "text": "日本 x" * number}) for number in range(6)]


@st.composite
def interleaved(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """Steps of up to six tools that run together, and of models that talk meanwhile, in any order that is possible."""
    steps: list[list[tuple[str, Any]]] = []
    for call in draw(st.lists(st.sampled_from(TOOLS), unique_by=lambda call: call.id, max_size=6)):
        progress = draw(st.lists(WORDS, max_size=3))
        steps.append(
            [
                ("root", ToolStarted(call)),
                *(("root", ToolProgress(call.id, note)) for note in progress),
                ("root", succeeded(call)),
            ]
        )
    steps.append([("root", TextDelta(text)) for text in draw(st.lists(WORDS, max_size=6))])
    steps.append([("root", ReasoningDelta(text)) for text in draw(st.lists(WORDS, max_size=6))])
    steps.append([("inner", TextDelta(text)) for text in draw(st.lists(WORDS, max_size=4))])
    order = draw(st.permutations([index for index, own in enumerate(steps) for _ in own]))
    queues = [iter(own) for own in steps]
    return [next(queues[index]) for index in order]


def stamped(at: At, steps: Sequence[tuple[str, Any]], gaps: Sequence[float]) -> list[Event]:
    """The steps as events, with these times between them."""
    clock = itertools.accumulate(itertools.cycle(gaps))
    return [
        at(now, step, run="run" if where == "root" else "inner", parent=None if where == "root" else "run")
        for (where, step), now in zip(steps, clock, strict=False)
    ]


# No deadline, and fewer examples than usual: an emulator in Python is slow, and slower on a busy machine.
WITH_CARE = settings(max_examples=60, deadline=None)
GAPS = st.lists(st.sampled_from([0.0, 0.01, 0.06, 3.0]), min_size=1, max_size=5)


@WITH_CARE
@given(steps=interleaved(), gaps=GAPS)
def test_parallel_tools_leave_each_line_once_in_whatever_order(
    steps: list[tuple[str, Any]], gaps: list[float], glass_80: Callable[[], Any], at: At
) -> None:
    screen = glass_80()
    run = opened(screen)
    running: set[str] = set()
    for event in stamped(at, steps, gaps):
        run.emit(event)
        if isinstance(event, ToolStarted):
            running.add(event.call.tool)
        if isinstance(event, ToolFinished):
            running.discard(f"tool{event.result.call_id}")
        live = [row.split("(")[0].removeprefix(f"{RUNNING} ") for row in screen.rows if row.startswith(RUNNING)]
        assert set(live) <= running
        assert len(live) == len(set(live))
    run.close()
    seen = "\n".join(screen.rows)
    for _, step in steps:
        if isinstance(step, ToolStarted):
            assert seen.count(f"+ {step.call.tool}(") == 1
    assert RUNNING not in seen


@WITH_CARE
@given(steps=interleaved(), gaps=GAPS)
def test_live_lines_leave_no_trace(
    steps: list[tuple[str, Any]], gaps: list[float], glass_80: Callable[[], Any], at: At
) -> None:
    """What is left at the end is what would be there if nothing had ever been live."""
    events = stamped(at, steps, gaps)
    screen, reference, paper = glass_80(), glass_80(), io.StringIO()
    run = opened(screen)
    for event in events:
        run.emit(event)
    _show(events, paper, 80, "normal")
    reference.write(paper.getvalue())
    assert screen.rows == reference.rows
