"""Answers that end while their run waits for a decision, as formats without a way back have them; and what goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from becket import Agent, Allow, DecisionRequested, Deny, Edit, Runtime, TextDelta, hookimpl, tool
from becket.testing import Scenarios, ScriptedProvider, calls, text
from becket.wires import EventStreamEncoder, RunRequest
from becket_serve import ServeLimits

if TYPE_CHECKING:
    from collections.abc import Callable

    from becket import Event, RunInfo
    from becket.wires import Encoder

pytestmark = pytest.mark.anyio

ONE, OTHER = "the-token-of-the-one", "the-token-of-the-other"


@dataclass
class Body:
    prompt: str = ""
    answers: dict[str, bool] = field(default_factory=dict)
    refuse: bool = False
    detach: bool = False
    edit: bool = False


class Lines(EventStreamEncoder):
    """One line for each piece of text, and for each question, after which nothing more may come."""

    def encode(self, event: Event, /) -> bytes:
        if isinstance(event, DecisionRequested):
            self.done = True
            return f"ask {event.request_id}\n".encode()
        return f"text {event.text}\n".encode() if isinstance(event, TextDelta) else b""

    def finish(self) -> bytes:
        return b"end\n"


class AskingWire:
    name, path, media_type, asks, request_model = "asking", "/asking", "text/plain", True, Body

    def read(self, body: Body, /) -> RunRequest:
        answers: dict[str, Any] = {one: Allow() if yes else Deny("no") for one, yes in body.answers.items()}
        if body.edit:
            answers = {one: Edit([object()]) for one in answers}  # type: ignore[arg-type]  # what is tested
        return RunRequest(prompt=body.prompt, answers=answers, detach=body.detach)

    def open(self, body: Body, run: RunInfo, /, *, accept: str = "") -> Encoder:
        if body.refuse:
            from becket import RequestError

            raise RequestError("not in this form", status=422, code="not_this_form")
        return Lines()

    @hookimpl
    def register_wires(self) -> list[AskingWire]:
        return [self]


@pytest.fixture
def asking(place: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a server with the wire, of the scenarios or of another agent."""

    def make(*tokens: str, agent: Agent | None = None, **options: Any) -> Any:
        scenarios = Scenarios()
        served = (agent or scenarios.agent).replace(runtime=Runtime(plugins=[AskingWire()], discover=False))
        return place(*tokens, scenarios=scenarios, agent=served, **options)

    return make


def requests(answer: Any) -> list[str]:
    return [line.split(" ")[1] for line in answer.body.decode().splitlines() if line.startswith("ask ")]


@pytest.mark.parametrize(("yes", "told"), [(True, "changed to 7"), (False, "denied")])
async def test_a_run_goes_on_with_the_answer_of_a_later_request(
    asking: Callable[..., Any], *, yes: bool, told: str
) -> None:
    """It is the very run, and no event of it is lost in between."""
    here = asking()
    first = await here.client.post("/asking", {"prompt": "asks"})
    (request,) = requests(first)
    assert first.body == f"ask {request}\nend\n".encode()
    assert here.going_on == 1
    second = await here.client.post("/asking", {"answers": {request: yes}})
    assert second.body.decode() == f"text The answer: \ntext {told}\nend\n"
    assert second.run_id == first.run_id
    assert here.going_on == 0
    seen = await here.client.get(f"/runs/{first.run_id}/events")
    assert [event["seq"] for event in seen.events] == list(range(1, len(seen.events) + 1))


async def test_an_answer_may_come_before_the_server_has_let_go(asking: Callable[..., Any]) -> None:
    """A client has read the end of the first answer while its `send` still waits."""
    here = asking()
    async with here.client.open("POST", "/asking", {"prompt": "asks"}) as first:
        await first.until(lambda answer: answer.body.startswith(b"ask "))
        second = await here.client.post("/asking", {"answers": {requests(first)[0]: True}})
    assert b"changed to 7" in second.body


async def test_an_answer_is_taken_once(asking: Callable[..., Any]) -> None:
    here = asking()
    (request,) = requests(await here.client.post("/asking", {"prompt": "asks"}))
    assert (await here.client.post("/asking", {"answers": {request: True}})).status == 200
    again = await here.client.post("/asking", {"answers": {request: True}})
    assert (again.status, again.code) == (409, "unknown_decision")


async def test_an_answer_of_another_client_is_for_no_run(asking: Callable[..., Any]) -> None:
    here = asking(ONE, OTHER)
    (request,) = requests(await here.client.post("/asking", {"prompt": "asks"}))
    stranger = await here.other(OTHER).post("/asking", {"answers": {request: True}})
    assert (stranger.status, stranger.code) == (409, "unknown_decision")
    assert b"changed to 7" in (await here.client.post("/asking", {"answers": {request: True}})).body


