"""Approvals: what is asked and answered over one message that several answers make, on asyncio and on trio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from becket import Agent, Ask, Deny, HookContext, Limits, Runtime, ToolCall, ToolContext, hookimpl, tool
from becket.testing import Scenarios, ScriptedProvider, calls, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from becket import AnyTool, Verdict

pytestmark = pytest.mark.anyio

BARE = Runtime(discover=False)


@tool(effect="write")
async def change(value: int) -> str:
    """Change something."""
    return f"changed to {value}"


@tool(effect="none")
async def look(at: str) -> str:
    """Look at something."""
    return f"looked at {at}"


def agent(*scripts: Any, tools: Any = (change, look), **more: Any) -> Agent:
    return Agent(ScriptedProvider(*scripts), list(tools), name="root", approver="reader", runtime=BARE, **more)


def asked(read: Any) -> list[dict[str, Any]]:
    return [part for part in read.tools() if part["state"] == "approval-requested"]


def states(read: Any) -> dict[str, str]:
    return {part["toolCallId"]: part["state"] for part in read.tools()}


def kinds(read: Any) -> list[str]:
    return [chunk["type"] for chunk in read.chunks]


async def test_the_answer_ends_with_the_question(chat: Callable[..., Any]) -> None:
    """The part says who asks why, and exactly what would be done."""
    talk = chat()
    read = await talk.say("asks")
    (part,) = asked(read)
    assert part["approval"]["requestReason"] == "it may change something on this machine"
    descriptor = part["approval"]["descriptor"]
    assert (descriptor["agent"], descriptor["toolName"], descriptor["input"]) == ("scenarios", "change", {"value": 7})
    assert read.finished == "tool-calls"
    await talk.aclose()


async def test_a_call_that_is_allowed_goes_on_in_the_same_message(chat: Callable[..., Any]) -> None:
    """The next answer has its outcome, and neither the call again nor the step that it stands in."""
    talk = chat()
    first = await talk.say("asks")
    read = await talk.respond(approved=True)
    assert kinds(read)[:5] == ["start", "tool-approval-response", "tool-output-available", "start-step", "text-start"]
    assert read.message["id"] == first.message["id"]
    (part,) = read.tools()
    assert (part["state"], part["output"]) == ("output-available", "changed to 7")
    assert read.text == Scenarios.text("asks")
    assert read.message["metadata"]["pending"] is None
    assert len(talk.messages) == 2


async def test_a_call_that_is_denied_says_why(chat: Callable[..., Any]) -> None:
    talk = chat()
    await talk.say("asks")
    read = await talk.respond(approved=False, reason="not today")
    (part,) = read.tools()
    assert part["state"] == "output-denied"
    assert part["approval"]["reason"] == "not today"
    assert read.text == "The answer: denied"


async def test_the_conversation_goes_on_after_it(chat: Callable[..., Any]) -> None:
    """What was answered is history then, and no answer to anything."""
    talk = chat()
    await talk.say("asks")
    await talk.respond(approved=True)
    read = await talk.say("text")
    assert read.text == Scenarios.text("text")
    assert len(talk.messages) == 4


@pytest.mark.parametrize(
    "wanted",
    [
        [("change", {"value": 1}), ("change", {"value": 2}), ("change", {"value": 3})],
        [("look", {"at": "a"}), ("change", {"value": 1}), ("look", {"at": "b"})],
        [("change", {"value": 1}), ("look", {"at": "a"}), ("change", {"value": 2}), ("look", {"at": "b"})],
        [("nothing", {}), ("change", {"value": 1}), ("look", {"wrong": 1})],
    ],
)
async def test_the_chat_sends_each_answer_by_itself(wanted: list[tuple[str, Any]], chat: Callable[..., Any]) -> None:
    """The run asks about its calls one after the other, before any is made; the SDK's chat sends when all are settled.

    So what waits for the decision is not there in the meantime, and what was decided unasked is shown as approved.
    """
    talk = chat(agent(calls(*wanted), text("Done.")))
    read = await talk.say("go")
    for number in range(1, 1 + sum(name == "change" for name, _ in wanted)):
        (part,) = asked(read)
        assert part["input"] == {"value": number}
        assert not talk.complete()
        part["state"], part["approval"]["approved"] = "approval-responded", True
        assert talk.complete()
        part["state"] = "approval-requested"
        read = await talk.respond(approved=True)
    assert read.text == "Done."
    assert {part["toolCallId"]: part["toolName"] for part in read.tools()} == {
        f"call-{number}": name for number, (name, _) in enumerate(wanted, start=1)
    }
    for part in read.tools():
        if part["toolName"] == "change":
            assert part["output"] == f"changed to {part['input']['value']}"
        elif part["input"].get("at"):
            assert part["output"] == f"looked at {part['input']['at']}"
        else:
            assert part["state"] == "output-error"


async def test_what_stands_in_a_step_before_the_question_stays(chat: Callable[..., Any]) -> None:
    """Reasoning with its seal, text, and arguments that cannot be read; only the calls that wait are taken back."""
    from becket import ModelFinished, ReasoningDelta, TextDelta, ToolCallDelta

    script = [
        ReasoningDelta("thought", 0, "seal"),
        TextDelta("I will.", 1),
        ToolCallDelta("bad", "look", "{", 2),
        ToolCallDelta("write", "change", '{"value": 1}', 3),
        ToolCallDelta("read", "look", '{"at": "a"}', 4),
        ModelFinished("tool_use"),
    ]
    talk = chat(agent(script, text("Done.")))
    read = await talk.say("go")
    assert "reset-step" in kinds(read)
    assert [part["type"] for part in read.parts] == ["step-start", "reasoning", "text", "dynamic-tool", "dynamic-tool"]
    assert read.parts[1]["providerMetadata"] == {"becket": {"signature": "seal"}}
    assert read.text == "I will."
    assert states(read) == {"bad": "output-error", "write": "approval-requested"}
    read = await talk.respond(approved=True)
    assert states(read) == {"bad": "output-error", "write": "output-available", "read": "output-available"}
    assert read.text == "I will.Done."


async def test_calls_of_several_steps_have_ids_of_their_own(chat: Callable[..., Any]) -> None:
    """A service may begin to count anew with each answer: a frontend's keys, and its approvals, are the message's."""
    wanted = calls(("look", {"at": "a"}), ("change", {"value": 1}), ("look", {"at": "b"}))
    talk = chat(agent(wanted, wanted, wanted, text("Done.")))
    await talk.say("go")
    for _ in range(3):
        assert talk.parked is not None
        read = await talk.respond(approved=True)
    assert read.text == "Done."
    names = [part["toolCallId"] for part in read.tools()]
    assert sorted(names) == sorted({f"call-{number}{step}" for number in (1, 2, 3) for step in ("", "_2", "_3")})
    assert set(states(read).values()) == {"output-available"}


async def test_one_call_alone_is_not_taken_back(chat: Callable[..., Any]) -> None:
    """The common case: nothing flickers."""
    talk = chat()
    assert "reset-step" not in kinds(await talk.say("asks"))
    await talk.aclose()


class Strict:
    """Denies looking at b, and asks about looking at c."""

    @hookimpl
    def approve_tool(self, ctx: HookContext, call: ToolCall, tool: AnyTool) -> Verdict | None:
        if call.arguments.get("at") == "b":
            return Deny("not b")
        return Ask("is c right?") if call.arguments.get("at") == "c" else None


@pytest.mark.parametrize("order", [("b", "c"), ("c", "b")])
async def test_what_a_policy_denies_says_so(order: tuple[str, str], chat: Callable[..., Any]) -> None:
    """A part that was denied has an approval, which nobody was asked for: the SDK's word for that is `isAutomatic`."""
    wanted = [("look", {"at": at}) for at in order]
    runtime = Runtime(discover=False, plugins=[Strict()])
    talk = chat(agent(calls(*wanted), text("Done.")).replace(runtime=runtime))
    read = await talk.say("go")
    (part,) = asked(read)
    assert part["input"] == {"at": "c"}
    read = await talk.respond(approved=True)
    by = {part["input"]["at"]: part for part in read.tools()}
    assert by["c"]["state"] == "output-available"
    assert by["b"]["state"] == "output-denied"
    assert by["b"]["approval"]["isAutomatic"] is True
    assert by["b"]["approval"]["approved"] is False
    assert "not b" in by["b"]["approval"]["reason"]


