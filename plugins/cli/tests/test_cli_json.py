"""`becket run --json`: the events of a run, for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from becket import RunFailed, RunFinished, RunStarted, TextDelta, event_from_json

if TYPE_CHECKING:
    from becket import Event


def events(output: str) -> list[Event]:
    return [event_from_json(line) for line in output.splitlines()]


def test_each_line_is_an_event_that_can_be_read_back(becket: Any) -> None:
    ended = becket("run", "--json", "-m", "fake:hello", "hi")
    read = events(ended.stdout)
    assert ended.returncode == 0
    assert isinstance(read[0], RunStarted)
    assert isinstance(read[-1], RunFinished)
    assert "".join(event.text for event in read if isinstance(event, TextDelta)) == "Hello, world."
    assert [event.seq for event in read] == list(range(1, len(read) + 1))


def test_the_console_shows_all_but_the_answer_on_standard_error(becket: Any) -> None:
    ended = becket("run", "--json", "-m", "fake:hello", "hi")
    assert "run agent on fake:hello" in ended.stderr
    assert "Hello" not in ended.stderr


@pytest.mark.parametrize("sinks", [("--sink", "fake"), ("--sink", "console"), ("-p", "no:console")], ids=" ".join)
def test_nothing_but_events_is_on_standard_output(becket: Any, sinks: tuple[str, ...]) -> None:
    ended = becket("run", "--json", *sinks, "-m", "fake:printer", "hi")
    assert isinstance(events(ended.stdout)[-1], RunFinished)


def test_a_run_that_fails_ends_in_its_event_and_its_exit_code(becket: Any) -> None:
    ended = becket("run", "--json", "-p", "no:console", "-m", "fake:fails", "hi")
    last = events(ended.stdout)[-1]
    assert ended.returncode == 1
    assert isinstance(last, RunFailed)
    assert ended.stderr == "becket: the run failed: the service is down\n"


def test_events_are_utf_8_whatever_the_locale_says(becket: Any) -> None:
    becket.env |= {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    ended = becket("run", "--json", "-m", "fake:said", "gr\u00fc\u00df dich \u4f60\u597d")
    assert "\u4f60\u597d" in ended.stdout


def test_events_come_as_they_happen(becket: Any) -> None:
    """The event of a tool that runs is read while it runs: were it held back, this would wait for ever."""
    running = becket.start("run", "--json", "-q", "-m", "fake:sleeper", "hi")
    with running:
        assert running.stdout is not None
        for line in running.stdout:
            if event_from_json(line).type == "tool_started":
                break
        running.terminate()
        read = events(running.stdout.read())
    assert isinstance(read[-1], RunFinished)
    assert read[-1].result.stop_reason == "cancelled"
    assert running.returncode == 143


MASKING = """
from becket import ProviderError, hookimpl
from becket.testing import ScriptedProvider

class Leaky:
    name = "leaky"
    default_model = "leaky"

    def models(self):
        return []

    def stream(self, request):
        return ScriptedProvider([ProviderError("the key hunter2 is refused", provider="leaky")]).stream(request)

    async def aclose(self):
        pass

class Masks:
    name = "masks"

    def mask(self, text):
        return text.replace("hunter2", "[masked]")

    def open(self):
        raise AssertionError("nothing is streamed")

@hookimpl
def register_providers():
    return [Leaky()]

@hookimpl
def register_masks():
    return [Masks()]
"""


@pytest.mark.parametrize("options", [("--json", "-p", "no:console"), ("--sink", "fake")], ids=" ".join)
def test_what_the_command_itself_says_of_a_failed_run_is_masked(becket: Any, options: tuple[str, ...]) -> None:
    becket.install("leaky", MASKING)
    ended = becket("run", *options, "-m", "leaky", "hi")
    assert ended.returncode == 1
    assert "becket: the run failed: the key [masked] is refused\n" in ended.stderr
    assert "hunter2" not in ended.stdout + ended.stderr