async def test_answers_are_for_one_run(asking: Callable[..., Any]) -> None:
    """None of them is taken where one of them does not fit."""
    here = asking()
    both = [requests(await here.client.post("/asking", {"prompt": "asks"}))[0] for _ in range(2)]
    told = await here.client.post("/asking", {"answers": dict.fromkeys(both, True)})
    assert (told.status, told.code) == (409, "unknown_decision")
    for request in both:
        assert b"changed to 7" in (await here.client.post("/asking", {"answers": {request: True}})).body


async def test_an_answer_that_the_wire_refuses_leaves_the_run_waiting(asking: Callable[..., Any]) -> None:
    here = asking()
    (request,) = requests(await here.client.post("/asking", {"prompt": "asks"}))
    refused = await here.client.post("/asking", {"answers": {request: True}, "refuse": True})
    assert (refused.status, refused.code) == (422, "not_this_form")
    assert b"changed to 7" in (await here.client.post("/asking", {"answers": {request: True}})).body


async def test_a_run_that_nobody_comes_back_to_is_cancelled(asking: Callable[..., Any]) -> None:
    here = asking(limits=ServeLimits(decision_seconds=0.05))
    first = await here.client.post("/asking", {"prompt": "asks"})
    await here.idle()
    seen = await here.client.get(f"/runs/{first.run_id}/events")
    assert seen.events[-1]["result"]["stop_reason"] == "cancelled"
    late = await here.client.post("/asking", {"answers": {requests(first)[0]: True}})
    assert (late.status, late.code) == (409, "unknown_decision")


async def test_a_detached_run_that_nobody_comes_back_to_goes_on_with_the_call_denied(
    asking: Callable[..., Any],
) -> None:
    here = asking(limits=ServeLimits(decision_seconds=0.05))
    first = await here.client.post("/asking", {"prompt": "asks", "detach": True})
    await here.idle()
    seen = await here.client.get(f"/runs/{first.run_id}/events")
    assert seen.first("decision_made")["by"] == "the time limit"
    assert seen.events[-1]["result"]["stop_reason"] == "end_turn"


async def test_a_detached_run_goes_on_with_the_answer_as_well(asking: Callable[..., Any]) -> None:
    here = asking()
    first = await here.client.post("/asking", {"prompt": "asks", "detach": True})
    second = await here.client.post("/asking", {"answers": {requests(first)[0]: True}})
    assert second.body == b"text The answer: \ntext changed to 7\nend\n"


async def test_a_wrong_decision_aside_leaves_the_run_waiting(asking: Callable[..., Any]) -> None:
    """For the answer that comes the right way, with nothing of the run lost."""
    here = asking()
    first = await here.client.post("/asking", {"prompt": "asks"})
    wrong = await here.client.post(f"/runs/{first.run_id}/decisions", {"request_id": "x", "outcome": "allow"})
    assert (wrong.status, wrong.code) == (409, "unknown_decision")
    second = await here.client.post("/asking", {"answers": {requests(first)[0]: True}})
    assert second.body == b"text The answer: \ntext changed to 7\nend\n"


async def test_a_server_that_stops_waits_for_nobody_to_come_back(asking: Callable[..., Any]) -> None:
    here = asking(limits=ServeLimits(grace=1000))
    first = await here.client.post("/asking", {"prompt": "asks"})
    await here.app.state.becket.close()
    seen = await here.client.get(f"/runs/{first.run_id}/events")
    assert seen.events[-1]["result"]["stop_reason"] == "cancelled"


async def test_an_answer_that_is_none_is_refused_and_the_run_waits_on(asking: Callable[..., Any]) -> None:
    """As of a wire that lets one pass."""
    here = asking()
    first = await here.client.post("/asking", {"prompt": "asks"})
    refused = await here.client.post("/asking", {"answers": {requests(first)[0]: True}, "edit": True})
    assert (refused.status, refused.code) == (422, "invalid_decision")
    second = await here.client.post("/asking", {"answers": {requests(first)[0]: True}})
    assert second.body == b"text The answer: \ntext changed to 7\nend\n"


async def test_a_run_that_waits_counts_and_can_be_cancelled(asking: Callable[..., Any]) -> None:
    here = asking(limits=ServeLimits(runs=1))
    first = await here.client.post("/asking", {"prompt": "asks"})
    assert (await here.client.post("/stream", {"prompt": "text"})).status == 429
    assert (await here.client.post(f"/runs/{first.run_id}/cancel")).status == 202
    await here.idle()
    assert (await here.client.post("/stream", {"prompt": "text"})).status == 200


