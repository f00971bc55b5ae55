"""The sink as core and the command line see it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from typing import TYPE_CHECKING, TextIO

import becket_console
import pytest
from becket import ConfigError, ModelFinished, ReasoningDelta, RunInfo, Sink, SinkRun, TextDelta
from becket_console import ConsoleSink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from becket import Event

    At = Callable[..., Event]

RUN = RunInfo("run", "demo", "m")


@pytest.fixture
def unread() -> Iterator[TextIO]:
    """A pipe whose reader is gone."""
    read, write = os.pipe()
    stream = os.fdopen(write, "w", encoding="utf-8")
    os.close(read)
    yield stream
    # What could not be written is still in the stream; a program has to get rid of it in the same way before it ends.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
    stream.close()


def test_the_hook_offers_one_sink() -> None:
    (sink,) = becket_console.register_sinks()
    assert isinstance(sink, Sink)
    assert (sink.name, sink.required) == ("console", False)
    assert isinstance(sink.open(RUN), SinkRun)


def test_importing_the_plugin_and_plain_output_do_without_rich() -> None:
    code = (
        "import sys, io, becket_console as c, becket as b\n"
        "run = c.ConsoleSink(stdout=io.StringIO(), stderr=io.StringIO()).open(b.RunInfo('r', 'a', 'm'))\n"
        "run.emit(b.TextDelta('x', run_id='r'))\n"
        "run.close()\n"
        "print('rich' in sys.modules)"
    )
    done = subprocess.run(  # noqa: S603 - this very interpreter, on the text above
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


@pytest.mark.parametrize("argument", ["", "loud", "quiet "])
def test_an_argument_it_does_not_know_is_refused_with_what_it_knows(argument: str) -> None:
    with pytest.raises(ConfigError, match=r"does not know .*console:quiet"):
        ConsoleSink().with_argument(argument)


def test_an_argument_sets_the_level_and_keeps_the_rest(at: At) -> None:
    stdout, stderr = io.StringIO(), io.StringIO()
    sink = ConsoleSink(stdout=stdout, stderr=stderr, answer="stderr").with_argument("verbose")
    run = sink.open(RUN)
    run.emit(at(0, TextDelta("x")))
    run.emit(at(0, ModelFinished("end_turn")))
    assert (stdout.getvalue(), stderr.getvalue().splitlines()[0]) == ("", "x")
    assert "model stopped: end_turn" in stderr.getvalue()


def test_the_standard_streams_are_those_of_the_moment_a_run_begins(at: At, capsys: pytest.CaptureFixture[str]) -> None:
    sink = ConsoleSink()
    for text in ("one", "two"):
        run = sink.open(RUN)
        run.emit(at(0, TextDelta(text)))
        run.close()
        assert capsys.readouterr() == (f"{text}\n", "")


def test_an_answer_that_goes_nowhere_stays_away_from_runs_side_by_side_too(at: At) -> None:
    stdout, stderr = io.StringIO(), io.StringIO()
    sink = ConsoleSink(stdout=stdout, stderr=stderr, answer="none")
    for name in ("1", "2"):
        sink.open(RunInfo(name, "demo", "m")).emit(at(0, TextDelta("x\n"), run=name))
    assert stdout.getvalue() + stderr.getvalue() == ""


def test_a_sink_that_is_named_twice_shows_a_run_once(at: At) -> None:
    stdout = io.StringIO()
    sink = ConsoleSink(stdout=stdout, stderr=io.StringIO())
    runs = [sink.open(RUN), sink.open(RUN)]
    for run in runs:
        run.emit(at(0, TextDelta("x\n")))
    for run in runs:
        run.close()
    assert stdout.getvalue() == "x\n"


def test_a_fragment_is_there_at_once(at: At) -> None:
    raw = io.BytesIO()
    run = ConsoleSink(stdout=io.TextIOWrapper(raw, encoding="utf-8"), stderr=io.StringIO()).open(RUN)
    run.emit(at(0, TextDelta("no newline yet")))
    assert raw.getvalue() == b"no newline yet"


def test_a_pipe_that_nobody_reads_is_an_error_for_whoever_emits(at: At, unread: TextIO) -> None:
    run = ConsoleSink(stdout=unread, stderr=io.StringIO()).open(RUN)
    with pytest.raises(BrokenPipeError):
        run.emit(at(0, TextDelta("x")))
    run.close()


def test_a_host_can_have_that_error_told_once_and_hears_no_more(at: At, unread: TextIO) -> None:
    told: list[BrokenPipeError] = []
    stderr = io.StringIO()
    run = ConsoleSink(stdout=unread, stderr=stderr, on_broken_pipe=told.append).open(RUN)
    for text in ("x", "y"):
        run.emit(at(0, TextDelta(text)))
    run.emit(at(0, ModelFinished("end_turn", confidence=0.5)))
    run.close()
    assert len(told) == 1
    assert isinstance(told[0], BrokenPipeError)
    assert stderr.getvalue() == ""


def test_a_broken_pipe_is_told_once_for_runs_side_by_side(at: At, unread: TextIO) -> None:
    told: list[BrokenPipeError] = []
    sink = ConsoleSink(stdout=unread, stderr=unread, on_broken_pipe=told.append)
    one, two = sink.open(RUN), sink.open(RunInfo("two", "demo", "m"))
    two.emit(at(0, TextDelta("held"), run="two"))
    assert told == []
    one.emit(at(0, TextDelta("x")))
    one.close()
    two.close()
    assert len(told) == 1


def test_a_pipe_that_breaks_at_the_very_end_is_told_too(at: At, unread: TextIO) -> None:
    told: list[BrokenPipeError] = []
    run = ConsoleSink(stdout=io.StringIO(), stderr=unread, on_broken_pipe=told.append).open(RUN)
    run.emit(at(0, ModelFinished("end_turn")))
    # Plain output holds reasoning back until its line is over.
    run.emit(at(0, ReasoningDelta("held")))
    assert told == []
    run.close()
    assert len(told) == 1


def test_without_a_host_to_tell_the_end_raises_and_the_sink_is_free_again(at: At, unread: TextIO) -> None:
    stdout, stderr = io.StringIO(), unread
    sink = ConsoleSink(stdout=stdout, stderr=stderr)
    run = sink.open(RUN)
    run.emit(at(0, ReasoningDelta("held")))
    with pytest.raises(BrokenPipeError):
        run.close()
    sink.open(RunInfo("next", "demo", "m")).emit(at(0, TextDelta("streams\n"), run="next"))
    assert stdout.getvalue() == "streams\n"


def test_after_a_broken_pipe_a_sink_can_show_another_run(at: At, unread: TextIO) -> None:
    sink = ConsoleSink(stdout=unread, stderr=io.StringIO())
    run = sink.open(RUN)
    with pytest.raises(BrokenPipeError):
        run.emit(at(0, TextDelta("x")))
    run.close()
    again = sink.open(RUN)
    with pytest.raises(BrokenPipeError):
        again.emit(at(0, TextDelta("y")))


def test_other_failures_of_a_stream_are_not_hidden(at: At) -> None:
    stdout = io.StringIO()
    stdout.close()
    run = ConsoleSink(stdout=stdout, stderr=io.StringIO(), on_broken_pipe=lambda _: None).open(RUN)
    with pytest.raises(ValueError, match="closed"):
        run.emit(at(0, TextDelta("x")))
