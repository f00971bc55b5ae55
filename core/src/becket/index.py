"""What was found of plugins when a program last looked, kept in a file, for programs that only list them.

To find the plugins among 300 distributions takes 70 ms, and to import 60 of them takes what they take. `recall` says
what they were without either, where nothing has changed since, as far as the times of folders and files tell; a few
milliseconds. `remember` is what keeps it: nothing is written unless a program asks for it.

Nothing is ever loaded, allowed or trusted by what the index says: a `Runtime` looks for itself, and does not know it.

The file lies in the platform's cache folder, `becket/` in `$XDG_CACHE_HOME` (`~/.cache` unless set), on macOS in
`~/Library/Caches`, on Windows in `%LOCALAPPDATA%`. The variable `BECKET_CACHE` names another folder, by its whole
path, and `0` switches the index off. One that is damaged, or cannot be written, is as if it were not there.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from becket._log import logger
from becket._names import canonical
from becket._version import VERSION
from becket.errors import ConfigError
from becket.plugins import HookInfo, Plugin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from becket._choice import Choice
    from becket.config import Config
    from becket.runtime import Runtime

__all__ = ["IndexState", "index_state", "recall", "remember"]

_SETTLED: Final = 2.0
"""Seconds that a folder must have been left alone: a change in the same tick of its clock would not show."""

_LARGEST: Final = 10_000_000
"""Bytes of an index; that of 60 plugins has 40,000."""


@dataclass(frozen=True, slots=True)
class IndexState:
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


def recall(config: Config | None = None, *, block: Iterable[str] = ()) -> tuple[Plugin, ...] | None:
    """Every installed plugin, as when it was last remembered; None where that is not known, and a `Runtime` must look.

    What the configuration and `block` say of them is applied anew. A plugin that could not be used has its reason, and
    as `error` at most a `ConfigError`; the traceback is not kept.

    Args:
        config: The configuration, or None for none.
        block: Names of plugins that are blocked besides.
    """
    from becket._choice import Choice

    path = _file()
    allow, always = (config.allow, config.block) if config else (None, ())
    choice = Choice(
        allow=None if allow is None else frozenset(map(canonical, allow)),
        block=frozenset(map(canonical, (*block, *always))),
    )
    try:
        return tuple(_seen(one, choice) for one in _read(path, config))
    except _StaleError as why:
        logger.debug("the index %s is not used: %s", path, why)
        return None


def _seen(plugin: Plugin, choice: Choice) -> Plugin:
    """The plugin as this choice has it.

    Raises:
        _StaleError: That is not known.
    """
    if why := choice.blocked(plugin):
        return Plugin(
            *(plugin.name, plugin.distribution, plugin.version, plugin.value, "blocked", why), metadata=plugin.metadata
        )
    if plugin.status == "blocked":
        raise _StaleError(f"{plugin.title} was blocked, so that it is not known what it adds")
    return plugin


def remember(runtime: Runtime) -> None:
    """Keep what a runtime has found, if it is what there is now; where that cannot be done, nothing happens.

    What the host has passed as objects is left out. It belongs to the runtime's configuration: another one may have
    the plugins add something else.
    """
    path = _file()
    try:
        content = _content(runtime)
        if path:
            _write(path, content)
    except (_StaleError, OSError, ValueError) as why:  # the last for a text that is none
        logger.debug("the index %s is not written: %s", path, why)


def index_state(config: Config | None = None) -> IndexState:
    """Whether there is an index, and whether it can be used, with this configuration."""
    path = _file()
    exists = bool(path) and os.path.isfile(path)  # noqa: PTH113  a text
    try:
        return IndexState(path, exists, fresh=True, entries=len(_read(path, config)), reason="")
    except _StaleError as why:
        return IndexState(path, exists, fresh=False, entries=0, reason=str(why))


# -- the file ----------------------------------------------------------------------------------------------------------


def _file() -> str:
    """Where the index of this environment lies; empty where there is to be none."""
    folder = os.environ.get("BECKET_CACHE") or os.path.join(_caches(), "becket")  # noqa: PTH118  a text
    if folder == "0" or not os.path.isabs(folder):  # noqa: PTH117  a text
        return ""
    import zlib

    environment = zlib.crc32(f"{sys.prefix}\n{sys.version}".encode("utf-8", "surrogateescape"))
    return os.path.join(folder, f"plugins-{environment:08x}.json")  # noqa: PTH118  a text


def _caches() -> str:
    """The platform's folder for caches, empty where the user has no home."""
    named = os.environ.get({"win32": "LOCALAPPDATA", "darwin": ""}.get(sys.platform, "XDG_CACHE_HOME"), "")
    usual = {"win32": "~/AppData/Local", "darwin": "~/Library/Caches"}.get(sys.platform, "~/.cache")
    folder = named if os.path.isabs(named) else os.path.expanduser(usual)  # noqa: PTH117, PTH111  texts
    return folder if os.path.isabs(folder) else ""  # noqa: PTH117  a text


