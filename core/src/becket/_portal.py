"""The thread in which sync calls run their event loop: one per runtime, made on first use."""

from __future__ import annotations

import atexit
import os
import threading
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio

from becket._backend import Backend, current_backend
from becket._inprocess import GRACE
from becket._log import logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from anyio.abc import TaskGroup

__all__ = ["Portal"]

T = TypeVar("T")


class Portal:
    """Runs coroutines for sync callers, in a plain script and beside a running event loop alike.

    The thread is a daemon, so that it does not keep the process, and so are the worker threads that it makes; it is
    stopped in good order when the interpreter exits or the runtime is closed.

    Args:
        home: Entered on the portal's event loop before the first call, and left after the last.
    """

    def __init__(self, home: AbstractAsyncContextManager[object]) -> None:
        self._home = home
        self._states: dict[int, _State] = {}

    @property
    def _state(self) -> _State:
        """What there is in this process: in a fork the threads stay behind, and one of them may have held the lock."""
        return self._states.setdefault(os.getpid(), _State())

    def call(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run `work` to its end, in the caller's context. A KeyboardInterrupt cancels it and passes.

        Raises:
            RuntimeError: The caller is the portal's own thread, which would wait for itself; or the portal was closed
                while `work` ran.
        """
        self._refuse_itself(
            "a sync call from async code that runs in it would wait for itself; await agent.invoke_async(...)"
        )
        call = _Call(work)
        try:
            self._hand_over(call)
            return call.outcome.result()
        except BaseException:
            call.cancel()
            raise

    def close(self, *, grace: float) -> None:
        """Cancel what runs in the thread, and stop it. The next call starts another.

        Args:
            grace: Seconds to wait. What has not cleaned up by then is left to itself.

        Raises:
            RuntimeError: The caller is the portal's own thread.
        """
        self._refuse_itself("async code that runs in it cannot close it; close the runtime from the code that made it")
        state = self._state
        with state.lock:
            loop, state.loop = state.loop, None
        if loop is not None:
            atexit.unregister(self.close)
            loop.stop(grace)

    def _refuse_itself(self, why: str) -> None:
        loop = self._state.loop
        if loop is not None and threading.current_thread() is loop.thread:
            raise RuntimeError(f"this is the thread of the runtime's sync calls: {why}")

    def _hand_over(self, call: _Call[Any]) -> None:
        """Give the call to the loop; to a new one where there is none, or something has ended it."""
        state = self._state
        with state.lock:
            while state.loop is None or not state.loop.take(call):
                state.loop = _Loop(self._home)
                atexit.register(self.close, grace=GRACE)


class _State:
    """The loop of one process, and what guards it."""

    __slots__ = ("lock", "loop")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.loop: _Loop | None = None


class _Call(Generic[T]):
    """One call on its way through the loop."""

    def __init__(self, work: Callable[[], Awaitable[T]]) -> None:
        from concurrent.futures import Future  # it brings `logging`, and most processes make no sync call

        self.outcome: Future[T] = Future()
        self.loop: _Loop | None = None
        self._work = work
        self._context = copy_context()
        self._scope: anyio.CancelScope | None = None
        self._cancelled = False

    async def run(self, backend: Backend) -> None:
        with anyio.CancelScope() as self._scope:
            if self._cancelled:
                return
            self._enter_context()
            try:
                self.outcome.set_result(await self._work())
            except BaseException as error:
                if isinstance(error, anyio.get_cancelled_exc_class()) and backend.cancel_pending():
                    raise  # it came from outside, and the work has not made it up
                self.outcome.set_exception(error)  # the caller gets it, whatever it is: the loop must go on for others

    def _enter_context(self) -> None:
        """Take over the caller's context variables, but for those that tell anyio which event loop runs here."""
        own = copy_context()
        for variable, given in self._context.items():
            if variable not in own:
                variable.set(given)

    def end(self, cause: BaseException | None) -> None:
        """The loop has ended before the call did."""
        why = "the runtime was closed" if cause is None else f"{type(cause).__name__} ended the runtime's event loop"
        error = RuntimeError(f"{why} while this call ran; what it had begun was cancelled")
        error.__cause__ = cause
        self.outcome.set_exception(error)

    def cancel(self) -> None:
        """The caller has gone. From any thread."""
        self._cancelled = True
        if self.loop is not None:
            self.loop.backend.post(self._cancel)

    def _cancel(self) -> None:
        if self._scope is not None:
            self._scope.cancel()


class _Loop:
    """An event loop in a thread of its own, running once this is made.

    Raises:
        BaseException: Whatever kept it from starting.
    """

    backend: Backend
    _context: Context
    _tasks: TaskGroup

    def __init__(self, home: AbstractAsyncContextManager[object]) -> None:
        self._lock = threading.Lock()
        self._calls: set[_Call[Any]] = set()
        self._over = False
        from concurrent.futures import Future

        self._ready: Future[None] = Future()
        self.thread = threading.Thread(target=Context().run, args=(self._main, home), name="becket portal", daemon=True)
        self.thread.start()
        self._ready.result()

    def take(self, call: _Call[Any]) -> bool:
        """Start the call; False where the loop has ended, or is about to."""
        with self._lock:
            if not self._over:
                self._calls.add(call)
                call.loop = self
                self.backend.post(lambda: self._context.run(self._start, call))
            return not self._over

    def stop(self, grace: float) -> None:
        """Cancel everything, and wait for the thread to end, for at most `grace` seconds."""
        with self._lock:
            self._over = True
            self.backend.post(self._tasks.cancel_scope.cancel)
        self.thread.join(grace)
        if self.thread.is_alive():
            logger.error(
                "what runs in %r did not end within %g s of its closing; it is left behind", self.thread.name, grace
            )

    def _start(self, call: _Call[Any]) -> None:
        self._tasks.start_soon(self._run, call)

    async def _run(self, call: _Call[Any]) -> None:
        await call.run(self.backend)  # where it raises, the loop ends, and `_main` ends the call
        self._calls.discard(call)

    async def _serve(self, home: AbstractAsyncContextManager[object]) -> None:
        async with home, anyio.create_task_group() as self._tasks:
            self.backend = current_backend()
            self._context = copy_context()
            self._ready.set_result(None)
            await anyio.sleep_forever()

    def _main(self, home: AbstractAsyncContextManager[object]) -> None:
        cause: BaseException | None = None
        try:
            anyio.run(self._serve, home)
        except BaseException as error:  # noqa: BLE001  what ends an event loop ends its calls, and not the host's process
            cause = error
        with self._lock:
            self._over = True
            left = tuple(self._calls)
        if cause is not None and not self._ready.done():
            self._ready.set_exception(cause)
        elif cause is not None:
            logger.error("the event loop of sync calls was ended; the next call starts another", exc_info=cause)
        for call in left:
            call.end(cause)
