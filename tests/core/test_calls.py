"""Making tool calls: results, failures, time limits, tools that run together, generators, progress."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import io
import json
import threading
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from anyio import from_thread, to_thread
from becket import (
    Agent,
    Document,
    Event,
    Image,
    Json,
    Limits,
    MemoryLog,
    MessageAdded,
    ModelFinished,
    PluginError,
    RunFailed,
    RunFinished,
    Runtime,
    Text,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolContext,
    ToolError,
    ToolFinished,
    ToolProgress,
    ToolResult,
    ToolStarted,
    tool,
)
from becket._alarm import Alarm
from becket._backend import current_backend
from becket._calls import ToolCalls
from becket.effects import PlannedCall
from becket.testing import ListSink, ScriptedProvider, calls, text
from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterator

pytestmark = pytest.mark.anyio

RUNTIME = Runtime(discover=False)


def agent_of(*tools: Tool[..., Any], script: Any = None, **options: Any) -> Agent:
    """An agent whose model calls each of the tools once, without arguments, and then ends."""
    script = calls(*((item.name, {}) for item in tools)) if script is None else script
    options.setdefault("runtime", RUNTIME)
    return Agent(ScriptedProvider(script, text("done")), tools, **options)


async def events_of(agent: Agent, **options: Any) -> list[Event]:
    with anyio.fail_after(20):
        async with agent.stream_async("go", **options) as stream:
            return [event async for event in stream]


async def results_of(agent: Agent, **options: Any) -> list[ToolResult]:
    """The results of the run's first cycle, in the order of the calls; the run itself must have gone well."""
    events = await events_of(agent, **options)
    assert isinstance(events[-1], RunFinished), events[-1]
    assert events[-1].result.stop_reason == "end_turn"
    message = next(e.message for e in events if isinstance(e, MessageAdded) and e.message.role == "user")
    return list(message.content)  # type: ignore[arg-type]


async def result_of(function: Callable[..., Any], arguments: Any = None, **options: Any) -> ToolResult:
    made = function if isinstance(function, Tool) else tool(function, name="probe")
    (result,) = await results_of(agent_of(made, script=calls((made.name, arguments or {})), **options))
    return result


@pytest.fixture(params=["sync", "async"])
def as_kind(request: pytest.FixtureRequest) -> Callable[[Callable[[], Any]], Tool[..., Any]]:
    """A function without arguments as a sync tool, and as an async one."""

    def make(body: Callable[[], Any]) -> Tool[..., Any]:
        if request.param == "sync":
            return tool(body, name="probe")

        async def probe() -> Any:
            await anyio.lowlevel.checkpoint()
            return body()

        return tool(probe)

    return make


def one() -> int:
    return 1


ONE = tool(one, name="probe")


# -- results -----------------------------------------------------------------------------------------------------------


class City(BaseModel):
    name: str


@dataclasses.dataclass
class Place:
    x: int


PICTURE = Image.from_bytes(b"picture", media_type="image/png")
PAPER = Document.from_bytes(b"paper", media_type="application/pdf", name="paper")


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("text", (Text("text"),)),
        ("", (Text(""),)),
        ("lone \ud800", (Text("lone \ufffd"),)),
        (Text("lone \ud800"), (Text("lone \ufffd"),)),
        (None, (Json(None),)),
        (3, (Json(3),)),
        ({"a": (1, None)}, (Json({"a": [1, None]}),)),
        (float("nan"), (Json(None),)),
        ([], (Json([]),)),
        (["a", "b"], (Json(["a", "b"]),)),
        (City(name="Oslo"), (Json({"name": "Oslo"}),)),
        ([City(name="Oslo")], (Json([{"name": "Oslo"}]),)),
        (Place(1), (Json({"x": 1}),)),
        (Json({"x": (1,)}), (Json({"x": [1]}),)),  # type: ignore[dict-item]  # a tuple is what is tested
        (PICTURE, (PICTURE,)),
        (PAPER, (PAPER,)),
        ([Text("see"), PICTURE], (Text("see"), PICTURE)),
        (("see", PICTURE, {"x": 1}), (Text("see"), PICTURE, Json({"x": 1}))),
    ],
)
async def test_what_a_tool_returns_becomes_content(value: object, content: tuple[Any, ...]) -> None:
    result = await result_of(lambda: value)
    assert (result.status, result.content) == ("success", content)
    json.dumps(result.text)


