"""`becket check`: what is printed of what was found, and how it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
import pytest
from becket.testing import Finding
from becket_dev._checking import as_json, as_table
from becket_dev._commands import _tell_waiting, check_command
from becket_dev._names import Names
from becket_dev._project import make, rendered
from click.testing import CliRunner, Result

if TYPE_CHECKING:
    from pathlib import Path

FOUND = [
    Finding("plugin", "becket_x", "importing it is quick", holds=True, sentence="Everybody waits for it."),
    Finding("tool", "x", "it is told of", holds=False, sentence="x: the parameter\n'a' has no \x1b[31mdescription"),
    Finding("tool", "x", "calls succeed", holds=None, sentence="it is not called here"),
]


def check(*arguments: str) -> Result:
    group = click.Group("becket", commands={"check": check_command})
    return CliRunner().invoke(group, ["check", *arguments])


def test_each_thing_has_its_table_and_each_rule_its_line() -> None:
    """On one line where nobody looks at it, without what would steer a terminal."""
    assert [click.unstyle(line) for line in as_table(FOUND)] == [
        "plugin becket_x",
        "  yes  importing it is quick: Everybody waits for it.",
        "tool x",
        "  NO   it is told of: x: the parameter 'a' has no \\x1b[31mdescription",
        "  -    calls succeed: it is not called here",
        "1 hold, 1 does not, 1 was not looked at.",
    ]


@pytest.mark.parametrize(
    ("holds", "told"),
    [
        ([True, True], "2 hold."),
        ([True, False, False], "1 hold, 2 do not."),
        ([None, None, True], "1 hold, 2 were not looked at."),
    ],
)
def test_it_comes_to_a_sentence(holds: list[bool | None], told: str) -> None:
    found = [Finding("wire", "x", "rule", holds=one, sentence="Why.") for one in holds]
    assert list(as_table(found))[-1] == told


def test_programs_get_what_was_found_as_it_is() -> None:
    assert json.loads(as_json(FOUND))[2] == {
        "kind": "tool",
        "name": "x",
        "rule": "calls succeed",
        "holds": None,
        "sentence": "it is not called here",
        "rules": 1,
        "needs": "",
    }


def test_what_needs_an_example_is_counted_rule_by_rule() -> None:
    """Who reads nothing but the end must not take a wire for one that was looked at."""
    found = [
        Finding("plugin", "x", "rule", holds=True, sentence="Why."),
        Finding("plugin", "x", "another", holds=None, sentence="It has no hook."),
        Finding("wire", "x", "all", holds=None, sentence="Why.", rules=15, needs="WireConformance"),
    ]
    told = "1 hold, 16 were not looked at; 15 need an example of yours: subclass WireConformance."
    assert list(as_table(found))[-1] == told
    tool = Finding("tool", "x", "its calls", holds=None, sentence="Why.", rules=8, needs="ToolConformance")
    assert list(as_table([*found, tool, tool]))[-1].endswith(
        "; 31 need an example of yours: subclass WireConformance and ToolConformance."
    )


def test_what_is_made_anew_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It need not be installed, and is the one of this folder where nothing is said."""
    names = Names.of("word-count", "tool")
    make(tmp_path / "here", rendered(names, "tool"))
    monkeypatch.chdir(tmp_path / "here")
    done = check()
    assert done.exit_code == 0, done.output
    assert "plugin becket_word_count\n" in done.stdout
    assert "tool word_count\n" in done.stdout
    assert "  NO" not in done.stdout


def test_what_does_not_hold_is_said(tmp_path: Path) -> None:
    """With the exit code 1, also where it is told to a program."""
    file = tmp_path / "loud.py"
    file.write_text("from becket import tool\n\n@tool(effect='none')\ndef shout(text: str) -> str:\n    return text\n")
    done = check(str(file), "--json")
    assert done.exit_code == 1
    broken = [finding for finding in json.loads(done.stdout) if finding["holds"] is False]
    assert [(finding["kind"], finding["name"]) for finding in broken] == [("tool", "shout")]
    assert "docstring" in broken[0]["sentence"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "there is no pyproject.toml here"),
        (["nothing.py"], "there is no file nothing.py"),
        (["nobody-has-this"], "nobody-has-this"),
        (["empty"], "nothing to check in empty"),
    ],
)
def test_what_is_no_plugin_is_a_wrong_command_line(
    arguments: list[str], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "pyproject.toml").touch()
    done = check(*arguments)
    assert done.exit_code == 2
    assert why in done.stderr


def test_a_file_of_a_name_that_is_taken_is_refused_as_dev_does(tmp_path: Path) -> None:
    (tmp_path / "json.py").touch()
    done = check(str(tmp_path / "json.py"))
    assert done.exit_code == 2
    assert "there is another module 'json' (it comes with Python); give the file another name" in done.stderr


def test_what_takes_long_is_told_apart_from_what_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    _tell_waiting("plugin x: it can be imported")
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "still looking at plugin x: it can be imported\n")
