"""The tests of the contract of plugins find every way to break it, and say what is wrong."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
import threading
import unittest
from typing import TYPE_CHECKING, Any

import pytest
from becket import ConfigError
from becket.testing import PluginConformance
from becket.testing import _importing as importing
from becket.testing._contract import rules_of
from becket.testing.plugins import resolved

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

GOOD = """
from dataclasses import dataclass

from becket import Ask, Deny, hookimpl, tool


@tool(effect="none")
def shout(text: str) -> str:
    "Shout."
    return text.upper()


@dataclass
class Settings:
    path: str


@hookimpl
def declare_config():
    return Settings


@hookimpl
def register_tools(config):
    return [shout]


@hookimpl
async def system_prompt(ctx):
    return f"You are {ctx.agent}."


@hookimpl
def approve_tool(ctx, call, tool):
    return Deny("no") if call.tool == "rm" or "rm" in call.arguments else Ask("is it?") if tool.name == "x" else None
"""


def written(folder: Path, name: str, source: str) -> str:
    (folder / f"{name}.py").write_text(source, encoding="utf-8")
    return name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plugins")


@pytest.fixture(autouse=True)
def importable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(folder))


class TestGood(PluginConformance):
    table = {"path": "here"}  # noqa: RUF012  as a test has it

    @pytest.fixture(autouse=True)
    def source(self, folder: Path) -> None:
        self.plugin = written(folder, "good_plugin", GOOD)


class TestInstalled(PluginConformance):
    """By the name of its distribution; a class, in an object that is made of it."""

    plugin = "becket-guard"


# -- plugins that break the contract -----------------------------------------------------------------------------------

TOOL = "from becket import hookimpl, tool\n@tool(effect='none')\ndef fine() -> str:\n    'Be fine.'\n"
HOOK = "from becket import Allow, Ask, Deny, hookimpl\n@hookimpl\n"
SLOW = "import time\nend = time.process_time() + 0.15\nwhile time.process_time() < end: pass\n"
HOLD = "    import threading; threading.Event().wait(0.5)\n"

FAULTS: list[tuple[str, str, str]] = [
    ("import nowhere", "test_it_can_be_imported", "could not be imported: ModuleNotFoundError: No module named"),
    ("raise SystemExit(3)", "test_it_can_be_imported", "could not be imported: SystemExit: 3"),
    (SLOW + TOOL, "test_it_is_imported_quickly", r"importing it takes [\d.]+ s of CPU time, and may take 0.1 s"),
    (
        TOOL + "open(__file__ + '.txt', 'w').close()",
        "test_importing_it_touches_nothing",
        r"file: open\('.*txt', 'w'\) at",
    ),
    (
        TOOL + "import os\nfor name in ['/', '/etc', '/usr', '/var', '/tmp', '/dev', '/bin']: os.listdir(name)",
        "test_importing_it_touches_nothing",
        "; and 2 more",
    ),
    (TOOL + "import os; os.listdir('.')", "test_importing_it_touches_nothing", r"file: os.listdir\('.'\) at .*py:5"),
    (
        TOOL + "import socket; socket.getaddrinfo('localhost', 80)",
        "test_importing_it_touches_nothing",
        r"network: socket.getaddrinfo\('localhost', 80\) at .*fault_\d+.py:5",
    ),
    (
        TOOL + "import threading; threading.Thread(target=threading.Event().wait, name='mine', daemon=True).start()",
        "test_importing_it_touches_nothing",
        "thread: it has started 'mine'",
    ),
    (
        TOOL + "import subprocess, sys; subprocess.run([sys.executable, '-V'], stdout=-3)",
        "test_importing_it_touches_nothing",
        "process: subprocess.Popen",
    ),
    (TOOL + "print('hello')", "test_importing_it_leaves_the_process_as_it_is", "it prints 'hello'"),
    (
        TOOL + "import logging; logging.basicConfig()",
        "test_importing_it_leaves_the_process_as_it_is",
        "the handlers of the root logger",
    ),
    (
        TOOL + "import os; os.environ['PLUGIN'] = '1'",
        "test_importing_it_leaves_the_process_as_it_is",
        "the program's: the environment",
    ),
    ("nothing = 1", "test_it_is_registered", "it implements no hook and holds no tool"),
    (HOOK + "def register_tool(): ...", "test_it_is_registered", "there is no hook 'register_tool'; did you mean"),
    (HOOK + "def register_sinks(): return [1]", "test_it_is_registered", "its register_sinks failed: .* 1, which is"),
    (
        HOOK + f"def register_tools():\n    {'; '.join(SLOW.splitlines()[:2])}\n    {SLOW.splitlines()[2]}",
        "test_registering_it_is_quick_and_touches_nothing",
        "registering it twice takes ",
    ),
    (
        HOOK + "def register_tools():\n    open('/etc/hostname').close()",
        "test_registering_it_is_quick_and_touches_nothing",
        "registering it does what is for its first use: file: open",
    ),
    (
        HOOK + "def register_tools():\n    print('registered')",
        "test_registering_it_is_quick_and_touches_nothing",
        "it prints 'registered",
    ),
    (
        TOOL + "    return ''\nleft = [fine]\n@hookimpl\ndef register_tools(): return [left.pop()] if left else []",
        "test_it_gives_the_same_again",
        r"a runtime is given {'tools': \['fine'\]}, and the next one {'tools': \[\]}",
    ),
    (HOOK + "def system_prompt(): return 1", "test_runs_go_on_with_it", "a hook fails in a run of the scenario 'text'"),
    (
        HOOK + "def transform_messages(messages): return messages[0]",
        "test_runs_go_on_with_it",
        "a run of the scenario 'text' fails: .*PluginError",
    ),
    (
        HOOK + "def before_tool_call(ctx, call):\n" + HOLD,
        "test_the_event_loop_is_free_during_its_hooks",
        r"at .*fault_\d+.py:4 in before_tool_call: .*; make the hook async",
    ),
    (
        HOOK + "def after_model_call(ctx, answer, request):\n    import dataclasses\n"
        "    run_id, agent, model, cycle, session_id, context = dataclasses.astuple(ctx)",
        "test_a_context_may_tell_more",
        "the hook after_model_call of .* with a context that tells more, it raised ValueError",
    ),
    (
        HOOK
        + "def approve_tool(call):\n    try: return Deny('') if call.arguments else None\n    except Exception: pass",
        "test_a_decision_fails_closed",
        "approve_tool gives None for a call whose arguments could not be read",
    ),
    (
        HOOK + "def register_tools():\n    import sys\n    return [1] if 'becket.testing' in sys.modules else []",
        "test_a_context_may_tell_more",
        "cannot be used: .* its register_tools failed",
    ),
]


class Kit(PluginConformance):
    """The tests of the contract, to be called one by one."""

    __test__ = False
    import_seconds = 0.1

    def __init__(self, plugin: str) -> None:
        self.plugin = plugin


async def held(kit: Any, rule: str) -> None:
    """Make a test, as pytest does."""
    made = getattr(kit, rule)()
    if made is not None:
        await made


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # most of it happens in another process
@pytest.mark.parametrize("number", range(len(FAULTS)))
async def test_a_plugin_that_breaks_the_contract_is_found(number: int, folder: Path) -> None:
    source, rule, said = FAULTS[number]
    with pytest.raises(AssertionError, match=said):
        await held(Kit(written(folder, f"fault_{number}", source)), rule)


def test_every_test_of_the_contract_finds_a_fault() -> None:
    assert {rule for _, rule, _ in FAULTS} == set(rules_of(PluginConformance))


def test_a_class_that_does_not_say_what_is_tested_fails() -> None:
    with pytest.raises(NotImplementedError, match="define plugin in it"):
        PluginConformance().test_it_is_registered()


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("test_a_decision_fails_closed", "it has no hook approve_tool"),
        ("test_a_context_may_tell_more", "it has no hook that is called in a run"),
        ("test_the_event_loop_is_free_during_its_hooks", "it has no hook that is called in a run"),
    ],
)
async def test_what_a_plugin_does_not_have_is_not_looked_at(rule: str, why: str) -> None:
    with pytest.raises(unittest.SkipTest, match=why):
        await held(Kit("becket-tools"), rule)


def test_a_plugin_that_ends_its_process_is_told(folder: Path) -> None:
    kit = Kit(
        written(folder, "ends", "import os, sys; sys.__stderr__.write('bye'); sys.__stderr__.flush(); os._exit(3)")
    )
    with pytest.raises(AssertionError, match="it could not be imported: the process ended with 3: bye"):
        kit.test_it_can_be_imported()


def test_an_import_that_never_ends_is_told(folder: Path) -> None:
    name = written(folder, "waits", "import threading; threading.Event().wait()")
    seen = importing.observed(name, table={}, path=sys.path, patience=0.5)
    assert seen["importing"]["error"] == "it did not end within 0.5 s"


def test_a_registration_that_never_ends_is_told(folder: Path) -> None:
    """That it was imported before is known all the same; what it writes past `sys.stdout` is nothing of that."""
    source = f"import os\nos.write(1, b'{{}}\\n')\n{HOOK}def register_tools():\n    while True: pass"
    seen = importing.observed(written(folder, "turns", source), table={}, path=sys.path, patience=5)
    assert (seen["importing"]["error"], seen["registering"]["error"]) == ("", "it did not end within 5 s")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    ("source", "first", "why"),
    [
        ("raise ValueError", "test_it_can_be_imported", "it cannot be imported"),
        (HOOK + "def register_tolls(): ...", "test_it_is_registered", "it cannot be registered"),
    ],
)
async def test_what_depends_on_a_rule_that_is_broken_is_not_looked_at(
    source: str, first: str, why: str, folder: Path
) -> None:
    """One failure says it; what becket says of a plugin that is left out is nothing that the plugin has printed."""
    kit = Kit(written(folder, f"depends_{first}", source))
    rules = list(rules_of(Kit))
    with pytest.raises(AssertionError):
        await held(kit, first)
    for rule in rules[rules.index(first) + 1 :]:
        with pytest.raises(unittest.SkipTest, match=why):
            await held(kit, rule)


@pytest.mark.parametrize("name", ["becket-tools", "tools", "becket_tools"])
def test_a_plugin_has_three_names(name: str) -> None:
    assert resolved(name) == "becket_tools"


def test_an_installed_plugin_that_must_not_be_loaded_is_told(folder: Path) -> None:
    info = folder / "becket_later-1.dist-info"
    info.mkdir()
    metadata = "Metadata-Version: 2.1\nName: becket-later\nVersion: 1\nRequires-Dist: becket>=99\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    (info / "entry_points.txt").write_text("[becket]\nlater = becket_later\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="becket-later must not be loaded: it asks for becket >=99"):
        resolved("becket-later")


def test_a_name_that_two_distributions_have_is_told_with_both(folder: Path) -> None:
    """Neither is taken without a word; by the name of its distribution each can be had."""
    for name in ("becket-same-one", "becket-same-two"):
        module = name.replace("-", "_")
        info = folder / f"{module}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[becket]\nsame = {module}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="becket-same-one 1 and becket-same-two 1 each have a plugin that 'same'"):
        resolved("same")
    assert resolved("becket-same-two") == "becket_same_two"


# -- the program that looks at a plugin, in this process, where coverage sees it ---------------------------------------


def heard(event: str, *arguments: Any) -> list[tuple[str, str]]:
    ear = importing.Ear()
    ear.open = True
    ear.hear(event, arguments)
    assert ear.open
    return list(ear.touched)


def test_what_is_touched_is_told_with_its_place() -> None:
    ((kind, said),) = heard("socket.connect", object(), ("127.0.0.1", 80))
    assert kind == "network"
    assert re.fullmatch(r"socket.connect\(\('127.0.0.1', 80\)\) at .*test_plugin_kit.py:\d+", said)


def test_a_place_is_outside_of_python_where_there_is_one() -> None:
    ear = importing.Ear()
    ear.open = True
    threading.Thread(target=ear.hear, args=("open", ("secret", "r"))).run()  # here, by Python's own code
    ((_, said),) = ear.touched
    assert re.fullmatch(r"open\('secret', 'r'\) at .*test_plugin_kit.py:\d+", said)
    thread = threading.Thread(target=ear.hear, args=("open", ("another", "r")))
    thread.start()
    thread.join()
    assert len(ear.touched) == 1  # what another thread does is not heard: that there is one is told


def test_a_place_in_python_itself_is_told_where_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "__file__", "os.py")  # all that is below / is Python's own then
    places: list[str] = []
    thread = threading.Thread(target=lambda: places.append(importing._place()))
    thread.start()
    thread.join()
    assert re.fullmatch(r".*threading.py:\d+", places[0])


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("compile", ()),
        ("open", (3, "r")),
        ("open", (b"module.py", "r")),
        ("open", ("/lib/x-1.dist-info/METADATA", "r")),
        ("open", (os.devnull, "w")),
        ("os.listdir", (sys.path[-1],)),
    ],
)
def test_what_python_itself_does_is_not_told(event: str, arguments: tuple[Any, ...]) -> None:
    assert heard(event, *arguments) == []


def test_nothing_is_heard_where_nobody_listens() -> None:
    ear = importing.Ear()
    ear.hear("open", ("secret", "r"))
    assert not ear.touched


@pytest.mark.parametrize(
    ("plugin", "table", "error"),
    [("seen", {"path": "here"}, ""), ("seen:Plugin", {}, ""), ("nowhere_at_all", {}, "ModuleNotFoundError: No module")],
)
def test_the_program_writes_what_it_has_seen(
    plugin: str,
    table: dict[str, Any],
    error: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = f"{GOOD}\nclass Plugin:\n    register_tools = hookimpl(lambda self: [shout])\nprint('loaded')\n"
    written(folder, "seen", source)
    monkeypatch.delitem(sys.modules, "seen", raising=False)
    monkeypatch.setattr(sys, "addaudithook", lambda hook: None)
    asked = {"plugin": plugin, "table": table, "path": sys.path}
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(asked)))
    monkeypatch.setattr(logging.getLogger("becket"), "handlers", [])  # put back, with what is told to others
    monkeypatch.setattr(logging.getLogger("becket"), "propagate", True)
    importing.main()
    first, second = capsys.readouterr().out.splitlines()
    seen = {**json.loads(first), **json.loads(second)}
    assert seen["importing"]["error"].startswith(error)
    assert bool(seen["importing"]["error"]) == bool(error)
    assert seen["importing"]["changed"] == ([] if error else ["it prints 'loaded'"])
    tools = [added.get("tools") for added in seen["adds"]]
    assert tools == ([] if error else [["shout"], ["shout"]])
    assert seen["registering"]["error"] == ""
