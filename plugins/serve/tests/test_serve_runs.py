"""The runs of a server: read again, followed, decided on, cancelled; whose they are, and how long they are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from becket import Limits, MemoryLog, RequestError, Runtime, TextDelta
from becket.testing import Scenarios
from becket_serve import ServeLimits, lifespan
from starlette.requests import Request

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

ONE, OTHER = "the-token-of-the-one", "the-token-of-the-other"


# -- reading again -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["header", "query", "both"])
async def test_a_reader_who_comes_back_gets_what_followed(place: Callable[..., Any], how: str) -> None:
    """No event twice, none missing. The header goes before the query: a browser sends it to the same address again."""
    client = place().client
    whole = await client.post("/events", {"prompt": "tools"})
    path = f"/runs/{whole.run_id}/events"
    query = {"header": "", "query": "?after=5", "both": "?after=2"}[how]
    again = await client.get(path + query, last_event_id="" if how == "query" else "5")
    assert (again.status, again.run_id) == (200, whole.run_id)
    assert again.events == whole.events[5:]


async def test_a_detached_run_goes_on_without_its_client_and_is_followed(place: Callable[..., Any]) -> None:
    here = place()
    async with here.client.open("POST", "/events", {"prompt": "asks", "detach": True}) as first:
        await first.until(lambda answer: answer.has("decision_requested"))
    assert here.going_on == 1
    seen = first.events
    request = first.first("decision_requested")["request_id"]
    async with here.client.open("GET", f"/runs/{first.run_id}/events", last_event_id=str(seen[-1]["seq"])) as second:
        told = await here.client.post(f"/runs/{first.run_id}/decisions", {"request_id": request, "outcome": "allow"})
        assert told.status == 202
        await second.end()
    assert [event["seq"] for event in (*seen, *second.events)] == list(range(1, second.events[-1]["seq"] + 1))
    assert second.events[-1]["result"]["stop_reason"] == "end_turn"


async def test_a_run_that_is_not_detached_ends_with_its_client(place: Callable[..., Any]) -> None:
    """Its events can be read all the same, the terminal one among them."""
    here = place()
    async with here.client.open("POST", "/events", {"prompt": "idle tool"}) as answer:
        await answer.until(lambda answer: answer.has("tool_started"))
        await here.until(lambda: here.scenarios.waiting)
    assert (here.going_on, here.scenarios.cleaned) == (0, 1)
    again = await here.client.get(f"/runs/{answer.run_id}/events")
    assert again.events[-1]["result"]["stop_reason"] == "cancelled"


@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson"])
async def test_a_reader_of_a_run_that_is_silent_is_answered_at_once(place: Callable[..., Any], accept: str) -> None:
    """A browser's EventSource is open then; it would not know for as long as nothing happens."""
    here = place()
    async with here.client.open("POST", "/events", {"prompt": "held"}) as answer:
        await answer.until(lambda answer: answer.has("text_delta"))
        path = f"/runs/{answer.run_id}/events?after={answer.events[-1]['seq']}"
        async with here.client.open("GET", path, accept=accept) as reader:
            await reader.until(lambda answer: answer.body)
            assert (reader.status, reader.events) == (200, [])


async def test_a_reader_who_goes_leaves_the_run_alone(place: Callable[..., Any]) -> None:
    here = place()
    async with here.client.open("POST", "/events", {"prompt": "held"}) as answer:
        await answer.until(lambda answer: answer.has("text_delta"))
        async with here.client.open("GET", f"/runs/{answer.run_id}/events") as reader:
            await reader.until(lambda answer: answer.has("text_delta"))
        assert here.going_on == 1


async def test_a_run_that_is_over_and_was_seen_has_nothing_more(place: Callable[..., Any]) -> None:
    """204 is what stops a browser's EventSource."""
    client = place().client
    whole = await client.post("/events", {"prompt": "text"})
    again = await client.get(f"/runs/{whole.run_id}/events?after={len(whole.events)}")
    assert (again.status, again.body) == (204, b"")


async def test_a_last_event_that_the_run_has_not_had_is_of_another_run(place: Callable[..., Any]) -> None:
    client = place().client
    whole = await client.post("/events", {"prompt": "text"})
    again = await client.get(f"/runs/{whole.run_id}/events", last_event_id="1000")
    assert (again.status, again.code) == (409, "unknown_event")
    assert again.json["last"] == len(whole.events)


