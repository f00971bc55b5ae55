"""Holding the plugins of a runtime to a lock, and making one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from becket._files import Survey
from becket._lock_file import KINDS
from becket._names import canonical
from becket._table import RUN_HOOKS
from becket.errors import ConfigError
from becket.lock import LeftOut, Lock, LockedDistribution, LockedPlugin, LockedTool
from becket.plugins import Plugin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from becket._choice import Choice
    from becket._files import Files
    from becket.lock import Covers
    from becket.runtime import Runtime
    from becket.tools import AnyTool

__all__ = ["LockCheck", "differences", "made"]

_GUARDS: Final = ("policies", "masks")
"""What a run is less safe without, besides the hooks that are called in it."""

_SINGULAR: Final[Mapping[str, str]] = {
    "providers": "provider",
    "sinks": "sink",
    "policies": "policy",
    "masks": "mask",
    "wires": "wire",
}

_INSTALLED: Final[Mapping[Covers, str]] = {
    "record": "from a wheel",
    "packages": "in editable form, or without a RECORD",
    "archive": "as a zip file",
}


class LockCheck:
    """What a lock says of the plugins that are found.

    Args:
        lock: The lock.
    """

    __slots__ = ("_differing", "_left_out", "_locked", "_survey", "title")

    def __init__(self, lock: Lock) -> None:
        self.title = f"the lock {lock.path}" if lock.path else "the lock"
        self._locked = {canonical(one.name): one for one in lock.distributions}
        self._left_out = frozenset(lock.left_out)
        self._survey = Survey()
        self._differing: dict[str | None, str] = {}

    def refusal(self, plugin: Plugin) -> str:
        """Why a plugin must not be imported, or empty; the files of a distribution are looked at once."""
        if plugin.distribution is None:
            return ""
        locked = self._locked.get(canonical(plugin.distribution))
        if locked is None:
            return self._unknown(plugin) or f"it is not in {self.title}"
        if plugin.metadata not in self._differing:
            self._differing[plugin.metadata] = self._differs(locked, plugin)
        if why := self._differing[plugin.metadata]:
            return why
        if _entry(locked, plugin):
            return ""
        return self._unknown(plugin) or f"{self.title} has {locked.name}, and this plugin of it not"

    def was_left_out(self, plugin: Plugin) -> bool:
        """Whether a plugin was there, in this version, and could not be used when the lock was written."""
        return _left_out(plugin) in self._left_out

    def _unknown(self, plugin: Plugin) -> str:
        if not self.was_left_out(plugin):
            return ""
        return f"it could not be used when {self.title} was written; 'becket lock' says why, or locks it"

    def surplus(self, plugin: Plugin) -> str:
        """The hooks that a plugin implements beyond the lock, in words; empty where there are none."""
        one = self._entry(plugin)
        return _joined(_beyond("hook", (hook.name for hook in plugin.hooks), one.hooks)) if one else ""

    def deviation(self, plugin: Plugin, given: Mapping[str, Sequence[AnyTool]]) -> str:
        """What a plugin adds beyond the lock, or lacks of what guards a run, in words; empty where it is as locked.

        Args:
            plugin: The plugin, loaded.
            given: What it contributes, by kind.
        """
        one = self._entry(plugin)
        if one is None:
            return ""
        named = {kind: [item.name for item in given.get(kind, ())] for kind in KINDS}
        hooks = [hook.name for hook in plugin.hooks]
        guards = [hook for hook in one.hooks if hook in RUN_HOOKS]
        return _joined(
            (
                *_beyond("hook", hooks, one.hooks),
                *_lacking("hook", hooks, guards),
                *(said for kind in KINDS for said in _beyond(_SINGULAR[kind], named[kind], one.adds.get(kind, ()))),
                *(said for kind in _GUARDS for said in _lacking(_SINGULAR[kind], named[kind], one.adds.get(kind, ()))),
                *_tools(given.get("tools", ()), one),
            )
        )

    def problem(self, plugins: Sequence[Plugin], choice: Choice) -> str:
        """How what is in use differs from what is locked, and what to do, in a sentence; empty where it does not."""
        unmet = self.unmet(plugins, choice)
        if not unmet:
            return ""
        return (
            f"the installed plugins are not those of {self.title}: {_joined(unmet)}. Install what is locked, or, if "
            f"you trust what is installed, write the lock anew with 'becket lock'"
        )

    def unmet(self, plugins: Sequence[Plugin], choice: Choice) -> list[str]:
        """What is locked and not in use, in sentences, but for what the host blocks."""
        return list(dict.fromkeys(self._unmet(plugins, choice)))

    def _unmet(self, plugins: Sequence[Plugin], choice: Choice) -> Iterator[str]:
        for name, locked in self._locked.items():
            mine = [one for one in plugins if one.distribution and canonical(one.distribution) == name]
            for entry in locked.plugins:
                found = next((one for one in mine if (one.name, one.value) == (entry.name, entry.value)), None)
                broken = next((one for one in mine if one.status == "quarantined"), None)
                if found is not None:
                    if found.status == "quarantined":
                        yield f"{found.title}: {found.reason}"
                elif choice.blocked(Plugin(entry.name, locked.name, locked.version, entry.value)):
                    continue
                elif broken is not None:
                    yield f"{broken.title}: {broken.reason}"
                else:
                    yield _gone(locked, entry, plugins)

    def _entry(self, plugin: Plugin) -> LockedPlugin | None:
        locked = self._locked.get(canonical(plugin.distribution or ""))
        return _entry(locked, plugin) if locked else None

    def _differs(self, locked: LockedDistribution, plugin: Plugin) -> str:
        if plugin.version != locked.version:
            return f"it is version {plugin.version}, and {locked.version} is locked"
        files = self._survey.of(plugin.metadata or "", _modules(locked.plugins))
        if files.problems:
            return _joined(files.problems)
        if files.covers != locked.covers:
            return f"it is installed {_INSTALLED[files.covers]}, and was {_INSTALLED[locked.covers]} when it was locked"
        return "" if files.sha256 == locked.sha256 else f"its files are not those that were locked{_which(files)}"


def _which(files: Files) -> str:
    """What can be said of which files differ from those that were locked; RECORD is what is left to compare with."""
    if files.deviations:
        most = 5
        more = f", and {len(files.deviations) - most} more" if len(files.deviations) > most else ""
        return f": since it was installed, {', '.join(files.deviations[:most])}{more}"
    if files.covers == "record":
        return ": they are as its installer left them, so it is another build of the same version"
    return ""


def _gone(locked: LockedDistribution, entry: LockedPlugin, plugins: Sequence[Plugin]) -> str:
    taken = next((one for one in plugins if (one.name, one.value) == (entry.name, entry.value)), None)
    instead = f"; {taken.title} declares the same plugin" if taken else ""
    return f"{locked.name} {locked.version}: its plugin {entry.name!r} is locked, and is not installed{instead}"


def _entry(locked: LockedDistribution, plugin: Plugin) -> LockedPlugin | None:
    return next((one for one in locked.plugins if (one.name, one.value) == (plugin.name, plugin.value)), None)


def _left_out(plugin: Plugin) -> LeftOut:
    return LeftOut(plugin.distribution or "", plugin.version or "", plugin.name, plugin.value)


def _beyond(kind: str, now: Iterable[str], locked: Iterable[str]) -> list[str]:
    return [f"it adds the {kind} {name!r}, which is not locked" for name in now if name not in locked]


def _lacking(kind: str, now: Iterable[str], locked: Iterable[str]) -> list[str]:
    return [f"its {kind} {name!r} is locked, and it no longer has it" for name in locked if name not in now]


def _tools(now: Iterable[AnyTool], one: LockedPlugin) -> list[str]:
    locked = {tool.name: tool for tool in one.tools}
    found = [LockedTool.of(tool) for tool in now]
    changed = (
        f"its tool {tool.name!r} says that it is {tool}, and was locked as {locked[tool.name]}"
        for tool in found
        if locked.get(tool.name, tool) != tool
    )
    return [*_beyond("tool", (tool.name for tool in found), locked), *changed]


def _joined(sentences: Iterable[str]) -> str:
    return "; ".join(sentences)


def _modules(plugins: Iterable[LockedPlugin]) -> list[str]:
    return [one.value.partition(":")[0].strip() for one in plugins]


def made(runtime: Runtime) -> Lock:
    """See `Lock.of`.

    Raises:
        ConfigError: It cannot be said what of a distribution would be imported.
    """
    survey = Survey()
    together: dict[str, list[tuple[Plugin, LockedPlugin]]] = {}
    for plugin, given in runtime._set.given:  # noqa: SLF001  core's own
        if plugin.status == "loaded" and plugin.metadata is not None:
            together.setdefault(plugin.metadata, []).append((plugin, _locked(plugin, given)))
    every = []
    left_out = [one for one in runtime.plugins if one.status == "quarantined" and one.metadata is not None]
    remarks = [f"plugin {one.name!r} ({one.title}) is left out of the lock: {one.reason}" for one in left_out]
    for metadata, pairs in together.items():
        plugins = tuple(sorted((locked for _, locked in pairs), key=lambda one: (one.name, one.value)))
        plugin = pairs[0][0]
        files = survey.of(metadata, _modules(plugins))
        if files.problems:
            raise ConfigError(
                f"{plugin.title} cannot be locked: {_joined(files.problems)}; mend that, or block it with "
                f"-p no:{plugin.name}"
            )
        if files.deviations:
            remarks.append(f"{plugin.title} is locked as it is, and not as it was installed: {_which(files)[2:]}")
        every.append(
            LockedDistribution(plugin.distribution or "", plugin.version or "", files.covers, files.sha256, plugins)
        )
    return Lock(
        tuple(sorted(every, key=lambda one: canonical(one.name))),
        remarks=tuple(remarks),
        left_out=tuple(sorted(map(_left_out, left_out), key=lambda one: (canonical(one.distribution), one.name))),
    )


def _locked(plugin: Plugin, given: Mapping[str, Sequence[AnyTool]]) -> LockedPlugin:
    return LockedPlugin(
        plugin.name,
        plugin.value,
        tuple(sorted({hook.name for hook in plugin.hooks})),
        {kind: tuple(sorted(item.name for item in given[kind])) for kind in KINDS if given.get(kind)},
        tuple(LockedTool.of(tool) for tool in sorted(given.get("tools", ()), key=lambda tool: tool.name)),
    )


def differences(lock: Lock, runtime: Runtime) -> list[str]:
    """See `Lock.differences`."""
    check = LockCheck(lock)
    found = []
    for plugin, given in runtime._set.given:  # noqa: SLF001  core's own
        if plugin.status == "loaded" or (plugin.status == "quarantined" and not check.was_left_out(plugin)):
            why = check.refusal(plugin) or (plugin.status == "loaded" and check.deviation(plugin, given))
            found += [f"{plugin.title}: {why}"] if why else []
    return list(dict.fromkeys([*found, *check.unmet(runtime.plugins, runtime._set.choice)]))  # noqa: SLF001  core's own
