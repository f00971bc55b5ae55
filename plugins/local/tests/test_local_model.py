"""The real engine, asked through the provider."""

from __future__ import annotations

import re
from typing import Any

import pytest
from becket import (
    ConfigError,
    Message,
    ModelOptions,
    ModelRequest,
    Provider,
    ProviderError,
    ReasoningDelta,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolSpec,
)
from becket_local import LocalProvider, register_providers

pytestmark = pytest.mark.anyio


async def test_a_sum_is_calculated_and_its_result_is_the_answer(new_run: Any, shared_provider: LocalProvider) -> None:
    run = new_run(shared_provider, "What is 42 + 7?")
    assert await run.all() == "49"
    assert run.calls == [("calculator", {"expression": "42 + 7"})]


async def test_one_cycle_gives_reasoning_the_call_and_the_confidence(
    new_run: Any, shared_provider: LocalProvider
) -> None:
    run = new_run(shared_provider, "What is 42 + 7?")
    await run.cycle()
    reasoning, call, finished = run.events[-3:]
    assert isinstance(reasoning, ReasoningDelta)
    assert "42 + 7" in reasoning.text
    assert isinstance(call, ToolCallDelta)
    assert (call.call_id, call.fragment) == ("call-1-1", '{"expression": "42 + 7"}')
    assert reasoning.block != call.block
    assert finished.stop_reason == "tool_use"
    assert 0.1 < finished.confidence < 1


async def test_two_sums_are_two_calls_with_ids_and_blocks_of_their_own(
    new_run: Any, shared_provider: LocalProvider
) -> None:
    run = new_run(shared_provider, "1+1 and 2+2")
    assert await run.all() == 'calculator(expression="1+1"): 2\ncalculator(expression="2+2"): 4'
    deltas = [event for event in run.events if isinstance(event, ToolCallDelta)]
    assert len({delta.call_id for delta in deltas}) == len({delta.block for delta in deltas}) == 2


async def test_results_lead_to_a_further_call(
    new_run: Any, shared_provider: LocalProvider, contacts: tuple[ToolSpec, ...]
) -> None:
    """It texts to "Ada" as well before it has her number; the text to her number comes of the result alone."""

    def answer(call: ToolCall) -> str:
        if call.tool == "find_contact":
            return '{"number": "+44 123 456"}'
        assert call.arguments["number"] == "+44 123 456", "no such number"
        return "sent"

    run = new_run(shared_provider, "Look up Ada's number and text her hello", tools=contacts, answer=answer)
    text = await run.all()
    assert ("send_sms", {"number": "+44 123 456", "text": "hello"}) in run.calls
    assert text.endswith('send_sms(number="+44 123 456", text="hello"): sent')


async def test_a_tool_that_keeps_failing_is_called_once(new_run: Any, shared_provider: LocalProvider) -> None:
    def broken(call: ToolCall) -> str:
        raise ValueError("timeout")

    run = new_run(shared_provider, "What is 42 + 7?", answer=broken)
    assert await run.all() == 'calculator(expression="42 + 7"): failed: timeout'
    assert len(run.calls) == 1


async def test_a_poem_is_refused_with_advice(new_run: Any, shared_provider: LocalProvider) -> None:
    run = new_run(shared_provider, "write me a poem")
    assert "install a plugin that provides a chat model" in await run.all()
    assert run.calls == []
    assert run.finished[-1].stop_reason == "end_turn"


async def test_what_the_model_is_too_unsure_of_is_named_and_not_called(
    new_run: Any, shared_provider: LocalProvider
) -> None:
    run = new_run(shared_provider, "How much is 3 times 19?")
    text = await run.all()
    assert run.calls == []
    assert text.startswith("No tool was called. The model would have called calculator(expression=")
    assert re.search(r"is only \d% sure and leaves it", text)


async def test_a_request_not_to_calculate_is_heeded(new_run: Any, shared_provider: LocalProvider) -> None:
    run = new_run(shared_provider, "Do not calculate 2+2")
    assert "says not to" in await run.all()
    assert run.calls == []


async def test_a_floor_keeps_an_unsure_call_from_being_made(new_run: Any) -> None:
    provider = LocalProvider(confidence_floor=0.99)
    run = new_run(provider, "What is 42 + 7?")
    text = await run.all()
    await provider.aclose()
    assert run.calls == []
    assert 'calculator(expression="42 + 7")' in text
    assert "the floor is 99%" in text


