"""The configuration: what `becket config` shows, what runs take from it, and what becomes of one that is wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

VENDOR = """
from pydantic import BaseModel, SecretStr
from becket import hookimpl, tool

class Vendor(BaseModel):
    api_key: SecretStr = SecretStr("")
    timeout: float = 30.0

@hookimpl
def declare_config():
    return Vendor

@hookimpl
def register_tools(config):
    @tool(effect="none")
    def patience() -> float:
        return config.timeout
    return [patience]
"""


class Folders:
    """The user's own file and the folder of a project, in which the command is run."""

    def __init__(self, becket: Any, folder: Path) -> None:
        self.becket = becket
        self.own = folder / "config" / "becket" / "becket.toml"  # see XDG_CONFIG_HOME in conftest.py
        self.here = folder / "project"
        self.own.parent.mkdir(parents=True)
        self.here.mkdir()

    def user(self, content: str) -> None:
        self.own.write_text(content, encoding="utf-8")

    def project(self, content: str) -> None:
        (self.here / "becket.toml").write_text(content, encoding="utf-8")

    def __call__(self, *arguments: str, **more: Any) -> Any:
        return self.becket(*arguments, cwd=self.here, **more)

    def settings(self, *arguments: str) -> dict[str, dict[str, Any]]:
        shown = json.loads(self("config", "--json", *arguments).stdout)
        return {row["key"]: row for row in shown["settings"]}


@pytest.fixture
def folders(becket: Any, tmp_path: Path) -> Folders:
    return Folders(becket, tmp_path)


# What is shown


def test_files_and_values_are_shown_with_where_they_come_from(folders: Folders) -> None:
    folders.user("[limits]\ncycles = 20\n")
    folders.project('model = "fake:hello"\n[limits]\ncycles = 500\n')
    ended = folders("config")
    lines = [line.split() for line in ended.stdout.splitlines()]
    assert [str(folders.own), "user", "read"] in lines
    assert [str(folders.here / "becket.toml"), "project", "read"] in lines
    assert ["model", '"fake:hello"', str(folders.here / "becket.toml")] in lines
    assert ["limits.tokens", '"none"', "default"] in lines
    (cycles,) = [line for line in lines if line[:1] == ["limits.cycles"]]
    assert cycles[1:3] == ["20", str(folders.own)]
    assert "does not count: a project may only lower it" in " ".join(cycles)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_files_that_are_not_there_are_shown(folders: Folders) -> None:
    shown = json.loads(folders("config", "--json").stdout)
    assert [(row["file"], row["status"]) for row in shown["files"]] == [
        (str(folders.own), "absent"),
        (str(folders.here / "becket.toml"), "absent"),
    ]


def test_secrets_are_masked_and_one_that_others_can_read_is_told(folders: Folders) -> None:
    folders.becket.install("vendor", VENDOR)
    folders.user(
        '[plugins.vendor]\napi_key = "sk-very-secret"\ntimeout = 5\n[plugins.nowhere]\nkey = "sk-very-secret"\n'
    )
    folders.own.chmod(0o644)
    ended = folders("config")
    assert "sk-very-secret" not in ended.stdout + ended.stderr
    lines = [line.split() for line in ended.stdout.splitlines()]
    assert ["plugins.vendor.api_key", '"**********"', str(folders.own)] in lines
    assert ["plugins.vendor.timeout", "5", str(folders.own)] in lines
    assert f"becket: {folders.own} holds a secret, and others may read it; run: chmod 600 {folders.own}" in ended.stderr
    assert "[plugins.nowhere]" in ended.stderr
    assert ended.returncode == 0


def test_what_is_wrong_is_told_and_the_rest_is_shown(folders: Folders) -> None:
    folders.becket.install("vendor", VENDOR)
    folders.user('modle = "x"\nsystem_prompt = "Hi."\n[plugins.vendor]\napi_key = 5\ntimeuot = 1\n')
    ended = folders("config", "--json")
    shown = json.loads(ended.stdout)
    assert ended.returncode == 3
    assert len(shown["problems"]) == 2
    for problem in shown["problems"]:
        assert f"becket: the configuration is wrong: {problem}\n" in ended.stderr
    assert f"modle in {folders.own} is not known; did you mean 'model'?" in ended.stderr
    assert f"plugins.vendor.timeuot in {folders.own} is not known; did you mean 'timeout'?" in ended.stderr
    (prompt,) = [row["value"] for row in shown["settings"] if row["key"] == "system_prompt"]
    assert prompt == "Hi."


