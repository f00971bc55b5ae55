"""Loading plugins, each on its own, and asking them once for what they contribute; the result is a table that stays.

How the hooks of a plugin are found and checked is in `becket._hookimpls`.
"""

from __future__ import annotations

import inspect
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar

from becket._entries import Entry, imported_from, of_candidate, of_object, orphaned, said, timed
from becket._hookimpls import Hook, call, hooks_of
from becket._log import logger
from becket._table import RUN_HOOKS, HookTable, Implementation
from becket.errors import ConfigError, PluginError
from becket.masks import Mask, Refusal
from becket.plugins import Contribution, HookInfo, HookPlace, Plugin, Registry
from becket.policies import Policy
from becket.providers import Provider
from becket.sinks import Sink
from becket.tools import AnyTool, Tool
from becket.wires import AnyWire, SocketWire, Wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from becket._choice import Choice
    from becket._config_tables import Settled
    from becket._locking import LockCheck
    from becket.config import PluginTable
    from becket.discovery import Candidate
    from becket.hookspecs import FindModel

__all__ = ["PluginSet"]

T = TypeVar("T")

Kind: TypeAlias = Literal["tools", "providers", "sinks", "policies", "masks", "wires"]

_KINDS: Final[dict[Kind, tuple[type, ...]]] = {
    "tools": (Tool,),
    "providers": (Provider,),
    "sinks": (Sink,),
    "policies": (Policy,),
    "masks": (Mask,),
    "wires": (Wire, SocketWire),
}

_OF_CANDIDATE: Final = ("name", "distribution", "version", "value", "metadata")

_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")  # a colon would be taken for the one in `provider:model`


