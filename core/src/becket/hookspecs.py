"""Every hook that a plugin may implement, one docstring each: this file is the reference for authors.

A plugin is a module, a class or an object named by an entry point in the group `becket`; the functions in it that are
marked with `@becket.hookimpl` implement hooks of the same name. A class is called without arguments, and its instance
is the plugin. A module that implements no hook, and has `@tool` functions, is a plugin too: those are its tools.

The hooks called `register_...` are called once, when a `Runtime` is built, synchronously, each on its own: one that
raises, or gives what it must not, takes its plugin out of that runtime, and nothing else. They return any iterable, or
None for nothing, and do no more than make what they return: to connect, to load a model, to import what is heavy is
for its first use. Their order is: first those marked `@hookimpl(tryfirst=True)`, last those marked
`@hookimpl(trylast=True)`, and among equals the order that the host has configured, then that of the plugins' names.
Wrappers (`@hookimpl(wrapper=True)`) are refused: there is no call that goes through all plugins to wrap. A hook that a
newer becket has, and this one does not, is marked `@hookimpl(optionalhook=True)`; without the mark it is an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pluggy import HookspecMarker

if TYPE_CHECKING:
    from collections.abc import Iterable

    from becket.providers import Provider
    from becket.sinks import Sink
    from becket.tools import AnyTool

__all__ = ["register_commands", "register_providers", "register_sinks", "register_tools"]

hookspec = HookspecMarker("becket")


@hookspec
def register_tools() -> Iterable[AnyTool] | None:
    """The tools that the plugin makes available. An agent has those that it names; none is granted by being installed.

    A name that another plugin's tool has too is no error before somebody asks for it; `plugin:name` then says which.
    """


@hookspec
def register_providers() -> Iterable[Provider] | None:
    """The model providers that the plugin makes available, as objects.

    One object serves every run of the runtime, in any number of event loops; see `becket.Provider`.
    """


@hookspec
def register_sinks() -> Iterable[Sink] | None:
    """The event sinks that the plugin makes available. A run has those that its agent or its runtime names."""


@hookspec
def register_commands(cli: Any) -> None:
    """Add commands to a command line. Called when a command line asks for them, not when the runtime is built.

    What was added before it raised stays added; what the plugin contributes besides commands stays in use.

    Args:
        cli: The group of commands to add to. The program `becket` passes a `click.Group`.
    """
