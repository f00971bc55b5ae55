"""A run as the answer to an HTTP request, for any ASGI server and framework; https://asgi.readthedocs.io."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import anyio

from becket._calls import unwrap
from becket._log import logger
from becket.errors import EventsDropped
from becket.stream import AgentStream

if TYPE_CHECKING:
    from becket.events import Event
    from becket.stream import LogReader
    from becket.wires import Encoder

__all__ = ["EventResponse", "Message", "Receive", "Scope", "Send"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_BATCH: Final = 256
"""Events that are sent together, at most."""


class EventResponse:
    """Sends a run's events, as an encoder writes them, and ends the run when the client goes away.

    An ASGI application: `await response(scope, receive, send)`. It enters the stream, listens for the disconnect
    itself, whatever version of the specification the server speaks, and leaves the stream only when the run has
    cleaned up. A run that is detached is only read. What is ready together is sent together; a client that does not
    read holds up its own run, and no other.

    The answer begins with the encoder's first bytes, so that its status can still say that nothing came. That of a
    reader who finds no event yet begins with a heartbeat, so that its client knows that it is being read to.

    Args:
        stream: The run, or a reader of its log.
        encoder: Writes its events; for this one answer.
        heartbeat: Seconds of silence after which `encoder.beat()` is sent; None for never.
        headers: Headers besides those of the encoder.

    Attributes:
        parked: Whether the answer has ended before the run, since the encoder was done: a decision is waited for. The
            stream is then left as it is, for whoever reads on.
        gone: Whether the client went away before the end.
    """

    def __init__(
        self,
        stream: AgentStream[Any] | LogReader,
        encoder: Encoder,
        *,
        heartbeat: float | None = 15.0,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.stream = stream
        self.encoder = encoder
        self.parked = False
        self.gone = False
        self._heartbeat = heartbeat
        self._headers = headers
        self._begun = False
        self._complete = False
        self._seen = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  ASGI's
        """Answer the request, to its end or to that of its client.

        Raises:
            EventsDropped: Of a log: before there was anything to send. Once there was, the answer ends.
            Exception: The encoder failed, or the run could not begin. The run is over then.
        """
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._listen, receive, tasks.cancel_scope)
                await self._answer(send)
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            error = unwrap(group)
            raise error from error.__cause__
        finally:
            if not self.parked and isinstance(self.stream, AgentStream):
                await self.stream.aclose()

    async def _listen(self, receive: Receive, scope: anyio.CancelScope) -> None:
        """End the answer when the client goes away."""
        while (await receive())["type"] != "http.disconnect":
            pass  # the rest of a body that nobody has read
        if not self._complete:  # servers say so after a whole answer, too
            self.gone = True
            scope.cancel()

    async def _answer(self, send: Send) -> None:
        try:
            await self._send_events(send)
            end = self.encoder.finish()
            self._complete = True
            await self._send(send, end, last=True)
        except _Gone:
            self.gone = True

    async def _send_events(self, send: Send) -> None:
        while events := await self._next(send):
            self._seen = True
            if pieces := self._encoded(events):
                await self._send(send, pieces)
            if self.encoder.done:
                self.parked = True
                return

    async def _next(self, send: Send) -> list[Event]:
        """The next events; none where the run is over, however it has ended: its last event says so."""
        stream = self.stream
        patience = self._heartbeat if self._seen or isinstance(stream, AgentStream) else 0
        try:
            while not (events := stream.ready(_BATCH)):
                with anyio.move_on_after(patience) as scope:
                    return await stream.read(_BATCH)
                if scope.cancelled_caught and (beat := self.encoder.beat()):
                    await self._send(send, beat)
                patience = self._heartbeat
        except Exception as error:
            # Of a failure the last event has told. That events are gone, the status tells as long as there is none.
            if not (self._begun if isinstance(error, EventsDropped) else self._seen):
                raise
            logger.info("the run that was answered with has failed: %s: %s", type(error).__name__, error)
            return []
        return events

    def _encoded(self, events: list[Event]) -> bytes:
        encoder, pieces = self.encoder, []
        for at, event in enumerate(events, start=1):
            pieces.append(encoder.encode(event))
            if encoder.done:
                self.stream.unread(events[at:])
                break
        return b"".join(pieces)

    async def _send(self, send: Send, body: bytes, *, last: bool = False) -> None:
        if not self._begun:
            encoder = self.encoder
            headers = {"content-type": encoder.media_type, **encoder.headers, **self._headers}
            start = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
            self._begun = True
            await _deliver(send, {"type": "http.response.start", "status": encoder.status, "headers": start})
        await _deliver(send, {"type": "http.response.body", "body": body, "more_body": not last})


class _Gone(Exception):  # noqa: N818  no failure
    """The client has gone."""


async def _deliver(send: Send, message: Message) -> None:
    try:
        await send(message)
    except OSError as error:  # what servers raise since version 2.4 of the specification where the client has gone
        raise _Gone from error
