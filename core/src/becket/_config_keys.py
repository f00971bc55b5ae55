"""The keys of a configuration that are becket's own: what each may be, who may set it, and whose value counts."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from becket._names import canonical
from becket.config import Approvals, Config, Origin, PluginTable, Setting
from becket.errors import ConfigError
from becket.options import Limits, ModelOptions
from becket.prices import Prices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

__all__ = ["Layer", "merged", "nearest", "shown"]

Project: TypeAlias = Literal["no", "sets", "adds", "lowers"]
Kind: TypeAlias = Literal["text", "names", "integer", "number"]

_KINDS: Final[dict[str, Kind]] = {
    "int | None": "integer",
    "float | None": "number",
    "ToolChoice": "text",
    "tuple[str, ...]": "names",
}
"""How the fields of `Limits` and `ModelOptions` are read, by their annotations."""

_WANTED: Final[dict[Kind, str]] = {
    "text": "a text",
    "names": "a list of texts",
    "integer": "a whole number",
    "number": "a number",
}

NO_LIMIT: Final = "none"
"""What stands in a file for None, which TOML does not have."""

NO_OTHER: Final = "no:*"
"""What stands in `BECKET_PLUGINS` for: no plugin but those that it names."""


@dataclass(frozen=True, slots=True)
class _Key:
    """A key that there is."""

    kind: Kind
    project: Project
    default: object
    make: Callable[..., object] | None = None

    @property
    def lifted(self) -> bool:
        """Whether it may be `NO_LIMIT`."""
        return self.make is Limits

    @property
    def wanted(self) -> str:
        return _WANTED[self.kind] + (f', or "{NO_LIMIT}" for no limit' if self.lifted else "")


def _fields(of: type[Limits | ModelOptions | Approvals], table: str, project: Project) -> Iterator[tuple[str, _Key]]:
    values = of()
    for item in dataclasses.fields(of):
        if item.name != "extra":  # it is a vendor's, and may hold anything
            # A hook that guards a run, and is given no time, is left out of it.
            may: Project = "no" if item.name == "hook_seconds" else project
            yield f"{table}.{item.name}", _Key(_KINDS[str(item.type)], may, getattr(values, item.name), of)


_KEYS: Final[Mapping[str, _Key]] = {
    "model": _Key("text", "sets", None),
    "system_prompt": _Key("text", "no", ""),
    "tools": _Key("names", "sets", None),
    "sinks": _Key("names", "adds", ()),
    "policies": _Key("names", "no", ()),
    **dict(_fields(Limits, "limits", "lowers")),
    **dict(_fields(ModelOptions, "options", "sets")),
    "allow": _Key("names", "no", None),
    "block": _Key("names", "no", ()),
    "require": _Key("names", "no", ()),
    "order": _Key("names", "no", ()),
    **dict(_fields(Approvals, "approvals", "no")),
}

_TABLES: Final = frozenset(key.partition(".")[0] for key in _KEYS if "." in key)


@dataclass(frozen=True, slots=True)
class Layer:
    """What one file says."""

    table: Mapping[str, Any]
    origin: Origin


def merged(layers: Sequence[Layer], environ: Mapping[str, str], own: str = "") -> Config:
    """What the layers come to, those of users before those of projects.

    Args:
        layers: What the files say.
        environ: The environment variables.
        own: The user's file, as messages name it.
    """
    merging = _Merging(own or "your own becket.toml")
    for layer in layers:
        merging.take(layer)
    if model := environ.get("BECKET_MODEL"):
        merging.settings["model"] = Setting("model", model, Origin("environment", "BECKET_MODEL"))
    merging.take_plugins(environ.get("BECKET_PLUGINS", ""))
    if lock := environ.get("BECKET_LOCK"):
        merging.settings["lock"] = Setting("lock", lock, Origin("environment", "BECKET_LOCK"))
    return merging.config()


class _Merging:
    """The values so far."""

    def __init__(self, own: str) -> None:
        self._own = own
        self._plugins: list[PluginTable] = []
        self._prices: dict[str, Mapping[str, float]] = {}
        self.problems: list[str] = []
        self.settings = {name: Setting(name, key.default, Origin("default")) for name, key in _KEYS.items()}
        self.settings["lock"] = Setting("lock", None, Origin("default"))  # of no file: it lies with what is run

    def config(self) -> Config:
        values = {name: setting.value for name, setting in self.settings.items() if "." not in name}
        for table, of in (("limits", Limits), ("options", ModelOptions), ("approvals", Approvals)):
            own = {name: setting.value for name, setting in self.settings.items() if name.startswith(f"{table}.")}
            values[table] = of(**{name.partition(".")[2]: value for name, value in own.items()})  # type: ignore[arg-type]  # each was checked
        made: Any = {
            **values,
            "plugins": tuple(self._plugins),
            "prices": MappingProxyType(self._prices),
            "settings": MappingProxyType(self.settings),
            "problems": tuple(self.problems),
        }
        return Config(**made)

    def take(self, layer: Layer) -> None:
        for name, value in layer.table.items():
            if name == "plugins":
                self._take_plugins(layer, value)
            elif name == "prices":
                self._take_prices(layer, value)
            elif name in _TABLES and isinstance(value, dict):
                for inner, setting in value.items():
                    self._take(layer, f"{name}.{inner}", setting)
            else:
                self._take(layer, name, value)

    def take_plugins(self, text: str) -> None:
        """The user's word on plugins for this process: `name` requires one, `no:name` blocks one, `no:*` all others."""
        words = text.replace(",", " ").split()
        alone = NO_OTHER in words
        words = [word for word in words if word != NO_OTHER]
        blocked = tuple(word.removeprefix("no:") for word in words if word.startswith("no:"))
        required = tuple(word for word in words if not word.startswith("no:"))
        for key, names in (("block", blocked), ("require", required)):
            if wrong := [name for name in names if not name or ":" in name]:
                self.problems.append(
                    f"BECKET_PLUGINS has {wrong[0]!r} for a plugin; it takes names, as in 'one,no:two'"
                )
            elif names:
                before = self.settings[key]
                own: Any = before.value
                note = f"with those of {before.origin}" if own else ""
                self.settings[key] = Setting(key, (*own, *names), Origin("environment", "BECKET_PLUGINS"), note)
        if alone:
            self._allow_only(required)

    def _allow_only(self, names: Sequence[str]) -> None:
        """Allow none but these, as far as they were allowed before."""
        before = self.settings["allow"]
        own: Any = before.value
        known = None if own is None else {_plain(name) for name in own}
        allowed = tuple(name for name in names if known is None or _plain(name) in known)
        note = "" if own is None else f"of those of {before.origin}"
        self.settings["allow"] = Setting("allow", allowed, Origin("environment", "BECKET_PLUGINS"), note)

    def _take_plugins(self, layer: Layer, value: object) -> None:
        if not isinstance(value, dict):
            self._wrong(layer, "plugins", value, "a table of tables, as in [plugins.tools]")
            return
        for name, table in value.items():
            if isinstance(table, dict):
                self._plugins.append(PluginTable(name, table, layer.origin))
            else:
                self._problem(layer, f"plugins.{name}", f"must be a table, as in [plugins.{name}]")

    def _take_prices(self, layer: Layer, value: object) -> None:
        """The user's alone: a project that sets prices lifts every limit on cost."""
        if layer.origin.kind == "project":
            self._problem(layer, "prices", f"must not be set by a project; write it into {self._own}, if you want it")
            return
        if not isinstance(value, dict):
            self._wrong(layer, "prices", value, 'a table of prices by model: [prices."provider:model"]')
            return
        for model, price in value.items():
            name = f"prices.{json.dumps(model)}"
            try:
                Prices({model: price})
            except ConfigError as error:
                self._problem(layer, name, f"is no price: {error}")
            else:
                self._prices[model] = price
                self.settings[name] = Setting(name, price, layer.origin)

    def _take(self, layer: Layer, name: str, value: object) -> None:
        key = _KEYS.get(name)
        project = layer.origin.kind == "project"
        if name in _TABLES:
            self._wrong(layer, name, value, f"a table: [{layer.origin.prefix}{name}]")
        elif key is None:
            self._problem(layer, name, f"is not known{self._near(name, project=project)}")
        elif project and key.project == "no":
            self._problem(layer, name, f"must not be set by a project; write it into {self._own}, if you want it")
        elif (read := self._read(layer, name, key, value)) is not None:
            self._settle(layer, name, key, read[0])

    def _read(self, layer: Layer, name: str, key: _Key, value: object) -> tuple[object] | None:
        """The value, if it is one that the key may have."""
        if key.lifted and value == NO_LIMIT:
            value = None
        elif not _fits(key.kind, value):
            self._wrong(layer, name, value, key.wanted)
            return None
        if isinstance(value, list):
            value = tuple(value)
        if key.make is not None:
            try:
                key.make(**{name.partition(".")[2]: value})
            except ConfigError as error:
                # What follows the comma is for Python.
                wanted = str(error).partition("it must be ")[2].partition(", or None")[0]
                self._wrong(layer, name, value, wanted + key.wanted.removeprefix(_WANTED[key.kind]))
                return None
        return (value,)

    def _settle(self, layer: Layer, name: str, key: _Key, value: Any) -> None:
        """Set the value, by the rule for a project where it is one."""
        setting = Setting(name, value, layer.origin)
        if layer.origin.kind == "project" and key.project == "lowers":
            setting = self._lowered(self.settings[name], setting)
        elif layer.origin.kind == "project" and key.project == "adds":
            setting = self._added(self.settings[name], setting, layer)
        self.settings[name] = setting

    def _lowered(self, before: Setting, setting: Setting) -> Setting:
        """The setting, unless a project would raise by it what the user has set, or lift becket's own limit."""
        own: Any = before.value
        value: Any = setting.value
        if value is not None and (before.origin.kind == "default" or own is None or value <= own):
            return setting
        note = f"{shown(value)} of {setting.origin} does not count: a project may only lower it"
        return dataclasses.replace(before, note=note)

    def _added(self, before: Setting, setting: Setting, layer: Layer) -> Setting:
        """What was there, and the names that a project adds."""
        own: Any = before.value
        names: Any = setting.value
        for item in names:
            if ":" in item:
                why = f"has {item!r} in it; a project may name a sink, and give it no argument"
                self._problem(layer, setting.key, f"{why}: write it into {self._own}, if you want it")
        added = [item for item in names if ":" not in item and item not in own]
        return Setting(setting.key, (*own, *added), setting.origin, f"with those of {before.origin}" if own else "")

    def _near(self, name: str, *, project: bool) -> str:
        known = [key for key, what in _KEYS.items() if not (project and what.project == "no")]
        return nearest(name, [*known, "plugins", *([] if project else ["prices"])])

    def _wrong(self, layer: Layer, name: str, value: object, wanted: str) -> None:
        self._problem(layer, name, f"is {_quoted(value)}; it must be {wanted}")

    def _problem(self, layer: Layer, name: str, what: str) -> None:
        place = f" in {layer.origin.place}" if layer.origin.place else ""
        self.problems.append(f"{layer.origin.prefix}{name}{place} {what}")


