"""`becket check` of a project: the conformance classes in its own tests say what holds."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import pytest
from becket.testing import Finding
from becket_dev._names import Names
from becket_dev._own_tests import held_files, joined, own_findings
from becket_dev._project import make, rendered

if TYPE_CHECKING:
    from pathlib import Path

TESTS = '''
import pytest
from becket import ToolError, tool
from becket.testing import ToolConformance

@tool(effect="read")
def look(name: str) -> str:
    """Look something up.

    Args:
        name: Which.
    """
    if name == "gone":
        {fails}
    return name

class Base(ToolConformance):
    def make_tools(self):
        return [look]

class TestLook(Base):
    cases = {{"look": [{{"name": "there"}}]}}
    failing = {{"look": [{{"name": "gone"}}]}}

    @pytest.mark.skip(reason="has no network")
    def test_many_calls_go_on_at_once(self):
        pass

def test_of_something_else():
    assert False
'''


@pytest.fixture(autouse=True)
def _as_nobody(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pytest is told what it need not warn of, other plugins of it are not."""
    monkeypatch.delenv("PYTHONWARNINGS", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", environment["XDG_CONFIG_HOME"])


def project(folder: Path, fails: str = "raise ToolError('there is none of that name')") -> list[Path]:
    (folder / "tests").mkdir()
    (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = '--no-such-option'\n")
    (folder / "tests" / "test_look.py").write_text(TESTS.format(fails=fails))
    (folder / "tests" / "test_other.py").write_text("def test_nothing(): assert False\n")
    return held_files(folder)


def rules(found: list[Finding]) -> dict[str, Finding]:
    return {one.rule: one for one in found}


def test_files_with_a_conformance_class_are_found(tmp_path: Path) -> None:
    """Not those of an environment that lies in the project."""
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "test_x.py").write_text("class TestX(ToolConformance): ...")
    assert project(tmp_path) == [tmp_path / "tests" / "test_look.py"]


def test_each_rule_is_told_of_what_is_made(tmp_path: Path) -> None:
    """Once, however many event loops; by the name of the tool; and no test but those of the contract has run."""
    found = own_findings(tmp_path, project(tmp_path))
    assert {(one.kind, one.name) for one in found} == {("tool", "look")}
    assert len(rules(found)) == len(found) > 8
    assert not [one for one in found if one.holds is False]
    assert rules(found)["each is called"].holds is True
    assert rules(found)["each is called"].sentence.startswith("There is a call of each tool")
    skipped = rules(found)["many calls go on at once"]
    assert (skipped.holds, skipped.sentence) == (None, "has no network")


def test_what_does_not_hold_names_the_test(tmp_path: Path) -> None:
    (failed,) = [one for one in own_findings(tmp_path, project(tmp_path, "raise KeyError(name)")) if one.holds is False]
    assert failed.rule == "an error is for the model to read"
    assert "KeyError" in failed.sentence
    assert failed.sentence.endswith("(test_look.py, TestLook)")


@pytest.mark.parametrize("text", ["import not_there_at_all\n", "raise SystemExit(7)\n"])
def test_tests_that_do_not_run_do_not_hold(tmp_path: Path, text: str) -> None:
    file = tmp_path / "test_broken.py"
    file.write_text(f"{text}class TestX(ToolConformance): ...\n")
    found = own_findings(tmp_path, [file])
    assert [(one.rule, one.holds) for one in found] == [("its own conformance tests run", False)]
    assert "not_there_at_all" in found[0].sentence or "7" in found[0].sentence


def test_without_pytest_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = project(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (found,) = own_findings(tmp_path, files)
    assert found.holds is None
    assert found.sentence == "pytest is not installed here, so the classes in tests/test_look.py were not run"


def test_a_projects_own_tests_stand_for_what_is_found_without_them() -> None:
    """Of the same rule of the same thing; what they do not look at stays; what was not looked at without them goes."""

    def one(rule: str, *, holds: bool | None, name: str = "x") -> Finding:
        return Finding("tool", name, rule, holds=holds, sentence="Why.")

    found = [one("a", holds=True), one("b", holds=True), one("its calls", holds=None), one("a", holds=True, name="y")]
    own = [one("b", holds=False, name="x"), one("c", holds=True, name="x"), one("a", holds=None, name="x")]
    assert [(one.name, one.rule, one.holds) for one in joined(found, own)] == [
        ("x", "a", True),
        ("x", "b", False),
        ("x", "c", True),
        ("y", "a", True),
    ]


def test_the_table_has_them(becket: Any, tmp_path: Path) -> None:
    """And the exit code; without them the arguments that are made up come to nothing that fails."""
    names = Names.of("word-count", "tool")
    made = tmp_path / names.distribution
    make(made, rendered(names, "tool"))
    done = becket("check", made, PYTHONWARNINGS="")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "yes  an error is for the model to read" in done.stdout
    tests = made / "tests" / "test_word_count.py"
    tests.write_text(tests.read_text().replace('[{"text": " "}]', '[{"text": "a"}]'))
    done = becket("check", made, PYTHONWARNINGS="")
    assert done.returncode == 1
    assert "NO   an error is for the model to read" in done.stdout
    assert becket("check", "--no-tests", made).returncode == 0