@pytest.mark.parametrize("given", ["x", "-1", "1.5", "\u0661", "9" * 5000, "1 "])
async def test_a_last_event_that_is_none_is_refused(place: Callable[..., Any], given: str) -> None:
    client = place().client
    whole = await client.post("/events", {"prompt": "text"})
    again = await client.get(f"/runs/{whole.run_id}/events?after={given.replace(' ', '%20')}")
    assert (again.status, again.code) == (422, "invalid_event_id")


async def test_events_that_are_gone_are_said_with_what_is_still_there(place: Callable[..., Any]) -> None:
    """And the reader can go on from there."""
    client = place(limits=ServeLimits(keep_events=4)).client
    whole = await client.post("/events", {"prompt": "tools"})
    last = len(whole.events)
    path = f"/runs/{whole.run_id}/events"
    gone = await client.get(path)
    assert (gone.status, gone.code) == (410, "events_dropped")
    assert {name: gone.json[name] for name in ("after", "dropped", "first", "last")} == {
        "after": 0,
        "dropped": last - 4,
        "first": last - 3,
        "last": last,
    }
    rest = await client.get(path, last_event_id=str(gone.json["dropped"]))
    assert rest.events == whole.events[-4:]


async def test_large_events_are_not_kept_by_their_number(place: Callable[..., Any]) -> None:
    client = place(limits=ServeLimits(keep_bytes=2000)).client
    whole = await client.post("/events", {"prompt": "tools"})
    gone = await client.get(f"/runs/{whole.run_id}/events")
    assert (gone.status, gone.code) == (410, "events_dropped")
    assert 0 < gone.json["last"] - gone.json["dropped"] < len(whole.events) / 2


async def test_a_reader_who_does_not_keep_up_is_cut_off_and_comes_back(place: Callable[..., Any]) -> None:
    """The run goes on at its own pace; where to go on reading is said by the next answer."""
    here = place(limits=ServeLimits(keep_events=1000))
    async with here.client.open("POST", "/events", {"prompt": "flood", "detach": True}) as first:
        await first.until(lambda answer: answer.has("text_delta"))
        first.stop_reading()
        await here.idle()
        first.read_on()
        await first.end()
    assert first.events[-1]["type"] == "text_delta"
    path = f"/runs/{first.run_id}/events"
    gone = await here.client.get(path, last_event_id=str(first.events[-1]["seq"]))
    assert (gone.status, gone.code, gone.headers["cache-control"]) == (410, "events_dropped", "no-store")
    rest = await here.client.get(path, last_event_id=str(gone.json["dropped"]))
    assert (len(rest.events), rest.events[-1]["type"]) == (1000, "run_finished")


async def test_a_reader_who_was_too_late_for_the_first_event_is_told_too(place: Callable[..., Any]) -> None:
    """It was there when the request came, and no longer when it was to be sent."""
    here = place(limits=ServeLimits(keep_events=10))
    answer = await here.client.post("/events", {"prompt": "text"})
    run = here.app.state.becket.runs.find("everybody", answer.run_id)
    request = Request(here.client.scope("GET", "/", {}))
    request.scope["becket_serve.client"], request.scope["path_params"] = "everybody", {"run_id": answer.run_id}
    response = await here.app.state.becket._routes.events(request)
    for _ in range(5):
        run.stream._driver.effects.log.append(TextDelta("late"))
    with pytest.raises(RequestError) as raised:
        await response(request.scope, anyio.sleep_forever, _unused)
    assert raised.value.status == 410


async def _unused(message: object) -> None:
    pytest.fail(f"nothing was to be sent, and {message} was")


async def test_a_log_of_the_hosts_own_is_used(place: Callable[..., Any]) -> None:
    scenarios = Scenarios()
    made = []

    def make_log(_: object) -> MemoryLog:
        made.append(MemoryLog(keep=3))
        return made[-1]

    agent = scenarios.agent.replace(runtime=Runtime(discover=False, make_log=make_log))
    client = place(scenarios=scenarios, agent=agent).client
    whole = await client.post("/events", {"prompt": "text"})
    assert len(made) == 1
    assert (await client.get(f"/runs/{whole.run_id}/events")).status == 410


