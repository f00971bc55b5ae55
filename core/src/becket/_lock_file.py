"""The file of a lock: TOML, one distribution after the other by name, so that a change of it reads well in a diff."""

from __future__ import annotations

import json
import os
import tempfile
import tomllib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args

from becket._names import canonical
from becket.errors import ConfigError
from becket.lock import FORMAT, Covers, LeftOut, Lock, LockedDistribution, LockedPlugin, LockedTool
from becket.tools import Effect, Reach

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["KINDS", "read", "write"]

T = TypeVar("T")

KINDS: Final = ("providers", "sinks", "policies", "masks", "wires")
"""What a plugin adds by name alone."""

_LEFT_OUT: Final = ("distribution", "version", "name", "value")

LARGEST: Final = 10_000_000
"""Bytes that a lock may have; 300 plugins with 20 tools each take a tenth of that."""

HEAD: Final = """\
# The plugins that `becket lock` found, and what their files held: `becket lock --check` says what has changed since.
# Write it anew rather than edit it.
"""


def write(lock: Lock, path: str | os.PathLike[str]) -> None:
    """See `Lock.write`."""
    path = os.fspath(path)
    text = "\n".join([f"{HEAD}format = {FORMAT}\n", *map(_table, lock.distributions), *map(_left_out, lock.left_out)])
    scratch = ""
    try:
        handle, scratch = tempfile.mkstemp(prefix=".becket-", suffix=".lock", dir=os.path.dirname(path) or ".")  # noqa: PTH120  a text
        with open(handle, "w", encoding="utf-8", newline="\n") as file:  # noqa: PTH123  it is open already
            file.write(text)
        os.chmod(scratch, 0o644)  # noqa: PTH101  mkstemp makes it the user's alone; a lock is no secret
        os.replace(scratch, path)  # noqa: PTH105  texts
    except (OSError, UnicodeEncodeError) as error:
        if scratch:
            os.unlink(scratch)  # noqa: PTH108  a text
        raise ConfigError(f"the lock {path} cannot be written: {error}; name another file") from error


def _table(one: LockedDistribution) -> str:
    lines = ["[[distributions]]"]
    lines += [f"{key} = {_text(getattr(one, key))}" for key in ("name", "version", "covers", "sha256")]
    for plugin in one.plugins:
        lines += ["\n[[distributions.plugins]]", f"name = {_text(plugin.name)}", f"value = {_text(plugin.value)}"]
        lines += [f"hooks = {_texts(plugin.hooks)}"]
        lines += [f"{kind} = {_texts(names)}" for kind, names in plugin.adds.items() if names]
        lines += ["tools = [", *(f"    {_tool(tool)}," for tool in plugin.tools), "]"] if plugin.tools else []
    return "\n".join(lines) + "\n"


def _left_out(one: LeftOut) -> str:
    return "\n".join(["[[left_out]]", *(f"{key} = {_text(getattr(one, key))}" for key in _LEFT_OUT)]) + "\n"


def _tool(tool: LockedTool) -> str:
    varies = ", by_arguments = true" if tool.by_arguments else ""
    return f"{{ name = {_text(tool.name)}, effect = {_text(tool.effect)}{varies}, reach = {_text(tool.reach)} }}"


def _texts(texts: tuple[str, ...]) -> str:
    return f"[{', '.join(map(_text, texts))}]"


