"""The program that checks one plugin: `becket.testing.check` starts it, and reads a line of JSON for each rule.

What the plugin prints goes nowhere: the lines are written to what was standard output when the program began.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, TypeVar
from unittest import SkipTest

import anyio

from becket.errors import ConfigError, ToolError
from becket.log import memory_log
from becket.masks import Refusal
from becket.runtime import Runtime
from becket.sinks import RunInfo
from becket.testing._calling import called, context_of
from becket.testing._contract import rules_of, sentence_of
from becket.testing._examples import example
from becket.testing.commands import CALLING, CommandConformance
from becket.testing.event_logs import EventLogConformance
from becket.testing.masks import MaskConformance
from becket.testing.plugins import PluginConformance, loaded, resolved
from becket.testing.policies import PolicyConformance
from becket.testing.providers import ProviderConformance
from becket.testing.sinks import SinkConformance
from becket.testing.socket_wires import SocketWireConformance
from becket.testing.tools import ToolConformance
from becket.testing.wires import WireConformance
from becket.wires import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from importlib.machinery import ModuleSpec

    from becket.log import EventLog
    from becket.sinks import Sink
    from becket.testing._contract import Contract
    from becket.tools import AnyTool

__all__ = ["findings", "main"]

_C = TypeVar("_C", bound="Contract")

_OF_TOOLS: Final = frozenset({"test_a_model_can_be_told_of_it", "test_what_a_call_does_is_stated"})
"""Tests of tools that need no call."""

_OF_SINKS: Final = frozenset({"test_it_is_named", "test_an_argument_is_taken_or_refused_in_words"})
"""Tests of sinks that open none."""


def findings(value: str, import_seconds: float) -> Iterator[dict[str, Any]]:
    """What comes of each rule, as the fields of a `Finding`; before each what `begins`."""
    own = _with(PluginConformance, plugin=value, _value=value, import_seconds=import_seconds)
    yield from _made(own, "plugin", value)
    try:
        own.test_it_is_registered()  # what does not come to its end there is not begun here
        runtime = Runtime(plugins=[loaded(value)], discover=False)
    except (Exception, SystemExit):  # noqa: BLE001  why it cannot be used was told above
        return
    for tool in runtime.tools.contributions():
        yield from _of_tool(tool.item)
    for sink in runtime.available_sinks.contributions():
        yield from _of_sink(sink.item)
    for policy in runtime.available_policies.contributions():
        yield from _made(_with(PolicyConformance, make_policy=_giving(policy.item)), "policy", policy.item.name)
    for mask in (given for given in runtime.masks if not isinstance(given.item, Refusal)):  # why was told above
        yield from _made(_with(MaskConformance, make_mask=_giving(mask.item)), "mask", mask.item.name)
    if runtime.make_log is not memory_log:
        yield from _made(_with(EventLogConformance, make_log=_calling(runtime.make_log)), "log", "make_event_log")
    for wire in runtime.wires.contributions():
        contract = WireConformance if isinstance(wire.item, Wire) else SocketWireConformance
        why = "only its tests know what its clients send"
        yield _needs(contract, "wire", wire.item.name, "what it reads and writes", why=why)
    for provider in runtime.providers.contributions():
        why = "its models are not called here, and for one that speaks HTTP there is HttpProviderConformance"
        yield _needs(ProviderConformance, "provider", provider.item.name, "its model calls", why=why)
    if any(hook.name == "register_commands" for plugin in runtime.plugins for hook in plugin.hooks):
        yield from _of_commands(value)


def _needs(
    contract: type[Contract], kind: str, name: str, rule: str, *, why: str, looked_at: Collection[str] = ()
) -> dict[str, Any]:
    """Of those rules that need something said, which only a test of its author can."""
    needs, rules = contract.__name__, len({*rules_of(contract)} - {*looked_at})
    sentence = f"{why}; {rules} rules need an example of yours: subclass {needs}"
    told = {"kind": kind, "name": name, "rule": rule, "holds": None, "sentence": sentence}
    return {**told, "rules": rules, "needs": needs}


def _giving(item: object) -> Callable[[object], object]:
    return lambda _: item


def _calling(made: Callable[[RunInfo], EventLog]) -> Callable[[object, RunInfo], EventLog]:
    return lambda _, run: made(run)


def _with(contract: type[_C], **members: Any) -> _C:
    made: _C = type(contract.__name__, (contract,), members)()
    return made


def _made(
    contract: Contract, kind: str, name: str, looked_at: Callable[[str], bool] = lambda _: True
) -> Iterator[dict[str, Any]]:
    """Make the tests of a contract, one after the other."""
    for test in filter(looked_at, rules_of(type(contract))):
        rule = test.removeprefix("test_").replace("_", " ")
        yield {"begins": f"{kind} {name}: {rule}"}
        holds, said = _outcome(getattr(contract, test))
        sentence = said or sentence_of(type(contract), test)
        yield {"kind": kind, "name": name, "rule": rule, "holds": holds, "sentence": sentence}


def _outcome(test: Callable[[], Any]) -> tuple[bool | None, str]:
    """Whether a test passes, and what it says where it does not; on each event loop that is there."""
    try:
        for backend in _backends() if inspect.iscoroutinefunction(test) else ():
            anyio.run(test, backend=backend)
        if not inspect.iscoroutinefunction(test):
            test()
    except SkipTest as skipped:
        return None, str(skipped)
    except (Exception, SystemExit) as error:  # noqa: BLE001  it is what is asked for
        return False, str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
    return True, ""


@functools.cache
def _backends() -> tuple[str, ...]:
    try:
        import trio  # noqa: F401  whether it is there
    except ModuleNotFoundError:
        return ("asyncio",)
    return ("asyncio", "trio")


def _of_sink(sink: Sink) -> Iterator[dict[str, Any]]:
    """One that wants an argument is not opened: only its tests know what may be in it."""
    made = _with(SinkConformance, make_sink=_giving(sink))
    try:
        sink.open(RunInfo("run", "agent", "scripted:model"))
    except ConfigError as error:
        yield from _made(made, "sink", sink.name, lambda test: test in _OF_SINKS)
        yield _needs(SinkConformance, "sink", sink.name, "what it does in runs", why=str(error), looked_at=_OF_SINKS)
    except Exception:  # noqa: BLE001  the tests tell it
        yield from _made(made, "sink", sink.name)
    else:
        yield from _made(made, "sink", sink.name)


def _of_commands(value: str) -> Iterator[dict[str, Any]]:
    """All that it adds together; what needs no call, since nobody has said that they may be called."""
    if find_spec("click") is None:
        why = "commands are those of click, which is not installed here: install becket-cli"
        yield _needs(CommandConformance, "command", "register_commands", "what it adds", why=why)
        return
    import click

    def add(_: object, cli: click.Group) -> None:
        Runtime(plugins=[loaded(value)], discover=False, strict=True).commands(cli)

    made, cli = _with(CommandConformance, register_commands=add), click.Group()
    with contextlib.suppress(Exception):  # the first test tells it
        add(None, cli)
    if names := ", ".join(map(str, cli.commands)):
        looked_at = [test for test in rules_of(CommandConformance) if test not in CALLING]
        yield from _made(made, "command", names, looked_at.__contains__)
        why = "what they do is not tried here, since nobody has said with which arguments they may be called"
        yield _needs(CommandConformance, "command", names, "its calls", why=why, looked_at=looked_at)
    else:
        yield from _made(made, "command", "register_commands", lambda test: test == "test_commands_are_added")


def _of_tool(tool: AnyTool) -> Iterator[dict[str, Any]]:
    """Only what computes is called: nobody has said that the others may be."""
    why = f"its effect is {tool.effect!r}, so it is not called here"
    arguments = example(tool.spec.schema)
    ends = True
    if computes := tool.effect == "none" and tool.effect_is_fixed:
        yield {"begins": f"tool {tool.name}: its calls"}
        try:
            computes = ends = anyio.run(_ends, tool, arguments)
        except ToolError as error:
            computes, why = False, f"called with {arguments!r}, which was made up, it raises ToolError: {error}"
        except Exception:  # noqa: BLE001, S110  the tests tell it
            pass
    cases = {tool.name: [arguments]} if computes else {}
    made = _with(ToolConformance, make_tools=lambda _: [tool], cases=cases)
    yield from _made(made, "tool", tool.name, lambda test: computes or test in _OF_TOOLS)
    if not ends:  # said once: each of the tests of calls would wait as long
        said = f"called with {arguments!r}, which was made up, it does not end within {ToolConformance.patience:g} s"
        yield {"kind": "tool", "name": tool.name, "rule": "its calls", "holds": False, "sentence": said}
    elif not computes:
        yield _needs(
            ToolConformance,
            "tool",
            tool.name,
            "its calls",
            why=f"{why}; `cases` says calls that succeed",
            looked_at=_OF_TOOLS,
        )


async def _ends(tool: AnyTool, arguments: Mapping[str, Any]) -> bool:
    """Whether a call comes to its end in time, by the clock: what keeps the event loop cannot be cancelled."""
    started = anyio.current_time()
    with anyio.move_on_after(ToolConformance.patience):
        await called(tool, arguments, context_of(tool, None))
    return anyio.current_time() - started < ToolConformance.patience


def _there(plugin: str, file: str = "", *, module_only: bool = False) -> str:
    """What the plugin is imported as; of a file, and of a project, no installed plugin that has this name.

    Raises:
        ConfigError: There is none; or the file is not what is imported under its name.
    """
    value = plugin if module_only else resolved(plugin)
    module = value.partition(":")[0].strip()
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if file:
        _check_file(file, module, spec)
    elif spec is None:
        raise ConfigError(
            f"there is no plugin {plugin!r}: none that is installed has that name, and there is no module {module!r}; "
            f"'becket plugins' lists what is installed"
        )
    return value


def _check_file(file: str, module: str, spec: ModuleSpec | None) -> None:
    """Refuse one that a program would not get when it imports a module of this name."""
    if spec is None:
        raise ConfigError(f"{file} cannot be a module; it takes a name such as weather.py")
    origin = "it comes with Python" if module in sys.stdlib_module_names else spec.origin or "it is a folder"
    if not (origin == file or (os.path.exists(origin) and os.path.samefile(origin, file))):  # noqa: PTH110, PTH121  strings
        raise ConfigError(f"there is another module {module!r} ({origin}); give the file {file} another name")


def main() -> None:
    """Check the plugin that standard input names."""
    asked = json.load(sys.stdin)
    sys.path[:] = asked["path"] or sys.path
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)

        def tell(line: dict[str, Any]) -> None:
            out.write(f"{json.dumps(line)}\n")
            out.flush()

        try:
            there = _there(asked["plugin"], asked.get("file", ""), module_only=asked.get("module", False))
            for line in findings(there, asked["import_seconds"]):
                tell(line)
            tell({"done": True})
        except ConfigError as error:
            tell({"unknown": str(error)})
