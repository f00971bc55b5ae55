"""The wire `websocket`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from becket.wires import RunHost, Socket

__all__ = ["WebSocketWire"]


class WebSocketWire:
    """becket's own events over a connection that goes both ways, as JSON texts; any number of runs at once.

    Attributes:
        name: `websocket`.
        path: `/ws`.
        subprotocols: `becket.v1`. A client that offers none is served all the same.
    """

    name = "websocket"
    path = "/ws"
    subprotocols = ("becket.v1",)

    async def serve(self, socket: Socket, runs: RunHost, /) -> None:
        """Talk with one client, until it goes away. What is wrong with one of its messages ends nothing else.

        Raises:
            SocketClosed: It has gone.
        """
        from becket_websocket._conversation import Conversation  # imports pydantic, which takes 100 ms

        await Conversation(socket, runs).hold()
