"""What may be the name of a new plugin, and what follows from it."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from becket_dev._names import Names, becket_range, check_free


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("weather", Names("weather", "weather", "becket-weather", "becket_weather", "Weather")),
        ("becket-weather", Names("weather", "weather", "becket-weather", "becket_weather", "Weather")),
        ("Word_Count", Names("word-count", "word_count", "becket-word-count", "becket_word_count", "WordCount")),
        ("becket.v2", Names("v2", "v2", "becket-v2", "becket_v2", "V2")),
    ],
)
def test_everything_follows_from_one_name(given: str, names: Names) -> None:
    """As PEP 503 has it: the same with hyphens, underscores and capitals; `becket-` stands before it once."""
    assert Names.of(given, "tool") == names


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("", "no name for a package"),
        ("-x", "no name for a package"),
        ("a/b", "no name for a package"),
        ("..", "no name for a package"),
        ("Wetter\u00fc", "no name for a package"),
        ("a b", "no name for a package"),
        ("x\n", "no name for a package"),
        ("class", "'class' cannot be a name in Python, and the tool is to have it"),
        ("3d", "'3d' cannot be a name in Python"),
        ("becket-3d", "'3d' cannot be a name in Python"),
        ("becket", "becket's own name"),
        ("OpenAI_server", "becket-openai-server is a package of becket's own"),
        ("x" * 65, "65 characters"),
        ("tool", "the module of the tool"),
        ("len", "the module of the tool"),
    ],
)
def test_what_could_not_be_imported_or_installed_is_refused(given: str, why: str) -> None:
    with pytest.raises(click.UsageError, match=why):
        Names.of(given, "tool")


def test_no_package_of_becket_s_own_is_made() -> None:
    """Not even where it is not installed."""
    own = [path.parent.name for path in (Path(__file__).parents[3] / "plugins").glob("*/pyproject.toml")]
    assert "wire" in own
    for name in own:
        with pytest.raises(click.UsageError, match=f"becket-{name} is a package of becket's own"):
            Names.of(name, "provider")


def test_a_class_may_be_called_like_a_function() -> None:
    """Only a tool is a function of that name."""
    assert Names.of("print", "sink").cls == "Print"


@pytest.mark.parametrize(
    ("name", "kind", "why"),
    [
        ("calculator", "tool", "a tool 'calculator' already, of becket-tools "),
        ("ollama", "provider", "a provider 'ollama' already, of becket-openai "),
        ("events", "wire", "a wire 'events' already, of becket-serve "),
    ],
)
def test_what_is_installed_keeps_its_name(name: str, kind: str, why: str) -> None:
    """A plugin's name for every kind, and the name of a thing for things of its kind."""
    with pytest.raises(click.UsageError, match=why):
        check_free(Names.of(name, kind), kind)  # type: ignore[arg-type]  one of them


def test_a_plugin_that_is_installed_keeps_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For every kind, and however its name is written."""
    info = tmp_path / "acme_forecast-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-forecast\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[becket]\nDay_Ahead = json\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(click.UsageError, match=r"a plugin 'Day_Ahead' already, of acme-forecast 2\.0;"):
        check_free(Names.of("day-ahead", "sink"), "sink")


def test_a_module_that_is_there_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it belongs to nothing that is installed."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "becket_mine.py").touch()
    with pytest.raises(click.UsageError, match="a module 'becket_mine' already"):
        check_free(Names.of("mine", "policy"), "policy")


@pytest.mark.parametrize(
    ("version", "versions"), [("0.1.0", ">=0.1,<0.2"), ("0.12.3rc1", ">=0.12,<0.13"), ("2.5.1", ">=2.5,<3")]
)
def test_a_plugin_is_for_this_becket_up_to_the_next_that_may_break_it(
    version: str, versions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below 1.0 that is the next minor version."""
    monkeypatch.setattr("becket_dev._names.__version__", version)
    assert becket_range() == versions
