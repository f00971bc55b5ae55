"""The tables of plugins: found by any of a plugin's names, merged, and validated by the model that it declares."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from becket._config_keys import nearest, shown
from becket._config_shape import Shape, required
from becket._names import canonical
from becket.config import PluginTable, Setting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pydantic import ValidationError

    from becket.plugins import Plugin

__all__ = ["MASK", "Settled", "masked", "settle"]

MASK: Final = "**********"  # as pydantic has it

Path: TypeAlias = tuple[str | int, ...]

_ABSENT: Final = object()


@dataclass(slots=True)
class Settled:
    """What became of the tables of a plugin.

    Attributes:
        model: The model that it declares, or None.
        value: What its hooks get as `config`; None where it declares no model.
        problems: What is wrong with its tables; the user has written them.
        missing: Why it cannot be used though nothing is wrong: it needs what nobody has set.
        settings: What is set, without the defaults. Secrets are masked.
        exposed: The files that hold a secret.
        lacking: What lists lack, since it was to come from variables that are not set.
    """

    model: type | None = None
    value: object = None
    problems: tuple[str, ...] = ()
    missing: str = ""
    settings: tuple[Setting, ...] = ()
    exposed: frozenset[str] = frozenset()
    lacking: tuple[str, ...] = ()


def settle(plugin: Plugin, model: type | None, tables: Sequence[PluginTable]) -> Settled:
    """Validate what there is for a plugin.

    Args:
        plugin: The plugin.
        model: The model that it declares, or None.
        tables: Every table of every plugin, the user's before the project's.

    Raises:
        Exception: The model itself is broken.
    """
    own = [table for table in tables if canonical(table.name) in plugin.aliases]
    if not own:
        return _unset(plugin, model)
    if model is None:
        why = f"{plugin.title} takes no configuration; take the table out"
        return Settled(problems=tuple(f"{_place(table)}: {why}" for table in own))
    return _Settling(plugin, model, own).settled()


def _unset(plugin: Plugin, model: type | None) -> Settled:
    if model is None:
        return Settled()
    if keys := required(model):
        why = f"it is not configured: the table [plugins.{plugin.name}] has to set {', '.join(keys)}"
        return Settled(model, missing=why)
    return Settled(model, model())


class _Settling:
    """The tables of one plugin, on their way into its model."""

    def __init__(self, plugin: Plugin, model: type, tables: Sequence[PluginTable]) -> None:
        self._plugin = plugin
        self._model = model
        self._tables = tables
        self._shape = Shape(model)
        self._data: dict[str, Any] = {}
        self._problems: list[str] = []
        self._set: dict[Path, PluginTable] = {}
        self._variables: dict[Path, str] = {}
        self._secrets: list[str] = []
        self._exposed: set[str] = set()
        self._lacking: list[str] = []

    def settled(self) -> Settled:
        seen: dict[str, PluginTable] = {}
        for table in self._tables:
            if (other := seen.setdefault(table.origin.place, table)) is not table:
                self._problems.append(
                    f"{_place(table)} is of the same plugin as plugins.{other.name}; make them one table"
                )
            self._merge(self._data, table.content, self._shape, (), table)
        settled = Settled(self._model) if self._problems else self._validated()
        settled.problems = (*self._problems, *settled.problems)
        settled.settings = tuple(self._settings())
        settled.exposed = frozenset(self._exposed)
        settled.lacking = tuple(self._lacking)
        return settled

    # -- merging ---------------------------------------------------------------------------------------------------

    def _merge(
        self, into: dict[str, Any], content: Mapping[str, Any], shape: Shape, path: Path, table: PluginTable
    ) -> None:
        for key, value in content.items():
            here = (*path, key)
            inner = shape.at(key)
            if inner is None:
                self._problems.append(f"{_place(table, here)} is not known{nearest(key, shape.keys)}")
            elif isinstance(value, dict) and value and inner.takes_table:
                if not isinstance(into.get(key), dict):
                    into[key] = {}
                self._merge(into[key], value, inner, here, table)
            elif table.origin.kind == "project" and not inner.marked:
                self._problems.append(
                    f"{_place(table, here)} must not be set by a project; write it into your own becket.toml, if you "
                    f"want it"
                )
            else:
                self._set[here] = table
                into[key] = self._read(value, inner, here, table)
                if into[key] is _ABSENT:
                    del into[key]

    def _read(self, value: Any, shape: Shape, path: Path, table: PluginTable) -> object:
        """The value with the environment variables in it looked up; `_ABSENT` for one that is not set."""
        is_variable = isinstance(value, dict) and set(value) == {"env"} and isinstance(value["env"], str)
        if isinstance(value, dict) and shape.takes_table:  # in a list; another has been merged
            inside: dict[str, Any] = {}
            self._merge(inside, value, shape, path, table)
            return inside
        if isinstance(value, list):
            return self._read_list(value, shape if shape.secret else shape.each, path, table)
        if table.origin.kind == "project" and (shape.secret or is_variable):
            # By the name of a variable it could have anything of the environment sent to where it ought not go.
            what = "an environment variable" if is_variable else "a secret"
            self._problems.append(f"{_place(table, path)} is {what}, and must not be set by a project")
            return _ABSENT
        if is_variable:
            return self._variable(value["env"], path)
        if shape.may_hold_secret():
            self._secrets.append(str(value))
            self._exposed.add(table.origin.place)
        return value

    def _read_list(self, value: Sequence[Any], shape: Shape, path: Path, table: PluginTable) -> list[object]:
        items: list[object] = []
        for at, item in enumerate(value):
            here = (*path, len(items))
            read = self._read(item, shape, here, table)
            if read is _ABSENT:
                if variable := self._variables.pop(here, None):
                    self._lacking.append(
                        f"{_place(table, (*path, at))} is to come from the environment variable {variable}, which is "
                        f"not set; the list is used without it"
                    )
            else:
                items.append(read)
        return items

    def _variable(self, name: str, path: Path) -> object:
        self._variables[path] = name
        value = os.environ.get(name)
        if value is None:
            return _ABSENT
        self._secrets.append(value)  # as a rule it is one; else it would stand in the file
        return value

    # -- validating ------------------------------------------------------------------------------------------------

    def _validated(self) -> Settled:
        from pydantic import TypeAdapter, ValidationError

        adapter: TypeAdapter[Any] = TypeAdapter(self._model)
        try:
            return Settled(self._model, adapter.validate_python(self._data))
        except ValidationError as error:
            return self._refused(error)
        except (Exception, SystemExit) as error:  # noqa: BLE001  a validator of the plugin
            # Told as a wrong table, and not as a broken plugin that is left out: whoever wrote the table relies on it.
            # And what was raised is not kept, since it may quote a secret.
            why = f"{type(error).__name__}: {self._masked_text(str(error))}"
            place = _place(self._tables[0])
            whose = f"that is for {self._plugin.title} to mend, unless you take the table out"
            return Settled(self._model, problems=(f"{place}: the plugin's own model fails on it: {why}; {whose}",))

    def _refused(self, error: ValidationError) -> Settled:
        wrong: list[str] = []
        unset: list[str] = []
        for one in error.errors(include_url=False, include_context=False, include_input=False):
            path, value = self._found(one["loc"])
            missing = one["type"] == "missing" or one["type"] == "missing_keyword_only"
            if missing:
                path = (*path, one["loc"][-1])
            place = _place(self._table(path), path)
            if missing and (variable := self._variables.get(path)):
                unset.append(f"{place} is to come from the environment variable {variable}, which is not set")
            elif missing:
                wrong.append(f"{place} is missing")
            else:
                wrong.append(f"{place}{self._quoted(path, value)}: {self._said(one['msg'])}")
        if wrong:
            return Settled(self._model, problems=(*wrong, *unset))
        return Settled(self._model, missing="; ".join(unset))

    def _found(self, loc: Path) -> tuple[Path, object]:
        """The part of pydantic's location that is in the table, and what is there: it names unions' members, too."""
        value: Any = self._data
        path: Path = ()
        for part in loc:
            keys: Any = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
            if part in keys:
                value, path = value[part], (*path, part)
        return path, value

    def _quoted(self, path: Path, value: object) -> str:
        if isinstance(value, dict) or self._is_secret(path):
            return ""
        return f" is {shown(self._hidden(value, path))}"

    def _said(self, message: str) -> str:
        """What pydantic, or a validator of the plugin, says; whatever it quotes of a secret is masked."""
        message = self._masked_text(message.removeprefix("Value error, ").removeprefix("Assertion failed, "))
        return message[:1].lower() + message[1:]

    def _masked_text(self, text: str) -> str:
        """A text, on one line, without the secrets of the table."""
        for secret in sorted(filter(None, self._secrets), key=len, reverse=True):  # one may hold another
            text = text.replace(secret, MASK)
        return " ".join(text.split())

    def _table(self, path: Path) -> PluginTable:
        """Who has set what is at `path`, or what is around it, or below it."""
        for length in range(len(path), -1, -1):
            for known, table in self._set.items():
                if known[:length] == path[:length]:
                    return table
        return self._tables[0]

    def _shape_at(self, path: Path) -> Shape:
        shape = self._shape
        for part in path:
            shape = (shape.each if isinstance(part, int) else shape.at(part)) or Shape(object)
        return shape

    def _is_secret(self, path: Path) -> bool:
        return path in self._variables or any(self._shape_at(path[:length]).secret for length in range(len(path) + 1))

    # -- showing ---------------------------------------------------------------------------------------------------

    def _settings(self) -> Iterator[Setting]:
        for path, table in self._set.items():
            if any(other != path and other[: len(path)] == path for other in self._set):
                continue  # a list of tables, whose keys come for themselves
            found, value = self._found(path)
            variable = self._variables.get(path)
            note = f"from the environment variable {variable}" if variable else ""
            if found != path:
                value, note = None, note and f"{note}, which is not set"
            key = f"plugins.{self._plugin.name}{_dotted(path)}"
            yield Setting(key, self._hidden(value, path), table.origin, note)

    def _hidden(self, value: object, path: Path) -> object:
        """The value without what is secret in it, or has come from the environment."""
        if value is not None and self._is_secret(path):
            return MASK
        if isinstance(value, list):
            return [self._hidden(item, (*path, at)) for at, item in enumerate(value)]
        return masked(value, self._shape_at(path))


def masked(value: object, shape: Shape) -> object:
    """The value without the secrets in it, and without what may be one that stands where a list or table belongs."""
    if shape.secret and value is not None:
        return MASK
    if isinstance(value, dict):
        return {key: masked(item, shape.at(key) or Shape(object)) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item, shape.each) for item in value]
    return MASK if isinstance(value, str | int | float) and shape.may_hold_secret() else value


def _dotted(path: Path) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


def _place(table: PluginTable, path: Path = ()) -> str:
    """A key and its file, as messages name them."""
    place = f" in {table.origin.place}" if table.origin.place else ""
    return f"{table.origin.prefix}plugins.{table.name}{_dotted(path)}{place}"