async def test_head_says_what_get_would_without_an_event(place: Callable[..., Any]) -> None:
    here = place()
    whole = await here.client.post("/events", {"prompt": "text"})
    async with here.client.open("HEAD", f"/runs/{whole.run_id}/events") as answer:
        await answer.end()
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, "text/event-stream", b"")


# -- ending ------------------------------------------------------------------------------------------------------------


async def test_a_run_is_cancelled_once(place: Callable[..., Any]) -> None:
    """The answer comes to its terminal event; a second cancel is told that there is nothing to do."""
    here = place()
    async with here.client.open("POST", "/events", {"prompt": "held"}) as answer:
        await answer.until(lambda answer: answer.has("text_delta"))
        path = f"/runs/{answer.run_id}/cancel"
        first, second = await here.client.post(path), await here.client.post(path)
        assert (first.status, first.json) == (202, {"run_id": answer.run_id, "status": "cancelling"})
        assert second.status == 409
        assert second.code in {"already_cancelled", "run_over"}
        await answer.end()
    assert answer.events[-1]["result"]["stop_reason"] == "cancelled"
    third = await here.client.post(path)
    assert (third.status, third.code) == (409, "run_over")


async def test_the_stricter_limit_of_wall_time_holds(place: Callable[..., Any]) -> None:
    scenarios = Scenarios()
    of_server = place(limits=ServeLimits(run_seconds=0.01))
    of_agent = place(scenarios=scenarios, agent=scenarios.agent.replace(limits=Limits(seconds=0.01)))
    for here in (of_server, of_agent):
        answer = await here.client.post("/events", {"prompt": "held"})
        assert answer.events[-1]["result"]["stop_reason"] == "limit_time"


# -- decisions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decision", "text"),
    [
        ({"outcome": "allow"}, "The answer: changed to 7"),
        ({"outcome": "deny", "reason": "not today"}, "The answer: denied"),
        ({"outcome": "edit", "arguments": {"value": 8}}, "The answer: changed to 8"),
    ],
)
async def test_a_decision_is_made_beside_the_stream(
    place: Callable[..., Any], decision: dict[str, Any], text: str
) -> None:
    here = place()
    async with here.client.open("POST", "/events", {"prompt": "asks"}) as answer:
        await answer.until(lambda answer: answer.has("decision_requested"))
        body = {"request_id": answer.first("decision_requested")["request_id"], **decision}
        told = await here.client.post(f"/runs/{answer.run_id}/decisions", body)
        assert told.status == 202
        assert told.json == {
            "run_id": answer.run_id,
            "request_id": body["request_id"],
            "outcome": decision["outcome"],
        }
        await answer.end()
    made = answer.first("decision_made")
    assert (made["outcome"], made["reason"]) == (decision["outcome"], decision.get("reason", ""))
    assert "".join(event["text"] for event in answer.events if event["type"] == "text_delta") == text


async def test_a_decision_on_what_nobody_asks_is_refused(place: Callable[..., Any]) -> None:
    """Whether it was never asked, or has been decided."""
    here = place()
    async with here.client.open("POST", "/events", {"prompt": "asks"}) as answer:
        await answer.until(lambda answer: answer.has("decision_requested"))
        path = f"/runs/{answer.run_id}/decisions"
        request = answer.first("decision_requested")["request_id"]
        never = await here.client.post(path, {"request_id": "0" * 32, "outcome": "allow"})
        first = await here.client.post(path, {"request_id": request, "outcome": "deny"})
        second = await here.client.post(path, {"request_id": request, "outcome": "allow"})
        await answer.end()
    after = await here.client.post(path, {"request_id": request, "outcome": "allow"})
    assert first.status == 202
    assert [(told.status, told.code) for told in (never, second, after)] == [(409, "unknown_decision")] * 3


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"request_id": "x"},
        {"request_id": "x", "outcome": "perhaps"},
        {"request_id": "x", "outcome": "edit"},
        {"request_id": "x", "outcome": "allow", "arguments": {}},
        {"request_id": "x", "outcome": "edit", "arguments": [1]},
        {"request_id": "x", "outcome": "allow", "more": 1},
    ],
)
async def test_a_decision_that_is_none_is_refused(place: Callable[..., Any], body: dict[str, Any]) -> None:
    here = place()
    async with here.client.open("POST", "/events", {"prompt": "held"}) as answer:
        await answer.until(lambda answer: answer.has("text_delta"))
        told = await here.client.post(f"/runs/{answer.run_id}/decisions", body)
    assert (told.status, told.code) == (422, "invalid_body")


