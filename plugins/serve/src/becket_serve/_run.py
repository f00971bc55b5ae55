"""One run of a server: who reads it, what it waits for, and what becomes of it when nobody comes back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio.lowlevel import checkpoint
from becket import ConfigError, DecisionMade, DecisionRequested, Edit, EventsDropped, RequestError

if TYPE_CHECKING:
    from becket import AgentStream, Event, RunInfo
    from becket.policies import Answer

__all__ = ["Run"]

_HAND_OVER: Final = 5.0
"""Seconds that an answer which has ended has for letting go of its run."""

_LAPSED: Final = "the time limit"
"""Who has decided where nobody did."""


class Run:
    """One run of a client. Observes it, so that what it waits for is known without reading its stream.

    Attributes:
        stream: The run.
        client: Whose it is.
        detached: Whether it goes on without its client.
        info: The run as its client knows it: with the client's own name for the session.
        cancelled: Whether its client has asked for its end.
        open: The requests that wait for a decision.
        last: The `seq` of its last event, 0 where it has not begun.
        ended: When it was over, by the monotonic clock; None where it goes on.
    """

    __slots__ = (
        "_adrift",
        "_reader",
        "_waits",
        "cancelled",
        "client",
        "detached",
        "ended",
        "info",
        "last",
        "open",
        "stream",
    )

    def __init__(self, stream: AgentStream[Any], client: str, info: RunInfo, *, detached: bool) -> None:
        self.stream = stream
        self.client = client
        self.detached = detached
        self.info = info
        self.cancelled = False
        self.open: set[str] = set()
        self.last = 0
        self.ended: float | None = None
        self._reader: anyio.Event | None = None
        self._waits = False
        self._adrift = False

    # -- what it is shown as a sink --------------------------------------------------------------------------------

    def emit(self, event: Event, /) -> None:
        """Note what is open now."""
        self.last = event.seq
        if isinstance(event, DecisionRequested):
            if event.asked_of == "reader":
                self.open.add(event.request_id)
        elif isinstance(event, DecisionMade):
            self.open.discard(event.request_id)
            if self._waits and event.by == _LAPSED:
                self.stream.cancel()  # nobody has come back in time
            elif self._waits:
                self._waits, self._adrift = False, True  # decided on its stream, as over a socket
        if self._adrift:
            self._let_go_on()

    def close(self) -> None:
        """It is over."""
        self.ended = time.monotonic()

    # -- its reader ------------------------------------------------------------------------------------------------

    @property
    def goes_on(self) -> bool:
        """Whether it is not over."""
        return not self.stream.done

    @property
    def is_parked(self) -> bool:
        """Whether it waits for a client to come back with a decision."""
        return self._waits and self.goes_on

    def held(self) -> None:
        """Somebody reads its stream who was there when it was made."""
        self._reader = anyio.Event()

    async def take(self) -> None:
        """Become the one reader of its stream.

        Raises:
            RequestError: Another answer is still being given, or it has gone on without one, status 409.
        """
        with anyio.move_on_after(_HAND_OVER):
            while self._reader is not None:  # a client may have read the end of an answer before its server has
                await self._reader.wait()
        if self._reader is not None or self._adrift:
            raise RequestError(
                f"the run {self.info.run_id} has another reader, or has gone on without one; decide with POST "
                f"/runs/{self.info.run_id}/decisions, or read what it does at GET /runs/{self.info.run_id}/events",
                status=409,
                code="run_is_read",
            )
        self.held()
        self._waits = False

    async def leave(self, *, parked: bool) -> None:
        """Read no more.

        Args:
            parked: Whether another request is to go on with it.
        """
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.set()
        if parked and self.open:
            self._waits = not (self._adrift or self.detached)
        elif parked and self._adrift:
            self._let_go_on()
        elif parked:
            await self.stream.aclose()
        if self.stream.done and self.ended is None:  # it never began
            self.ended = time.monotonic()

    def cancel(self) -> None:
        """End it, as its client wants."""
        self.cancelled = True
        self.stream.cancel()

    async def end(self) -> None:
        """End it since the server is being stopped. One that has not begun, whose client does not read, never will."""
        self.stream.cancel()
        await checkpoint()  # one that is just beginning tells its client that it is cancelled
        if not self.last:
            await self.stream.aclose()

    async def decide(self, request_id: str, answer: Answer) -> None:
        """Answer what it asks.

        Raises:
            RequestError: It does not ask that (any more), status 409; or the answer is none, status 422.
        """
        if request_id not in self.open:
            raise RequestError.unknown_decision(request_id)
        try:
            await self.stream.decide(request_id, answer)
        except ConfigError as error:
            if isinstance(answer, Edit) and request_id in self.open:
                raise RequestError(str(error), status=422, code="invalid_decision") from error
            raise RequestError.unknown_decision(request_id) from error
        self.open.discard(request_id)

    async def decide_aside(self, request_id: str, answer: Answer) -> None:
        """The same, beside the answer that the run was started for. If that has ended, nobody reads the stream now."""
        await self.decide(request_id, answer)
        if self._reader is None:
            self._waits, self._adrift = False, True
            self._let_go_on()

    def _let_go_on(self) -> None:
        """Take what its reader will not come back for: the log has it. A run that is detached waits for no reader."""
        if not self.detached:
            self.stream.ready()

    async def over(self) -> None:
        """Wait until it is over."""
        while self.goes_on:
            try:
                reader = self.stream.follow(self.last)
                while await reader.read():
                    pass
            except EventsDropped:  # it was faster
                continue
            return
