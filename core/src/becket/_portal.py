"""The thread in which sync calls run their event loop: one per runtime, made on first use."""

from __future__ import annotations

import atexit
import threading
from typing import TYPE_CHECKING, TypeVar

import anyio
from anyio.from_thread import BlockingPortal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Portal"]

T = TypeVar("T")


class Portal:
    """Runs coroutines for sync callers, in a plain script and beside a running event loop alike.

    The thread is a daemon, so that it does not keep the process; it is stopped in good order when the interpreter
    exits or the runtime is closed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._portal: BlockingPortal | None = None
        self._thread: threading.Thread | None = None

    def call(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run `work` to its end; a KeyboardInterrupt cancels it and passes.

        Raises:
            RuntimeError: The caller is the portal's own thread, which would wait for itself.
        """
        portal = self._started()
        if threading.current_thread() is self._thread:
            raise RuntimeError("a sync call from within an async tool would wait for itself; await agent.invoke_async(...)")
        future = portal.start_task_soon(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _started(self) -> BlockingPortal:
        with self._lock:
            if self._portal is None:
                ready = threading.Event()
                self._thread = threading.Thread(target=self._main, args=(ready,), name="becket portal", daemon=True)
                self._thread.start()
                ready.wait()
                atexit.register(self.close)
            assert self._portal is not None  # noqa: S101  set before `ready`
            return self._portal

    def _main(self, ready: threading.Event) -> None:
        async def serve() -> None:
            async with BlockingPortal() as portal:
                self._portal = portal
                ready.set()
                await portal.sleep_until_stopped()

        anyio.run(serve)

    def close(self) -> None:
        """Stop the thread, cancelling what runs in it."""
        with self._lock:
            portal, thread, self._portal, self._thread = self._portal, self._thread, None, None
        if portal is not None and thread is not None:
            atexit.unregister(self.close)
            portal.start_task_soon(portal.stop, True)  # noqa: FBT003  anyio's own signature: cancel_remaining
            thread.join()
