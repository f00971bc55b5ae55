"""`becket run`: what goes where, what is granted, and with which exit code it ends."""

from __future__ import annotations

import os
from typing import Any

import pytest


def test_the_answer_alone_is_on_standard_output(becket: Any) -> None:
    ended = becket("run", "-m", "fake:hello", "hi")
    assert (ended.returncode, ended.stdout) == (0, "Hello, world.\n")
    assert "fake:hello" in ended.stderr


def test_a_quiet_run_that_goes_well_says_nothing_on_standard_error(becket: Any) -> None:
    ended = becket("run", "-q", "-m", "fake:hello", "hi")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "Hello, world.\n", "")


def test_a_verbose_run_tells_of_tokens(becket: Any) -> None:
    assert "10 tokens in" in becket("run", "-v", "-m", "fake:hello", "hi").stderr


# Prompt


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_the_prompt_is_read_from_a_pipe(becket: Any, arguments: tuple[str, ...]) -> None:
    ended = becket("run", "-q", "-m", "fake:said", *arguments, input="from a pipe\n")
    assert ended.stdout.endswith("prompt=from a pipe\n")


def test_a_prompt_given_as_argument_leaves_standard_input_alone(becket: Any) -> None:
    read, write = os.pipe()  # never closed while the command runs: it would wait for ever if it read
    try:
        ended = becket("run", "-q", "-m", "fake:said", "argument", stdin=read)
    finally:
        os.close(read)
        os.close(write)
    assert ended.stdout.endswith("prompt=argument\n")


def test_a_byte_order_mark_is_no_part_of_the_prompt(becket: Any) -> None:
    ended = becket("run", "-q", "-m", "fake:said", input="\ufeffhi")
    assert ended.stdout.endswith("prompt=hi\n")


@pytest.mark.parametrize(
    ("arguments", "more", "says"),
    [
        (("",), {}, "empty"),
        ((" \n\t",), {}, "empty"),
        ((), {}, "standard input is empty"),
        (("-",), {"input": "  \n"}, "standard input is empty"),
        ((), {"input": b"\x7fELF\xff\xfe", "encoding": None}, "0xff at offset 4"),
        ((), {"input": b"a\0b", "encoding": None}, "NUL byte at offset 1"),
    ],
    ids=["empty", "blank", "no input", "blank input", "no UTF-8", "NUL"],
)
def test_a_prompt_that_is_none_is_a_usage_error(
    becket: Any, arguments: tuple[str, ...], more: dict[str, Any], says: str
) -> None:
    ended = becket("run", "-m", "fake:hello", *arguments, **more)
    assert ended.returncode == 2
    assert says in str(ended.stderr)
    assert not ended.stdout


def test_a_closed_standard_input_is_named(becket: Any) -> None:
    ended = becket.shell("becket run -m fake:hello <&-")
    assert ended.returncode == 2
    assert "standard input is closed" in ended.stderr


def test_a_lone_surrogate_in_the_prompt_is_replaced(becket: Any) -> None:
    ended = becket("run", "-q", "-m", "fake:said", b"a\xffb")
    assert ended.stdout.endswith("prompt=a\ufffdb\n")


def test_a_lone_surrogate_in_a_name_is_quoted_in_the_message(becket: Any) -> None:
    ended = becket("run", "-m", b"\xff", "hi")
    assert ended.returncode == 3
    assert "there is no provider '\\udcff'" in ended.stderr


# Options


def test_the_system_prompt_reaches_the_model(becket: Any) -> None:
    assert becket("run", "-q", "-m", "fake:said", "--system", "Be brief", "hi").stdout.startswith("system=Be brief ")


def test_options_of_the_model_reach_it(becket: Any) -> None:
    ended = becket("run", "-q", "-m", "fake:options", "--temperature", "0.5", "--max-tokens", "7", "hi")
    assert ended.stdout == "0.5 7\n"


def test_the_environment_names_the_model(becket: Any) -> None:
    becket.env["BECKET_MODEL"] = "fake:hello"
    assert becket("run", "-q", "hi").stdout == "Hello, world.\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--timeout", "nan"),
        ("--timeout", "0"),
        ("--timeout", "inf"),
        ("--limit-cycles", "0"),
        ("--temperature", "-1"),
        ("--sink", "console", "-q"),
        ("--nonsense",),
    ],
    ids=" ".join,
)
def test_an_option_that_makes_no_sense_is_a_usage_error(becket: Any, arguments: tuple[str, ...]) -> None:
    ended = becket("run", "-m", "fake:hello", *arguments, "hi")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "Error: " in ended.stderr


# Tools


