"""The event loops on which a runtime is open, and the runs that live there."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

import anyio

from becket._backend import Backend, current_backend
from becket._log import logger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anyio.abc import TaskGroup

    from becket._driver import Driver

__all__ = ["Homes"]


class Closeable(Protocol):
    """A provider, or a store."""

    async def aclose(self) -> None:
        """Let go of what is kept for the running event loop."""
        ...


class _Home:
    """One event loop on which a runtime is open."""

    __slots__ = ("backend", "drivers", "tasks")

    def __init__(self, backend: Backend, tasks: TaskGroup) -> None:
        self.backend = backend
        self.tasks = tasks
        self.drivers: set[Driver] = set()


class Homes:
    """The event loops on which a runtime is open, at most once on each."""

    __slots__ = ("_lock", "_open")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[_Home] = []

    def tasks(self, driver: Driver) -> TaskGroup | None:
        """The task group for a run that starts on this event loop, or None where the runtime is not open on it."""
        home = self._here()
        if home is None:
            return None
        home.drivers.add(driver)
        return home.tasks

    def leave(self, driver: Driver) -> None:
        """A run is over. Called on the event loop that it ran on."""
        home = self._here()
        if home is not None:
            home.drivers.discard(driver)

    async def open(self) -> None:
        """Open the runtime on this event loop.

        Raises:
            RuntimeError: It is open there already.
        """
        if self._here() is not None:
            raise RuntimeError(
                "this runtime is open on this event loop already, and a run can live in one block only; "
                "open it once, around everything that runs there"
            )
        tasks = anyio.create_task_group()
        await tasks.__aenter__()  # no checkpoint on either backend: nobody else has opened it meanwhile
        with self._lock:
            self._open.append(_Home(current_backend(), tasks))

    async def close(self) -> None:
        """Close the runtime on this event loop: cancel its runs here, and wait until they have cleaned up."""
        home = self._here()
        if home is None:
            raise RuntimeError("this runtime is not open on this event loop; leave it where it was entered")
        with self._lock:
            self._open.remove(home)
        for driver in tuple(home.drivers):
            driver.cancel("cancelled")
        # What the host's block raised is not told to the group: it would come out wrapped in an ExceptionGroup, and
        # a run raises nothing that the group has to hand on.
        await home.tasks.__aexit__(None, None, None)

    def _here(self) -> _Home | None:
        with self._lock:
            return next((home for home in self._open if home.backend.here()), None)


async def close_all(kept: Iterable[tuple[str, Closeable]], grace: float) -> None:
    """Have each of these let go of what it keeps for this event loop, whatever becomes of the others."""
    for title, one in kept:
        with anyio.move_on_after(grace, shield=True) as scope:
            try:
                await one.aclose()
            except Exception:
                logger.exception("%s failed to close; what it keeps open is left behind", title)
        if scope.cancelled_caught:
            logger.error("%s did not close within %g s; what it keeps open is left behind", title, grace)
