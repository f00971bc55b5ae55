"""Worker threads for sync tools, under a limiter that counts a thread until it has really ended."""

from __future__ import annotations

import math
import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar

import anyio
from anyio import to_thread
from anyio.lowlevel import RunVar

from becket._backend import Backend, current_backend
from becket._log import logger

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["WorkerThreads"]

T = TypeVar("T")

_unlimited: RunVar[anyio.CapacityLimiter] = RunVar("becket_unlimited")


class WorkerThreads:
    """Runs functions in threads, at most `total` at a time, whichever event loops they are called from.

    anyio's own limiter, on asyncio, gives the place of an abandoned thread away at once: a tool that hangs would leave
    behind a thread for each call. Here an abandoned thread keeps its place until it ends.
    """

    def __init__(self, total: int = 40) -> None:
        self._lock = threading.Lock()
        self._free = total
        self._waiting: deque[tuple[Backend, anyio.Event]] = deque()
        self._abandoned: dict[int, str] = {}

    @property
    def abandoned(self) -> list[str]:
        """The names of what was abandoned and has not ended."""
        with self._lock:
            return list(self._abandoned.values())

    async def run(self, name: str, function: Callable[[], T]) -> T:
        """Call `function` in a thread, with the caller's context copied.

        A cancellation abandons the thread at once, says so in the log, and drops what it will return or raise.
        """
        await self._acquire()
        call = _Call(function, self._release)
        try:
            outcome = await to_thread.run_sync(call.run, abandon_on_cancel=True, limiter=_no_limit())
        except BaseException:
            if call.abandon():
                with self._lock:
                    self._abandoned[id(call)] = name
                call.when_ended(lambda: self._forget(id(call)))
                logger.warning("%s did not end when it was cancelled; its thread is left to itself", name)
            raise
        return outcome()

    def _forget(self, key: int) -> None:
        with self._lock:
            self._abandoned.pop(key, None)

    async def _acquire(self) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            place = (current_backend(), anyio.Event())
            self._waiting.append(place)
        try:
            await place[1].wait()
        except BaseException:
            with self._lock:
                if place in self._waiting:
                    self._waiting.remove(place)
                    raise
            self._release()  # the place was handed over while the wait was being cancelled
            raise

    def _release(self) -> None:
        """Hand the place to the one that has waited longest. Called in any thread."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._free += 1
                    return
                backend, granted = self._waiting.popleft()
            if backend.post(granted.set):
                return


class _Call(Generic[T]):
    """One function on its way through a thread; gives its place back exactly once, however it ends."""

    def __init__(self, function: Callable[[], T], release: Callable[[], None]) -> None:
        self._function = function
        self._release = release
        self._lock = threading.Lock()
        self._state = "waiting"
        self._ended: Callable[[], None] | None = None

    def run(self) -> Callable[[], T]:
        """What returns or raises the outcome.

        Out of the thread itself nothing is raised, and no coroutine returned: the event loops treat a StopIteration, a
        GeneratorExit and a coroutine each in their own way.
        """
        with self._lock:
            if self._state == "dropped":
                return _raises(RuntimeError("the caller has gone before the call began"))
            self._state = "running"
        try:
            return _returns(self._function())
        except BaseException as error:  # noqa: BLE001  raised again in the caller
            return _raises(error)
        finally:
            with self._lock:
                self._state = "ended"
                ended = self._ended
            self._release()
            if ended is not None:
                ended()

    def abandon(self) -> bool:
        """The caller goes away. Whether the function is still running."""
        with self._lock:
            if self._state != "waiting":
                return self._state == "running"
            self._state = "dropped"
        self._release()
        return False

    def when_ended(self, callback: Callable[[], None]) -> None:
        with self._lock:
            if self._state == "running":
                self._ended = callback
                return
        callback()


def _returns(value: T) -> Callable[[], T]:
    return lambda: value


def _raises(error: BaseException) -> Callable[[], NoReturn]:
    def outcome() -> NoReturn:
        nonlocal error
        try:
            raise error
        finally:
            del error  # its traceback holds this frame

    return outcome


def _no_limit() -> anyio.CapacityLimiter:
    """A limiter that never holds up: anyio asks for one, and the places are counted here. One per event loop."""
    try:
        return _unlimited.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(math.inf)
        _unlimited.set(limiter)
        return limiter
