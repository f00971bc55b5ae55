"""The worker process as the parent sees it: started at first use, one request at a time, killed with its run.

The process belongs to no event loop: pipes are read in worker threads. So one process, of about 100 MB, serves every
loop that a program has, and nothing of it is left over when a loop ends. Per loop are only a lock and a thread limiter.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyio import CancelScope, CapacityLimiter, Lock, to_thread
from anyio.lowlevel import RunVar
from becket import ProviderError

from becket_local._worker import PRIVACY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

__all__ = ["Engine", "Turn"]

# By path, since a package would import becket into the worker as well. -P: the working directory is not searched, where
# a `needle.py` would be taken for the engine.
COMMAND = (sys.executable, "-P", str(Path(__file__).with_name("_worker.py")))


class WorkerProcess:
    """A running worker. `ask` blocks, and `kill` from another thread ends it.

    Attributes:
        pid: Its process id.
        owner: The process that started it; a fork of that one must leave it alone.
        tools: The tools that it was last given, as JSON.

    Raises:
        ProviderError: The system cannot start it.
    """

    def __init__(self, command: Sequence[str]) -> None:
        try:
            self._popen = subprocess.Popen(  # noqa: S603 -- our own interpreter and file
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # the engine's own chatter; its errors come as answers
                env={**os.environ, **PRIVACY},
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            raise ProviderError(
                f"the local model's worker process could not be started with {command[0]!r}: {error}", provider="local"
            ) from error
        self.pid = self._popen.pid
        self.owner = os.getpid()
        self.tools: str | None = None
        self._ending = False
        self._end = weakref.finalize(self, _end, self._popen, self.owner)  # at exit too

    def ask(self, request: dict[str, Any]) -> Any:
        """Send a request and wait for the answer.

        Raises:
            ProviderError: The worker ended, or reports an error.
        """
        stdin, stdout = self._popen.stdin, self._popen.stdout
        assert stdin is not None  # noqa: S101 -- for the type checker
        assert stdout is not None  # noqa: S101
        line = b""
        with contextlib.suppress(OSError, ValueError):  # ended before or meanwhile: the line stays empty
            stdin.write(json.dumps(request).encode() + b"\n")
            stdin.flush()
            line = stdout.readline()
        if not line.endswith(b"\n"):
            raise self._ended()
        answer = json.loads(line)
        if "error" in answer:
            raise ProviderError(f"the local model could not answer: {answer['error']}", provider="local")
        return answer["response"]

    def _ended(self) -> ProviderError:
        self.end()
        return ProviderError(
            f"the local model's worker process {how_it_ended(self._popen.returncode)} before it had answered; "
            "another attempt starts a new one",
            provider="local",
            retryable=True,
        )

    @property
    def usable(self) -> bool:
        """Whether it is running, and is this process's own rather than that of the one that this was forked from.

        Never again once it is being ended: while one thread waits for the process, `poll` in another one says that it
        runs.
        """
        return not self._ending and self.owner == os.getpid() and self._popen.poll() is None

    def kill(self) -> None:
        """End it without waiting."""
        self._ending = True
        if self.owner == os.getpid():
            self._popen.kill()

    def end(self) -> None:
        """End it, and wait until nothing is left: no process, no pipe."""
        self._ending = True
        self._end()
        self._popen.wait()  # where another thread is just ending it


def _end(popen: subprocess.Popen[bytes], owner: int) -> None:
    if owner == os.getpid():
        popen.kill()
        popen.wait()
    else:  # a fork of the owner must not end what the owner still uses; it has no child to wait for either
        popen.returncode = 0
    for pipe in (popen.stdin, popen.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def how_it_ended(code: int | None) -> str:
    """A return code in words: `was killed by SIGKILL`, `ended with code 1`."""
    if code is None or code >= 0:
        return f"ended with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


class Gate:
    """Lets one through at a time, in the order of arrival, from any thread. A ticket is in line until it leaves."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._line: deque[object] = deque()

    def queue(self, ticket: object) -> bool:
        """Get in line; whether it is `ticket`'s turn already."""
        with self._changed:
            self._line.append(ticket)
            return self._line[0] is ticket

    def wait(self, ticket: object) -> None:
        """Block until it is `ticket`'s turn, or it has left."""
        with self._changed:
            self._changed.wait_for(lambda: ticket not in self._line or self._line[0] is ticket)

    def leave(self, ticket: object) -> None:
        """Let the next one through, or give up waiting."""
        with self._changed:
            self._line.remove(ticket)
            self._changed.notify_all()


