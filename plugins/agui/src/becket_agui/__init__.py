"""The wire `agui`: becket's agents for clients of the Agent User Interaction Protocol, AG-UI 1.0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from becket import hookimpl

from becket_agui._wire import AgUi

if TYPE_CHECKING:
    from becket.wires import AnyWire

__all__ = ["AgUi", "register_wires"]


@hookimpl
def register_wires() -> list[AnyWire]:
    """The wire `agui`, at `/agui`."""
    return [AgUi()]