async def test_a_policy_alone_denies_without_a_question(chat: Callable[..., Any]) -> None:
    runtime = Runtime(discover=False, plugins=[Strict()])
    read = await chat(agent(calls(("look", {"at": "b"})), text("Done.")).replace(runtime=runtime)).say("go")
    (part,) = read.tools()
    assert part["state"] == "output-denied"
    assert part["approval"]["reason"] == "not b"


@pytest.mark.parametrize("allowed", [True, False])
async def test_what_the_host_decides_is_told_and_not_asked(allowed: bool, chat: Callable[..., Any]) -> None:
    """An approver of its own: the answer goes on, and the part has the SDK's mark for what the chat is not asked."""
    helper = nested("helper", ("change", {"value": 2}))
    wanted = calls(("change", {"value": 1}), ("look", {"at": "a"}), ("helper", {"prompt": "go"}))
    own = agent(wanted, text("Done."), tools=[change, look, helper]).replace(approver=lambda _: allowed)
    talk = chat(own)
    read = await talk.say("go")
    assert talk.parked is None
    assert read.text == "Done."
    part, *others = read.tools()
    assert part["state"] == ("output-available" if allowed else "output-denied")
    assert part["approval"]["isAutomatic"] is True
    assert part["approval"]["approved"] is allowed
    assert part["approval"]["requestReason"] == "it may change something on this machine"
    assert [other["state"] for other in others] == ["output-available", "output-available"]
    assert "reset-step" not in kinds(read)


