"""What `becket check` is given: a folder, a file, or a name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest
from becket_dev._names import Names
from becket_dev._project import make, rendered
from becket_dev._target import Target, target_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["tools", "becket-tools", "becket_tools", "Becket.Tools"])
def test_what_is_installed_has_three_names(name: str) -> None:
    """That of the plugin, of its distribution, and of its module; in any spelling."""
    assert target_of(name) == Target("becket-tools 0.1.0", {"tools": "becket_tools"})


def test_a_project_need_not_be_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its modules lie beside its pyproject.toml, or in `src`."""
    names = Names.of("target", "sink")
    make(tmp_path / "made", rendered(names, "sink"))
    wanted = Target("becket-target", {"target": "becket_target"}, tmp_path / "made" / "src")
    assert target_of(str(tmp_path / "made")) == wanted
    monkeypatch.chdir(tmp_path / "made")
    assert target_of(".") == wanted
    (tmp_path / "made/src/becket_target").rename(tmp_path / "made/becket_target")
    assert target_of(".") == Target("becket-target", {"target": "becket_target"}, tmp_path / "made")


def test_a_project_that_builds_its_modules_must_be_installed(tmp_path: Path) -> None:
    """From elsewhere than the two usual places."""
    entry = "[project]\nname = 'x'\n[project.entry-points.becket]\nx = '{}:Plugin'\n"
    (tmp_path / "pyproject.toml").write_text(entry.format("becket_tools"))
    assert target_of(str(tmp_path)) == Target("x", {"x": "becket_tools:Plugin"})
    (tmp_path / "pyproject.toml").write_text(entry.format("not_to_be_found"))
    with pytest.raises(click.UsageError, match=r"there is no module 'not_to_be_found' in .* pip install -e"):
        target_of(str(tmp_path))


def test_a_file_is_found_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "dev_target_one.py").touch()
    target = target_of(str(tmp_path / "dev_target_one.py"))
    assert target == Target("dev_target_one.py", {"dev_target_one": "dev_target_one"}, tmp_path)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (".", "there is no pyproject.toml here"),
        ("empty", "there is no plugin 'empty'"),
        ("anthropik", "there is no plugin 'anthropik', did you mean 'anthropic'?"),
        ("nothing.py", "there is no file 'nothing.py'"),
        ("broken", "'broken/pyproject.toml' cannot be read: "),
        ("odd", "'odd/pyproject.toml' cannot be read: "),
        ("none", "'none/pyproject.toml' names no plugin"),
    ],
)
def test_what_has_no_plugin_is_said(given: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for name, text in {"broken": "[", "odd": "project = 7", "none": "[project]\nname = 'none'\n"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "pyproject.toml").write_text(text)
    with pytest.raises(click.UsageError) as raised:
        target_of(given)
    assert why in str(raised.value)
