"""What was found of plugins when a program last looked, kept in a file, for programs that only list them.

To find the plugins among 300 distributions takes 70 ms, and to import 60 of them takes what they take. `recall` says
what they were without either, where nothing has changed since, as far as the times of folders and files tell; a few
milliseconds. `remember` is what keeps it: nothing is written unless a program asks for it.

Nothing is ever loaded, allowed or trusted by what the index says: a `Runtime` looks for itself, and does not know it.

The file lies in the platform's cache folder, `becket/` in `$XDG_CACHE_HOME` (`~/.cache` unless set), on macOS in
`~/Library/Caches`, on Windows in `%LOCALAPPDATA%`. The variable `BECKET_CACHE` names another folder, by its whole
path, and `0` switches the index off. One that is damaged, or cannot be written, is as if it were not there. There is
none where `BECKET_LOCK` names a lock: whether plugins are those of it, their files say, and no index.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from becket._config_places import places
from becket._log import logger
from becket._version import VERSION
from becket.errors import ConfigError
from becket.plugins import HookInfo, Plugin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from becket.runtime import Runtime

__all__ = ["IndexState", "index_state", "recall", "remember"]

_SETTLED: Final = 2.0
"""Seconds that a folder must have been left alone: a change in the same tick of its clock would not show."""

_MOST: Final = 20
"""Indexes that are kept: one for each environment, and for each configuration that is read in it."""

_PREFIX: Final = "plugins-"

_VARIABLE: Final = "BECKET_PLUGINS"
"""The variable that has a say in which plugins are loaded."""

_LARGEST: Final = 10_000_000
"""Bytes of an index; that of 60 plugins has 40,000."""


class IndexState(NamedTuple):
    """The index, for whoever wants to know why a list was slow.

    Attributes:
        path: The file, empty where there is to be none.
        exists: Whether it is there.
        fresh: Whether it can be used as it is.
        entries: How many plugins it has.
        reason: Why it cannot be used, empty where it can.
    """

    path: str
    exists: bool
    fresh: bool
    entries: int
    reason: str


_FINDERS: Final = ("_frozen_importlib_external", "importlib_metadata")
"""Whose finders look for distributions in the folders of the path, and nowhere else."""


class _StaleError(Exception):
    """Why an index cannot be used, in words."""


def recall(path: str | None = None) -> tuple[Plugin, ...] | None:
    """Every installed plugin, as when it was last remembered; None where that is not known, and a `Runtime` must look.

    They are those of `Runtime(config=load_config(path, lenient=True))` in this working directory, with what became of
    them by that configuration; its files are not read. A plugin that could not be used has its reason, and as `error`
    at most a `ConfigError`; the traceback is not kept.

    Args:
        path: A file that is read in place of the user's own; see `becket.load_config`.
    """
    file = _file(_looked_at(path))
    try:
        return tuple(_read(file, path))
    except _StaleError as why:
        logger.debug("the index %s is not used: %s", file, why)
        return None


def remember(runtime: Runtime, path: str | None = None) -> None:
    """Keep what a runtime has found, if it is what there is now; where that cannot be done, nothing happens.

    Only what a runtime has found by a configuration of `becket.load_config(path, lenient=True)` is kept, and only where
    nothing is wrong with that: else there would be more to say than the index knows. What the host has passed as
    objects is left out.

    Args:
        runtime: The runtime; with no names of plugins to allow, block or order but those of its configuration.
        path: A file that was read in place of the user's own.
    """
    file = _file(_looked_at(path))
    try:
        content = _content(runtime, path)
        if file:
            _write(file, content)
    except (_StaleError, OSError, ValueError) as why:  # the last for a text that is none
        logger.debug("the index %s is not written: %s", file, why)


def index_state(path: str | None = None) -> IndexState:
    """Whether there is an index for this working directory, and whether it can be used. `path` as in `recall`."""
    file = _file(_looked_at(path))
    exists = bool(file) and os.path.isfile(file)
    try:
        return IndexState(file, exists, fresh=True, entries=len(_read(file, path)), reason="")
    except _StaleError as why:
        return IndexState(file, exists, fresh=False, entries=0, reason=str(why))


# -- the file ----------------------------------------------------------------------------------------------------------


def _looked_at(path: str | None) -> dict[str, list[int] | None]:
    """The files that a configuration may be read from, and what changes with each."""
    try:
        return {place: _stamp(place) for place in places(path, os.environ)}
    except OSError:  # the working directory was removed
        return {}


def _file(looked_at: Mapping[str, object]) -> str:
    """Where the index of this environment lies, with a configuration of these files; empty where there is to be none.

    Projects that have a configuration have each its own, so that none pushes out another's.
    """
    folder = os.environ.get("BECKET_CACHE") or os.path.join(_caches(), "becket")
    if folder == "0" or not os.path.isabs(folder) or os.environ.get("BECKET_LOCK"):
        return ""
    import zlib

    there = (name for name, stamp in looked_at.items() if stamp)
    told = "\n".join((sys.prefix, sys.version, os.environ.get(_VARIABLE, ""), *there))
    return os.path.join(folder, f"{_PREFIX}{zlib.crc32(told.encode('utf-8', 'surrogateescape')):08x}.json")


def _caches() -> str:
    """The platform's folder for caches, empty where the user has no home."""
    named = os.environ.get({"win32": "LOCALAPPDATA", "darwin": ""}.get(sys.platform, "XDG_CACHE_HOME"), "")
    usual = {"win32": "~/AppData/Local", "darwin": "~/Library/Caches"}.get(sys.platform, "~/.cache")
    folder = named if os.path.isabs(named) else os.path.expanduser(usual)
    return folder if os.path.isabs(folder) else ""


