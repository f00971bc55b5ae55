"""The hooks that a plugin implements: found and checked with pluggy, and called by us.

Each plugin has a pluggy manager of its own for that (0.1 ms), so that nothing one of them does (a hook half registered,
a name taken, an odd `__eq__`) is seen by another.
"""

from __future__ import annotations

import difflib
import inspect
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Final

from pluggy import PluginManager, PluginValidationError

from becket import hookspecs
from becket.tools import Tool

if TYPE_CHECKING:
    from collections.abc import Callable

    from pluggy import HookImpl

    from becket.plugins import Phase

__all__ = ["Hook", "call", "hooks_of"]

_PHASES: Final[tuple[Phase, ...]] = ("first", "normal", "last")


@dataclass(frozen=True, slots=True)
class Hook:
    """One implementation of a hook."""

    name: str
    phase: int
    function: Callable[..., object]
    arguments: tuple[str, ...] = ()

    @property
    def when(self) -> Phase:
        """The phase in words."""
        return _PHASES[self.phase]

    @property
    def marked(self) -> tuple[str, ...]:
        """What to say of the mark that has put it into its phase, if it has one."""
        return () if self.phase == 1 else (f"marked {'tryfirst' if self.phase == 0 else 'trylast'}",)


def hooks_of(loaded: object, name: str) -> list[Hook]:
    """The hooks that a plugin implements; for a module that has none, one that gives its tools.

    Raises:
        PluginValidationError: A hook does not exist, takes what it is not given, or is a wrapper; or there is none.
    """
    manager = PluginManager("becket")
    manager.add_hookspecs(hookspecs)
    manager.register(loaded, name)
    hooks = [
        Hook(caller.name, _phase(impl), impl.function, tuple(impl.argnames))
        for caller in manager.get_hookcallers(loaded) or ()
        for impl in caller.get_hookimpls()
        if _valid(impl, caller.name, known=caller.has_spec())
    ]
    if not hooks and (own := _own_tools(loaded)):
        hooks.append(Hook("register_tools", 1, lambda: own))
    if not hooks:
        text = "it implements no hook and holds no tool; mark its functions with @becket.hookimpl or @becket.tool"
        raise PluginValidationError(loaded, text)
    return hooks


def _valid(impl: HookImpl, name: str, *, known: bool) -> bool:
    """Whether the implementation counts; not where it is optional, and this becket does not have the hook."""
    if not known and not impl.optionalhook:
        near = difflib.get_close_matches(name, hookspecs.__all__, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the hooks are: {', '.join(hookspecs.__all__)}"
        raise PluginValidationError(impl.plugin, f"there is no hook {name!r}; {hint}")
    if impl.wrapper or impl.hookwrapper:
        raise PluginValidationError(impl.plugin, f"{name} is marked as a wrapper; hooks of becket cannot be wrapped")
    return known


def _phase(impl: HookImpl) -> int:
    return 0 if impl.tryfirst else 2 if impl.trylast else 1


def _own_tools(loaded: object) -> list[object]:
    """The tools that a module holds, defined in it or, if it is a package, in one of its modules."""
    if not isinstance(loaded, ModuleType):
        return []
    package = f"{loaded.__name__}."
    return [
        item for item in vars(loaded).values() if isinstance(item, Tool) and f"{item.__module__}.".startswith(package)
    ]


def call(hook: Hook, **arguments: object) -> object:
    given = hook.function(*(arguments[name] for name in hook.arguments))
    if inspect.iscoroutine(given):
        given.close()
        raise TypeError("it is async, and must not be: it is called synchronously, outside of any event loop")
    return given
