"""The contract of plugins as tests, which the tests of a plugin inherit: importing it, registering it, its hooks."""

from __future__ import annotations

import functools
import inspect
import itertools
import sys
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from becket._table import RUN_HOOKS
from becket.config import Config
from becket.content import Message, Text, ToolCall, ToolResult
from becket.effects import ModelAnswer
from becket.errors import ConfigError, PluginError
from becket.events import ModelFinished, PluginFailed, RunFailed
from becket.policies import Ask, Deny
from becket.providers import ModelRequest
from becket.runtime import VERSION, Runtime
from becket.testing._blocking import kept_at
from becket.testing._calling import within
from becket.testing._contract import Contract, missing, must, not_looked_at
from becket.testing._importing import observed
from becket.testing._model_calls import as_failures
from becket.testing._runs import LaterHookContext, Run, whole_run
from becket.testing.policies import TRIED, Unreadable
from becket.testing.scenarios import Scenarios

if TYPE_CHECKING:
    from collections.abc import Mapping

    from becket._table import Implementation
    from becket.testing._importing import Observed, Phase

__all__ = ["PluginConformance", "loaded", "resolved"]

_MOST: Final = 5
"""How many things are told that were touched."""

_RUNS: Final = ("text", "tools", "nested", "fails first")
_PROCESS: Final = 30.0
"""Seconds in which a plugin must be imported and registered on a machine however slow."""


