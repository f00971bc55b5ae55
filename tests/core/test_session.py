"""Sessions: what a run finds, what it leaves behind however it ends, and that there is one at a time."""

from __future__ import annotations

import asyncio
import gc
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import becket._sessions as inner
import pytest
from anyio.lowlevel import checkpoint
from becket import (
    Agent,
    ConfigError,
    Limits,
    MemorySessionStore,
    Message,
    ModelFinished,
    PluginError,
    ProtocolError,
    ProviderError,
    Runtime,
    Session,
    SessionError,
    SessionState,
    SessionUpdate,
    Text,
    TextDelta,
    ToolResult,
    Usage,
    hookimpl,
    tool,
)
from becket.testing import ListSink, ScriptedProvider, calls, text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from becket import AgentStream, Event
    from becket.tools import AnyTool

pytestmark = pytest.mark.anyio


class Store(MemorySessionStore):
    """The store in memory, with something awaited before each step; it counts what was saved."""

    __slots__ = ("closed", "loading", "saved", "saving")

    def __init__(
        self,
        *,
        loading: Callable[[], Awaitable[object]] | None = None,
        saving: Callable[[SessionUpdate], Awaitable[object]] | None = None,
    ) -> None:
        super().__init__()
        self.loading = loading
        self.saving = saving
        self.saved: list[SessionUpdate] = []
        self.closed = 0

    async def load(self, session_id: str, /) -> SessionState | None:
        if self.loading is not None:
            await self.loading()
        return await super().load(session_id)

    async def save(self, update: SessionUpdate, /) -> bool:
        if self.saving is not None:
            await self.saving(update)
        self.saved.append(update)
        return await super().save(update)

    async def aclose(self) -> None:
        self.closed += 1


class Pause:
    """A tool that waits until it is let go."""

    def __init__(self) -> None:
        self.started = anyio.Event()
        self.release = anyio.Event()

    def tool(self) -> AnyTool:
        @tool(name="pause")
        async def pause() -> str:
            self.started.set()
            await self.release.wait()
            return "went on"

        return pause


def agent_of(*scripts: Any, tools: Any = (), store: Any = None, **options: Any) -> Agent:
    provider = ScriptedProvider(*(scripts or (text("hello"),)))
    return Agent(provider, tools, runtime=Runtime(discover=False, session_store=store), **options)


def pausing(pause: Pause, store: Any = None) -> Agent:
    return agent_of(calls(("pause", {})), text("done"), tools=[pause.tool()], store=store)


def said(messages: list[Message]) -> list[str]:
    """Who said what, in short."""
    return [f"{message.role}: {message.text or message.content[0].type}" for message in messages]


async def read(stream: AgentStream, events: list[Event] | None = None) -> list[Event]:
    events = [] if events is None else events
    async for event in stream:
        events.append(event)
    return events


# -- one run after the other -------------------------------------------------------------------------------------------


async def test_the_next_run_begins_where_the_one_before_ended() -> None:
    agent = agent_of(text("one"))
    session = agent.session("chat")
    assert await session.messages() == []
    await session.invoke_async("first")
    result = await agent.session("chat").invoke_async("second")
    assert result.text == "one"
    assert said(await session.messages()) == ["user: first", "assistant: one", "user: second", "assistant: one"]
    state = await session.state()
    assert (state.id, state.usage) == ("chat", Usage(20, 2))


async def test_the_model_gets_the_history() -> None:
    provider = ScriptedProvider(text("one"))
    session = Agent(provider, runtime=Runtime(discover=False)).session("chat")
    await session.invoke_async("first")
    await session.invoke_async("second")
    assert said(list(provider.requests[1].messages)) == [
        "user: first",
        "assistant: one",
        "user: second",
        "assistant: one",
    ]


async def test_events_name_the_session() -> None:
    sink = ListSink()
    events = await read(agent_of(sinks=[sink]).session("chat").stream_async("hi"))
    assert events[0].session_id == "chat"
    assert [run.session_id for run in sink.opened] == ["chat"]


async def test_the_agent_holds_no_conversation() -> None:
    agent = agent_of()
    await agent.session("chat").invoke_async("hi")
    provider: Any = ScriptedProvider(text("x"))
    await agent.replace(model=provider).invoke_async("alone")
    assert len(provider.requests[0].messages) == 2


async def test_sessions_with_other_ids_know_nothing_of_each_other() -> None:
    agent = agent_of()
    await agent.session("a").invoke_async("first")
    await agent.session("b").invoke_async("second")
    assert said(await agent.session("b").messages()) == ["user: second", "assistant: hello"]


