"""What a user's configuration says of tools by name, as a policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from becket.policies import Allow, Ask, Deny

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from becket.config import Approvals
    from becket.content import ToolCall
    from becket.hooks import HookContext
    from becket.policies import Verdict
    from becket.tools import AnyTool

__all__ = ["ApprovalPolicy"]

_Named: TypeAlias = "tuple[frozenset[str], tuple[AnyTool, ...]]"
"""Names of tools, and tools that were named with their plugin."""


class ApprovalPolicy:
    """The `[approvals]` of a configuration. A user has named it, so what it allows is granted.

    A plain name means whatever tool the agent has by that name; `plugin:tool` means that plugin's alone.

    Args:
        approvals: The lists.
        find: Gives the tool that `plugin:tool` names, under a key of the configuration; none for one that is not there,
            where that is no error.
    """

    def __init__(self, approvals: Approvals, find: Callable[[str, str], Iterable[AnyTool]]) -> None:
        self.name = "approvals"
        self._deny = _named("approvals.deny", approvals.deny, find)
        self._ask = _named("approvals.ask", approvals.ask, find)
        self._allow = _named("approvals.allow", approvals.allow, find)

    def approve(self, ctx: HookContext, call: ToolCall, tool: AnyTool, /) -> Verdict | None:  # noqa: ARG002  the contract
        """The strictest word that was said of the tool."""
        if _holds(self._deny, tool):
            return Deny("the configuration denies this tool")
        if _holds(self._ask, tool):
            return Ask("the configuration wants to be asked about this tool")
        return Allow("the configuration allows this tool") if _holds(self._allow, tool) else None


def _named(key: str, names: Iterable[str], find: Callable[[str, str], Iterable[AnyTool]]) -> _Named:
    given = tuple(names)
    plain = frozenset(name for name in given if ":" not in name)
    return plain, tuple(tool for name in given if ":" in name for tool in find(key, name))


def _holds(named: _Named, tool: AnyTool) -> bool:
    names, tools = named
    return tool.name in names or any(tool is one for one in tools)
