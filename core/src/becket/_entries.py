"""A plugin on its way into the table of a runtime: what it is, how it is loaded, and what it has given so far."""

from __future__ import annotations

import dataclasses
import inspect
import os
import sys
import time
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

from becket._table import RUN_HOOKS
from becket.plugins import Plugin

if TYPE_CHECKING:
    from collections.abc import Callable

    from becket._config_tables import Settled
    from becket._hookimpls import Hook
    from becket.discovery import Candidate

__all__ = ["Entry", "imported_from", "of_candidate", "of_object", "orphaned", "said", "timed"]


@dataclass(slots=True, eq=False)
class Entry:
    """A plugin on its way into the table."""

    plugin: Plugin
    load: Callable[[], object]
    refusal: str = ""
    loaded: object = None
    settled: Settled | None = None
    hooks: list[Hook] = field(default_factory=list)
    given: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def usable(self) -> bool:
        return self.plugin.status == "loaded"

    @property
    def adds(self) -> dict[str, tuple[str, ...]]:
        """The names of what it contributes, by kind, and of the hooks that are called in a run."""
        named = {kind: tuple(item.name for item in given) for kind, given in self.given.items()}
        hooks = tuple(hook.name for hook in self.hooks if hook.name in RUN_HOOKS) if self.usable else ()
        return {**named, "hooks": hooks} if hooks else named

    @property
    def config(self) -> object:
        """What its hooks get as `config`."""
        return self.settled and self.settled.value

    def mark(self, **changes: Any) -> None:
        self.plugin = dataclasses.replace(self.plugin, **changes)


def timed(entry: Entry) -> object:
    """What the entry holds; how long it took to import is kept, also where it failed."""
    began = time.perf_counter()
    try:
        return entry.load()
    finally:
        if entry.plugin.distribution is not None:
            entry.mark(import_seconds=time.perf_counter() - began)


def of_object(item: object) -> Entry:
    """A plugin that the host passed as an object."""
    kind = item if inspect.isclass(item) else type(item)
    if isinstance(item, ModuleType):
        return Entry(Plugin(item.__name__, None, None, item.__name__), lambda: item)
    return Entry(Plugin(kind.__name__, None, None, f"{kind.__module__}:{kind.__qualname__}"), lambda: item)


def of_candidate(candidate: Candidate) -> Entry:
    plugin = Plugin(
        candidate.name,
        candidate.distribution,
        candidate.version,
        candidate.value,
        metadata=candidate.metadata,
    )
    return Entry(plugin, candidate.load, candidate.refusal)


def orphaned(plugin: Plugin, error: BaseException) -> str:
    """What to say where the module that the entry point names is itself not there, or empty."""
    module = plugin.value.partition(":")[0].strip()
    if isinstance(error, ModuleNotFoundError) and error.name and f"{module}.".startswith(f"{error.name}."):
        return f"its module {module!r} is not there: {said(error)}; reinstall or uninstall {plugin.distribution}"
    return ""


def imported_from(plugin: Plugin) -> str:
    """What to say where a plugin's module has come from another folder than its distribution lies in, or empty.

    A module of its name that is earlier on the path, as in the working directory, takes its place.
    """
    module = sys.modules.get(plugin.value.partition(":")[0].strip())
    file = getattr(module, "__file__", None)
    if plugin.metadata is None or not isinstance(file, str):
        return ""
    folder = os.path.join(os.path.realpath(os.path.dirname(plugin.metadata)), "")  # noqa: PTH118, PTH120  texts
    return "" if os.path.realpath(file).startswith(folder) else f"; its module was imported from {file}"


def said(error: BaseException) -> str:
    """The exception in one line; its own text may fail, being a plugin's."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001  whatever a plugin's exception does when it is asked what it says
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
