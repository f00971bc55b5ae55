"""The wire by itself: a client in memory, and runs of a server that is not there."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from becket import Runtime, TextDelta, event_from_json
from becket.testing import Scenarios, ScriptedProvider, text
from becket.wires import SocketWire
from becket_websocket import WebSocketWire

pytestmark = pytest.mark.anyio

QUICK = [name for name in Scenarios.names if name not in {"held", "idle tool", "flood"}]


def events(heard: list[dict[str, Any]], run_id: str | None = None) -> list[Any]:
    """The events among these messages, as becket reads them."""
    told = [one for one in heard if one["type"] == "event" and run_id in {None, one["run_id"]}]
    return [event_from_json(json.dumps(one["event"])) for one in told]


def answer(heard: list[dict[str, Any]]) -> str:
    """The text of the run itself."""
    return "".join(
        event.text for event in events(heard) if isinstance(event, TextDelta) and event.parent_run_id is None
    )


async def start(client: Any, prompt: str, **more: Any) -> str:
    """Start a run; its id."""
    client.say(type="start", prompt=prompt, **more)
    said = await client.hear()
    assert said["type"] == "started", said
    run_id: str = said["run_id"]
    return run_id


# -- runs --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", QUICK)
async def test_each_scenario_comes_over_event_by_event(name: str, connected: Any, host: Any) -> None:
    """Every event as JSON that reads back as it was, without a gap, then the run's end; decisions are asked for."""
    async with connected() as client:
        client.say(type="start", id="mine", prompt=name)
        heard = [await client.hear()]
        run_id = heard[0]["run_id"]
        assert heard[0] == {"type": "started", "id": "mine", "run_id": run_id}
        while heard[-1]["type"] != "ended":
            heard.append(await client.hear())
            if heard[-1].get("event", {}).get("type") == "decision_requested":
                asked = heard[-1]["event"]["request_id"]
                client.say(type="decide", run_id=run_id, request_id=asked, outcome="allow")
        assert heard[-1] == {"type": "ended", "run_id": run_id}
        told = events(heard)
        assert told == host.streams[run_id].follow().ready(1000)
        assert [event.seq for event in told] == list(range(1, len(told) + 1))
        assert answer(heard) == Scenarios.text(name)


async def test_a_hundred_thousand_pieces_come_over(connected: Any) -> None:
    async with connected() as client:
        run_id = await start(client, "flood")
        pieces = 0
        while (said := await client.hear())["type"] == "event":
            pieces += said["event"]["type"] == "text_delta"
        assert said == {"type": "ended", "run_id": run_id}
        assert pieces == len(Scenarios.text("flood"))


async def test_several_runs_go_on_at_once(connected: Any) -> None:
    """Each with its own events in its own order; one that waits holds up none."""
    async with connected() as client:
        held = await start(client, "held")
        await client.hear_to("event", "text_delta")
        wanted = {name: f"my {name}" for name in ("text", "tools", "nested", "reasoning")}
        for name, own in wanted.items():
            client.say(type="start", id=own, prompt=name)
        heard: list[dict[str, Any]] = []
        while sum(one["type"] == "ended" for one in heard) < len(wanted):
            heard.append(await client.hear())
        started = {one["id"]: one["run_id"] for one in heard if one["type"] == "started"}
        for name, own in wanted.items():
            told = events(heard, started[own])
            assert [event.seq for event in told] == list(range(1, len(told) + 1))
            assert answer([one for one in heard if one.get("run_id") == started[own]]) == Scenarios.text(name)
        assert not events(heard, held)


async def test_what_was_asked_reaches_the_server(connected: Any, host: Any) -> None:
    async with connected() as client:
        await start(client, "text", agent="scenarios", session_id="s", detach=True)
        (request,) = host.requests
        assert (request.prompt, request.agent, request.session_id, request.detach) == ("text", "scenarios", "s", True)
        await client.hear_to("ended")