def _read(file: str, path: str | None) -> list[Plugin]:
    """The plugins in the index.

    Raises:
        _StaleError: It cannot be used.
    """
    if not file:
        raise _StaleError("it is switched off by BECKET_CACHE or by BECKET_LOCK, or there is no folder for caches")
    try:
        with open(file, "rb") as opened:
            content = json.loads(opened.read(_LARGEST))
        same = content["key"] == _key(path)
        changed = next((name for name, stamp in content["stamps"].items() if _stamp(name) != stamp), None)
        set_or_not = next((name for name, was in content["variables"].items() if (name in os.environ) != was), None)
        plugins = [_unpacked(one) for one in content["plugins"]]
    except FileNotFoundError:
        raise _StaleError("there is none yet") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _StaleError(f"it cannot be read: {type(error).__name__}: {error}") from error
    if not same:
        raise _StaleError("the search path, a folder on it, the configuration, or the version of becket has changed")
    if changed is not None:
        raise _StaleError(f"{changed} has changed")
    if set_or_not is not None:
        raise _StaleError(f"the environment variable {set_or_not}, which the configuration names, was set or removed")
    return plugins


def _write(file: str, content: Mapping[str, Any]) -> None:
    import tempfile

    folder = os.path.dirname(file)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    handle, scratch = tempfile.mkstemp(prefix=f".{_PREFIX}", dir=folder)
    try:
        with open(handle, "w", encoding="utf-8") as opened:
            json.dump(content, opened)
        os.replace(scratch, file)
    except BaseException:
        os.unlink(scratch)
        raise
    with contextlib.suppress(OSError):  # another process tidies, too, or may what this one may not
        _tidy(folder)


def _tidy(folder: str) -> None:
    """Take away the oldest indexes, so that no more than `_MOST` are left."""
    with os.scandir(folder) as entries:
        kept = [entry for entry in entries if entry.name.startswith(_PREFIX) and entry.is_file(follow_symlinks=False)]
    for entry in sorted(kept, key=lambda entry: -entry.stat(follow_symlinks=False).st_mtime_ns)[_MOST:]:
        os.unlink(entry.path)


# -- what it holds -----------------------------------------------------------------------------------------------------


def _key(path: str | None) -> list[Any]:
    """What must be as it was for the index to hold; in the forms that JSON gives back.

    Raises:
        _StaleError: Plugins may be found by what no folder's time tells of.
    """
    for finder in sys.meta_path:
        package = getattr(finder, "__module__", "").partition(".")[0]
        if hasattr(finder, "find_distributions") and package not in _FINDERS:
            raise _StaleError(f"distributions are found by {finder!r}, too")
    entries = [[entry, _stamp(entry)] for entry in (part or os.curdir for part in sys.path)]
    here = _stamp(os.curdir)
    lying_here = [entry for entry, stamp in entries if stamp and stamp == here]
    read = [[name, stamp] for name, stamp in _looked_at(path).items() if stamp]
    variable = os.environ.get(_VARIABLE, "")
    return [VERSION, sys.version, entries, lying_here, read, variable]


