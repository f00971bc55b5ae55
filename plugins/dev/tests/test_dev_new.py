"""`becket new`: what it makes passes its own tests, and the rules of this repository, as it is."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
import yaml
from becket import __version__
from becket_dev._names import KINDS, Kind, Names
from becket_dev._next import commands
from becket_dev._project import make, rendered
from packaging.requirements import Requirement

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[3]

GIVEN: dict[Kind, str] = {
    "tool": "word-count",
    "provider": "parrot",
    "sink": "tally",
    "policy": "stay_here",
    "wire": "plain",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package of each kind, and `site`, where they are installed as an editable install would."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "site").mkdir()
    for kind in KINDS:
        names = Names.of(GIVEN[kind], kind)
        project = folder / names.distribution
        make(project, rendered(names, kind))
        info = folder / "site" / f"{names.module}-0.1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {names.distribution}\nVersion: 0.1.0\n")
        points = tomllib.loads((project / "pyproject.toml").read_text())["project"]["entry-points"]["becket"]
        entries = "\n".join(f"{name} = {value}" for name, value in points.items())
        (info / "entry_points.txt").write_text(f"[becket]\n{entries}\n")
    return folder


def run(made: Path, *command: str | Path, **env: str) -> str:
    path = os.pathsep.join(str(one) for one in (made / "site", *made.glob("*/src")))
    done = subprocess.run(  # noqa: S603  our own commands
        [sys.executable, "-m", *map(str, command)],
        cwd=made,
        env={**os.environ, "PYTHONPATH": path, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_own_tests_pass(made: Path) -> None:
    """Those of all five at once, with warnings as errors; those of the contract among them."""
    tests = sorted(made.glob("*/tests"))
    assert len(tests) == len(KINDS)
    output = run(made, "pytest", "-v", "-p", "no:schemathesis", "-p", "no:cacheprovider", "-W", "error", *tests)
    held = set(re.findall(r"test_(\w+)\.py::TestConformance::\S+ PASSED", output))
    assert held == {Names.of(GIVEN[kind], kind).identifier for kind in KINDS}


def test_it_is_linted_and_formatted_as_this_repository_is(made: Path) -> None:
    """All rules of ruff are on; but its tests have no types, and a method has the parameters of its contract."""
    config = ["--config", ROOT / "pyproject.toml", "--no-cache"]
    run(
        made,
        "ruff",
        "check",
        *config,
        "--extend-ignore",
        "ANN,ARG002,RUF012",
        *made.glob("*/src"),
        *made.glob("*/tests"),
    )
    run(made, "ruff", "format", "--check", *config, *made.glob("*/src"), *made.glob("*/tests"))


def test_its_types_hold(made: Path) -> None:
    run(made, "mypy", "--strict", "--python-version", "3.11", *made.glob("*/src/*"), MYPY_CACHE_DIR=os.devnull)


@pytest.mark.parametrize("kind", KINDS)
def test_its_project_asks_for_this_becket(made: Path, kind: Kind) -> None:
    """In a range, and it names the plugin in the group `becket`."""
    names = Names.of(GIVEN[kind], kind)
    project = tomllib.loads((made / names.distribution / "pyproject.toml").read_text())["project"]
    (becket,) = (Requirement(text) for text in project["dependencies"])
    assert __version__ in becket.specifier
    assert "9.0" not in becket.specifier
    assert project["entry-points"]["becket"] == {names.name: names.module}
    assert project["name"] == names.distribution


def test_it_is_without_ceremony(made: Path) -> None:
    """A tool is fifteen lines, a workflow has three steps, and there is no word left to replace."""
    assert len((made / "becket-word-count/src/becket_word_count/__init__.py").read_text().splitlines()) <= 15
    workflow = yaml.safe_load((made / "becket-word-count/.github/workflows/test.yml").read_text())
    assert [list(step) for step in workflow["jobs"]["test"]["steps"]] == [["uses"], ["uses"], ["run"]]
    for file in made.glob("becket-*/**/*"):
        assert "{{" not in file.name
        assert file.is_dir() or "{{" not in file.read_text(), file


def test_the_command_says_what_was_made_and_what_comes_next(
    becket: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = becket("new", "tool", "weather")
    assert (done.returncode, done.stderr) == (0, "")
    first, *rest = done.stdout.splitlines()
    assert first == "becket-weather is there: the tool 'weather' in the plugin 'weather'."
    listed = rest[: rest.index("Next:")]
    assert sorted(line.strip() for line in listed) == sorted(
        str(file.relative_to(tmp_path / "becket-weather"))
        for file in (tmp_path / "becket-weather").rglob("*")
        if file.is_file()
    )
    *sample, heading, check, use = rest[rest.index("Next:") + 1 :]
    assert [line.split()[0] for line in sample] == ["cd", "uv", "becket"]
    assert heading == "What it does is a sample. Once src/becket_weather/__init__.py has yours:"
    assert [check, use] == ["  becket check", '  becket run -t weather "..."']


YOURS: dict[Kind, str] = {
    "tool": "@tool(effect='none')\ndef weather(city: str) -> str:\n    return city",
    "provider": "@hookimpl\ndef register_providers():\n"
    "    return [ScriptedProvider(text('Rain.'), name='weather', model='mine')]",
    "sink": "@hookimpl\ndef register_sinks():\n    return [ListSink(name='weather')]",
    "policy": "class Mine:\n    name = 'weather'\n    def approve(self, ctx, call, tool, /): return None\n"
    "@hookimpl\ndef register_policies():\n    return [Mine()]",
}
"""What an author may have put in place of the samples."""


@pytest.mark.parametrize("kind", YOURS)
def test_what_is_said_of_it_fits_once_it_is_the_authors_own(
    becket: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, kind: Kind
) -> None:
    """Each command of its README, and of what was printed, with another thing of that kind behind the name."""
    printed = becket("new", kind, "weather").stdout
    project = tmp_path / "becket-weather"
    head = "from becket import hookimpl, tool\nfrom becket.testing import ListSink, ScriptedProvider, text\n\n"
    (project / "src" / "becket_weather" / "__init__.py").write_text(f"{head}{YOURS[kind]}\n")
    info = project / "src" / "becket_weather-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: becket-weather\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[becket]\nweather = becket_weather\n")
    readme = (project / "README.md").read_text()
    shown = re.findall(r"^ +becket (.*)$", readme + printed.partition("has yours:\n")[2], re.MULTILINE)
    assert len(shown) >= 2
    for line in shown:
        command = shlex.split(line.replace("weather:MODEL", "weather:mine"))
        if command == ["check"]:
            continue  # what it says of this one is another matter
        model = ["-m", "local:needle"] if command[0] == "run" and kind != "provider" else []
        done = becket(*command, *model, PYTHONPATH=str(project / "src"), BECKET_CACHE="0")
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    assert not re.search("pypi|echo|words|events.jsonl|machine", readme)


def test_nothing_is_overwritten(becket: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    """Not even an empty folder is taken."""
    (tmp_path / "becket-weather").mkdir()
    done = becket("new", "tool", "weather")
    assert done.returncode == 2
    assert "there is 'becket-weather' already, and nothing is overwritten." in done.stderr
    assert list((tmp_path / "becket-weather").iterdir()) == []


def test_a_folder_that_is_not_there_is_not_made_up(tmp_path: Path) -> None:
    """It may be misspelt."""
    with pytest.raises(click.UsageError, match=r"there is no folder '.*nowhere' to make it in"):
        make(tmp_path / "nowhere" / "becket-x", {"a": "b"})


def test_what_cannot_be_written_is_not_left_half_written(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="cannot be written: "):
        make(tmp_path / "becket-x", {"a": "text", "a/b": "in a file that is no folder"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pip", [True, False])
def test_what_comes_next_is_for_the_environment_that_this_is(
    kind: Kind, *, pip: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By its own installer; with the whole path, where a shell would find another environment's programs."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if pip else None)
    names, own = Names.of("weather", kind), Path(sys.executable).parent
    monkeypatch.setenv("PATH", str(own))
    there, install, use = commands(tmp_path / "my plugins", names, kind)
    assert there == f"cd '{tmp_path}/my plugins'"
    assert install == f"{'pip' if pip else 'uv pip'} install -e . pytest trio && pytest"
    assert use.startswith("becket ")
    monkeypatch.setenv("PATH", "/nowhere")
    _, install, use = commands(tmp_path, names, kind)
    installer = f"{own}/pip install" if pip else f"uv pip install --python {own}/python"
    assert install == f"{installer} -e . pytest trio && {own}/pytest"
    assert use.startswith(f"{own}/becket ")