async def test_a_session_has_the_name_that_the_client_gave_it(connected: Any) -> None:
    """And not the one that the server has for it; who comes back is told none."""
    async with connected() as client:
        run_id = await start(client, "text", session_id="mine")
        begun = events(await client.hear_to("ended"))[0]
        assert begun.session_id == "mine"
        client.say(type="resume", run_id=run_id)
        assert events(await client.hear_to("ended"))[0].session_id is None


async def test_a_failed_run_has_its_failure_and_its_end(connected: Any) -> None:
    """The run has failed, and nothing about the connection is wrong."""
    async with connected() as client:
        await start(client, "fails midway")
        heard = await client.hear_to("ended")
        assert events(heard)[-1].error.message == "the line was cut"
        client.say(type="ping")
        assert await client.hear() == {"type": "pong"}


async def test_what_cannot_begin_is_told_and_logged(
    connected: Any, make_host: Any, scenarios: Scenarios, caplog: pytest.LogCaptureFixture
) -> None:
    """The client learns no more of it: it is the server's own fault."""

    class Broken:
        run_id = "r"

        async def read(self, most: int) -> list[Any]:
            raise OSError("/secret/path")

    class BrokenHost(make_host):  # type: ignore[misc]
        def start(self, request: Any, /, *, asks: bool) -> Any:
            return Broken()

    async with connected(at=BrokenHost(scenarios.agent)) as client:
        await start(client, "text")
        said = await client.hear()
        assert (said["type"], said["run_id"], said["status"], said["code"]) == ("problem", "r", 500, "internal_error")
        assert "secret" not in said["detail"]
    assert "/secret/path" in caplog.text


# -- cancel ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "until"), [("held", "text_delta"), ("idle tool", "tool_started")])
async def test_a_run_is_cancelled(name: str, until: str, connected: Any, scenarios: Scenarios) -> None:
    """What answers is its end; the connection goes on."""
    async with connected() as client:
        run_id = await start(client, name)
        await client.hear_to("event", until)
        client.say(type="cancel", run_id=run_id)
        heard = await client.hear_to("ended")
        assert events(heard)[-1].result.stop_reason == "cancelled"
        assert (scenarios.cleaned, scenarios.waiting) == (1, 0)


async def test_a_second_cancel_is_told_so(connected: Any) -> None:
    """Whether the run is still on its way to its end, or there."""
    async with connected() as client:
        run_id = await start(client, "held")
        await client.hear_to("event", "text_delta")
        client.say(type="cancel", run_id=run_id)
        client.say(type="cancel", run_id=run_id)
        heard = await client.hear_to("ended")
        if not (problems := [one for one in heard if one["type"] == "problem"]):
            problems = [await client.hear()]
        assert [(one["run_id"], one["status"]) for one in problems] == [(run_id, 409)]
        assert problems[0]["code"] in {"already_cancelled", "run_over"}
        client.say(type="cancel", run_id=run_id)
        assert (await client.hear())["code"] == "run_over"


# -- decisions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"outcome": "allow"}, "The answer: changed to 7"),
        ({"outcome": "deny", "reason": "no"}, "The answer: denied"),
        ({"outcome": "deny"}, "The answer: denied"),
        ({"outcome": "edit", "arguments": {"value": 8}}, "The answer: changed to 8"),
    ],
    ids=["allow", "deny", "deny without a reason", "edit"],
)
async def test_a_decision_is_made(said: dict[str, Any], text: str, connected: Any) -> None:
    async with connected() as client:
        run_id = await start(client, "asks")
        asked = (await client.hear_to("event", "decision_requested"))[-1]["event"]["request_id"]
        client.say(type="decide", run_id=run_id, request_id=asked, **said)
        assert answer(await client.hear_to("ended")) == text