@pytest.mark.parametrize(
    ("arguments", "granted", "missing"),
    [
        ((), {"ready", "sleeper"}, {"writer", "remote"}),
        (("-t", "writer"), {"ready", "writer"}, {"remote"}),
        (("-t", "writer,remote", "-t", "ready"), {"ready", "writer", "remote"}, set()),
        (("-t", "none"), set(), {"ready", "writer", "remote"}),
        (("-t", "none", "-t", "writer"), {"writer"}, {"ready"}),
        (("--no-tools", "-t", "becket-fake:ready"), {"ready"}, {"sleeper"}),
    ],
    ids=["default", "one more", "several more", "none", "only one", "only one, by its plugin"],
)
def test_tools_that_change_or_reach_out_are_granted_by_name_alone(
    becket: Any, arguments: tuple[str, ...], granted: set[str], missing: set[str]
) -> None:
    offered = set(becket("run", "-q", "-m", "fake:tools", *arguments, "hi").stdout.split())
    assert granted <= offered
    assert not missing & offered


def test_a_tool_that_no_model_can_be_told_of_does_not_stop_a_run(becket: Any) -> None:
    becket.install(
        "odd",
        "from becket import tool\n\n@tool(effect='none')\ndef odd(x: 'Missing') -> str:\n    'Odd.'\n    return ''\n",
    )
    ended = becket("run", "-q", "-m", "fake:tools", "hi")
    assert ended.returncode == 0
    assert "odd" not in ended.stdout.split()
    assert "becket: the tool 'odd' is left out: " in ended.stderr


def test_two_tools_of_one_name_do_not_stop_a_run_that_asks_for_neither(becket: Any) -> None:
    becket.install("twin", "from becket import tool\n\n@tool(effect='none')\ndef ready() -> str:\n    return ''\n")
    ended = becket("run", "-q", "-m", "fake:tools", "hi")
    assert ended.returncode == 0
    assert "ready" not in ended.stdout.split()
    assert "becket-twin" in ended.stderr
    assert "becket-fake" in ended.stderr


def test_what_a_tool_prints_is_kept_out_of_the_answer(becket: Any) -> None:
    ended = becket("run", "-q", "-m", "fake:printer", "hi")
    assert ended.stdout == "done\n"
    assert "printed by a tool\n" in ended.stderr
    assert "printed by a program\n" in ended.stderr


