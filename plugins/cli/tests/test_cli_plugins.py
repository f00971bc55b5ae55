"""What plugins add to the command line, and what broken ones must not take away from it."""

from __future__ import annotations

import json
from typing import Any

import pytest

COMMAND = """
import click
from becket import hookimpl

@click.command()
@click.pass_context
def greet(ctx):
    "Greet the world."
    click.echo("Hello from a plugin")
    {body}

@hookimpl
def register_commands(cli):
    cli.add_command(greet{name})
"""

BROKEN = {
    "no_import": ("import not_there_at_all", "No module named 'not_there_at_all'"),
    "exits": ("raise SystemExit(3)", "SystemExit"),
    "no_hook": (
        "from becket import hookimpl\n@hookimpl\ndef register_tool(): return []",
        "did you mean 'register_tools'?",
    ),
    "hook_fails": (
        "from becket import hookimpl\n@hookimpl\ndef register_commands(cli): raise ValueError('no luck')",
        "no luck",
    ),
    "no_command": (
        "from becket import hookimpl\n@hookimpl\ndef register_commands(cli): cli.add_command('greet')",
        "'greet' is no click.Command",
    ),
    "bad_help": (
        (
            "import click\nfrom becket import hookimpl\n"
            "class Odd(click.Command):\n    def get_short_help_str(self, limit=45): raise KeyError('help')\n"
            "@hookimpl\ndef register_commands(cli): cli.add_command(Odd('odd'))"
        ),
        "KeyError: 'help'",
    ),
    "takes_run": (COMMAND.format(body="", name=", 'run'"), "there is a command 'run' already"),
}


