"""Sync calls, `agent(prompt)`: from scripts, notebooks, threads and tools, and how they end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from becket import Agent, Runtime, Text, ToolFinished, hookimpl, tool
from becket.testing import ListSink, ScriptedProvider, calls, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from becket.tools import AnyTool


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    made = Runtime(discover=False)
    yield made
    made.close()


def speaking(runtime: Runtime, words: str = "hello") -> Agent:
    return Agent(ScriptedProvider(text(words)), runtime=runtime)


def using(runtime: Runtime, given: AnyTool, **options: Any) -> Agent:
    """An agent that calls this tool once, and then says `done`."""
    return Agent(ScriptedProvider(calls((given.name, {})), text("done")), [given], runtime=runtime, **options)


def portals() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "becket portal"]


class Stuck:
    """A tool that waits for its cancellation, in calls that other threads make."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.cleaned = threading.Event()

        @tool
        async def stuck() -> str:
            """Wait."""
            self.started.set()
            try:
                await anyio.sleep_forever()
            finally:
                self.cleaned.set()
            return ""

        self.tool = stuck


# -- where a call may come from ----------------------------------------------------------------------------------------


def test_a_script_calls_an_agent(runtime: Runtime) -> None:
    assert speaking(runtime)("hello").text == "hello"


def test_no_thread_is_made_before_the_first_call_and_one_serves_all(runtime: Runtime) -> None:
    before = portals()
    agent = speaking(runtime)
    assert portals() == before
    for _ in range(3):
        agent("hello")
    assert len(portals()) == len(before) + 1


def test_a_cell_of_a_notebook_calls_an_agent_inside_a_running_loop(runtime: Runtime) -> None:
    agent = speaking(runtime)

    async def cell() -> str:
        return agent("hello").text

    assert anyio.run(cell) == "hello"
    assert anyio.run(cell, backend="trio") == "hello"


def test_worker_threads_call_one_agent_at_once(runtime: Runtime) -> None:
    """They are not one after the other: each waits until all are there."""
    everybody = threading.Barrier(5, timeout=10)

    @tool(effect="none")
    def meet() -> str:
        """Wait for the others."""
        everybody.wait()
        return "met"

    agent = using(runtime, meet)
    with ThreadPoolExecutor(5) as threads:
        assert [result.text for result in threads.map(agent, ["go"] * 5)] == ["done"] * 5


def test_an_async_tool_of_the_same_portal_is_told_what_to_await(runtime: Runtime) -> None:
    inner = speaking(runtime)

    @tool(effect="none")
    async def ask() -> str:
        """Ask another agent."""
        return inner("hello").text

    sink = ListSink()
    assert using(runtime, ask, sinks=[sink])("go").text == "done"
    [finished] = [event for event in sink.events if isinstance(event, ToolFinished)]
    [content] = finished.result.content
    assert isinstance(content, Text)
    assert "would wait for itself; await agent.invoke_async(...)" in content.text


def test_a_sync_tool_of_the_same_portal_may_call(runtime: Runtime) -> None:
    inner = speaking(runtime, "inner")

    @tool(effect="none")
    def ask() -> str:
        """Ask another agent."""
        return inner("hello").text

    sink = ListSink()
    using(runtime, ask, sinks=[sink])("go")
    assert [event.result.content for event in sink.events if isinstance(event, ToolFinished)] == [(Text("inner"),)]


def test_an_async_tool_may_call_an_agent_of_another_runtime(runtime: Runtime) -> None:
    other = Runtime(discover=False)
    inner = speaking(other, "inner")

    @tool(effect="none")
    async def ask() -> str:
        """Ask another agent, and hold up this one's loop meanwhile."""
        return inner("hello").text

    sink = ListSink()
    using(runtime, ask, sinks=[sink])("go")
    other.close()
    assert [event.result.content for event in sink.events if isinstance(event, ToolFinished)] == [(Text("inner"),)]


def test_two_runtimes_have_two_threads(runtime: Runtime) -> None:
    def thread_of(runtime: Runtime) -> int:
        return runtime.call(_thread)

    other = Runtime(discover=False)
    assert len({threading.get_ident(), thread_of(runtime), thread_of(other)}) == 3
    other.close()


