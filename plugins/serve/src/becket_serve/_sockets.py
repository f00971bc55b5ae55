"""WebSockets: Starlette's, as a `SocketWire` takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
from becket import RequestError
from becket.wires import SocketClosed
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from becket_serve._gate import CLIENT
from becket_serve._problems import logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from becket.wires import SocketWire

    from becket_serve._runs import Runs

__all__ = ["Sockets"]

_GOING_AWAY, _FAILED, _REFUSED, _TOO_BIG = 1001, 1011, 1008, 1009  # RFC 6455, section 7.4.1

_REASON_BYTES = 123  # RFC 6455, section 5.5: a control frame has 125 bytes, two of them are the code


class Sockets:
    """The open WebSockets of a server.

    Args:
        runs: The runs.
    """

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._open: set[anyio.CancelScope] = set()

    def endpoint(self, wire: SocketWire) -> Callable[[WebSocket], Awaitable[None]]:
        """What serves the sockets of one wire."""

        async def serve(websocket: WebSocket) -> None:
            await self._serve(wire, websocket)

        return serve

    def close(self) -> None:
        """Hang up on everybody: the server is being stopped."""
        for scope in self._open:
            scope.cancel()

    async def _serve(self, wire: SocketWire, websocket: WebSocket) -> None:
        offered = websocket.scope.get("subprotocols", ())
        agreed = next((name for name in wire.subprotocols if name in offered), None)
        socket = _Socket(websocket, self._runs.limits.body_bytes)
        runs = self._runs.of(websocket.scope[CLIENT])
        scope = anyio.CancelScope()
        self._open.add(scope)
        try:
            with scope:
                await websocket.accept(agreed)
                await wire.serve(socket, runs)
            code, reason = (_GOING_AWAY, "the server is being stopped") if scope.cancelled_caught else (1000, "")
        except (SocketClosed, WebSocketDisconnect, OSError):
            code, reason = 1000, ""
        except RequestError as error:
            code, reason = _REFUSED, str(error)
        except Exception:  # noqa: BLE001  a plugin's code; the log has it
            logger().exception("the wire %r failed", wire.name)
            code, reason = _FAILED, "the server has failed"
        finally:
            self._open.discard(scope)
            await runs.leave()
        with anyio.move_on_after(5, shield=True):
            await socket.close(code, reason)


class _Socket:
    """What a `SocketWire` reads and writes."""

    def __init__(self, websocket: WebSocket, limit: int) -> None:
        self._websocket = websocket
        self._limit = limit

    async def receive(self) -> str | bytes:
        """The next message."""
        if self._is_closed():
            raise SocketClosed
        message: Any = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise SocketClosed
        text = message.get("text")
        data: str | bytes = message["bytes"] if text is None else text
        if len(data) > self._limit:
            await self.close(_TOO_BIG, f"a message has at most {self._limit} bytes")
            raise SocketClosed
        return data

    async def send(self, message: str | bytes, /) -> None:
        """Send a text."""
        if self._is_closed():
            raise SocketClosed
        try:
            await self._websocket.send_text(message if isinstance(message, str) else message.decode())
        except (WebSocketDisconnect, OSError, RuntimeError) as error:
            raise SocketClosed from error

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close it."""
        if self._is_closed():
            return
        short = reason.encode()[:_REASON_BYTES].decode(errors="ignore")
        try:
            await self._websocket.close(code, short)
        except (WebSocketDisconnect, OSError, RuntimeError):
            return  # it was closed from the other side meanwhile

    def _is_closed(self) -> bool:
        states = (self._websocket.client_state, self._websocket.application_state)
        return WebSocketState.DISCONNECTED in states