# How it ends


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("-m", "fake:fails"), 1, "the service is down"),
        (("-m", "fake:breaks"), 1, "ValueError: a bug in a provider"),
        (("-m", "fake:exits"), 1, "SystemExit"),
        (("-m", "fake:filtered"), 1, "content_filtered"),
        (("-m", "fake:refuses"), 3, "no model of that name"),
        (("-m", "fake:cut"), 4, "max_tokens"),
        (("-m", "fake:forever", "--limit-cycles", "2"), 4, "limit_cycles"),
        (("-m", "fake:forever", "--limit-tool-calls", "2"), 4, "limit_tool_calls"),
        (("-m", "fake:forever", "--limit-tokens", "50"), 4, "limit_tokens"),
        (("-m", "fake:sleeper", "--timeout", "0.2"), 4, "limit_time"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
@pytest.mark.parametrize("sinks", [(), ("--sink", "fake")], ids=["console", "another sink"])
def test_how_a_run_has_ended_is_said_once(
    becket: Any, arguments: tuple[str, ...], code: int, says: str, sinks: tuple[str, ...]
) -> None:
    ended = becket("run", *sinks, *arguments, "hi")
    assert ended.returncode == code
    assert ended.stderr.count(says) == 1
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-m", "nowhere:x"), "there is no provider 'nowhere'"),
        (("-m", "fake"), "has no default model"),
        (("-m", "fake:hello", "-t", "redy"), "did you mean 'ready'?"),
        (("-m", "fake:hello", "--sink", "nowhere"), "there is no sink 'nowhere'"),
        (("-m", "fake:hello", "--sink", "console:loud"), "does not know 'loud'"),
        (("-m", "fake:hello", "-p", "nowhere"), "'nowhere' is required, and it is not installed"),
        (("-m", "fake:hello", "-p", "no:fake"), "becket-fake 1.0 is blocked"),
        (("-m", "fake:hello", "-p", "no:console"), "becket-console 0.1.0 is blocked"),
        (("-p", "no:local"), "-m provider:model"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_name_that_is_not_known_is_an_error_of_configuration(
    becket: Any, arguments: tuple[str, ...], says: str
) -> None:
    ended = becket("run", *arguments, "hi")
    assert (ended.returncode, ended.stdout) == (3, "")
    assert says in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_blocking_a_plugin_that_is_not_there_is_said_and_does_no_harm(becket: Any) -> None:
    ended = becket("run", "-q", "-m", "fake:hello", "-p", "no:nowhere", "hi")
    assert (ended.returncode, ended.stdout) == (0, "Hello, world.\n")
    assert "-p no:nowhere blocks nothing" in ended.stderr


@pytest.mark.parametrize(("option", "env"), [(("--traceback",), {}), ((), {"BECKET_TRACEBACK": "1"})])
@pytest.mark.parametrize("arguments", [("-m", "nowhere:x"), ("-m", "fake:breaks")], ids=["before", "during"])
def test_a_traceback_is_shown_where_it_is_asked_for(
    becket: Any, arguments: tuple[str, ...], option: tuple[str, ...], env: dict[str, str]
) -> None:
    becket.env |= env
    assert "Traceback (most recent call last)" in becket("run", *option, *arguments, "hi").stderr


def test_what_a_provider_s_own_code_raises_is_told_with_its_name(becket: Any) -> None:
    becket.install(
        "slips",
        "from becket import hookimpl\nfrom becket.testing import ScriptedProvider\n"
        "@hookimpl\ndef register_providers(): return [ScriptedProvider([AttributeError('nme')], name='slips')]",
    )
    for more in ((), ("--json",)):
        said = becket("run", *more, "-m", "slips:x", "hi").stderr
        assert "AttributeError: nme" in said
        assert said.endswith("becket: raised by the provider 'slips'; --traceback shows where\n")


def test_a_provider_that_cannot_be_closed_changes_nothing(becket: Any) -> None:
    becket.env["FAKE_CLOSE"] = "fails"
    ended = becket("run", "-q", "-m", "fake:hello", "hi")
    assert (ended.returncode, ended.stdout) == (0, "Hello, world.\n")
    assert "becket: the provider 'fake' could not be closed: OSError: it is stuck" in ended.stderr


# Sinks


def test_another_sink_takes_the_place_of_the_console(becket: Any) -> None:
    ended = becket("run", "--sink", "fake", "-m", "fake:hello", "hi")
    assert ended.stdout.split() == [
        "run_started",
        "cycle_started",
        "model_started",
        "text_delta",
        "text_delta",
        "model_finished",
        "message_added",
        "cycle_finished",
        "run_finished",
    ]
    assert ended.stderr == ""


def test_sinks_can_stand_side_by_side(becket: Any) -> None:
    ended = becket("run", "--sink", "console:quiet", "--sink", "fake:prefix", "-m", "fake:hello", "hi")
    assert "Hello, " in ended.stdout
    assert "prefix run_finished\n" in ended.stdout


@pytest.mark.parametrize("more", [(), ("--json",), ("--sink", "console")], ids=" ".join)
@pytest.mark.parametrize(
    ("sink", "says"),
    [
        ("fake:broken", "becket: the sink 'fake' cannot be used: OSError: there is no room"),
        ("journal:/nonexistent/x", "becket: the sink 'journal' cannot be used: the journal '/nonexistent/x' cannot "),
        ("journal", "becket: the sink 'journal' cannot be used: a journal needs the path of a file; "),
    ],
)
def test_a_named_sink_that_cannot_be_opened_ends_the_run(
    becket: Any, sink: str, says: str, more: tuple[str, ...]
) -> None:
    ended = becket("run", "--sink", sink, *more, "-m", "fake:hello", "hi")
    assert ended.returncode == 3
    assert "Hello" not in ended.stdout
    assert next(line for line in ended.stderr.splitlines() if line.startswith("becket: ")).startswith(says)
    assert ended.stderr.count("becket: ") == 1


def test_a_message_steers_no_terminal_and_is_one_line(becket: Any) -> None:
    ended = becket("run", "--sink", "fake", "-m", "fake:steers", "hi")
    assert ended.returncode == 1
    said, whose = ended.stderr.splitlines()
    assert said == "becket: the run failed: ValueError: boom\\nsecond \\x1b[31mline"
    assert whose == "becket: raised by the provider 'fake'; --traceback shows where"


def test_a_traceback_steers_no_terminal(becket: Any) -> None:
    ended = becket("run", "--traceback", "-m", "fake:steers", "hi")
    assert "Traceback" in ended.stderr
    assert "\x1b" not in ended.stderr


def test_a_usage_error_steers_no_terminal(becket: Any) -> None:
    ended = becket("run", "--\x1b[31m", "hi")
    assert ended.returncode == 2
    assert "\x1b" not in ended.stderr
