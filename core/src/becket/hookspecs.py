"""Every hook that a plugin may implement, one docstring each: this file is the reference for authors.

A plugin is a module, a class or an object named by an entry point in the group `becket`; the functions in it that are
marked with `@becket.hookimpl` implement hooks of the same name. A module that has none, and has `@tool` functions,
is a plugin too. Hooks are called when a `Runtime` is built, each on its own: one that raises takes its plugin out of
that runtime, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pluggy import HookspecMarker

if TYPE_CHECKING:
    from becket.providers import Provider
    from becket.sinks import Sink
    from becket.tools import Tool

__all__ = ["register_commands", "register_providers", "register_sinks", "register_tools"]

hookspec = HookspecMarker("becket")


@hookspec
def register_tools() -> Iterable[Tool[Any]]:  # type: ignore[empty-body]
    """The tools that the plugin makes available. An agent has those that it names; none is granted by being installed."""


@hookspec
def register_providers() -> Iterable[Provider]:  # type: ignore[empty-body]
    """The model providers that the plugin makes available."""


@hookspec
def register_sinks() -> Iterable[Sink]:  # type: ignore[empty-body]
    """The event sinks that the plugin makes available. A run has those that its agent or its runtime names."""


@hookspec
def register_commands(cli: Any) -> None:
    """Add commands to a command line.

    Args:
        cli: The group of commands to add to. The program `becket` passes a `click.Group`.
    """
