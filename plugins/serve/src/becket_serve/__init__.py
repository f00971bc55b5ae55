"""Agents over HTTP: every installed wire has its route, in an application of its own or in a host's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from becket import hookimpl

if TYPE_CHECKING:
    from becket.wires import AnyWire

    from becket_serve._app import app

__all__ = ["app", "register_wires"]


@hookimpl
def register_wires() -> list[AnyWire]:
    """The wires `text`, at `/stream`, and `events`, at `/events`."""
    from becket_serve._wires import own_wires

    return own_wires()


if not TYPE_CHECKING:  # a type checker would take every misspelt name for one that is there

    def __getattr__(name: str) -> Any:
        """What needs Starlette, which is for those who serve."""
        if name == "app":
            from becket_serve._app import app

            return app
        raise AttributeError(f"module 'becket_serve' has no attribute {name!r}")
