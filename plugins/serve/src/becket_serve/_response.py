"""A run as a response of Starlette and FastAPI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from becket import ConfigError, EventsDropped, RequestError
from becket.asgi import EventResponse
from becket.wires import SocketWire, Wire
from starlette.responses import Response

from becket_serve._gate import RUN_ID
from becket_serve._wires import own_wires

if TYPE_CHECKING:
    from collections.abc import Mapping

    from becket import AgentStream
    from starlette.background import BackgroundTask
    from starlette.types import Message, Receive, Scope, Send

    from becket_serve._run import Run

__all__ = ["AgentResponse", "RunResponse"]


class AgentResponse(Response):
    """A run as the response of an endpoint of FastAPI or Starlette: `return AgentResponse(agent.stream_async(prompt))`.

    It enters the stream, listens for the disconnect itself, and has ended the run and cleaned up when the client is
    gone; a run that is detached goes on. It needs no server of becket's around it.

    Args:
        stream: The run.
        wire: The format: `text`, `events`, or a wire such as `runtime.wires.find("agui")`.
        body: What the wire has read: an instance of its `request_model`. The two that are named need none.
        accept: The request's `Accept` header.
        heartbeat: Seconds of silence after which something is sent that keeps the connection open; None for never.
        headers: Headers besides those of the format.
        background: What runs once the answer was sent.

    Raises:
        ConfigError: There is no such wire.
        RequestError: The client accepts none of the wire's forms.
    """

    def __init__(
        self,
        stream: AgentStream[Any],
        wire: Wire | str = "events",
        *,
        body: Any = None,
        accept: str = "",
        heartbeat: float | None = 15.0,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | None = None,
    ) -> None:
        encoder = _found(wire).open(body, stream.info, accept=accept)
        self._answer = EventResponse(stream, encoder, heartbeat=heartbeat, headers={RUN_ID: stream.run_id})
        self.status_code = encoder.status
        self.background = background
        self.body = b""
        self.init_headers(headers)
        del self.headers["content-length"]

    @property
    def parked(self) -> bool:
        """Whether the answer has ended before the run, which waits for a decision; its stream can be read on."""
        return self._answer.parked

    @property
    def gone(self) -> bool:
        """Whether the client went away before the end."""
        return self._answer.gone

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request; see `becket.asgi.EventResponse`."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self.raw_headers]
            await send(message)

        await self._answer(scope, receive, sent)
        if self.background is not None:
            await self.background()


def _found(wire: Wire | str) -> Wire:
    if not isinstance(wire, str):
        if isinstance(wire, SocketWire) or not isinstance(wire, Wire):
            raise ConfigError(
                f"wire is {wire!r}; it takes 'text', 'events', or an object with what becket.wires.Wire has"
            )
        return wire
    own = {one.name: one for one in own_wires()}
    if wire not in own:
        raise ConfigError(
            f"wire is {wire!r}; by name it takes {' and '.join(map(repr, own))}, others as objects: "
            f"runtime.wires.find({wire!r})"
        )
    return own[wire]


class RunResponse(EventResponse):
    """The answer of the server's own routes: it lets go of its run when it is over.

    Args:
        run: The run; its reader is this answer.
        encoder: As for `EventResponse`.
        heartbeat: As for `EventResponse`.
    """

    def __init__(self, run: Run, encoder: Any, *, heartbeat: float | None) -> None:
        super().__init__(run.stream, encoder, heartbeat=heartbeat, headers={RUN_ID: run.info.run_id})
        self._run = run

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        try:
            await super().__call__(scope, receive, send)
        except EventsDropped as error:  # of a detached run, which waits for nobody to go on with its answer
            raise RequestError.events_dropped(error, last=self._run.last) from error
        finally:
            await self._run.leave(parked=self.parked)