class PluginSet:
    """The plugins of one runtime, loaded and asked for what they contribute.

    Args:
        objects: Plugins passed by the host.
        candidates: Plugins that were discovered.
        choice: What the host says of them.
        tables: The tables of plugins in the configuration.
        find_model: What those that give providers get as `find_model`.
        check: What they are held to, or None.

    Attributes:
        check: What they were held to, or None.
        choice: What the host says of them.
        tools: The tools that they contribute.
        providers: The model providers.
        sinks: The sinks.
        policies: The policies.
        masks: The masks, in the order of the plugins; those of a plugin that is not usable refuse.
        wires: The wires.
        hooks: The hooks that are called in a run.

    Raises:
        PluginError: With `choice.strict`, a plugin could not be used.
    """

    __slots__ = (
        "_entries",
        "_find_model",
        "check",
        "choice",
        "hooks",
        "masks",
        "policies",
        "providers",
        "sinks",
        "tools",
        "wires",
    )

    def __init__(
        self,
        objects: Iterable[object],
        candidates: Iterable[Candidate],
        choice: Choice,
        *,
        tables: Sequence[PluginTable] = (),
        find_model: FindModel | None = None,
        check: LockCheck | None = None,
    ) -> None:
        self.choice = choice
        self.check = check
        self._find_model = find_model
        self._entries: list[Entry] = []
        for entry in (*map(of_object, objects), *map(of_candidate, candidates)):
            self._admit(entry)
        for entry in self._entries:
            if entry.usable:
                self._configure(entry, tables)
        for kind in _KINDS:
            for hook, entry in self._hooks(f"register_{kind}"):
                self._ask(kind, hook, entry)
        for entry in self._entries:
            self._hold(entry)
            entry.mark(adds=MappingProxyType(entry.adds))
            self._tell(entry.plugin)
        self.tools: Registry[AnyTool] = self._registry("tools", "tool")
        self.providers: Registry[Provider] = self._registry("providers", "provider")
        self.sinks: Registry[Sink] = self._registry("sinks", "sink")
        self.policies: Registry[Policy] = self._registry("policies", "policy")
        self.wires: Registry[AnyWire] = self._registry("wires", "wire")
        self.masks = tuple(self._masks())
        self.hooks = HookTable.of(
            {name: [self._implementation(*pair) for pair in self._hooks(name)] for name in RUN_HOOKS}
        )

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """Every plugin that was passed or found, with what became of it."""
        return tuple(entry.plugin for entry in self._entries)

    def order_of(self, name: str) -> tuple[HookPlace, ...]:
        """The implementations of a hook in the order of their calls, and why they have it."""
        return tuple(
            HookPlace(entry.plugin, hook.when, ", ".join([*hook.marked, self.choice.why(entry.plugin)]))
            for hook, entry in self._hooks(name)
        )

    @property
    def given(self) -> list[tuple[Plugin, Mapping[str, Sequence[Any]]]]:
        """Every plugin with what it contributes, by kind."""
        return [(entry.plugin, entry.given) for entry in self._entries]

    @property
    def settled(self) -> list[tuple[Plugin, Settled | None]]:
        """Every plugin with what became of its tables; None where nobody has looked at them."""
        return [(entry.plugin, entry.settled) for entry in self._entries]

    def commands(self, cli: Any) -> None:
        """Let every plugin add its commands to `cli`; one that fails is marked, and its contributions stay."""
        for hook, entry in self._hooks("register_commands"):
            try:
                call(hook, cli=cli, config=entry.config)
            except (Exception, SystemExit) as error:  # noqa: BLE001  one broken plugin must not take the host down
                self._reject(entry, f"its {hook.name} failed: {said(error)}", error, hook=hook.name)

    def first(self, name: str, wanted: type[T], article: str) -> T | None:
        """What the first plugin gives that gives anything for the hook `name`; None where none does.

        A plugin that fails at it is marked, as for `commands`.

        Args:
            name: The hook.
            wanted: What it must give.
            article: How messages call one, with its article.

        Raises:
            PluginError: One failed: what the next one gives, or the default, would not be what was installed for this.
        """
        for hook, entry in self._hooks(name):
            try:
                made = call(hook, config=entry.config)
                if made is not None and (inspect.isclass(made) or not isinstance(made, wanted)):
                    raise TypeError(f"it gave {made!r}, which is no {wanted.__name__}")  # noqa: TRY301  as what a plugin raises
            except (Exception, SystemExit) as error:
                self._reject(entry, f"its {name} failed: {said(error)}", error, hook=name)
                plugin = entry.plugin
                raise PluginError(
                    f"{article} is not there: plugin {plugin.name!r} ({plugin.title}) was to give it, and "
                    f"{plugin.reason}; mend it, or block it with -p no:{plugin.name}",
                    plugin=plugin.name,
                    distribution=plugin.distribution and plugin.title,
                    hook=name,
                ) from error
            if made is not None:
                return made
        return None

    # -- loading ---------------------------------------------------------------------------------------------------

    def _admit(self, entry: Entry) -> None:
        self._entries.append(entry)
        if why := self.choice.blocked(entry.plugin):
            entry.mark(status="blocked", reason=why)
        elif why := entry.refusal or (self.check.refusal(entry.plugin) if self.check else ""):
            self._reject(entry, why)
        elif self._load(entry):
            others = (one for one in self._entries if one is not entry and one.usable)
            same = next((one for one in others if one.loaded is entry.loaded), None)
            if same is None:
                self._register(entry)
            else:
                self._collapse(entry, same)

    def _load(self, entry: Entry) -> bool:
        doing = "imported"
        try:
            entry.loaded = timed(entry)
            if inspect.isclass(entry.loaded):
                doing = "made: it is a class, and is called without arguments"
                entry.loaded = entry.loaded()
        except (Exception, SystemExit) as error:  # noqa: BLE001  one broken plugin must not take the host down
            why = f"it could not be {doing}: {said(error)}{imported_from(entry.plugin)}"
            self._reject(entry, orphaned(entry.plugin, error) or why, error)
        return entry.usable

    def _collapse(self, entry: Entry, same: Entry) -> None:
        """Two names for one object: the host passed what is installed, or two distributions declare it."""
        entry.loaded = None
        if same.plugin.distribution is None:
            self._entries.remove(entry)
            same.mark(**{name: getattr(entry.plugin, name) for name in _OF_CANDIDATE})
        else:
            self._reject(
                entry,
                f"it is the same object as {same.plugin.name!r} of {same.plugin.title}, which is in use; uninstall one",
            )

    def _register(self, entry: Entry) -> None:
        try:
            entry.hooks = hooks_of(entry.loaded, entry.plugin.name)
        except Exception as error:  # noqa: BLE001  attributes of any object are looked at: anything may be raised
            entry.loaded = None
            self._reject(entry, f"it could not be registered: {said(error)}{imported_from(entry.plugin)}", error)
        else:
            entry.mark(hooks=tuple(HookInfo(*of) for of in sorted({(hook.name, hook.when) for hook in entry.hooks})))
            if self.check and (why := self.check.surplus(entry.plugin)):
                self._reject(entry, why)

    def _reject(
        self, entry: Entry, reason: str, error: BaseException | None = None, *, hook: str | None = None
    ) -> None:
        entry.mark(status="quarantined", reason=reason, error=error)
        plugin = entry.plugin
        if self.choice.strict:
            title = f"plugin {plugin.name!r} ({plugin.title})" if plugin.distribution else plugin.title
            raise PluginError(
                f"{title} cannot be used: {reason}",
                plugin=plugin.name,
                distribution=plugin.distribution and plugin.title,
                hook=hook,
            ) from error

    def _tell(self, plugin: Plugin) -> None:
        """Log that what the host has passed itself is left out: `becket plugins` will never show it."""
        if plugin.distribution is None and plugin.status == "quarantined" and not isinstance(plugin.error, ConfigError):
            logger.warning("%s is left out: %s", plugin.title, plugin.reason, exc_info=plugin.error)

    def _configure(self, entry: Entry, tables: Sequence[PluginTable]) -> None:
        """Settle what the hooks of a plugin get as `config`; without it, the plugin cannot be used."""
        declaring = next((hook for hook in entry.hooks if hook.name == "declare_config"), None)
        if declaring is None and not tables:
            return
        from becket._config_tables import settle

        try:
            entry.settled = settled = settle(entry.plugin, _declared(declaring), tables)
        except (Exception, SystemExit) as error:  # noqa: BLE001  one broken plugin must not take the host down
            self._reject(entry, f"its declare_config failed: {said(error)}", error, hook="declare_config")
            return
        if settled.problems:  # the user's fault and not the plugin's: the runtime decides whether it is an error
            why = "; ".join(settled.problems)
            entry.mark(status="quarantined", reason=why, error=ConfigError(why))
        elif settled.missing:
            self._reject(entry, settled.missing, ConfigError(settled.missing), hook="declare_config")

    def _hold(self, entry: Entry) -> None:
        """Take a plugin out that adds what it must not, by the lock."""
        if self.check and entry.usable and (why := self.check.deviation(entry.plugin, entry.given)):
            entry.given = {}
            self._reject(entry, why)

    # -- collecting ------------------------------------------------------------------------------------------------

    def _hooks(self, name: str) -> Iterator[tuple[Hook, Entry]]:
        """The implementations of a hook in the order of their calls: by phase, configured order, name."""
        ordered = sorted(self._entries, key=lambda entry: self.choice.place(entry.plugin))
        pairs = [(hook, entry) for entry in ordered for hook in entry.hooks if hook.name == name]
        for hook, entry in sorted(pairs, key=lambda pair: pair[0].phase):
            if entry.usable:  # the call before may have changed that
                yield hook, entry

    def _implementation(self, hook: Hook, entry: Entry) -> Implementation:
        return Implementation(hook.name, hook.phase, hook.function, hook.arguments, entry.plugin)

    def _ask(self, kind: Kind, hook: Hook, entry: Entry) -> None:
        """Take what one implementation gives; where it fails, its plugin is taken out, with all that it gave."""
        try:
            known = entry.given.setdefault(kind, [])
            for item in self._contributed(hook, entry):
                if not any(item is other for other in known):
                    known.append(_checked(kind, item, known))
        except (Exception, SystemExit) as error:  # noqa: BLE001  one broken plugin must not take the host down
            entry.given = {}
            self._reject(entry, f"its {hook.name} failed: {said(error)}", error, hook=hook.name)

    def _contributed(self, hook: Hook, entry: Entry) -> Iterable[object]:
        given: Any = call(hook, config=entry.config, find_model=self._find_model)
        return () if given is None else given

    def _masks(self) -> Iterator[Contribution[Mask]]:
        """Every mask, in the order of their hooks. A plugin that has lost its own must not let text through."""
        of = [
            (hook.phase, self.choice.place(entry.plugin), entry)
            for entry in self._entries
            for hook in entry.hooks
            if hook.name == "register_masks"
        ]
        for *_, entry in sorted(of, key=lambda one: one[:2]):
            masks = entry.given.get("masks", []) if entry.usable else [Refusal(entry.plugin.reason)]
            for mask in masks:
                yield Contribution(mask, entry.plugin)

    def _registry(self, kind: Kind, singular: str) -> Registry[Any]:
        found: dict[str, list[Contribution[Any]]] = {}
        for entry in sorted(self._entries, key=lambda entry: self.choice.place(entry.plugin)):
            for item in entry.given.get(kind, ()):
                same = found.setdefault(item.name, [])
                if all(other.item is not item for other in same):
                    same.append(Contribution(item, entry.plugin))
        return Registry(singular, found)


def _declared(hook: Hook | None) -> type | None:
    """The model of a plugin's configuration."""
    from becket._config_shape import is_model

    model = None if hook is None else call(hook)
    if model is None:
        return None
    if inspect.isclass(model) and is_model(model):
        return model
    raise TypeError(f"it gave {model!r}; give the class of a pydantic model, a dataclass or a TypedDict")


def _checked(kind: Kind, item: object, known: Iterable[Any]) -> object:
    """The item, if a plugin may contribute it."""
    wanted = _KINDS[kind][0].__name__
    if inspect.isclass(item):
        raise TypeError(f"it gave the class {item.__qualname__}; give an object, as in {item.__qualname__}()")
    if not isinstance(item, _KINDS[kind]):
        raise TypeError(f"it gave {item!r}, which is no {' and no '.join(one.__name__ for one in _KINDS[kind])}")
    name: object = getattr(item, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"it gave a {wanted} with the name {name!r}; a name has letters, digits, '-' and '_'")
    if any(other.name == name for other in known):
        raise ValueError(f"it gave two {kind} with the name {name!r}")
    return item
