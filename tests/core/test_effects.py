"""The effects done in this process: what a provider may do, what the run makes of it, and what the driver does then."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint
from becket import (
    Agent,
    ConfigError,
    Document,
    Image,
    Limits,
    MemoryLog,
    Message,
    MessageAdded,
    ModelFinished,
    ModelOptions,
    PluginError,
    PluginEvent,
    ProtocolError,
    ProviderError,
    ReasoningDelta,
    Runtime,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
    tool,
)
from becket.testing import ListSink, ScriptedProvider, calls, text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from becket import Event
    from becket.tools import AnyTool

pytestmark = pytest.mark.anyio


@tool
async def echo(word: str = "nothing") -> str:
    """Say it again."""
    return word


def make(provider: Any, *tools: AnyTool, **options: Any) -> Agent:
    return Agent(provider, tools, runtime=Runtime(discover=False), **options)


async def read(agent: Agent, events: list[Event] | None = None) -> list[Event]:
    events = [] if events is None else events
    async for event in agent.stream_async("go"):
        events.append(event)
    return events


# -- what a provider must not do ---------------------------------------------------------------------------------------


async def test_a_stream_that_ends_without_a_finish_is_an_error_that_keeps_the_text() -> None:
    events: list[Event] = []
    with pytest.raises(ProtocolError, match="'scripted' ended without a ModelFinished event"):
        await read(make(ScriptedProvider([TextDelta("half")])), events)
    (message,) = [event.message for event in events if event.type == "message_added"]
    assert (message.text, message.interrupted) == ("half", True)
    assert events[-1].type == "run_failed"


async def test_a_delta_after_the_end_is_an_error() -> None:
    with pytest.raises(ProtocolError, match=r"yielded TextDelta\(text='more'\) after ModelFinished"):
        await read(make(ScriptedProvider([*text("all"), TextDelta("more")])))


async def test_an_event_that_is_not_a_providers_is_an_error() -> None:
    stray: Any = MessageAdded(Message("user", (ToolResult("call-1", "success"),)))  # a result for no call
    with pytest.raises(ProtocolError, match=r"a provider yields TextDelta, .*, ExtensionDelta, PluginEvent, and last"):
        await read(make(ScriptedProvider([stray])))


async def test_a_provider_whose_stream_is_no_iterator_is_told_how_to_make_one() -> None:
    class Wrong(ScriptedProvider):
        async def stream(self, request: Any, /) -> Any:  # type: ignore[override]  # the mistake under test
            return []

    with pytest.raises(ProtocolError, match="make it an async generator"):
        await read(make(Wrong(text())))


async def test_a_provider_that_returns_a_list_is_told_the_same() -> None:
    class Wrong(ScriptedProvider):
        def stream(self, request: Any, /) -> Any:
            return text("at once")

    with pytest.raises(ProtocolError, match="make it an async generator"):
        await read(make(Wrong(text())))


async def test_a_plain_async_iterator_will_do() -> None:
    class Plain:
        def __init__(self) -> None:
            self.steps = iter(text("plain"))

        def __aiter__(self) -> Plain:
            return self

        async def __anext__(self) -> object:
            await checkpoint()
            try:
                return next(self.steps)
            except StopIteration:
                raise StopAsyncIteration from None

    class Provider(ScriptedProvider):
        def stream(self, request: Any, /) -> Any:
            return Plain()

    assert (await make(Provider(text())).invoke_async("go")).text == "plain"


async def test_a_provider_error_names_its_provider() -> None:
    with pytest.raises(ProviderError) as caught:
        await read(make(ScriptedProvider([ProviderError("busy", status=429, retryable=True)]), retry=None))
    assert caught.value.provider == "scripted"


async def test_the_run_failed_event_says_whose_fault_and_whether_to_try_again() -> None:
    events: list[Event] = []
    with pytest.raises(ProviderError):
        await read(make(ScriptedProvider([ProviderError("busy", retryable=True)]), retry=None), events)
    error = events[-1].error  # type: ignore[union-attr]
    assert (error.kind, error.message, error.provider, error.retryable) == ("ProviderError", "busy", "scripted", True)


async def test_an_error_is_unwrapped_from_groups_that_hold_nothing_else() -> None:
    error = ValueError("inner")
    with pytest.raises(ValueError, match="inner") as caught:
        await read(make(ScriptedProvider([ExceptionGroup("outer", [ExceptionGroup("middle", [error])])])))
    assert caught.value is error


async def test_keyboard_interrupt_from_a_provider_reaches_the_consumer() -> None:
    sink = ListSink()
    with pytest.raises(KeyboardInterrupt):
        await read(make(ScriptedProvider([KeyboardInterrupt()]), sinks=[sink]))
    assert sink.types[-1] == "run_failed"
    assert sink.closed == 1


async def test_a_provider_that_calls_sys_exit_fails_the_run_as_a_plugin() -> None:
    with pytest.raises(PluginError, match="the provider 'scripted' tried to end the process"):
        await read(make(ScriptedProvider([SystemExit(3)])))


async def test_a_stop_reason_that_is_the_runs_to_give_is_refused() -> None:
    with pytest.raises(ProtocolError, match="gave the stop reason 'cancelled', the run's to give"):
        await read(make(ScriptedProvider([ModelFinished("cancelled")])))


async def test_what_a_provider_reports_must_be_json() -> None:
    unsayable: Any = object()
    with pytest.raises(ProtocolError, match="the event 'loading' of 'scripted' holds no JSON value"):
        await read(make(ScriptedProvider([PluginEvent("scripted", "loading", unsayable)])))


# -- tool calls as models write them -----------------------------------------------------------------------------------


async def test_malformed_arguments_become_an_error_result_that_quotes_the_reason() -> None:
    provider = ScriptedProvider([ToolCallDelta("a", "echo", '{"word": "hal'), ModelFinished("tool_use")], text("sorry"))
    await make(provider, echo).invoke_async("go")
    (answer,) = provider.requests[1].messages[2].content
    assert isinstance(answer, ToolResult)
    assert answer.status == "error"
    assert "Unterminated string" in answer.text
    assert '{"word": "hal' in answer.text


async def test_arguments_beyond_the_limit_become_an_error_result() -> None:
    huge = '{"word": "' + "x" * 10_000_000 + '"}'
    provider = ScriptedProvider([ToolCallDelta("a", "echo", huge), ModelFinished("tool_use")], text("sorry"))
    await make(provider, echo).invoke_async("go")
    (answer,) = provider.requests[1].messages[2].content
    assert isinstance(answer, ToolResult)
    assert "10,000,012 characters, and 1,000,000 are allowed" in answer.text
    (call,) = provider.requests[1].messages[1].tool_calls
    assert call.malformed is not None
    assert len(call.malformed.text) == 2000  # the history does not carry ten megabytes of junk


async def test_a_call_id_used_twice_is_refused_by_name_and_both_are_answered() -> None:
    twice = [
        ToolCallDelta("same", "echo", '{"word": "one"}', 1),
        ToolCallDelta("same", "echo", '{"word": "two"}', 2),
        ModelFinished("tool_use"),
    ]
    provider = ScriptedProvider([TextDelta("both:"), *twice], text("ok"))
    await make(provider, echo).invoke_async("go")
    asked, answered = provider.requests[1].messages[1:3]
    assert [call.id for call in asked.tool_calls] == ["same", "same-2"]
    first, second = answered.content
    assert isinstance(first, ToolResult)
    assert isinstance(second, ToolResult)
    assert (first.text, first.status) == ("one", "success")
    assert second.status == "error"
    assert "the call id 'same' was used twice" in second.text


async def test_a_call_without_an_id_is_given_one() -> None:
    provider = ScriptedProvider(
        [ToolCallDelta("", "echo", "{}", 1), ToolCallDelta("", "echo", "{}", 2), ModelFinished("tool_use")], text("ok")
    )
    await make(provider, echo).invoke_async("go")
    assert [call.id for call in provider.requests[1].messages[1].tool_calls] == ["call-1", "call-2"]


async def test_interleaved_fragments_of_parallel_calls_are_put_together_apart() -> None:
    script = [
        ToolCallDelta("a", "echo", '{"word"', 1),
        ToolCallDelta("b", "echo", '{"wo', 2),
        ToolCallDelta("a", "echo", ': "A"}', 1),
        ToolCallDelta("b", "echo", 'rd": "B"}', 2),
        ModelFinished("tool_use"),
    ]
    provider = ScriptedProvider(script, text("ok"))
    events = await read(make(provider, echo))
    assert [block.text for block in provider.requests[1].messages[2].content] == ["A", "B"]  # type: ignore[union-attr]
    inputs = [event["current_tool_use"]["input"] for event in events if "current_tool_use" in event]
    assert inputs == ['{"word"', '{"wo', '{"word": "A"}', '{"word": "B"}']


async def test_lone_surrogates_are_replaced_on_entry() -> None:
    script = [
        TextDelta("a\ud800b"),
        ReasoningDelta("r\udfff", 1),
        ToolCallDelta("c", "echo", '{"word": "\\ud800"}', 2),
        ModelFinished("tool_use"),
    ]
    events = await read(make(ScriptedProvider(script, text("ok")), echo))
    assert all(event.to_json() for event in events)
    assert next(event.text for event in events if event.type == "text_delta") == "a\ufffdb"
    (finished,) = [event.result for event in events if event.type == "tool_finished"]
    assert finished.text == "\ufffd"


async def test_reasoning_and_what_a_provider_reports_are_events_and_the_reasoning_is_kept() -> None:
    script = [
        PluginEvent("scripted", "loading", {"percent": 50}),
        ReasoningDelta("let me "),
        ReasoningDelta("think"),
        ReasoningDelta(signature="sealed"),
        *text("done"),
    ]
    events = await read(make(ScriptedProvider(script)))
    (message,) = [event.message for event in events if event.type == "message_added"]
    assert message.content[0].text == "let me think"  # type: ignore[union-attr]
    assert message.content[0].signature == "sealed"  # type: ignore[union-attr]
    assert [event.data for event in events if event.type == "plugin_event"] == [{"percent": 50}]


async def test_the_time_to_the_first_token_and_the_duration_are_measured() -> None:
    events = await read(make(ScriptedProvider([checkpoint, *text("x")])))
    (finished,) = [event for event in events if event.type == "model_finished"]
    assert 0 < finished.first_token_s <= finished.duration_s  # type: ignore[operator]


# -- limits and options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "reason", "called"),
    [
        (Limits(cycles=3), "limit_cycles", 3),
        (Limits(tokens=20), "limit_tokens", 1),  # what the second answer asks for is not called
        (Limits(tool_calls=2), "limit_tool_calls", 2),
    ],
)
async def test_a_limit_ends_the_run_with_a_stop_reason(limits: Limits, reason: str, called: int) -> None:
    made: list[str] = []

    @tool
    async def count() -> str:
        made.append("call")
        return "counted"

    result = await make(ScriptedProvider(calls(("count", {}))), count, limits=limits).invoke_async("go")
    assert (result.stop_reason, len(made)) == (reason, called)


async def test_calls_beyond_the_limit_are_answered_without_being_made() -> None:
    sink = ListSink()
    provider = ScriptedProvider(calls(("echo", {}), ("echo", {}), ("echo", {})))
    result = await make(provider, echo, limits=Limits(tool_calls=2), sinks=[sink]).invoke_async("go")
    assert result.stop_reason == "limit_tool_calls"
    last = [event.message for event in sink.events if event.type == "message_added"][-1]
    assert [block.status for block in last.content] == ["success", "success", "interrupted"]  # type: ignore[union-attr]


async def test_the_limits_of_one_run_stand_instead_of_the_agents() -> None:
    agent = make(ScriptedProvider(calls(("echo", {}))), echo, limits=Limits(cycles=5))
    assert (await agent.invoke_async("go", limits=Limits(cycles=2))).cycles == 2
    assert (await agent.invoke_async("go")).cycles == 5


async def test_the_provider_is_given_what_the_agent_was_given() -> None:
    provider = ScriptedProvider(text("x"))
    options = ModelOptions(temperature=0.5, max_tokens=7, tool_choice="any", stop=("END",), seed=1, extra={"top_k": 3})
    await make(provider, echo, options=options, system_prompt="Be brief.").invoke_async("go")
    (request,) = provider.requests
    assert (request.model, request.system, request.options) == ("model", "Be brief.", options)
    assert [spec.name for spec in request.tools] == ["echo"]
    assert request.key[1:] == (1, 1)


async def test_usage_is_added_up_over_the_cycles() -> None:
    result = await make(ScriptedProvider(calls(("echo", {})), text("a")), echo).invoke_async("go")
    assert result.usage == Usage(20, 2)
    assert (result.cycles, result.text, str(result)) == (2, "a", "a")


# -- prompts and history -----------------------------------------------------------------------------------------------


async def test_a_prompt_may_be_text_blocks_or_messages() -> None:
    provider = ScriptedProvider(text("x"))
    agent = make(provider)
    blocks = [Text("what is this?"), Image.from_bytes(b"png", media_type="image/png"), Document("text/plain", url="u")]
    message = Message("user", (Text("hello"),))
    for prompt in ("hello", blocks, [message], message):
        await agent.invoke_async(prompt)  # type: ignore[arg-type]
    first = [request.messages[0] for request in provider.requests]
    assert first[0] == first[2] == first[3] == message
    assert first[1] == Message("user", tuple(blocks))  # type: ignore[arg-type]


async def test_history_comes_before_the_prompt_and_is_not_changed() -> None:
    provider = ScriptedProvider(text("x"))
    history = [Message("user", (Text("hi"),)), Message("assistant", (Text("hello"),))]
    await make(provider).invoke_async("and now?", history=history)
    assert [message.text for message in provider.requests[0].messages] == ["hi", "hello", "and now?", "x"]
    assert len(history) == 2


@pytest.mark.parametrize("prompt", ["", "  \n", [], ()])
async def test_an_empty_prompt_is_refused_before_anything_starts(prompt: Any) -> None:
    with pytest.raises(ConfigError, match="the prompt is empty"):
        make(ScriptedProvider(text())).stream_async(prompt)


async def test_a_history_with_an_unanswered_call_is_refused() -> None:
    with pytest.raises(ConfigError, match="the tool call 'c' of this history has no result"):
        make(ScriptedProvider(text())).stream_async("go", history=[Message("assistant", (ToolCall("c", "echo"),))])


async def test_a_prompt_may_answer_the_last_calls_of_the_history() -> None:
    history = [Message("user", (Text("hi"),)), Message("assistant", (ToolCall("c", "echo"),))]
    answer = Message("user", (ToolResult("c", "success", (Text("done"),)),))
    assert (await make(ScriptedProvider(text("x"))).invoke_async(answer, history=history)).text == "x"


# -- the log ---------------------------------------------------------------------------------------------------------


async def test_an_event_that_the_log_has_already_is_not_shown_again() -> None:
    class Lasting(MemoryLog):
        """A log that outlived an earlier execution of the run, which got as far as the first model call."""

        def append(self, event: Event, /) -> bool:
            return event.type not in ("run_started", "cycle_started") and super().append(event)

    sink = ListSink()
    runtime = Runtime(discover=False, make_log=lambda _: Lasting())
    agent = Agent(ScriptedProvider(text("x")), sinks=[sink], runtime=runtime)
    assert (await agent.invoke_async("go")).text == "x"
    assert sink.types[0] == "model_started"
    assert sink.events[0].seq == 1


async def test_the_log_is_flushed_once_more_when_the_run_is_over() -> None:
    flushed: list[int] = []

    class Lasting(MemoryLog):
        async def flush(self) -> None:
            flushed.append(len(self.after(0)))

    runtime = Runtime(discover=False, make_log=lambda _: Lasting())
    events = await read(Agent(ScriptedProvider(text("x")), runtime=runtime))
    assert flushed == [1, len(events)]


async def test_a_log_that_cannot_make_the_end_last_is_told_to_the_reader() -> None:
    class Full(MemoryLog):
        async def flush(self) -> None:
            if any(event.type == "run_finished" for event in self.after(0)):
                raise OSError("disk full")

    events: list[Event] = []
    runtime = Runtime(discover=False, make_log=lambda _: Full())
    with pytest.raises(OSError, match="disk full"):
        await read(Agent(ScriptedProvider(text("x")), runtime=runtime), events)
    assert events[-1].type == "run_finished"


async def test_a_log_that_hangs_at_the_end_is_left_behind_and_named(caplog: pytest.LogCaptureFixture) -> None:
    hangs = anyio.Event()

    class Hanging(MemoryLog):
        async def flush(self) -> None:
            if any(event.type == "run_finished" for event in self.after(0)):
                hangs.set()
                await anyio.sleep_forever()

    runtime = Runtime(discover=False, make_log=lambda _: Hanging())
    async with Agent(ScriptedProvider(text("x")), runtime=runtime).stream_async("go") as stream:
        await hangs.wait()
        await stream.aclose(grace=0.01)
    assert "left behind: its log or its sinks" in caplog.text


async def test_a_log_that_takes_too_long_at_the_end_is_told_to_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("becket._driver.GRACE", 0.02)

    class Slow(MemoryLog):
        async def flush(self) -> None:
            if any(event.type == "run_finished" for event in self.after(0)):
                await anyio.sleep_forever()

    events: list[Event] = []
    runtime = Runtime(discover=False, make_log=lambda _: Slow())
    with pytest.raises(TimeoutError, match=r"the log of the run \w+ did not make its end last in 0.02 s"):
        await read(Agent(ScriptedProvider(text("x")), runtime=runtime), events)
    assert events[-1].type == "run_finished"


# -- the public fakes ------------------------------------------------------------------------------------------------


def test_a_scripted_provider_without_a_script_says_what_to_give_it() -> None:
    with pytest.raises(ConfigError, match=r"ScriptedProvider\(text\('hello'\)\) is the shortest"):
        ScriptedProvider()


def test_a_scripted_provider_lists_its_model() -> None:
    assert [model.name for model in ScriptedProvider(text(), model="m").models()] == ["m"]


def test_a_list_sink_takes_no_argument() -> None:
    with pytest.raises(ConfigError, match="the sink 'list' takes no argument, and was given 'x'"):
        ListSink().with_argument("x")


# -- the agent ---------------------------------------------------------------------------------------------------------


async def test_replace_makes_another_agent_and_leaves_the_first() -> None:
    provider, other = ScriptedProvider(text("x")), ScriptedProvider(text("y"), name="other")
    agent = make(provider, echo, name="first")
    changed = agent.replace(model=other, name="second", tools=[])
    assert (await agent.invoke_async("go")).text == "x"
    assert (await changed.invoke_async("go")).text == "y"
    assert (agent.name, agent.model, list(agent.tools)) == ("first", "scripted:model", ["echo"])
    assert (changed.name, changed.model, list(changed.tools)) == ("second", "other:model", [])
    assert repr(changed) == "<agent 'second'>"


def test_two_tools_of_one_name_are_refused_by_name() -> None:
    @tool(name="echo")
    async def another() -> str:
        return ""

    with pytest.raises(ConfigError, match="two tools are named 'echo': that of"):
        make(ScriptedProvider(text()), echo, another)


def test_the_same_tool_twice_is_the_tool_once() -> None:
    assert list(make(ScriptedProvider(text()), echo, echo).tools) == ["echo"]


async def test_a_sink_that_is_none_is_refused_before_anything_starts() -> None:
    no_sink: Any = object()
    with pytest.raises(ConfigError, match="is no sink; it takes an object with what"):
        make(ScriptedProvider(text()), sinks=[no_sink])


def test_a_function_that_is_no_tool_is_refused_with_what_to_do() -> None:
    undecorated: Any = len
    with pytest.raises(ConfigError, match=r"is no tool; decorate the function with @becket\.tool"):
        make(ScriptedProvider(text()), undecorated)


def test_a_model_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="it takes 'provider:model', or a provider object"):
        make(42)


@pytest.mark.parametrize(
    ("option", "given", "takes"),
    [
        ("limits", {"cycles": 3}, r"Limits\(\.\.\.\), or None"),
        ("options", {"temperature": 1}, r"ModelOptions\(\.\.\.\), or None"),
        ("retry", 3, r"Backoff\(\.\.\.\), or an object with what becket.RetryPolicy has, or None"),
    ],
)
def test_an_option_that_is_none_is_refused_with_what_it_takes(option: str, given: Any, takes: str) -> None:
    with pytest.raises(ConfigError, match=f"^{option} is .*; it takes {takes}$"):
        make(ScriptedProvider(text()), **{option: given})


def test_limits_of_a_run_that_are_none_are_refused() -> None:
    wrong: Any = {"cycles": 3}
    with pytest.raises(ConfigError, match=r"^limits is .*; it takes Limits"):
        make(ScriptedProvider(text())).stream_async("go", limits=wrong)


def test_one_tool_instead_of_a_list_is_understood() -> None:
    assert list(Agent(ScriptedProvider(text()), echo, runtime=Runtime(discover=False)).tools) == ["echo"]  # type: ignore[arg-type]  # as users do


async def test_one_name_instead_of_a_list_of_sinks_is_understood() -> None:
    with pytest.raises(ConfigError, match="there is no sink 'console'"):
        make(ScriptedProvider(text()), sinks="console").stream_async("go")


def test_one_name_instead_of_a_list_of_tools_is_understood() -> None:
    runtime = Runtime(discover=False)
    with pytest.raises(ConfigError, match="there is no tool 'calculator'"):
        Agent(ScriptedProvider(text()), "calculator", runtime=runtime)


# -- the driver --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_driver_that_the_loop_itself_cancels_still_ends_with_one_terminal_event() -> None:
    sink, parked = ListSink(), anyio.Event()

    async def park() -> None:
        parked.set()
        await anyio.sleep_forever()

    stream = make(ScriptedProvider([TextDelta("a"), park]), sinks=[sink]).stream_async("go")
    await anext(stream)
    await parked.wait()
    (task,) = [task for task in asyncio.all_tasks() if task.get_name().startswith("becket run")]
    task.cancel()
    types = [event.type async for event in stream]
    assert types[-1] == "run_finished"
    assert sink.types.count("run_finished") == 1
    assert sink.closed == 1


async def test_leaving_the_runtime_cancels_its_runs_and_waits_for_them() -> None:
    sink, parked = ListSink(), anyio.Event()

    async def park() -> None:
        parked.set()
        await anyio.sleep_forever()

    runtime = Runtime(discover=False)
    agent = Agent(ScriptedProvider([TextDelta("a"), park]), sinks=[sink], runtime=runtime)
    async with runtime:
        stream = agent.stream_async("go")
        await anext(stream)
        await parked.wait()
    assert sink.types[-1] == "run_finished"
    assert sink.closed == 1


async def test_a_run_inside_a_tool_of_another_run_may_close_the_outer_stream_without_waiting() -> None:
    holder: list[Any] = []

    @tool
    async def inner() -> str:
        @tool
        async def close_outer() -> str:
            await holder[0].aclose()
            return "closed"

        nested = make(ScriptedProvider(calls(("close_outer", {})), text("nested")), close_outer)
        return (await nested.invoke_async("go")).text

    sink = ListSink()
    holder.append(make(ScriptedProvider(calls(("inner", {})), text("x")), inner, sinks=[sink]).stream_async("go"))
    with anyio.fail_after(2):
        async for _ in holder[0]:
            pass
        while not sink.closed:
            await checkpoint()
    assert sink.types[-1] == "run_finished"


async def test_a_stream_may_be_closed_from_another_event_loop() -> None:
    sink, parked = ListSink(), anyio.Event()

    async def park() -> None:
        parked.set()
        await anyio.sleep_forever()

    stream = make(ScriptedProvider([TextDelta("a"), park]), sinks=[sink]).stream_async("go")
    await anext(stream)
    await parked.wait()
    await anyio.to_thread.run_sync(lambda: anyio.run(stream.aclose))  # posts, and cannot wait for another loop's work
    with anyio.fail_after(5):
        while not sink.closed:
            await checkpoint()
    assert sink.types[-1] == "run_finished"


async def test_a_model_that_swallows_its_cancellation_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    release, parked = anyio.Event(), anyio.Event()

    async def hold() -> None:
        parked.set()
        with anyio.CancelScope(shield=True):
            await release.wait()

    stream = make(ScriptedProvider([TextDelta("a"), hold, *text("b")])).stream_async("go")
    await anext(stream)
    await parked.wait()
    with caplog.at_level(logging.ERROR, "becket"):
        await stream.aclose(grace=0.01)
    assert "left behind: the model scripted:model" in caplog.text
    release.set()
    for _ in range(20):
        await checkpoint()


async def test_a_silent_model_that_swallows_its_cancellation_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    release = anyio.Event()

    async def hold() -> None:
        with anyio.CancelScope(shield=True):
            await release.wait()

    monkeypatch.setattr("becket._inprocess.GRACE", 0.01)  # a number: five seconds would be five seconds
    agent = make(ScriptedProvider([hold, *text("b")]), limits=Limits(silence_seconds=0.01), retry=None)
    with pytest.raises(TimeoutError, match="the model 'scripted:model' did not end when its time limit cancelled it"):
        await agent.invoke_async("go")
    release.set()
    for _ in range(20):
        await checkpoint()


async def test_a_slow_reader_is_not_taken_for_a_silent_model() -> None:
    class Eager(ScriptedProvider):
        async def stream(self, request: Any, /) -> AsyncIterator[Any]:
            for _ in range(600):
                yield TextDelta("x")
            yield text()[-1]

    stream = make(Eager(text()), limits=Limits(silence_seconds=0.01)).stream_async("go")
    await anext(stream)
    await anyio.sleep(0.05)  # a time limit is under test
    assert len([event async for event in stream if event.type == "text_delta"]) == 600


async def test_without_a_limit_on_silence_no_timer_is_set() -> None:
    agent = make(ScriptedProvider(text("x")), limits=Limits(silence_seconds=None, tool_seconds=None))
    assert (await agent.invoke_async("go")).text == "x"
