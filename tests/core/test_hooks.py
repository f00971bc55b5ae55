"""The hooks that are called in a run: what each may do, in which order, and what becomes of one that fails."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import becket
import pytest
from becket import (
    Agent,
    ConfigError,
    Event,
    HookContext,
    Json,
    Limits,
    Message,
    ModelFinished,
    ModelRequest,
    ModelStarted,
    PluginError,
    PluginEvent,
    PluginFailed,
    RunFailed,
    RunFinished,
    Runtime,
    Text,
    TextDelta,
    ToolCall,
    ToolFinished,
    ToolResult,
    ToolStarted,
    Usage,
    event_from_json,
    hookimpl,
    hookspecs,
    tool,
)
from becket._table import NO_HOOKS, RUN_HOOKS
from becket.testing import ListSink, ScriptedProvider, calls, text

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio


@tool(effect="none")
def echo(words: str) -> str:
    """Say it again."""
    if words == "fail":
        raise ValueError(words)
    return words


def plugin(name: str = "Asked", **hooks: Any) -> object:
    """A plugin with these functions as its hooks."""
    marked = {hook: staticmethod(hookimpl(function)) for hook, function in hooks.items()}
    return type(name, (), marked)()


def provider_of(*scripts: Any) -> ScriptedProvider:
    return ScriptedProvider(*scripts or (calls(("echo", {"words": "hi"})), text("done")))


def agent_of(*plugins: object, provider: ScriptedProvider | None = None, **options: Any) -> Agent:
    runtime = Runtime(plugins=plugins, discover=False, **options.pop("runtime", {}))
    return Agent(provider or provider_of(), options.pop("tools", (echo,)), runtime=runtime, **options)


async def read(agent: Agent, into: list[Event] | None = None, **more: Any) -> list[Event]:
    events: list[Event] = [] if into is None else into
    with anyio.fail_after(20):
        async with agent.stream_async("go", **more) as stream:
            async for event in stream:
                events.append(event)  # noqa: PERF401  what was read stays where the run fails
    return events


def only(events: list[Event], kind: Any) -> Any:
    (found,) = [event for event in events if isinstance(event, kind)]
    return found


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """What hangs is given up soon."""
    monkeypatch.setattr("becket._inprocess.GRACE", 0.1)
    monkeypatch.setattr("becket._driver.GRACE", 0.2)


# -- the table ---------------------------------------------------------------------------------------------------------


def test_every_hook_that_is_called_in_a_run_is_documented_where_authors_look() -> None:
    assert set(RUN_HOOKS) < set(hookspecs.__all__)
    assert all((getattr(hookspecs, name).__doc__ or "").strip() for name in hookspecs.__all__)


def test_a_runtime_without_such_hooks_shares_the_empty_table() -> None:
    assert Runtime(discover=False).hooks is NO_HOOKS
    assert Runtime(plugins=[plugin(register_tools=lambda: None)], discover=False).hooks is NO_HOOKS


def test_a_plugin_shows_which_hooks_it_has() -> None:
    runtime = Runtime(plugins=[plugin(after_tool_call=lambda: None, register_tools=lambda: [echo])], discover=False)
    (shown,) = runtime.plugins
    assert shown.adds == {"tools": ("echo",), "hooks": ("after_tool_call",)}


def test_a_plugin_that_failed_at_registration_has_no_hook_called() -> None:
    def broken() -> None:
        raise ValueError("no")

    runtime = Runtime(plugins=[plugin(register_tools=broken, system_prompt=lambda: "x")], discover=False)
    assert (runtime.plugins[0].status, runtime.hooks) == ("quarantined", NO_HOOKS)


async def test_hooks_are_called_by_phase_then_as_configured_then_by_name() -> None:
    def says(word: str) -> Callable[[], str]:
        return lambda: word

    def first() -> str:
        return "first"

    def last() -> str:
        return "last"

    provider = provider_of(text("ok"))
    named = [plugin(word, system_prompt=says(word)) for word in ("Zed", "Abe", "Mid")]
    early = type("Yes", (), {"system_prompt": staticmethod(hookimpl(tryfirst=True)(first))})()
    late = type("Aaa", (), {"system_prompt": staticmethod(hookimpl(trylast=True)(last))})()
    await read(agent_of(late, *named, early, provider=provider, runtime={"order": ["Mid"]}))
    assert provider.requests[0].system.split("\n\n") == ["first", "Mid", "Abe", "Zed", "last"]


async def test_a_run_keeps_the_hooks_that_it_began_with() -> None:
    """Another runtime is another table; nothing of it reaches a run that goes on."""
    old, new = provider_of(), provider_of()
    agent = agent_of(plugin(system_prompt=lambda: "old"), provider=old)
    async with agent.stream_async("go") as stream:
        await anext(stream)
        other = Runtime(plugins=[plugin(system_prompt=lambda: "new")], discover=False)
        await read(agent.replace(runtime=other, model=new))
        async for _ in stream:
            pass
    assert {request.system for request in old.requests} == {"old"}
    assert {request.system for request in new.requests} == {"new"}


async def test_a_hook_is_told_of_the_run_that_it_is_called_in() -> None:
    seen: list[HookContext] = []
    host = object()
    observing = plugin(after_model_call=lambda ctx: seen.append(ctx))  # noqa: PLW0108  by its name it is given
    agent = agent_of(observing, name="teller")
    events = await read(agent, context=host)
    assert [(told.agent, told.model, told.cycle, told.session_id) for told in seen] == [
        ("teller", "scripted:model", 1, None),
        ("teller", "scripted:model", 2, None),
    ]
    assert all(told.run_id == events[0].run_id and told.context is host for told in seen)


def test_a_wrapper_is_refused() -> None:
    def wrapper() -> Any:
        return (yield)

    wrapping = type("W", (), {"before_tool_call": staticmethod(hookimpl(wrapper=True)(wrapper))})()
    (shown,) = Runtime(plugins=[wrapping], discover=False).plugins
    assert (shown.status, "cannot be wrapped" in shown.reason) == ("quarantined", True)


# -- what each may do --------------------------------------------------------------------------------------------------


async def test_the_system_prompt_is_added_to_and_asked_for_once_a_run() -> None:
    asked: list[int] = []

    async def adds(ctx: HookContext) -> str:
        await anyio.lowlevel.checkpoint()
        asked.append(ctx.cycle)
        return "Answer in \ud800 verse."

    provider = provider_of()
    await read(
        agent_of(plugin(system_prompt=adds), plugin("N", system_prompt=lambda: None), provider=provider).replace(
            system_prompt="Be kind."
        )
    )
    assert [request.system for request in provider.requests] == ["Be kind.\n\nAnswer in \ufffd verse."] * 2
    assert asked == [1]


async def test_a_transformed_history_is_a_view_for_one_call() -> None:
    def keep_last(messages: tuple[Message, ...]) -> list[Message]:
        assert isinstance(messages, tuple)
        return list(messages[-1:])

    async def louder(messages: tuple[Message, ...]) -> list[Message]:
        await anyio.lowlevel.checkpoint()
        return [Message("user", (Text(message.text.upper()),)) for message in messages]

    provider = provider_of(text("one"))
    agent = agent_of(
        plugin("A", transform_messages=keep_last), plugin("B", transform_messages=louder), provider=provider
    )
    earlier = [Message("user", (Text("before"),)), Message("assistant", (Text("yes"),))]
    events = await read(agent, history=earlier)
    assert [message.text for message in provider.requests[0].messages] == ["GO"]
    assert only(events, ModelStarted).messages == 1
    assert [message.text for message in earlier] == ["before", "yes"]


async def test_a_history_that_no_service_takes_fails_the_run() -> None:
    agent = agent_of(plugin(transform_messages=lambda messages: messages[-1:]))
    with pytest.raises(PluginError, match=r"transform_messages.*'Asked'.*is answered but was not called") as caught:
        await read(agent)
    assert caught.value.hook == "transform_messages"


async def test_a_request_can_be_changed() -> None:
    def cooler(request: ModelRequest) -> ModelRequest:
        return replace(request, model="other", tools=(), options=replace(request.options, temperature=0.5))

    provider = provider_of(text("ok"))
    events = await read(agent_of(plugin(before_model_call=cooler), provider=provider))
    assert (provider.requests[0].model, provider.requests[0].options.temperature) == ("other", 0.5)
    assert (only(events, ModelStarted).model, only(events, ModelStarted).tools) == ("scripted:other", ())


async def test_an_answer_can_stand_for_the_models_and_the_same_one_again_and_again() -> None:
    answer = [TextDelta("from "), TextDelta("a cache"), ModelFinished("end_turn", Usage(1, 2))]
    after: list[str] = []
    provider = provider_of()
    agent = agent_of(
        plugin(
            "A", before_model_call=lambda: answer, after_model_call=lambda answer: after.append(answer.message.text)
        ),
        plugin("B", before_model_call=lambda: pytest.fail("the chain has ended")),
        provider=provider,
    )
    for _ in range(2):
        events = await read(agent)
        assert [event.text for event in events if isinstance(event, TextDelta)] == ["from ", "a cache"]
        assert only(events, RunFinished).result.text == "from a cache"
    assert (provider.requests, after) == ([], ["from a cache"] * 2)
    assert answer[0].run_id == ""


async def test_an_observer_sees_request_and_answer_and_what_it_returns_is_nothing() -> None:
    seen: list[tuple[int, str]] = []

    async def observe(request: ModelRequest, answer: Any) -> str:
        await anyio.lowlevel.checkpoint()
        seen.append((len(request.messages), answer.finished.stop_reason))
        return "ignored"

    assert not [
        event for event in await read(agent_of(plugin(after_model_call=observe))) if event.type == "plugin_failed"
    ]
    assert seen == [(1, "tool_use"), (3, "end_turn")]


async def test_a_call_can_be_rewritten_and_runs_as_rewritten() -> None:
    def twice(call: ToolCall) -> ToolCall:
        return ToolCall(call.id, call.tool, {"words": str(call.arguments["words"]) * 2})

    events = await read(agent_of(plugin("A", before_tool_call=twice), plugin("B", before_tool_call=twice)))
    assert only(events, ToolStarted).call.arguments == {"words": "hihihihi"}
    assert only(events, ToolFinished).result.text == "hihihihi"


async def test_a_call_of_a_tool_that_is_not_there_can_be_led_to_one_that_is() -> None:
    provider = provider_of(calls(("ekko", {"words": "hi"})), text("done"))
    repair = plugin(before_tool_call=lambda call: ToolCall(call.id, "echo", call.arguments))
    assert only(await read(agent_of(repair, provider=provider)), ToolFinished).result.text == "hi"
    nothing = plugin(before_tool_call=lambda: None)
    assert "there is no tool 'ekko'" in only(await read(agent_of(nothing, provider=provider)), ToolFinished).result.text


async def test_malformed_arguments_reach_no_hook() -> None:
    seen: list[ToolCall] = []
    delta = becket.ToolCallDelta("c", "echo", "{")
    provider = provider_of([delta, ModelFinished("tool_use")], text("done"))
    looking = plugin(before_tool_call=lambda call: seen.append(call))  # noqa: PLW0108  by its name it is given
    events = await read(agent_of(looking, provider=provider))
    assert (seen, only(events, ToolFinished).result.status) == ([], "error")


async def test_a_result_can_stand_for_a_call_which_is_then_not_made() -> None:
    instead = plugin(before_tool_call=lambda call: ToolResult(call.id, "success", (Text("from a cache"),)))
    unreached = plugin(
        "Z",
        before_tool_call=lambda: pytest.fail("the chain has ended"),
        approve_tool=lambda: pytest.fail("it has its result"),
    )
    events = await read(agent_of(instead, unreached))
    assert only(events, ToolFinished).result.text == "from a cache"
    assert not any(isinstance(event, ToolStarted) for event in events)


@pytest.mark.parametrize("words", ["hi", "fail"])
async def test_a_result_can_be_replaced_whether_the_call_succeeded_or_not(words: str) -> None:
    async def mark(call: ToolCall, result: ToolResult) -> ToolResult:
        await anyio.lowlevel.checkpoint()
        return ToolResult(call.id, result.status, (Text(f"<{result.text}>"),))

    provider = provider_of(calls(("echo", {"words": words})), text("done"))
    agent = agent_of(
        plugin("A", after_tool_call=mark),
        plugin("B", after_tool_call=lambda: None),
        plugin("C", after_tool_call=mark),
        provider=provider,
    )
    result = only(await read(agent), ToolFinished).result
    assert result.text == ("<<hi>>" if words == "hi" else "<<echo failed: ValueError: fail>>")


async def test_hooks_see_each_attempt_of_a_model_call() -> None:
    attempts: list[tuple[str, int, int]] = []
    tries = iter([becket.ProviderError("busy", retryable=True), None])

    def script(_: ModelRequest) -> Any:
        error = next(tries)
        return [error] if error else text("ok")

    agent = agent_of(
        plugin(before_model_call=lambda request: attempts.append(request.key)),
        provider=provider_of(script),
        retry=becket.Backoff(first=0),
    )
    run_id = (await read(agent))[0].run_id
    assert attempts == [(run_id, 1, 1), (run_id, 1, 2)]


# -- failing -----------------------------------------------------------------------------------------------------------

FAILS = ["system_prompt", "after_model_call"]
ENDS = ["transform_messages", "before_model_call", "before_tool_call", "after_tool_call"]
HOOKS = [*FAILS, *ENDS, "approve_tool"]


def raises() -> None:
    raise ValueError("boom")


async def araises() -> None:
    await anyio.lowlevel.checkpoint()
    raise ValueError("boom")


def exits() -> None:
    raise SystemExit(3)


def cancels() -> None:
    raise asyncio.CancelledError


async def regroups() -> None:
    raise ExceptionGroup("several", [ValueError("boom")])


async def hangs() -> None:
    await anyio.sleep_forever()


BROKEN = {
    "raises": (raises, "ValueError: boom"),
    "raises, async": (araises, "ValueError: boom"),
    "exits": (exits, "SystemExit: 3"),
    "cancels itself": (cancels, "CancelledError"),
    "raises a group": (regroups, "ValueError: boom"),
    "hangs": (hangs, r"it took longer than 0.05 s \(Limits.hook_seconds\), and was cancelled"),
    "says nonsense": (lambda: {"nonsense"}, "it returned {'nonsense'}"),
}


@pytest.mark.parametrize(
    ("hook", "way"),
    [(hook, way) for hook in FAILS for way in BROKEN if (hook, way) != ("after_model_call", "says nonsense")],
)
async def test_a_hook_that_only_adds_or_observes_is_reported_and_left_out(
    hook: str, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    function, reason = BROKEN[way]
    after: list[int] = []
    well = plugin("Well", **{hook: lambda: after.append(1)})
    agent = agent_of(
        plugin(**{hook: function}), well, provider=provider_of(text("ok")), limits=Limits(hook_seconds=0.05)
    )
    events = await read(agent)
    failed = only(events, PluginFailed)
    assert (failed.plugin, failed.hook) == ("Asked", hook)
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(failed.error)
    assert only(events, RunFinished).result.text == "ok"
    assert after == [1]
    assert any(record.levelno == logging.ERROR for record in caplog.records)


@pytest.mark.parametrize("way", BROKEN)
@pytest.mark.parametrize("hook", ENDS)
async def test_a_hook_of_a_chain_that_fails_fails_the_run_and_is_named(hook: str, way: str) -> None:
    function, reason = BROKEN[way]
    sink = ListSink()
    agent = agent_of(plugin(**{hook: function}), limits=Limits(hook_seconds=0.05), sinks=[sink])
    with pytest.raises(PluginError, match=reason) as caught:
        await read(agent)
    assert (caught.value.plugin, caught.value.hook) == ("Asked", hook)
    assert f"hook {hook} of the plugin 'Asked'" in str(caught.value)
    (failed,) = [event for event in sink.events if isinstance(event, RunFailed)]
    assert (failed.error.kind, failed.error.plugin, sink.events[-1]) == ("PluginError", "Asked", failed)
    started = {event.call.id for event in sink.events if isinstance(event, ToolStarted)}
    assert started <= {event.result.call_id for event in sink.events if isinstance(event, ToolFinished)}


@pytest.mark.parametrize("way", BROKEN)
async def test_a_hook_that_decides_denies_where_it_fails(way: str) -> None:
    function, reason = BROKEN[way]
    agent = agent_of(plugin(approve_tool=function), limits=Limits(hook_seconds=0.05))
    events = await read(agent)
    assert only(events, PluginFailed).hook == "approve_tool"
    assert only(events, ToolFinished).result.status == "denied"
    assert not any(isinstance(event, ToolStarted) for event in events)
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(only(events, ToolFinished).result.text)


@pytest.mark.parametrize("hook", HOOKS)
async def test_a_cancellation_of_the_run_passes_through_a_hook_at_once(hook: str) -> None:
    """The hook is cancelled where it waits, and the run ends as cancelled, with every call answered."""
    waiting, cleaned = anyio.Event(), anyio.Event()

    async def waits() -> None:
        waiting.set()
        try:
            await anyio.sleep_forever()
        finally:
            cleaned.set()

    events: list[Event] = []
    async with agent_of(plugin(**{hook: waits})).stream_async("go") as stream, anyio.create_task_group() as tasks:

        async def cancel() -> None:
            await waiting.wait()
            stream.cancel()

        tasks.start_soon(cancel)
        with anyio.fail_after(5):
            events += [event async for event in stream]
    assert cleaned.is_set()
    assert only(events, RunFinished).result.stop_reason == "cancelled"
    assert not any(isinstance(event, PluginFailed) for event in events)


@pytest.mark.parametrize("hook", HOOKS)
async def test_a_hook_that_swallows_its_cancellation_is_left_behind_and_the_run_ends(
    hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    release = anyio.Event()

    async def swallows() -> None:
        with anyio.CancelScope(shield=True):
            await release.wait()

    sink = ListSink()
    agent = agent_of(plugin(**{hook: swallows}), limits=Limits(hook_seconds=0.05), sinks=[sink])
    with pytest.raises(TimeoutError, match=f"the hook {hook} of the plugin 'Asked' did not end"):
        await read(agent)
    assert sink.types[-1] == "run_failed"
    assert "left behind" in caplog.text
    release.set()
    await anyio.wait_all_tasks_blocked()


@pytest.mark.parametrize("hook", HOOKS)
def test_ctrl_c_passes_through_a_hook(hook: str) -> None:
    def interrupts() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        anyio.run(agent_of(plugin(**{hook: interrupts})).invoke_async, "go")


@pytest.mark.parametrize(
    ("hook", "given", "said"),
    [
        ("before_model_call", [TextDelta("no end")], "ModelFinished the last"),
        ("before_model_call", [], "ModelFinished the last"),
        ("before_model_call", [becket.CycleStarted(), ModelFinished("end_turn")], "a model's events"),
        ("before_tool_call", ToolCall("other", "echo"), "has the id 'other', and the call has 'call-1'; keep the id"),
        ("before_tool_call", ToolResult("other", "success"), "keep the id"),
        ("after_tool_call", ToolResult("other", "success"), "keep the id"),
        ("after_tool_call", ToolResult("call-1", "success", ("text",)), "content is a list of blocks"),  # type: ignore[arg-type]  # the mistake
        ("before_tool_call", ToolCall("call-1", "echo", {"words": object()}), "what cannot be an event"),  # type: ignore[dict-item]  # as above
        ("before_model_call", [ModelFinished("end_turn")] * 2, "it yielded ModelFinished.* after ModelFinished"),
        ("before_model_call", [ModelFinished("cancelled")], "it gave the stop reason 'cancelled', the run's to give"),
        ("before_model_call", [TextDelta(5), ModelFinished("end_turn")], "what must be a text in it is none"),  # type: ignore[arg-type]  # mistakes
        ("before_model_call", [ModelFinished("end_turn", None)], "whose usage must be a Usage"),  # type: ignore[arg-type]
        ("before_model_call", [PluginEvent("a", "b", object()), ModelFinished("end_turn")], "holds no JSON value"),  # type: ignore[arg-type]
        ("before_tool_call", ToolCall("call-1", 5), "tool is 5 in ToolCall"),  # type: ignore[arg-type]
        ("before_tool_call", ToolResult("call-1", "success", "done"), "content is a list of blocks"),  # type: ignore[arg-type]
        ("after_tool_call", ToolResult("call-1", "fine"), "status is 'fine' in ToolResult.*one of: success"),  # type: ignore[arg-type]
        ("transform_messages", "text", "a list of Message"),
        ("transform_messages", [], "the prompt is empty"),
    ],
)
async def test_what_a_chain_is_given_is_checked(hook: str, given: Any, said: str) -> None:
    with pytest.raises(PluginError, match=said):
        await read(agent_of(plugin(**{hook: lambda: given})))


async def test_the_text_that_a_hook_gives_is_cleaned_so_that_its_event_can_be_written() -> None:
    torn = plugin(after_tool_call=lambda result: ToolResult(result.call_id, "success", (Text("\ud800"),)))
    finished = only(await read(agent_of(torn)), ToolFinished)
    assert finished.result.text == "\ufffd"
    assert finished.to_json()


@pytest.mark.parametrize("hook", ["before_tool_call", "after_tool_call"])
async def test_a_result_of_a_hook_is_made_one_that_can_be_written(hook: str) -> None:
    """Text without lone surrogates, JSON, a tuple: as what a tool returns is."""
    content: Any = [Text("a\ud800"), Json({"pair": (1, 2)})]
    events = await read(agent_of(plugin(**{hook: lambda call: ToolResult(call.id, "success", content)})))
    assert only(events, ToolFinished).result.content == (Text("a\ufffd"), Json({"pair": [1, 2]}))
    assert all(event_from_json(event.to_json()) == event for event in events)


async def test_an_answer_that_was_in_a_nested_run_before_is_no_nested_one_now() -> None:
    given = [TextDelta("kept", parent_run_id="a", parent_call_id="b"), ModelFinished("end_turn", parent_run_id="a")]
    events = await read(agent_of(plugin(before_model_call=lambda: given)))
    assert {(event.parent_run_id, event.parent_call_id) for event in events} == {(None, None)}
    assert given[0].parent_run_id == "a"


async def test_a_hook_without_a_time_limit_may_take_its_time() -> None:
    async def slow() -> str:
        await anyio.lowlevel.checkpoint()
        return "slowly"

    provider = provider_of(text("ok"))
    await read(agent_of(plugin(system_prompt=slow), provider=provider, limits=Limits(hook_seconds=None)))
    assert provider.requests[0].system == "slowly"


async def test_a_plugin_error_of_a_hook_names_the_distribution() -> None:
    from becket._dispatch import _failure
    from becket._table import Implementation
    from becket.plugins import Plugin

    installed = Plugin("weather", "becket-weather", "0.3.1", "becket_weather")
    error = _failure(Implementation("system_prompt", 1, raises, (), installed), "it raised ValueError: boom")
    assert error.distribution == "becket-weather 0.3.1"
    assert "of the plugin 'weather' (becket-weather 0.3.1)" in str(error)


async def test_a_hook_that_raises_beside_its_cancellation_is_logged_and_the_run_is_cancelled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    waiting = anyio.Event()

    async def waits() -> None:
        try:
            waiting.set()
            await anyio.sleep_forever()
        except BaseException as error:
            raise BaseExceptionGroup("both", [error, ValueError("boom")]) from None

    events: list[Event] = []
    async with (
        agent_of(plugin(before_model_call=waits)).stream_async("go") as stream,
        anyio.create_task_group() as tasks,
    ):

        async def cancel() -> None:
            await waiting.wait()
            stream.cancel()

        tasks.start_soon(cancel)
        events += [event async for event in stream]
    assert only(events, RunFinished).result.stop_reason == "cancelled"
    assert "raised more than its cancellation" in caplog.text


def test_a_policy_is_refused_where_it_is_none() -> None:
    with pytest.raises(ConfigError, match="is no policy"):
        Runtime(discover=False, policies=[object()])  # type: ignore[list-item]  # the mistake