async def test_a_decision_that_is_not_made_in_time_is_a_denial(place: Callable[..., Any]) -> None:
    """For a client who still listens."""
    answer = await place(limits=ServeLimits(decision_seconds=0.01)).client.post("/events", {"prompt": "asks"})
    assert answer.first("decision_made")["by"] == "the time limit"
    assert answer.events[-1]["type"] == "run_finished"


async def test_clients_are_asked_only_where_the_agent_says_so(place: Callable[..., Any]) -> None:
    """To serve an agent that nobody may be asked for is no reason to ask whoever calls."""
    scenarios = Scenarios()
    here = place(scenarios=scenarios, agent=scenarios.agent.replace(approver=None))
    answer = await here.client.post("/events", {"prompt": "asks"})
    assert not answer.has("decision_requested")
    assert answer.first("decision_made")["outcome"] == "deny"


async def test_the_approver_of_the_host_decides_also_where_the_client_cannot(place: Callable[..., Any]) -> None:
    scenarios = Scenarios()
    here = place(scenarios=scenarios, agent=scenarios.agent.replace(approver=lambda _: True))
    assert (await here.client.post("/stream", {"prompt": "asks"})).body == b"The answer: changed to 7"


# -- whose they are ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["events", "cancel", "decisions"])
async def test_a_run_is_there_for_its_own_client_alone(place: Callable[..., Any], what: str) -> None:
    """Others are told what they are told of runs that never were."""
    here = place(ONE, OTHER)
    stranger = here.other(OTHER)
    async with here.client.open("POST", "/events", {"prompt": "held"}) as answer:
        await answer.until(lambda answer: answer.has("text_delta"))

        async def told(run_id: str) -> Any:
            if what == "events":
                return await stranger.get(f"/runs/{run_id}/events")
            body = {"request_id": "x", "outcome": "allow"} if what == "decisions" else None
            return await stranger.post(f"/runs/{run_id}/{what}", body)

        others, nobodys = await told(answer.run_id), await told("0" * 32)
        assert (others.status, others.code) == (404, "unknown_run")
        assert others.body == nobodys.body
        assert here.going_on == 1


async def test_sessions_of_one_name_are_each_clients_own(place: Callable[..., Any]) -> None:
    """And the name is what the client gets to see, whatever the session is called in the store."""
    here = place(ONE, OTHER)
    for caller, earlier in ((here.client, 0), (here.client, 1), (here.other(OTHER), 0)):
        answer = await caller.post("/events", {"prompt": "text", "session_id": "mine"})
        assert answer.events[0]["session_id"] == "mine"
        assert answer.first("model_started")["messages"] == 1 + 2 * earlier
        again = await caller.get(f"/runs/{answer.run_id}/events")
        assert again.events == answer.events


async def test_a_session_that_is_in_use_is_called_as_its_client_calls_it(place: Callable[..., Any]) -> None:
    here = place(ONE)
    async with here.client.open("POST", "/events", {"prompt": "held", "session_id": "mine"}) as answer:
        await answer.until(lambda answer: answer.has("text_delta"))
        refused = await here.client.post("/stream", {"prompt": "text", "session_id": "mine"})
        assert refused.status == 409
        assert f"the run {answer.run_id} goes on in the session 'mine'" in refused.body.decode()
        assert b"serve/" not in refused.body


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb", "\x00"])
async def test_a_session_that_has_no_name_is_refused(place: Callable[..., Any], name: str) -> None:
    answer = await place().client.post("/stream", {"prompt": "text", "session_id": name})
    assert (answer.status, answer.code) == (422, "invalid_session")


# -- bounds ------------------------------------------------------------------------------------------------------------


