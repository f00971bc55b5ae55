"""Having plugins: the list from the index, hooks in their order, who may be loaded, the lock, and installing."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from becket import ConfigError
from becket_cli._install import uninstall
from becket_cli._installer import found

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TOOL = 'from becket import tool\n@tool(effect="none")\ndef {name}() -> str:\n    "A tool."\n    return ""\n'
LOUD = "import sys\nprint('IMPORTED', file=sys.stderr)\n"
HOOK = "from becket import hookimpl\n@hookimpl{mark}\ndef system_prompt(ctx): return 'x'\n"


def rows(ended: Any) -> dict[str, Any]:
    """What a list has printed as JSON, by name."""
    return {row["name"]: row for row in json.loads(ended.stdout)}


def settle(becket: Any) -> None:
    """An index trusts no folder that has just been changed."""
    past = time.time() - 3600
    for path in (*becket.site.rglob("*"), becket.site):
        os.utime(path, (past, past))


# The list


def test_a_list_says_hooks_and_the_time_of_the_import(becket: Any) -> None:
    becket.install("one", HOOK.format(mark="(tryfirst=True)"))
    row = rows(becket("plugins", "--json"))["one"]
    assert row["hooks"] == [{"name": "system_prompt", "phase": "first"}]
    assert 0 < row["import_seconds"] < 5
    assert "hooks: system_prompt" in becket("plugins").stdout


def test_times_are_shown_the_slowest_first(becket: Any) -> None:
    becket.install("slow", f"import time\ntime.sleep(0.4)\n{TOOL.format(name='t')}")
    lines = becket("plugins", "--times").stdout.splitlines()
    assert "IMPORT" in lines[0]
    assert lines[1].split()[0] == "slow"
    assert lines[1].split()[5] == "ms"


def test_the_second_list_imports_no_plugin_and_says_the_same(becket: Any) -> None:
    becket.install("loud", LOUD + TOOL.format(name="t"))
    settle(becket)
    first, second = becket("plugins"), becket("plugins")
    assert "IMPORTED" in first.stderr
    assert second.stderr == ""
    assert second.stdout == first.stdout


def test_a_plugin_that_is_installed_after_the_first_list_is_in_the_second(becket: Any) -> None:
    settle(becket)
    becket("plugins")
    becket.install("later", TOOL.format(name="t"))
    assert rows(becket("plugins", "--json"))["later"]["status"] == "loaded"


def test_what_is_required_and_left_out_is_no_matter_of_an_index(becket: Any) -> None:
    becket.install("broken", "import not_there_at_all")
    settle(becket)
    assert becket("plugins").returncode == 0
    ended = becket("plugins", "-p", "broken")
    assert ended.returncode == 3
    assert "not_there_at_all" in ended.stderr


def test_what_is_blocked_by_an_option_is_no_matter_of_an_index(becket: Any) -> None:
    settle(becket)
    becket("plugins")
    assert rows(becket("plugins", "--json", "-p", "no:becket-fake"))["fake"]["status"] == "blocked"
    assert "-p no:fakee blocks nothing" in becket("plugins", "-p", "no:fakee").stderr
    assert rows(becket("plugins", "--json"))["fake"]["status"] == "loaded"


# Hooks


def test_hooks_are_listed_in_the_order_of_their_calls_with_why(becket: Any) -> None:
    for name, mark in (("aa", "(trylast=True)"), ("bb", ""), ("cc", "(tryfirst=True)")):
        becket.install(name, HOOK.format(mark=mark))
    listed = json.loads(becket("hooks", "system_prompt", "--json").stdout)
    assert [(row["place"], row["plugin"], row["phase"]) for row in listed] == [
        (1, "cc", "first"),
        (2, "bb", "normal"),
        (3, "aa", "last"),
    ]
    assert "marked tryfirst" in listed[0]["why"]
    assert becket("hooks").stdout.count("system_prompt") == 3


def test_a_hook_that_there_is_not_is_an_error_with_a_suggestion(becket: Any) -> None:
    ended = becket("hooks", "approve_tol")
    assert (ended.returncode, ended.stdout) == (3, "")
    assert "did you mean 'approve_tool'?" in ended.stderr


# Who may be loaded


@pytest.mark.parametrize("name", ["one", "becket-one", "Becket_One", "becket_one"])
def test_every_name_of_a_plugin_blocks_it(becket: Any, name: str) -> None:
    becket.install("one", LOUD)
    ended = becket("plugins", "--json", "-p", f"no:{name}")
    assert rows(ended)["one"]["status"] == "blocked"
    assert "IMPORTED" not in ended.stderr


@pytest.mark.parametrize("where", ["variable", "file"])
def test_a_name_that_blocks_nothing_is_said_each_time_the_plugins_are_listed(becket: Any, where: str) -> None:
    own = becket.site.parent / "config" / "becket" / "becket.toml"
    own.parent.mkdir(parents=True)
    own.write_text('block = ["fakee"]\n' if where == "file" else "")
    if where == "variable":
        becket.env["BECKET_PLUGINS"] = "no:fakee"
    settle(becket)
    for _ in range(2):  # and not from an index the second time
        ended = becket("plugins")
        assert ended.returncode == 0
        place = "BECKET_PLUGINS" if where == "variable" else str(own)
        assert f"'fakee' under 'block' in {place} blocks nothing: no plugin has that name" in ended.stderr
        assert ended.stderr.count("blocks nothing") == 1


def test_the_variable_blocks_too_and_deny_wins(becket: Any) -> None:
    becket.install("one", LOUD)
    becket.env["BECKET_PLUGINS"] = "no:one"
    assert rows(becket("plugins", "--json"))["one"]["status"] == "blocked"
    ended = becket("plugins", "-p", "one")
    assert ended.returncode == 3
    assert "IMPORTED" not in ended.stderr


def test_without_plugins_none_is_imported(becket: Any) -> None:
    becket.install("loud", LOUD)
    ended = becket("tools", "--no-plugins")
    assert (ended.returncode, ended.stdout) == (0, "")
    assert "IMPORTED" not in ended.stderr


def test_a_run_without_plugins_has_those_that_are_named_and_the_console(becket: Any) -> None:
    becket.install("loud", LOUD)
    ended = becket("run", "--no-plugins", "-p", "fake", "-m", "fake:hello", "hi")
    assert (ended.returncode, ended.stdout) == (0, "Hello, world.\n")
    assert "IMPORTED" not in ended.stderr


def test_what_the_configuration_does_not_allow_is_not_allowed_by_its_name(becket: Any) -> None:
    own = becket.site.parent / "config" / "becket" / "becket.toml"
    own.parent.mkdir(parents=True)
    own.write_text('allow = ["fake"]')
    becket.install("loud", LOUD)
    ended = becket("run", "--no-plugins", "-p", "loud", "-p", "fake", "-m", "fake:hello", "hi")
    assert ended.returncode == 3
    assert "not on the allow list" in ended.stderr
    assert "IMPORTED" not in ended.stderr


def test_before_the_command_it_holds_for_the_help_and_for_commands_of_plugins(becket: Any) -> None:
    becket.install("loud", LOUD)
    assert "IMPORTED" not in becket("-p", "no:loud", "--help").stderr
    assert "IMPORTED" not in becket("-p", "no:loud", "replay", "nowhere").stderr
    shown = becket("--no-plugins", "--help")
    assert "replay" not in shown.stdout
    assert "  run " in shown.stdout


def test_a_choice_of_no_plugin_is_a_usage_error(becket: Any) -> None:
    ended = becket("plugins", "-p", "no:")
    assert ended.returncode == 2
    assert "'no:' names no plugin" in ended.stderr


# The lock


def test_a_lock_is_written_checked_and_held_to(becket: Any, tmp_path: Path) -> None:
    becket.install("one", TOOL.format(name="t"))
    written = becket("lock", cwd=tmp_path)
    assert written.returncode == 0
    assert written.stdout.startswith("becket.lock: ")
    assert becket("lock", "--check", cwd=tmp_path).returncode == 0
    held = ("run", "--locked", "-m", "fake:hello", "hi")
    assert becket(*held, cwd=tmp_path).stdout == "Hello, world.\n"

    becket.install("new", LOUD)
    ran = becket(*held, cwd=tmp_path)
    assert ran.returncode == 0
    assert "becket-new" in ran.stderr
    assert "IMPORTED" not in ran.stderr

    (becket.site / "becket_one.py").write_text(LOUD + TOOL.format(name="t"))
    ran = becket(*held, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (3, "")
    assert "becket-one 1.0: its files are not those that were locked" in ran.stderr
    assert "IMPORTED" not in ran.stderr
    listed = becket("plugins", "--json", "--locked", cwd=tmp_path)
    assert rows(listed)["one"]["status"] == "quarantined"
    checked = becket("lock", "--check", cwd=tmp_path)
    assert checked.returncode == 1
    assert "IMPORTED" not in checked.stderr
    assert len(checked.stdout.splitlines()) == 2
    again = becket("lock", "-p", "no:new", cwd=tmp_path)
    assert "becket-one 1.0: its files are not those" in again.stdout


def test_a_check_right_after_a_lock_has_nothing_to_say_of_what_is_broken(becket: Any, tmp_path: Path) -> None:
    becket.install("broken", "raise ValueError('no luck')")
    written = becket("lock", cwd=tmp_path)
    assert written.returncode == 0
    assert written.stderr.count("'broken' (becket-broken 1.0) is left out of the lock: it could not be imported") == 1
    checked = becket("lock", "--check", cwd=tmp_path)
    assert (checked.returncode, checked.stdout) == (0, "")
    (becket.site / "becket_broken.py").write_text(LOUD + TOOL.format(name="t"))
    ran = becket("run", "--locked", "-m", "fake:hello", "hi", cwd=tmp_path)
    assert ran.returncode == 0
    assert "it could not be used when the lock becket.lock was written" in ran.stderr
    assert "IMPORTED" not in ran.stderr


@pytest.mark.parametrize("command", ["tools", "models", "plugins", "config"])
def test_a_list_of_plugins_that_differ_from_the_lock_is_shown_and_no_success(
    becket: Any, tmp_path: Path, command: str
) -> None:
    becket.install("one", TOOL.format(name="t"))
    assert becket("lock", cwd=tmp_path).returncode == 0
    becket.env["BECKET_LOCK"] = str(tmp_path / "becket.lock")
    assert becket(command, cwd=tmp_path).returncode == 0
    (becket.site / "becket_one.py").write_text(LOUD + TOOL.format(name="t"))
    ended = becket(command, cwd=tmp_path)
    assert ended.returncode == 3
    assert ended.stdout
    assert "IMPORTED" not in ended.stderr
    assert "becket: the installed plugins are not those of the lock " in ended.stderr
    assert ended.stderr.count("its files are not those that were locked") == 1
    assert "the configuration is wrong" not in ended.stderr


@pytest.mark.parametrize("command", ["run hi", "tools", "models", "plugins", "doctor", "lock --check"])
def test_without_the_lock_that_is_asked_for_nothing_goes_on(becket: Any, tmp_path: Path, command: str) -> None:
    locked = [] if command.startswith("lock") else ["--locked"]
    ended = becket(*command.split(), *locked, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (3, "")
    assert "there is no lock becket.lock; write one with 'becket lock'" in ended.stderr


AGENT = """
import click
from becket import Runtime, hookimpl, load_config


