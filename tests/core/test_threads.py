"""Worker threads: places that are counted until a thread has really ended, whatever becomes of its caller."""

from __future__ import annotations

import asyncio
import contextvars
import random
import threading
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import to_thread
from becket._threads import WorkerThreads, _Call

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio


@pytest.fixture
def release() -> threading.Event:
    return threading.Event()


async def occupy(threads: WorkerThreads, release: threading.Event, name: str = "it") -> None:
    """Start a thread that runs until `release`, and abandon it."""
    begun = threading.Event()

    def hang() -> None:
        begun.set()
        release.wait(20)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(threads.run, name, hang)
        await to_thread.run_sync(begun.wait, 20)
        tasks.cancel_scope.cancel()


async def all_free(threads: WorkerThreads, total: int) -> None:
    """Fail unless `total` functions can run at once."""
    together = threading.Barrier(total)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for _ in range(total):
                tasks.start_soon(threads.run, "it", lambda: together.wait(10))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what a thread is about to do."""
    with anyio.fail_after(20):
        while not condition():
            await to_thread.run_sync(threading.Event().wait, 0.001)


async def test_no_more_run_at_once_than_there_are_places() -> None:
    threads, lock = WorkerThreads(2), threading.Lock()
    running, most = 0, 0

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.005)
        with lock:
            running -= 1

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(threads.run, "it", work)
    assert (running, most) == (0, 2)


async def test_the_callers_context_is_copied() -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("callers")

    def work() -> str:
        seen = variable.get()
        variable.set("threads")
        return seen

    assert await WorkerThreads().run("it", work) == "callers"
    assert variable.get() == "callers"


@pytest.mark.parametrize("error", [ValueError(), SystemExit(), GeneratorExit(), asyncio.CancelledError()])
async def test_what_the_function_raises_is_raised_as_it_is(error: BaseException) -> None:
    def work() -> None:
        raise error

    threads = WorkerThreads(1)
    with pytest.raises(type(error)) as caught:
        await threads.run("it", work)
    assert caught.value is error
    await all_free(threads, 1)


async def test_an_abandoned_thread_keeps_its_place_and_is_named(
    release: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    threads = WorkerThreads(1)
    await occupy(threads, release, "tool 'slow'")
    assert threads.abandoned == ["tool 'slow'"]
    assert [record.getMessage() for record in caplog.records] == [
        "tool 'slow' did not end when it was cancelled; its thread is left to itself"
    ]
    second = []

    async def wait() -> None:
        second.append(await threads.run("second", lambda: "ran"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert second == []
        release.set()
    assert second == ["ran"]
    await until(lambda: not threads.abandoned)


async def test_waiting_for_a_place_can_be_cancelled(release: threading.Event) -> None:
    threads = WorkerThreads(1)
    await occupy(threads, release)
    with anyio.move_on_after(0.01) as scope:
        await threads.run("second", lambda: None)
    assert scope.cancelled_caught
    release.set()
    await all_free(threads, 1)


async def test_a_place_that_is_handed_over_to_one_being_cancelled_is_not_lost(release: threading.Event) -> None:
    """The thread has chosen who comes next, and that one is cancelled before it hears of it."""
    threads = WorkerThreads(1)
    await threads._acquire()  # a place that is given back in this thread, so that nothing comes between the two
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(threads.run, "second", lambda: None)
        await anyio.wait_all_tasks_blocked()
        threads._release()
        tasks.cancel_scope.cancel()
    await all_free(threads, 1)


async def test_those_who_wait_come_in_order(release: threading.Event) -> None:
    threads, order = WorkerThreads(1), list[int]()
    await occupy(threads, release)
    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(threads.run, "it", lambda number=number: order.append(number))
            await anyio.wait_all_tasks_blocked()
        release.set()
    assert order == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("other", ["asyncio", "trio"])
async def test_places_are_shared_by_event_loops(release: threading.Event, other: str) -> None:
    """A thread that one loop has abandoned is waited for in another."""
    threads, waiting, ran = WorkerThreads(1), threading.Event(), list[str]()
    await occupy(threads, release)

    async def wait() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            await anyio.wait_all_tasks_blocked()
            waiting.set()

    async def work() -> None:
        ran.append(await threads.run("second", lambda: "ran"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(to_thread.run_sync, lambda: anyio.run(wait, backend=other))
        await to_thread.run_sync(waiting.wait, 20)
        assert ran == []
        release.set()
    assert ran == ["ran"]
    await all_free(threads, 1)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio closes no loop in which a task waits
async def test_one_whose_loop_was_closed_while_it_waited_is_passed_over() -> None:
    threads = WorkerThreads(1)
    await threads._acquire()

    def elsewhere() -> asyncio.Task[None]:
        loop = asyncio.new_event_loop()
        task = loop.create_task(threads._acquire())
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # that it is pending is what is tested
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        return task

    task = await to_thread.run_sync(elsewhere)
    assert not task.done()
    threads._release()
    await all_free(threads, 1)


async def test_no_place_is_lost_whenever_a_call_is_cancelled() -> None:
    """Hundreds of calls, cancelled while they wait, as they begin, as they run and as they end."""
    threads, chance = WorkerThreads(3), random.Random(7)  # noqa: S311  no secret

    async def one() -> None:
        with anyio.move_on_after(chance.random() * 0.02):
            await threads.run("it", lambda: threading.Event().wait(chance.random() * 0.005))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for _ in range(300):
                tasks.start_soon(one)
    await until(lambda: not threads.abandoned)
    await all_free(threads, 3)


async def test_a_call_that_is_cancelled_before_its_thread_begins_gives_its_place_back() -> None:
    """By the call itself: no test can hold a thread between its start and its first line."""
    released: list[int] = []
    call = _Call(lambda: released.append(99), lambda: released.append(1))
    assert not call.abandon()
    with pytest.raises(RuntimeError, match="the caller has gone"):
        call.run()()
    assert released == [1]


async def test_a_call_that_ends_as_it_is_being_abandoned_is_forgotten_at_once() -> None:
    """As above: it has ended after `abandon` and before `when_ended`."""
    ended: list[int] = []
    call = _Call(lambda: None, lambda: None)
    call.run()
    assert not call.abandon()
    call.when_ended(lambda: ended.append(1))
    assert ended == [1]
