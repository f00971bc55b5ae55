"""A configuration as it is shown: every value of every plugin, defaults included, and what is to be said about it."""

from __future__ import annotations

import difflib
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from becket._config_shape import Shape
from becket._config_tables import MASK, masked
from becket._names import canonical
from becket.config import Origin, Setting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from becket._config_tables import Settled
    from becket.config import Config, PluginTable
    from becket.plugins import Plugin

__all__ = ["misspelled", "remarks", "settings", "slips"]

_DEFAULT: Final = Origin("default")
_NOT_THERE: Final = object()


def settings(plugins: Iterable[tuple[Plugin, Settled | None]], tables: Sequence[PluginTable]) -> list[Setting]:
    """The values of plugins; of a table that nothing has validated only that it is there: it may hold secrets."""
    rows: list[Setting] = []
    claimed: set[str] = set()
    for plugin, settled in plugins:
        own = {canonical(table.name) for table in tables} & plugin.aliases
        claimed |= own
        if settled is not None:
            rows += _of_plugin(plugin, settled)
        else:
            rows += [
                Setting(f"plugins.{table.name}", MASK, table.origin, f"{plugin.title} is {plugin.status}")
                for table in tables
                if canonical(table.name) in own
            ]
    rows += [
        Setting(f"plugins.{table.name}", MASK, table.origin, "no such plugin is installed")
        for table in tables
        if canonical(table.name) not in claimed
    ]
    return rows


def _of_plugin(plugin: Plugin, settled: Settled) -> Iterator[Setting]:
    key = f"plugins.{plugin.name}"
    yield from settled.settings
    if settled.model is not None and settled.value is not None:
        is_set = [setting.key for setting in settled.settings]
        for default in _defaults(key, settled.value, Shape(settled.model)):
            if not any(one == default.key or one.startswith((f"{default.key}.", f"{default.key}[")) for one in is_set):
                yield default


def _defaults(key: str, value: Any, shape: Shape) -> Iterator[Setting]:
    """What a validated table has at each place."""
    for name in shape.keys:
        inner = shape.at(name)
        item = value.get(name, _NOT_THERE) if isinstance(value, dict) else getattr(value, name, _NOT_THERE)
        if inner is None or item is _NOT_THERE:  # it is a key of another member of a union, or an alias
            continue
        if inner.keys and not isinstance(item, dict | list | tuple | None):
            yield from _defaults(f"{key}.{name}", item, inner)
        else:
            yield Setting(f"{key}.{name}", masked(item, inner), _DEFAULT)


def remarks(plugins: Iterable[tuple[Plugin, Settled | None]], tables: Iterable[PluginTable]) -> list[str]:
    """What is no error, and ought to be known."""
    pairs = list(plugins)
    unclaimed = _unclaimed([plugin for plugin, _ in pairs], tables)
    exposed = {place for _, settled in pairs if settled for place in settled.exposed if place}
    return [
        *(f"{_useless(table)}{f'; did you mean {near!r}?' if near else ''}" for table, near in unclaimed),
        *(lack for _, settled in pairs if settled for lack in settled.lacking),
        *(
            f"{place} holds a secret, and others may read it; run: chmod 600 {place}"
            for place in sorted(exposed)
            if _others_may_read(place)
        ),
    ]


def misspelled(plugins: Sequence[Plugin], tables: Iterable[PluginTable]) -> list[str]:
    """The tables of plugins that are not there, where there is one with nearly that name.

    One with another name may be that of a plugin of another environment, which the file is for as well.
    """
    return [f"{_useless(table)}; did you mean {near!r}?" for table, near in _unclaimed(plugins, tables) if near]


def slips(plugins: Sequence[Plugin], tools: Iterable[str], config: Config) -> list[str]:
    """The names in the lists of plugins and of tools that are those of none, and nearly that of one that is there.

    A `deny` or a `block` with a slip in it would forbid nothing. As above, a name like no other is left alone: it may
    be that of a tool which a program hands to its agent.
    """
    aliases = {name: plugin.name for plugin in plugins for name in sorted(plugin.aliases)}
    named = {name: name for name in sorted(tools)}
    said = config.approvals
    lists = [("allow", config.allow or ()), ("block", config.block), ("order", config.order)]
    approvals = [("approvals.allow", said.allow), ("approvals.ask", said.ask), ("approvals.deny", said.deny)]
    return [
        *_slips("plugin", [(key, canonical(name), name) for key, names in lists for name in names], aliases, config),
        *_slips("tool", [(key, name, name) for key, names in approvals for name in names], named, config),
    ]


def _slips(kind: str, given: Iterable[tuple[str, str, str]], known: Mapping[str, str], config: Config) -> Iterator[str]:
    for key, name, written in given:
        if name not in known and ":" not in name and (near := difflib.get_close_matches(name, known, n=1)):
            yield (
                f"{written!r} under {key!r} in {config.origin(key)} is of no use: no {kind} has that name; "
                f"did you mean {known[near[0]]!r}?"
            )


def _useless(table: PluginTable) -> str:
    return f"[{table.origin.prefix}plugins.{table.name}] in {table.origin} is of no use: no such plugin is installed"


def _unclaimed(plugins: Sequence[Plugin], tables: Iterable[PluginTable]) -> Iterator[tuple[PluginTable, str]]:
    """The tables of plugins that are not there, each with the plugin that may be meant, or an empty text."""
    known = {name: plugin.name for plugin in plugins for name in sorted(plugin.aliases)}
    for table in tables:
        if canonical(table.name) not in known:
            near = difflib.get_close_matches(canonical(table.name), known, n=1)
            yield table, known[near[0]] if near else ""


def _others_may_read(place: str) -> bool:
    if sys.platform == "win32":
        return False
    try:
        return bool(Path(place).stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError:  # it has gone since it was read
        return False
