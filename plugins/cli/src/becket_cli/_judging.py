"""What `becket doctor` finds in plugins: some cannot be used, are slow, or have names that clash."""

from __future__ import annotations

import json
import os
import sys
import traceback
from itertools import groupby
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from becket import ConfigError, __version__, hookspecs

from becket_cli._findings import Finding, ended
from becket_cli._plugins import canonical, has_advice

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

    from becket import Plugin, Runtime
    from becket.plugins import Registry

__all__ = ["SLOW", "judged"]

SLOW: Final = 0.5
"""Seconds that an import may take before it is worth a word: as long as becket itself takes to answer."""

_MARK: Final = "becket_impl"
"""The attribute that pluggy's marker leaves on a function."""


def judged(runtime: Runtime, problems: Sequence[str], differences: Sequence[str] = ()) -> Iterator[Finding]:
    """What is wrong with the plugins of a runtime.

    Args:
        runtime: It, after its plugins were asked for their commands.
        problems: What is wrong with the configuration: what is said there is not said twice.
        differences: How the plugins differ from a lock: neither is what is said there.
    """
    for plugin in runtime.plugins:
        if plugin.status == "quarantined" and not _is_told(plugin, differences):
            yield from _quarantined(plugin, problems)
        if plugin.status != "blocked":
            yield from _unmarked(plugin)
        if (plugin.import_seconds or 0) >= SLOW:
            yield _slow(plugin)
    yield from _passed_over()
    yield from _same_names(runtime.plugins)
    for registry in (
        runtime.tools,
        runtime.providers,
        runtime.available_sinks,
        runtime.available_policies,
        runtime.wires,
    ):
        yield from _taken_twice(registry)


def _quarantined(plugin: Plugin, problems: Sequence[str]) -> Iterator[Finding]:
    if isinstance(plugin.error, ConfigError):
        if not any(plugin.reason in problem for problem in problems):
            yield Finding(
                group="configuration",
                kind="not-configured",
                about=plugin.name,
                problem=False,
                what=f"The plugin {plugin.name!r} ({plugin.title}) is not in use: {ended(plugin.reason)}",
                do=f"Write that into your becket.toml, or leave it out there: block = [{json.dumps(plugin.name)}].",
            )
        return
    kind, more, do = "quarantined", "", "" if has_advice(plugin) else _mend(plugin)
    if _lies_here(plugin):
        kind = "untrusted"
        do = "Delete it, or run becket elsewhere; what is yours can be installed properly ('becket install FOLDER')."
    elif more := _gone_source(plugin):
        kind = "orphaned"
        do = (
            f"Install it from where the folder is now ('becket install -e FOLDER'), or uninstall it ('becket uninstall "
            f"{plugin.name}')."
        )
    yield Finding(
        group="plugins",
        kind=kind,
        about=plugin.title,
        what=" ".join(
            filter(None, (f"The plugin {plugin.name!r} ({plugin.title}) is left out: {ended(plugin.reason)}", more))
        ),
        do=do,
        traceback=_shown(plugin.error),
    )


def _is_told(plugin: Plugin, differences: Sequence[str]) -> bool:
    """Whether a lock is what a plugin was refused for, and the differences from it say so."""
    return plugin.error is None and not _lies_here(plugin) and f"{plugin.title}: {plugin.reason}" in differences


def _mend(plugin: Plugin) -> str:
    """What mends a plugin whose own code has failed."""
    lacking = plugin.error.name if isinstance(plugin.error, ModuleNotFoundError) else None
    first = f"Install what has the module {lacking!r}, upgrade" if lacking else "Upgrade"
    return (
        f"{first} the plugin ('becket install -U {plugin.distribution}'), uninstall it, or leave it out: "
        f"-p no:{plugin.name}, or block = [{json.dumps(plugin.name)}] in your becket.toml."
    )


def _lies_here(plugin: Plugin) -> bool:
    """Whether a plugin was refused since its distribution lies in the working directory."""
    folder = os.path.dirname(os.path.realpath(plugin.metadata or ""))  # noqa: PTH120  texts
    return plugin.error is None and folder == os.path.realpath(".")


def _gone_source(plugin: Plugin) -> str:
    """What to say of a plugin that was installed from a folder, in editable form, and whose folder is gone."""
    try:
        said = json.loads(Path(plugin.metadata or "", "direct_url.json").read_text(encoding="utf-8"))
        place = urlsplit(said["url"])
        folder = unquote(place.path)
        gone = bool(said["dir_info"]["editable"]) and place.scheme == "file" and not os.path.isdir(folder)  # noqa: PTH112  a text
    except (OSError, ValueError, LookupError, TypeError):  # there is none, as of most distributions
        return ""
    return f"It was installed in editable form from {folder}, which is no longer there." if gone else ""


def _shown(error: BaseException | None) -> str:
    """The traceback of an error, from where the plugin's own code begins."""
    if error is None or error.__traceback__ is None:
        return ""
    own = _own_frames(error.__traceback__)
    if own is None and not isinstance(error, SyntaxError):  # the reason has all of it
        return ""
    return "".join(traceback.format_exception(type(error), error, own)).rstrip()