def test_a_variable_that_names_the_model_is_shown_as_such(folders: Folders) -> None:
    folders.becket.env["BECKET_MODEL"] = "fake:hello"
    row = folders.settings()["model"]
    assert (row["value"], row["from"], row["place"]) == ("fake:hello", "environment", "BECKET_MODEL")


# Which file is read


def test_another_file_can_be_named(folders: Folders) -> None:
    folders.user('system_prompt = "own"')
    other = folders.here / "other.toml"
    other.write_text('system_prompt = "other"')
    assert folders.settings("--config", "other.toml")["system_prompt"]["value"] == "other"
    shown = json.loads(folders("--config", "other.toml", "config", "--json").stdout)
    assert shown["files"][0]["file"] == str(other)
    folders.becket.env["BECKET_CONFIG"] = str(other)
    assert folders.settings()["system_prompt"]["value"] == "other"


def test_a_named_file_must_be_there(folders: Folders) -> None:
    ended = folders("run", "--config", "nowhere.toml", "-m", "fake:hello", "hi")
    assert (ended.returncode, ended.stdout) == (3, "")
    assert f"{folders.here / 'nowhere.toml'} cannot be read: there is no such file" in ended.stderr


# What runs take from it


def test_a_run_takes_its_model_instructions_and_options_from_it(folders: Folders) -> None:
    folders.user('model = "fake:said"\nsystem_prompt = "Be brief."\n')
    assert folders("run", "-q", "hi").stdout == "system=Be brief. prompt=hi\n"
    assert folders("run", "-q", "--system", "", "hi").stdout == "system= prompt=hi\n"
    folders.user('model = "fake:options"\n[options]\ntemperature = 0.5\nmax_tokens = 7\n')
    assert folders("run", "-q", "hi").stdout == "0.5 7\n"
    assert folders("run", "-q", "--max-tokens", "9", "hi").stdout == "0.5 9\n"


def test_a_run_takes_its_limits_from_it(folders: Folders) -> None:
    folders.user("[limits]\ncycles = 1\n")
    assert folders("run", "-q", "-m", "fake:ready", "hi").returncode == 4
    assert folders("run", "-q", "-m", "fake:ready", "--limit-cycles", "5", "hi").returncode == 0


def test_a_run_has_the_tools_that_it_names_instead_of_those_that_only_look(folders: Folders) -> None:
    folders.project('tools = ["writer"]')
    assert folders("run", "-q", "-m", "fake:tools", "hi").stdout == "writer\n"
    assert folders("run", "-q", "-m", "fake:tools", "-t", "remote", "hi").stdout == "remote writer\n"
    assert folders("run", "-q", "-m", "fake:tools", "--no-tools", "-t", "remote", "hi").stdout == "remote\n"
    folders.project("tools = []")
    assert folders("run", "-q", "-m", "fake:tools", "hi").stdout == ""


def test_a_tool_that_it_names_must_be_there(folders: Folders) -> None:
    folders.project('tools = ["wirter"]')
    ended = folders("run", "-m", "fake:tools", "hi")
    assert ended.returncode == 3
    assert f"'wirter' under 'tools' in {folders.here / 'becket.toml'}: there is no tool 'wirter'" in ended.stderr


def test_its_sinks_are_there_besides_the_console(folders: Folders) -> None:
    record = folders.here / "run.ndjson"
    folders.user(f'sinks = ["journal:{record}"]')
    ended = folders("run", "-m", "fake:hello", "hi")
    assert ended.stdout == "Hello, world.\n"
    assert record.exists()


def test_the_command_line_names_other_sinks_instead(folders: Folders) -> None:
    record = folders.here / "run.ndjson"
    folders.user(f'sinks = ["journal:{record}"]')
    folders("run", "--sink", "console", "-m", "fake:hello", "hi")
    assert not record.exists()


def test_it_may_say_how_much_the_console_shows(folders: Folders) -> None:
    folders.user('sinks = ["console:quiet"]')
    assert folders("run", "-m", "fake:hello", "hi").stderr == ""
    assert "10 tokens in" in folders("run", "-v", "-m", "fake:hello", "hi").stderr