@pytest.mark.parametrize("value", [object(), Json(object()), [Text("see"), object()], {"a": threading.Lock()}])  # type: ignore[arg-type]
async def test_a_result_that_is_no_json_value_is_an_error_that_says_what_to_return(value: object) -> None:
    result = await result_of(lambda: value)
    assert result.status == "error"
    assert "probe returned a " in result.text
    assert "return a text, a JSON value, an Image or a Document" in result.text


@pytest.mark.parametrize("value", [b"raw", bytearray(b"raw"), Image("image/png", b"raw")])  # type: ignore[arg-type]
async def test_bytes_are_an_error_that_says_what_to_return(value: object) -> None:
    result = await result_of(lambda: value)
    assert result.status == "error"
    assert result.text.endswith("return Image.from_bytes(...) or Document.from_bytes(...)")


async def test_what_a_tool_prints_is_its_own_affair(capsys: pytest.CaptureFixture[str]) -> None:
    assert (await result_of(lambda: print("aside"))).content == (Json(None),)  # noqa: T201  what is tested
    assert capsys.readouterr().out == "aside\n"


async def test_a_coroutine_that_a_sync_function_returns_is_awaited() -> None:
    async def inner() -> str:
        await anyio.lowlevel.checkpoint()
        return "inner"

    assert (await result_of(lambda: inner())).text == "inner"  # noqa: PLW0108  what is tested


async def test_generators_that_a_sync_function_returns_are_run() -> None:
    """A decorator that is no generator itself makes such functions."""

    def inner() -> Generator[int, None, str]:
        yield 1
        return "end"

    async def async_inner() -> AsyncIterator[int]:
        yield 1
        yield 2

    assert (await result_of(lambda: inner())).text == "end"  # noqa: PLW0108  what is tested
    assert (await result_of(lambda: async_inner())).text == "2"  # noqa: PLW0108  what is tested


# -- arguments ---------------------------------------------------------------------------------------------------------


async def test_the_tool_gets_validated_arguments() -> None:
    def probe(city: City, times: int = 2) -> str:
        return city.name * times

    assert (await result_of(probe, {"city": {"name": "Oslo"}})).text == "OsloOslo"


async def test_arguments_that_do_not_fit_are_answered_without_a_call() -> None:
    def probe(city: str) -> str:
        raise AssertionError(city)

    agent = agent_of(tool(probe), script=calls(("probe", {"town": 1})))
    events = await events_of(agent)
    (finished,) = [e for e in events if isinstance(e, ToolFinished)]
    assert finished.result.status == "error"
    assert finished.result.text.splitlines() == [
        "the arguments of probe do not fit:",
        "city: missing; it is required",
        "town: there is no such argument, leave it out; the arguments are: city",
    ]
    assert not any(isinstance(e, ToolStarted) for e in events)


async def test_a_call_of_a_tool_that_is_not_there_lists_those_that_are() -> None:
    agent = agent_of(ONE, script=calls(("prob", {})))
    (result,) = await results_of(agent)
    assert (result.status, result.text) == ("error", "there is no tool 'prob'; the tools are: probe")
    (result,) = await results_of(agent_of(script=calls(("prob", {}))))
    assert result.text == "there is no tool 'prob'; the tools are: none"


async def test_malformed_arguments_are_quoted_with_the_reason() -> None:
    script = [ToolCallDelta("c", "probe", '{"a": '), ModelFinished("tool_use")]
    (result,) = await results_of(agent_of(ONE, script=script))
    assert result.status == "error"
    first, began, last = result.text.splitlines()
    assert first.startswith("the arguments of probe could not be read: ")
    assert began == 'they began with: {"a": '
    assert last == "make the call again, with one JSON object"


async def test_a_second_call_under_one_id_quotes_nothing() -> None:
    script = [ToolCallDelta("c", "probe", "{}", 0), ToolCallDelta("c", "probe", "{}", 1), ModelFinished("tool_use")]
    first, second = await results_of(agent_of(ONE, script=script))
    assert (first.status, second.status) == ("success", "error")
    assert "used twice" in second.text
    assert "they began with" not in second.text


