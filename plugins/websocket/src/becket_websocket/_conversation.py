"""One connection: what its client says is done, and the events of each of its runs are passed on by a task."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import anyio
from becket import ConfigError, EventsDropped, RequestError, RunStarted
from becket.wires import RunRequest, SocketClosed

from becket_websocket._messages import Cancel, Decide, Ping, Resume, Start, about, problem, read, said

if TYPE_CHECKING:
    from logging import Logger
    from typing import Any, TypeAlias

    from anyio.abc import TaskGroup
    from becket import AgentStream, Event, LogReader
    from becket.wires import RunHost, Socket

    from becket_websocket._messages import Said

    Reader: TypeAlias = AgentStream[Any] | LogReader

__all__ = ["Conversation"]

_BATCH: Final = 64
"""Events of one run that are sent before another run has its turn, at most."""


class Conversation:
    """Talks with one client.

    Args:
        socket: The client.
        runs: Its runs.
    """

    def __init__(self, socket: Socket, runs: RunHost) -> None:
        self._socket = socket
        self._runs = runs
        self._sending = anyio.Lock()  # nothing says that a socket can be written to by several tasks at a time
        self._followed: set[str] = set()
        self._cancelled: set[str] = set()
        self._tasks: TaskGroup

    async def hold(self) -> None:
        """Talk until the client goes away.

        Raises:
            SocketClosed: It has gone.
        """
        async with anyio.create_task_group() as self._tasks:
            with suppress(SocketClosed):
                while True:
                    await self._hear(await self._socket.receive())
            self._tasks.cancel_scope.cancel()
        raise SocketClosed

    # -- what the client says --------------------------------------------------------------------------------------

    async def _hear(self, message: str | bytes) -> None:
        try:
            await self._do(read(message))
        except RequestError as error:
            await self._send(problem(error, about(message)))

    async def _do(self, message: Said) -> None:
        """Do what is said.

        Raises:
            RequestError: It cannot be done.
        """
        match message:
            case Start():
                await self._start(message)
            case Cancel():
                self._cancel(message)
            case Decide():
                await self._decide(message)
            case Resume():
                self._resume(message)
            case Ping():
                await self._send(said("pong"))

    async def _start(self, message: Start) -> None:
        request = RunRequest(
            prompt=message.prompt, agent=message.agent, session_id=message.session_id, detach=message.detach
        )
        stream = self._runs.start(request, asks=True)
        await self._send(said("started", id=message.id, run_id=stream.run_id))
        self._follow(stream.run_id, stream, message.session_id)

    def _cancel(self, message: Cancel) -> None:
        stream = self._runs.find(message.run_id)
        if stream.done:
            raise RequestError(f"the run {message.run_id} is over already", status=409, code="run_over")
        if message.run_id in self._cancelled:
            raise RequestError(
                f"the run {message.run_id} is being cancelled already", status=409, code="already_cancelled"
            )
        self._cancelled.add(message.run_id)
        stream.cancel()

    async def _decide(self, message: Decide) -> None:
        stream = self._runs.find(message.run_id)
        try:
            await stream.decide(message.request_id, message.answer())
        except ConfigError as error:
            raise RequestError.unknown_decision(message.request_id) from error

    def _resume(self, message: Resume) -> None:
        run_id, after = message.run_id, message.after
        stream = self._runs.find(run_id)
        if run_id in self._followed:
            raise RequestError(
                f"the events of the run {run_id} come on this connection already", status=409, code="already_followed"
            )
        if _is_ahead(stream, after):
            raise RequestError(
                f"the run {run_id} has had no event {after} so far; that is one of another run",
                status=409,
                code="unknown_event",
            )
        try:
            reader = stream.follow(after)
        except EventsDropped as error:
            raise RequestError.events_dropped(error) from error
        self._follow(run_id, reader, None)

    # -- what is said to it ----------------------------------------------------------------------------------------

    def _follow(self, run_id: str, reader: Reader, session_id: str | None) -> None:
        self._followed.add(run_id)
        self._tasks.start_soon(self._pass_on, run_id, reader, session_id, name=f"becket-websocket {run_id}")

    async def _pass_on(self, run_id: str, reader: Reader, session_id: str | None) -> None:
        """The task of one run: send its events until there are no more."""
        end = said("ended", run_id=run_id)
        try:
            try:
                await self._send_all(run_id, reader, session_id)
            except RequestError as error:
                end = problem(error, {"run_id": run_id})
            self._followed.discard(run_id)  # before the client knows, who may say what comes next at once
            await self._send(end)
        except SocketClosed:
            self._tasks.cancel_scope.cancel()

    async def _send_all(self, run_id: str, reader: Reader, session_id: str | None) -> None:
        """Send the events.

        Raises:
            RequestError: They could not be read to the end.
        """
        begun = False
        try:
            while events := await reader.read(_BATCH):
                begun = True
                await self._send_events(run_id, events, session_id)
        except SocketClosed:
            raise
        except EventsDropped as error:
            raise RequestError.events_dropped(error) from error
        except Exception as error:  # what has ended the run: `run_failed` has told it
            if not begun:
                _logger().exception("the run %s could not begin", run_id)
                raise RequestError(
                    "the server has failed at this run; its log says why", status=500, code="internal_error"
                ) from error
            _logger().info("the run %s has failed: %s: %s", run_id, type(error).__name__, error)

    async def _send_events(self, run_id: str, events: list[Event], session_id: str | None) -> None:
        head = b'{"type":"event","run_id":"%b","event":' % run_id.encode()
        async with self._sending:
            for event in events:
                if type(event) is RunStarted and event.run_id == run_id and event.session_id != session_id:
                    # a server has names of its own for the sessions of its clients
                    told: Event = dataclasses.replace(event, session_id=session_id)
                else:
                    told = event
                await self._socket.send(b"%b%b}" % (head, told.to_json()))

    async def _send(self, message: bytes) -> None:
        async with self._sending:
            await self._socket.send(message)


def _is_ahead(stream: AgentStream[Any], after: int) -> bool:
    """Whether the run has not had the event `after` yet."""
    if after == 0:
        return False
    try:
        return not stream.follow(after - 1).ready(1)
    except EventsDropped:
        return False


def _logger() -> Logger:
    """Where a host looks for it."""
    import logging

    return logging.getLogger("becket.websocket")
