"""Moving on to the next model: when, when not, and what a run is told of it."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from becket import (
    Agent,
    Backoff,
    ConfigError,
    ExtensionDelta,
    Limits,
    ModelFinished,
    ModelRequest,
    PluginEvent,
    Price,
    ProtocolError,
    ProviderError,
    ReasoningDelta,
    Runtime,
    TextDelta,
    ToolCallDelta,
    Usage,
    hookimpl,
    tool,
)
from becket.testing import ListSink, ScriptedProvider, calls, text
from becket_fallback import FallbackProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from becket import Event
    from becket.events import ModelEvent

pytestmark = pytest.mark.anyio


@tool(effect="none")
async def echo(word: str = "nothing") -> str:
    """Say it again."""
    return word


def busy(message: str = "busy", **more: Any) -> ProviderError:
    return ProviderError(message, retryable=True, **more)


def make(*providers: Any, **options: Any) -> Agent:
    options.setdefault("retry", None)
    runtime = Runtime(discover=False, prices=options.pop("prices", None))
    return Agent(FallbackProvider(providers), [echo], runtime=runtime, **options)


async def read(agent: Agent, events: list[Event] | None = None) -> list[Event]:
    events = [] if events is None else events
    async with agent.stream_async("go") as stream:
        async for event in stream:
            events.append(event)
    return events


def moves(events: list[Event]) -> list[tuple[str, Any]]:
    return [(one.name, one.data) for one in events if isinstance(one, PluginEvent) and one.plugin == "fallback"]


def answered(events: list[Event]) -> list[str | None]:
    return [one.model for one in events if isinstance(one, ModelFinished)]


# -- moving on ---------------------------------------------------------------------------------------------------------


async def test_the_first_model_answers_and_is_named() -> None:
    second = ScriptedProvider(text("two"), name="second")
    events = await read(make(ScriptedProvider(text("one"), name="first", model="m"), second))
    assert answered(events) == ["first:m"]
    assert moves(events) == []
    assert second.requests == []


async def test_a_model_that_is_busy_is_left_for_the_next_one_before_its_first_delta() -> None:
    first = ScriptedProvider([busy("no room")], name="first", model="m")
    second = ScriptedProvider(text("two"), name="second", model="n")
    events = await read(make(first, second))
    assert moves(events) == [("moved_on", {"from": "first:m", "to": "second:n", "error": "no room"})]
    assert [one.type for one in events[2:5]] == ["model_started", "plugin_event", "text_delta"]
    assert answered(events) == ["second:n"]
    assert (first.open, second.open) == (0, 0)
    request = second.requests[0]
    assert (request.model, request.messages[0].text, [spec.name for spec in request.tools]) == ("n", "go", ["echo"])


async def test_what_a_model_reports_before_it_fails_is_no_answer() -> None:
    first = ScriptedProvider([PluginEvent("first", "loading"), busy()], name="first")
    events = await read(make(first, ScriptedProvider(text("two"), name="second")))
    assert [one.name for one in events if isinstance(one, PluginEvent)] == ["loading", "moved_on"]
    assert answered(events) == ["second:model"]


@pytest.mark.parametrize(
    "delta",
    [TextDelta("half"), ReasoningDelta("hm"), ToolCallDelta("c", "echo"), ExtensionDelta("first"), TextDelta("")],
    ids=["text", "reasoning", "call", "extension", "empty"],
)
async def test_after_a_delta_of_any_kind_nobody_else_is_asked(delta: Any) -> None:
    second = ScriptedProvider(text("two"), name="second")
    error = busy("gone")
    with pytest.raises(ProviderError) as caught:
        await read(make(ScriptedProvider([delta, error], name="first"), second))
    assert caught.value is error
    assert error.provider == "first"
    assert second.requests == []


async def test_an_error_that_will_not_mend_itself_ends_it() -> None:
    second = ScriptedProvider(text("two"), name="second")
    error = ProviderError("no key: set FIRST_API_KEY", status=401)
    with pytest.raises(ProviderError) as caught:
        await read(make(ScriptedProvider([error], name="first"), second))
    assert caught.value is error
    assert second.requests == []


async def test_an_answer_without_an_end_is_its_providers_fault() -> None:
    second = ScriptedProvider(text("two"), name="second")
    for script in ([], [TextDelta("half")]):
        with pytest.raises(ProtocolError, match="'first' ended without a ModelFinished event when it was asked for"):
            await read(make(ScriptedProvider(script, name="first"), second))
    assert second.requests == []


async def test_a_model_that_already_says_which_one_has_answered_is_believed() -> None:
    done = ModelFinished("end_turn", model="other:one")
    assert answered(await read(make(ScriptedProvider([done], name="first")))) == ["other:one"]


async def test_what_comes_after_the_end_is_the_runs_to_refuse() -> None:
    with pytest.raises(ProtocolError, match="after ModelFinished"):
        await read(make(ScriptedProvider([*text("one"), TextDelta("more")], name="first")))


# -- all of them fail --------------------------------------------------------------------------------------------------


async def test_where_all_fail_the_last_error_names_the_others() -> None:
    last = busy("overloaded", status=529, code="overloaded_error", request_id="req_2", retry_after=9.0)
    providers = [
        ScriptedProvider([busy("slow down", retry_after=2.0)], name="first"),
        ScriptedProvider([busy("no room")], name="second"),
        ScriptedProvider([last], name="third"),
    ]
    with pytest.raises(ProviderError) as caught:
        await read(make(*providers))
    error = caught.value
    assert str(error) == (
        "third:model: overloaded (asked before it, and failed: first:model: slow down; second:model: no room)"
    )
    assert error.__cause__ is last
    assert (error.provider, error.status, error.code, error.request_id) == ("third", 529, "overloaded_error", "req_2")
    assert (error.retryable, error.retry_after) == (True, 2.0)


async def test_one_that_will_not_mend_itself_at_the_end_does_not_hide_that_others_may() -> None:
    refused = ProviderError("no key", status=401, retry_after=0.5)
    first = ScriptedProvider([busy()], name="first")
    with pytest.raises(
        ProviderError, match=r"second:model: no key \(asked before it, and failed: first:model: busy\)"
    ) as caught:
        await read(make(first, ScriptedProvider([refused], name="second")))
    assert (caught.value.retryable, caught.value.retry_after, caught.value.status) == (True, None, 401)


async def test_a_list_of_one_fails_with_its_own_error() -> None:
    error = busy()
    with pytest.raises(ProviderError) as caught:
        await read(make(ScriptedProvider([error], name="first")))
    assert caught.value is error


async def test_the_runs_retry_begins_again_at_the_top() -> None:
    def then_up(request: ModelRequest) -> list[Any]:
        return [busy()] if request.key[2] == 1 else text("up again")

    first, second = ScriptedProvider(then_up, name="first"), ScriptedProvider([busy()], name="second")
    events = await read(make(first, second, retry=Backoff(first=0.001)))
    assert answered(events) == ["first:model"]
    assert [one.type for one in events if one.type in {"plugin_event", "retry_scheduled"}] == [
        "plugin_event",
        "retry_scheduled",
    ]
    assert len(second.requests) == 1


# -- one run -----------------------------------------------------------------------------------------------------------


async def test_the_next_cycle_begins_with_the_model_that_has_answered_and_the_next_run_with_the_first() -> None:
    first = ScriptedProvider([busy()], name="first")
    second = ScriptedProvider(calls(("echo", {"word": "hi"})), text("done"), name="second")
    agent = make(first, second)
    events = await read(agent)
    assert answered(events) == ["second:model", "second:model"]
    assert len(first.requests) == 1
    await read(agent)
    assert len(first.requests) == 2


async def test_a_tool_cycle_may_be_answered_by_another_model_with_the_history_of_the_first() -> None:
    def asked(request: ModelRequest) -> list[Any]:
        return calls(("echo", {"word": "hi"})) if request.key[1] == 1 else [busy()]

    second = ScriptedProvider(text("done"), name="second")
    events = await read(make(ScriptedProvider(asked, name="first"), second))
    assert answered(events) == ["first:model", "second:model"]
    [request] = second.requests
    assert [message.role for message in request.messages[:3]] == ["user", "assistant", "user"]
    assert request.messages[2].tool_results[0].text == "hi"


async def test_after_the_last_of_the_list_comes_the_first() -> None:
    def once(request: ModelRequest) -> list[Any]:
        return [busy()] if request.key[1] == 1 else text("first again")

    def then(request: ModelRequest) -> list[Any]:
        return calls(("echo", {})) if request.key[1] == 1 else [busy("down now")]

    first, second = ScriptedProvider(once, name="first"), ScriptedProvider(then, name="second")
    events = await read(make(first, second))
    assert answered(events) == ["second:model", "first:model"]
    assert [data["to"] for _, data in moves(events)] == ["second:model", "first:model"]


async def test_a_model_that_was_silent_until_the_run_gave_it_up_is_not_asked_first_again() -> None:
    first = ScriptedProvider([anyio.sleep_forever], name="first")
    second = ScriptedProvider(text("two"), name="second")
    agent = make(first, second, retry=Backoff(first=0.001), limits=Limits(silence_seconds=0.05))
    assert answered(await read(agent)) == ["second:model"]
    assert (len(first.requests), first.open) == (1, 0)


async def test_a_request_that_has_lost_what_was_kept_begins_with_the_first() -> None:
    class Anew:
        @hookimpl
        def before_model_call(self, request: ModelRequest) -> ModelRequest:
            return ModelRequest(request.model, request.messages, tools=request.tools, key=request.key)

    first = ScriptedProvider([busy()], name="first")
    second = ScriptedProvider(calls(("echo", {})), text("done"), name="second")
    agent = Agent(
        FallbackProvider([first, second]), [echo], runtime=Runtime(plugins=[Anew()], discover=False), retry=None
    )
    assert answered(await read(agent)) == ["second:model", "second:model"]
    assert len(first.requests) == 2


# -- clean-up ----------------------------------------------------------------------------------------------------------


class Watched(ScriptedProvider):
    """Says when one of its streams is closed, and fails at that where it is told to."""

    def __init__(self, *scripts: Any, log: list[str], fail: bool = False, **more: Any) -> None:
        super().__init__(*scripts, **more)
        self._log = log
        self._fail = fail

    async def stream(self, request: ModelRequest, /) -> AsyncIterator[ModelEvent]:
        self._log.append(f"{self.name} asked")
        try:
            async with aclosing(super().stream(request)) as events:  # type: ignore[type-var]  # it is a generator
                async for event in events:
                    yield event
        finally:
            self._log.append(f"{self.name} closed")
            if self._fail:
                raise busy("while it was closed")

    async def aclose(self) -> None:
        self._log.append(f"{self.name} let go")
        if self._fail:
            raise OSError(self.name)


async def test_a_model_is_closed_before_the_next_one_is_asked() -> None:
    log: list[str] = []
    await read(make(Watched([busy()], log=log, name="first"), Watched(text("x"), log=log, name="second")))
    assert log == ["first asked", "first closed", "second asked", "second closed"]


async def test_a_reader_who_leaves_in_the_middle_closes_the_model() -> None:
    log: list[str] = []
    agent = make(Watched([TextDelta("half"), anyio.sleep_forever], log=log, name="first"))
    async with agent.stream_async("go") as stream:
        async for event in stream:
            if isinstance(event, TextDelta):
                break
    assert log == ["first asked", "first closed"]


@pytest.mark.parametrize("fail", [False, True], ids=["closes", "fails"])
async def test_a_stream_that_is_closed_at_a_yield_closes_the_model_and_asks_no_other(*, fail: bool) -> None:
    """Also where the model fails at that: it is no failure to move on from."""
    log: list[str] = []
    script = [PluginEvent("first", "loading"), *text("one")]
    provider = FallbackProvider(
        [Watched(script, log=log, fail=fail, name="first"), Watched(text("two"), log=log, name="second")]
    )
    events: Any = provider.stream(ModelRequest("models", ()))
    assert isinstance(await anext(events), PluginEvent)
    await events.aclose()
    assert log == ["first asked", "first closed"]


async def test_a_cancellation_passes_and_asks_no_other() -> None:
    second = ScriptedProvider(text("two"), name="second")
    events: Any = FallbackProvider([ScriptedProvider([anyio.sleep_forever], name="first"), second]).stream(
        ModelRequest("models", ())
    )
    with anyio.move_on_after(0.01) as scope:
        await anext(events)
    assert scope.cancelled_caught
    assert second.requests == []


async def test_every_provider_that_was_asked_is_closed_with_it_and_the_first_failure_is_raised() -> None:
    log: list[str] = []
    provider = FallbackProvider(
        [
            Watched([busy()], log=log, fail=True, name="first"),
            Watched(text("two"), log=log, name="second"),
            Watched(text("three"), log=log, name="third"),
        ]
    )
    await provider.aclose()
    assert log == []
    _ = [event async for event in provider.stream(ModelRequest("models", ()))]
    log.clear()
    with pytest.raises(OSError, match="first"):
        await provider.aclose()
    assert log == ["first let go", "second let go"]


async def test_a_stream_that_is_no_iterator_is_its_providers_fault() -> None:
    class Wrong(ScriptedProvider):
        async def stream(self, request: ModelRequest, /) -> Any:
            return request

    class Odd(ScriptedProvider):
        def stream(self, request: ModelRequest, /) -> Any:
            return request.key

    for wrong in (Wrong(text("x"), name="first"), Odd(text("x"), name="first")):
        with pytest.raises(ProtocolError, match=r"stream\(\) of the provider 'first' returned"):
            await read(make(wrong, ScriptedProvider(text("two"), name="second")))


async def test_a_stream_without_aclose_is_read_as_well() -> None:
    class Plain:
        def __init__(self, events: AsyncIterator[ModelEvent]) -> None:
            self._events = events

        def __aiter__(self) -> AsyncIterator[ModelEvent]:
            return self._events

    class Simple(ScriptedProvider):
        def stream(self, request: ModelRequest, /) -> Any:
            return Plain(super().stream(request))

    assert answered(await read(make(Simple(text("x"), name="first")))) == ["first:model"]


# -- prices and output -------------------------------------------------------------------------------------------------

PRICES = {"first:model": Price(input=1, output=1), "second:model": Price(input=1_000_000, output=0)}


async def test_a_run_costs_what_the_model_does_that_has_answered() -> None:
    providers = [
        ScriptedProvider([busy()], name="first"),
        ScriptedProvider([TextDelta("x"), ModelFinished("end_turn", Usage(3, 1))], name="second"),
    ]
    sink = ListSink()
    result = await make(*providers, prices=PRICES, limits=Limits(cost=100), sinks=[sink]).invoke_async("go")
    assert result.cost == 3.0


async def test_where_the_cost_is_limited_every_model_of_the_list_needs_a_price() -> None:
    providers = [ScriptedProvider(text("x"), name=name) for name in ("first", "third")]
    with pytest.raises(ConfigError, match="there is no price for the model 'third:model'"):
        await make(*providers, prices=PRICES, limits=Limits(cost=1)).invoke_async("go")


async def test_the_output_is_held_to_a_schema_only_where_every_model_can_be() -> None:
    can = ScriptedProvider(text(json.dumps({"name": "Ada"})), name="first", schema=True)
    cannot = ScriptedProvider(text("x"), name="second")
    assert FallbackProvider([can]).takes_schema("models", with_tools=True)
    assert not FallbackProvider([can, cannot]).takes_schema("models", with_tools=True)
    result = await Agent(FallbackProvider([can]), runtime=Runtime(discover=False)).invoke_async(
        "go", output=dict[str, str]
    )
    assert result.output == {"name": "Ada"}
