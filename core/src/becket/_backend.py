"""The one place that names an event loop: what anyio does not offer, for asyncio and for trio.

Three things: a gate that one task waits at without an allocation per event beyond a future; a task that belongs to no
task group; and a way in from other threads. Everything else in becket goes through anyio.
"""

from __future__ import annotations

import sys
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import anyio

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    import trio

__all__ = ["Backend", "Gate", "current_backend"]


class Gate(Protocol):
    """One task waits at it, another opens it."""

    async def wait(self) -> None:
        """Wait until the gate is opened the next time. A checkpoint; at most one task may wait."""
        ...

    def open(self) -> None:
        """Let the task that waits go on; nothing happens where none does."""
        ...


class Backend(Protocol):
    """The event loop that a run lives in."""

    def gate(self) -> Gate:
        """A new gate."""
        ...

    def spawn(self, work: Callable[[], Awaitable[None]], name: str, ended: Callable[[], None]) -> None:
        """Run `work` in a task that belongs to no task group, with a copy of the caller's context.

        `work` must let no exception out but a cancellation. `ended` is called when the task is over, also where the
        loop was closed before its first step.
        """
        ...

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` on the loop after `seconds`; calling what is returned prevents it."""
        ...

    def post(self, callback: Callable[[], None]) -> bool:
        """Call `callback` on the loop soon, from any thread. False where the loop is closed."""
        ...

    def here(self) -> bool:
        """Whether the calling code runs on this loop."""
        ...

    def cancel_pending(self) -> bool:
        """Whether the running task is being cancelled, by a scope or by the loop itself."""
        ...


class _AsyncioGate:
    __slots__ = ("_future", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        self._future = self._loop.create_future()
        try:
            await self._future
        finally:
            self._future = None

    def open(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)


class _AsyncioBackend:
    __slots__ = ("_loop",)

    # asyncio keeps only weak references to its tasks; these are the strong ones.
    _tasks: ClassVar[set[asyncio.Task[None]]] = set()

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def gate(self) -> Gate:
        return _AsyncioGate(self._loop)

    def spawn(self, work: Callable[[], Awaitable[None]], name: str, ended: Callable[[], None]) -> None:
        async def body() -> None:
            await work()

        task = self._loop.create_task(body(), name=name)
        self._tasks.add(task)

        def over(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            ended()

        task.add_done_callback(over)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Callable[[], None]:
        return self._loop.call_later(seconds, callback).cancel

    def post(self, callback: Callable[[], None]) -> bool:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:  # the loop is closed
            return False
        return True

    def here(self) -> bool:
        return _asyncio_loop() is self._loop

    def cancel_pending(self) -> bool:
        import asyncio

        task = asyncio.current_task()
        natively = task is not None and task.cancelling() > 0
        return natively or anyio.current_effective_deadline() == float("-inf")


class _TrioGate:
    __slots__ = ("_aborted", "_current", "_reschedule", "_task", "_wait")

    def __init__(self) -> None:
        from trio.lowlevel import Abort, current_task, reschedule, wait_task_rescheduled

        self._task: Any = None
        self._current, self._reschedule, self._wait = current_task, reschedule, wait_task_rescheduled
        self._aborted = Abort.SUCCEEDED

    async def wait(self) -> None:
        self._task = self._current()
        await self._wait(self._abort)

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._task = None  # now, not once the task runs: opened in between, it would be rescheduled twice
        return self._aborted

    def open(self) -> None:
        if self._task is not None:
            task, self._task = self._task, None
            self._reschedule(task)


class _TrioBackend:
    __slots__ = ("_token",)

    def __init__(self, token: trio.lowlevel.TrioToken) -> None:
        self._token = token

    def gate(self) -> Gate:
        return _TrioGate()

    def spawn(self, work: Callable[[], Awaitable[None]], name: str, ended: Callable[[], None]) -> None:
        import trio

        async def body() -> None:
            try:
                await work()
            finally:
                ended()

        trio.lowlevel.spawn_system_task(body, name=name, context=copy_context())

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Callable[[], None]:
        import trio

        scope = trio.CancelScope()

        async def body() -> None:
            with scope:
                await trio.sleep(seconds)
                callback()

        trio.lowlevel.spawn_system_task(body, name="becket timer")
        return scope.cancel

    def post(self, callback: Callable[[], None]) -> bool:
        import trio

        try:
            self._token.run_sync_soon(callback)
        except trio.RunFinishedError:
            return False
        return True

    def here(self) -> bool:
        return _trio_token() is self._token

    def cancel_pending(self) -> bool:
        return anyio.current_effective_deadline() == float("-inf")


def _asyncio_loop() -> asyncio.AbstractEventLoop | None:
    """The asyncio loop that runs in this thread. asyncio is not imported: where it was not, none runs."""
    # `_get_running_loop` is documented for this use: unlike its sibling it raises nothing. It is missing while another
    # thread is importing asyncio; none runs here then.
    running: Callable[[], Any] | None = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
    return None if running is None else running()


def _trio_token() -> trio.lowlevel.TrioToken | None:
    """The token of the trio loop that runs in this thread."""
    lowlevel: Any = getattr(sys.modules.get("trio"), "lowlevel", None)  # as above
    if not hasattr(lowlevel, "in_trio_run") or not lowlevel.in_trio_run():
        return None
    return lowlevel.current_trio_token()  # type: ignore[no-any-return]


def current_backend() -> Backend:
    """The event loop that the caller runs in.

    Raises:
        RuntimeError: None runs in this thread.
    """
    if (token := _trio_token()) is not None:
        return _TrioBackend(token)
    if (loop := _asyncio_loop()) is not None:
        return _AsyncioBackend(loop)
    raise RuntimeError("no event loop runs here; call this from a coroutine, or call the agent itself: agent('...')")
