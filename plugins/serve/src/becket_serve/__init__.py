"""Agents over HTTP: every installed wire has its route, in an application of its own or in a host's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from becket import hookimpl

from becket_serve._settings import ServeLimits, Settings, SettingsError

if TYPE_CHECKING:
    from becket.wires import Wire

    from becket_serve._app import app, lifespan
    from becket_serve._clients import Authenticate
    from becket_serve._response import AgentResponse
    from becket_serve._wires import EventsWire, TextWire

__all__ = [
    "AgentResponse",
    "Authenticate",
    "EventsWire",
    "ServeLimits",
    "Settings",
    "SettingsError",
    "TextWire",
    "app",
    "declare_config",
    "lifespan",
    "register_commands",
    "register_wires",
]


@hookimpl
def declare_config() -> type[Settings]:
    """The table `[plugins.serve]`."""
    return Settings


@hookimpl
def register_wires() -> list[Wire]:
    """The wires `text`, at `/stream`, and `events`, at `/events`."""
    from becket_serve._wires import own_wires

    return own_wires()


@hookimpl
def register_commands(cli: Any, config: Settings) -> None:
    """The command `becket serve`."""
    from becket_serve._command import serve_command  # click is for command lines alone

    cli.add_command(serve_command(config))


if not TYPE_CHECKING:  # a type checker would take every misspelt name for one that is there

    def __getattr__(name: str) -> Any:
        """What needs Starlette, which is for those who serve."""
        import importlib

        places = {
            "AgentResponse": "_response",
            "Authenticate": "_clients",
            "EventsWire": "_wires",
            "TextWire": "_wires",
            "app": "_app",
            "lifespan": "_app",
        }
        if name in places:
            return getattr(importlib.import_module(f"becket_serve.{places[name]}"), name)
        raise AttributeError(f"module 'becket_serve' has no attribute {name!r}")
