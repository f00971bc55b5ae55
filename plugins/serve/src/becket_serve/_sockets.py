"""WebSockets: Starlette's, as a `SocketWire` takes them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import anyio
from becket import RequestError
from becket.wires import SocketClosed
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from becket_serve._gate import CLIENT, refuse_socket
from becket_serve._problems import logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from becket.wires import SocketWire

    from becket_serve._runs import ClientRuns, Runs

__all__ = ["Sockets"]

_OK, _GOING_AWAY, _FAILED, _REFUSED, _TOO_BIG = 1000, 1001, 1011, 1008, 1009  # RFC 6455, section 7.4.1

_REASON_BYTES: Final = 123
"""Bytes of a reason: a control frame has 125 (RFC 6455, section 5.5), and two of them are the code."""

_AHEAD: Final = 16
"""Messages that are read before the wire takes them: so it is seen that a client has gone while the wire does not."""

_CLOSING: Final = 5.0
"""Seconds that closing a socket may take."""

_MOMENT: Final = 0.05
"""Seconds after which it is looked again whether sockets are quiet, where the server is being stopped."""


class Sockets:
    """The open WebSockets of a server.

    Args:
        runs: The runs.
    """

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._open: dict[_Socket, anyio.CancelScope] = {}

    def endpoint(self, wire: SocketWire) -> Callable[[WebSocket], Awaitable[None]]:
        """What serves the sockets of one wire."""

        async def serve(websocket: WebSocket) -> None:
            with contextlib.ExitStack() as stack:
                try:
                    stack.enter_context(self._runs.one_reader())
                except RequestError as error:
                    await refuse_socket(error, websocket.scope, websocket.receive, websocket.send)
                    return
                await self._serve(wire, websocket)

        return serve

    async def close(self) -> None:
        """Hang up on everybody, once wires have sent what there is left of runs that are over."""
        with anyio.move_on_after(_CLOSING):
            while not await self._are_quiet():
                pass
        for scope in self._open.values():
            scope.cancel()
        with anyio.move_on_after(_CLOSING):
            for socket in tuple(self._open):
                await socket.gone.wait()

    async def _are_quiet(self) -> bool:
        """Whether nothing was sent for a moment: no wire says that it has said everything."""
        before = sum(socket.sent for socket in self._open)
        await anyio.sleep(_MOMENT)
        return before == sum(socket.sent for socket in self._open) and not any(socket.sending for socket in self._open)

    async def _serve(self, wire: SocketWire, websocket: WebSocket) -> None:
        offered = websocket.scope.get("subprotocols", ())
        try:
            await websocket.accept(next((name for name in wire.subprotocols if name in offered), None))
        except (WebSocketDisconnect, OSError):
            return  # it has gone already
        runs = self._runs.of(websocket.scope[CLIENT])
        socket = _Socket(websocket, self._runs.limits.body_bytes, runs)
        code, reason = _GOING_AWAY, "the server is being stopped"
        try:
            async with anyio.create_task_group() as tasks:
                self._open[socket] = tasks.cancel_scope
                tasks.start_soon(socket.listen)
                code, reason = await _talked(wire, socket, runs)
                tasks.cancel_scope.cancel()
        finally:
            await runs.leave()
            with anyio.move_on_after(_CLOSING, shield=True):
                await socket.close(code, reason)
            socket.forget()
            self._open.pop(socket, None)


async def _talked(wire: SocketWire, socket: _Socket, runs: ClientRuns) -> tuple[int, str]:
    """Let the wire talk; how its socket is to be closed."""
    try:
        await wire.serve(socket, runs)
    except SocketClosed:
        return _OK, ""
    except RequestError as error:
        return _REFUSED, str(error)
    except Exception:  # noqa: BLE001  a plugin's code; the log has it
        logger().exception("the wire %r failed", wire.name)
        return _FAILED, "the server has failed"
    return _OK, ""


class _Socket:
    """What a `SocketWire` reads and writes.

    Attributes:
        sent: Messages that were sent.
        sending: Those that are being sent, while the client does not read.
        gone: Set when it is closed.
    """

    def __init__(self, websocket: WebSocket, limit: int, runs: ClientRuns) -> None:
        self._websocket = websocket
        self._limit = limit
        self._runs = runs
        self.sent = 0
        self.sending = 0
        self.gone = anyio.Event()
        self._taken, self._came = anyio.create_memory_object_stream[str | bytes](_AHEAD)

    async def listen(self) -> None:
        """Read what comes, until the client has gone; its runs end then, whatever the wire waits for."""
        while (message := await self._websocket.receive())["type"] != "websocket.disconnect":
            text = message.get("text")
            await self._taken.send(message["bytes"] if text is None else text)
        self._taken.close()
        self._runs.cancel()

    async def receive(self) -> str | bytes:
        """The next message."""
        try:
            data = await self._came.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError) as error:
            raise SocketClosed from error
        if len(data) > self._limit:
            await self.close(_TOO_BIG, f"a message has at most {self._limit} bytes")
            raise SocketClosed
        return data

    async def send(self, message: str | bytes, /) -> None:
        """Send a text."""
        if self._is_closed():
            raise SocketClosed
        self.sending += 1
        try:
            await self._websocket.send_text(message if isinstance(message, str) else message.decode())
        except (WebSocketDisconnect, OSError, RuntimeError) as error:  # RuntimeError: it was closed meanwhile
            raise SocketClosed from error
        finally:
            self.sending -= 1
        self.sent += 1

    async def close(self, code: int = _OK, reason: str = "") -> None:
        """Close it."""
        if self._is_closed():
            return
        short = reason.encode()[:_REASON_BYTES].decode(errors="ignore")
        try:
            await self._websocket.close(code, short)
        except (WebSocketDisconnect, OSError, RuntimeError):
            return  # it was closed from the other side meanwhile

    def forget(self) -> None:
        """Drop what was not taken."""
        self._taken.close()
        self._came.close()
        self.gone.set()

    def _is_closed(self) -> bool:
        states: Any = (self._websocket.client_state, self._websocket.application_state)
        return WebSocketState.DISCONNECTED in states