def test_a_session_is_called_from_sync_code() -> None:
    session = agent_of().session("chat")
    assert session("one").text == "hello"
    session("two", context=None, limits=Limits(cycles=1))
    assert len(anyio.run(session.messages)) == 4


def test_a_session_says_what_it_is() -> None:
    agent = agent_of()
    session = agent.session("chat")
    assert (repr(session), session.id, session.agent) == ("<session 'chat' of <agent 'agent'>>", "chat", agent)
    assert repr(MemorySessionStore()) == "<memory store of 0 sessions>"


async def test_making_a_session_or_a_stream_touches_no_store() -> None:
    async def refuse(*_: object) -> None:
        raise AssertionError("nobody asked")

    session = agent_of(store=Store(loading=refuse, saving=refuse)).session("chat")
    stream = session.stream_async("hi")
    await checkpoint()
    await stream.aclose()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (42, "a session's id is a text, and this is 42; write '42'"),
        ("", "names the conversation, and this is ''"),
        (" \n", "names the conversation"),
        ("x" * 257, "has 257 characters, and 256 are allowed"),
        ("a\0b", r"has the control character '\\x00' in it"),
        ("a\ud800", "has the control character"),
    ],
)
def test_an_id_that_is_none_is_refused(given: Any, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        agent_of().session(given)


@pytest.mark.parametrize(
    "given", ["user/7: 'caf\N{LATIN SMALL LETTER E WITH ACUTE}' \N{CAT FACE}", "x" * 256, "0", " a"]
)
async def test_any_other_text_is_an_id(given: str) -> None:
    session = agent_of().session(given)
    await session.invoke_async("hi")
    assert (await session.state()).id == given


async def test_an_empty_prompt_is_refused_before_anything_is_held() -> None:
    session = agent_of().session("chat")
    with pytest.raises(ConfigError, match="the prompt is empty"):
        session.stream_async(" ")
    await session.invoke_async("hi")


# -- however a run ends ------------------------------------------------------------------------------------------------


async def test_a_cancelled_tool_call_is_answered_and_the_next_prompt_stands_after_an_answer() -> None:
    pause = Pause()
    agent = pausing(pause)
    session = agent.session("chat")
    async with session.stream_async("wait"):
        await pause.started.wait()
    assert said(await session.messages()) == ["user: wait", "assistant: tool_call", "user: tool_result"]
    pause.release.set()
    await session.invoke_async("and now?")
    messages = await session.messages()
    assert said(messages)[3:5] == ["assistant: The run ended before there was an answer.", "user: and now?"]
    assert [message.role for message in messages] == ["user", "assistant"] * 4
    assert [message.interrupted for message in messages].index(True) == 3


async def test_partial_text_is_kept_and_marked() -> None:
    session = agent_of([TextDelta("half"), anyio.sleep_forever]).session("chat")
    async for event in session.stream_async("go"):
        if event.type == "text_delta":
            break
    await session.clear()  # which waits for the run that was left; the next one is looked at
    async with session.stream_async("go") as events:
        async for event in events:
            if event.type == "text_delta":
                break
    messages = await session.messages()
    assert said(messages) == ["user: go", "assistant: half"]
    assert messages[1].interrupted


async def test_the_prompt_of_a_run_that_failed_is_kept() -> None:
    session = agent_of([ProviderError("down")]).session("chat")
    for prompt in ("one", "two"):
        with pytest.raises(ProviderError, match="down"):
            await session.invoke_async(prompt)
    assert [message.role for message in await session.messages()] == ["user", "assistant", "user"]


async def test_a_prompt_that_begins_with_the_assistant_needs_no_answer_before_it() -> None:
    session = agent_of([ProviderError("down")], [ProviderError("down")]).session("chat")
    with pytest.raises(ProviderError):
        await session.invoke_async("one")
    prompt = [Message("assistant", (Text("well"),)), Message("user", (Text("two"),))]
    with pytest.raises(ProviderError):
        await session.invoke_async(prompt)
    assert said(await session.messages()) == ["user: one", "assistant: well", "user: two"]


async def test_a_limit_ends_a_run_whose_history_is_kept() -> None:
    @tool
    async def look() -> str:
        return "seen"

    session = agent_of(calls(("look", {})), tools=[look]).session("chat")
    result = await session.invoke_async("go", limits=Limits(cycles=2))
    assert result.stop_reason == "limit_cycles"
    assert said(await session.messages()) == ["user: go", *["assistant: tool_call", "user: tool_result"] * 2]


async def test_history_is_stored_before_the_model_is_called_and_once_a_cycle() -> None:
    @tool
    async def look() -> str:
        return "seen"

    store = Store()
    agent = agent_of(calls(("look", {})), text("done"), tools=[look], store=store)
    await agent.session("chat").invoke_async("go")
    assert [said(list(update.messages)) for update in store.saved] == [
        ["user: go"],
        ["assistant: tool_call", "user: tool_result"],
        ["assistant: done"],
    ]
    assert [update.usage.input_tokens for update in store.saved] == [0, 10, 10]
    assert {update.run_id for update in store.saved} == {(await agent.session("chat").state()).run_id}


async def test_tokens_of_a_call_that_added_no_message_are_stored() -> None:
    session = agent_of([ModelFinished("end_turn", Usage(7, 0))]).session("chat")
    await session.invoke_async("go")
    assert (await session.state()).usage == Usage(7, 0)


async def test_a_reader_that_holds_the_run_up_stores_no_half_a_cycle() -> None:
    """A full buffer has the run wait in the middle of an answer, where there is nothing to store."""
    store = Store()
    session = agent_of([*(TextDelta("x") for _ in range(600)), ModelFinished("end_turn")], store=store).session("chat")
    await session.invoke_async("go")
    assert len(store.saved) == 2


async def test_history_is_stored_before_the_reader_is_told_that_the_run_is_over() -> None:
    store = Store(saving=lambda _: checkpoint())
    session = agent_of(store=store).session("chat")
    await read(session.stream_async("go"))
    assert len(store.saved) == 2


# -- one run at a time -------------------------------------------------------------------------------------------------


async def test_a_second_run_is_refused_and_says_which_goes_on() -> None:
    pause, store = Pause(), MemorySessionStore()
    first = pausing(pause, store).session("chat")
    other = agent_of(store=store).session("chat")  # another handle, agent and runtime
    async with first.stream_async("wait") as events:
        await pause.started.wait()
        seen: list[Event] = []
        with pytest.raises(
            SessionError, match=f"the run {events.run_id} goes on in the session 'chat'.*fork"
        ) as caught:
            await read(other.stream_async("me too"), seen)
        assert (caught.value.session_id, caught.value.running) == ("chat", events.run_id)
        assert [event.type for event in seen] == ["run_started", "run_failed"]
        assert seen[1].error.kind == "SessionError"
        await other.agent.session("another").invoke_async("hi")  # others are free
        pause.release.set()
        await read(events)
    assert "me too" not in str(await first.messages())
    await other.invoke_async("now")


async def test_of_two_streams_the_one_that_starts_first_has_the_session() -> None:
    pause = Pause()
    session = pausing(pause).session("chat")
    one, two = session.stream_async("1"), session.stream_async("2")
    async with two:
        with pytest.raises(SessionError):
            await read(one)


async def test_a_stream_that_was_never_started_holds_nothing() -> None:
    session = agent_of().session("chat")
    stream = session.stream_async("never")
    await session.invoke_async("hi")
    assert len(await session.messages()) == 2
    del stream


async def test_a_run_of_a_tool_in_its_own_session_is_refused() -> None:
    sessions: list[Session] = []

    @tool
    async def recurse() -> str:
        await sessions[0].invoke_async("again")
        return "never"

    sessions.append(agent_of(calls(("recurse", {})), text("done"), tools=[recurse]).session("chat"))
    await sessions[0].invoke_async("go")
    result = (await sessions[0].messages())[2].content[0]
    assert isinstance(result, ToolResult)
    assert "goes on in the session 'chat'" in result.text


async def leave_by_break(session: Session, pause: Pause) -> None:
    async for event in session.stream_async("go"):
        if event.type == "tool_started":
            break


async def leave_by_closing(session: Session, pause: Pause) -> None:
    stream = session.stream_async("go")
    await stream.__anext__()
    await stream.aclose()


async def leave_by_cancelling(session: Session, pause: Pause) -> None:
    stream = session.stream_async("go")
    await stream.__anext__()
    stream.cancel()
    globals()["kept"] = stream  # held, and never read to its end


async def leave_by_an_exception(session: Session, pause: Pause) -> None:
    with pytest.raises(LookupError):
        async with session.stream_async("go"):
            await pause.started.wait()
            raise LookupError


async def leave_by_a_time_limit(session: Session, pause: Pause) -> None:
    with anyio.CancelScope() as scope:
        async for event in session.stream_async("go"):
            if event.type == "tool_started":
                scope.cancel()


async def leave_by_reading_the_terminal_event(session: Session, pause: Pause) -> None:
    pause.release.set()
    stream = session.stream_async("go")
    async for event in stream:
        if event.type == "run_finished":
            break
    globals()["kept"] = stream


async def leave_by_failing(session: Session, pause: Pause) -> None:
    broken = agent_of([RuntimeError("broken")], store=session._store).session("chat")
    with pytest.raises(RuntimeError, match="broken"):
        await broken.invoke_async("go")


LEAVING = [value for name, value in list(globals().items()) if name.startswith("leave_by_")]


@pytest.mark.parametrize("leave", LEAVING, ids=lambda leave: leave.__name__)
async def test_however_a_run_is_left_the_next_one_may_begin_at_once(leave: Any) -> None:
    pause = Pause()
    session = pausing(pause).session("chat")
    await leave(session, pause)
    pause.release.set()
    with anyio.fail_after(5):
        result = await session.invoke_async("next")
    assert result.text == "done"
    messages = await session.messages()
    assert "user: next" in said(messages)
    roles = [message.role for message in messages]
    assert roles == ["user", "assistant"] * (len(roles) // 2)
    globals().pop("kept", None)


async def test_of_two_that_wait_for_a_run_that_was_left_one_goes_on() -> None:
    """The other is told of the one that has the session now."""
    first, second = Pause(), Pause()
    store = MemorySessionStore()
    session = pausing(first, store).session("chat")
    await leave_by_break(session, first)
    outcomes: list[object] = []

    async def attempt() -> None:
        try:
            outcomes.append((await pausing(second, store).session("chat").invoke_async("go")).text)
        except SessionError as error:
            outcomes.append(error.running is not None)
            second.release.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(attempt)
        tasks.start_soon(attempt)
    assert outcomes == [True, "done"]


async def test_a_run_in_another_thread_is_seen() -> None:
    pause, store = Pause(), MemorySessionStore()
    session = pausing(pause, store).session("chat")
    other = agent_of(store=store).session("chat")

    async def attempt() -> None:
        with pytest.raises(SessionError, match="goes on"):
            await other.invoke_async("hi")

    async with session.stream_async("go"):
        await pause.started.wait()
        await anyio.to_thread.run_sync(anyio.run, attempt)
    await anyio.to_thread.run_sync(anyio.run, other.invoke_async, "hi")
    assert said(await session.messages())[-1] == "assistant: hello"


async def test_a_run_that_was_left_in_another_thread_is_waited_for() -> None:
    """It is woken there when that run has let go; here the tool cleans up for as long as the other waits."""
    cleaning, go_on = threading.Event(), threading.Event()

    @tool
    async def slow() -> str:
        try:
            await anyio.sleep_forever()
        finally:
            cleaning.set()
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(go_on.wait, 5)

    store = MemorySessionStore()
    session = agent_of(calls(("slow", {})), tools=[slow], store=store).session("chat")
    async for event in session.stream_async("go"):
        if event.type == "tool_started":
            break
    other = agent_of(store=store).session("chat")

    async def attempt() -> None:
        async with other.stream_async("hi") as events:
            await events.__anext__()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, anyio.run, attempt)
        await anyio.to_thread.run_sync(cleaning.wait, 5)
        go_on.set()
    assert "user: hi" in said(await session.messages())


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio ends what runs in a loop when the loop ends
def test_a_run_whose_event_loop_was_closed_in_the_middle_holds_nothing(
    anyio_backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    session = agent_of([TextDelta("a"), anyio.sleep_forever]).session("chat")
    kept: list[AgentStream] = []

    async def begin() -> None:
        kept.append(session.stream_async("lost"))
        await kept[0].__anext__()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    tasks = asyncio.all_tasks(loop)
    loop.close()

    async def then() -> None:
        async for event in session.stream_async("next"):
            if event.type == "text_delta":
                return

    asyncio.run(then())
    assert said(anyio.run(session.messages))[-2:] == ["user: next", "assistant: a"]
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # asyncio would tell of what this test is about
        task.get_coro().close()  # type: ignore[union-attr]
    assert "its event loop was closed; its last cycle is not in its session" in caplog.text


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
def test_a_run_that_was_left_on_a_loop_that_stands_still_is_not_waited_for_for_ever(
    anyio_backend: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It cannot end; the one that waited takes the session over, and the first could store no more."""
    monkeypatch.setattr(inner, "PATIENCE", 0.01)
    session = agent_of([TextDelta("a"), anyio.sleep_forever], [TextDelta("b")]).session("chat")

    async def begin() -> None:
        async for event in session.stream_async("lost"):
            if event.type == "text_delta":
                break

    async def then() -> None:
        async for event in session.stream_async("next"):
            if event.type == "text_delta":
                break

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    asyncio.run(then())
    assert "has not let go of the session 'chat'" in caplog.text
    loop.run_until_complete(asyncio.gather(*asyncio.all_tasks(loop), return_exceptions=True))
    loop.close()
    assert "it was changed elsewhere since the run loaded it" in caplog.text


async def test_what_has_been_over_is_not_kept() -> None:
    session = agent_of().session("chat")
    await session.invoke_async("hi")
    gc.collect()
    assert "chat" not in {key[2] for key in inner._inside}


# -- the store fails ---------------------------------------------------------------------------------------------------


def failing(*at: int, error: BaseException | None = None) -> Callable[[SessionUpdate], Awaitable[None]]:
    """Fail at these calls, counted from 1."""
    count = 0

    async def fail(_: SessionUpdate) -> None:
        nonlocal count
        count += 1
        if count in at:
            raise error or OSError("disk full")

    return fail


async def test_a_session_that_cannot_be_loaded_fails_the_run_before_the_model_is_called() -> None:
    async def fail() -> None:
        raise OSError("no route")

    agent = agent_of(store=Store(loading=fail))
    seen: list[Event] = []
    with pytest.raises(SessionError, match="the session 'chat' could not be loaded: OSError: no route") as caught:
        await read(agent.session("chat").stream_async("hi"), seen)
    assert isinstance(caught.value.__cause__, OSError)
    assert [event.type for event in seen] == ["run_started", "run_failed"]
    with pytest.raises(SessionError, match="could not be loaded"):
        await agent.session("chat").messages()


@pytest.mark.parametrize("times", [1, 2])
async def test_errors_call_a_session_as_their_reader_does(times: int) -> None:
    """The error's own field has the id, for the host."""

    async def fail() -> None:
        raise OSError("no route")

    for store in (Store(loading=fail), Store(saving=failing(times))):
        session = agent_of(store=store).session("server/one/chat", called="chat")
        with pytest.raises(SessionError, match="the session 'chat' could not be") as caught:
            await session.invoke_async("hi")
        assert caught.value.session_id == "server/one/chat"


async def test_a_run_that_is_cancelled_while_it_loads_has_its_two_events() -> None:
    started = anyio.Event()

    async def hang() -> None:
        started.set()
        await anyio.sleep_forever()

    store = Store(loading=hang)
    stream = agent_of(store=store).session("chat").stream_async("hi")
    async with anyio.create_task_group() as tasks:

        async def cancel() -> None:
            await started.wait()
            stream.cancel()

        tasks.start_soon(cancel)
        events = await read(stream)
    assert [event.type for event in events] == ["run_started", "run_finished"]
    assert events[-1].result.stop_reason == "cancelled"
    assert store.saved == []


async def test_a_callback_handler_that_raises_at_the_start_of_such_a_run_fails_it() -> None:
    async def fail() -> None:
        raise OSError("no route")

    def handler(**_: object) -> None:
        raise LookupError("handler")

    agent = agent_of(store=Store(loading=fail), callback_handler=handler)
    with pytest.raises(SessionError, match="could not be loaded"):
        await agent.session("chat").invoke_async("hi")


async def test_a_session_that_cannot_be_stored_fails_the_run_and_is_tried_again_at_its_end() -> None:
    store = Store(saving=failing(1))
    session = agent_of(store=store).session("chat")
    with pytest.raises(SessionError, match="the session 'chat' could not be stored: OSError: disk full"):
        await session.invoke_async("hi")
    assert said(await session.messages()) == ["user: hi"]


async def test_a_failure_to_store_the_end_is_told_after_the_terminal_event(caplog: pytest.LogCaptureFixture) -> None:
    store = Store(saving=failing(2))
    session = agent_of(store=store).session("chat")
    seen: list[Event] = []
    with pytest.raises(SessionError, match="could not be stored: OSError: disk full"):
        await read(session.stream_async("hi"), seen)
    assert seen[-1].type == "run_finished"
    assert "disk full" in caplog.text
    await session.invoke_async("and again")
    assert said(await session.messages())[1:3] == [
        "assistant: The run ended before there was an answer.",
        "user: and again",
    ]


async def test_a_run_that_fails_by_itself_is_told_so_with_a_note_of_what_was_not_stored() -> None:
    session = agent_of([ProviderError("down")], store=Store(saving=failing(1, 2))).session("chat")
    with pytest.raises(SessionError, match="disk full") as caught:
        await session.invoke_async("hi")
    assert caught.value.__notes__ == ["the session 'chat' could not be stored: OSError: disk full"]


async def test_a_save_whose_answer_was_lost_is_written_once() -> None:
    lost = True

    class Store(MemorySessionStore):
        async def save(self, update: SessionUpdate, /) -> bool:
            nonlocal lost
            await super().save(update)
            if lost:
                lost = False
                raise ConnectionError("the answer was lost")
            return True

    session = agent_of(store=Store()).session("chat")
    with pytest.raises(SessionError, match="the answer was lost"):
        await session.invoke_async("hi")
    assert said(await session.messages()) == ["user: hi"]


async def test_a_session_that_was_changed_elsewhere_fails_the_run_before_the_model_is_called() -> None:
    provider = ScriptedProvider(text("never"))
    store = Store()

    session = Agent(provider, runtime=Runtime(discover=False, session_store=store)).session("chat")

    async def behind(update: SessionUpdate) -> None:
        store.saving = None
        await MemorySessionStore.save(store, SessionUpdate("chat", "", "theirs", (Message("user", (Text("x"),)),)))

    store.saving = behind
    with pytest.raises(
        SessionError, match=r"1 messages of the run .* are not stored in the session 'chat': it was chan"
    ):
        await session.invoke_async("hi")
    assert provider.requests == []
    assert said(await session.messages()) == ["user: x"]


async def test_a_store_that_hangs_at_the_end_is_given_up_after_the_grace(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(inner, "GRACE", 0.01)
    count = 0

    async def hang(_: SessionUpdate) -> None:
        nonlocal count
        count += 1
        if count == 2:
            await anyio.sleep_forever()

    session = agent_of(store=Store(saving=hang)).session("chat")
    with anyio.fail_after(5), pytest.raises(SessionError, match=r"1 messages .*: its store took longer than 0\.01 s"):
        await session.invoke_async("hi")
    assert "its store took longer" in caplog.text


async def test_a_store_that_swallows_its_cancellation_at_the_end_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(inner, "GRACE", 0.01)
    monkeypatch.setattr("becket._driver.GRACE", 0.01)
    release, ended = anyio.Event(), anyio.Event()
    count = 0

    async def swallow(_: SessionUpdate) -> None:
        nonlocal count
        count += 1
        if count == 2:
            with anyio.CancelScope(shield=True):
                await release.wait()
            ended.set()

    session = agent_of(store=Store(saving=swallow)).session("chat")
    with anyio.fail_after(5), pytest.raises(SessionError, match="its store did not end when it was cancelled"):
        await session.invoke_async("hi")
    assert "left behind: its session store" in caplog.text
    release.set()
    with anyio.fail_after(5):
        await ended.wait()
        await checkpoint()


async def test_a_store_that_swallows_its_cancellation_while_it_loads_is_left_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    release, loading = anyio.Event(), anyio.Event()

    async def swallow() -> None:
        loading.set()
        with anyio.CancelScope(shield=True):
            await release.wait()

    session = agent_of(store=Store(loading=swallow)).session("chat")
    stream = session.stream_async("hi")
    async with stream:
        await loading.wait()
        await stream.aclose(grace=0.01)
    assert "left behind: its session store" in caplog.text
    release.set()
    for _ in range(5):
        await checkpoint()


async def test_the_history_of_a_tool_that_swallows_its_cancellation_is_stored(caplog: pytest.LogCaptureFixture) -> None:
    release, started = anyio.Event(), anyio.Event()

    @tool
    async def stubborn() -> str:
        started.set()
        with anyio.CancelScope(shield=True):
            await release.wait()
        return "late"

    store = Store(saving=lambda _: checkpoint())
    session = agent_of(calls(("stubborn", {})), tools=[stubborn], store=store).session("chat")
    async with session.stream_async("go") as stream:
        await started.wait()
        async with anyio.create_task_group() as tasks:  # two that lose their patience at once
            tasks.start_soon(partial(stream.aclose, grace=0.01))
            tasks.start_soon(partial(stream.aclose, grace=0.01))
    assert caplog.text.count("left behind: tool 'stubborn'") == 1
    assert said(await session.messages()) == ["user: go", "assistant: tool_call", "user: tool_result"]
    release.set()
    for _ in range(20):
        await checkpoint()
    assert len(await session.messages()) == 3


class Odd(MemorySessionStore):
    __slots__ = ("loaded", "written")

    def __init__(self, *, loaded: Any = None, written: Any = True) -> None:
        super().__init__()
        self.loaded = loaded
        self.written = written

    async def load(self, session_id: str, /) -> SessionState | None:
        return self.loaded  # type: ignore[no-any-return]

    async def save(self, update: SessionUpdate, /) -> bool:
        return self.written  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("store", "why"),
    [
        (Odd(loaded=[]), r"load\(\) of the session store .* returned \[\] for the session 'chat'"),
        (Odd(loaded=SessionState("other")), r"returned SessionState\(id='other'"),
        (Odd(written=None), r"save\(\) of the session store .* returned None; it returns True or False"),
    ],
    ids=["no state", "another session", "no answer"],
)
async def test_a_store_that_returns_what_it_must_not_is_a_protocol_error(store: Odd, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        await agent_of(store=store).session("chat").invoke_async("hi")


# -- fork and clear ----------------------------------------------------------------------------------------------------


async def test_a_fork_goes_its_own_way() -> None:
    session = agent_of().session("chat")
    await session.invoke_async("one")
    fork = await session.fork("other")
    await fork.invoke_async("two")
    await session.invoke_async("three")
    assert said(await fork.messages())[::2] == ["user: one", "user: two"]
    assert said(await session.messages())[::2] == ["user: one", "user: three"]
    assert (await fork.state()).usage == Usage(10, 1)
    assert (fork.id, fork.agent) == ("other", session.agent)


async def test_a_fork_begins_with_the_first_messages() -> None:
    session = agent_of().session("chat")
    await session.invoke_async("one")
    await session.invoke_async("two")
    assert said(await (await session.fork("two", at=2)).messages()) == ["user: one", "assistant: hello"]
    assert await (await session.fork("none", at=0)).messages() == []


async def test_a_fork_may_be_made_while_a_run_goes_on() -> None:
    pause = Pause()
    session = pausing(pause).session("chat")
    async with session.stream_async("go"):
        await pause.started.wait()
        fork = await session.fork("other")
        assert said(await fork.messages()) == ["user: go"]


@pytest.mark.parametrize("at", [-1, 4])
async def test_a_fork_at_a_message_that_is_not_there_is_refused(at: int) -> None:
    session = agent_of().session("chat")
    await session.invoke_async("one")
    with pytest.raises(ConfigError, match=f"at is {at}, and the session 'chat' has 2 messages; it takes 0 to 2"):
        await session.fork("other", at=at)


async def test_a_fork_that_parts_a_call_from_its_result_is_refused() -> None:
    @tool
    async def look() -> str:
        return "seen"

    session = agent_of(calls(("look", {})), text("done"), tools=[look]).session("chat")
    await session.invoke_async("go")
    with pytest.raises(ConfigError, match=r"'chat' cannot be forked at 2: the tool call 'call-1' .* has no result"):
        await session.fork("other", at=2)


async def test_a_fork_to_a_session_that_is_there_is_refused() -> None:
    session = agent_of().session("chat")
    await session.invoke_async("one")
    for name in ("chat", "other"):
        if name == "other":
            await session.fork(name)
        with pytest.raises(SessionError, match=f"there is a session '{name}' already"):
            await session.fork(name)


async def test_clear_forgets_the_session() -> None:
    session = agent_of().session("chat")
    await session.invoke_async("one")
    await session.clear()
    await session.clear()
    assert await session.state() == SessionState("chat")
    await session.invoke_async("two")
    assert said(await session.messages()) == ["user: two", "assistant: hello"]


async def test_clear_is_refused_while_a_run_goes_on() -> None:
    pause = Pause()
    session = pausing(pause).session("chat")
    async with session.stream_async("go"):
        await pause.started.wait()
        with pytest.raises(SessionError, match="goes on in the session"):
            await session.clear()


async def test_a_run_waits_for_the_session_to_be_cleared() -> None:
    deleting, release = anyio.Event(), anyio.Event()

    class Slow(MemorySessionStore):
        async def delete(self, session_id: str, /) -> None:
            deleting.set()
            await release.wait()
            await super().delete(session_id)

    session = agent_of(store=Slow()).session("chat")
    await session.invoke_async("one")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session.clear)
        await deleting.wait()
        tasks.start_soon(session.invoke_async, "two")
        await checkpoint()
        release.set()
    assert said(await session.messages()) == ["user: two", "assistant: hello"]


async def test_a_store_that_cannot_delete_is_told() -> None:
    class Broken(MemorySessionStore):
        async def delete(self, session_id: str, /) -> None:
            raise OSError("read-only")

    session = agent_of(store=Broken()).session("chat")
    with pytest.raises(SessionError, match="the session 'chat' could not be cleared: OSError: read-only"):
        await session.clear()
    await session.invoke_async("and it is free")


# -- which store -------------------------------------------------------------------------------------------------------


class Giver:
    def __init__(self, gives: Any) -> None:
        self.gives = gives

    @hookimpl
    def make_session_store(self) -> Any:
        if isinstance(self.gives, Exception):
            raise self.gives
        return self.gives


class Second(Giver):
    pass


def test_a_plugin_may_give_the_store() -> None:
    store = MemorySessionStore()
    runtime = Runtime(discover=False, plugins=[Giver(None), Second(store)])
    assert runtime.session_store is store


def test_the_host_wins_over_a_plugin() -> None:
    store = MemorySessionStore()
    runtime = Runtime(discover=False, plugins=[Giver(ValueError("not asked"))], session_store=store)
    assert runtime.session_store is store
    assert runtime.plugins[0].status == "loaded"


def test_without_either_there_is_one_in_memory_for_each_runtime() -> None:
    one, two = Runtime(discover=False), Runtime(discover=False)
    assert isinstance(one.session_store, MemorySessionStore)
    assert one.session_store is one.session_store is not two.session_store


@pytest.mark.parametrize(
    ("gives", "why"),
    [
        (ValueError("no such folder"), "its make_session_store failed: ValueError: no such folder"),
        (MemorySessionStore, "it gave <class 'becket.session.MemorySessionStore'>, which is no SessionStore"),
        (5, "it gave 5, which is no SessionStore"),
    ],
    ids=["raises", "a class", "a number"],
)
def test_nothing_stands_in_for_a_store_that_a_plugin_failed_to_give(gives: Any, why: str) -> None:
    """History that the user believes to last would be lost with the process; runs without a session go on."""
    runtime = Runtime(discover=False, plugins=[Giver(gives), Second(MemorySessionStore())])
    agent = Agent(ScriptedProvider(text("hello")), runtime=runtime)
    with pytest.raises(
        PluginError, match=r"the session store is not there: plugin 'Giver' .* was to give it"
    ) as caught:
        agent.session("chat")
    assert why in str(caught.value)
    assert (caught.value.hook, runtime.plugins[0].status) == ("make_session_store", "quarantined")
    assert agent("without").text == "hello"
    with pytest.raises(PluginError, match="cannot be used"):
        Runtime(discover=False, strict=True, plugins=[Giver(gives)])


@pytest.mark.parametrize("given", [5, MemorySessionStore, "sqlite"])
def test_what_is_no_store_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"session_store is .*; it takes an object with what becket.SessionStore has"):
        Runtime(discover=False, session_store=given)


async def test_the_store_is_closed_with_the_runtime() -> None:
    store = Store()
    async with Runtime(discover=False, session_store=store) as runtime:
        agent = Agent(ScriptedProvider(text("hello")), runtime=runtime)
        await agent.session("chat").invoke_async("hi")
    assert store.closed == 1


async def test_a_store_that_fails_to_close_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(MemorySessionStore):
        async def aclose(self) -> None:
            raise OSError("gone")

    async with Runtime(discover=False, session_store=Broken()):
        pass
    assert "the session store failed to close" in caplog.text


async def test_many_sessions_at_once_are_kept_apart() -> None:
    agent = agent_of()
    async with anyio.create_task_group() as tasks:
        for number in range(300):
            tasks.start_soon(agent.session(f"s{number}").invoke_async, f"I am {number}")
    for number in range(0, 300, 50):
        assert said(await agent.session(f"s{number}").messages()) == [f"user: I am {number}", "assistant: hello"]
    gc.collect()
    assert not [key for key in inner._inside if key[2].startswith("s")]