async def test_a_decision_on_the_stream_itself_lets_the_run_go_on_unread(asking: Callable[..., Any]) -> None:
    """As over a socket, which finds the run and not the answer that it was started for."""

    @tool(effect="write")
    async def change() -> str:
        return "changed"

    agent = Agent(ScriptedProvider(calls(("change", {})), text(*["piece "] * 1000)), [change], approver="reader")
    here = asking(agent=agent)
    first = await here.client.post("/asking", {"prompt": "go"})
    runs = here.app.state.becket.runs
    await runs.of("everybody").find(first.run_id).decide(requests(first)[0], answer=True)
    seen = await here.client.get(f"/runs/{first.run_id}/events")
    assert seen.first("run_finished")["result"]["stop_reason"] == "end_turn"
    assert sum(event["type"] == "text_delta" for event in seen.events) == 1000
    assert here.going_on == 0


async def test_a_decision_made_aside_lets_the_run_go_on_unread(asking: Callable[..., Any]) -> None:
    """However much it says: its events are read elsewhere."""

    @tool(effect="write")
    async def change() -> str:
        return "changed"

    agent = Agent(ScriptedProvider(calls(("change", {})), text(*["piece "] * 1000)), [change], approver="reader")
    here = asking(agent=agent)
    first = await here.client.post("/asking", {"prompt": "go"})
    body = {"request_id": requests(first)[0], "outcome": "allow"}
    assert (await here.client.post(f"/runs/{first.run_id}/decisions", body)).status == 202
    seen = await here.client.get(f"/runs/{first.run_id}/events")
    assert sum(event["type"] == "text_delta" for event in seen.events) == 1000
    assert here.going_on == 0


@pytest.mark.parametrize("aside", [True, False])
async def test_a_detached_run_is_decided_on_of_which_little_is_kept(asking: Callable[..., Any], *, aside: bool) -> None:
    """What it has said meanwhile, in a run that is nested beside the one that asks, is not there any more."""
    go = anyio.Event()

    @tool(effect="write")
    async def change() -> str:
        return "changed"

    asks = Agent(ScriptedProvider(calls(("change", {})), text("done")), [change], name="asks", approver="reader")
    says = Agent(ScriptedProvider([go.wait, *text(*["piece "] * 100)]), name="says")
    agent = Agent(
        ScriptedProvider(calls(("asks", {"prompt": "go"}), ("says", {"prompt": "go"})), text("all done")),
        [asks.as_tool("asks", "Asks."), says.as_tool("says", "Says.")],
        approver="reader",
    )
    here = asking(agent=agent, limits=ServeLimits(keep_events=10))
    first = await here.client.post("/asking", {"prompt": "go", "detach": True})
    go.set()
    run = here.app.state.becket.runs.find("everybody", first.run_id)
    while run.last < 100:
        await checkpoint()
    if aside:
        body = {"request_id": requests(first)[0], "outcome": "allow"}
        assert (await here.client.post(f"/runs/{first.run_id}/decisions", body)).status == 202
    else:
        second = await here.client.post("/asking", {"answers": {requests(first)[0]: True}})
        assert (second.status, second.code) == (410, "events_dropped")
    await here.idle()
    seen = await here.client.get(f"/runs/{first.run_id}/events?after={run.last - 5}")
    assert seen.events[-1]["result"]["stop_reason"] == "end_turn"


async def test_a_run_that_is_read_is_not_read_by_another(
    asking: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its decisions are made beside it."""
    monkeypatch.setattr("becket_serve._run._HAND_OVER", 0.05)
    here = asking()
    async with here.client.open("POST", "/events", {"prompt": "asks"}) as answer:
        await answer.until(lambda answer: answer.has("decision_requested"))
        request = answer.first("decision_requested")["request_id"]
        told = await here.client.post("/asking", {"answers": {request: True}})
        assert (told.status, told.code) == (409, "run_is_read")
        await here.client.post(f"/runs/{answer.run_id}/decisions", {"request_id": request, "outcome": "allow"})
        await answer.end()


async def test_a_nested_run_may_be_the_one_that_asks(asking: Callable[..., Any]) -> None:
    @tool(effect="write")
    async def change() -> str:
        return "changed"

    helper = Agent(ScriptedProvider(calls(("change", {})), text("done")), [change], name="helper", approver="reader")
    agent = Agent(
        ScriptedProvider(calls(("helper", {"prompt": "go"})), text("all done")),
        [helper.as_tool("helper", "Helps.")],
        approver="reader",
    )
    here = asking(agent=agent)
    first = await here.client.post("/asking", {"prompt": "go"})
    second = await here.client.post("/asking", {"answers": {requests(first)[0]: True}})
    assert second.body == b"text done\ntext all done\nend\n"
