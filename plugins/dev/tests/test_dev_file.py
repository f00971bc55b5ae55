"""`becket dev`: a single file as a plugin, in any other command."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click
import pytest
from becket import PluginError, Runtime
from becket_dev._commands import dev_command
from becket_dev._following import Stamp
from becket_dev._source import SourceFile, installed, usable
from click.testing import CliRunner

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

TOOL = """
from becket import tool

@tool(effect="none")
def shout(text: str) -> str:
    return text.upper()
"""

ACTED = """
from __future__ import annotations
import dataclasses
from becket import hookimpl, tool
from becket.testing import ScriptedProvider, calls, text

@dataclasses.dataclass
class City:
    name: str

@tool(effect="none")
def forecast(city: City) -> str:
    return f"{city.name}: rain"

def script(request):
    results = request.messages[-1].tool_results
    return text(results[0].text) if results else calls(("forecast", {"city": {"name": "Oslo"}}))

@hookimpl
def register_tools():
    return [forecast]

@hookimpl
def register_providers():
    return [ScriptedProvider(script, name="acted")]
"""


@pytest.fixture(autouse=True)
def _no_trace() -> Iterator[None]:
    modules = set(sys.modules)
    yield
    for name in set(sys.modules) - modules:
        if name.startswith("dev_file_"):
            del sys.modules[name]


def source(folder: Path, text: str, name: str = "dev_file_weather.py") -> SourceFile:
    (folder / name).write_text(text, encoding="utf-8")
    return SourceFile.of(folder / name)


# -- in the command ----------------------------------------------------------------------------------------------------


def test_a_run_has_the_tool_of_the_file(
    becket: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """And the models, and all else that a plugin may give; the exit code is that of the run."""
    (tmp_path / "acting.py").write_text(ACTED)
    done = becket("dev", "acting.py", "--", "run", "-q", "-m", "acted:model", "-t", "forecast", "How is Oslo?")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Oslo: rain\n", "")
    done = becket("dev", "acting.py", "--", "run", "-q", "-m", "acted:model", "-t", "forecasts", "How is Oslo?")
    assert done.returncode == 3
    assert "did you mean 'forecast'?" in done.stderr


def test_the_hyphens_are_not_needed(becket: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    """What comes after the file is the command's; becket knows the file by its name where a distribution's would be."""
    (tmp_path / "loud.py").write_text(TOOL)
    done = becket("dev", "loud.py", "plugins", "--json")
    assert '"distribution": "loud.py"' in done.stdout
    done = becket("dev", "loud.py", "tools", "-p", "no:loud")
    assert done.returncode == 0
    assert "shout" not in done.stdout


def test_without_a_command_it_says_what_the_file_adds(tmp_path: Path) -> None:
    (tmp_path / "dev_file_loud.py").write_text(TOOL)
    done = CliRunner().invoke(dev_command, [str(tmp_path / "dev_file_loud.py")])
    assert done.stdout == (
        "dev_file_loud.py is a plugin. It adds:\n  tools: shout\n"
        'Next:\n  becket dev dev_file_loud.py -- run -t shout "..."\n'
    )


def test_a_broken_file_runs_nothing(becket: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import os\nos.nothing()\n")
    done = becket("dev", "broken.py", "--", "--version")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "becket: broken.py cannot be used: line 2: AttributeError: module 'os' has no attribute 'nothing'\n"
    )


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["missing.py"], "does not exist"),
        (["."], "is a directory"),
        (["{}", "--watch"], "'--watch' comes before the file"),
        (["{}", "--", "nothing"], "No such command 'nothing'"),
        ([], "Missing argument 'FILE.py'"),
    ],
)
def test_a_wrong_command_line_is_said(arguments: list[str], why: str, tmp_path: Path) -> None:
    (tmp_path / "dev_file_loud.py").write_text(TOOL)
    group = click.Group("becket", commands={"dev": dev_command})
    given = [one.format(tmp_path / "dev_file_loud.py") for one in arguments]
    done = CliRunner().invoke(group, ["dev", *given])
    assert done.exit_code == 2
    assert why in done.stderr


# -- the file ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("dev_file.txt", "cannot be a module"),
        ("class.py", "cannot be a module"),
        ("3d.py", "cannot be a module"),
        ("json.py", "it comes with Python"),
        ("pytest.py", "another module 'pytest'"),
        ("__init__.py", "a part of a package"),
    ],
)
def test_a_file_takes_the_place_of_no_other_module(name: str, why: str, tmp_path: Path) -> None:
    """Its module has the file's name, by which it is imported."""
    with pytest.raises(click.UsageError, match=why):
        source(tmp_path, TOOL, name)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x = 1 +", "line 1: SyntaxError: invalid syntax"),
        ("import nothing_of_this_name", "line 1: ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("x = 1\nraise SystemExit('no')", "line 2: SystemExit: no"),
        ("x = 1", "it implements no hook and holds no tool"),
        ("from becket import hookimpl\n@hookimpl\ndef register_tool(): ...", "did you mean 'register_tools'?"),
        ("from becket import hookimpl\n@hookimpl\ndef register_tools(): return [7]", "its register_tools failed"),
    ],
)
def test_what_is_no_plugin_is_said_with_the_line(text: str, why: str, tmp_path: Path) -> None:
    """And what was imported before stays what `import` gives."""
    one = source(tmp_path, TOOL)
    before = one.load()
    source(tmp_path, text)
    with pytest.raises(PluginError) as raised:
        one.load()
    assert str(raised.value).startswith("dev_file_weather.py cannot be used: ")
    assert why in str(raised.value)
    assert sys.modules["dev_file_weather"] is before