class PluginConformance(Contract):
    """What every plugin must do, as tests.

    Subclass it in a test file, and say which plugin it is::

        class TestPlugin(PluginConformance):
            plugin = "becket_words"

    What it contributes has tests of its own, such as `ToolConformance`.
    """

    plugin: str = ""
    """What its entry point points at, `module` or `module:object`; or the name of one that is installed."""

    table: Mapping[str, Any] = MappingProxyType({})
    """Its table in the configuration, where it has required fields."""

    import_seconds: float = 0.5
    """Seconds of CPU time that importing it may take, and then asking it for what it contributes."""

    blocks: float = 0.1
    """Seconds for which its hooks may keep the event loop from everything else."""

    patience: float = 10.0
    """Seconds that a run of a few events may take."""

    _value: str = ""
    """What is imported, where it is known: `plugin` is the name of none that is installed then."""

    # -- importing and registering, in a process of its own ------------------------------------------------------------

    def test_it_can_be_imported(self) -> None:
        """Its module, and what its entry point points at, are there; nothing is raised, and it comes to an end."""
        error = self._seen()["importing"]["error"]
        must(not error, f"{self.plugin}: it could not be imported: {error}")

    def test_it_is_imported_quickly(self) -> None:
        """Every program that has it installed waits for it at its start: what is heavy is imported when it is used."""
        self._check_seconds("importing", "importing it")

    def test_importing_it_touches_nothing(self) -> None:
        """No network, no file, no process, no thread, no waiting: nobody has asked for anything yet."""
        self._check_touched(self._observed()["importing"], "importing it")

    def test_importing_it_leaves_the_process_as_it_is(self) -> None:
        """Nothing is printed; signals, logging, paths and the environment are the program's."""
        changed = self._observed()["importing"]["changed"]
        must(not changed, f"{self.plugin}: importing it changes what is the program's: {'; '.join(changed)}")

    def test_it_is_registered(self) -> None:
        """Its hooks exist, take what they are given, and give what they must."""
        seen = self._observed()["registering"]
        must(not seen["error"], f"{self.plugin} cannot be used: {seen['error']}")

    def test_registering_it_is_quick_and_touches_nothing(self) -> None:
        """The hooks `register_...` make what they give, and no more: to connect and to load is for its first use."""
        self._registered()
        self._check_seconds("registering", "registering it twice")
        seen = self._observed()["registering"]
        self._check_touched(seen, "registering it")
        must(not seen["changed"], f"{self.plugin}: registering it changes what is the program's: {seen['changed']}")

    def test_it_gives_the_same_again(self) -> None:
        """Every runtime of a process asks anew, and has the same."""
        first, *rest = self._registered()["adds"]
        for again in rest:
            must(again == first, f"{self.plugin}: a runtime is given {first}, and the next one {again}")

    # -- hooks that are called in a run --------------------------------------------------------------------------------

    async def test_runs_go_on_with_it(self) -> None:
        """In runs of several kinds: none of its hooks fails."""
        for name in _RUNS:
            with within(self.patience, f"{self.plugin}: a run of the scenario {name!r}"):
                run = await self._run(name)
            failed = [event for event in run.events if isinstance(event, PluginFailed)]
            must(not failed, f"{self.plugin}: a hook fails in a run of the scenario {name!r}: {failed}")
            last = run.events[-1]
            mine = isinstance(last, RunFailed) and last.error.kind == "PluginError"
            must(not mine, f"{self.plugin}: a run of the scenario {name!r} fails: {last!r}")

    async def test_the_event_loop_is_free_during_its_hooks(self) -> None:
        """A sync hook runs on the event loop, and must be quick; an async one waits with `await`."""
        self._hooks(*RUN_HOOKS)
        agent = Scenarios().agent.replace(runtime=self._runtime())
        await whole_run("tools", agent)  # what is imported and made for the first run may take a while
        found = await kept_at(self.blocks, functools.partial(whole_run, "tools", agent))
        must(
            not found,
            f"{self.plugin}: it keeps the event loop from everything else for more than {self.blocks:g} s, at {found}; "
            f"make the hook async, and await what takes long",
        )

    async def test_a_context_may_tell_more(self) -> None:
        """A later becket has more fields in `HookContext`: a hook takes those that it knows, by their names."""
        later = LaterHookContext(run_id="run", agent="agent", model="scripted:model")
        for hook in self._hooks(*RUN_HOOKS):
            given = {**_given(), "ctx": later}
            with as_failures(f"the hook {hook.hook} of {self.plugin}, with a context that tells more"):
                await _called(hook, given)

    async def test_a_decision_fails_closed(self) -> None:
        """A call that `approve_tool` cannot look at is not let through: it raises, which denies, or gives a Deny."""
        hooks = self._hooks("approve_tool")
        for hook, (tool, arguments), part in itertools.product(hooks, TRIED, ("arguments", "tool")):
            unreadable = Unreadable(tool.name, arguments, part)
            try:
                verdict = await _called(hook, {**_given(), "call": unreadable, "tool": tool})
            except Exception as error:  # noqa: BLE001  it is what is wanted
                verdict = Deny(str(error))
            must(
                not unreadable.tried or isinstance(verdict, Deny | Ask),
                f"{self.plugin}: approve_tool gives {verdict!r} for a call whose {part} could not be read; let "
                f"what you do not expect be raised, or give a Deny",
            )

    # -- how the tests use it ------------------------------------------------------------------------------------------

    def _observed(self) -> Observed:
        """What was seen of it; a test of one that cannot be imported ends here."""
        seen = self._seen()
        if seen["importing"]["error"]:
            not_looked_at("it cannot be imported")
        return seen

    def _registered(self) -> Observed:
        """As `_observed`; a test of one that cannot be registered ends here too."""
        seen = self._observed()
        if seen["registering"]["error"]:
            not_looked_at("it cannot be registered")
        return seen

    def _seen(self) -> Observed:
        if not self.plugin:
            raise missing(self, "plugin")
        if self._key not in _SEEN:
            value = self._value or resolved(self.plugin)
            _SEEN[self._key] = observed(value, table=self.table, path=sys.path, patience=_PROCESS)
        return _SEEN[self._key]

    @property
    def _key(self) -> str:
        return f"{self.plugin} {dict(self.table)!r}"

    def _check_seconds(self, phase: str, doing: str) -> None:
        seconds: float = self._observed()[phase]["seconds"]  # type: ignore[literal-required]  # one of the two
        if seconds > self.import_seconds:  # once more: the files may not have been in the cache
            _SEEN.pop(self._key)
            seconds = self._observed()[phase]["seconds"]  # type: ignore[literal-required]  # as above
        must(
            seconds <= self.import_seconds,
            f"{self.plugin}: {doing} takes {seconds:.2f} s of CPU time, and may take {self.import_seconds:g} s; import "
            f"what is heavy inside the functions that need it ('python -X importtime' shows what takes long)",
        )

    def _check_touched(self, seen: Phase, doing: str) -> None:
        found = [f"{kind}: {said}" for kind, said in seen["touched"]]
        touched = "; ".join(found[:_MOST]) + (f"; and {len(found) - _MOST} more" if len(found) > _MOST else "")
        must(not touched, f"{self.plugin}: {doing} does what is for its first use: {touched}")

    def _runtime(self) -> Runtime:
        self._registered()
        item = loaded(self._value or resolved(self.plugin))
        name = item.__name__ if isinstance(item, ModuleType) else type(item).__name__
        config = Config.of({"plugins": {name: self.table}}) if self.table else None
        try:
            return Runtime(plugins=[item], discover=False, strict=True, config=config)
        except (ConfigError, PluginError) as error:
            raise AssertionError(f"{self.plugin} cannot be used: {error}") from error

    def _hooks(self, *names: str) -> list[Implementation]:
        """Those of its hooks that are called in a run; a test that is of none ends here."""
        table = self._runtime().hooks
        hooks = [hook for name in names for hook in getattr(table, name)]
        if not hooks:
            not_looked_at(f"it has no hook {names[0]}" if len(names) == 1 else "it has no hook that is called in a run")
        return hooks

    async def _run(self, name: str) -> Run:
        return await whole_run(name, Scenarios().agent.replace(runtime=self._runtime()))