def test_a_plugin_gets_its_table(folders: Folders) -> None:
    folders.becket.install("vendor", VENDOR)
    folders.user("[plugins.vendor]\ntimeout = 5\n")
    assert folders.settings()["plugins.vendor.timeout"]["value"] == 5


# What is wrong


@pytest.mark.parametrize("content", ['modle = "x"', "model = ", "[plugins.vendor]\ntimeout = []"])
def test_a_run_does_not_begin_with_a_wrong_one(folders: Folders, content: str) -> None:
    folders.becket.install("vendor", VENDOR)
    folders.user(content)
    ended = folders("run", "-m", "fake:hello", "hi")
    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr.startswith("becket: the configuration is wrong: ")
    assert str(folders.own) in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_project_cannot_approve_or_switch_off(folders: Folders) -> None:
    folders.project('block = ["fake"]\n[approvals]\nallow = ["writer"]\n')
    ended = folders("run", "-m", "fake:hello", "hi")
    assert ended.returncode == 3
    assert "wrong in 2 places" in ended.stderr
    assert f"must not be set by a project; write it into {folders.own}, if you want it" in ended.stderr


@pytest.mark.parametrize("command", ["plugins", "tools", "models"])
@pytest.mark.parametrize("content", ["model = ", "[plugins.vendor]\ntimeout = []", 'require = ["warden"]'])
def test_lists_are_shown_all_the_same(folders: Folders, command: str, content: str) -> None:
    folders.becket.install("vendor", VENDOR)
    folders.user(content)
    ended = folders(command)
    assert ended.returncode == 0
    assert "fake" in ended.stdout
    assert ended.stderr.startswith("becket: the configuration is wrong: ")
    assert len(ended.stderr.splitlines()) == 1


def test_a_plugin_whose_table_is_wrong_is_listed_with_the_reason(folders: Folders) -> None:
    folders.becket.install("vendor", VENDOR)
    folders.user("[plugins.vendor]\ntimeout = []")
    (row,) = [row for row in json.loads(folders("plugins", "--json").stdout) if row["name"] == "vendor"]
    assert (row["status"], row["reason"]) == (
        "quarantined",
        f"plugins.vendor.timeout in {folders.own} is []: input should be a valid number",
    )


def test_a_plugin_that_is_not_configured_is_no_news(folders: Folders) -> None:
    folders.becket.install("needy", VENDOR.replace('api_key: SecretStr = SecretStr("")', "api_key: SecretStr"))
    assert folders("run", "-q", "-m", "fake:hello", "hi").stderr == ""
    (row,) = [row for row in json.loads(folders("plugins", "--json").stdout) if row["name"] == "needy"]
    assert row["reason"] == "it is not configured: the table [plugins.needy] has to set api_key"


def test_a_required_plugin_that_cannot_be_imported_ends_the_run(folders: Folders) -> None:
    folders.becket.install("warden", "import not_there_at_all")
    folders.user('require = ["warden"]')
    ended = folders("run", "-m", "fake:hello", "hi")
    assert (ended.returncode, ended.stdout) == (3, "")
    assert f"'warden' under 'require' in {folders.own}: the plugin 'warden' is required" in ended.stderr
    assert "not_there_at_all" in ended.stderr


@pytest.mark.parametrize("arguments", [("--version",), ("run", "--help"), ("config", "--help")], ids=" ".join)
def test_what_only_describes_reads_none(folders: Folders, arguments: tuple[str, ...]) -> None:
    folders.user("nonsense")
    ended = folders(*arguments)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_help_comes_whatever_is_wrong(folders: Folders) -> None:
    folders.user("nonsense")
    folders.project("nonsense")
    ended = folders("--help")
    assert ended.returncode == 0
    assert "replay" in ended.stdout  # of a plugin
    assert len(ended.stderr.splitlines()) == 1


def test_what_is_blocked_is_not_imported_for_the_help_either(folders: Folders) -> None:
    folders.becket.install("loud", "import sys; sys.stderr.write('IMPORTED')")
    folders.user('block = ["loud"]')
    assert "IMPORTED" not in folders("--help").stderr
    assert "IMPORTED" not in folders("replay", "nowhere").stderr


def test_a_command_of_a_plugin_reads_the_named_file(folders: Folders) -> None:
    (folders.here / "other.toml").write_text("nonsense")
    ended = folders("--config", "other.toml", "replay", "nowhere")
    assert ended.returncode == 3
    assert f"{folders.here / 'other.toml'} cannot be read" in ended.stderr