def test_a_command_of_a_plugin_is_listed_and_runs(becket: Any) -> None:
    becket.install("greeting", COMMAND.format(body="ctx.exit(9)", name=""))
    assert "Greet the world." in becket("--help").stdout
    ended = becket("greet")
    assert (ended.returncode, ended.stdout, ended.stderr) == (9, "Hello from a plugin\n", "")


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ("return 5", 0, ""),
        ("raise SystemExit(6)", 6, ""),
        ("raise click.UsageError('not so')", 2, "Error: not so"),
        ("raise ValueError('a bug')", 1, "becket: ValueError: a bug\n"),
        ("import becket; raise becket.ConfigError('not set up')", 3, "becket: not set up\n"),
        ("input()", 1, "standard input has ended"),
        ("raise KeyboardInterrupt", 130, "becket: interrupted"),
        ("raise BrokenPipeError", 141, ""),
    ],
)
def test_a_command_of_a_plugin_ends_as_becket_itself_does(becket: Any, body: str, code: int, says: str) -> None:
    becket.install("greeting", COMMAND.format(body=body, name=""))
    ended = becket("greet")
    assert ended.returncode == code
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(("source", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_is_named_once_and_spoils_nothing(becket: Any, source: str, reason: str) -> None:
    becket.install("broken", source, version="0.3")
    becket.install("greeting", COMMAND.format(body="", name=""))
    shown, greeted, ran = becket("--help"), becket("greet"), becket("run", "-m", "fake:hello", "hi")
    assert (shown.returncode, greeted.returncode, ran.returncode) == (0, 0, 0)
    assert "Greet the world." in shown.stdout
    assert "Run an agent on PROMPT." in shown.stdout
    assert greeted.stdout == "Hello from a plugin\n"
    assert ran.stdout == "Hello, world.\n"
    for said in (shown.stderr, greeted.stderr):
        assert said.count("\n") == 1
        assert said.startswith("becket: plugin 'broken' (becket-broken 0.3) is left out: ")
        assert reason in said
        assert "-p no:broken" in said


def test_several_broken_plugins_are_named_in_one_line(becket: Any) -> None:
    """What is said in each run is not to hide what the run says; 'becket doctor' is asked why."""
    for name in ("one", "two", "three"):
        becket.install(name, "import not_there_at_all")
    ran = becket("run", "-q", "-m", "fake:hello", "hi")
    (line,) = ran.stderr.splitlines()
    assert line.startswith("becket: 3 plugins are left out: ")
    assert line.endswith("; 'becket doctor' says why")
    assert all(name in line for name in ("one", "two", "three"))
    assert ran.stdout == "Hello, world.\n"
    assert "\n3 problems, " in becket("doctor").stdout


def test_with_tracebacks_each_broken_plugin_has_its_own(becket: Any) -> None:
    for name in ("one", "two"):
        becket.install(name, "import not_there_at_all")
    said = becket("run", "-q", "--traceback", "-m", "fake:hello", "hi").stderr
    assert said.count("ModuleNotFoundError: No module named 'not_there_at_all'\n") == 2
    assert said.count(" is left out: ") == 2


def test_a_blocked_plugin_is_not_spoken_of(becket: Any) -> None:
    becket.install("broken", "import not_there_at_all")
    assert becket("run", "-q", "-p", "no:broken", "-m", "fake:hello", "hi").stderr == ""


def test_a_traceback_tells_plugin_authors_where_it_broke(becket: Any) -> None:
    becket.install("broken", "import not_there_at_all")
    said = becket("plugins", "--traceback").stderr
    assert "import not_there_at_all" in said
    assert "ModuleNotFoundError" in said


def test_what_a_plugin_prints_while_it_is_imported_is_no_output(becket: Any) -> None:
    becket.install("noisy", "from becket import tool\nprint('noise')\n@tool\ndef t() -> str: return ''")
    ended = becket("models", "--json")
    assert "noise" not in ended.stdout
    assert json.loads(ended.stdout)


def test_the_version_reads_no_plugin(becket: Any) -> None:
    becket.install("broken", "import sys; print('imported', file=sys.stderr); raise ValueError")
    ended = becket("--version")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "becket 0.1.0\n", "")


def test_the_help_of_a_command_reads_no_plugin(becket: Any) -> None:
    becket.install("broken", "import sys; print('imported', file=sys.stderr); raise ValueError")
    ended = becket("run", "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "130 interrupted" in ended.stdout


def test_a_working_directory_that_is_gone_is_no_obstacle(becket: Any, tmp_path: Any) -> None:
    gone = tmp_path / "gone"
    ended = becket.shell(f"mkdir {gone} && cd {gone} && rmdir {gone} && becket --help")
    assert ended.returncode == 0
    assert "Run an agent on PROMPT." in ended.stdout
    assert "Traceback" not in ended.stderr


def test_a_command_that_there_is_not_is_a_usage_error(becket: Any) -> None:
    ended = becket("rum")
    assert ended.returncode == 2
    assert "No such command 'rum'" in ended.stderr


# Lists


def test_plugins_are_listed_with_what_became_of_them(becket: Any) -> None:
    becket.install("broken", "import not_there_at_all", version="0.3")
    ended = becket("plugins", "-p", "no:local")
    rows = {line.split()[0]: line for line in ended.stdout.splitlines()}
    assert "quarantined" in rows["broken"]
    assert "No module named 'not_there_at_all'" in rows["broken"]
    assert "blocked" in rows["local"]
    assert "becket-fake" in rows["fake"]
    assert ended.stderr == ""


def test_plugins_as_json(becket: Any) -> None:
    rows = {row["name"]: row for row in json.loads(becket("plugins", "--json").stdout)}
    assert rows["fake"]["distribution"] == "becket-fake"
    assert rows["fake"]["status"] == "loaded"
    assert rows["fake"]["adds"]["providers"] == ["fake"]


def test_tools_are_listed_with_whether_they_are_granted(becket: Any) -> None:
    rows = {row["name"]: row for row in json.loads(becket("tools", "--json").stdout)}
    assert rows["ready"]["granted"] is True
    assert rows["writer"]["granted"] is False
    assert rows["remote"]["reach"] == "network"
    assert rows["calculator"]["parameters"]["type"] == "object"


def test_a_tool_without_a_schema_does_not_hide_the_others(becket: Any) -> None:
    becket.install("odd", "from becket import tool\n@tool\ndef odd(x: 'Missing') -> str: return ''")
    ended = becket("tools", "--json")
    rows = {row["name"]: row for row in json.loads(ended.stdout)}
    assert rows["odd"]["parameters"] is None
    assert rows["ready"]["parameters"] is not None
    assert "becket: the tool 'odd' cannot be used: " in ended.stderr


def test_tools_of_one_name_are_listed_as_they_can_be_asked_for(becket: Any) -> None:
    becket.install("twin", "from becket import tool\n@tool\ndef ready() -> str: return ''")
    names = {line.split()[0] for line in becket("tools").stdout.splitlines()}
    assert {"becket-fake:ready", "becket-twin:ready"} <= names


def test_models_are_listed_one_a_line_for_other_programs(becket: Any) -> None:
    ended = becket("models")
    lines = ended.stdout.splitlines()
    assert lines[0].split() == ["MODEL", "DEFAULT", "PLUGIN", "DESCRIPTION"]
    assert any(line.split()[:3] == ["fake:hello", "no", "becket-fake"] for line in lines)


def test_a_default_among_several_is_none(becket: Any) -> None:
    """A run without a model is refused then; for programs it stays the provider's default."""
    becket.install("listing", LISTING)
    own = "from becket import hookimpl\nfrom becket.testing import ScriptedProvider, text\n@hookimpl\n"
    becket.install(
        "more", f"{own}def register_providers(): return [ScriptedProvider(text('x'), name='more', model='m')]"
    )
    shown = {line.split()[0]: line.split()[1] for line in becket("models").stdout.splitlines()}
    assert (shown["listing:large"], shown["more:m"], shown["fake:hello"]) == ("ambiguous", "ambiguous", "no")
    assert {row["name"]: row["default"] for row in json.loads(becket("models", "--json").stdout)}["more:m"] is True


def test_a_provider_that_cannot_list_its_models_does_not_hide_the_others(becket: Any) -> None:
    becket.install(
        "mute",
        "from becket import hookimpl\nfrom becket.testing import ScriptedProvider, text\n"
        "class Mute(ScriptedProvider):\n    def models(self): raise OSError('no list')\n"
        "@hookimpl\ndef register_providers(): return [Mute(text('x'), name='mute')]",
    )
    ended = becket("models")
    assert "fake:hello" in ended.stdout
    assert "becket: the provider 'mute' cannot list its models: OSError: no list" in ended.stderr


LISTING = """
import sys
from becket import ModelInfo, ProviderError, hookimpl
from becket.testing import ScriptedProvider, text

class Listing(ScriptedProvider):
    async def list_models(self):
        if self.name == "broken":
            raise ProviderError("the key is refused", status=401, code="invalid_api_key", request_id="req_1")
        return [ModelInfo("asked", "from the service"), ModelInfo("large")]
    async def aclose(self):
        print("closed", file=sys.stderr)

@hookimpl
def register_providers():
    return [Listing(text("x"), name="listing", model="large"), Listing(text("x"), name="broken")]
"""


def test_without_a_name_no_service_is_asked_for_its_models(becket: Any) -> None:
    becket.install("listing", LISTING)
    ended = becket("models")
    assert "asked" not in ended.stdout
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_service_of_a_named_provider_is_asked_for_its_models(becket: Any) -> None:
    becket.install("listing", LISTING)
    ended = becket("models", "listing", "--json")
    assert [(row["name"], row["default"], row["description"]) for row in json.loads(ended.stdout)] == [
        ("listing:asked", False, "from the service"),
        ("listing:large", True, ""),
    ]
    assert (ended.returncode, ended.stderr) == (0, "closed\n")


def test_a_service_that_refuses_to_list_its_models_is_an_error_with_its_own_words(becket: Any) -> None:
    becket.install("listing", LISTING)
    ended = becket("models", "broken")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "closed\nbecket: the key is refused (code invalid_api_key, request req_1)\n"


def test_a_provider_that_cannot_ask_shows_the_models_that_it_knows_and_says_so(becket: Any) -> None:
    ended = becket("models", "fake", "--json")
    assert "fake:hello" in {row["name"] for row in json.loads(ended.stdout)}
    assert ended.stderr.startswith("becket: the provider 'fake' cannot ask its service; these are the models")


def test_a_provider_that_is_not_there_is_no_empty_list(becket: Any) -> None:
    ended = becket("models", "fakee:hello")
    assert (ended.returncode, ended.stdout) == (3, "")
    assert "there is no provider 'fakee:hello'; did you mean 'fake'?" in ended.stderr


def test_a_run_that_a_service_refuses_says_what_it_calls_that(becket: Any) -> None:
    becket.install(
        "refuses",
        "from becket import ProviderError, hookimpl\nfrom becket.testing import ScriptedProvider\n"
        "error = ProviderError('refused', code='invalid_api_key', request_id='req_1')\n"
        "@hookimpl\ndef register_providers(): return [ScriptedProvider([error], name='refuses')]",
    )
    said = "refused (code invalid_api_key, request req_1)"
    assert f"failed: ProviderError: {said}" in becket("run", "-m", "refuses", "hi").stderr
    assert f"the run failed: {said}" in becket("run", "--json", "-p", "no:console", "-m", "refuses", "hi").stderr


def test_without_providers_the_list_says_what_to_install(becket: Any) -> None:
    giving = ("fake", "local", "openai", "anthropic", "google", "fallback")
    ended = becket("models", *(part for name in giving for part in ("-p", f"no:{name}")))
    assert (ended.returncode, ended.stdout) == (0, "")
    assert "install a plugin" in ended.stderr
