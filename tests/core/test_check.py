"""Checking a plugin: what is found, said, and not looked at; from a name, a module, a file and a project."""

from __future__ import annotations

import functools
import io
import json
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from becket import ConfigError
from becket.testing import Finding, SocketWireConformance, ToolConformance, check, checks
from becket.testing import _checking as checking
from becket.testing._contract import rules_of
from becket.testing._examples import example

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GOOD = """
from becket import tool

@tool(effect="none")
def shout(text: str) -> str:
    "Shout a text."
    return text.upper()
"""

ALL = """
import asyncio
from becket import Allow, ConfigError, MemoryLog, ToolError, hookimpl, tool
from becket.testing import ListSink, ScriptedProvider, text

@tool(effect="none")
async def bad(number: int) -> int:
    "Do it."
    try:
        await asyncio.sleep(0)
    except BaseException:
        pass
    return number

@tool(effect="none")
async def raises() -> int:
    "Fail."
    raise KeyError("x")

@tool(effect="none")
async def picky(word: str) -> str:
    "Say a word."
    raise ToolError(f"{word!r} is no word")

@tool(effect="write")
def writes() -> None:
    "Write."
    raise SystemExit(5)

class Wants(ListSink):
    def open(self, run):
        raise ConfigError("the sink 'wants' needs a path")

class Fails(ListSink):
    def open(self, run):
        raise RuntimeError("no")

class Policy:
    name = "all"
    def approve(self, ctx, call, tool):
        return Allow()

class Mask:
    name = "late"
    def mask(self, text):
        return text
    def open(self):
        return Late()

class Late:
    text = ""
    def feed(self, fragment):
        self.text += fragment
        return ""
    def end(self):
        return self.text

class Log(MemoryLog):
    def append(self, event):
        super().append(event)

class Wire:
    name = "socket"
    path = "/socket"
    subprotocols = ()
    async def serve(self, socket, runs): ...

@hookimpl
def register_tools():
    print("this goes nowhere")
    return [bad, raises, picky, writes]

@hookimpl
def register_sinks():
    return [ListSink("plain"), Wants("wants"), Fails("fails")]

@hookimpl
def register_policies():
    return [Policy()]

@hookimpl
def register_masks():
    return [Mask()]

@hookimpl
def make_event_log():
    return lambda run: Log()

@hookimpl
def register_wires():
    return [Wire()]

@hookimpl
def register_providers():
    return [ScriptedProvider(text("hello"))]
"""


def shown(findings: list[Finding], kind: str, name: str) -> dict[str, bool | None]:
    return {found.rule: found.holds for found in findings if (found.kind, found.name) == (kind, name)}


def said(findings: list[Finding], name: str, rule: str) -> str:
    (found,) = [found.sentence for found in findings if (found.name, found.rule) == (name, rule)]
    return found


# -- as it is called ---------------------------------------------------------------------------------------------------


def test_a_file_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "shouting.py"
    file.write_text(GOOD, encoding="utf-8")
    findings = check(file)
    assert {found.holds for found in findings} == {True, None}
    assert said(findings, "shout", "a cancelled call ends").startswith("no tool is async")
    assert {(found.kind, found.name) for found in findings} == {("plugin", "shouting"), ("tool", "shout")}
    assert findings[0].to_json() == {
        "kind": "plugin",
        "name": "shouting",
        "rule": "it can be imported",
        "holds": True,
        "sentence": "Its module, and what its entry point points at, are there; nothing is raised, and it comes to an "
        "end.",
        "rules": 1,
        "needs": "",
    }
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == ["shouting.py"]