async def test_a_decision_that_nobody_waits_for_is_refused(connected: Any) -> None:
    """One that was never asked for, and one that was made."""
    async with connected() as client:
        run_id = await start(client, "asks")
        asked = (await client.hear_to("event", "decision_requested"))[-1]["event"]["request_id"]
        for request_id in ("another", asked, asked):
            client.say(type="decide", run_id=run_id, request_id=request_id, outcome="allow")
        problems = [one for one in await client.hear_to("ended") if one["type"] == "problem"]
        while len(problems) < 2:
            problems.append(await client.hear())
        assert [(one["status"], one["code"]) for one in problems] == 2 * [(409, "unknown_decision")]


# -- coming back -------------------------------------------------------------------------------------------------------


async def test_a_detached_run_is_read_on_where_the_connection_was_lost(connected: Any, host: Any) -> None:
    """In the middle of it, with a decision open: no event comes twice, and none is missing."""
    async with connected() as first:
        run_id = await start(first, "asks", detach=True)
        heard = await first.hear_to("event", "decision_requested")
    assert not host.streams[run_id].done
    async with connected() as second:
        second.say(type="resume", run_id=run_id, after=heard[-1]["event"]["seq"])
        second.say(type="decide", run_id=run_id, request_id=heard[-1]["event"]["request_id"], outcome="allow")
        heard += await second.hear_to("ended")
    told = events(heard)
    assert [event.seq for event in told] == list(range(1, len(told) + 1))
    assert told[-1].type == "run_finished"
    assert answer(heard) == Scenarios.text("asks")


async def test_a_run_that_is_not_detached_ends_with_its_connection(
    connected: Any, host: Any, scenarios: Scenarios
) -> None:
    """By the server, and not by the wire; what was sent can be read again."""
    async with connected() as client:
        run_id = await start(client, "held")
        await client.hear_to("event", "text_delta")
    assert host.streams[run_id].done
    assert (scenarios.cleaned, scenarios.waiting) == (1, 0)
    async with connected() as client:
        client.say(type="resume", run_id=run_id)
        assert events(await client.hear_to("ended"))[-1].result.stop_reason == "cancelled"


async def test_a_run_that_is_over_can_be_read_from_anywhere(connected: Any) -> None:
    """From its beginning, from the middle, and after its last event, where only the end is left to be said."""
    async with connected() as client:
        run_id = await start(client, "text")
        all_of_it = events(await client.hear_to("ended"))
        for after in (0, 4, len(all_of_it)):
            client.say(type="resume", run_id=run_id, after=after)
            assert events(await client.hear_to("ended")) == all_of_it[after:]


async def test_what_was_never_sent_cannot_be_read_on_from(connected: Any) -> None:
    """A `seq` of another run would leave out events unseen."""
    async with connected() as client:
        run_id = await start(client, "text")
        length = len(events(await client.hear_to("ended")))
        client.say(type="resume", run_id=run_id, after=length + 1)
        said = await client.hear()
        assert (said["run_id"], said["status"], said["code"]) == (run_id, 409, "unknown_event")


async def test_events_that_are_gone_are_said_to_be(connected: Any, make_host: Any, scenarios: Scenarios) -> None:
    """With where to go on."""
    host = make_host(scenarios.agent, keep=4)
    async with connected(at=host) as client:
        run_id = await start(client, "text")
        length = len(events(await client.hear_to("ended")))
        client.say(type="resume", run_id=run_id, after=2)
        said = await client.hear()
        assert (said["type"], said["run_id"], said["status"]) == ("problem", run_id, 410)
        assert (said["code"], said["after"], said["dropped"]) == ("events_dropped", 2, length - 4)
        client.say(type="resume", run_id=run_id, after=said["dropped"])
        assert len(events(await client.hear_to("ended"))) == 4


async def test_a_run_is_followed_once_on_a_connection(connected: Any) -> None:
    async with connected() as client:
        run_id = await start(client, "held")
        await client.hear_to("event", "text_delta")
        client.say(type="resume", run_id=run_id)
        said = await client.hear()
        assert (said["run_id"], said["status"], said["code"]) == (run_id, 409, "already_followed")


