"""The tools that a run is granted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from becket import Ask, ConfigError

from becket_cli._exits import complain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from becket import HookContext, Runtime, Tool, ToolCall

    from becket_cli._run import Wanted

__all__ = ["NONE", "AsksOfProject", "chosen_tools", "is_granted_unasked"]

NONE = "none"


def is_granted_unasked(tool: Tool[..., object]) -> bool:
    """Whether `becket run` grants the tool without being told to: it stays on this machine, and changes nothing."""
    return tool.reach == "local" and tool.effect in {"none", "read"}


def chosen_tools(wanted: Wanted, runtime: Runtime) -> list[Tool[..., object] | str]:
    """The tools that `-t` names, and unless it says `none`, those of the configuration, or that are granted unasked.

    What was named stays a name: a tool that does not say what it does is asked about then.

    Raises:
        ConfigError: A name is unknown, or two tools have it.
    """
    named = {runtime.tool(name).name: name for name in wanted.tools if name != NONE}
    if NONE in wanted.tools or not wanted.default_tools:
        return [*named.values()]
    usual = _unasked(runtime) if runtime.config.tools is None else _configured(runtime, runtime.config.tools)
    return [*named.values(), *(given for name, given in usual.items() if name not in named)]


class AsksOfProject:
    """A policy that asks before a call of a tool that only the project's configuration has granted.

    Whoever wrote the project has chosen it, and not whoever runs becket there: what leaves this machine, or may change
    something, is that person's to allow. `-t` and the user's own `[approvals]` do.

    Attributes:
        asked: The names of these tools.
    """

    name = "project-tools"

    def __init__(self, wanted: Wanted, runtime: Runtime) -> None:
        config = runtime.config
        foreign = config.origin("tools").kind == "project" and wanted.default_tools and NONE not in wanted.tools
        tools = [runtime.tool(name) for name in config.tools or () if foreign and name not in config.approvals.allow]
        granted = {runtime.tool(name).name for name in wanted.tools if name != NONE}
        self.asked = {tool.name for tool in tools if not is_granted_unasked(tool)} - granted

    def approve(self, ctx: HookContext, call: ToolCall, tool: Tool[..., object], /) -> Ask | None:  # noqa: ARG002  the contract
        """Ask, or nothing."""
        return Ask("only the project's configuration has granted this tool") if tool.name in self.asked else None


def _configured(runtime: Runtime, names: Iterable[str]) -> dict[str, str]:
    """The tools of the configuration, as they are named there."""
    found: dict[str, str] = {}
    for name in names:
        try:
            found[runtime.tool(name).name] = name
        except ConfigError as error:
            raise ConfigError(f"{name!r} under 'tools' in {runtime.config.origin('tools')}: {error}") from error
    return found


def _unasked(runtime: Runtime) -> dict[str, Tool[..., object]]:
    """The usable tools that are granted unasked. One that is not must not stop a run that never asked for it."""
    found: dict[str, Tool[..., object]] = {}
    for name in runtime.tools:
        try:
            tool = runtime.tool(name)
            if is_granted_unasked(tool):
                tool.spec  # noqa: B018  built here, where its failure is its own
                found[name] = tool
        except ConfigError as error:
            complain(f"the tool {name!r} is left out: {error}")
    return found
