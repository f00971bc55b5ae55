"""The tools that a run is granted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from becket import ConfigError

from becket_cli._exits import complain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from becket import Runtime, Tool

    from becket_cli._run import Wanted

__all__ = ["NONE", "chosen_tools", "is_granted_unasked"]

NONE = "none"


def is_granted_unasked(tool: Tool[..., object]) -> bool:
    """Whether `becket run` grants the tool without being told to: it stays on this machine, and changes nothing."""
    return tool.reach == "local" and tool.effect in {"none", "read"}


def chosen_tools(wanted: Wanted, runtime: Runtime) -> list[Tool[..., object]]:
    """The tools that `-t` names, and unless it says `none`, those of the configuration, or that are granted unasked.

    Raises:
        ConfigError: A name is unknown, or two tools have it.
    """
    named = [runtime.tool(name) for name in wanted.tools if name != NONE]
    if NONE in wanted.tools or not wanted.default_tools:
        return named
    taken = {tool.name for tool in named}
    usual = _unasked(runtime) if runtime.config.tools is None else _configured(runtime, runtime.config.tools)
    return [*named, *(tool for tool in usual if tool.name not in taken)]


def _configured(runtime: Runtime, names: Iterable[str]) -> Iterator[Tool[..., object]]:
    for name in names:
        try:
            yield runtime.tool(name)
        except ConfigError as error:
            raise ConfigError(f"{name!r} under 'tools' in {runtime.config.origin('tools')}: {error}") from error


def _unasked(runtime: Runtime) -> Iterator[Tool[..., object]]:
    """The usable tools that are granted unasked. One that is not must not stop a run that never asked for it."""
    for name in runtime.tools:
        try:
            tool = runtime.tool(name)
            if is_granted_unasked(tool):
                tool.spec  # noqa: B018  built here, where its failure is its own
                yield tool
        except ConfigError as error:
            complain(f"the tool {name!r} is left out: {error}")