@pytest.mark.parametrize("given", ["tools.py", "./tools.py", "{folder}/tools.py", "../{name}/tools.py"])
def test_a_file_is_what_its_path_says(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where an installed plugin has its name, as becket-tools is called `tools`."""
    (tmp_path / "tools.py").write_text(GOOD, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    findings = check(given.format(folder=tmp_path, name=tmp_path.name))
    assert {(found.kind, found.name) for found in findings} == {("plugin", "tools"), ("tool", "shout")}


def test_a_project_is_not_the_installed_plugin_of_that_name(tmp_path: Path) -> None:
    entries = '[project.entry-points.becket]\ntools = "tools"\n'
    (tmp_path / "pyproject.toml").write_text(f"[project]\nname = 'p'\n{entries}", encoding="utf-8")
    (tmp_path / "tools.py").write_text(GOOD, encoding="utf-8")
    assert {found.name for found in check(tmp_path)} == {"tools", "shout"}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("json.py", r"there is another module 'json' \(it comes with Python\); give the file .*json.py another name"),
        ("turtle.py", r"there is another module 'turtle' \(it comes with Python\)"),
        ("anyio.py", r"there is another module 'anyio' \(.*anyio.__init__.py\)"),
        ("a.b.py", r"a.b.py cannot be a module; it takes a name such as weather.py"),
    ],
)
def test_a_file_that_nobody_would_get_under_its_name_is_refused(name: str, why: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(GOOD, encoding="utf-8")
    with pytest.raises(ConfigError, match=why):
        check(tmp_path / name)


def test_a_project_is_checked_with_all_its_plugins(tmp_path: Path) -> None:
    entries = '[project.entry-points.becket]\none = "one_plugin"\ntwo = "two_plugin:Two"\n'
    (tmp_path / "pyproject.toml").write_text(f"[project]\nname = 'p'\n{entries}", encoding="utf-8")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "one_plugin.py").write_text(GOOD, encoding="utf-8")
    (tmp_path / "src" / "two_plugin.py").write_text("class Two: ...", encoding="utf-8")
    findings = check(tmp_path)
    assert shown(findings, "plugin", "one_plugin")["it is registered"] is True
    assert shown(findings, "plugin", "two_plugin:Two")["it is registered"] is False
    assert "it implements no hook" in said(findings, "two_plugin:Two", "it is registered")


def test_an_installed_plugin_is_checked_by_its_name() -> None:
    findings = check("becket-fallback", python=sys.executable)
    assert {found.holds for found in findings if found.name == "becket_fallback"} == {True, None}
    assert "subclass ProviderConformance" in said(findings, "fallback", "its model calls")


@pytest.mark.parametrize(
    ("plugin", "why"),
    [
        ("nobody", "there is no plugin 'nobody': none that is installed has that name"),
        ("nobody.there:x", "there is no module 'nobody.there'"),
        ("", "there is no plugin ''"),
        ("missing.py", "there is no file missing.py"),
    ],
)
def test_what_is_not_there_is_told(plugin: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        check(plugin)


def test_a_folder_that_is_no_project_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pyproject.toml cannot be read: .*; give the folder of"):
        check(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'p'\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="no entry point of the group 'becket'"):
        check(tmp_path)


def test_a_plugin_that_ends_the_check_is_told(tmp_path: Path) -> None:
    (tmp_path / "ends.py").write_text(
        f"{GOOD}\nimport os, sys\nif 'becket.testing' in sys.modules: os._exit(3)", "utf-8"
    )
    *_, last = check("ends", path=[str(tmp_path)])
    assert (last.rule, last.holds) == ("the check comes to its end", False)
    assert last.sentence.startswith("the process ended with 3 at: plugin ends: runs go on with it")


def test_a_check_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    hold = "import sys, threading\nif 'becket.testing' in sys.modules: threading.Event().wait()"
    (tmp_path / "holds.py").write_text(f"{GOOD}\n{hold}", "utf-8")
    *_, last = check(tmp_path / "holds.py", timeout=3)
    assert (last.holds, last.sentence) == (
        False,
        "the process did not end within 3 s at: plugin holds: runs go on with it",
    )


@pytest.mark.parametrize(
    "body",
    ["def slow() -> int:\n    'Wait.'\n    stop.wait()", "async def slow() -> int:\n    'Wait.'\n    stop.wait(0.3)"],
)
def test_a_call_that_does_not_end_breaks_one_rule(body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a thread, which is left behind, and on the event loop, which cannot be cancelled then."""
    name = f"slow_{'async' in body}"
    source = f"import threading\nfrom becket import tool\nstop = threading.Event()\n@tool(effect='none')\n{body}\n"
    (tmp_path / f"{name}.py").write_text(source, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(ToolConformance, "patience", 0.2)
    findings = [Finding(**line) for line in checking.findings(name, 5.0) if "holds" in line]
    sys.modules[name].stop.set()
    assert [(found.rule, found.sentence) for found in findings if found.holds is False] == [
        ("its calls", "called with {}, which was made up, it does not end within 0.2 s")
    ]


def test_a_thread_that_a_call_has_left_does_not_hold_the_check_up(tmp_path: Path) -> None:
    thread = "threading.Thread(target=threading.Event().wait).start()"
    source = f"{GOOD}\nimport sys, threading\nif 'becket.testing' in sys.modules: {thread}"
    (tmp_path / "left.py").write_text(source, "utf-8")
    assert False not in {found.holds for found in check(tmp_path / "left.py", timeout=60)}


def test_what_takes_long_is_said_while_it_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_PAUSE", 0.5)
    hold = "import sys, threading\nif 'becket.testing' in sys.modules: threading.Event().wait()"
    (tmp_path / "waits.py").write_text(f"{GOOD}\n{hold}", "utf-8")
    places: list[str] = []
    check(tmp_path / "waits.py", timeout=5, waiting=places.append)
    assert places[-1] == "plugin waits: runs go on with it"


def test_ctrl_c_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(place: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checks, "_PAUSE", 0.5)
    (tmp_path / "waits.py").write_text(f"{GOOD}\nimport threading\nthreading.Event().wait()", "utf-8")
    with pytest.raises(KeyboardInterrupt):
        check(tmp_path / "waits.py", waiting=interrupt)


def test_a_process_that_says_nothing_is_told(tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho no such thing >&2\nexit 9\n", "utf-8")
    program.chmod(0o755)
    (only,) = check("anything", python=str(program))
    assert only.sentence == "the process ended with 9 at: the beginning; it said: no such thing"


# -- the program, in this process, where coverage sees it --------------------------------------------------------------


def test_a_file_is_what_is_imported_under_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "of_a_file.py").write_text(GOOD, "utf-8")
    there = functools.partial(checking._there, module_only=True)
    assert there("of_a_file", str(tmp_path / "of_a_file.py")) == "of_a_file"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "of_a_file.py").write_text(GOOD, "utf-8")
    with pytest.raises(ConfigError, match=r"other/of_a_file\.py another name"):
        there("of_a_file", str(tmp_path / "other" / "of_a_file.py"))
    with pytest.raises(ConfigError, match=r"another module 'json' \(it comes with Python\)"):
        there("json", str(tmp_path / "json.py"))
    with pytest.raises(ConfigError, match=r"not-a-name\.py cannot be a module"):
        there("not-a-name", str(tmp_path / "not-a-name.py"))


@pytest.fixture
def everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    (tmp_path / "everything.py").write_text(ALL, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return [Finding(**line) for line in checking.findings("everything", 5.0) if "holds" in line]


def test_all_that_a_plugin_contributes_is_looked_at(everything: list[Finding]) -> None:
    assert shown(everything, "tool", "bad")["a model can be told of it"] is False
    assert "it went on to its end" in said(everything, "bad", "a cancelled call ends")
    assert "raises failed: KeyError" in said(everything, "raises", "a run has its result")
    assert "called with {'word': 'text'}, which was made up" in said(everything, "picky", "its calls")
    assert "its effect is 'write', so it is not called here" in said(everything, "writes", "its calls")
    assert shown(everything, "sink", "plain")["a run is as without it"] is True
    assert shown(everything, "sink", "wants")["what it does in runs"] is None
    assert shown(everything, "sink", "fails")["a run is as without it"] is False
    assert shown(everything, "policy", "all")["it fails closed"] is True
    assert "hold back what may still become a secret" in said(everything, "late", "text is shown while it comes")
    assert shown(everything, "mask", "late")["its secrets are masked"] is None
    assert "append gives True" in said(everything, "make_event_log", "events are numbered from one")
    assert shown(everything, "log", "make_event_log")["what was flushed lasts"] is None
    assert "subclass SocketWireConformance" in said(everything, "socket", "what it reads and writes")
    (wire,) = [one for one in everything if one.kind == "wire"]
    assert (wire.rules, wire.needs) == (len([*rules_of(SocketWireConformance)]), "SocketWireConformance")
    assert shown(everything, "wire", "socket") == {"what it reads and writes": None}
    assert shown(everything, "provider", "scripted") == {"its model calls": None}
    assert "it prints 'this goes nowhere" in said(
        everything, "everything", "registering it is quick and touches nothing"
    )


def test_a_plugin_without_a_log_has_no_findings_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "logless.py").write_text(GOOD, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    findings = [Finding(**line) for line in checking.findings("logless", 5.0) if "holds" in line]
    assert {found.kind for found in findings} == {"plugin", "tool"}


def test_a_plugin_that_cannot_be_imported_has_no_more_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.py").write_text("raise SystemExit(2)", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    findings = [Finding(**line) for line in checking.findings("broken", 5.0) if "holds" in line]
    assert {found.kind for found in findings} == {"plugin"}
    first, *rest = findings
    assert first.sentence == "broken: it could not be imported: SystemExit: 2"
    assert {(found.holds, found.sentence) for found in rest} == {(None, "it cannot be imported")}


def test_a_plugin_that_is_imported_only_elsewhere_has_no_more_findings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"{GOOD}\nimport sys\nif 'becket.testing' in sys.modules: raise KeyError('x')"
    (tmp_path / "elsewhere.py").write_text(source, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    findings = [Finding(**line) for line in checking.findings("elsewhere", 5.0) if "holds" in line]
    assert {found.kind for found in findings} == {"plugin"}
    assert said(findings, "elsewhere", "runs go on with it") == "KeyError: 'x'"


def test_where_trio_is_not_there_one_event_loop_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    checking._backends.cache_clear()
    monkeypatch.setitem(sys.modules, "trio", None)
    assert checking._backends() == ("asyncio",)
    checking._backends.cache_clear()


@contextmanager
def standard_output() -> Iterator[int]:
    """What the program writes to, in place of this process's own."""
    own, (read, write) = os.dup(1), os.pipe()
    os.dup2(write, 1)
    os.close(write)
    try:
        yield read
    finally:
        os.dup2(own, 1)
        os.close(own)
        os.close(read)


@pytest.mark.parametrize(("plugin", "last"), [("becket_tools:nothing", {"done": True}), ("nobody", "unknown")])
def test_the_program_writes_a_line_for_each_rule(plugin: str, last: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps({"plugin": plugin, "path": [], "import_seconds": 5.0})))
    with standard_output() as read:
        checking.main()
        os.close(1)
        with os.fdopen(os.dup(read), "r", encoding="utf-8") as lines:
            written = [json.loads(line) for line in lines]
    assert written[-1] == last or last in written[-1]


def test_a_module_with_an_odd_name_is_none() -> None:
    with pytest.raises(ConfigError, match=r"there is no module 'json.decoder.nothing'"):
        checking._there("json.decoder.nothing")


# -- arguments that are made up ----------------------------------------------------------------------------------------


@dataclass
class Case:
    schema: dict[str, Any]
    value: Any


CASES = [
    Case({"type": "string"}, "text"),
    Case({"type": "string", "minLength": 6}, "textxx"),
    Case({"type": "string", "maxLength": 2}, "te"),
    Case({"type": "integer"}, 1),
    Case({"type": "integer", "minimum": 5}, 5),
    Case({"type": "integer", "exclusiveMinimum": 5}, 6),
    Case({"type": "number"}, 1.5),
    Case({"type": "boolean"}, True),
    Case({"type": "null"}, None),
    Case({"enum": ["a", "b"]}, "a"),
    Case({"const": 7}, 7),
    Case({"examples": [8], "type": "integer"}, 8),
    Case({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 1),
    Case({"type": "array", "items": {"type": "integer"}}, [1]),
    Case({"type": "array"}, [None]),
    Case({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]}, [1, "text"]),
    Case({"$ref": "#/$defs/Point"}, {"x": 1}),
    Case({"$ref": "#/$defs/Nobody"}, None),
    Case({"type": "object"}, {}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: json.dumps(case.schema))
def test_a_value_is_made_up_that_fits(case: Case) -> None:
    point = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
    schema = {"type": "object", "properties": {"it": case.schema}, "required": ["it"], "$defs": {"Point": point}}
    assert example(schema) == {"it": case.value}


def test_what_is_not_required_is_left_out_and_a_schema_that_contains_itself_ends() -> None:
    assert example({"type": "object", "properties": {"it": {"type": "string"}}}) == {}
    again = {"type": "object", "properties": {"it": {"$ref": "#/$defs/Again"}}, "required": ["it"]}
    assert example({**again, "$defs": {"Again": again}})


# -- commands ----------------------------------------------------------------------------------------------------------

COMMANDS = """
import sys
from pathlib import Path

import click
from becket import hookimpl

@hookimpl
def register_commands(cli):
    if {fails}:
        raise OSError("no luck")

    @cli.command()
    @click.option("--loud", is_flag=True, help="Say it loudly.")
    def greet(loud):
        "Greet."
        Path({marker!r}).touch()

    @cli.command(context_settings={{"ignore_unknown_options": True}})
    @click.argument("rest", nargs=-1)
    def wraps(rest):
        Path({marker!r}).touch()
"""


def test_commands_are_looked_at_and_do_not_do_their_work(tmp_path: Path) -> None:
    file, marker = tmp_path / "greeting.py", tmp_path / "marker"
    file.write_text(COMMANDS.format(fails=False, marker=str(marker)), encoding="utf-8")
    findings = check(file)
    rules = shown(findings, "command", "greet, wraps")
    assert [rule for rule, holds in rules.items() if holds is False] == [
        "its help begins with a line",
        "an unknown option is refused",
    ]
    assert [rule for rule, holds in rules.items() if holds is None] == ["its calls"]
    assert not marker.exists()


def test_commands_that_cannot_be_added_are_told_once(tmp_path: Path) -> None:
    file = tmp_path / "greeting.py"
    file.write_text(COMMANDS.format(fails=True, marker=""), encoding="utf-8")
    findings = check(file)
    assert shown(findings, "command", "register_commands") == {"commands are added": False}
    assert "OSError: no luck" in said(findings, "register_commands", "commands are added")


def test_commands_of_a_plugin_that_is_installed_are_looked_at() -> None:
    found = [line for line in checking.findings("becket_journal", 60) if line.get("kind") == "command"]
    assert {line["name"] for line in found} == {"replay"}
    assert [line["rule"] for line in found if not line["holds"]] == ["its calls"]


def test_commands_that_cannot_be_added_end_what_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "greeting_that_fails.py").write_text(COMMANDS.format(fails=True, marker=""), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    (found,) = [line for line in checking.findings("greeting_that_fails", 60) if line.get("kind") == "command"]
    assert (found["rule"], found["holds"]) == ("commands are added", False)


def test_commands_are_not_looked_at_without_click(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "find_spec", lambda _: None)
    (found,) = [line for line in checking.findings("becket_dev", 60) if line.get("kind") == "command"]
    assert found["holds"] is None
    assert "install becket-cli" in found["sentence"]