def _plain(name: str) -> str:
    """A plugin's name, or that of its distribution where this is called after it, in one form."""
    return canonical(name).removeprefix("becket-")


def _fits(kind: Kind, value: object) -> bool:
    if kind == "text":
        return isinstance(value, str)
    if kind == "names":
        return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
    return isinstance(value, int if kind == "integer" else int | float) and not isinstance(value, bool)


def _quoted(value: object) -> str:
    """A value as a message quotes it: what lies in a table may be a secret that was written into the wrong place."""
    items = value if isinstance(value, list | tuple) else [value]
    if any(isinstance(item, dict | list) for item in items):
        return "a table" if isinstance(value, dict) else "a list"
    return shown(value)


def shown(value: object) -> str:
    """A value as TOML writes it, or nearly."""
    if value is None:
        return f'"{NO_LIMIT}"'
    return json.dumps(value, default=str, ensure_ascii=False)


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean ...?`, or the list of what there is, for a key that is not known."""
    import difflib

    table, dot, last = name.rpartition(".")
    beside: dict[str, None] = {}
    elsewhere: dict[str, str] = {}
    for key in known:
        if key.startswith(table + dot):
            beside[key.removeprefix(table + dot).partition(".")[0]] = None
        elsewhere.setdefault(key.rpartition(".")[2], key)
    if near := difflib.get_close_matches(last, beside, n=1):
        return f"; did you mean {table + dot + near[0]!r}?"
    if near := difflib.get_close_matches(last, elsewhere, n=1):  # right but for the table that it belongs into
        return f"; did you mean {elsewhere[near[0]]!r}?"
    return f"; there is: {', '.join(beside) or 'none'}"