async def test_an_answer_that_comes_too_late_is_put_right(chat: Callable[..., Any]) -> None:
    """The decision had lapsed while the client answered: the part says what was decided, and by what."""
    talk = chat(agent(calls(("change", {"value": 1})), text("Done."), limits=Limits(decision_seconds=0.001)))
    (part,) = asked(await talk.say("go"))
    part["state"], part["approval"]["approved"] = "approval-responded", True
    encoder = talk.wire.open(talk.body(), talk.parked.info)
    written = [encoder.encode(event) async for event in talk.parked]
    read = type(talk.last)(talk.messages[-1]).read(b"".join((*written, encoder.finish())))
    (part,) = read.tools()
    assert part["state"] == "output-denied"
    assert part["approval"]["approved"] is False
    assert part["approval"]["reason"] == "nobody has answered within 0.001 s"


# -- what a nested run asks --------------------------------------------------------------------------------------------


def nested(name: str, *wanted: tuple[str, Any], tools: Any = (change, look)) -> AnyTool:
    script = ScriptedProvider(calls(*wanted, prefix=name), text(f"{name} is done"), name=f"p-{name}")
    return Agent(script, list(tools), name=name, runtime=BARE).as_tool(name, "Does it.")


async def test_a_question_of_a_nested_run_stands_at_the_call_it_is_in(chat: Callable[..., Any]) -> None:
    """Its own calls are no parts of the message; what would be done is in the descriptor."""
    helper = nested("helper", ("change", {"value": 1}))
    talk = chat(agent(calls(("helper", {"prompt": "go"})), text("Done."), tools=[helper]))
    read = await talk.say("go")
    (part,) = asked(read)
    assert part["toolName"] == "helper"
    descriptor = part["approval"]["descriptor"]
    assert (descriptor["agent"], descriptor["toolName"], descriptor["input"]) == ("helper", "change", {"value": 1})
    read = await talk.respond(approved=True)
    (part,) = read.tools()
    assert (part["state"], part["output"]) == ("output-available", "helper is done")
    (run,) = [part for part in read.parts if part["type"] == "data-nested-run"]
    assert (run["data"]["state"], run["data"]["text"]) == ("finished", "helper is done")
    (call,) = [part for part in read.parts if part["type"] == "data-nested-tool"]
    assert (call["data"]["input"], call["data"]["output"]) == ({"value": 1}, "changed to 1")


async def test_several_questions_in_a_nested_run_come_one_after_the_other(chat: Callable[..., Any]) -> None:
    helper = nested("helper", ("change", {"value": 1}), ("look", {"at": "a"}), ("change", {"value": 2}))
    talk = chat(agent(calls(("helper", {"prompt": "go"})), text("Done."), tools=[helper]))
    await talk.say("go")
    read = await talk.respond(approved=False)
    (part,) = asked(read)
    assert part["approval"]["descriptor"]["input"] == {"value": 2}
    read = await talk.respond(approved=True)
    assert read.text == "Done."
    assert sorted(part["data"]["state"] for part in read.parts if part["type"] == "data-nested-tool") == [
        "denied",
        "success",
        "success",
    ]


