"""The routes of a server: those of the wires, and its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from becket import EventsDropped, RequestError
from becket.asgi import EventResponse
from becket.wires import RunRequest
from pydantic_core import to_json
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from becket_serve._bodies import read_body
from becket_serve._gate import CLIENT, RUN_ID
from becket_serve._problems import problem
from becket_serve._response import RunResponse
from becket_serve._wires import events_encoder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from becket import LogReader
    from becket.asgi import Receive, Scope, Send
    from becket.wires import Encoder, Wire
    from pydantic import TypeAdapter
    from starlette.requests import Request

    from becket_serve._run import Run
    from becket_serve._runs import Runs

__all__ = ["Routes", "json_response"]


class Routes:
    """What answers requests, but for those that are about no run.

    Args:
        runs: The runs.
    """

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    def wire(self, wire: Wire, adapter: TypeAdapter[Any]) -> Callable[[Request], Awaitable[Any]]:
        """What answers the requests of one wire: a new run, or the one that has asked something."""

        async def endpoint(request: Request) -> Any:
            try:
                body = await read_body(request, adapter, self._runs.limits.body_bytes)
                return await self._run_of(wire, body, request)
            except RequestError as error:
                return problem(error, wire)
            except ClientDisconnect:
                return _nobody

        return endpoint

    async def _run_of(self, wire: Wire, body: Any, request: Request) -> RunResponse:
        client, accept = request.scope[CLIENT], request.headers.get("accept", "")
        wanted = wire.read(body)
        if not isinstance(wanted, RunRequest):
            raise TypeError(f"the wire {wire.name!r} has read {wanted!r}, which is no RunRequest")
        heartbeat = self._runs.limits.heartbeat
        if wanted.answers:
            run = self._runs.asking(client, wanted.answers)
            encoder = wire.open(body, run.info, accept=accept)
            await self._resume(run, wanted)
            return RunResponse(run, encoder, heartbeat=heartbeat)
        run = self._runs.start(client, wanted, asks=wire.asks)
        try:
            encoder = wire.open(body, run.info, accept=accept)
        except BaseException:
            self._runs.forget(run)
            raise
        run.held()
        return RunResponse(run, encoder, heartbeat=heartbeat)

    @staticmethod
    async def _resume(run: Run, wanted: RunRequest) -> None:
        await run.take()
        try:
            for request_id, answer in wanted.answers.items():
                await run.decide(request_id, answer)
        except BaseException:
            await run.leave(parked=True)
            raise

    # -- one run ---------------------------------------------------------------------------------------------------

    async def events(self, request: Request) -> Any:
        """The events of a run: those after the last one that was seen, then those that come."""
        run = self._found(request)
        after = _after(request, run)
        encoder = events_encoder(request.headers.get("accept", ""), run.info)
        if after == run.last and not run.goes_on:
            # Which also tells a browser's EventSource to stop coming back.
            return Response(status_code=204, headers={"cache-control": "no-store"})
        try:
            reader = run.stream.follow(after)
            reader.check()
        except EventsDropped as error:
            raise RequestError.events_dropped(error, last=run.last) from error
        if request.method == "HEAD":
            return Response(headers={"content-type": encoder.media_type, **encoder.headers})
        return _Followed(self._runs, run, reader, encoder)

    async def cancel(self, request: Request) -> Response:
        """End a run with the stop reason `cancelled`."""
        run = self._found(request)
        if run.cancelled or not run.goes_on:
            code, what = ("already_cancelled", "is being cancelled") if run.goes_on else ("run_over", "is over")
            raise RequestError(f"the run {run.info.run_id} {what} already", status=409, code=code)
        run.cancel()
        return json_response({"run_id": run.info.run_id, "status": "cancelling"}, 202)

    def decisions(self, adapter: TypeAdapter[Any]) -> Callable[[Request], Awaitable[Response]]:
        """What takes the answers to what runs ask."""

        async def endpoint(request: Request) -> Response:
            run = self._found(request)
            body = await read_body(request, adapter, self._runs.limits.body_bytes)
            await run.decide_aside(body.request_id, body.answer())
            said = {"run_id": run.info.run_id, "request_id": body.request_id, "outcome": body.outcome}
            return json_response(said, 202)

        return endpoint

    def _found(self, request: Request) -> Run:
        return self._runs.find(request.scope[CLIENT], request.path_params["run_id"])


class _Followed(EventResponse):
    """The events of a run, for a reader who may be slower than they are kept.

    Args:
        runs: All runs.
        run: The run.
        reader: Reads its log.
        encoder: As for `EventResponse`.
    """

    def __init__(self, runs: Runs, run: Run, reader: LogReader, encoder: Encoder) -> None:
        super().__init__(reader, encoder, heartbeat=runs.limits.heartbeat, headers={RUN_ID: run.info.run_id})
        self._runs = runs
        self._run = run

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request. Where the answer has begun, it ends where the reader has not kept up."""
        try:
            with self._runs.one_reader():
                await super().__call__(scope, receive, send)
        except EventsDropped as error:  # before the first one was read
            raise RequestError.events_dropped(error, last=self._run.last) from error


def _after(request: Request, run: Run) -> int:
    """The `seq` of the last event that the client has seen.

    Raises:
        RequestError: It is none, or none of this run's.
    """
    given = request.headers.get("last-event-id") or request.query_params.get("after") or "0"
    if not (given.isascii() and given.isdecimal()) or len(given) > _DIGITS:
        raise RequestError(
            f"the last event is said to be {given[:100]!r}; it is the `seq` of one, a whole number",
            status=422,
            code="invalid_event_id",
        )
    after = int(given)
    if after > run.last:
        raise RequestError(
            f"the run {run.info.run_id} has had {run.last} events so far, and none {after}; that is one of another run",
            status=409,
            code="unknown_event",
            members={"last": run.last},
        )
    return after


_DIGITS = 15
"""More than any run has events; Python limits how long a number it reads."""


async def _nobody(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a client who has gone before it had asked: not at all."""


def json_response(content: Any, status: int = 200) -> Response:
    """JSON."""
    return Response(to_json(content), status, media_type="application/json")