def test_each_version_is_what_the_file_says_then(tmp_path: Path) -> None:
    """Also where it is as long as the one before, and as old: nothing compiled is kept."""
    one = source(tmp_path, TOOL)
    os.utime(one.path, (1, 1))
    old = one.load()
    source(tmp_path, TOOL.replace("upper", "lower"))
    os.utime(one.path, (1, 1))
    new = one.load()
    assert (old.shout("Hi"), new.shout("Hi")) == ("HI", "hi")
    assert list(tmp_path.iterdir()) == [one.path]


def test_a_plugin_that_wants_a_configuration_is_none_the_less_one(tmp_path: Path) -> None:
    """The file cannot mend that; `becket` says what is missing."""
    text = "import dataclasses\nfrom becket import hookimpl\n@dataclasses.dataclass\nclass S:\n    key: str\n"
    module = source(tmp_path, f"{text}@hookimpl\ndef declare_config(): return S\n").load()
    assert usable(module).status == "quarantined"


def test_it_is_found_as_an_installed_plugin_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By every runtime of the process, also where the file lies in the working directory; and later no more."""
    monkeypatch.chdir(tmp_path)
    one = source(tmp_path, TOOL)
    module = one.load()
    with installed(one):
        runtime = Runtime(require=["dev_file_weather"], strict=True)
        assert runtime.tool("shout") is module.shout
        (plugin,) = (plugin for plugin in runtime.plugins if plugin.name == "dev_file_weather")
        assert plugin.title == "dev_file_weather.py dev"
    assert "shout" not in Runtime().tools


def test_a_change_is_seen_once(tmp_path: Path) -> None:
    """Of the time, the length or the file itself, as editors write it; not while the file is away."""
    path = tmp_path / "x.py"
    path.write_text("1")
    stamp = Stamp(path)
    assert not stamp.changed()
    path.write_text("12")
    assert (stamp.changed(), stamp.changed()) == (True, False)
    path.unlink()
    assert not stamp.changed()
    (tmp_path / "new").write_text("12")
    (tmp_path / "new").rename(path)
    assert (stamp.changed(), stamp.changed()) == (True, False)
