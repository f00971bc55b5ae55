"""becket-websocket: a wire that goes both ways, over which a client starts, cancels, decides and resumes runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from becket import hookimpl

from becket_websocket._wire import WebSocketWire

if TYPE_CHECKING:
    from becket.wires import SocketWire

__all__ = ["WebSocketWire", "register_wires"]


@hookimpl
def register_wires() -> list[SocketWire]:
    """The wire `websocket`, at `/ws`."""
    return [WebSocketWire()]