_SEEN: Final[dict[str, Observed]] = {}
"""What was seen of plugins, by what they are and their tables: each is imported once, and not for every test."""


def resolved(plugin: str) -> str:
    """What the entry point of this name points at, where one is installed; else `plugin` itself.

    Raises:
        ConfigError: It was installed, and must not be loaded; or several distributions have one of this name.
    """
    from becket._names import canonical
    from becket.discovery import discover
    from becket.plugins import Plugin

    asked, named = canonical(plugin), []
    for found in discover(VERSION):
        known = Plugin(found.name, found.distribution, found.version, found.value)
        if plugin == found.value or asked in known.aliases:
            named.append(found)
    # A distribution's name is what tells two plugins of one name apart, and so means that distribution alone.
    named = [found for found in named if canonical(found.distribution) == asked] or named
    if not named:
        return plugin
    if len({found.value for found in named}) > 1 and len({found.distribution for found in named}) > 1:
        those = " and ".join(f"{found.distribution} {found.version}" for found in named)
        raise ConfigError(
            f"{those} each have a plugin that {plugin!r} may stand for; give the name of the one that is meant, as "
            f"{named[0].distribution}"
        )
    if named[0].refusal:
        raise ConfigError(f"{plugin} must not be loaded: {named[0].refusal}")
    return named[0].value


def loaded(value: str) -> Any:
    """What `module` or `module:object` stands for, as a runtime takes it."""
    from importlib import import_module

    module, _, name = value.partition(":")
    item: Any = import_module(module.strip())
    for part in name.split(".") if name else ():
        item = getattr(item, part)
    return item() if inspect.isclass(item) else item


def _given() -> dict[str, Any]:
    """What hooks are given in a run."""
    message = Message("user", (Text("How are you?"),))
    tool, arguments = TRIED[0]
    call = ToolCall("call-1", tool.name, dict(arguments))
    return {
        "ctx": None,
        "messages": (message,),
        "request": ModelRequest("model", (message,), key=("run", 1, 1)),
        "answer": ModelAnswer(Message("assistant", (Text("Fine."),)), ModelFinished("end_turn")),
        "call": call,
        "result": ToolResult("call-1", "success", (Text("0"),)),
        "tool": tool,
    }


async def _called(hook: Implementation, given: Mapping[str, Any]) -> Any:
    value: Any = hook.function(*(given[name] for name in hook.arguments))
    return await value if inspect.isawaitable(value) else value