async def test_one_run_too_many_is_told_to_come_back(place: Callable[..., Any]) -> None:
    here = place(limits=ServeLimits(runs=1))
    async with here.client.open("POST", "/events", {"prompt": "held"}) as answer:
        await answer.until(lambda answer: answer.has("text_delta"))
        second = await here.client.post("/stream", {"prompt": "text"})
        assert (second.status, second.code) == (429, "too_many_runs")
        assert int(second.headers["retry-after"]) > 0
    assert (await here.client.post("/stream", {"prompt": "text"})).status == 200


async def test_runs_that_are_over_are_kept_in_a_number(place: Callable[..., Any]) -> None:
    here = place(limits=ServeLimits(keep_runs=2))
    answers = [await here.client.post("/events", {"prompt": "text"}) for _ in range(4)]
    there = [(await here.client.get(f"/runs/{answer.run_id}/events")).status for answer in answers]
    assert there == [404, 404, 200, 200]


async def test_runs_that_are_over_are_kept_for_a_while(place: Callable[..., Any]) -> None:
    here = place(limits=ServeLimits(keep_seconds=0.001))
    answer = await here.client.post("/events", {"prompt": "text"})
    path = f"/runs/{answer.run_id}/events"
    for _ in range(10_000):
        if (await here.client.get(path)).status == 404:
            break
    else:
        pytest.fail("it is still there")


async def test_a_server_forgets_runs_in_time_and_without_a_request(place: Callable[..., Any]) -> None:
    here = place(limits=ServeLimits(keep_seconds=0.001))
    async with lifespan(here.app):
        for _ in range(2):
            await here.client.post("/events", {"prompt": "text"})
        await here.until(lambda: not here.app.state.becket.runs._runs)


@pytest.mark.parametrize("error", [LookupError, KeyboardInterrupt])
async def test_what_a_host_raises_while_it_serves_comes_out_as_it_is(
    place: Callable[..., Any], error: type[BaseException]
) -> None:
    raised = error("the host's")
    with pytest.raises(error) as caught:
        async with lifespan(place().app):
            raise raised
    assert caught.value is raised


async def test_one_reader_of_events_too_many_is_told_to_come_back(place: Callable[..., Any]) -> None:
    here = place(limits=ServeLimits(readers=1))
    async with here.client.open("POST", "/events", {"prompt": "held"}) as answer:
        await answer.until(lambda answer: answer.has("text_delta"))
        path = f"/runs/{answer.run_id}/events"
        async with here.client.open("GET", path) as first:
            await first.until(lambda answer: answer.has("text_delta"))
            refused = await here.client.get(path)
            assert (refused.status, refused.code, refused.headers["retry-after"]) == (429, "too_many_readers", "5")
        async with here.client.open("GET", path) as again:
            await again.until(lambda answer: answer.has("text_delta"))


async def test_a_prompt_that_is_too_long_is_refused(place: Callable[..., Any]) -> None:
    client = place(limits=ServeLimits(prompt_chars=4)).client
    assert (await client.post("/stream", {"prompt": "text"})).status == 200
    answer = await client.post("/stream", {"prompt": "text!"})
    assert (answer.status, answer.code, answer.json["limit"]) == (413, "prompt_too_long", 4)


@pytest.mark.parametrize("prompt", ["", " ", "\n"])
async def test_a_prompt_that_is_none_is_refused(place: Callable[..., Any], prompt: str) -> None:
    answer = await place().client.post("/stream", {"prompt": prompt})
    assert answer.status == 422
    assert answer.code in {"invalid_body", "invalid_prompt"}


async def test_an_agent_is_chosen_by_its_name(place: Callable[..., Any]) -> None:
    scenarios = Scenarios()
    second = scenarios.agent.replace(name="second")
    client = place(scenarios=scenarios, agent=[scenarios.agent, second]).client
    chosen = await client.post("/events", {"prompt": "text", "agent": "second"})
    default = await client.post("/events", {"prompt": "text"})
    unknown = await client.post("/events", {"prompt": "text", "agent": "third"})
    assert (chosen.events[0]["agent"], default.events[0]["agent"]) == ("second", "scenarios")
    assert (unknown.status, unknown.code) == (404, "unknown_agent")
    assert "'second'" in unknown.json["detail"]
