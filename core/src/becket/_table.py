"""The hooks that are called in a run, compiled once into a table that does not change.

A run keeps the table that it began with. An empty slot of it costs a run nothing: what walks it is not made.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from becket.plugins import Plugin

__all__ = ["NO_HOOKS", "RUN_HOOKS", "HookTable", "Implementation"]


@dataclass(frozen=True, slots=True, eq=False)
class Implementation:
    """One implementation of a hook.

    Attributes:
        hook: The hook's name.
        phase: 0 for those that come first, 1, 2 for those that come last.
        function: What is called.
        arguments: The names of the arguments that it takes, by position.
        plugin: Whose it is.
    """

    hook: str
    phase: int
    function: Callable[..., object]
    arguments: tuple[str, ...]
    plugin: Plugin


@dataclass(frozen=True, slots=True, kw_only=True)
class HookTable:
    """The implementations of each hook that is called in a run, in the order in which they are called."""

    system_prompt: tuple[Implementation, ...] = ()
    transform_messages: tuple[Implementation, ...] = ()
    before_model_call: tuple[Implementation, ...] = ()
    after_model_call: tuple[Implementation, ...] = ()
    before_tool_call: tuple[Implementation, ...] = ()
    after_tool_call: tuple[Implementation, ...] = ()
    approve_tool: tuple[Implementation, ...] = ()

    @classmethod
    def of(cls, hooks: Mapping[str, Sequence[Implementation]]) -> HookTable:
        """The table of these; NO_HOOKS where there are none."""
        found = {name: tuple(hooks[name]) for name in RUN_HOOKS if hooks.get(name)}
        return cls(**found) if found else NO_HOOKS


RUN_HOOKS: Final = tuple(field.name for field in fields(HookTable))

NO_HOOKS: Final = HookTable()
