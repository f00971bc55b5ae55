"""What a model call is given, and what it tells beside its answer: `kept`, the model that answered, codes, ids."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest
from becket import (
    Agent,
    ConfigError,
    Limits,
    ListingProvider,
    ModelFinished,
    ModelInfo,
    ModelRequest,
    Price,
    Provider,
    ProviderError,
    RoutingProvider,
    Runtime,
    TextDelta,
    Usage,
    hookimpl,
    tool,
)
from becket.testing import ListSink, ScriptedProvider, calls, text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from becket.events import ModelEvent

pytestmark = pytest.mark.anyio


@tool(effect="none")
async def echo(word: str = "nothing") -> str:
    """Say it again."""
    return word


def make(provider: Any, *plugins: object, **options: Any) -> Agent:
    runtime = Runtime(plugins=plugins, discover=False, prices=options.pop("prices", None))
    return Agent(provider, [echo], runtime=runtime, **options)


# -- what is kept for the next call ------------------------------------------------------------------------------------


def noting(seen: list[list[int]]) -> ScriptedProvider:
    """A provider that keeps a list in each run, and shows what it has found there."""

    def note(request: ModelRequest) -> list[Any]:
        kept = request.kept.setdefault("numbers", [])
        kept.append(len(request.messages))
        seen.append(list(kept))
        return calls(("echo", {})) if request.key[1] < 3 else text("done")

    return ScriptedProvider(note)


async def test_what_a_provider_keeps_is_there_in_the_next_call_of_the_run_and_in_no_other_run() -> None:
    seen: list[list[int]] = []
    agent = make(noting(seen))
    await agent.invoke_async("go")
    await agent.invoke_async("go")
    assert seen == [[1], [1, 3], [1, 3, 5]] * 2


async def test_it_is_there_in_the_next_attempt() -> None:
    def once(request: ModelRequest) -> list[Any]:
        tries = request.kept.setdefault("tries", [])
        tries.append(request.key[2])
        return text(f"{tries}") if len(tries) > 1 else [ProviderError("busy", retryable=True, retry_after=0.0)]

    assert (await make(ScriptedProvider(once)).invoke_async("go")).text == "[1, 2]"


async def test_a_hook_that_replaces_a_field_of_the_request_passes_it_on_and_one_that_makes_it_anew_loses_it() -> None:
    class Changes:
        def __init__(self, change: Callable[[ModelRequest], ModelRequest]) -> None:
            self._change = change

        @hookimpl
        def before_model_call(self, request: ModelRequest) -> ModelRequest:
            return self._change(request)

    seen: list[list[int]] = []
    await make(noting(seen), Changes(lambda given: dataclasses.replace(given, system="other"))).invoke_async("go")
    assert seen == [[1], [1, 3], [1, 3, 5]]
    anew: list[list[int]] = []
    change = Changes(lambda given: ModelRequest(given.model, given.messages, key=given.key))
    await make(noting(anew), change).invoke_async("go")
    assert anew == [[1], [3], [5]]


async def test_it_is_no_part_of_what_is_asked() -> None:
    assert ModelRequest("m", (), kept={"a": 1}) == ModelRequest("m", ())
    assert "kept" not in repr(ModelRequest("m", (), kept={"a": 1}))


# -- the model that answered -------------------------------------------------------------------------------------------

PRICES = {"scripted:*": Price(input=1, output=1), "other:large": Price(input=1_000_000, output=0)}


async def test_a_call_costs_what_the_model_does_that_has_answered() -> None:
    done = ModelFinished("end_turn", Usage(3, 1), model="other:large", response_id="resp_1")
    sink = ListSink()
    result = await make(ScriptedProvider([TextDelta("hi"), done]), prices=PRICES, sinks=[sink]).invoke_async("go")
    assert result.cost == 3.0
    finished = next(one for one in sink.events if isinstance(one, ModelFinished))
    assert (finished.model, finished.response_id, finished.cost) == ("other:large", "resp_1", 3.0)
    assert json.loads(finished.to_json())["response_id"] == "resp_1"


async def test_where_the_cost_is_limited_that_model_must_have_a_price() -> None:
    done = ModelFinished("end_turn", Usage(3, 1), model="other:small")
    agent = make(ScriptedProvider([TextDelta("hi"), done]), prices=PRICES, limits=Limits(cost=1))
    with pytest.raises(ConfigError, match="there is no price for the model 'other:small'"):
        await agent.invoke_async("go")


class Routing(ScriptedProvider):
    """A provider by which models of others answer."""

    def routes(self, model: str, /) -> Sequence[str]:
        if model != "model":
            raise ConfigError(f"there is no route {model!r}")
        return ["other:large", "other:small"]


async def test_where_the_cost_is_limited_every_model_that_may_answer_must_have_a_price() -> None:
    provider = Routing(text("hi", stop=ModelFinished("end_turn", Usage(3, 1), model="other:large")), name="routing")
    assert isinstance(provider, RoutingProvider)
    with pytest.raises(ConfigError, match="there is no price for the model 'other:small'"):
        await make(provider, prices=PRICES, limits=Limits(cost=9)).invoke_async("go")
    assert provider.requests == []
    prices = PRICES | {"other:small": Price(input=0, output=0)}
    assert (await make(provider, prices=prices, limits=Limits(cost=9)).invoke_async("go")).cost == 3.0
    assert "there is no price for the model 'other:small'" in await nested(make(provider), prices=PRICES)
    assert await nested(make(provider), prices=prices) == "hi"


async def nested(agent: Agent, prices: dict[str, Price]) -> str:
    """What a run whose cost is limited is told by `agent`, its tool."""
    above = ScriptedProvider(calls(("ask", {"prompt": "hi"})), text("done"))
    runtime = Runtime(discover=False, prices=prices)
    asking = Agent(above, [agent.as_tool("ask", "Ask it.")], runtime=runtime, limits=Limits(cost=9))
    await asking.invoke_async("go")
    return above.requests[1].messages[2].tool_results[0].text


async def test_a_route_that_is_not_there_is_said_before_the_run_begins() -> None:
    with pytest.raises(ConfigError, match="there is no route 'odd'"):
        make("routing:odd", Other(Routing(text("x"), name="routing"))).stream_async("go")


async def test_both_are_cleaned_as_all_text_of_a_provider() -> None:
    done = ModelFinished("end_turn", model="o\ud800", response_id="r\ud800")
    sink = ListSink()
    await make(ScriptedProvider([TextDelta("hi"), done]), sinks=[sink]).invoke_async("go")
    finished = next(one for one in sink.events if isinstance(one, ModelFinished))
    assert (finished.model, finished.response_id) == ("o\ufffd", "r\ufffd")


# -- what a service calls an error -------------------------------------------------------------------------------------


async def test_the_last_event_of_a_run_says_what_the_service_calls_the_error_and_the_request() -> None:
    error = ProviderError("no", status=429, code="rate_limit\ud800", request_id="req_1")
    sink = ListSink()
    with pytest.raises(ProviderError):
        await make(ScriptedProvider([error]), sinks=[sink]).invoke_async("go")
    said = json.loads(sink.events[-1].to_json())["error"]
    assert (said["code"], said["request_id"], said["provider"]) == ("rate_limit\ufffd", "req_1", "scripted")


async def test_a_code_that_is_no_text_does_not_break_the_last_event() -> None:
    wrong: Any = 429
    sink = ListSink()
    with pytest.raises(ProviderError):
        await make(ScriptedProvider([ProviderError("no", code=wrong)]), sinks=[sink]).invoke_async("go")
    assert json.loads(sink.events[-1].to_json())["error"]["code"] == "429"


# -- providers that call others ----------------------------------------------------------------------------------------


class Passing:
    """A provider that passes each call on to the model that it is named after."""

    name = "passing"
    default_model: str | None = None

    def __init__(self, find_model: Callable[[str], tuple[Provider, str]]) -> None:
        self._find = find_model

    def models(self) -> Sequence[ModelInfo]:
        return []

    def stream(self, request: ModelRequest, /) -> AsyncIterator[ModelEvent]:
        provider, model = self._find(request.model)
        return provider.stream(dataclasses.replace(request, model=model))

    async def aclose(self) -> None: ...


class Offers:
    """Offers providers; asked before the one below."""

    @hookimpl(tryfirst=True)
    def register_providers(self, find_model: Any) -> list[Any]:
        return [Passing(find_model)]


class Other:
    def __init__(self, *providers: Any) -> None:
        self._providers = providers

    @hookimpl(trylast=True)
    def register_providers(self) -> tuple[Any, ...]:
        return self._providers


async def test_a_provider_finds_the_models_of_plugins_that_come_after_its_own() -> None:
    inner = ScriptedProvider(text("found"), model="small")
    agent = make("passing:scripted:large", Offers(), Other(inner))
    assert (await agent.invoke_async("go")).text == "found"
    assert inner.requests[0].model == "large"
    assert (await make("passing:scripted", Offers(), Other(inner)).invoke_async("go")).text == "found"
    assert inner.requests[1].model == "small"


async def test_a_model_that_is_not_there_is_said_as_everywhere() -> None:
    with pytest.raises(ConfigError, match="there is no provider 'scriptd'; did you mean 'scripted'"):
        await make("passing:scriptd:large", Offers(), Other(ScriptedProvider(text("x")))).invoke_async("go")


async def test_to_ask_for_a_model_while_the_runtime_is_built_takes_the_plugin_out() -> None:
    class Hasty:
        @hookimpl
        def register_providers(self, find_model: Any) -> list[Any]:
            return [find_model("scripted:large")[0]]

    runtime = Runtime(plugins=[Hasty(), Other(ScriptedProvider(text("x")))], discover=False)
    [hasty] = [one for one in runtime.plugins if one.name == "Hasty"]
    assert hasty.status == "quarantined"
    assert "find_model was asked for 'scripted:large' while the runtime is built" in hasty.reason
    assert list(runtime.providers) == ["scripted"]


async def test_a_provider_whose_service_can_be_asked_is_one_that_has_the_method() -> None:
    class Listing(ScriptedProvider):
        async def list_models(self) -> Sequence[ModelInfo]:
            return [ModelInfo("large")]

    assert isinstance(Listing(text("x")), ListingProvider)
    assert not isinstance(ScriptedProvider(text("x")), ListingProvider)