async def test_arguments_of_ten_million_characters_are_refused_in_a_few() -> None:
    agent = agent_of(ONE, script=calls(("probe", {"x": "y" * 10_000_000})))
    (result,) = await results_of(agent)
    assert result.status == "error"
    assert len(result.text) < 500


# -- failures ----------------------------------------------------------------------------------------------------------


async def test_a_tool_error_gives_its_text_and_no_traceback(as_kind: Any, caplog: pytest.LogCaptureFixture) -> None:
    def body() -> None:
        raise ToolError("no such city; try another")

    result = await result_of(as_kind(body))
    assert (result.status, result.text) == ("error", "no such city; try another")
    assert not caplog.records


async def test_a_tool_error_without_text_still_says_something() -> None:
    def body() -> None:
        raise ToolError

    assert (await result_of(body)).text == "probe failed, and did not say why"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("odd"),
        SystemExit("odd"),
        StopAsyncIteration("odd"),
        GeneratorExit("odd"),
        asyncio.CancelledError("odd"),
        BaseException("odd"),
        RecursionError("odd"),
        ConnectionError("odd"),
    ],
)
async def test_any_other_exception_is_an_error_result_with_its_traceback_in_the_log(
    as_kind: Any, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """Alone, inline, and the run goes on; a cancellation of the tool's own making is one of them."""

    def body() -> None:
        raise error

    result = await result_of(as_kind(body))
    assert (result.status, result.text) == ("error", f"probe failed: {type(error).__name__}: odd")
    (record,) = [record for record in caplog.records if record.name == "becket"]
    assert record.exc_info is not None
    assert record.exc_info[1] is error


@pytest.mark.parametrize("error", [ValueError("odd"), SystemExit(3), asyncio.CancelledError(), GeneratorExit()])
async def test_a_tool_that_fails_beside_others_harms_none_of_them(as_kind: Any, error: BaseException) -> None:
    """In a task of its own a SystemExit would stop asyncio's loop, and a GeneratorExit crash trio."""

    def body() -> None:
        raise error

    async def other() -> str:
        await anyio.lowlevel.checkpoint()
        return "fine"

    failed, fine = await results_of(agent_of(as_kind(body), tool(other)))
    assert (failed.status, fine.status, fine.text) == ("error", "success", "fine")


async def test_stop_iteration_is_an_error_result(as_kind: Any) -> None:
    """Python turns it into a RuntimeError where it leaves a coroutine."""

    def body() -> None:
        raise StopIteration("odd")

    result = await result_of(as_kind(body))
    assert result.status == "error"
    assert "StopIteration" in result.text


async def test_a_group_of_one_is_reported_as_what_is_in_it() -> None:
    async def probe() -> None:
        async with anyio.create_task_group():
            raise ToolError("from within")

    assert (await result_of(probe)).text == "from within"


async def test_a_group_of_several_is_an_error_result() -> None:
    def probe() -> None:
        raise ExceptionGroup("both", [ValueError("a"), KeyError("b")])

    assert (await result_of(probe)).text == "probe failed: ExceptionGroup: both (2 sub-exceptions)"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # on trio nobody but a scope can make a Cancelled
async def test_awaiting_something_that_was_cancelled_is_an_error_result() -> None:
    """The run is not being cancelled, so the tool's exception is no reason to end it."""

    async def probe() -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    assert (await result_of(probe)).text == "probe failed: CancelledError: "


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), BaseExceptionGroup("group", [KeyboardInterrupt(), ValueError()])]
)
@pytest.mark.parametrize("beside", [False, True])
async def test_a_keyboard_interrupt_passes_to_the_reader(as_kind: Any, error: BaseException, beside: bool) -> None:
    """Also from a tool that runs beside another, where asyncio would stop its loop."""

    def body() -> None:
        raise error

    async def other() -> None:
        await anyio.sleep_forever()

    tools = [as_kind(body), tool(other)] if beside else [as_kind(body)]
    with pytest.raises(KeyboardInterrupt):
        await events_of(agent_of(*tools))