@dataclass(slots=True)
class _Here:
    """What is kept per event loop.

    Attributes:
        lock: So that of each loop only one run waits at the gate, in a thread.
        limiter: Ours alone: waiting must not use up the threads that the host's tools run in. One thread asks, and
            another one ends the worker while the first is still reading.
    """

    lock: Lock
    limiter: CapacityLimiter


class Engine:
    """The one worker process of a provider."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._command = command
        self._gate = Gate()
        self._process: WorkerProcess | None = None
        self._per_loop: RunVar[_Here] = RunVar("becket_local")

    @property
    def ready(self) -> bool:
        """Whether a worker is running that has loaded the model."""
        return self._process is not None and self._process.usable

    @property
    def pid(self) -> int | None:
        """The worker's process id, or None where none is ready."""
        return self._process.pid if self._process is not None and self.ready else None

    def has_read(self, tools: str) -> bool:
        """Whether these tools are the ones that the worker was last given."""
        return self._process is not None and self._process.tools == tools

    async def load(self) -> float:
        """Start the worker and load the model, unless that is done; the seconds that it took, or was waited for.

        Raises:
            ProviderError: The worker ended early, or cannot load the model.
        """
        start = time.perf_counter()
        async with self._turn():
            if not self.ready:
                process = WorkerProcess(self._command)
                try:
                    await self._ask(process, {})
                except ProviderError:
                    await self._end(process)
                    raise
                self._process = process
        return time.perf_counter() - start

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn | None]:
        """The worker for the caller alone, or None where it is not ready: call `load` and try again."""
        async with self._turn():
            yield Turn(self, self._process) if self._process is not None and self._process.usable else None

    async def aclose(self) -> None:
        """End the worker, unless a run is using it or waiting for it. The next one to be asked for is a new one."""
        if not self._gate.queue(ticket := object()):
            self._gate.leave(ticket)
            return
        try:
            process, self._process = self._process, None
            if process is not None:
                await self._end(process)
        finally:
            self._gate.leave(ticket)

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        here = self._here()
        async with here.lock:
            ticket = object()
            first = self._gate.queue(ticket)
            try:
                if not first:  # another event loop's run has the worker
                    await to_thread.run_sync(self._gate.wait, ticket, abandon_on_cancel=True, limiter=here.limiter)
                yield
            finally:
                self._gate.leave(ticket)

    async def _ask(self, process: WorkerProcess, request: dict[str, Any]) -> Any:
        limiter = self._here().limiter
        try:
            return await to_thread.run_sync(process.ask, request, abandon_on_cancel=True, limiter=limiter)
        except ProviderError:
            raise  # the worker has ended, or goes on
        except BaseException:  # cancelled: the engine cannot be interrupted, so the worker goes, and its reader with it
            await self._end(process)
            raise

    async def _end(self, process: WorkerProcess) -> None:
        process.kill()  # now, in case that the thread has to wait
        with CancelScope(shield=True):  # short: the worker is killed, not asked
            await to_thread.run_sync(process.end, limiter=self._here().limiter)

    def _here(self) -> _Here:
        here = self._per_loop.get(None)
        if here is None:
            here = _Here(Lock(), CapacityLimiter(2))
            self._per_loop.set(here)
        return here


class Turn:
    """The worker, for as long as one cycle has it."""

    def __init__(self, engine: Engine, process: WorkerProcess) -> None:
        self._engine = engine
        self._process = process

    async def respond(self, *, run: str, system: str, tools: str, texts: list[str]) -> dict[str, Any]:
        """What the engine says to the last of `texts`; see `Conversation.respond`."""
        self._process.tools = tools
        request = {"run": run, "system": system, "tools": tools, "texts": texts}
        response: dict[str, Any] = await self._engine._ask(self._process, request)  # noqa: SLF001 -- one unit
        return response