async def _thread() -> int:
    return threading.get_ident()


# -- what passes through -----------------------------------------------------------------------------------------------

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_tools_see_the_context_variables_of_the_caller(runtime: Runtime, kind: str) -> None:
    @tool(name="whose", effect="none")
    def sync() -> str:
        """Say whose run it is."""
        return tenant.get()

    @tool(name="whose", effect="none")
    async def async_() -> str:
        """Say whose run it is."""
        return tenant.get()

    sink = ListSink()
    agent = using(runtime, sync if kind == "sync" else async_, sinks=[sink])
    agent("go")
    token = tenant.set("acme")
    agent("go")
    tenant.reset(token)
    agent("go")
    said = [event.result.content for event in sink.events if isinstance(event, ToolFinished)]
    assert said == [(Text(name),) for name in ("nobody", "acme", "nobody")]


def test_what_a_run_raises_is_raised_at_the_caller_and_the_next_call_works(runtime: Runtime) -> None:
    failure = OSError("no network")
    agent = Agent(ScriptedProvider([failure]), runtime=runtime)
    with pytest.raises(OSError, match="no network") as caught:
        agent("hello")
    assert caught.value is failure
    assert speaking(runtime)("hello").text == "hello"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_would_stop_an_event_loop_reaches_the_caller_and_stops_none(
    runtime: Runtime, kind: type[BaseException]
) -> None:
    async def leave() -> None:
        raise kind("stop")

    thread = runtime.call(_thread)
    with pytest.raises(kind, match="stop"):
        runtime.call(leave)
    assert runtime.call(_thread) == thread


