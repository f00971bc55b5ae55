"""AG-UI's own client, `HttpAgent` of `@ag-ui/client`, against a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from becket import Agent, Runtime, tool
from becket.testing import Scenarios, ScriptedProvider, calls, text
from becket.testing.scenarios import FLOOD
from becket_serve import app
from becket_serve.testing import serving

if TYPE_CHECKING:
    from collections.abc import Callable


@tool(effect="write")
async def change(value: int) -> str:
    """Change something."""
    return f"changed to {value}"


def several(runtime: Runtime) -> Agent[Any]:
    """Asks about two calls, the second of which is to be denied; so do two agents that it calls at the same time."""
    own = ("change", {"value": 1}), ("change", {"value": 2})
    tools: list[Any] = [change]
    for name in ("one", "two"):
        script = ScriptedProvider(calls(*own), text(f"{name} is done"), name=name)
        tools.append(Agent(script, [change], name=f"agent {name}", runtime=runtime).as_tool(name, "Does it."))
    script = ScriptedProvider(calls(*own, ("one", {"prompt": "go"}), ("two", {"prompt": "go"})), text("Done."))
    return Agent(script, tools, name="several", approver="reader", runtime=runtime)


@pytest.fixture(scope="module")
def scenarios() -> Scenarios:
    return Scenarios(discover=True)


@pytest.fixture(scope="module")
def seen(judge: Callable[..., Any], scenarios: Scenarios) -> dict[str, Any]:
    """What the client has seen of each run, all in one process."""
    with serving(app([scenarios.agent, several(scenarios.runtime)])) as url:
        shown: dict[str, Any] = judge("agui.mjs", f"{url}/agui", timeout=90)
    return shown


def said(run: dict[str, Any]) -> str:
    """What the agent has said last."""
    return str(run["messages"][-1]["content"])


FINE = [
    *("text", "tools", "progress", "reasoning", "nested", "malformed", "unicode, torn", "nested, torn"),
    *(
        "held, then text",
        "idle tool, then text",
        "asks, then text",
        "at last reasoning",
        "at last tools",
        "at last text",
    ),
]


@pytest.mark.parametrize("name", FINE)
def test_a_run_is_finished_and_says_what_it_says(name: str, seen: dict[str, Any]) -> None:
    """In a conversation, too, that has everything in it that came before; and the client has nothing to complain of."""
    run = seen[name]
    assert (run["failed"], run["error"], run["complaints"], run["interrupts"]) == (None, None, [], [])
    assert run["finished"]["outcome"] == "success"
    scenario = name.removesuffix(", torn").rpartition(", then ")[2].removeprefix("at last ")
    assert said(run) == Scenarios.text(scenario)


def test_tools_and_progress_are_shown(seen: dict[str, Any]) -> None:
    """Two calls of one message, each with its result; reports one by one."""
    _, called, first, second, _ = seen["tools"]["messages"]
    assert [call["function"]["name"] for call in called["toolCalls"]] == ["slow", "fast"]
    assert [(one["role"], one["content"]) for one in (first, second)] == [("tool", "fast"), ("tool", "slow after 1")]
    assert seen["progress"]["progress"] == [{"step": 1}, {"step": 2}, {"step": 3}, "counted to 3"]


def test_reasoning_is_a_message_of_its_own(seen: dict[str, Any]) -> None:
    """With the seal, which the client sends back."""
    _, thought, _ = seen["reasoning"]["messages"]
    assert (thought["role"], thought["content"]) == ("reasoning", "Six times seven.")
    assert thought["encryptedValue"] == '{"signature":"c2lnbmVk"}'


def test_a_nested_run_is_told_apart(seen: dict[str, Any]) -> None:
    """Its messages are marked as those of a subagent, and it is tied to the call that began it."""
    run = seen["nested"]
    (subagent,) = run["subagents"]
    assert subagent["name"] == "helper"
    assert subagent["parentToolCallId"] == run["messages"][1]["toolCalls"][0]["id"]
    nested = [message for message in run["messages"] if message.get("subagentRunId") == subagent["subagentRunId"]]
    assert [message["role"] for message in nested] == ["assistant", "tool", "assistant"]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("fails first", {"message": "the service is overloaded", "code": "overloaded"}),
        ("fails midway", {"message": "the line was cut", "code": "ProviderError"}),
    ],
)
def test_an_error_is_told(name: str, error: dict[str, str], seen: dict[str, Any]) -> None:
    """As the run's own failure, not as a stream that the client rejects."""
    run = seen[name]
    assert (run["error"], run["failed"], run["finished"], run["complaints"]) == (error, None, None, [])
    assert run["types"][-1] == "RUN_ERROR"