async def test_two_connections_follow_one_run(connected: Any) -> None:
    """Both see all of it, to its end."""
    async with connected() as one, connected() as two:
        run_id = await start(one, "held")
        seen = await one.hear_to("event", "text_delta")
        two.say(type="resume", run_id=run_id)
        also = await two.hear_to("event", "text_delta")
        two.say(type="cancel", run_id=run_id)
        assert events(seen + await one.hear_to("ended")) == events(also + await two.hear_to("ended"))


# -- slow and lost clients ---------------------------------------------------------------------------------------------


async def test_a_client_that_does_not_read_holds_up_its_own_runs_alone(
    connected: Any, make_host: Any, scenarios: Scenarios
) -> None:
    """The model waits, and what waits in memory is bounded; a client beside it is served."""
    asked = 0

    def pieces(request: Any) -> Any:
        nonlocal asked
        while asked < 20_000:
            asked += 1
            yield TextDelta("x")
        yield from text("the end")

    agent = scenarios.agent.replace(model=ScriptedProvider(pieces))
    async with connected(room=3, at=make_host(agent)) as slow, connected() as quick:
        slow.say(type="start", prompt="x")
        await anyio.wait_all_tasks_blocked()
        held_at = asked
        assert 0 < held_at < 1000
        assert slow.sent == 3
        await start(quick, "text")
        assert answer(await quick.hear_to("ended")) == Scenarios.text("text")
        assert asked == held_at
        await slow.hear_to("ended")
        assert asked == 20_000


async def test_a_detached_run_does_not_wait_for_its_client(
    connected: Any, make_host: Any, scenarios: Scenarios
) -> None:
    """A client that is too slow for what is kept is told what it has missed, and can go on from there."""
    host = make_host(scenarios.agent, keep=100)
    async with connected(room=3, at=host) as client:
        client.say(type="start", prompt="flood", detach=True)
        run_id = (await client.hear())["run_id"]
        with anyio.fail_after(30):
            while not host.streams[run_id].done:
                await checkpoint()
        told, dropped = [], 0
        while (said := await client.hear())["type"] != "ended":
            if said["type"] == "problem":  # maybe twice: the first one may have been told while the run went on
                assert (said["run_id"], said["status"], said["code"]) == (run_id, 410, "events_dropped")
                told, dropped = [], said["dropped"]
                client.say(type="resume", run_id=run_id, after=dropped)
            else:
                told.append(said["event"]["seq"])
        assert told == list(range(dropped + 1, dropped + 101))


@pytest.mark.parametrize(("name", "until"), [("held", "text_delta"), ("idle tool", "tool_started")])
async def test_a_client_that_goes_while_nothing_is_sent_is_noticed(
    name: str, until: str, connected: Any, host: Any, scenarios: Scenarios
) -> None:
    async with connected() as client:
        run_id = await start(client, name)
        await client.hear_to("event", until)
    assert host.streams[run_id].done
    assert (scenarios.cleaned, scenarios.waiting) == (1, 0)


async def test_a_client_that_goes_while_a_message_is_sent_is_noticed(connected: Any, host: Any) -> None:
    """By the task of a run; the one that listens ends with it."""
    async with connected(room=3) as client:
        client.say(type="start", prompt="flood")
        await anyio.wait_all_tasks_blocked()
        assert client.sending == 1
    (stream,) = host.streams.values()
    assert stream.done


# -- what is wrong with a message --------------------------------------------------------------------------------------

