"""A client in memory of a wire that goes both ways, and the runs of a server without one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import anyio

from becket.errors import RequestError
from becket.log import MemoryLog
from becket.testing._contract import must
from becket.wires import SocketClosed

if TYPE_CHECKING:
    from collections.abc import Callable

    from becket.agent import Agent
    from becket.stream import AgentStream
    from becket.wires import RunRequest

__all__ = ["Client", "Host"]

_KEPT = 1000


class Host:
    """The runs of one client, as a server has them; see `becket.wires.RunHost`.

    Args:
        agent: What is run.

    Attributes:
        refusal: What `start` raises, where it is to refuse.
        asks: What each run was started with: whether its client can be asked.
        streams: The runs, in their order.
    """

    def __init__(self, agent: Agent) -> None:
        self.refusal: RequestError | None = None
        self.asks: list[bool] = []
        self.streams: list[AgentStream[Any]] = []
        self._agent = agent

    def start(self, request: RunRequest, /, *, asks: bool) -> AgentStream[Any]:
        """A run; it is asked about only where its client can be."""
        if self.refusal is not None:
            raise self.refusal
        agent = self._agent if asks else self._agent.replace(approver=None)
        log = MemoryLog(_KEPT)
        if request.session_id is None:
            stream = agent.stream_async(request.prompt, history=request.history, detach=request.detach, log=log)
        else:
            session = agent.session(f"conformance/{request.session_id}")
            stream = session.stream_async(request.prompt, detach=request.detach, log=log)
        self.asks.append(asks)
        self.streams.append(stream)
        return stream

    def find(self, run_id: str, /) -> AgentStream[Any]:
        """A run that was started."""
        for stream in self.streams:
            if stream.run_id == run_id:
                return stream
        raise RequestError("there is no run of this id", status=404, code="unknown_run")

    def cancel(self) -> None:
        """What a server does as soon as its client has gone, whatever the wire waits for."""
        for stream in self.streams:
            stream.cancel()

    async def leave(self) -> None:
        """What it does once the wire has ended."""
        for stream in self.streams:
            await stream.aclose()


class Client:
    """A client, seen from both ends.

    Args:
        room: Messages that the wire can send before somebody reads.
        patience: Seconds in which something must come.

    Attributes:
        heard: What was read so far.
        wrong: What the wire has done that no socket allows; empty for nothing.
    """

    def __init__(self, room: float = math.inf, patience: float = 10.0) -> None:
        self.heard: list[str | bytes] = []
        self.wrong = ""
        self._patience = patience
        self._sending = False
        self._to_wire, self._from_client = anyio.create_memory_object_stream[str | bytes](math.inf)
        self._to_client, self._from_wire = anyio.create_memory_object_stream[str | bytes](room)

    # -- the socket, see `becket.wires.Socket` -------------------------------------------------------------------------

    async def receive(self) -> str | bytes:
        """The next message."""
        try:
            return await self._from_client.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            raise SocketClosed from None

    async def send(self, message: str | bytes, /) -> None:
        """Send a message."""
        self._look_at(message)
        self._sending = True
        try:
            await self._to_client.send(message)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise SocketClosed from None
        finally:
            self._sending = False

    async def close(self, code: int = 1000, reason: str = "") -> None:  # noqa: ARG002  a socket's own
        """Close it."""
        self.leave()

    def _look_at(self, message: object) -> None:
        if self._sending:
            self.wrong = "two tasks send at the same time: let each wait for the other, with an anyio.Lock"
        if not isinstance(message, str | bytes):
            self.wrong = f"send takes a text, or bytes of one, and not {message!r}"
        elif isinstance(message, bytes):
            try:
                message.decode()
            except UnicodeDecodeError:
                self.wrong = f"what is sent is UTF-8, and not {message!r}"

    # -- the client ----------------------------------------------------------------------------------------------------

    def say(self, *messages: str | bytes) -> None:
        """Send messages."""
        for message in messages:
            self._to_wire.send_nowait(message)

    async def hear(self, holds: Callable[[], bool], what: str) -> None:
        """Read on until `holds` says so.

        Raises:
            AssertionError: It never does.
        """
        while not self._holds(holds):
            last = f"the last of {len(self.heard)} messages was {self.heard[-1]!r}" if self.heard else "nothing came"
            try:
                with anyio.fail_after(self._patience):
                    self.heard.append(await self._from_wire.receive())
            except TimeoutError:
                raise AssertionError(f"{what}; no more came within {self._patience:g} s, and {last}") from None
            except (anyio.EndOfStream, anyio.ClosedResourceError):
                must(not self.wrong, self.wrong)
                raise AssertionError(f"{what}; the wire has ended the conversation, and {last}") from None

    def _holds(self, holds: Callable[[], bool]) -> bool:
        must(not self.wrong, self.wrong)
        return holds()

    def leave(self) -> None:
        """Go away."""
        self._to_wire.close()
        self._from_wire.close()

    def free(self) -> None:
        """The wire has ended the conversation."""
        self._from_client.close()
        self._to_client.close()
