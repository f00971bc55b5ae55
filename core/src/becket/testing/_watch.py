"""Looking closely at asynchronous code: what it has left open, and every one of its waits."""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import anyio
from anyio.lowlevel import checkpoint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from types import TracebackType

__all__ = ["Steps", "Watch"]

_T = TypeVar("_T")

_ROUNDS = 20  # turns of the event loop that what has ended may take to be gone
_NOT_OF_IT = "LoopbackServer"  # in the names of the tasks that serve, which are not the client's


class Steps:
    """Counts the waits of what is awaited through it, and does something once: at one of them, or when told to.

    Args:
        do: What is done.
        at: The number of the wait at which it is done, from 1, just before the event loop gets control; 0 for none.

    Attributes:
        reached: Whether it was done.
        since: The waits since then, the one at which it was done included.
        cancelled: Whether a wait was ended since then by a cancellation.
    """

    def __init__(self, do: Callable[[], object], *, at: int = 0) -> None:
        self.reached = False
        self.since = 0
        self.cancelled = False
        self._waits = 0
        self._at = at
        self._do = do

    def of(self, awaited: Awaitable[_T]) -> Awaitable[_T]:
        """The same, to be awaited; its waits are counted."""
        return _Counted(self, awaited)

    def act(self) -> None:
        """Do it now."""
        self.reached = True
        self._do()

    def wait(self) -> None:
        """Count one."""
        self._waits += 1
        if self._waits == self._at:
            self.act()
        if self.reached:
            self.since += 1

    def waited(self, outcome: object, error: BaseException | None) -> None:
        """Look at what a wait has come to; trio hands an exception over as a value, to be raised further in."""
        error = error or getattr(outcome, "error", None)
        if self.reached and isinstance(error, anyio.get_cancelled_exc_class()):
            self.cancelled = True


class _Counted(Generic[_T]):
    __slots__ = ("_awaited", "_steps")

    def __init__(self, steps: Steps, awaited: Awaitable[_T]) -> None:
        self._steps = steps
        self._awaited = awaited

    def __await__(self) -> Generator[Any, Any, _T]:
        inner: Any = self._awaited.__await__()
        value, error = None, None
        while True:
            try:
                waited = inner.send(value) if error is None else inner.throw(error)
            except StopIteration as stop:
                result: _T = stop.value
                return result
            self._steps.wait()
            value, error = None, None
            try:
                value = yield waited
            except BaseException as raised:  # noqa: BLE001  it is raised where the wait is
                error = raised
            self._steps.waited(value, error)


class Watch:
    """Sees which async generators and tasks were begun since a mark, and have not ended.

    Used in a `with`, in one task. What its owner has dropped without closing it is closed when it is told of.
    """

    def __init__(self) -> None:
        self._begun: list[weakref.ref[Any]] = []
        self._dropped: list[Any] = []
        self._before: set[int] = set()
        self._marked: set[int] = set()
        self._known: set[int] = set()

    def __enter__(self) -> Self:
        self._before = self._marked = {task.id for task in anyio.get_running_tasks()}
        self._hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(self._begin, self._dropped.append)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        sys.set_asyncgen_hooks(*self._hooks)

    def _begin(self, generator: Any) -> None:
        self._begun.append(weakref.ref(generator))
        of_the_loop: Any = self._hooks.firstiter  # every event loop has one
        of_the_loop(generator)

    def mark(self) -> None:
        """Take what is open now for what is to be open, as a pool of connections is."""
        self._marked = {task.id for task in anyio.get_running_tasks()}
        self._known = {id(generator) for generator in self._open()}

    async def check(self, when: str) -> None:
        """Look for what was begun after the mark.

        Raises:
            AssertionError: Something of that is open, or was dropped without having been closed.
        """
        await self._check(self._marked, self._known, when)

    async def check_all(self, when: str) -> None:
        """Look for what was begun in the block.

        Raises:
            AssertionError: As for `check`.
        """
        await self._check(self._before, set(), when)

    async def _check(self, tasks: set[int], known: set[int], when: str) -> None:
        rounds = 0
        while (left := self._left(tasks, known)) and rounds < _ROUNDS:
            rounds += 1
            await checkpoint()
        dropped = [_name(generator) for generator in self._dropped]
        while self._dropped:
            await self._dropped.pop().aclose()
        if dropped:
            raise AssertionError(f"{when}, these async generators were dropped and not closed: {', '.join(dropped)}")
        if left:
            raise AssertionError(f"{when}, these were still open: {', '.join(left)}")

    def _left(self, tasks: set[int], known: set[int]) -> list[str]:
        generators = [f"the async generator {_name(one)}" for one in self._open() if id(one) not in known]
        running = [
            f"the task {task.name}"
            for task in anyio.get_running_tasks()
            if task.id not in tasks and _NOT_OF_IT not in str(task.name)
        ]
        return [*generators, *running]

    def _open(self) -> list[Any]:
        begun = [generator for reference in self._begun if (generator := reference()) is not None]
        self._begun = [weakref.ref(generator) for generator in begun if generator.ag_frame is not None]
        return [generator for generator in begun if generator.ag_frame is not None and generator not in self._dropped]


def _name(generator: Any) -> str:
    return str(generator.__qualname__)
