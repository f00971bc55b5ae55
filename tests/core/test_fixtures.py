"""The fixtures of the pytest plugin, used as tests of plugins use them; and the environment that is thrown away."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import becket
import pytest
from becket import Agent, BecketError, PluginError, Runtime, default_runtime, hookimpl, set_default_runtime, tool
from becket.testing import calls
from becket.testing import environments as module

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from becket import Event
    from becket.testing import ScriptedProvider
    from becket.testing.environments import Environment

PYPROJECT = """
[project]
name = "becket-shout"
version = "1"
dependencies = ["becket"]
[project.entry-points.becket]
shout = "becket_shout"
"""

MODULE = """
from becket import tool

@tool(effect="none")
def shout(text: str) -> str:
    "Shout a text."
    return text.upper()
"""


class Greeting:
    """A plugin."""

    @tool(effect="none")
    @staticmethod
    def greet(name: str) -> str:
        """Greet somebody."""
        return f"Hello, {name}."

    @hookimpl
    def register_tools(self) -> list[Any]:
        return [self.greet]


# -- the runtime -------------------------------------------------------------------------------------------------------


def test_the_runtime_has_no_plugins_and_is_the_default(becket_runtime: Runtime) -> None:
    assert becket_runtime.plugins == ()
    assert default_runtime() is becket_runtime


@pytest.mark.becket_plugins("becket_console", threads=3)
class TestOfAClass:
    @pytest.mark.becket_plugins(Greeting(), "tools", "becket_guard:Guard")
    def test_plugins_are_objects_modules_or_names(self, becket_runtime: Runtime) -> None:
        assert [plugin.name for plugin in becket_runtime.plugins] == [
            "becket_console",
            "Greeting",
            "becket_tools",
            "Guard",
        ]
        assert "greet" in becket_runtime.tools


@pytest.mark.becket_plugins(Greeting())
def test_a_run_of_a_scripted_model_is_in_the_events(
    becket_model: Callable[..., ScriptedProvider], becket_events: list[Event]
) -> None:
    model = becket_model(calls(("greet", {"name": "you"})), "Done.", name="mine")
    result = Agent(model, ["greet"])("Greet me.")
    assert (result.text, model.name) == ("Done.", "mine")
    assert [event.result.text for event in becket_events if event.type == "tool_finished"] == ["Hello, you."]


def test_the_runtime_is_strict(request: pytest.FixtureRequest) -> None:
    request.node.add_marker(pytest.mark.becket_plugins(object()))
    with pytest.raises(PluginError, match="implements no hook"):
        request.getfixturevalue("becket_runtime")


def test_the_default_runtime_comes_back(request: pytest.FixtureRequest) -> None:
    mine = Runtime(discover=False)
    before = set_default_runtime(mine)
    fixture = request.getfixturevalue("becket_runtime")
    assert default_runtime() is fixture
    set_default_runtime(before)


# -- the environment ---------------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "becket-shout"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (folder / "becket_shout.py").write_text(MODULE, encoding="utf-8")
    return folder


def test_a_project_is_installed_used_and_uninstalled(becket_environment: Environment, project: Path) -> None:
    becket_environment.install("becket-cli")
    becket_environment.install(project)
    listed = becket_environment.run("becket", "tools")
    assert "Shout a text." in listed.stdout, listed.stderr
    program = "import becket; print(becket.default_runtime().tool('shout')('hi'))"
    assert becket_environment.run("python", "-c", program).stdout == "HI\n"
    becket_environment.uninstall("becket-shout")
    assert "shout" not in becket_environment.run("becket", "tools").stdout
    assert sorted(path.name for path in project.iterdir()) == ["becket_shout.py", "pyproject.toml"]


def test_nothing_but_becket_is_in_it(becket_environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BECKET_MODEL", "nobody:nothing")
    program = (
        "import os, sys, becket, pathlib; from importlib.metadata import entry_points;"
        "print(becket.__file__, [*entry_points(group='becket')], os.environ.get('BECKET_MODEL'), pathlib.Path.home(),"
        "os.environ['MINE'], sys.stdin.read())"
    )
    done = becket_environment.run("python", "-c", program, stdin="said", MINE="mine")
    assert done.stdout.split() == [becket.__file__, "[]", "None", str(becket_environment.work), "mine", "said"]


def test_a_wheel_is_installed(becket_environment: Environment, project: Path, tmp_path: Path) -> None:
    build = "import setuptools.build_meta as backend; backend.build_wheel('..')"
    subprocess.run([sys.executable, "-c", build], cwd=project, check=True, capture_output=True)  # noqa: S603  our own
    (wheel,) = tmp_path.glob("*.whl")
    becket_environment.install(wheel)
    assert becket_environment.run("python", "-c", "import becket_shout").returncode == 0


def test_without_uv_it_is_pip_that_installs(
    becket_environment: Environment, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(BecketError, match=r"becket-shout could not be uninstalled: .*No module named pip"):
        becket_environment.uninstall("becket-shout")
    with pytest.raises(BecketError, match=r"could not be installed: .*No module named pip"):
        becket_environment.install(project)


def test_what_cannot_be_installed_is_told(becket_environment: Environment, project: Path) -> None:
    with pytest.raises(BecketError, match=r"is no project that can be installed: .*No such file"):
        becket_environment.install(becket_environment.work)
    with pytest.raises(BecketError, match="could not be installed: "):
        becket_environment.install(f"becket-nobody @ {(project / 'nothing.whl').as_uri()}")
    (project / "pyproject.toml").write_text(f"{PYPROJECT}\n[tool.setuptools]\npackages = ['nothing']", "utf-8")
    with pytest.raises(BecketError, match="could not be built: "):
        becket_environment.install(project)


@pytest.mark.parametrize("backend", ["build-backend = 'nowhere.to.be.found'", "backend-path = ['own']"])
def test_a_project_with_a_backend_that_is_not_here_is_left_to_the_installer(
    becket_environment: Environment, project: Path, backend: str
) -> None:
    (project / "pyproject.toml").write_text(f"[build-system]\nrequires = ['./no']\n{backend}\n{PYPROJECT}", "utf-8")
    with pytest.raises(BecketError, match=r"built-0.project could not be installed"):
        becket_environment.install(project)


def test_where_links_are_not_allowed_files_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("a privilege is not held")

    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("text", "utf-8")
    monkeypatch.setattr(type(tmp_path), "symlink_to", refuse)
    module._link(tmp_path / "folder", tmp_path / "other")
    module._link(tmp_path / "folder" / "file", tmp_path / "file")
    assert (tmp_path / "other" / "file").read_text("utf-8") == (tmp_path / "file").read_text("utf-8") == "text"


def test_what_a_distribution_has_lost_is_not_linked(
    becket_environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_tops", lambda _: ["nothing", "anyio"])  # the second is linked already
    becket_environment.install("pytest")
    assert becket_environment.run("python", "-c", "import pytest").returncode == 1


def test_a_name_that_is_none_is_not_installed() -> None:
    assert module._installed("not a name at all") is None
    assert module._installed("becket") is not None
