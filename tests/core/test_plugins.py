"""Plugins as users meet them: distributions laid out on disk, real modules, and a `Runtime` that loads them."""

from __future__ import annotations

import importlib
import itertools
import random
import shutil
import sys
import threading
import traceback
import zipfile
from dataclasses import FrozenInstanceError
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from becket import (
    PLUGIN_API,
    Agent,
    ConfigError,
    Plugin,
    PluginError,
    PluginFailed,
    Runtime,
    ToolFinished,
    hookimpl,
    tool,
)
from becket.discovery import discover
from becket.testing import ListSink, ScriptedProvider, calls, text
from pluggy import PluginValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from becket.tools import AnyTool

numbers = itertools.count()

TOOL = """
from becket import hookimpl, tool

@tool(effect="none")
def {name}() -> str:
    "Say what it is called."
    return "{name} of " + __name__
"""

HOOK = (
    TOOL
    + """
@hookimpl
def register_tools():
    return [{name}]
"""
)


class Site:
    """A folder on the search path, and what is installed in it. Module names are new each time, so none is cached."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.others = {one.distribution for one in discover("0.1.0")}

    def module(self, code: str) -> str:
        """Write a module; its name."""
        name = f"becket_made_{next(numbers)}"
        (self.folder / f"{name}.py").write_text(code)
        return name

    def declare(self, distribution: str, entry_points: str, *, version: str = "1.0", requires: str = "becket") -> None:
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\nRequires-Dist: {requires}\n"
        )
        (info / "entry_points.txt").write_text(f"[becket]\n{entry_points}\n")

    def install(self, name: str, code: str, *, attribute: str = "", **metadata: str) -> str:
        """Install becket-<name> with one module; the module's name."""
        module = self.module(code)
        self.declare(f"becket-{name}", f"{name} = {module}{attribute}", **metadata)
        return module

    def empty(self) -> None:
        """Uninstall everything."""
        for left in self.folder.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        importlib.invalidate_caches()

    def runtime(self, *, block: tuple[str, ...] = (), **options: Any) -> Runtime:
        """A runtime of what is installed here; what else this environment has is blocked."""
        return Runtime(block=[*self.others, *block], **options)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    before = set(sys.modules)
    here = Site(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield here
    for name in set(sys.modules) - before:
        if name.startswith("becket_made_"):
            del sys.modules[name]


def plugin(runtime: Runtime, name: str) -> Plugin:
    [one] = [one for one in runtime.plugins if one.name == name]
    return one


def quarantined(runtime: Runtime, name: str) -> Plugin:
    """The plugin, which must be out of use and have left nothing behind."""
    one = plugin(runtime, name)
    assert one.status == "quarantined"
    assert one.adds == {}
    for registry in (runtime.tools, runtime.providers, runtime.available_sinks):
        assert all(entry.plugin.name != name for entry in registry.contributions())
    return one


def object_plugin(name: str, **hooks: Callable[..., Any]) -> object:
    """A plugin as an object, of a class with this name, that implements these hooks."""
    return type(name, (), {hook: staticmethod(hookimpl(function)) for hook, function in hooks.items()})()


def named_tool(name: str) -> AnyTool:
    @tool(name=name, effect="none")
    def one() -> str:
        """Do nothing."""
        return name

    return one


# -- what a plugin may be ----------------------------------------------------------------------------------------------


def test_a_module_with_hooks_is_a_plugin(installed: Site) -> None:
    installed.install("one", HOOK.format(name="shout"), version="0.3.1")
    runtime = installed.runtime()
    one = plugin(runtime, "one")
    assert (one.status, one.distribution, one.version, one.adds) == (
        "loaded",
        "becket-one",
        "0.3.1",
        {"tools": ("shout",)},
    )
    assert runtime.tool("shout")().startswith("shout of becket_made_")


def test_a_bare_module_with_tools_is_a_plugin(installed: Site) -> None:
    """The smallest plugin there is; a tool that it only imported is not its own."""
    other = installed.module(TOOL.format(name="borrowed"))
    installed.install("bare", TOOL.format(name="own") + f"\nfrom {other} import borrowed\nalias = own\n")
    runtime = installed.runtime()
    assert plugin(runtime, "bare").adds == {"tools": ("own",)}
    assert list(runtime.tools) == ["own"]


def test_a_package_offers_the_tools_of_its_modules(installed: Site) -> None:
    package = f"becket_made_{next(numbers)}"
    (installed.folder / package).mkdir()
    (installed.folder / package / "_inner.py").write_text(TOOL.format(name="inner"))
    (installed.folder / package / "__init__.py").write_text(f"from {package}._inner import inner\n")
    installed.declare("becket-package", f"package = {package}")
    assert plugin(installed.runtime(), "package").adds == {"tools": ("inner",)}


def test_tools_beside_hooks_are_offered_by_the_hooks_alone(installed: Site) -> None:
    installed.install("both", TOOL.format(name="private") + "\n@hookimpl\ndef register_sinks():\n    return None\n")
    runtime = installed.runtime()
    assert plugin(runtime, "both").status == "loaded"
    assert "private" not in runtime.tools


def test_a_class_is_a_plugin_by_its_instance(installed: Site) -> None:
    code = TOOL.format(name="deep") + (
        "class Plugin:\n"
        "    def __init__(self):\n        self.tools = [deep]\n"
        "    @hookimpl\n    def register_tools(self):\n        return self.tools\n"
    )
    installed.install("classy", code, attribute=":Plugin")
    assert plugin(installed.runtime(), "classy").adds == {"tools": ("deep",)}


def test_an_object_is_a_plugin(installed: Site) -> None:
    code = TOOL.format(name="held") + (
        "class Plugin:\n    @hookimpl\n    def register_tools(self):\n        yield held\n"
        "class Holder:\n    plugin = Plugin()\n"
    )
    installed.install("object", code, attribute=":Holder.plugin")
    assert plugin(installed.runtime(), "object").adds == {"tools": ("held",)}


def test_every_hook_of_a_plugin_is_told_and_how_long_its_import_took(installed: Site) -> None:
    last = "@hookimpl(trylast=True)\ndef declare_config():\n    return None\n"
    installed.install("one", HOOK.format(name="x") + last)
    installed.install("bare", TOOL.format(name="y"))
    installed.install("broken", "raise OSError")
    runtime = installed.runtime(block=("bare",), plugins=[object_plugin("Mine", register_tools=lambda: None)])
    one = plugin(runtime, "one")
    assert [(hook.name, hook.phase) for hook in one.hooks] == [("declare_config", "last"), ("register_tools", "normal")]
    assert one.import_seconds is not None
    assert one.import_seconds > 0
    assert plugin(runtime, "broken").import_seconds is not None
    assert (plugin(runtime, "bare").import_seconds, plugin(runtime, "bare").hooks) == (None, ())
    assert plugin(runtime, "Mine").import_seconds is None
    assert [hook.name for hook in plugin(installed.runtime(), "bare").hooks] == ["register_tools"]


def test_objects_of_the_host_are_plugins_too() -> None:
    module = ModuleType("my_module")
    module.shout = named_tool("shout")  # type: ignore[attr-defined]  # what a module's code would do
    module.shout.__module__ = "my_module"

    class Sinks:
        @hookimpl
        def register_sinks(self) -> list[ListSink]:
            return [ListSink("mine")]

    runtime = Runtime(
        plugins=[module, Sinks, object_plugin("Models", register_providers=lambda: [scripted()])], discover=False
    )
    assert [(one.name, one.distribution, one.status) for one in runtime.plugins] == [
        ("my_module", None, "loaded"),
        ("Sinks", None, "loaded"),
        ("Models", None, "loaded"),
    ]
    assert (list(runtime.tools), list(runtime.available_sinks), list(runtime.providers)) == (
        ["shout"],
        ["mine"],
        ["scripted"],
    )


def scripted(name: str = "scripted", model: str = "model") -> ScriptedProvider:
    return ScriptedProvider(text("hello"), name=name, model=model)


# -- what goes wrong, one plugin at a time -----------------------------------------------------------------------------

BROKEN: dict[str, tuple[str, str, type[BaseException]]] = {
    "raises": ("raise ValueError('no\\n  key')", "it could not be imported: ValueError: no key", ValueError),
    "exits": ("import sys\nsys.exit(3)", "it could not be imported: SystemExit: 3", SystemExit),
    "syntax": ("def (", "it could not be imported: SyntaxError", SyntaxError),
    "recurses": ("def f(): f()\nf()", "it could not be imported: RecursionError", RecursionError),
    "mute": (
        "class Mute(Exception):\n    def __str__(self): raise self\nraise Mute",
        "it could not be imported: Mute",
        Exception,
    ),
    "needs": ("import yr_of_2019", "imported: ModuleNotFoundError: No module named 'yr_of_2019'", ImportError),
    "empty": ("", "it implements no hook and holds no tool", PluginValidationError),
    "fails": ("def register_tools(): 1 / 0", "its register_tools failed: ZeroDivisionError", ZeroDivisionError),
    "leaves": ("def register_tools(): raise SystemExit", "its register_tools failed: SystemExit", SystemExit),
    "number": ("def register_tools(): return 42", "its register_tools failed: TypeError: 'int'", TypeError),
    "wrong": ("def register_tools(): return ['calculator']", "it gave 'calculator', which is no Tool", TypeError),
    "function": (
        "def register_tools(): return [print]",
        "<built-in function print>, which is no Tool",
        TypeError,
    ),
    "sink": ("def register_sinks(): return [object()]", "which is no Sink", TypeError),
    "provider": ("def register_providers(): return [object()]", "which is no Provider", TypeError),
    "midway": (
        "def register_tools():\n    yield own\n    raise OSError('disk')",
        "its register_tools failed: OSError: disk",
        OSError,
    ),
    "async": ("async def register_tools(): return [own]", "it is async, and must not be", TypeError),
    "asyncgen": ("async def register_tools(): yield own", "'async_generator' object is not iterable", TypeError),
    "misspelt": (
        "def register_tool(): return []",
        "there is no hook 'register_tool'; did you mean 'register_tools'?",
        PluginValidationError,
    ),
    "unheard": (
        "def on_full_moon(): return []",
        "there is no hook 'on_full_moon'; the hooks are: ",
        PluginValidationError,
    ),
    "greedy": (
        "def register_tools(config, agent): return []",
        "declared in the hookimpl but can not be found in the hookspec",
        PluginValidationError,
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_quarantined_with_its_reason_and_the_others_are_used(installed: Site, name: str) -> None:
    code, reason, kind = BROKEN[name]
    hook = "@hookimpl\n" if "def register" in code or "def on_" in code else ""
    installed.install(name, f"{TOOL.format(name='own') if hook else ''}{hook}{code}", version="2.1")
    installed.install("well", HOOK.format(name="works"))
    runtime = installed.runtime()
    broken = quarantined(runtime, name)
    assert reason in broken.reason
    assert isinstance(broken.error, kind)
    assert (broken.distribution, broken.version, broken.title) == (f"becket-{name}", "2.1", f"becket-{name} 2.1")
    assert list(runtime.tools) == ["works"]


@pytest.mark.parametrize("name", BROKEN)
def test_a_strict_runtime_raises_instead_and_names_plugin_and_distribution(installed: Site, name: str) -> None:
    code, reason, kind = BROKEN[name]
    hook = "@hookimpl\n" if "def register" in code or "def on_" in code else ""
    installed.install(name, f"{TOOL.format(name='own') if hook else ''}{hook}{code}", version="2.1")
    with pytest.raises(PluginError) as caught:
        installed.runtime(strict=True)
    assert f"plugin {name!r} (becket-{name} 2.1) cannot be used: " in str(caught.value)
    assert reason in str(caught.value)
    assert (caught.value.plugin, caught.value.distribution) == (name, f"becket-{name} 2.1")
    assert isinstance(caught.value.__cause__, kind)


def test_what_fails_deep_inside_is_quarantined_with_its_traceback(installed: Site) -> None:
    """An import of an import that exits takes the host no further down than one that raises."""
    inner = installed.module("import sys\nsys.exit('not licensed')")
    middle = installed.module(f"import {inner}")
    installed.install("deep", f"import {middle}")
    error = quarantined(installed.runtime(), "deep").error
    assert f"{inner}.py" in "".join(traceback.format_exception(error))


def test_a_keyboard_interrupt_during_an_import_passes(installed: Site) -> None:
    installed.install("slow", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        installed.runtime()


@pytest.mark.parametrize("value", ["becket_made_gone", "becket_made_gone.inner", "becket_made_gone:plugin"])
def test_an_orphaned_entry_point_says_that_its_module_is_gone_and_what_to_do(installed: Site, value: str) -> None:
    installed.declare("becket-orphan", f"orphan = {value}")
    orphan = quarantined(installed.runtime(), "orphan")
    assert "is not there" in orphan.reason
    assert "reinstall or uninstall becket-orphan" in orphan.reason
    assert isinstance(orphan.error, ModuleNotFoundError)


def test_an_object_that_is_missing_is_named(installed: Site) -> None:
    installed.install("half", HOOK.format(name="works"), attribute=":plugin.inner")
    half = quarantined(installed.runtime(), "half")
    assert "has no attribute 'plugin'" in half.reason
    assert isinstance(half.error, AttributeError)


@pytest.mark.parametrize("attribute", ["", ":plugin"])
def test_a_module_that_has_taken_the_place_of_a_plugin_is_named_by_its_file(
    installed: Site, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, attribute: str
) -> None:
    """As one in the working directory does, under `python -c`."""
    module = installed.install("shadowed", HOOK.format(name="works"), attribute=attribute)
    other = tmp_path_factory.mktemp("here") / f"{module}.py"
    other.write_text("")
    monkeypatch.syspath_prepend(other.parent)
    reason = quarantined(installed.runtime(), "shadowed").reason
    assert reason.endswith(f"; its module was imported from {other}")


def test_a_module_that_lies_where_its_distribution_does_is_not_named_by_its_file(installed: Site) -> None:
    installed.install("empty", "")
    assert "imported from" not in quarantined(installed.runtime(), "empty").reason


def test_a_plugin_that_the_host_has_passed_and_that_cannot_be_used_is_said_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is in nobody's list of what is installed, and a hook with a slip in its name would never be called."""

    class Slip:
        @hookimpl
        def aprove_tool(self) -> None: ...

    Runtime(plugins=[Slip()], block=["slip"], discover=False)
    assert caplog.messages == []
    Runtime(plugins=[Slip()], discover=False)
    (said,) = caplog.messages
    assert said.startswith("plugin 'Slip' is left out: it could not be registered: ")
    assert "did you mean 'approve_tool'?" in said
    with pytest.raises(PluginError, match=r"^plugin 'Slip' cannot be used: "):
        Runtime(plugins=[Slip()], discover=False, strict=True)


def test_an_entry_point_that_is_no_reference_is_refused(installed: Site) -> None:
    installed.declare("becket-odd", "odd = not a reference!")
    assert "it could not be imported: " in quarantined(installed.runtime(), "odd").reason


def test_an_entry_point_that_names_none_is_refused(installed: Site) -> None:
    installed.install("none", "plugin = None", attribute=":plugin")
    assert "it implements no hook" in quarantined(installed.runtime(), "none").reason


def test_a_class_that_needs_arguments_is_refused_in_words(installed: Site) -> None:
    installed.install("needy", "class Plugin:\n    def __init__(self, key): pass", attribute=":Plugin")
    reason = quarantined(installed.runtime(), "needy").reason
    assert "it could not be made: it is a class, and is called without arguments: TypeError" in reason
    assert "'key'" in reason


def test_an_object_that_fails_when_it_is_looked_at_is_refused(installed: Site) -> None:
    code = "class Odd:\n    def __dir__(self): raise OSError('shy')\nplugin = Odd()"
    installed.install("odd", code, attribute=":plugin")
    assert "it could not be registered: OSError: shy" in quarantined(installed.runtime(), "odd").reason


def test_objects_that_cannot_be_compared_do_not_meet(installed: Site) -> None:
    code = (
        TOOL.format(name="{name}")
        + "class Odd:\n    __hash__ = None\n    def __eq__(self, other):\n"
        + "        if other is not self: raise OSError('shy')\n        return True\n"
        + "    @hookimpl\n    def register_tools(self):\n        return [{name}]\nplugin = Odd()"
    )
    installed.install("one", code.format(name="first"), attribute=":plugin")
    installed.install("two", code.format(name="second"), attribute=":plugin")
    assert list(installed.runtime(strict=True).tools) == ["first", "second"]


@pytest.mark.parametrize("mark", ["wrapper=True", "hookwrapper=True"])
def test_a_wrapper_is_refused_with_a_clear_message(installed: Site, mark: str) -> None:
    installed.install(
        "wraps", f"from becket import hookimpl\n@hookimpl({mark})\ndef register_tools():\n    return (yield)\n"
    )
    reason = quarantined(installed.runtime(), "wraps").reason
    assert "register_tools is marked as a wrapper; hooks of becket cannot be wrapped" in reason


def test_a_hook_of_a_newer_becket_may_be_marked_as_optional(installed: Site) -> None:
    code = HOOK.format(name="works") + "@hookimpl(optionalhook=True)\ndef on_full_moon(phase): return []\n"
    installed.install("modern", code)
    assert list(installed.runtime(strict=True).tools) == ["works"]


def test_a_hook_under_another_name_is_told_by_the_hooks_name(installed: Site) -> None:
    code = "from becket import hookimpl\n@hookimpl(specname='register_tools')\ndef mine(): return 1 / 0\n"
    installed.install("renamed", code)
    assert "its register_tools failed" in quarantined(installed.runtime(), "renamed").reason


def test_a_hook_may_return_none_or_nothing(installed: Site) -> None:
    hooks = "\n@hookimpl\ndef register_providers(): pass\n\n@hookimpl\ndef register_sinks(): return ()\n"
    installed.install("none", HOOK.format(name="works") + hooks)
    assert plugin(installed.runtime(strict=True), "none").adds == {"tools": ("works",), "providers": (), "sinks": ()}


def test_a_plugin_that_fails_at_its_second_hook_leaves_nothing_of_its_first(installed: Site) -> None:
    installed.install("torn", HOOK.format(name="torn_tool") + "@hookimpl\ndef register_sinks(): raise OSError('x')\n")
    runtime = installed.runtime()
    quarantined(runtime, "torn")
    with pytest.raises(ConfigError, match=r"there is no tool 'torn_tool'.* becket-torn 1\.0 is quarantined"):
        runtime.tool("torn_tool")


def test_a_plugin_that_failed_is_not_asked_again(installed: Site) -> None:
    """Not by another implementation of the same hook, and not by a later hook."""
    code = HOOK.format(name="late") + (
        "@hookimpl(tryfirst=True, specname='register_tools')\ndef early(): raise OSError('x')\n"
        "@hookimpl\ndef register_commands(cli): cli.append('asked')\n"
    )
    installed.install("twice", code)
    runtime = installed.runtime()
    assert "its register_tools failed: OSError: x" in quarantined(runtime, "twice").reason
    assert order_of(runtime) == []


def test_a_class_given_for_an_object_is_refused_in_words() -> None:
    class Model(ScriptedProvider):
        name = "model"
        default_model = "m"

    runtime = Runtime(plugins=[object_plugin("Forgot", register_providers=lambda: [Model])], discover=False)
    assert "it gave the class" in quarantined(runtime, "Forgot").reason
    assert "Model()" in quarantined(runtime, "Forgot").reason


@pytest.mark.parametrize("name", ["a:b", "", "two words", None, 5])
def test_a_name_that_could_not_be_asked_for_is_refused(name: Any) -> None:
    runtime = Runtime(plugins=[object_plugin("Odd", register_sinks=lambda: [ListSink(name)])], discover=False)
    assert f"it gave a Sink with the name {name!r}" in quarantined(runtime, "Odd").reason


def test_two_things_of_one_name_from_one_plugin_are_its_own_mistake() -> None:
    twice = object_plugin("Twice", register_tools=lambda: [named_tool("x"), named_tool("x")])
    runtime = Runtime(plugins=[twice], discover=False)
    assert "it gave two tools with the name 'x'" in quarantined(runtime, "Twice").reason


def test_one_tool_given_twice_is_one_tool() -> None:
    same = named_tool("same")
    plugins = [object_plugin(name, register_tools=lambda: [same, same]) for name in ("One", "Two")]
    runtime = Runtime(plugins=plugins, discover=False)
    assert runtime.tool("same") is same
    assert {one.adds["tools"] for one in runtime.plugins} == {("same",)}


# -- versions ----------------------------------------------------------------------------------------------------------


def test_a_plugin_for_another_core_is_never_imported(installed: Site) -> None:
    trace = installed.folder / "trace"
    module = installed.install("future", f"open({str(trace)!r}, 'w')", requires="becket>=99", version="9")
    future = quarantined(installed.runtime(), "future")
    assert "it asks for becket >=99, and this is becket " in future.reason
    assert module not in sys.modules
    assert not trace.exists()


def test_a_plugin_of_another_plugin_api_is_never_imported(installed: Site) -> None:
    installed.install("later", "raise SystemExit('imported')")
    (installed.folder / "becket_later-1.0.dist-info" / "entry_points.txt").write_text("[becket.v2]\nlater = later\n")
    later = quarantined(installed.runtime(), "later")
    assert later.reason == f"it speaks version 2 of the plugin API, and this becket speaks {PLUGIN_API}; upgrade becket"
    assert later.import_seconds is None


def test_the_same_plugin_with_a_range_that_fits_is_imported(installed: Site) -> None:
    trace = installed.folder / "trace"
    installed.install("now", f"open({str(trace)!r}, 'w').close()\n{TOOL.format(name='x')}", requires="becket<99")
    assert plugin(installed.runtime(), "now").status == "loaded"
    assert trace.exists()


# -- allow, block, require ---------------------------------------------------------------------------------------------


def three_names(installed: Site) -> dict[str, str]:
    """A plugin whose distribution, entry point and module have nothing in common, and a second beside it."""
    module = installed.module(HOOK.format(name="wanted"))
    installed.declare("becket-Distributed", f"Pointed.At = {module}:__name__")
    (installed.folder / "becket_Distributed-1.0.dist-info" / "entry_points.txt").write_text(
        f"[becket]\nPointed.At = {module}\n"
    )
    installed.install("second", HOOK.format(name="second_tool"))
    return {"distribution": "becket_distributed", "entry point": "pointed-at", "module": module}


@pytest.mark.parametrize("kind", ["distribution", "entry point", "module"])
def test_a_plugin_is_allowed_blocked_and_required_by_any_of_its_three_names(installed: Site, kind: str) -> None:
    name = three_names(installed)[kind]
    assert list(installed.runtime(allow=[name]).tools) == ["wanted"]
    assert list(installed.runtime(block=(name,)).tools) == ["second_tool"]
    assert list(installed.runtime(require=[name]).tools) == ["second_tool", "wanted"]


def test_what_is_not_allowed_or_is_blocked_is_not_imported_and_says_so(installed: Site) -> None:
    module = installed.install("loud", "raise SystemExit")
    assert plugin(installed.runtime(block=("loud",)), "loud").reason == "it is on the block list"
    assert plugin(installed.runtime(allow=["other"]), "loud").reason == "it is not on the allow list"
    assert plugin(installed.runtime(allow=[]), "loud").status == "blocked"
    assert module not in sys.modules


def test_block_wins_over_allow(installed: Site) -> None:
    installed.install("both", HOOK.format(name="x"))
    both = plugin(installed.runtime(allow=["both"], block=("becket-both",)), "both")
    assert (both.status, both.reason) == ("blocked", "it is on the block list")


def test_a_plugin_that_cannot_be_used_anyway_can_be_blocked(installed: Site) -> None:
    installed.install("future", "", requires="becket>=99")
    assert plugin(installed.runtime(block=("future",), strict=True), "future").status == "blocked"


def test_objects_of_the_host_need_no_leave_but_can_be_blocked() -> None:
    mine = object_plugin("Mine", register_tools=lambda: [named_tool("x")])
    assert "x" in Runtime(plugins=[mine], discover=False, allow=[]).tools
    assert "x" not in Runtime(plugins=[mine], discover=False, block=["mine"]).tools


def test_a_required_plugin_that_is_not_installed_is_an_error() -> None:
    with pytest.raises(ConfigError, match="the plugin 'no-such' is required, and it is not installed"):
        Runtime(discover=False, require=["no_such"])


def test_a_required_plugin_that_is_blocked_is_an_error(installed: Site) -> None:
    installed.install("policy", HOOK.format(name="x"))
    with pytest.raises(ConfigError, match=r"is required, and becket-policy 1\.0 is blocked: it is on the block list"):
        installed.runtime(require=["policy"], block=("policy",))


def test_a_required_plugin_that_is_quarantined_is_an_error_with_its_cause(installed: Site) -> None:
    installed.install("policy", "raise OSError('no key')")
    with pytest.raises(ConfigError, match=r"becket-policy 1\.0 is quarantined: .*OSError: no key") as caught:
        installed.runtime(require=["policy"])
    assert isinstance(caught.value.__cause__, OSError)


def test_a_distribution_is_required_with_all_that_it_declares(installed: Site) -> None:
    """A host that requires a distribution for its policy is not served by the tools beside it."""
    module, broken = installed.module(HOOK.format(name="x")), installed.module("raise OSError('no key')")
    installed.declare("becket-warden", f"guard-tools = {module}\nguard-policy = {broken}")
    with pytest.raises(ConfigError, match="OSError: no key"):
        installed.runtime(require=["becket-warden"])
    assert list(installed.runtime(require=["becket-warden"], block=("guard-policy",)).tools) == ["x"]


def test_a_required_object_of_the_host_counts() -> None:
    mine = object_plugin("MyPolicy", register_tools=lambda: [named_tool("x")])
    assert Runtime(plugins=[mine], discover=False, require=["mypolicy"]).plugins


@pytest.mark.parametrize("option", ["allow", "block", "require", "order", "sinks"])
def test_one_text_where_a_list_is_wanted_is_an_error(option: str) -> None:
    """Letter by letter it would allow everything, block nothing, or the other way round."""
    with pytest.raises(
        ConfigError, match=rf"{option} is the text 'tools'; it takes a list, as in {option}=\['tools'\]"
    ):
        Runtime(discover=False, **{option: "tools"})  # type: ignore[arg-type]  # what is tested


def test_what_is_no_name_in_a_list_is_an_error() -> None:
    with pytest.raises(ConfigError, match="block has None in it"):
        Runtime(discover=False, block=[None])  # type: ignore[list-item]  # what is tested


# -- two of one name ---------------------------------------------------------------------------------------------------


def two_of(installed: Site, name: str = "read_file") -> tuple[str, str]:
    one = installed.install("fs", HOOK.format(name=name), version="1.2")
    two = installed.install("repo", HOOK.format(name=name), version="0.4")
    return one, two


def test_two_tools_of_one_name_are_an_error_once_it_is_asked_for(installed: Site) -> None:
    two_of(installed)
    runtime = installed.runtime(strict=True)
    with pytest.raises(ConfigError) as caught:
        runtime.tool("read_file")
    assert str(caught.value) == (
        "tool 'read_file' is provided by both becket-fs 1.2 and becket-repo 0.4; "
        "name one as 'becket-fs:read_file', or block the other with -p no:becket-repo"
    )


def test_the_plugin_is_told_by_any_of_its_names(installed: Site) -> None:
    one, two = two_of(installed)
    runtime = installed.runtime()
    for name in ("becket-fs", "Becket_FS", "fs", one):
        assert runtime.tool(f"{name}:read_file")() == f"read_file of {one}"
    assert runtime.tool("repo:read_file")() == f"read_file of {two}"


def test_an_agent_names_its_tool_with_the_plugin(installed: Site) -> None:
    _, two = two_of(installed)
    runtime = installed.runtime()
    agent = Agent(ScriptedProvider(text("hello")), tools=["repo:read_file"], runtime=runtime)
    assert agent.tools["read_file"]() == f"read_file of {two}"
    with pytest.raises(ConfigError, match="provided by both"):
        Agent(ScriptedProvider(text("hello")), tools=["read_file"], runtime=runtime)


def test_blocking_the_other_is_the_other_way_out(installed: Site) -> None:
    one, _ = two_of(installed)
    assert installed.runtime(block=("becket-repo",)).tool("read_file")() == f"read_file of {one}"


def test_two_entry_points_of_one_name_are_two_plugins_told_apart_by_their_distributions(installed: Site) -> None:
    one, two = (installed.module(HOOK.format(name="read_file")) for _ in range(2))
    installed.declare("becket-a", f"files = {one}")
    installed.declare("becket-b", f"files = {two}")
    runtime = installed.runtime(strict=True)
    assert [one.title for one in runtime.plugins if one.name == "files"] == ["becket-a 1.0", "becket-b 1.0"]
    with pytest.raises(ConfigError, match=r"name one as 'becket-a:read_file'.*-p no:becket-b"):
        runtime.tool("files:read_file")
    assert runtime.tool("becket-b:read_file")() == f"read_file of {two}"


def test_two_plugins_of_one_distribution_are_told_apart_by_their_own_names(installed: Site) -> None:
    one, two = (installed.module(HOOK.format(name="read_file")) for _ in range(2))
    installed.declare("becket-ab", f"a = {one}\nb = {two}")
    runtime = installed.runtime()
    with pytest.raises(ConfigError, match="name one as 'a:read_file', or block the other with -p no:b"):
        runtime.tool("read_file")
    assert runtime.tool("b:read_file")() == f"read_file of {two}"


def test_two_objects_of_one_class_are_two_plugins() -> None:
    class Shelf:
        def __init__(self, *names: str) -> None:
            self.held = [named_tool(name) for name in names]

        @hookimpl
        def register_tools(self) -> list[AnyTool]:
            return self.held

    runtime = Runtime(plugins=[Shelf("a", "both"), Shelf("b", "both")], discover=False, strict=True)
    assert list(runtime.tools) == ["a", "b", "both"]
    with pytest.raises(ConfigError, match="tool 'both' is provided by both plugin 'Shelf' and plugin 'Shelf'"):
        runtime.tool("both")


def test_a_plugin_passed_by_the_host_and_installed_is_one_plugin(installed: Site) -> None:
    name = installed.install("both", HOOK.format(name="x"), version="3")
    __import__(name)
    runtime = installed.runtime(plugins=[sys.modules[name]], require=["becket-both"], strict=True)
    both = plugin(runtime, "both")
    assert (both.status, both.distribution, both.version, both.value) == ("loaded", "becket-both", "3", name)
    assert runtime.tool("x")() == f"x of {name}"


def test_one_object_declared_by_two_distributions_is_used_once(installed: Site) -> None:
    module = installed.module(HOOK.format(name="x"))
    installed.declare("becket-a", f"a = {module}")
    installed.declare("becket-b", f"b = {module}")
    runtime = installed.runtime()
    assert plugin(runtime, "a").status == "loaded"
    assert "it is the same object as 'a' of becket-a 1.0" in quarantined(runtime, "b").reason
    assert runtime.tool("x")() == f"x of {module}"


# -- asking for what is there ------------------------------------------------------------------------------------------


def test_an_unknown_name_gets_the_near_one_suggested_and_the_list(installed: Site) -> None:
    installed.install("maths", HOOK.format(name="calculator"))
    runtime = installed.runtime()
    with pytest.raises(
        ConfigError, match=r"^there is no tool 'calculater'; did you mean 'calculator'\? Installed tools: calculator\."
    ):
        runtime.tool("calculater")
    with pytest.raises(ConfigError, match=r"'math:calculator'; did you mean 'calculator'\?"):
        runtime.tool("math:calculator")
    with pytest.raises(ConfigError, match=r"^there is no tool 'weather'\. Installed tools: calculator\.(?! Install)"):
        runtime.tool("weather")
    with pytest.raises(ConfigError, match="there is no tool 'maths:calculator:more'"):
        runtime.tool("maths:calculator:more")


def test_where_nothing_is_installed_the_error_says_how_to_get_it() -> None:
    with pytest.raises(ConfigError, match=r"Installed sinks: none\. Install a plugin that has one \(becket-<name>\)"):
        Runtime(discover=False).sink("console")


def test_an_unknown_name_while_a_broken_plugin_is_installed_says_so(installed: Site) -> None:
    installed.install("acme", "import acme_sdk_of_2019", version="0.2")
    runtime = installed.runtime(block=("nothing",))
    with pytest.raises(ConfigError, match=r"no provider 'acme'.*becket-acme 0\.2 is quarantined: .*acme_sdk_of_2019"):
        runtime.model("acme:large")


# -- order -------------------------------------------------------------------------------------------------------------

ORDERED = """
from becket import hookimpl
@hookimpl({mark})
def register_commands(cli):
    cli.append({name!r})
"""


def order_of(runtime: Runtime) -> list[str]:
    asked: list[str] = []
    runtime.commands(asked)
    return asked


@pytest.mark.parametrize("seed", range(3))
def test_hooks_are_called_by_phase_then_as_configured_then_by_name_never_as_installed(
    installed: Site, seed: int
) -> None:
    marks = {"a": "", "b": "trylast=True", "c": "tryfirst=True", "d": "", "e": "", "f": "tryfirst=True"}
    names = list(marks)
    random.Random(seed).shuffle(names)  # noqa: S311  an order, no secret
    for name in names:
        installed.install(name, ORDERED.format(name=name, mark=marks[name]))
    assert order_of(installed.runtime()) == ["c", "f", "a", "d", "e", "b"]
    assert order_of(installed.runtime(order=["becket-f", "e", "Becket_B", "d"])) == ["f", "c", "e", "d", "a", "b"]


def test_objects_are_ordered_by_their_names_too() -> None:
    def named(name: str) -> object:
        return object_plugin(name, register_commands=lambda cli: cli.append(name))

    plugins = [named(name) for name in ("Zeta", "Alpha", "Mid")]
    assert order_of(Runtime(plugins=plugins, discover=False)) == ["Alpha", "Mid", "Zeta"]
    assert order_of(Runtime(plugins=plugins, discover=False, order=["mid"])) == ["Mid", "Alpha", "Zeta"]


def test_bare_modules_take_their_place_among_the_others(installed: Site) -> None:
    """Seen in the error of a conflict, which names them in their order."""
    installed.install("z", HOOK.format(name="x"))
    installed.install("y", TOOL.format(name="x"))
    with pytest.raises(ConfigError, match=r"both becket-y 1\.0 and becket-z 1\.0"):
        installed.runtime().tool("x")
    with pytest.raises(ConfigError, match=r"both becket-z 1\.0 and becket-y 1\.0"):
        installed.runtime(order=["z"]).tool("x")


def test_the_order_of_any_hook_is_told_with_what_has_put_each_there(installed: Site) -> None:
    for name, mark in {"a": "", "b": "trylast=True", "c": "tryfirst=True"}.items():
        installed.install(name, ORDERED.format(name=name, mark=mark))
    installed.install("broken", ORDERED.format(name="broken", mark="") + "raise OSError\n")
    runtime = installed.runtime(order=["z", "b"], plugins=[object_plugin("Z", register_commands=lambda cli: None)])
    assert [(one.plugin.name, one.phase, one.why) for one in runtime.hook_order("register_commands")] == [
        ("c", "first", "marked tryfirst, by its name"),
        ("Z", "normal", "number 1 of the configured order"),
        ("a", "normal", "by its name"),
        ("b", "last", "marked trylast, number 2 of the configured order"),
    ]
    assert runtime.hook_order("approve_tool") == ()


def test_the_order_of_a_hook_that_there_is_not_is_an_error() -> None:
    runtime = Runtime(discover=False)
    with pytest.raises(ConfigError, match=r"there is no hook 'approve_tools'; did you mean 'approve_tool'\?"):
        runtime.hook_order("approve_tools")
    with pytest.raises(ConfigError, match=r"there is no hook '__all__'; the hooks are: after_model_call, "):
        runtime.hook_order("__all__")


# -- commands ----------------------------------------------------------------------------------------------------------


def test_a_plugin_that_fails_at_its_commands_is_shown_keeps_its_tools_and_stops_no_other(installed: Site) -> None:
    code = HOOK.format(name="x") + "@hookimpl\ndef register_commands(cli):\n    raise SystemExit(2)\n"
    installed.install("broken", code)
    installed.install("fine", ORDERED.format(name="fine", mark=""))
    runtime = installed.runtime()
    assert order_of(runtime) == ["fine"]
    broken = plugin(runtime, "broken")
    assert (broken.status, broken.reason) == ("quarantined", "its register_commands failed: SystemExit: 2")
    assert broken.adds == {"tools": ("x",)}
    assert "x" in runtime.tools
    assert order_of(runtime) == ["fine"]


def test_a_strict_runtime_raises_for_a_plugin_that_fails_at_its_commands() -> None:
    def fail(cli: object) -> None:
        raise OSError("x")

    runtime = Runtime(plugins=[object_plugin("Broken", register_commands=fail)], discover=False, strict=True)
    with pytest.raises(PluginError, match="its register_commands failed: OSError: x") as caught:
        runtime.commands([])
    assert (caught.value.plugin, caught.value.distribution, caught.value.hook) == ("Broken", None, "register_commands")


def test_what_a_command_hook_returns_does_not_matter() -> None:
    plugins = [object_plugin("Chatty", register_commands=lambda cli: 5)]
    runtime = Runtime(plugins=plugins, discover=False, strict=True)
    assert order_of(runtime) == []


# -- frozen ------------------------------------------------------------------------------------------------------------


def test_the_table_does_not_follow_what_becomes_of_the_plugins_lists() -> None:
    offered = [named_tool("a")]
    runtime = Runtime(plugins=[object_plugin("Mine", register_tools=lambda: offered)], discover=False)
    offered.append(named_tool("b"))
    assert list(runtime.tools) == ["a"]
    offered.clear()
    assert runtime.tool("a").name == "a"


def test_nothing_of_a_runtime_can_be_changed() -> None:
    runtime = Runtime(plugins=[object_plugin("Mine", register_tools=lambda: [named_tool("a")])], discover=False)
    for name in ("tools", "providers", "sinks", "available_sinks", "plugins", "threads", "make_log", "anything"):
        with pytest.raises(AttributeError):
            setattr(runtime, name, None)
    [one] = runtime.plugins
    with pytest.raises(FrozenInstanceError):
        one.status = "blocked"  # type: ignore[misc]  # what is tested
    with pytest.raises(TypeError):
        one.adds["tools"] = ()  # type: ignore[index]  # what is tested
    [entry] = runtime.tools.contributions()
    with pytest.raises(FrozenInstanceError):
        entry.item = named_tool("b")  # type: ignore[misc]  # what is tested
    assert not hasattr(runtime.tools, "__dict__")


def test_two_runtimes_do_not_know_of_each_other(installed: Site) -> None:
    installed.install("shared", HOOK.format(name="shared"))
    plain = Runtime(discover=False)
    one = installed.runtime(plugins=[object_plugin("One", register_tools=lambda: [named_tool("one")])])
    two = installed.runtime(block=("shared",))
    assert (list(plain.tools), list(one.tools), list(two.tools)) == ([], ["one", "shared"], [])
    one.commands(SimpleNamespace())
    assert plain.plugins == ()


def test_threads_may_build_runtimes_at_once(installed: Site) -> None:
    """Each sees all plugins, none of them twice or half."""
    for number in range(5):
        installed.install(f"p{number}", HOOK.format(name=f"tool_{number}"))
    go = threading.Barrier(8)
    built: list[list[str]] = []

    def build() -> None:
        go.wait()
        built.extend(list(installed.runtime(strict=True).tools) for _ in range(5))

    threads = [threading.Thread(target=build) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built == [[f"tool_{number}" for number in range(5)]] * 40


# -- uninstalled while the process runs --------------------------------------------------------------------------------

LAZY = """
from becket import tool

@tool(effect="none")
def lazy() -> str:
    from {part} import answer
    return answer
"""


@pytest.mark.anyio
async def test_a_plugin_that_is_uninstalled_under_a_runtime_fails_as_a_tool_and_takes_nothing_down(
    installed: Site,
) -> None:
    """What was imported stays; what it would still import is an error result. Another runtime does not find it."""
    part = installed.module("answer = 42")
    module = installed.install("lazy", LAZY.format(part=part))
    runtime = installed.runtime()
    agent = Agent(ScriptedProvider(calls(("lazy", {})), text("ok")), ["lazy"], runtime=runtime)
    installed.empty()
    sink = ListSink()
    assert (await agent.replace(sinks=[sink]).invoke_async("go")).text == "ok"
    (finished,) = [event for event in sink.events if isinstance(event, ToolFinished)]
    assert finished.result.status == "error"
    assert (
        f"lazy failed: ModuleNotFoundError: No module named '{part}' ({module} was uninstalled or replaced while "
        in (finished.result.text)
    )
    assert "lazy" not in installed.runtime().tools
    assert plugin(runtime, "lazy").status == "loaded"


LAZY_PARTS = """
from becket import ModelFinished, hookimpl
from becket.testing import ListSink

class Parrot:
    name = "lazy"
    default_model = "grey"
    def models(self):
        return []
    async def stream(self, request):
        if {fails!r} == "provider":
            with open(__file__.replace(".py", ".txt")) as file:
                file.read()
        yield ModelFinished("end_turn")
    async def aclose(self):
        pass

class Sink(ListSink):
    def open(self, run):
        import {part}

@hookimpl
def register_providers():
    return [Parrot()]

@hookimpl
def register_sinks():
    return [Sink("lazy")]

@hookimpl
async def before_model_call(ctx):
    if {fails!r} == "hook":
        import {part}
"""


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("fails", "said"),
    [
        ("provider", "the provider 'lazy' failed: FileNotFoundError: "),
        ("hook", "the hook before_model_call of the plugin 'lazy' (becket-lazy 1.0) failed: it raised ModuleNotFound"),
    ],
)
async def test_a_provider_and_a_hook_of_what_was_uninstalled_fail_the_run_and_say_so(
    installed: Site, fails: str, said: str
) -> None:
    part = installed.module("")
    module = installed.install("lazy", LAZY_PARTS.format(part=part, fails=fails))
    agent = Agent("lazy:grey", runtime=installed.runtime())
    installed.empty()
    with pytest.raises(PluginError) as caught:
        await agent.invoke_async("go")
    assert said in str(caught.value)
    assert f"({module} was uninstalled or replaced while this process ran: its file " in str(caught.value)
    assert caught.value.plugin == "lazy"


@pytest.mark.anyio
async def test_a_sink_of_what_was_uninstalled_is_switched_off_and_says_so(installed: Site) -> None:
    module = installed.install("lazy", LAZY_PARTS.format(part=installed.module(""), fails="sink"))
    seen = ListSink()
    agent = Agent("lazy:grey", runtime=installed.runtime(), sinks=["lazy", seen])
    installed.empty()
    await agent.invoke_async("go")
    (failed,) = [event for event in seen.events if isinstance(event, PluginFailed)]
    assert f"({module} was uninstalled or replaced" in failed.error


@pytest.mark.anyio
async def test_an_import_that_fails_in_what_is_installed_is_told_as_it_is(
    installed: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in a zip file, whose modules are no files, and in code that has none."""
    module = installed.install("lazy", LAZY.format(part="becket_made_never"))
    archive = tmp_path / "zipped.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.write(tmp_path / f"{module}.py", "becket_made_zipped.py")
    monkeypatch.syspath_prepend(archive)
    (tmp_path / f"{module}.py").write_text(
        "from becket import hookimpl\nfrom becket_made_zipped import lazy\n"
        "@hookimpl\ndef register_tools():\n    return [lazy]\n"
    )
    bare: dict[str, Any] = {"__name__": "becket_made_bare"}
    exec(LAZY.format(part="becket_made_never").replace("lazy", "bare"), bare)  # noqa: S102  code without a file
    agent = Agent(
        ScriptedProvider(calls(("lazy", {}), ("bare", {})), text("ok")),
        ["lazy", bare["bare"]],
        runtime=installed.runtime(),
    )
    sink = ListSink()
    await agent.replace(sinks=[sink]).invoke_async("go")
    texts = [event.result.text for event in sink.events if isinstance(event, ToolFinished)]
    said = "failed: ModuleNotFoundError: No module named 'becket_made_never'"
    assert sorted(texts) == [f"bare {said}", f"lazy {said}"]


@pytest.mark.anyio
async def test_a_file_that_a_provider_does_not_find_is_its_own_affair(installed: Site) -> None:
    installed.install("lazy", LAZY_PARTS.format(part="none", fails="provider"))
    with pytest.raises(FileNotFoundError):
        await Agent("lazy:grey", runtime=installed.runtime()).invoke_async("go")


def test_a_plugin_that_appears_is_seen_by_a_new_runtime_and_not_by_one_that_is_there(installed: Site) -> None:
    installed.install("one", TOOL.format(name="one"))
    before = installed.runtime()
    installed.install("two", TOOL.format(name="two"))
    importlib.invalidate_caches()  # both within the same tick of the folder's clock
    after = installed.runtime()
    assert (list(before.tools), list(after.tools)) == (["one"], ["one", "two"])


@pytest.mark.anyio
async def test_a_plugin_that_was_upgraded_goes_on_as_it_was_where_it_runs(installed: Site) -> None:
    """A process has one copy of a module: a new runtime, too, has what was imported, under the new version's name."""
    module = installed.install("one", TOOL.format(name="one"))
    runtime = installed.runtime()
    shutil.rmtree(installed.folder / "becket_one-1.0.dist-info")
    (installed.folder / f"{module}.py").write_text(TOOL.format(name="newer"))
    installed.declare("becket-one", f"one = {module}", version="2.0")
    agent = Agent(ScriptedProvider(calls(("one", {})), text("ok")), ["one"], runtime=runtime)
    result = await agent.invoke_async("go")
    assert result.text == "ok"
    importlib.invalidate_caches()
    new = installed.runtime()
    assert (plugin(new, "one").version, list(new.tools)) == ("2.0", ["one"])


def test_a_plugin_that_is_uninstalled_between_being_found_and_loaded_is_quarantined(
    installed: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = installed.install("brief", TOOL.format(name="brief"))
    found = discover("0.1.0")
    (tmp_path / f"{module}.py").unlink()
    importlib.invalidate_caches()
    monkeypatch.setattr("becket.runtime._discover", lambda: found)
    brief = plugin(installed.runtime(), "brief")
    assert (brief.status, "is not there" in brief.reason) == ("quarantined", True)