def test_a_loop_that_something_has_stopped_fails_its_calls_and_is_replaced(
    runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    """An asyncio loop is left when a task raises KeyboardInterrupt, whoever has started it."""

    async def interrupt() -> None:
        raise KeyboardInterrupt

    async def work() -> None:
        task = asyncio.create_task(interrupt())
        task.add_done_callback(asyncio.Task.exception)
        await anyio.sleep_forever()

    with pytest.raises(
        RuntimeError, match="KeyboardInterrupt ended the runtime's event loop while this call ran"
    ) as caught:
        runtime.call(work)
    assert isinstance(caught.value.__cause__, KeyboardInterrupt)
    assert speaking(runtime)("hello").text == "hello"
    assert [record.getMessage() for record in caplog.records if record.name == "becket"] == [
        "the event loop of sync calls was ended; the next call starts another"
    ]


def test_a_cancellation_that_the_work_has_made_up_reaches_its_caller_alone(runtime: Runtime) -> None:
    async def work() -> None:
        raise asyncio.CancelledError("mine")

    thread = runtime.call(_thread)
    with pytest.raises(asyncio.CancelledError, match="mine"):
        runtime.call(work)
    assert runtime.call(_thread) == thread


def test_a_home_that_cannot_be_entered_fails_the_call_and_not_the_next() -> None:
    from becket._portal import Portal  # a runtime's own block fails only where the system has no more of something

    class Home:
        failures = (error for error in (OSError("no more files"),))

        async def __aenter__(self) -> None:
            for failure in self.failures:
                raise failure

        async def __aexit__(self, *_: object) -> None:
            pass

    portal = Portal(Home())
    with pytest.raises(OSError, match="no more files"):
        portal.call(_thread)
    portal.close(grace=10)
    assert portal.call(_thread) != threading.get_ident()
    portal.close(grace=10)


# -- closing -----------------------------------------------------------------------------------------------------------


def in_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    """Run `work` in a thread; what it raises."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, raised


def test_closing_ends_the_thread_and_a_later_call_starts_another(runtime: Runtime) -> None:
    first = runtime.call(_thread)
    assert first in {thread.ident for thread in portals()}
    runtime.close()
    runtime.close()
    assert first not in {thread.ident for thread in portals()}
    assert speaking(runtime)("hello").text == "hello"


def test_closing_what_was_never_used_does_nothing() -> None:
    Runtime(discover=False).close()


def test_closing_cancels_the_calls_and_waits_until_they_have_cleaned_up(runtime: Runtime) -> None:
    stuck = Stuck()
    thread, raised = in_thread(lambda: using(runtime, stuck.tool)("go"))
    assert stuck.started.wait(10)
    runtime.close()
    assert stuck.cleaned.is_set()
    thread.join(10)
    [error] = raised
    assert isinstance(error, RuntimeError)
    assert str(error) == "the runtime was closed while this call ran; what it had begun was cancelled"


def test_a_call_that_comes_while_the_loop_is_closing_gets_a_new_one(runtime: Runtime) -> None:
    leaving, go = threading.Event(), threading.Event()

    class Slow(ScriptedProvider):
        async def aclose(self) -> None:
            leaving.set()
            await anyio.to_thread.run_sync(go.wait)

    class Giving:
        @hookimpl
        def register_providers(self) -> list[ScriptedProvider]:
            return [Slow(text("hello"))]

    slow = Runtime(plugins=[Giving()], discover=False)
    first = slow.call(_thread)
    closing, raised = in_thread(slow.close)
    assert leaving.wait(10)
    assert slow.call(_thread) != first
    go.set()
    closing.join(10)
    slow.close()
    assert raised == []


def test_providers_let_go_of_what_they_keep_for_the_loop_before_it_ends() -> None:
    closed: list[int] = []

    class Model(ScriptedProvider):
        async def aclose(self) -> None:
            closed.append(threading.get_ident())

    class Giving:
        @hookimpl
        def register_providers(self) -> list[ScriptedProvider]:
            return [Model(text("hello"))]

    runtime = Runtime(plugins=[Giving()], discover=False)
    assert Agent(runtime=runtime)("hello").text == "hello"
    thread = runtime.call(_thread)
    assert closed == []
    runtime.close()
    assert closed == [thread]


def test_async_code_in_the_thread_cannot_close_it(runtime: Runtime) -> None:
    async def work() -> None:
        runtime.close()

    with pytest.raises(RuntimeError, match="async code that runs in it cannot close it"):
        runtime.call(work)


def test_what_does_not_end_is_left_behind_in_time_and_said(runtime: Runtime, caplog: pytest.LogCaptureFixture) -> None:
    blocked, go = threading.Event(), threading.Event()

    async def block() -> None:
        blocked.set()
        go.wait()  # the loop itself: nothing could cancel that

    thread, raised = in_thread(lambda: runtime.call(block))
    assert blocked.wait(10)
    runtime.close(grace=0)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, "what runs in 'becket portal' did not end within 0 s of its closing; it is left behind")
    ]
    go.set()
    thread.join(10)
    assert raised == []


@pytest.fixture
def interruptible() -> Iterator[None]:
    """An interrupt raises KeyboardInterrupt, also where a shell has started the tests in the background."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.usefixtures("interruptible")
def test_a_call_that_is_interrupted_before_its_turn_never_begins(runtime: Runtime) -> None:
    blocked, go, began = threading.Event(), threading.Event(), threading.Event()

    async def block() -> None:
        blocked.set()
        go.wait()  # the loop itself

    async def late() -> None:
        began.set()

    def interrupt() -> None:
        state = runtime._portal._state
        while state.loop is None or len(state.loop._calls) < 2:  # nothing else says that it stands in line
            pass
        with state.lock:  # and nothing else that it has been handed over
            pass
        os.kill(os.getpid(), signal.SIGINT)

    first, _ = in_thread(lambda: runtime.call(block))
    assert blocked.wait(10)
    second, _ = in_thread(interrupt)
    with pytest.raises(KeyboardInterrupt):
        runtime.call(late)
    go.set()
    first.join(10)
    second.join(10)
    assert speaking(runtime)("hello").text == "hello"
    assert not began.is_set()


def test_a_loop_that_was_told_to_end_takes_no_more_calls(runtime: Runtime) -> None:
    """A call that had found it just before goes to the next one; from outside this is a race, so it is made here."""
    blocked, go = threading.Event(), threading.Event()

    async def block() -> None:
        blocked.set()
        go.wait()

    thread, _ = in_thread(lambda: runtime.call(block))
    assert blocked.wait(10)
    state = runtime._portal._state
    loop = state.loop
    runtime.close(grace=0)
    state.loop = loop
    assert runtime.call(_thread) not in (thread.ident, loop.thread.ident if loop else None)
    go.set()
    thread.join(10)


# -- processes ---------------------------------------------------------------------------------------------------------

START = """
import os, signal, sys, threading, time, warnings
import anyio
from becket import Agent, Runtime, tool
from becket.testing import ScriptedProvider, calls, text

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started without
runtime = Runtime(discover=False)
hello = Agent(ScriptedProvider(text("hello")), runtime=runtime)
started = threading.Event()

@tool
async def stuck() -> str:
    "Wait."
    started.set()
    try:
        await anyio.sleep_forever()
    finally:
        os.write(1, b"cleaned\\n")  # in one piece: another thread writes too

@tool(effect="none")
def quick() -> str:
    "A sync tool, which leaves an idle worker thread behind."
    return "quick"

def using(tool):
    return Agent(ScriptedProvider(calls((tool.name, {})), text("done")), [tool], runtime=runtime)
"""


def process(code: str, *, within: float = 30.0) -> tuple[int, list[str]]:
    """Run a script in a process of its own with warnings as errors; its exit code, and what it wrote, errors last."""
    ran = subprocess.run(  # noqa: S603  this interpreter
        [sys.executable, "-W", "error", "-X", "dev", "-c", START + code],
        capture_output=True,
        text=True,
        check=False,
        timeout=within,
    )
    return ran.returncode, (ran.stdout + ran.stderr).split("\n")[:-1]


def test_a_script_with_a_started_portal_ends_cleanly() -> None:
    assert process("print(hello('go').text)\nprint(using(quick)('go').text)") == (0, ["hello", "done"])


def test_a_started_portal_does_not_delay_the_end_of_a_script() -> None:
    code = """
import atexit
atexit.register(lambda: print(time.monotonic() - begun < 4.5))  # runs last: it was registered first
begun = float("-inf")
using(quick)("go")
begun = time.monotonic()
"""
    assert process(code) == (0, ["True"])


def test_a_script_that_fails_with_a_started_portal_ends_with_its_own_error() -> None:
    code, written = process("hello('go')\nsys.exit(3)")
    assert (code, written) == (3, [])


def test_an_interrupt_cancels_the_call_and_passes() -> None:
    code = """
threading.Thread(target=lambda: (started.wait(), os.kill(os.getpid(), signal.SIGINT))).start()
try:
    using(stuck)("go")
except KeyboardInterrupt:
    os.write(1, b"interrupted\\n")
print(hello("go").text)
"""
    code_, written = process(code)
    assert code_ == 0
    assert sorted(written) == ["cleaned", "hello", "interrupted"]


def test_the_interpreter_exits_while_a_daemon_thread_is_in_a_call() -> None:
    code = """
def work():
    try:
        using(stuck)("go")
    except RuntimeError:
        pass
threading.Thread(target=work, daemon=True).start()
started.wait()
"""
    assert process(code) == (0, ["cleaned"])


def test_the_interpreter_waits_for_the_calls_of_other_threads() -> None:
    code = """
def work():
    for _ in range(3):
        print(hello("go").text, flush=True)
hello("go")
threading.Thread(target=work).start()
"""
    assert process(code) == (0, ["hello"] * 3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_child_forked_while_a_call_runs_makes_calls_of_its_own() -> None:
    code = """
thread = threading.Thread(target=lambda: print(using(stuck)("go").stop_reason), daemon=True)
thread.start()
started.wait()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Python 3.12 and later warn of any fork beside threads
    child = os.fork()
if child == 0:
    print("child", hello("go").text, flush=True)
    sys.exit(4)
print("exit code", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print("parent", hello("go").text, flush=True)
os._exit(0)
"""
    assert process(code) == (0, ["child hello", "exit code 4", "parent hello"])