def test_aborting_cancels_the_run(seen: dict[str, Any], scenarios: Scenarios) -> None:
    """What waited for ever has cleaned up, in the model and in the tool."""
    assert [seen[name]["error"]["code"] for name in ("held", "idle tool")] == ["abort", "abort"]
    assert (scenarios.waiting, scenarios.cleaned) == (0, 2)


@pytest.mark.parametrize(
    ("name", "says", "result"),
    [
        ("allowed", "The answer: changed to 7", "changed to 7"),
        ("edited", "The answer: changed to 8", "changed to 8"),
        ("denied", "The answer: denied", "change was not called, the call was denied: not today"),
        ("cancelled", "The answer: denied", "change was not called, the call was denied: the user has not answered"),
    ],
)
def test_an_interrupt_is_answered_and_the_run_goes_on(name: str, says: str, result: str, seen: dict[str, Any]) -> None:
    """In a second answer, which does not begin the call anew."""
    asked, run = seen["asks"], seen[name]
    assert asked["finished"]["outcome"] == "interrupt"
    assert asked["interrupts"][0]["toolCallId"] == asked["messages"][-1]["toolCalls"][0]["id"]
    assert (run["failed"], run["error"], run["complaints"], run["interrupts"]) == (None, None, [], [])
    assert "TOOL_CALL_START" not in run["types"]
    assert run["messages"][-2]["content"] == result
    assert said(run) == says


def test_an_answer_of_another_form_is_refused_and_may_be_given_again(seen: dict[str, Any]) -> None:
    """The client still holds the interrupt."""
    run = seen["misspelt"]
    assert "HTTP 422" in run["failed"]
    assert "must be {" in run["failed"]
    assert len(run["interrupts"]) == 1


def test_several_calls_are_asked_about_one_after_another(seen: dict[str, Any]) -> None:
    """Those of nested runs too, which are suspended with the answer and go on under the same name."""
    *asked, last = seen["several"]
    assert [run["finished"]["outcome"] for run in seen["several"]] == ["interrupt"] * 6 + ["success"]
    assert [run["complaints"] + ([run["failed"]] if run["failed"] else []) for run in seen["several"]] == [[]] * 7
    by_run: dict[str | None, list[int]] = {}
    for run in asked:
        (interrupt,) = run["interrupts"]
        value = interrupt["metadata"]["becket"]["arguments"]["value"]
        by_run.setdefault(interrupt.get("subagentRunId"), []).append(value)
    assert list(by_run.values()) == [[1, 2]] * 3
    results = [message["content"] for message in last["messages"] if message["role"] == "tool"]
    assert sorted(results) == sorted(
        ["changed to 1", "change was not called, the call was denied: the user has denied it"] * 3
        + ["one is done", "two is done"]
    )
    named = {(event["subagentRunId"], event["name"]) for run in asked for event in run["subagents"]}
    assert sorted(name for _, name in named) == ["one", "two"]
    assert said(last) == "Done."


def test_tools_of_the_client_are_refused(seen: dict[str, Any]) -> None:
    """With what to do instead."""
    run = seen["client tools"]
    assert "HTTP 422" in run["failed"]
    assert "pick_colour" in run["failed"]


def test_a_flood_arrives_whole(seen: dict[str, Any]) -> None:
    """100,000 pieces."""
    assert (seen["flood"]["failed"], seen["flood"]["complaints"], seen["flood"]["length"]) == (None, [], FLOOD)