async def test_a_cancelled_tool_whose_child_fails_is_cancelled_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    """The reason why the run ends is the cancellation; what went wrong on the way out is in the log."""
    reached = anyio.Event()

    async def probe() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail_at_the_end)
            await anyio.sleep_forever()

    async def fail_at_the_end() -> None:
        try:
            reached.set()
            await anyio.sleep_forever()
        finally:
            raise ValueError("on the way out")

    async with agent_of(tool(probe)).stream_async("go") as stream:
        async for event in stream:
            if isinstance(event, ToolStarted):
                await reached.wait()
                stream.cancel()
        assert isinstance(event, RunFinished)
        assert event.result.stop_reason == "cancelled"
    assert "raised more than its cancellation" in caplog.text or "ValueError" in caplog.text


# -- time limits -------------------------------------------------------------------------------------------------------


async def test_a_tool_that_hangs_is_stopped_after_its_time_limit(caplog: pytest.LogCaptureFixture) -> None:
    cleaned = []

    @tool(timeout=0.05)
    async def hang() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cleaned.append(1)

    result = await result_of(hang)
    assert result.status == "error"
    assert result.text == "hang did not finish within its time limit of 0.05 s and was stopped"
    assert cleaned == [1]
    assert "tool 'hang' was stopped after its time limit of 0.05 s" in caplog.text


async def test_a_tool_without_a_limit_has_that_of_the_run() -> None:
    result = await result_of(anyio.sleep_forever, limits=Limits(tool_seconds=0.05))
    assert "within its time limit of 0.05 s" in result.text


async def test_a_run_may_do_without_a_limit_for_tools() -> None:
    assert (await result_of(lambda: "fine", limits=Limits(tool_seconds=None))).text == "fine"


async def test_a_tool_that_swallows_its_cancellation_once_and_answers_is_heard() -> None:
    @tool(timeout=0.05)
    async def stubborn() -> str:
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            return "half of it"
        raise AssertionError

    assert (await result_of(stubborn)).text == "half of it"


async def test_a_tool_that_fails_as_it_is_stopped_has_run_out_of_time() -> None:
    @tool(timeout=0.05)
    async def stubborn() -> str:
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            raise ValueError("translated") from None
        raise AssertionError

    assert "within its time limit" in (await result_of(stubborn)).text


async def test_a_sync_tool_is_abandoned_after_its_time_limit(caplog: pytest.LogCaptureFixture) -> None:
    release = threading.Event()

    @tool(timeout=0.05)
    def hang() -> str:
        release.wait(20)
        return "too late"

    try:
        result = await result_of(hang)
    finally:
        release.set()
    assert "within its time limit" in result.text
    assert "tool 'hang' did not end when it was cancelled; its thread is left to itself" in caplog.text