def _own_frames(step: TracebackType | None) -> TracebackType | None:
    """The traceback without the frames of becket and of the import machinery that it begins with."""
    while step is not None and _is_machinery(step.tb_frame.f_globals.get("__name__", "")):
        step = step.tb_next
    return step


def _is_machinery(module: str) -> bool:
    return module.partition(".")[0] in {"becket", "importlib", "_frozen_importlib", "importlib_metadata", "pluggy"}


def _unmarked(plugin: Plugin) -> Iterator[Finding]:
    """Functions that are called as a hook is, and are not marked as one, so that nobody calls them."""
    names = [name for name in hookspecs.__all__ if _is_unmarked(plugin, name)]
    if names:
        yield Finding(
            group="plugins",
            kind="unmarked-hook",
            about=plugin.title,
            problem=False,
            what=f"The plugin {plugin.name!r} ({plugin.title}) has {_functions(names)} as hooks are, and not marked as "
            f"such: becket does not call {'it' if len(names) == 1 else 'them'}.",
            do="Its author may have forgotten @becket.hookimpl.",
        )


def _functions(names: Sequence[str]) -> str:
    return f"{'a function' if len(names) == 1 else 'functions'} named {', '.join(names)},"


def _is_unmarked(plugin: Plugin, name: str) -> bool:
    module, _, path = plugin.value.partition(":")
    holder: Any = sys.modules.get(module.strip())
    try:
        for part in filter(None, path.strip().split(".")):
            holder = getattr(holder, part)
        holder = holder if isinstance(holder, ModuleType | type) else type(holder)
        function = vars(holder).get(name)
        home = holder.__name__ if isinstance(holder, ModuleType) else holder.__module__
        return isinstance(function, FunctionType) and function.__module__ == home and not hasattr(function, _MARK)
    except Exception:  # noqa: BLE001  attributes of any object are looked at: anything may be raised
        return False


def _slow(plugin: Plugin) -> Finding:
    return Finding(
        group="plugins",
        kind="slow",
        about=plugin.title,
        problem=False,
        what=f"The plugin {plugin.name!r} ({plugin.title}) took {plugin.import_seconds:.1f} s to import, and every "
        f"command that loads plugins waits for it. The first plugin that needs a library pays for it.",
        do=f"Its author can import what is heavy where it is first needed; 'becket plugins --times' compares; "
        f"-p no:{plugin.name} does without.",
    )


def _passed_over() -> Iterator[Finding]:
    """Distributions that are there twice, and entry points that two declare."""
    from becket.discovery import passed_over

    for one in passed_over(__version__):
        left, kept = one.candidate, one.by
        if canonical(left.distribution) == canonical(kept.distribution):
            yield Finding(
                group="names",
                kind="duplicate-distribution",
                about=left.distribution,
                problem=False,
                what=f"{left.distribution} is installed twice: {kept.version} in {kept.metadata} is in use, and "
                f"{left.version} in {left.metadata} is not.",
                do=f"Uninstall it ('becket uninstall {left.distribution}') until it is gone, and install it once.",
            )
        else:
            yield Finding(
                group="names",
                kind="duplicate-plugin",
                about=left.name,
                what=f"{left.distribution} {left.version} and {kept.distribution} {kept.version} both declare the "
                f"plugin {left.name} = {left.value}; that of {kept.distribution} is in use.",
                do="Uninstall one of the two.",
            )


def _same_names(plugins: Iterable[Plugin]) -> Iterator[Finding]:
    """Plugins of several distributions that have one name."""
    named = sorted((plugin for plugin in plugins if plugin.status != "blocked"), key=lambda one: canonical(one.name))
    for name, group in groupby(named, key=lambda one: canonical(one.name)):
        titles = list(dict.fromkeys(plugin.title for plugin in group))
        if len(titles) > 1:
            yield Finding(
                group="names",
                kind="same-name",
                about=name,
                what=f"{' and '.join(titles)} each have a plugin named {name!r}: what is said of that name, such as "
                f"[plugins.{name}] or -p no:{name}, is said of both.",
                do="Name them by their distributions in lists, or uninstall one.",
            )


def _taken_twice(registry: Registry[Any]) -> Iterator[Finding]:
    """Names that several plugins give to something of one kind."""
    given = sorted(registry.contributions(), key=lambda one: one.item.name)
    for name, group in groupby(given, key=lambda one: one.item.name):
        plugins = [one.plugin for one in group]
        if len(plugins) > 1:
            titles = [plugin.title for plugin in plugins]
            yield Finding(
                group="names",
                kind="same-name",
                about=name,
                what=f"The {registry.kind} {name!r} is given by {', '.join(titles[:-1])} and {titles[-1]}: whoever "
                f"asks for it by this name gets an error.",
                do=f"Name one of them as '{plugins[0].distribution or plugins[0].name}:{name}', or leave the others "
                f"out.",
            )
