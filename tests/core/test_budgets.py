"""What a run may spend, the runs nested in it included: tokens, tool calls, money."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest
from becket import (
    Agent,
    ConfigError,
    Limits,
    ModelFinished,
    Price,
    RunFinished,
    Runtime,
    TextDelta,
    ToolResult,
    Usage,
    tool,
)
from becket._budget import Budget
from becket.prices import Prices
from becket.testing import ListSink, ScriptedProvider, calls, text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from becket import Event
    from becket.tools import AnyTool

anyio_test = pytest.mark.anyio

MILLION = 1_000_000


def priced(**options: Any) -> Runtime:
    """A runtime in which a token costs 1 to read and 2 to write."""
    prices = {"scripted:*": Price(input=MILLION, output=2 * MILLION)}
    return Runtime(discover=False, prices=prices, **options)


def make(name: str, *script: Any, tools: Iterable[AnyTool] = (), runtime: Runtime | None = None, **rest: Any) -> Agent:
    return Agent(ScriptedProvider(*script), tuple(tools), name=name, runtime=runtime or priced(), **rest)


def reasons(events: Iterable[Event]) -> dict[str, str]:
    """Why each run stopped, by whether it is the root."""
    return {
        "root" if event.parent_run_id is None else "nested": event.result.stop_reason
        for event in events
        if isinstance(event, RunFinished)
    }


@tool(effect="none")
async def count() -> str:
    """Count."""
    return "counted"


# -- prices ------------------------------------------------------------------------------------------------------------


def test_a_price_is_per_million_tokens() -> None:
    assert Price(input=3, output=15).cost(Usage(1_000_000, 100_000)) == pytest.approx(4.5)


def test_cached_and_reasoning_tokens_cost_what_the_others_do_unless_said() -> None:
    usage = Usage(1000, 100, cached_tokens=400, reasoning_tokens=60)
    assert Price(input=1000, output=1000).cost(usage) == pytest.approx(1.1)
    assert Price(input=1000, output=1000, cached=100, reasoning=0).cost(usage) == pytest.approx(0.6 + 0.04 + 0.04)


@pytest.mark.parametrize("given", [-1, float("inf"), float("nan"), "3", True, None])
def test_a_price_that_is_none_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"the price of input is .*; it must be a number from 0, per million tokens"):
        Price(input=given, output=1)


def test_the_very_name_wins_and_then_the_first_pattern_that_fits() -> None:
    dear, cheap, other = Price(input=9, output=9), Price(input=1, output=1), Price(input=5, output=5)
    prices = Prices({"a:*": cheap, "*": other, "a:big": dear})
    assert [prices.find(name) for name in ("a:big", "a:small", "b:any")] == [dear, cheap, other]
    assert prices.find("a:big") is dear  # remembered, and no other
    assert Prices({"a:*": cheap}).find("b:any") is None
    assert Prices().find("b:any") is None


def test_prices_may_be_given_as_plain_data() -> None:
    prices = Prices({"a:*": {"input": 1, "output": 2, "cached": 0.5}})
    assert prices.find("a:b") == Price(input=1, output=2, cached=0.5)


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ([], "prices is \\[\\]; it takes a mapping"),
        ({1: Price(input=1, output=1)}, "prices has 1 in it; it takes the names of models"),
        ({"": Price(input=1, output=1)}, "prices has '' in it"),
        ({"a": 3}, "the price of 'a' is 3; it takes Price"),
        ({"a": {"input": 1, "output": 1, "ouput": 2}}, "the price of 'a' has 'ouput'; it has: input, output, cached"),
        ({"a": {"input": 1}}, "the price of 'a' lacks 'output'"),
        ({"a": {"input": -1, "output": 1}}, "'a': the price of input is -1"),
    ],
)
def test_a_table_that_is_none_is_refused(table: Any, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Runtime(discover=False, prices=table)


# -- the cost of a run -------------------------------------------------------------------------------------------------


@anyio_test
async def test_what_a_run_costs_is_said_of_each_model_call_and_of_all() -> None:
    agent = make("root", calls(("count", {})), text("a", "b"), tools=[count])
    events = [event async for event in agent.stream_async("go")]
    assert [event.cost for event in events if isinstance(event, ModelFinished)] == [12, 14]
    assert events[-1]["result"].cost == 26


@anyio_test
async def test_without_a_price_no_cost_is_said() -> None:
    agent = make("root", text("a"), runtime=Runtime(discover=False))
    assert (await agent.invoke_async("go")).cost is None


@anyio_test
async def test_the_limit_on_cost_ends_the_run() -> None:
    made: list[str] = []

    @tool
    async def note() -> str:
        made.append("call")
        return "noted"

    agent = make("root", calls(("note", {})), tools=[note], limits=Limits(cost=20))
    events = [event async for event in agent.stream_async("go")]
    result = events[-1]["result"]
    assert (result.stop_reason, result.cost, result.cycles) == ("limit_cost", 24, 2)
    assert made == ["call"]  # what the second answer asks for is not called
    assert [event.result.status for event in events if event.type == "tool_finished"] == ["success", "interrupted"]


@pytest.mark.parametrize("where", ["agent", "run"])
def test_a_limit_on_cost_without_a_price_is_refused_at_the_start(where: str) -> None:
    """A budget that cannot be counted would never be reached."""
    runtime = Runtime(discover=False, prices={"other:*": {"input": 1, "output": 1}})
    why = r"there is no price for the model 'scripted:model'; add one: Runtime\(prices="
    with pytest.raises(ConfigError, match=why):
        if where == "agent":
            make("root", text("a"), runtime=runtime, limits=Limits(cost=1))
        else:
            make("root", text("a"), runtime=runtime).stream_async("go", limits=Limits(cost=1))


# -- across nested runs ------------------------------------------------------------------------------------------------


def looping(**options: Any) -> Agent:
    """An agent that calls its tool for ever."""
    return make("sub", calls(("count", {})), tools=[count], **options)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [(Limits(tokens=60), "limit_tokens"), (Limits(cost=60), "limit_cost"), (Limits(tool_calls=4), "limit_tool_calls")],
)
@anyio_test
async def test_a_budget_of_the_root_ends_what_is_nested_and_the_root(limits: Limits, reason: str) -> None:
    root = make("root", calls(("ask", {"prompt": "q"})), tools=[looping().as_tool("ask", "")], limits=limits)
    events = [event async for event in root.stream_async("go")]
    assert reasons(events) == {"root": reason, "nested": reason}
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    made = [event for event in events if event.type == "tool_started"]
    if limits.tool_calls:
        assert len(made) == 4
    spent = sum(event.usage.total_tokens for event in events if isinstance(event, ModelFinished))
    assert spent <= 60 + 11  # over by one call at the most


@anyio_test
async def test_a_budget_of_a_nested_run_is_its_own() -> None:
    sub = looping(limits=Limits(tokens=20))
    root = make("root", calls(("ask", {"prompt": "q"})), text("done"), tools=[sub.as_tool("ask", "")])
    events = [event async for event in root.stream_async("go")]
    assert reasons(events) == {"root": "end_turn", "nested": "limit_tokens"}


@anyio_test
async def test_the_budget_in_the_middle_ends_what_is_below_it_and_not_what_is_above() -> None:
    middle = make(
        "middle", calls(("ask", {"prompt": "q"})), tools=[looping().as_tool("ask", "")], limits=Limits(cost=50)
    )
    root = make("root", calls(("middle", {"prompt": "q"})), text("ok"), tools=[middle.as_tool("middle", "")])
    events = [event async for event in root.stream_async("go")]
    ends = [event.result.stop_reason for event in events if isinstance(event, RunFinished)]
    assert ends == ["limit_cost", "limit_cost", "end_turn"]


@anyio_test
async def test_agents_side_by_side_draw_on_one_budget() -> None:
    root = make(
        "root",
        calls(*[("ask", {"prompt": "q"})] * 3),
        tools=[looping().as_tool("ask", "")],
        limits=Limits(tool_calls=10),
    )
    events = [event async for event in root.stream_async("go")]
    assert len([event for event in events if event.type == "tool_started"]) == 10
    ends = [event.result.stop_reason for event in events if isinstance(event, RunFinished)]
    assert ends == ["limit_tool_calls"] * 4


@anyio_test
async def test_a_call_that_the_budget_forbids_in_the_middle_of_a_cycle_is_not_made() -> None:
    """The first of two calls that go one after the other has used up what there was."""
    made: list[str] = []

    @tool(sequential=True)
    async def note() -> str:
        made.append("call")
        return "noted"

    sub = make("sub", text(*["x"] * 40))
    tools = [sub.as_tool("ask", ""), note]
    root = make("root", calls(("ask", {"prompt": "q"}), ("note", {})), tools=tools, limits=Limits(tokens=50))
    events = [event async for event in root.stream_async("go")]
    results = [event.result for event in events if event.type == "tool_finished"]
    assert results[1] == ToolResult("call-2", "interrupted", results[1].content)
    assert results[1].text == "This call was not made: limit_tokens."
    assert made == []
    assert reasons(events) == {"nested": "end_turn", "root": "limit_tokens"}


@anyio_test
async def test_a_nested_run_without_a_price_is_refused_where_a_run_above_limits_the_cost() -> None:
    sub = Agent(ScriptedProvider(text("a"), name="other"), runtime=Runtime(discover=False))
    tools = [sub.as_tool("ask", "")]
    root = make("root", calls(("ask", {"prompt": "q"})), text("done"), tools=tools, limits=Limits(cost=1000))
    events = [event async for event in root.stream_async("go")]
    (told,) = [event.result.text for event in events if event.type == "tool_finished"]
    assert "there is no price for the model 'other:model'" in told
    assert reasons(events) == {"root": "end_turn"}


@anyio_test
async def test_a_nested_run_of_a_runtime_without_prices_has_those_of_the_run_above() -> None:
    sub = make("sub", text("a"), runtime=Runtime(discover=False))
    tools = [sub.as_tool("ask", "")]
    root = make("root", calls(("ask", {"prompt": "q"})), text("done"), tools=tools, limits=Limits(cost=1000))
    events = [event async for event in root.stream_async("go")]
    assert [event.cost for event in events if isinstance(event, ModelFinished)] == [12, 12, 12]


@anyio_test
async def test_what_a_sync_tool_starts_draws_on_the_same_budget() -> None:
    runtime, sink = priced(), ListSink()
    sub = looping(runtime=runtime, sinks=[sink])

    @tool(effect="none")
    def ask() -> str:
        return sub("q").stop_reason

    root = make("root", calls(("ask", {})), tools=[ask], runtime=runtime, limits=Limits(tokens=60))
    try:
        events = [event async for event in root.stream_async("go")]
    finally:
        await anyio.to_thread.run_sync(runtime.close)
    assert reasons(events) == {"root": "limit_tokens"}
    assert reasons(sink.events) == {"root": "limit_tokens"}


@anyio_test
async def test_a_model_that_a_hook_has_chosen_needs_a_price_too() -> None:
    from dataclasses import replace

    from becket import ModelRequest, hookimpl

    class Router:
        @hookimpl
        def before_model_call(self, request: ModelRequest) -> ModelRequest:
            return replace(request, model="unheard-of")

    prices = {"scripted:model": {"input": 1, "output": 1}}
    runtime = Runtime(discover=False, plugins=[Router()], prices=prices)
    agent = make("root", [TextDelta("a"), ModelFinished("end_turn")], runtime=runtime)
    assert (await agent.invoke_async("go")).cost is None
    with pytest.raises(ConfigError, match="there is no price for the model 'scripted:unheard-of'"):
        await agent.invoke_async("go", limits=Limits(cost=1))


# -- the account -------------------------------------------------------------------------------------------------------


def test_where_nothing_is_limited_nothing_is_counted() -> None:
    assert Budget.of(Limits(), None) is None
    above = Budget(Limits(tokens=5))
    assert Budget.of(Limits(), above) is above


def test_what_is_spent_counts_for_every_run_above() -> None:
    top = Budget(Limits(tokens=100))
    left, right = Budget(Limits(tokens=50), top), Budget(Limits(cost=5), top)
    left.spend(Usage(30, 10), 1.0)
    right.spend(Usage(50, 10), 5.0)
    assert (left.tokens, right.tokens, top.tokens) == (40, 60, 100)
    assert (left.reached(), right.reached(), top.reached()) == ("limit_tokens", "limit_cost", "limit_tokens")
    assert (left.counts_cost, right.counts_cost) == (False, True)


def test_a_call_that_is_forbidden_above_ends_every_run_that_shares_the_limit() -> None:
    top = Budget(Limits(tool_calls=1))
    one, other = Budget(Limits(tool_calls=9), top), Budget(Limits(tokens=9), top)
    assert one.take_call() is None
    assert (top.reached(), one.reached()) == (None, None)
    assert other.take_call() == "limit_tool_calls"
    assert (top.reached(), one.reached(), other.reached()) == ("limit_tool_calls",) * 3
    assert (top.tool_calls, one.tool_calls, other.tool_calls) == (1, 1, 0)


def test_threads_spend_from_one_budget() -> None:
    top = Budget(Limits(tokens=10**9))

    def spend() -> None:
        own = Budget(Limits(cost=10**9), top)
        for _ in range(2000):
            own.spend(Usage(1, 0), 0.0)

    threads = [threading.Thread(target=spend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert top.tokens == 8000