@pytest.mark.parametrize("beside", [False, True])
async def test_a_tool_that_swallows_its_cancellation_for_ever_fails_the_run(
    beside: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After the grace. What it returns in the end comes to nothing, also where the reader has not read so far."""
    monkeypatch.setattr("becket._inprocess.GRACE", 0.05)
    release, left, failed = anyio.Event(), anyio.Event(), anyio.Event()

    @tool(timeout=0.05)
    async def deaf() -> str:
        while not release.is_set():
            with anyio.CancelScope(shield=True):
                await release.wait()
        left.set()
        return "too late"

    sink = ListSink(fail=lambda event: failed.set() if isinstance(event, RunFailed) else None)
    agent = agent_of(*([deaf, ONE] if beside else [deaf]), sinks=[sink])
    stream = agent.stream_async("go")
    with anyio.fail_after(20):
        await anext(stream)
        await failed.wait()
        assert sink.types[-4:] == ["tool_finished", "message_added", "cycle_finished", "run_failed"]
        assert "left behind: tool 'deaf'" in caplog.text
        caplog.clear()
        seen = len(sink.events)
        release.set()
        await left.wait()
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(TimeoutError, match="the tool 'deaf' did not end when its time limit cancelled it"):
            async for event in stream:
                assert isinstance(event, RunFailed) or event.type != "run_finished"
    assert len(sink.events) == seen
    assert not caplog.records


@pytest.mark.parametrize("beside", [False, True])
async def test_no_timer_is_left_behind(beside: bool, anyio_backend_name: str) -> None:
    """Neither that of a call that ended in time, nor that of one that did not."""
    if anyio_backend_name == "trio":
        import trio

        def timers() -> int:
            root = trio.lowlevel.current_root_task()
            assert root is not None
            system = [task for nursery in root.child_nurseries for task in nursery.child_tasks]
            inner = [task for each in system for nursery in each.child_nurseries for task in nursery.child_tasks]
            return sum("becket timer" in task.name for task in system + inner)

    else:

        def timers() -> int:
            loop: Any = asyncio.get_running_loop()
            return sum(not handle.cancelled() and "becket" in repr(handle) for handle in loop._scheduled)

    @tool(timeout=0.05)
    async def hang() -> None:
        await anyio.sleep_forever()

    fine = tool(lambda: "fine", name="fine")
    await events_of(agent_of(hang, fine) if beside else agent_of(fine))
    await anyio.wait_all_tasks_blocked()
    assert timers() == 0


# -- together ----------------------------------------------------------------------------------------------------------


async def test_the_fast_tool_is_reported_before_the_slow_one_and_answered_in_the_order_of_the_calls() -> None:
    fast_is_out = anyio.Event()

    async def slow() -> str:
        await fast_is_out.wait()
        return "slow"

    async def fast() -> str:
        await anyio.lowlevel.checkpoint()
        return "fast"

    finished = []
    async with agent_of(tool(slow), tool(fast)).stream_async("go") as stream:
        async for event in stream:
            if isinstance(event, ToolFinished):
                finished.append(event.result.text)
                fast_is_out.set()
            if isinstance(event, MessageAdded) and event.message.role == "user":
                assert [block.text for block in event.message.content] == ["slow", "fast"]  # type: ignore[union-attr]
    assert finished == ["fast", "slow"]


async def test_one_tool_that_wants_order_gives_order_to_all() -> None:
    trace = []

    def note(name: str, *, sequential: bool) -> Tool[..., Any]:
        async def body() -> None:
            trace.append(f"{name} begins")
            await anyio.wait_all_tasks_blocked()
            trace.append(f"{name} ends")

        return tool(body, name=name, sequential=sequential)

    await events_of(agent_of(note("a", sequential=False), note("b", sequential=True), note("c", sequential=False)))
    assert trace == ["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]


async def test_one_call_alone_runs_in_the_task_of_the_run() -> None:
    names = []

    async def probe() -> None:
        names.append(anyio.get_current_task().name)

    await events_of(agent_of(tool(probe)))
    await events_of(agent_of(tool(probe), script=calls(("probe", {}), ("probe", {}))))
    assert str(names[0]).startswith("becket run")
    assert names[1:] == ["becket tool probe"] * 2


@pytest.fixture(params=["tool_started", "tool_finished"])
def fail(request: pytest.FixtureRequest) -> Callable[[Event], None]:
    """Fails when the second or third call of a cycle begins, or when it ends; each time with the same exception."""
    failure = ZeroDivisionError("theirs")

    def fail(event: Event) -> None:
        match event:
            case ToolStarted(call=ToolCall(id=call_id)) | ToolFinished(result=ToolResult(call_id=call_id)):
                if event.type == request.param and call_id != "call-1":
                    raise failure

    return fail


def slow_and_fast(ended: list[str]) -> list[Tool[..., Any]]:
    async def slow() -> None:
        ended.append("slow begins")
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("slow ends")

    async def fast() -> None:
        await anyio.lowlevel.checkpoint()

    return [tool(slow), tool(fast), tool(fast, name="fast2")]


async def test_a_required_sink_that_fails_beside_tools_cancels_them_and_comes_out_unwrapped(
    fail: Callable[[Event], None],
) -> None:
    ended: list[str] = []
    sink = ListSink(required=True, fail=fail)
    with pytest.raises(PluginError, match="the sink 'list' is required and failed in emit: ZeroDivisionError: theirs"):
        await events_of(agent_of(*slow_and_fast(ended), sinks=[sink]))
    assert ended in (["slow begins", "slow ends"], [])


async def test_whatever_fails_in_the_events_beside_tools_cancels_them_and_comes_out_unwrapped(
    fail: Callable[[Event], None],
) -> None:
    """Twice in one tick of the loop: the second must not make a group of the two."""

    class Log(MemoryLog):
        def append(self, event: Event, /) -> bool:
            fail(event)
            return super().append(event)

    ended: list[str] = []
    runtime = Runtime(discover=False, make_log=lambda run: Log())
    with pytest.raises(ZeroDivisionError, match="theirs"):
        await events_of(agent_of(*slow_and_fast(ended), runtime=runtime))
    assert ended in (["slow begins", "slow ends"], [])


# -- generators --------------------------------------------------------------------------------------------------------


def sync_steps() -> Generator[Any, None, str]:
    yield {"step": 1}
    yield {"step": 2}
    return "end"


async def async_steps() -> AsyncIterator[Any]:
    yield {"step": 1}
    yield {"step": 2}
    yield "end"


@pytest.mark.parametrize("function", [sync_steps, async_steps])
async def test_a_generator_reports_what_it_yields_and_returns_its_end(function: Any) -> None:
    events = await events_of(agent_of(tool(function, name="steps")))
    progress = [event for event in events if isinstance(event, ToolProgress)]
    assert [event.data for event in progress][:2] == [{"step": 1}, {"step": 2}]
    assert progress[0]["tool_stream_event"]["tool_use"]["name"] == "steps"
    (finished,) = [event for event in events if isinstance(event, ToolFinished)]
    assert (finished.result.status, finished.result.text) == ("success", "end")


async def test_an_async_generator_that_yields_nothing_returns_nothing() -> None:
    async def probe() -> AsyncIterator[int]:
        for item in list[int]():
            yield item

    assert (await result_of(probe)).content == (Json(None),)


@pytest.mark.parametrize("how", ["sync", "async"])
async def test_progress_that_is_no_json_value_is_an_error_and_closes_the_generator(how: str) -> None:
    closed = []

    def sync() -> Iterator[Any]:
        try:
            yield object()
        finally:
            closed.append(1)

    async def asynchronous() -> AsyncIterator[Any]:
        try:
            yield object()
        finally:
            closed.append(1)

    result = await result_of(sync if how == "sync" else asynchronous)
    assert result.status == "error"
    assert result.text.startswith("probe reported progress that is no JSON value: ")
    assert closed == [1]


async def test_an_async_generator_has_time_to_clean_up_when_it_is_cancelled() -> None:
    """The cancellation finds it at a yield; its `finally` may wait, shielded, before the next line of the host runs."""
    trace = []

    async def endless() -> AsyncIterator[str]:
        try:
            while True:
                yield "more"
        finally:
            await anyio.lowlevel.checkpoint()
            trace.append("cleaned up")

    async with agent_of(tool(endless)).stream_async("go") as stream:
        async for event in stream:
            if isinstance(event, ToolProgress):
                await anyio.wait_all_tasks_blocked()
                break
    trace.append("left")
    assert trace == ["cleaned up", "left"]


async def test_a_sync_generator_cleans_up_in_its_thread_when_it_is_cancelled() -> None:
    cleaned = threading.Event()

    def endless() -> Iterator[str]:
        try:
            while True:
                yield "more"
        finally:
            cleaned.set()

    async with agent_of(tool(endless)).stream_async("go") as stream:
        async for event in stream:
            if isinstance(event, ToolProgress):
                await anyio.wait_all_tasks_blocked()
                break
    with anyio.fail_after(10):
        await to_thread.run_sync(cleaned.wait, 10)
    assert cleaned.is_set()


async def test_a_sync_generator_that_ran_out_of_time_stops_at_its_next_yield() -> None:
    release, cleaned = threading.Event(), threading.Event()

    @tool(timeout=0.05)
    def steps() -> Iterator[int]:
        try:
            release.wait(20)
            yield 1
            raise AssertionError("went on")
        finally:
            cleaned.set()

    events = await events_of(agent_of(steps))
    release.set()
    with anyio.fail_after(10):
        await to_thread.run_sync(cleaned.wait, 10)
    assert not [event for event in events if isinstance(event, ToolProgress)]


@pytest.mark.parametrize("how", ["sync", "async"])
async def test_a_generator_waits_for_the_reader(how: str) -> None:
    """It does not run ahead further than the buffer between the run and its reader is long."""
    made = []

    def sync() -> Iterator[int]:
        for number in range(2_000):
            made.append(number)
            yield number

    async def asynchronous() -> AsyncIterator[int]:
        for number in range(2_000):
            made.append(number)
            yield number

    function = sync if how == "sync" else asynchronous
    async with agent_of(tool(function, name="steps")).stream_async("go") as stream:
        count = 0
        async for event in stream:
            if isinstance(event, ToolProgress):
                count += 1
                if count == 1:
                    await _until_quiet(made)
                    assert len(made) <= 300
    assert count == len(made) == 2_000


async def _until_quiet(made: list[int]) -> None:
    """Wait until a generator, in whatever thread, makes nothing more."""
    seen = -1
    while len(made) != seen:
        seen = len(made)
        for _ in range(200):
            await anyio.lowlevel.checkpoint()
        await to_thread.run_sync(threading.Event().wait, 0.05)


async def test_a_callback_that_fails_on_progress_fails_the_run_and_not_the_tool() -> None:
    failure = ZeroDivisionError("theirs")

    def handler(**event: Any) -> None:
        if "tool_stream_event" in event:
            raise failure

    async def probe() -> AsyncIterator[int]:
        yield 1
        yield 2

    with pytest.raises(ZeroDivisionError) as caught:
        await events_of(agent_of(tool(probe), callback_handler=handler))
    assert caught.value is failure


# -- the context -------------------------------------------------------------------------------------------------------


async def test_the_context_says_whose_call_it_is() -> None:
    seen: list[ToolContext[Any]] = []

    @tool
    async def probe(ctx: ToolContext[Any]) -> None:
        seen.append(ctx)

    host = object()
    agent = Agent(
        ScriptedProvider(calls(("probe", {}), ("probe", {})), calls(("probe", {})), text("done")),
        [probe],
        name="worker",
        runtime=RUNTIME,
    )
    events = await events_of(agent, context=host)
    run_id = events[0].run_id
    seen.sort(key=lambda context: context.key)  # tools that run together begin in any order
    assert [(c.run_id, c.agent, c.call_id) for c in seen] == [
        (run_id, "worker", "call-1"),
        (run_id, "worker", "call-2"),
        (run_id, "worker", "call-1"),
    ]
    assert all(context.context is host for context in seen)
    assert [context.key for context in seen] == [
        f"{run_id}:1:0:call-1",
        f"{run_id}:1:1:call-2",
        f"{run_id}:2:0:call-1",
    ]


async def test_progress_from_a_tool_and_from_its_thread_comes_before_its_end() -> None:
    @tool
    async def here(ctx: ToolContext[Any]) -> None:
        ctx.progress("here")

    @tool
    def there(ctx: ToolContext[Any]) -> None:
        ctx.progress(("there", 1))

    for probe, data in ((here, "here"), (there, ["there", 1])):
        types = [(e.type, getattr(e, "data", None)) for e in await events_of(agent_of(probe))]
        at = types.index(("tool_progress", data))
        assert types.index(("tool_started", None)) < at < types.index(("tool_finished", None))


async def test_reporting_what_is_no_json_value_is_an_error_at_the_tool() -> None:
    @tool
    def probe(ctx: ToolContext[Any]) -> str:
        with pytest.raises(ToolError, match="probe reported progress that is no JSON value"):
            ctx.progress(io.StringIO())
        return "went on"

    assert (await result_of(probe)).text == "went on"


async def test_progress_after_the_call_has_ended_is_dropped() -> None:
    """Even where the model gives a later call the same id."""
    contexts: list[ToolContext[Any]] = []

    @tool
    async def first(ctx: ToolContext[Any]) -> None:
        contexts.append(ctx)

    @tool
    async def second(ctx: ToolContext[Any]) -> None:
        contexts[0].progress("late")
        await to_thread.run_sync(contexts[0].progress, "late, from a thread")
        ctx.progress("in time")

    provider = ScriptedProvider(calls(("first", {})), calls(("second", {})), text("done"))
    events = await events_of(Agent(provider, [first, second], runtime=RUNTIME))
    assert [event.data for event in events if isinstance(event, ToolProgress)] == ["in time"]
    contexts[0].progress("after the run")


async def test_progress_from_a_thread_whose_loop_is_gone_is_dropped(anyio_backend_name: str) -> None:
    contexts: list[ToolContext[Any]] = []

    @tool
    async def probe(ctx: ToolContext[Any]) -> None:
        contexts.append(ctx)

    def elsewhere() -> None:
        anyio.run(events_of, agent_of(probe), backend=anyio_backend_name)

    await to_thread.run_sync(elsewhere)
    contexts[0].progress("nobody hears it")


@pytest.mark.parametrize("where", ["here", "thread"])
async def test_a_callback_that_fails_on_reported_progress_fails_the_run(where: str) -> None:
    """The tool does not see it, so it cannot swallow it."""
    failure = ZeroDivisionError("theirs")

    def handler(**event: Any) -> None:
        if "tool_stream_event" in event:
            raise failure

    @tool
    async def probe(ctx: ToolContext[Any]) -> None:
        if where == "here":
            ctx.progress(1)
        else:
            await to_thread.run_sync(ctx.progress, 1)
        await anyio.sleep_forever()

    sink = ListSink()
    with pytest.raises(ZeroDivisionError) as caught:
        await events_of(agent_of(probe, callback_handler=handler, sinks=[sink]))
    assert caught.value is failure
    assert isinstance(sink.events[-1], RunFailed)
    (finished,) = [event for event in sink.events if isinstance(event, ToolFinished)]
    assert finished.result.status == "interrupted"


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def test_tools_see_the_callers_context_variables_and_change_none_of_them(as_kind: Any) -> None:
    def body() -> str:
        seen = VARIABLE.get()
        VARIABLE.set("from the tool")
        return seen

    VARIABLE.set("from the host")
    assert (await result_of(as_kind(body))).text == "from the host"
    assert VARIABLE.get() == "from the host"


async def test_a_sync_tool_may_use_the_event_loop_of_the_run() -> None:
    async def in_the_loop() -> str:
        await anyio.lowlevel.checkpoint()
        return "from the loop"

    assert (await result_of(lambda: from_thread.run(in_the_loop))).text == "from the loop"


# -- inside ------------------------------------------------------------------------------------------------------------


class Never:
    """Something to await that no event loop is asked for."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class NoEffects:
    """As much of `Effects` as a tool call touches."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def emit(self, event: Any) -> bool:
        self.events.append(event)
        return True

    async def room(self) -> None:
        await anyio.lowlevel.checkpoint()

    def now(self) -> float:
        return 0.0


def bare_calls(effects: NoEffects, *tools: Tool[..., Any]) -> ToolCalls:
    return ToolCalls(
        {item.name: item for item in tools},
        effects,  # type: ignore[arg-type]  # as much of it as is needed
        backend=current_backend(),
        alarm=Alarm(current_backend()),
        threads=RUNTIME.threads,
        seconds=None,
        agent="agent",
        context=None,
        stuck=lambda name: None,
        over=lambda: False,
        fail=lambda error: None,
        grace=1.0,
    )


async def test_a_call_that_was_answered_beforehand_is_not_made() -> None:
    """A policy's denial stands for the call."""
    effects = NoEffects()
    denied = ToolResult("c", "denied", (Text("no"),))
    plan = PlannedCall(("r", 1, 0, "c"), ToolCall("c", "probe"), denied)
    assert await bare_calls(effects, ONE).make([plan]) == [denied]
    assert [event.type for event in effects.events] == ["tool_finished"]


async def test_a_call_whose_loop_goes_away_is_closed_in_silence() -> None:
    """The interpreter closes coroutines that nobody runs to their end; they must let that pass."""
    effects = NoEffects()

    async def probe() -> None:
        await Never()

    making = bare_calls(effects, tool(probe)).make([PlannedCall(("r", 1, 0, "c"), ToolCall("c", "probe"))])

    def elsewhere() -> None:
        with pytest.raises(GeneratorExit):
            making.throw(GeneratorExit())

    making.send(None)
    await to_thread.run_sync(elsewhere)
    assert [event.type for event in effects.events] == ["tool_started"]
