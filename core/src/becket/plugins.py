"""Plugins: loaded each on its own, asked once for what they contribute, and compiled into a table that stays."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeAlias, TypeVar

from pluggy import HookimplMarker, PluginManager, PluginValidationError

from becket import hookspecs
from becket.discovery import Candidate, canonical
from becket.errors import ConfigError, PluginError
from becket.providers import Provider
from becket.sinks import Sink
from becket.tools import AnyTool, Tool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pluggy import HookImpl

__all__ = ["Contribution", "Plugin", "PluginSet", "Registry", "Status", "hookimpl"]

hookimpl = HookimplMarker("becket")
"""Marks a function of a plugin as the implementation of the hook that has its name; see `becket.hookspecs`."""

Status: TypeAlias = Literal["loaded", "blocked", "quarantined"]

Kind: TypeAlias = Literal["tools", "providers", "sinks"]

_KINDS: dict[Kind, type] = {"tools": Tool, "providers": Provider, "sinks": Sink}


class _Named(Protocol):
    name: str


T = TypeVar("T")


@dataclass(slots=True)
class Plugin:
    """A plugin and what became of it.

    Attributes:
        name: Its name: the entry point's, or that of the object.
        distribution: The distribution it comes from, or None for an object passed to the runtime.
        version: The distribution's version, or None.
        value: What the entry point points at, or the object's type.
        status: `loaded`; `blocked` by a list; `quarantined`, since it could not be used.
        reason: Why it is not loaded, empty where it is.
        error: The exception behind the reason, or None.
        adds: The names of what it contributes, by kind.
    """

    name: str
    distribution: str | None
    version: str | None
    value: str
    status: Status = "loaded"
    reason: str = ""
    error: BaseException | None = None
    adds: dict[str, list[str]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """How messages name it: by the distribution, since that is what can be uninstalled."""
        return f"{self.distribution} {self.version}" if self.distribution else f"plugin {self.name!r}"

    @property
    def aliases(self) -> set[str]:
        """Every name it answers to, in canonical form: the plugin's, the distribution's, the module's."""
        names = {self.name, self.distribution or self.name, self.value.partition(":")[0].partition(".")[0]}
        return {canonical(name) for name in names}

    def quarantine(self, reason: str, error: BaseException | None = None) -> None:
        """Take it out of use."""
        self.status, self.reason, self.error, self.adds = "quarantined", reason, error, {}


@dataclass(frozen=True, slots=True)
class Contribution(Generic[T]):
    """A thing that a plugin contributed."""

    item: T
    plugin: Plugin


class Registry(Generic[T]):
    """What plugins contributed of one kind, by name. A name given by two plugins is an error once it is asked for."""

    __slots__ = ("_all", "_kind")

    def __init__(self, kind: str, all_: Mapping[str, Sequence[Contribution[T]]]) -> None:
        self._kind = kind
        self._all = MappingProxyType(dict(all_))

    def __iter__(self) -> Any:
        return iter(sorted(self._all))

    def __contains__(self, name: object) -> bool:
        return name in self._all

    def providers_of(self, name: str) -> Sequence[Contribution[T]]:
        """What is known under `name`, of all plugins."""
        return self._all.get(name, ())

    def find(self, name: str) -> T | None:
        """What has this name, `plugin:name` included; None where nothing has it.

        Raises:
            ConfigError: Two plugins give it.
        """
        plugin, _, own = name.rpartition(":")
        given = self._all.get(own, ())
        if plugin:
            given = [entry for entry in given if canonical(plugin) in entry.plugin.aliases]
        if len(given) > 1:
            one, two = given[0].plugin, given[1].plugin
            raise ConfigError(
                f"{self._kind} {own!r} is provided by both {one.title} and {two.title}; name one as "
                f"'{one.distribution or one.name}:{own}', or block the other with -p no:{two.distribution or two.name}"
            )
        return given[0].item if given else None

    def suggestion(self, name: str) -> str:
        """`; did you mean ...` for a name that is near one of these, or nothing."""
        near = difflib.get_close_matches(name, list(self._all), n=1)
        return f"; did you mean {near[0]!r}?" if near else ""