async def test_two_nested_runs_ask_at_once(chat: Callable[..., Any]) -> None:
    """Both questions stand there, each at its call; both answers come with one request, or one by one."""
    one, two = nested("one", ("change", {"value": 1})), nested("two", ("change", {"value": 2}))
    talk = chat(agent(calls(("one", {"prompt": "go"}), ("two", {"prompt": "go"})), text("Done."), tools=[one, two]))
    read = await talk.say("go")
    first, second = asked(read)
    assert {part["approval"]["descriptor"]["agent"] for part in (first, second)} == {"one", "two"}
    read = await talk.respond({first["approval"]["id"]: True})
    assert states(read)[first["toolCallId"]] == "output-available"
    (left,) = asked(read)
    assert left["approval"]["id"] == second["approval"]["id"]
    read = await talk.respond(approved=True)
    assert set(states(read).values()) == {"output-available"}
    assert read.text == "Done."


async def test_both_questions_are_answered_at_once(chat: Callable[..., Any]) -> None:
    one, two = nested("one", ("change", {"value": 1})), nested("two", ("change", {"value": 2}))
    talk = chat(agent(calls(("one", {"prompt": "go"}), ("two", {"prompt": "go"})), text("Done."), tools=[one, two]))
    await talk.say("go")
    read = await talk.respond(approved=True)
    assert set(states(read).values()) == {"output-available"}
    assert read.text == "Done."


async def test_two_questions_at_one_call_come_one_after_the_other(chat: Callable[..., Any]) -> None:
    """A part has room for one; the other is carried over by the message until its turn has come."""
    one, two = nested("one", ("change", {"value": 1})), nested("two", ("change", {"value": 2}))
    middle = nested("middle", ("one", {"prompt": "go"}), ("two", {"prompt": "go"}), tools=[one, two])
    talk = chat(agent(calls(("middle", {"prompt": "go"})), text("Done."), tools=[middle]))
    read = await talk.say("go")
    (part,) = asked(read)
    assert part["toolName"] == "middle"
    seen = [part["approval"]["descriptor"]["agent"]]
    read = await talk.respond(approved=True)
    (part,) = asked(read)
    seen.append(part["approval"]["descriptor"]["agent"])
    assert sorted(seen) == ["one", "two"]
    read = await talk.respond(approved=True)
    assert read.text == "Done."
    runs = [part["data"] for part in read.parts if part["type"] == "data-nested-run"]
    assert {run["agent"]: run["state"] for run in runs} == {"one": "finished", "two": "finished", "middle": "finished"}
    assert {run["toolCallId"] for run in runs} == {"call-1"}


async def test_the_answer_goes_on_while_something_else_runs(chat: Callable[..., Any]) -> None:
    """It ends when nothing but a decision can happen: a chat sends no answers while a tool is under way."""
    asking = anyio.Event()

    @tool(effect="none")
    async def slow() -> str:
        """End after the question."""
        await asking.wait()
        await checkpoint()
        return "slow is done"

    helper = nested("helper", ("change", {"value": 1}))
    talk = chat(agent(calls(("helper", {"prompt": "go"}), ("slow", {})), text("Done."), tools=[helper, slow]))
    read = await talk.say("go", on=lambda event, _: asking.set() if event.type == "decision_requested" else None)
    assert states(read) == {"call-1": "approval-requested", "call-2": "output-available"}
    read = await talk.respond(approved=True)
    assert read.text == "Done."


async def test_a_call_that_waits_for_its_turn_is_shown_as_approved(chat: Callable[..., Any]) -> None:
    """Tools that run in order: the next has been decided on, and begins only after the run that asks is over."""

    @tool(effect="none", sequential=True)
    async def after(ctx: ToolContext) -> str:
        """Come last."""
        return "after"

    helper = nested("helper", ("change", {"value": 1}))
    talk = chat(agent(calls(("helper", {"prompt": "go"}), ("after", {})), text("Done."), tools=[helper, after]))
    read = await talk.say("go")
    assert states(read) == {"call-1": "approval-requested", "call-2": "approval-responded"}
    read = await talk.respond(approved=True)
    assert states(read) == {"call-1": "output-available", "call-2": "output-available"}