def _read(path: str, config: Config | None) -> list[Plugin]:
    """The plugins in the index.

    Raises:
        _StaleError: It cannot be used.
    """
    if not path:
        raise _StaleError("it is switched off by BECKET_CACHE, or there is no folder for caches")
    try:
        with open(path, "rb") as file:  # noqa: PTH123  a text
            content = json.loads(file.read(_LARGEST))
        same = content["key"] == _key(config)
        changed = next((name for name, stamp in content["stamps"].items() if _stamp(name) != stamp), None)
        plugins = [_unpacked(one) for one in content["plugins"]]
    except FileNotFoundError:
        raise _StaleError("there is none yet") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _StaleError(f"it cannot be read: {type(error).__name__}: {error}") from error
    if not same:
        raise _StaleError("the search path, a folder on it, the configuration, or the version of becket has changed")
    if changed is not None:
        raise _StaleError(f"{changed} has changed")
    return plugins


def _write(path: str, content: Mapping[str, Any]) -> None:
    import tempfile

    folder = os.path.dirname(path)  # noqa: PTH120  a text
    os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103  a text
    handle, scratch = tempfile.mkstemp(prefix=".plugins-", dir=folder)
    try:
        with open(handle, "w", encoding="utf-8") as file:  # noqa: PTH123  it is open already
            json.dump(content, file)
        os.replace(scratch, path)  # noqa: PTH105  texts
    except BaseException:
        os.unlink(scratch)  # noqa: PTH108  a text
        raise


# -- what it holds -----------------------------------------------------------------------------------------------------


def _key(config: Config | None) -> list[Any]:
    """What must be as it was for the index to hold; in the forms that JSON gives back.

    Raises:
        _StaleError: Plugins may be found by what no folder's time tells of.
    """
    for finder in sys.meta_path:
        package = getattr(finder, "__module__", "").partition(".")[0]
        if hasattr(finder, "find_distributions") and package not in _FINDERS:
            raise _StaleError(f"distributions are found by {finder!r}, too")
    try:
        here = os.path.realpath(os.getcwd())  # noqa: PTH109  texts
    except FileNotFoundError:
        here = os.devnull  # no folder lies there
    path = [entry or here for entry in sys.path]
    read = [file.path for file in config.files if file.status != "absent"] if config else []
    files = [[name, _stamp(name)] for name in read]
    lying_here = [entry for entry in path if os.path.realpath(entry) == here]
    return [VERSION, sys.version, [[entry, _stamp(entry)] for entry in path], lying_here, files]


def _stamp(path: str) -> list[int] | None:
    """What changes with a file or a folder; None where it is not there."""
    try:
        seen = os.stat(path)  # noqa: PTH116  a text
    except OSError:
        return None
    return [seen.st_mtime_ns, seen.st_size, seen.st_ino]


def _content(runtime: Runtime) -> dict[str, Any]:
    """What to keep.

    Raises:
        _StaleError: It would not hold.
    """
    from becket._files import Survey
    from becket.discovery import discover

    key = _key(runtime.config)
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
        watched |= {metadata, *(os.path.join(metadata, name) for name in ("entry_points.txt", "METADATA", "RECORD"))}  # noqa: PTH118  texts
        files = survey.of(metadata, [one.value.partition(":")[0].strip()])
        if files.covers == "packages":  # its author changes it under our eyes
            watched |= {str(each) for path in files.paths.values() for each in (path, path.parent)}
    stamps = {path: _stamp(path) for path in sorted(watched)}
    newest = max((stamp[0] for stamp in (*stamps.values(), *(seen for _, seen in key[2])) if stamp), default=0)
    if newest > (time.time() - _SETTLED) * 1e9:
        raise _StaleError("a folder has just been changed, and may be again in the same tick of its clock")
    return {"key": key, "stamps": stamps, "plugins": [_packed(one) for one in plugins]}


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
