"""A process whose children write journals until somebody kills them. Forked, so that a hundred cost two seconds.

Each line on standard input is `backend fsync limit path`. The answer on standard output is a line each, in any order:
`pid` with the child's number, and `seq` with that of each event that the child has acknowledged; then `end`, when it is
dead. With a limit above 0, a write past so many bytes of the file is cut short there, and the next one kills the child.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import sys
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import becket
import pydantic  # noqa: F401  imported before the forks
import trio  # noqa: F401  as pydantic
from anyio._backends import _asyncio, _trio  # noqa: F401  as pydantic
from becket import Agent, ModelFinished, Runtime, TextDelta
from becket.testing import ScriptedProvider
from becket_journal import JournalSink

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from becket import BatchSinkRun, Event, ModelRequest, RunInfo, SinkRun


def steps(request: ModelRequest) -> Iterator[TextDelta | ModelFinished]:
    """More than anybody waits for; some of several pages."""
    del request
    chance = random.Random(os.getpid())  # noqa: S311  no secret
    for number in range(100_000):
        yield TextDelta("x" * chance.randint(0, 50_000) if number % 8 == 0 else f"word {number} ")
    yield ModelFinished("end_turn")


class Acknowledging:
    """The journal, with a word on standard output for each batch whose `emit_batch` has returned."""

    name = "journal"
    required = True

    def __init__(self, path: str, fsync: str) -> None:
        self._sink = JournalSink(path, fsync=fsync, required=True)

    def with_argument(self, argument: str, /) -> Acknowledging:
        raise NotImplementedError(argument)

    def open(self, run: RunInfo, /) -> SinkRun | BatchSinkRun:
        observer = self._sink.open(run)
        if hasattr(observer, "emit"):
            return observer
        write = observer.emit_batch

        async def emit_batch(events: Sequence[Event]) -> None:
            await write(events)
            acknowledge(events[-1])

        observer.emit_batch = emit_batch
        return observer


def acknowledge(event: Event) -> None:
    os.write(1, f"seq {event.seq}\n".encode())


async def main(path: str, fsync: str, limit: int) -> None:
    if limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    agent = Agent(ScriptedProvider(steps), sinks=[Acknowledging(path, fsync)], runtime=Runtime(discover=False))
    async with agent.stream_async("go on") as events:
        async for event in events:
            if fsync == "never":
                acknowledge(event)  # the reader has it, so the journal must


def serve() -> None:
    becket.warm_up()
    for line in sys.stdin:
        backend, fsync, limit, path = line.split(maxsplit=3)
        child = os.fork()
        if child == 0:
            try:
                anyio.run(main, path.strip(), fsync, int(limit), backend=backend)
            finally:
                os._exit(1)
        os.write(1, f"pid {child}\n".encode())
        os.waitpid(child, 0)
        os.write(1, b"end\n")


if __name__ == "__main__":
    serve()
