"""The bounded buffer between a run and its reader, and where those wait who read the log."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import anyio
from anyio.lowlevel import checkpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from becket._backend import Gate
    from becket.events import Event

__all__ = ["LIMIT", "Buffer", "NoBuffer"]

LIMIT: Final = 256
"""Events between a run and its reader. 64 to 1024 measured alike, but at 1024 other tasks waited 13 to 20 ms."""


class Buffer:
    """Events that the run has emitted and the reader has not taken.

    Events that are ready together are taken together: the reader is woken by the first, and finds the others there.

    Attributes:
        items: The events.
        closed: Whether nothing more will come.
        gate: Where the reader waits; set when the run starts, since it belongs to an event loop.
    """

    __slots__ = ("_asleep", "_followers", "_limit", "_reading", "_room", "closed", "gate", "items")

    gate: Gate

    def __init__(self, limit: int = LIMIT) -> None:
        self.items: deque[Event] = deque()
        self.closed = False
        self._limit = limit
        self._reading = False
        self._asleep = False
        self._followers: list[Gate] = []
        self._room: anyio.Event | None = None

    def put(self, event: Event) -> bool:
        """Append `event`. False where the buffer is full now, or nobody reads; the writer should then wait for `room`.

        `room` waits for nothing where nobody reads, but it is a checkpoint: there a cancellation arrives.
        """
        if self._asleep:
            self._wake()
        if self.closed:
            return False
        items = self.items
        items.append(event)
        return len(items) < self._limit

    def _wake(self) -> None:
        """Let those go on who wait for an event. It will be there: they run once the writer waits for something."""
        self._asleep = False
        if self._reading:
            self.gate.open()
        for gate in self._followers:
            gate.open()

    async def wait(self) -> None:
        """Wait until there is an event, or the buffer is closed.

        Raises:
            RuntimeError: Another task is waiting already.
        """
        if self._reading:
            raise RuntimeError(
                "another task is reading this stream already; give each reader a stream of its own, or pass on events"
            )
        self._reading = True
        try:
            while not self.items and not self.closed:
                self._asleep = True
                await self.gate.wait()
        finally:
            self._reading = False

    async def follow(self, gate: Gate) -> None:
        """Wait until there is another event in the log, or the run is over; at a gate of the caller's own."""
        self._followers.append(gate)
        self._asleep = True
        try:
            await gate.wait()
        finally:
            self._followers.remove(gate)

    def put_back(self, events: Sequence[Event]) -> None:
        """Events that were taken last and are to be taken again; they may be more than the bound."""
        self.items.extendleft(reversed(events))

    def taken(self) -> None:
        """The reader has taken an event; lets the writers go on once half of the buffer is free."""
        if self._room is not None and len(self.items) * 2 <= self._limit:
            self._room.set()
            self._room = None

    async def room(self) -> None:
        """Wait until the buffer has room; a checkpoint in any case."""
        await checkpoint()
        while len(self.items) >= self._limit and not self.closed:
            if self._room is None:
                self._room = anyio.Event()
            await self._room.wait()

    def drop(self) -> None:
        """Nobody reads any more: forget what is there, and hold up nobody."""
        self.items.clear()
        self.close()

    def close(self) -> None:
        """Nothing more will come. What is there can still be taken."""
        self.closed = True
        self._wake()
        if self._room is not None:
            self._room.set()
            self._room = None


class NoBuffer(Buffer):
    """Of a run that does not depend on its reader: that one reads the log."""

    __slots__ = ("_count",)

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def put(self, event: Event) -> bool:  # noqa: ARG002  the log has it
        """False now and then: a run that waits for nothing must let its readers run, and `room` is a checkpoint."""
        if self._asleep:
            self._wake()
        self._count += 1
        return self._count % _TURN != 0 and not self.closed


_TURN: Final = 64
"""Events after which a run without a buffer lets others run: a quarter of what the shortest log keeps by default."""