@hookimpl
def register_commands(cli):
    @cli.command("list")
    @click.option("--end", is_flag=True)
    def listed(end):
        runtime = Runtime(config=load_config())
        click.echo(" ".join(plugin.name for plugin in runtime.plugins if plugin.status == "loaded"))
"""
"""A command that makes a runtime, as `becket serve` does."""


@pytest.mark.parametrize(
    "words", [("--locked", "list"), ("list", "--locked"), ("list", "--end", "--lock", "becket.lock")]
)
def test_a_command_of_a_plugin_is_held_to_a_lock_as_a_run_is(becket: Any, tmp_path: Path, words: Sequence[str]) -> None:
    """Also to the plugin that has the command: it is not imported to find out."""
    becket.install("listing", AGENT)
    becket.install("one", TOOL.format(name="t"))
    assert becket("lock", cwd=tmp_path).returncode == 0
    assert "listing" in becket(*words, cwd=tmp_path).stdout.split()

    for name, source in (("one", TOOL.format(name="t")), ("listing", AGENT)):
        (becket.site / f"becket_{name}.py").write_text(LOUD + source)
        ended = becket(*words, cwd=tmp_path)
        assert (ended.returncode, ended.stdout) == (3, "")
        assert ended.stderr.count("\n") == 1
        assert f"becket-{name} 1.0: its files are not those that were locked" in ended.stderr
        assert "IMPORTED" not in ended.stderr


@pytest.mark.parametrize(
    ("words", "loaded"),
    [
        (("list", "--no-plugins"), []),
        (("list", "--no-plugins", "-p", "one"), ["one"]),
        (("--no-plugins", "-p", "one", "-p", "listing", "list"), ["listing", "one"]),
        (("-p", "one", "list", "--no-plugins", "-p", "one"), ["one"]),
    ],
)
def test_a_command_of_a_plugin_loads_the_plugins_that_are_wanted(
    becket: Any, words: Sequence[str], loaded: Sequence[str]
) -> None:
    becket.install("listing", AGENT)
    becket.install("one", TOOL.format(name="t"))
    ended = becket(*words)
    assert (ended.stdout.split(), ended.stderr) == (loaded, "")


def test_what_a_command_of_a_plugin_leaves_out_after_its_name_is_not_spoken_of(becket: Any) -> None:
    becket.install("listing", AGENT)
    becket.install("broken", "import not_there_at_all")
    ended = becket("list", "-p", "no:broken")
    assert "broken" not in ended.stdout + ended.stderr
    assert "-p [no:]NAME" in becket("list", "--help").stdout


def test_a_command_does_not_give_another_meaning_to_what_all_commands_have(becket: Any) -> None:
    becket.install("listing", AGENT.replace("--end", "--locked"))
    ended = becket("--help")
    assert "the command 'list' has the option --locked, which all commands have; name it otherwise" in ended.stderr
    assert "list " not in ended.stdout


def test_a_group_of_a_plugin_has_them_with_each_of_its_commands(becket: Any, tmp_path: Path) -> None:
    source = AGENT.replace("@cli.command", "@cli.group()\n    def all(): ...\n    @all.command")
    becket.install("listing", source)
    assert becket("lock", cwd=tmp_path).returncode == 0
    assert "listing" in becket("all", "list", "--locked", cwd=tmp_path).stdout.split()
    (becket.site / "becket_listing.py").write_text(LOUD + source)
    ended = becket("all", "list", "--locked", cwd=tmp_path)
    assert (ended.returncode, "IMPORTED" in ended.stderr) == (3, False)


def test_a_lock_that_the_environment_names_holds_every_command_but_the_one_that_writes_it(
    becket: Any, tmp_path: Path
) -> None:
    becket.install("one", TOOL.format(name="t"))
    assert becket("lock", cwd=tmp_path).returncode == 0
    becket.env["BECKET_LOCK"] = str(tmp_path / "becket.lock")
    (becket.site / "becket_one.py").write_text(LOUD + TOOL.format(name="t"))
    ended = becket("run", "-m", "fake:hello", "hi")
    assert (ended.returncode, "becket-one 1.0: its files are not" in ended.stderr) == (3, True)
    assert becket("lock", cwd=tmp_path).returncode == 0


# Installing


def wheel(folder: Path) -> Path:
    """The wheel of a plugin without requirements."""
    files = {
        "becket_rain.py": TOOL.format(name="rain"),
        "becket_rain-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: becket-rain\nVersion: 1.0\n",
        "becket_rain-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "becket_rain-1.0.dist-info/entry_points.txt": "[becket]\nrain = becket_rain\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},{len(text)}\n"
        for name, text in files.items()
    )
    path = folder / "becket_rain-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in (*files.items(), ("becket_rain-1.0.dist-info/RECORD", record)):
            archive.writestr(name, text)
    return path


def test_a_plugin_is_installed_shown_and_uninstalled_by_any_name(becket: Any, tmp_path: Path) -> None:
    """In an environment of its own, by whichever installer it has, without an index."""
    pip = ["--without-pip"] if shutil.which("uv") else []
    subprocess.run([sys.executable, "-m", "venv", *pip, str(tmp_path / "env")], check=True)  # noqa: S603  ours
    del becket.env["PYTHONWARNINGS"]  # those of an installer are not ours
    python = tmp_path / "env" / "bin" / "python"
    becket.env |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PIP_NO_INDEX": "1", "UV_OFFLINE": "1"}
    command = (str(python), "-P", "-m", "becket_cli")

    def run(*arguments: str) -> Any:
        started = becket.start(*arguments, program=command)
        stdout, stderr = started.communicate(timeout=60)
        return started.returncode, stdout, stderr

    code, stdout, stderr = run("install", str(wheel(tmp_path)))
    assert code == 0, stderr
    assert stderr.startswith("becket: running: ")
    assert "becket_rain-1.0-py3-none-any.whl" in stderr
    assert any(line.split()[:4] == ["rain", "becket-rain", "1.0", "loaded"] for line in stdout.splitlines())
    code, _, stderr = run("uninstall", "becket_rain")
    assert code == 0, stderr
    assert "becket: rain is no longer installed" in stderr
    code, _, stderr = run("uninstall", "rain")
    assert code == 3
    assert "no installed plugin has the name 'rain'" in stderr


PIP = """
import os, sys
print("pip was given", *sys.argv[1:], file=sys.stderr)
raise SystemExit(3)
"""


def test_pip_is_told_to_say_what_is_wrong_alone_and_called_by_its_name(becket: Any, tmp_path: Path) -> None:
    """Without `--quiet` it says of each requirement that it is satisfied; what failed is pip, and not `python3`."""
    (becket.site / "pip").mkdir()
    (becket.site / "pip" / "__init__.py").touch()
    (becket.site / "pip" / "__main__.py").write_text(PIP)
    becket.env["PATH"] = str(tmp_path)  # where no uv is
    ended = becket("install", "becket-rain")
    assert ended.returncode == 1
    assert "pip was given install --quiet becket-rain\n" in ended.stderr
    assert ended.stderr.endswith("becket: pip has failed, with the exit code 3\n")


def test_what_the_command_needs_is_not_uninstalled(becket: Any) -> None:
    ended = becket("uninstall", "console")
    assert ended.returncode == 3
    assert "becket-console is needed by becket-cli" in ended.stderr
    assert "running" not in ended.stderr


@pytest.mark.parametrize("name", ["becket", "becket_cli"])
def test_becket_itself_is_no_plugin_and_no_other_is_suggested_in_its_place(becket: Any, name: str) -> None:
    becket.install("rm", TOOL.format(name="t"))
    ended = becket("uninstall", name)
    assert ended.returncode == 3
    assert f"{name!r} is becket itself, and no plugin; to remove it, " in ended.stderr
    assert "becket-cli becket" in ended.stderr
    assert "did you mean" not in ended.stderr


def test_a_distribution_that_is_no_plugin_is_said_to_be_none(becket: Any) -> None:
    becket.install("plugy", TOOL.format(name="t"))
    ended = becket("uninstall", "Pluggy")
    assert ended.returncode == 3
    assert "the distribution 'Pluggy' is no plugin" in ended.stderr
    assert "did you mean" not in ended.stderr


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("uv-receipt.toml", "run: uv tool uninstall becket-cli"),
        ("pipx_metadata.json", "run: pipx uninstall becket-cli"),
    ],
)
def test_a_tool_is_removed_by_what_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, says: str
) -> None:
    prefix = tmp_path / "becket-cli"
    prefix.mkdir()
    (prefix / file).write_text("")
    monkeypatch.setattr(sys, "prefix", str(prefix))
    with pytest.raises(ConfigError, match=says):
        uninstall(["becket"])


@pytest.mark.parametrize("arguments", [("install", "--", "--index-url=x"), ("install",), ("uninstall", "--", "-r")])
def test_an_option_of_the_installer_is_no_name(becket: Any, arguments: tuple[str, ...]) -> None:
    ended = becket(*arguments)
    assert ended.returncode == 2
    assert "running" not in ended.stderr


def test_a_name_of_two_distributions_is_no_name_to_uninstall(becket: Any) -> None:
    for name in ("one", "two"):
        becket.install(name, "")
        (becket.site / f"becket_{name}-1.0.dist-info" / "entry_points.txt").write_text(f"[becket]\nx = becket_{name}\n")
    ended = becket("uninstall", "x")
    assert ended.returncode == 3
    assert "'x' is a name of plugins of becket-one and becket-two; name one of these" in ended.stderr


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        (
            "uv-receipt.toml",
            '[tool]\nrequirements = [{ name = "becket-cli" }, { name = "becket-tools" }]',
            "run: uv tool install becket-cli --with becket-tools --with becket-rain",
        ),
        ("uv-receipt.toml", "of another uv", "run: uv tool install becket-cli --with becket-rain"),
        ("pipx_metadata.json", "{}", "run: pipx inject becket-cli becket-rain"),
    ],
)
def test_an_environment_that_a_tool_keeps_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: str, says: str
) -> None:
    prefix = tmp_path / "becket-cli"
    prefix.mkdir()
    (prefix / file).write_text(content)
    monkeypatch.setattr(sys, "prefix", str(prefix))
    with pytest.raises(ConfigError) as refused:
        found(["becket-rain"], remove=False)
    assert str(refused.value).endswith(says)


def test_a_python_that_the_system_manages_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "EXTERNALLY-MANAGED").write_text("")
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path) if name == "stdlib" else "")
    with pytest.raises(ConfigError, match="managed by the system"):
        found(["becket-rain"], remove=False)


def test_what_a_project_of_uv_will_undo_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = tmp_path / ".venv"
    prefix.mkdir()
    (prefix / "pyvenv.cfg").write_text("home = /usr/bin\nuv = 0.9\n")
    (tmp_path / "uv.lock").write_text("")
    program = tmp_path / "uv"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("UV_PROJECT_ENVIRONMENT", raising=False)
    monkeypatch.setattr(sys, "prefix", str(prefix))
    installer = found(["becket-rain"], remove=False)
    assert installer.install[:3] == (str(program), "pip", "install")
    assert "'uv add becket-rain' lasts" in installer.remark