def _text(text: str) -> str:
    """A text as TOML quotes it, which is as JSON does, but for one character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def read(path: str | os.PathLike[str]) -> Lock:
    """See `Lock.read`."""
    path = os.fspath(path)
    try:
        with open(path, "rb") as file:  # noqa: PTH123  a text
            content = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise ConfigError(f"there is no lock {path}; write one with 'becket lock'") from None
    except OSError as error:
        raise ConfigError(f"the lock {path} cannot be read: {error}") from error
    try:
        return _lock(_parsed(content), path)
    except (_NoLockError, ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise ConfigError(f"the lock {path} is none: {why}; write it anew with 'becket lock'") from error


def _parsed(content: bytes) -> Mapping[str, Any]:
    if len(content) > LARGEST:
        raise _NoLockError(f"it has more than {LARGEST} bytes")
    return tomllib.loads(content.decode())


class _NoLockError(Exception):
    """What is wrong with a file, in words."""


def _lock(table: Mapping[str, Any], path: str) -> Lock:
    version = _value(table, "format", int, "the file")
    if version != FORMAT:
        raise _NoLockError(f"its format is {version}, and this becket knows {FORMAT}")
    every = [_distribution(one) for one in _tables(table, "distributions", "the file")]
    left_out = [_read_left_out(one) for one in _tables(table, "left_out", "the file")]
    _known(table, ("format", "distributions", "left_out"), "the file")
    _once([canonical(one.name) for one in every], "distribution", "the file")
    return Lock(tuple(every), path, left_out=tuple(left_out))


def _read_left_out(table: Mapping[str, Any]) -> LeftOut:
    where = f"what was left out of {table.get('distribution')!r}"
    _known(table, _LEFT_OUT, where)
    return LeftOut(*(_value(table, key, str, where) for key in _LEFT_OUT))


def _distribution(table: Mapping[str, Any]) -> LockedDistribution:
    keys = ("name", "version", "covers", "sha256")
    where = f"the distribution {table.get('name')!r}"
    _known(table, (*keys, "plugins"), where)
    name, version, covers, digest = (_value(table, key, str, where) for key in keys)
    plugins = tuple(_plugin(one, where) for one in _tables(table, "plugins", where))
    _once([f"{one.name} = {one.value}" for one in plugins], "plugin", where)
    return LockedDistribution(name, version, _one_of(covers, get_args(Covers), where), digest, plugins)


def _plugin(table: Mapping[str, Any], within: str) -> LockedPlugin:
    where = f"the plugin {table.get('name')!r} of {within}"
    _known(table, ("name", "value", "hooks", "tools", *KINDS), where)
    tools = tuple(_read_tool(one, where) for one in _tables(table, "tools", where))
    _once([one.name for one in tools], "tool", where)
    return LockedPlugin(
        _value(table, "name", str, where),
        _value(table, "value", str, where),
        _names(table, "hooks", where),
        MappingProxyType({kind: names for kind in KINDS if (names := _names(table, kind, where))}),
        tools,
    )


def _read_tool(table: Mapping[str, Any], within: str) -> LockedTool:
    where = f"the tool {table.get('name')!r} of {within}"
    _known(table, ("name", "effect", "by_arguments", "reach"), where)
    name, effect, reach = (_value(table, key, str, where) for key in ("name", "effect", "reach"))
    varies = "by_arguments" in table and _value(table, "by_arguments", bool, where)
    return LockedTool(name, _one_of(effect, get_args(Effect), where), varies, _one_of(reach, get_args(Reach), where))


def _value(table: Mapping[str, Any], key: str, wanted: type[T], where: str) -> T:
    value = table.get(key)
    if type(value) is not wanted:
        raise _NoLockError(f"{key!r} of {where} is {value!r}")
    return value


def _names(table: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    names = table.get(key, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _NoLockError(f"{key!r} of {where} is {names!r}, and no list of texts")
    return tuple(names)


def _tables(table: Mapping[str, Any], key: str, where: str) -> Iterator[Mapping[str, Any]]:
    tables = table.get(key, [])
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        raise _NoLockError(f"{key!r} of {where} is no list of tables")
    yield from tables


def _one_of(value: str, known: tuple[Any, ...], where: str) -> Any:
    if value not in known:
        raise _NoLockError(f"{where} has {value!r}, which is none of: {', '.join(known)}")
    return value


def _known(table: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    """Refuse what a later becket may have written to be held to, and this one would not hold anything to."""
    for key in table:
        if key not in known:
            raise _NoLockError(f"{where} has {key!r}, which this becket does not know")


def _once(names: list[str], what: str, where: str) -> None:
    seen = set()
    for name in names:
        if name in seen:
            raise _NoLockError(f"the {what} {name!r} stands twice in {where}")
        seen.add(name)