def _stamp(path: str) -> list[int] | None:
    """What changes with a file or a folder; None where it is not there."""
    try:
        seen = os.stat(path)
    except OSError:
        return None
    return [seen.st_mtime_ns, seen.st_size, seen.st_ino]


def _content(runtime: Runtime, path: str | None) -> dict[str, Any]:
    """What to keep.

    Raises:
        _StaleError: It would not hold.
    """
    from becket._files import Survey
    from becket.discovery import discover

    key = _key(path)
    if runtime.config_problems:
        raise _StaleError("the configuration is wrong")
    said = {file.path for file in runtime.config.files if file.status == "read"}
    if not runtime.config.files or not said.issubset(name for name, _ in key[4]):
        raise _StaleError("the configuration is not the one that is read here")
    plugins = [one for one in runtime.plugins if one.distribution is not None]
    now = {(one.name, one.value, one.distribution, one.version, one.metadata) for one in discover(VERSION)}
    if now != {(one.name, one.value, one.distribution, one.version, one.metadata) for one in plugins}:
        raise _StaleError("what is installed is not what this runtime has found")
    if runtime._set.check is not None:  # noqa: SLF001  core's own
        raise _StaleError("the runtime was held to a lock")
    survey = Survey()
    watched: set[str] = set()
    for one in plugins:
        metadata = one.metadata or ""
        watched |= {metadata, *(os.path.join(metadata, name) for name in ("entry_points.txt", "METADATA", "RECORD"))}
        files = survey.of(metadata, [one.value.partition(":")[0].strip()])
        if files.covers == "packages":  # its author changes it under our eyes
            watched |= {str(each) for path in files.paths.values() for each in (path, path.parent)}
    stamps = {path: _stamp(path) for path in sorted(watched)}
    seen = (*stamps.values(), *(stamp for _, stamp in (*key[2], *key[4])))
    newest = max((stamp[0] for stamp in seen if stamp), default=0)
    if newest > (time.time() - _SETTLED) * 1e9:
        raise _StaleError("a folder has just been changed, and may be again in the same tick of its clock")
    variables = {name: name in os.environ for table in runtime.config.plugins for name in _named(dict(table.content))}
    return {"key": key, "stamps": stamps, "variables": variables, "plugins": [_packed(one) for one in plugins]}


def _named(value: object) -> Iterator[str]:
    """The environment variables that a table names for its values."""
    if isinstance(value, dict) and set(value) == {"env"}:
        yield str(value["env"])
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _named(inner)


_KEPT: Final = ("name", "distribution", "version", "value", "status", "reason", "import_seconds", "metadata")


def _packed(plugin: Plugin) -> dict[str, Any]:
    return {
        **{name: getattr(plugin, name) for name in _KEPT},
        "adds": dict(plugin.adds),
        "hooks": [[hook.name, hook.phase] for hook in plugin.hooks],
        "configured": not isinstance(plugin.error, ConfigError),
    }


def _unpacked(kept: Mapping[str, Any]) -> Plugin:
    """A plugin.

    Raises:
        TypeError: It is none.
    """
    values = {name: kept[name] for name in _KEPT}
    adds = {kind: tuple(names) for kind, names in kept["adds"].items()}
    hooks = tuple(HookInfo(name, phase) for name, phase in kept["hooks"])
    seconds = values.pop("import_seconds")
    texts = [*values.values(), *(name for names in adds.values() for name in names), *(hook.name for hook in hooks)]
    if not all(isinstance(text, str) for text in texts) or not isinstance(seconds, float | None):
        raise TypeError(f"{kept!r} is no plugin")
    error = None if kept["configured"] else ConfigError(values["reason"])
    return Plugin(**values, adds=adds, hooks=hooks, import_seconds=seconds, error=error)