class PluginSet:
    """The plugins of one runtime, loaded and asked for what they contribute.

    Args:
        objects: Plugins passed by the host.
        candidates: Plugins that were discovered.
        allow: Names of the only plugins to load, or None for all; objects of the host need no leave.
        block: Names of plugins not to load; wins over `allow`.
        order: Names of plugins in the order in which their hooks are called, before all others.
        strict: Whether a plugin that cannot be used is an error.

    Raises:
        PluginError: With `strict`, a plugin could not be used.
    """

    def __init__(
        self,
        objects: Iterable[object],
        candidates: Iterable[Candidate],
        *,
        allow: Iterable[str] | None,
        block: Iterable[str],
        order: Sequence[str],
        strict: bool,
    ) -> None:
        self.plugins: list[Plugin] = []
        self._manager = PluginManager("becket")
        self._manager.add_hookspecs(hookspecs)
        self._order = {canonical(name): place for place, name in enumerate(order)}
        self._strict = strict
        self._by_object: dict[str, Plugin] = {}
        allowed = None if allow is None else {canonical(name) for name in allow}
        blocked = {canonical(name) for name in block}
        for item in objects:
            self._add(_plugin_of(item), lambda item=item: item, None, blocked)  # type: ignore[misc]
        for candidate in candidates:
            plugin = Plugin(candidate.name, candidate.distribution, candidate.version, candidate.value)
            if candidate.refusal and not plugin.aliases & blocked:
                self._reject(plugin, candidate.refusal)
                self.plugins.append(plugin)
            else:
                self._add(plugin, candidate.load, allowed, blocked)
        self._tools: Registry[AnyTool] = self._collect("tools", "tool")
        self._providers: Registry[Provider] = self._collect("providers", "provider")
        self._sinks: Registry[Sink] = self._collect("sinks", "sink")

    @property
    def tools(self) -> Registry[AnyTool]:
        """The tools."""
        return self._tools

    @property
    def providers(self) -> Registry[Provider]:
        """The model providers."""
        return self._providers

    @property
    def sinks(self) -> Registry[Sink]:
        """The sinks."""
        return self._sinks

    def commands(self, cli: Any) -> None:
        """Let every plugin add its commands to `cli`."""
        for impl, plugin in self._impls("register_commands"):
            self._call(impl, plugin, cli=cli)

    # -- loading ---------------------------------------------------------------------------------------------------

    def _add(
        self, plugin: Plugin, load: Callable[[], object], allowed: set[str] | None, blocked: set[str]
    ) -> None:
        self.plugins.append(plugin)
        if plugin.aliases & blocked:
            plugin.status, plugin.reason = "blocked", "it is on the block list"
        elif allowed is not None and not plugin.aliases & allowed:
            plugin.status, plugin.reason = "blocked", "it is not on the allow list"
        elif (other := self._by_object.get(canonical(plugin.name))) is not None:
            self._reject(plugin, f"its name {plugin.name!r} is taken by {other.title}; block one by its distribution's name")
        else:
            self._load(plugin, load)

    def _load(self, plugin: Plugin, load: Callable[[], object]) -> None:
        try:
            loaded = load()
            if inspect.isclass(loaded):
                loaded = loaded()
        except (Exception, SystemExit) as error:  # noqa: BLE001  one broken plugin must not take the host down
            self._reject(plugin, f"it could not be imported: {type(error).__name__}: {error}", error)
            return
        name = canonical(plugin.name)
        try:
            self._manager.register(loaded, name)
        except (PluginValidationError, ValueError) as error:
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            self._reject(plugin, f"it could not be registered: {error}", error)
            return
        self._by_object[name] = plugin
        self._check_hooks(plugin, loaded, name)

    def _check_hooks(self, plugin: Plugin, loaded: object, name: str) -> None:
        """Refuse a hook that does not exist; a module of tools is a plugin without one."""
        callers = self._manager.get_hookcallers(loaded) or []
        known = [hook for hook in vars(hookspecs) if hook in hookspecs.__all__]
        for caller in callers:
            if not caller.has_spec():
                near = difflib.get_close_matches(caller.name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"the hooks are: {', '.join(known)}"
                self._manager.unregister(name=name)
                self._reject(plugin, f"it implements a hook {caller.name!r} that does not exist; {hint}")
                return
        if not callers and not _own_tools(loaded):
            self._reject(plugin, "it implements no hook and holds no tool; mark its functions with @becket.hookimpl or @becket.tool")

    def _reject(self, plugin: Plugin, reason: str, error: BaseException | None = None) -> None:
        plugin.quarantine(reason, error)
        if self._strict:
            raise PluginError(
                f"plugin {plugin.name!r} ({plugin.title}) cannot be used: {reason}",
                plugin=plugin.name,
                distribution=plugin.distribution and plugin.title,
            ) from error

    # -- collecting ------------------------------------------------------------------------------------------------

    def _collect(self, kind: Kind, singular: str) -> Registry[Any]:
        found: dict[str, list[Contribution[Any]]] = {}
        for impl, plugin in self._impls(f"register_{kind}"):
            self._gather(found, kind, plugin, self._call(impl, plugin))
        if kind == "tools":
            for name, plugin in sorted(self._by_object.items(), key=lambda entry: self._place(entry[0])):
                loaded = self._manager.get_plugin(name)
                if plugin.status == "loaded" and not self._manager.get_hookcallers(loaded):
                    self._gather(found, kind, plugin, _own_tools(loaded))
        return Registry(singular, found)

    def _gather(
        self, found: dict[str, list[Contribution[Any]]], kind: Kind, plugin: Plugin, items: Iterable[object]
    ) -> None:
        for item in items:
            if not isinstance(item, _KINDS[kind]):
                self._reject(plugin, f"its register_{kind} gave {item!r}, which is no {_KINDS[kind].__name__}")
                for entries in found.values():
                    entries[:] = [entry for entry in entries if entry.plugin is not plugin]
                return
            named: Any = item
            same = found.setdefault(named.name, [])
            if all(entry.item is not item for entry in same):
                same.append(Contribution(item, plugin))
                plugin.adds.setdefault(kind, []).append(named.name)

    def _impls(self, hook: str) -> list[tuple[HookImpl, Plugin]]:
        """The implementations of a hook, first those that come first: by phase, configured order, name."""
        impls = getattr(self._manager.hook, hook).get_hookimpls()
        pairs = [(impl, self._by_object[impl.plugin_name]) for impl in impls]
        live = [(impl, plugin) for impl, plugin in pairs if plugin.status == "loaded"]
        return sorted(live, key=lambda pair: (_phase(pair[0]), self._place(pair[0].plugin_name)))

    def _place(self, name: str) -> tuple[int, str]:
        aliases = self._by_object[name].aliases
        return min((self._order[alias] for alias in aliases if alias in self._order), default=len(self._order)), name

    def _call(self, impl: HookImpl, plugin: Plugin, **arguments: Any) -> list[object]:
        """Call one implementation; where it fails, its plugin is taken out and the others are called all the same."""
        try:
            given = impl.function(*(arguments[name] for name in impl.argnames))
            return list(given) if given is not None else []
        except (Exception, SystemExit) as error:  # noqa: BLE001  one broken plugin must not take the host down
            self._reject(plugin, f"its {impl.function.__name__} failed: {type(error).__name__}: {error}", error)
            return []


def _phase(impl: HookImpl) -> int:
    return 0 if impl.tryfirst else 2 if impl.trylast else 1


def _plugin_of(item: object) -> Plugin:
    """The record of a plugin that the host passed as an object."""
    name = getattr(item, "__name__", None) or type(item).__name__
    if isinstance(item, ModuleType):
        return Plugin(name, None, None, name)
    kind = item if inspect.isclass(item) else type(item)
    return Plugin(name, None, None, f"{kind.__module__}:{kind.__qualname__}")


def _own_tools(loaded: object) -> list[object]:
    """The tools that a bare module defines."""
    if not isinstance(loaded, ModuleType):
        return []
    return [item for item in vars(loaded).values() if isinstance(item, Tool) and item.__module__ == loaded.__name__]
