"""Which plugins are loaded, in every combination of what may be said about one: deny wins."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest
from becket import ConfigError
from becket_cli._exits import State
from becket_cli._plugins import build, configured

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS: Final = ((), ("one",), ("no:one",), ("one", "no:one"))
VARIABLE: Final = ("", "one", "no:one")
FILES: Final = ("", 'allow = ["one"]', 'allow = ["two"]', 'block = ["one"]', 'require = ["one"]')

HOOK: Final = "from becket import hookimpl\n@hookimpl\ndef system_prompt(ctx): return None\n"

SAID: Final = list(itertools.product((False, True), OPTIONS, VARIABLE, FILES))


def expected(none: bool, options: tuple[str, ...], variable: str, file: str) -> str:
    """What the page says of it: docs/how-to/plugins-having.md."""
    denied = "no:one" in (*options, variable) or file in ('allow = ["two"]', 'block = ["one"]')
    by_variable = variable == "one" and not none
    insisted = "one" in options or by_variable or file.startswith("require")
    loaded = not denied and ("one" in options or not none)
    if insisted and not loaded:
        return "error"
    return "loaded" if loaded else "left out"


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with the plugin `one`; the file of the user is beside it."""
    (tmp_path / "becket_one.py").write_text(HOOK, encoding="utf-8")
    info = tmp_path / "becket_one-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: becket-one\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[becket]\none = becket_one\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def outcome(state: State) -> str:
    sys.modules.pop("becket_one", None)
    try:
        runtime = build(configured(state, project=False), state)
    except ConfigError:
        assert "becket_one" not in sys.modules
        return "error"
    loaded = [plugin for plugin in runtime.plugins if plugin.name == "one" and plugin.status == "loaded"]
    assert bool(loaded) == ("becket_one" in sys.modules)
    return "loaded" if loaded else "left out"


def test_deny_wins_wherever_it_is_said(one: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is denied is not imported; what is insisted on and is not there is an error."""
    file = one / "becket.toml"
    wrong = []
    for none, options, variable, text in SAID:
        file.write_text(text, encoding="utf-8")
        monkeypatch.setenv("BECKET_PLUGINS", variable)
        given = State(config=str(file), plugins=list(options), no_plugins=none)
        if (came := outcome(given)) != expected(none, options, variable, text):
            wrong.append((none, options, variable, text, came))
    assert wrong == []


@pytest.mark.parametrize("before", [True, False])
def test_without_plugins_the_variable_insists_on_none(becket: Any, before: bool) -> None:
    """It is meant for every command, and the option for this one; what it names may not even be installed."""
    becket.env["BECKET_PLUGINS"] = "nobody-has-this, no:fake"
    asked = ["--no-plugins", "tools"] if before else ["tools", "--no-plugins"]
    ended = becket(*asked)
    assert (ended.returncode, ended.stdout) == (0, "")
    assert "nobody-has-this" not in ended.stderr
    assert becket(*asked, "-p", "fake").returncode == 3


def test_what_was_insisted_on_before_a_command_still_is(becket: Any) -> None:
    """It is kept in the variable for other programs, and is this command line's all the same."""
    ended = becket("-p", "fake", "run", "--no-plugins", "-m", "fake:hello", "hi")
    assert (ended.returncode, ended.stdout) == (0, "Hello, world.\n")