async def test_the_environment_sets_the_floor(
    new_run: Any, shared_provider: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BECKET_LOCAL_CONFIDENCE_FLOOR", "0.98")
    run = new_run(shared_provider, "What is 42 + 7?")
    assert "the floor is 98%" in await run.all()


@pytest.mark.parametrize("floor", ["high", "1.5", "nan"])
async def test_a_floor_that_is_none_is_refused_by_name(
    new_run: Any, shared_provider: LocalProvider, monkeypatch: pytest.MonkeyPatch, floor: str
) -> None:
    monkeypatch.setenv("BECKET_LOCAL_CONFIDENCE_FLOOR", floor)
    with pytest.raises(ConfigError, match=r"BECKET_LOCAL_CONFIDENCE_FLOOR is .*between 0 and 1"):
        await new_run(shared_provider, "What is 42 + 7?").cycle()


async def test_each_run_starts_with_a_clean_conversation(new_run: Any, shared_provider: LocalProvider) -> None:
    """The same request has the same answer, to the digit, whatever was asked before."""
    first, other, again = (
        new_run(shared_provider, text) for text in ("Calculate 2+2", "write me a poem", "Calculate 2+2")
    )
    for run in (first, other, again):
        await run.all()
    assert [event.confidence for event in first.finished] == [event.confidence for event in again.finished]


async def test_a_conversation_is_rebuilt_where_another_run_came_between(
    new_run: Any, shared_provider: LocalProvider
) -> None:
    alone, mixed = (new_run(shared_provider, "What is 42 + 7?") for _ in range(2))
    await alone.all()
    await mixed.cycle()
    await new_run(shared_provider, "1+1 and 2+2").all()
    assert await mixed.all() == "49"
    assert [event.confidence for event in mixed.finished] == [event.confidence for event in alone.finished]


async def test_runs_with_other_tools_may_come_between(
    new_run: Any, shared_provider: LocalProvider, contacts: tuple[ToolSpec, ...]
) -> None:
    run = new_run(shared_provider, "What is 42 + 7?")
    await run.cycle()
    await new_run(shared_provider, "Find Ada's phone number", tools=contacts, answer=lambda call: "12").all()
    assert await run.all() == "49"


async def test_only_the_last_text_of_a_history_is_answered(new_run: Any, shared_provider: LocalProvider) -> None:
    history = [
        Message("user", (Text("What is 1 + 1?"),)),
        Message("assistant", (Text("2"),)),
        Message("user", (Text("What is 42 + 7?"),)),
    ]
    run = new_run(shared_provider, history)
    assert await run.all() == "49"


@pytest.mark.parametrize("choice", ["none", "missing"])
async def test_without_a_tool_that_may_be_called_it_says_what_it_is_for(
    new_run: Any, shared_provider: LocalProvider, choice: str
) -> None:
    run = new_run(shared_provider, "What is 42 + 7?", options=ModelOptions(tool_choice=choice))
    assert "only calls tools" in await run.all()
    assert run.calls == []


async def test_no_tools_need_no_worker(new_run: Any, provider: LocalProvider) -> None:
    run = new_run(provider, "hello", tools=())
    assert "only calls tools" in await run.all()
    assert run.said == []


async def test_a_tool_that_is_chosen_is_the_only_one_on_offer(
    new_run: Any, shared_provider: LocalProvider, contacts: tuple[ToolSpec, ...], calculator: ToolSpec
) -> None:
    options = ModelOptions(tool_choice="calculator")
    run = new_run(shared_provider, "What is 42 + 7?", tools=(*contacts, calculator), options=options)
    assert await run.all() == "49"


async def test_more_tools_than_it_reads_at_once_are_announced_once(
    new_run: Any, shared_provider: LocalProvider
) -> None:
    verbs = ("open", "lock", "paint", "move", "sell", "clean")
    schema: Any = {"type": "object", "properties": {"which": {"type": "string"}}, "required": ["which"]}
    tools = tuple(ToolSpec(f"{verb}_door", f"{verb.title()} a door of the house.", schema) for verb in verbs)
    first, second = (new_run(shared_provider, "lock the front door", tools=tools) for _ in range(2))
    await first.cycle()
    await second.cycle()
    assert "reading_tools" in first.said
    assert "reading_tools" not in second.said


async def test_tools_that_do_not_fit_are_a_clear_error_and_the_worker_goes_on(
    new_run: Any, shared_provider: LocalProvider
) -> None:
    huge = ToolSpec("huge", "word " * 9000, {"type": "object", "properties": {}})
    with pytest.raises(ProviderError, match=r"refuses the tools .*offer fewer") as caught:
        await new_run(shared_provider, "go", tools=(huge,)).cycle()
    assert not caught.value.retryable
    assert await new_run(shared_provider, "What is 42 + 7?").all() == "49"


async def test_a_date_is_told_where_the_request_speaks_of_time(new_run: Any, shared_provider: LocalProvider) -> None:
    properties: Any = {"date": {"type": "string", "format": "date", "description": "the day"}}
    remind = ToolSpec("remind", "Set a reminder.", {"type": "object", "properties": properties, "required": ["date"]})
    run = new_run(shared_provider, "remind me tomorrow", tools=(remind,), answer=lambda call: "ok")
    await run.all()
    assert run.calls[0][1]["date"].startswith("20")


async def test_a_model_that_it_does_not_have_is_refused(shared_provider: LocalProvider) -> None:
    with pytest.raises(ConfigError, match="no model 'nail'; it has 'needle'"):
        async for _ in shared_provider.stream(ModelRequest("nail", [])):
            pass


async def test_the_answer_is_one_block_of_text(new_run: Any, shared_provider: LocalProvider) -> None:
    run = new_run(shared_provider, "What is 42 + 7?")
    await run.all()
    assert [event.text for event in run.events if isinstance(event, TextDelta)] == ["49"]


def test_the_plugin_registers_the_provider_without_starting_anything() -> None:
    (provider,) = register_providers()
    assert isinstance(provider, Provider)
    assert (provider.name, provider.default_model) == ("local", "needle")
    assert [model.name for model in provider.models()] == ["needle"]


@pytest.mark.parametrize("floor", [-0.1, 1.1, float("nan")])
def test_a_floor_that_is_no_confidence_is_refused(floor: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        LocalProvider(confidence_floor=floor)