BAD: list[tuple[Any, int, str]] = [
    ("{", 400, "malformed_json"),
    (b"\xff\xfe", 400, "malformed_json"),
    ("", 400, "malformed_json"),
    ("[]", 422, "invalid_message"),
    ('"start"', 422, "invalid_message"),
    ("{}", 422, "invalid_message"),
    ({"type": "stop"}, 422, "invalid_message"),
    ({"type": "start"}, 422, "invalid_message"),
    ({"type": "start", "prompt": ""}, 422, "invalid_message"),
    ({"type": "start", "prompt": 7}, 422, "invalid_message"),
    ({"type": "start", "prompt": "x", "tools": []}, 422, "invalid_message"),
    ({"type": "start", "prompt": "x", "id": "x" * 201}, 422, "invalid_message"),
    ({"type": "start", "prompt": "x", "agent": "nobody"}, 404, "unknown_agent"),
    ({"type": "cancel"}, 422, "invalid_message"),
    ({"type": "cancel", "run_id": "nothing"}, 404, "unknown_run"),
    ({"type": "decide", "run_id": "r", "request_id": "q", "outcome": "maybe"}, 422, "invalid_message"),
    ({"type": "decide", "run_id": "r", "request_id": "q", "outcome": "edit"}, 422, "invalid_message"),
    ({"type": "decide", "run_id": "r", "request_id": "q", "outcome": "allow", "arguments": {}}, 422, "invalid_message"),
    ({"type": "decide", "run_id": "nothing", "request_id": "q", "outcome": "deny"}, 404, "unknown_run"),
    ({"type": "resume", "run_id": "nothing"}, 404, "unknown_run"),
    ({"type": "resume", "run_id": "r", "after": -1}, 422, "invalid_message"),
    ({"type": "resume", "run_id": "r", "after": "1"}, 422, "invalid_message"),
    ('{"type": "resume", "run_id": "r", "after": ' + "9" * 5000 + "}", 400, "malformed_json"),
    ('{"type": "resume", "run_id": "r", "after": ' + "9" * 4000 + "}", 422, "invalid_message"),
    ('{"type": "start", "prompt": "\\ud800"}', 400, "malformed_json"),
    ("[" * 100_000, 400, "malformed_json"),
    ({"type": "ping", "id": "x"}, 422, "invalid_message"),
]


@pytest.mark.parametrize(("message", "status", "code"), BAD, ids=lambda part: str(part)[:60])
async def test_what_is_wrong_with_a_message_is_said_and_nothing_else_is(
    message: Any, status: int, code: str, connected: Any, host: Any
) -> None:
    """The connection, and what goes on over it, stay as they were; no run is started."""
    async with connected() as client:
        client.say(message if isinstance(message, str | bytes) else json.dumps(message))
        said = await client.hear()
        assert (said["type"], said["status"], said["code"]) == ("problem", status, code)
        assert said["detail"]
        assert not host.streams
        client.say(type="ping")
        assert await client.hear() == {"type": "pong"}


async def test_a_problem_says_which_message_it_is_about(connected: Any) -> None:
    """By the client's own id, by the run, or both; and with what the server has to add."""
    async with connected() as client:
        client.say(type="start", id="mine", promt="x")
        said = await client.hear()
        assert said["id"] == "mine"
        assert {one["at"] for one in said["errors"]} == {"start.prompt", "start.promt"}
        client.say(type="cancel", run_id="nothing")
        said = await client.hear()
        assert (said["run_id"], said["kept"]) == ("nothing", 7)


async def test_a_value_that_is_wrong_is_not_said_again(connected: Any) -> None:
    """It may be long, or a secret in the wrong place."""
    async with connected() as client:
        client.say(type="start", prompt=["a secret " * 1000])
        said = await client.hear()
        assert "secret" not in json.dumps(said)
        assert len(json.dumps(said)) < 1000


async def test_bytes_are_as_good_as_a_text(connected: Any) -> None:
    async with connected() as client:
        client.say(json.dumps({"type": "ping"}).encode())
        assert await client.hear() == {"type": "pong"}


# -- the plugin --------------------------------------------------------------------------------------------------------


def test_it_is_found_and_is_what_a_server_looks_for() -> None:
    wire = Runtime(discover=True, allow=["websocket"]).wires.find("websocket")
    assert isinstance(wire, WebSocketWire)
    assert isinstance(wire, SocketWire)
    assert (wire.path, tuple(wire.subprotocols)) == ("/ws", ("becket.v1",))
