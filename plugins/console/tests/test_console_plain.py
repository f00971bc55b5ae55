"""Plain lines: what a file, a pipe or a log gets."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from becket import (
    AgentResult,
    CycleStarted,
    DecisionMade,
    DecisionRequested,
    ErrorInfo,
    Image,
    Json,
    MalformedArguments,
    Message,
    MessageAdded,
    ModelFinished,
    ModelStarted,
    OutputPartial,
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
    UnknownEvent,
    Usage,
)
from becket_console import ConsoleSink

if TYPE_CHECKING:
    from collections.abc import Callable

    from becket import Event

    At = Callable[..., Event]
    Plain = Callable[..., tuple[str, str]]


def test_a_run_with_a_tool_reads_like_this(plain: Plain, tool_run: list[Event]) -> None:
    stdout, stderr = plain(tool_run)
    assert stdout == "Let me compute.\nIt is 49.\n"
    assert stderr.splitlines() == [
        "run demo on scripted:echo",
        "cycle 1",
        "reasoning: A sum.",
        "reasoning: I know a tool.",
        'tool calculator(expression="42 + 7")',
        'tool calculator: {"percent": 50}',
        "tool calculator -> 49 (0.20 s)",
        "cycle 2",
        "done in 1.2 s, 1 tool call, 123 tokens",
    ]


def test_quiet_is_the_answer_and_nothing_else(plain: Plain, tool_run: list[Event]) -> None:
    assert plain(tool_run, level="quiet") == ("Let me compute.\nIt is 49.\n", "")


def test_verbose_tells_of_each_model_call(plain: Plain, tool_run: list[Event]) -> None:
    _, stderr = plain(tool_run, level="verbose")
    lines = stderr.splitlines()
    assert "model scripted:echo, 1 message, tools: calculator" in lines
    assert "model stopped: tool_use, 20 tokens in, 10 out, first after 0.10 s, 0.60 s" in lines
    assert "model stopped: end_turn, 40 tokens in, 53 out, 0.40 s" in lines


def test_verbose_counts_what_was_cached_and_what_was_thought(plain: Plain, at: At) -> None:
    _, stderr = plain([at(0, ModelFinished("end_turn", Usage(1200, 30, 1000, 20)))], level="verbose")
    assert "1,200 tokens in, 30 out, 1,000 cached, 20 on reasoning" in stderr


def test_the_answer_can_go_to_the_other_stream_or_nowhere(plain: Plain, at: At) -> None:
    events = [at(0, TextDelta("hello")), at(0, ModelFinished("end_turn"))]
    assert plain(events, answer="stderr") == ("", "hello\n")
    assert plain(events, answer="none") == ("", "")


def test_an_answer_that_ends_with_a_newline_gets_no_second_one(plain: Plain, at: At) -> None:
    assert plain([at(0, TextDelta("a\n")), at(0, ModelFinished("end_turn"))]) == ("a\n", "")


def test_an_empty_fragment_opens_no_line(plain: Plain, at: At) -> None:
    assert plain([at(0, TextDelta("")), at(0, ReasoningDelta("")), at(0, ModelFinished("end_turn"))]) == ("", "")


def test_reasoning_comes_line_by_line(plain: Plain, at: At) -> None:
    events = [at(0, ReasoningDelta(text)) for text in ("a", "b\n", "\nc")]
    assert plain(events) == ("", "reasoning: ab\nreasoning: \nreasoning: c\n")


def test_a_run_that_is_cut_off_shows_what_was_held_of_a_line(at: At) -> None:
    stderr = io.StringIO()
    sink = ConsoleSink(stdout=io.StringIO(), stderr=stderr)
    _, second = sink.open(RunInfo("1", "demo", "m")), sink.open(RunInfo("2", "demo", "m"))
    second.emit(at(0, TextDelta("half a li"), run="2"))
    second.close()
    assert stderr.getvalue() == "[demo] half a li\n"


def test_streams_that_are_one_file_get_whole_lines(at: At, shown: Callable[..., None]) -> None:
    paper = io.StringIO()
    shown(
        [
            at(0, TextDelta("an answer, and")),
            at(0, ReasoningDelta("a thought")),
            at(0, TextDelta("more of it")),
            at(0, ModelFinished("end_turn")),
        ],
        ConsoleSink(stdout=paper, stderr=paper),
    )
    assert paper.getvalue() == "an answer, and\nreasoning: a thought\nmore of it\n"


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (ToolResult("c", "success", (Text("49"),)), "tool t -> 49 (0.25 s)"),
        (ToolResult("c", "error", (Text("no route"),)), "tool t failed: no route (0.25 s)"),
        (ToolResult("c", "interrupted", (Text("cancelled"),)), "tool t interrupted: cancelled (0.25 s)"),
        (ToolResult("c", "denied", (Text("not allowed"),)), "tool t denied: not allowed (0.25 s)"),
        (ToolResult("c", "success", ()), "tool t done (0.25 s)"),
        (ToolResult("c", "success", (Json({"a": [1, None]}),)), 'tool t -> {"a": [1, null]} (0.25 s)'),
        (ToolResult("c", "success", (Image("image/png", "AA=="),)), "tool t -> [image image/png] (0.25 s)"),
        (ToolResult("c", "success", (Text("a"), Text("b\tc"))), "tool t -> a\\nb\\tc (0.25 s)"),
    ],
)
def test_every_end_of_a_tool_has_its_word(result: ToolResult, line: str, plain: Plain, at: At) -> None:
    _, stderr = plain([at(0, ToolStarted(ToolCall("c", "t"))), at(0, ToolFinished(result, 0.25))])
    assert stderr.splitlines()[-1] == line


def test_long_arguments_and_results_are_cut(plain: Plain, at: At) -> None:
    call = ToolCall("c", "t", {"text": "x" * 10_000, "more": "y"})
    result = ToolResult("c", "success", (Text("z" * 10_000), Text("unseen")))
    _, stderr = plain([at(0, ToolStarted(call)), at(0, ToolFinished(result))])
    start, end = stderr.splitlines()
    assert len(start) == len("tool t()") + 100
    assert start.endswith("x...)")
    assert end == f"tool t -> {'z' * 197}... (0.00 s)"


def test_calls_of_one_tool_at_once_are_told_apart_by_their_arguments(plain: Plain, at: At) -> None:
    one, two = ToolCall("1", "t", {"n": 1}), ToolCall("2", "t", {"n": 2})
    _, stderr = plain(
        [
            at(0, ToolStarted(one)),
            at(0, ToolStarted(two)),
            at(0, ToolFinished(ToolResult("2", "success", (Text("b"),)))),
            at(0, ToolFinished(ToolResult("1", "success", (Text("a"),)))),
        ]
    )
    assert stderr.splitlines()[2:] == ["tool t(n=2) -> b (0.00 s)", "tool t(n=1) -> a (0.00 s)"]


def test_a_call_that_never_ran_is_named_all_the_same(plain: Plain, at: At) -> None:
    call = ToolCall("c", "weather", malformed=MalformedArguments("{", "EOF while parsing"))
    _, stderr = plain(
        [
            at(0, MessageAdded(Message("assistant", (call,)))),
            at(0, ToolFinished(ToolResult("c", "error", (Text("the arguments are no JSON object"),)))),
        ]
    )
    assert stderr == "tool weather failed: the arguments are no JSON object (0.00 s)\n"


def test_malformed_arguments_are_called_so(plain: Plain, at: At) -> None:
    call = ToolCall("c", "weather", malformed=MalformedArguments("{", "EOF while parsing"))
    _, stderr = plain([at(0, ToolStarted(call))])
    assert stderr == "tool weather(malformed: EOF while parsing)\n"


def test_a_result_for_a_call_that_was_not_seen_is_shown_by_its_id(plain: Plain, at: At) -> None:
    _, stderr = plain([at(0, ToolFinished(ToolResult("call-7", "success", (Text("x"),))))])
    assert stderr == "tool call-7 -> x (0.00 s)\n"


def test_progress_is_a_line_at_most_once_a_second(plain: Plain, at: At) -> None:
    events = [at(0, ToolStarted(ToolCall("c", "t")))]
    events += [at(tenth / 10, ToolProgress("c", tenth)) for tenth in range(25)]
    _, stderr = plain(events)
    assert stderr.splitlines()[1:] == ["tool t: 0", "tool t: 10", "tool t: 20"]


def test_progress_of_a_call_that_was_not_seen_is_left_out(plain: Plain, at: At) -> None:
    assert plain([at(0, ToolProgress("c", 1))]) == ("", "")


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("limit_cycles", "stopped: limit_cycles (the limit on cycles was reached) after 90.0 s"),
        ("cancelled", "stopped: cancelled (the run was cancelled) after 90.0 s"),
        ("interrupted", "stopped: interrupted (the run waits for a decision) after 90.0 s"),
    ],
)
def test_every_other_ending_is_said_in_words_even_quietly(reason: str, said: str, plain: Plain, at: At) -> None:
    said = said.replace("90.0 s", "1 min 30 s")
    result = AgentResult(reason)  # type: ignore[arg-type]  # the parameters are stop reasons
    events = [at(0, RunStarted("demo", "m", ())), at(90, RunFinished(result))]
    assert plain(events, level="quiet") == ("", said + "\n")


def test_an_end_that_this_version_has_no_words_for_is_named(plain: Plain, at: At) -> None:
    _, stderr = plain([at(0, RunStarted("demo", "m", ())), at(1, RunFinished(AgentResult("tool_use")))])
    assert stderr.splitlines()[-1] == "stopped: tool_use after 1.0 s"


def test_a_failed_run_gives_kind_message_and_time(plain: Plain, at: At) -> None:
    error = ErrorInfo("ProviderError", "503: overloaded", retryable=True)
    _, stderr = plain([at(0, RunStarted("demo", "m", ())), at(2, RunFailed(error))], level="quiet")
    assert stderr == "failed: ProviderError: 503: overloaded (the same run may succeed later) (2.0 s)\n"


def test_a_clock_that_was_set_back_gives_no_negative_time(plain: Plain, at: At) -> None:
    _, stderr = plain([at(5, RunStarted("demo", "m", ())), at(0, RunFinished(AgentResult("end_turn")))])
    assert stderr.splitlines()[-1] == "done in 0.0 s"


def test_confidence_is_shown_where_the_model_gives_it(plain: Plain, at: At) -> None:
    assert plain([at(0, ModelFinished("end_turn", confidence=0.834))]) == ("", "confidence 0.83\n")


def test_a_retry_ends_the_line_and_says_that_it_is_void(plain: Plain, at: At) -> None:
    stdout, stderr = plain(
        [
            at(0, CycleStarted()),
            at(0, TextDelta("It is fo")),
            at(1, RetryScheduled("connection lost", 1.5, 2)),
            at(2.5, ModelStarted("m", 1), attempt=2),
            at(3, TextDelta("It is 49."), attempt=2),
            at(3, ModelFinished("end_turn"), attempt=2),
        ]
    )
    assert stdout == "It is fo\nIt is 49.\n"
    assert stderr.splitlines() == [
        "cycle 1",
        "model call failed: connection lost; next attempt in 1.5 s",
        "retrying, attempt 2; what it said above is void",
    ]


def test_a_retry_of_a_tool_call_is_said_of_the_tool(plain: Plain, at: At) -> None:
    _, stderr = plain(
        [
            at(0, ToolStarted(ToolCall("c", "send", {"to": "ann"}))),
            at(1, RetryScheduled("the queue is full", 0.5, 2, "c")),
            at(2, RetryScheduled("the queue is full", 1.0, 2, "lost")),
        ]
    )
    assert stderr.splitlines()[1:] == [
        "tool send failed: the queue is full; next attempt in 0.5 s",
        "tool lost failed: the queue is full; next attempt in 1.0 s",
    ]


def test_a_new_attempt_is_noticed_by_its_first_fragment_too(plain: Plain, at: At) -> None:
    stdout, stderr = plain([at(0, CycleStarted()), at(0, TextDelta("a")), at(1, TextDelta("b"), attempt=2)])
    assert stdout == "a\nb\n"
    assert stderr.splitlines()[1:] == ["retrying, attempt 2; what it said above is void"]


def test_nothing_is_called_void_where_nothing_was_said(plain: Plain, at: At) -> None:
    _, stderr = plain([at(0, CycleStarted()), at(0, ModelStarted("m", 1), attempt=2)])
    assert stderr.splitlines()[1:] == ["retrying, attempt 2"]


def test_a_run_resumed_in_a_later_attempt_is_no_retry(plain: Plain, at: At) -> None:
    _, stderr = plain([at(0, CycleStarted(), attempt=3), at(0, ModelStarted("m", 1), attempt=3)])
    assert stderr == "cycle 1\n"


def test_a_log_without_deltas_shows_its_messages(plain: Plain, at: At) -> None:
    stdout, _ = plain([at(0, CycleStarted()), at(0, MessageAdded(Message("assistant", (Text("It is 49."),))))])
    assert stdout == "It is 49.\n"


def test_decisions_are_asked_for_and_told(plain: Plain, at: At) -> None:
    call = ToolCall("c", "delete", {"path": "a.txt"})
    _, stderr = plain(
        [
            at(0, DecisionRequested("d", "approve_tool", call, why="it writes")),
            at(1, DecisionMade("d", "allow", by="policy", call_id="c")),
            at(1, DecisionMade("unknown", "deny")),
            at(1, DecisionRequested("e", "budget")),
        ]
    )
    assert stderr.splitlines() == [
        'decision needed, approve_tool for delete(path="a.txt"): it writes',
        "decision: allow by policy",
        "decision: deny",
        "decision needed, budget",
    ]


def test_what_plugins_say_is_a_line(plain: Plain, at: At) -> None:
    _, stderr = plain(
        [
            at(0, RunStarted("demo", "local:needle", ())),
            at(0, PluginEvent("local", "loading")),
            at(0, PluginEvent("other", "loading")),
            at(1, PluginEvent("local", "loaded", {"seconds": 1})),
            at(1, PluginEvent("local", "ready")),
            at(1, PluginFailed("journal", "sink.emit_batch", "OSError: disk full", "becket-journal 0.1")),
            at(1, PluginFailed("tap", "sink.emit", "ValueError: x")),
        ]
    )
    assert stderr.splitlines()[1:] == [
        "loading local:needle ...",
        "loading other ...",
        "loaded local:needle in 1.00 s",
        "local: ready",
        "plugin journal (becket-journal 0.1) failed in sink.emit_batch: OSError: disk full",
        "plugin tap failed in sink.emit: ValueError: x",
    ]


def test_events_without_a_line_of_their_own_are_passed_over(plain: Plain, at: At) -> None:
    events = [
        at(0, UnknownEvent("later", {"a": 1})),
        at(0, OutputPartial({"a": 1})),
        at(0, ToolCallDelta("c", "t", "{")),
        at(0, ReasoningDelta(signature="seal")),
    ]
    assert plain(events) == ("", "")


def test_two_thoughts_stand_in_lines_of_their_own(plain: Plain, at: At) -> None:
    """A service that sums up what its model thinks sends several in a row, without a line end between them."""
    events = [at(0, ReasoningDelta(text, block)) for text, block in (("one", 0), (" thought", 0), ("another", 1))]
    assert plain(events) == ("", "reasoning: one thought\nreasoning: another\n")


def test_redacted_reasoning_is_mentioned(plain: Plain, at: At) -> None:
    assert plain([at(0, ReasoningDelta(redacted="AAAA"))]) == ("", "reasoning, redacted by the service\n")


def test_nested_runs_are_indented_and_labelled(plain: Plain, at: At) -> None:
    inner = {"run": "inner", "parent": "run"}
    stdout, stderr = plain(
        [
            at(0, RunStarted("demo", "m", ())),
            at(0, RunStarted("researcher", "m", ()), **inner),
            at(0, TextDelta("from the "), **inner),
            at(0, TextDelta("outer")),
            at(0, TextDelta("inner\nand"), **inner),
            at(0, ModelFinished("end_turn"), **inner),
            at(0, ModelFinished("end_turn")),
            at(1, RunFinished(AgentResult("end_turn")), **inner),
        ]
    )
    assert stdout == "outer\n"
    assert stderr.splitlines() == [
        "run demo on m",
        "  [researcher] run researcher on m",
        "  [researcher] from the inner",
        "  [researcher] and",
        "  [researcher] done in 1.0 s",
    ]


def test_nested_runs_of_one_agent_are_numbered(plain: Plain, at: At) -> None:
    _, stderr = plain(
        [
            at(0, RunStarted("worker", "m", ()), run="a", parent="run"),
            at(0, RunStarted("worker", "m", ()), run="b", parent="run"),
            at(0, RunStarted("worker", "m", ()), run="c", parent="b"),
        ]
    )
    assert stderr.splitlines() == [
        "  [worker] run worker on m",
        "  [worker 2] run worker on m",
        "    [worker 3] run worker on m",
    ]


def test_quietly_a_nested_run_says_nothing(plain: Plain, at: At) -> None:
    inner = {"run": "inner", "parent": "run"}
    events = [at(0, TextDelta("x"), **inner), at(0, MessageAdded(Message("assistant", (Text("x"),))), **inner)]
    assert plain(events, level="quiet") == ("", "")


def test_a_thought_and_a_text_of_a_nested_run_are_lines_of_their_own(plain: Plain, at: At) -> None:
    inner = {"run": "inner", "parent": "run"}
    events = [
        at(0, RunStarted("sub", "m", ()), **inner),
        at(0, ReasoningDelta("hm"), **inner),
        at(0, TextDelta("yes"), **inner),
        at(0, ModelFinished("end_turn"), **inner),
    ]
    assert plain(events)[1].splitlines()[1:] == ["  [sub] hm", "  [sub] yes"]


def test_runs_side_by_side_keep_their_lines_apart(at: At) -> None:
    stdout, stderr = io.StringIO(), io.StringIO()
    sink = ConsoleSink(stdout=stdout, stderr=stderr, level="quiet")
    one, two, three = (sink.open(RunInfo(name, "demo", "m")) for name in ("1", "2", "3"))
    one.emit(at(0, TextDelta("first"), run="1"))
    two.emit(at(0, TextDelta("sec"), run="2"))
    three.emit(at(0, TextDelta("third\n"), run="3"))
    two.emit(at(0, TextDelta("ond"), run="2"))
    two.emit(at(0, ModelFinished("end_turn"), run="2"))
    for run in (one, two, three):
        run.close()
    assert stdout.getvalue() == "first\n"
    assert stderr.getvalue() == "[demo 2] third\n[demo] second\n"
