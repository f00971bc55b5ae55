"""The server's own wires: what a client gets of every kind of run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from becket import UnknownEvent, event_from_json
from becket.testing import Scenarios
from becket.testing.scenarios import FLOOD

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

ENDING = [name for name in Scenarios.names if name not in {"held", "idle tool", "asks", "flood"}]
"""The scenarios that come to an end by themselves."""


@pytest.mark.parametrize("name", [name for name in ENDING if not name.startswith("fails")])
async def test_text_is_the_text_of_the_answer(place: Callable[..., Any], name: str) -> None:
    answer = await place().client.post("/stream", {"prompt": name})
    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.body.decode() == Scenarios.text(name)


async def test_text_cannot_ask_so_what_is_asked_about_is_denied(place: Callable[..., Any]) -> None:
    answer = await place().client.post("/stream", {"prompt": "asks"})
    assert answer.body == b"The answer: denied"


async def test_a_failure_before_the_text_has_a_status(place: Callable[..., Any]) -> None:
    answer = await place().client.post("/stream", {"prompt": "fails first"})
    assert (answer.status, answer.body) == (502, b"Error: the service is overloaded")


async def test_a_failure_in_the_text_is_told_in_it(place: Callable[..., Any]) -> None:
    answer = await place().client.post("/stream", {"prompt": "fails midway"})
    assert (answer.status, answer.body) == (200, b"so far \nError: the line was cut")


async def test_a_run_of_a_session_that_is_in_use_is_a_conflict(place: Callable[..., Any]) -> None:
    """A second run in one conversation fails at once; text can say it by its status."""
    here = place()
    async with here.client.open("POST", "/stream", {"prompt": "held", "session_id": "one"}) as first:
        await first.until(lambda answer: answer.body == b"so far ")
        second = await here.client.post("/stream", {"prompt": "text", "session_id": "one"})
        assert second.status == 409
        assert b"a session has one run at a time" in second.body


@pytest.mark.parametrize("accept", ["", "text/event-stream", "application/x-ndjson"])
@pytest.mark.parametrize("name", ENDING)
async def test_events_are_those_of_the_run(place: Callable[..., Any], name: str, accept: str) -> None:
    """In order, without a gap, ending with the terminal one; each is read back as an event that is known."""
    answer = await place().client.post("/events", {"prompt": name}, accept=accept)
    assert (answer.status, answer.headers["content-type"]) == (200, accept or "text/event-stream")
    events = answer.events
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["type"] == "run_started"
    assert events[-1]["type"] == ("run_failed" if name.startswith("fails") else "run_finished")
    assert {event["run_id"] for event in (events[0], events[-1])} == {answer.run_id}
    text = "".join(e["text"] for e in events if e["type"] == "text_delta" and e["run_id"] == answer.run_id)
    assert text == Scenarios.text(name)
    assert not [e for e in events if isinstance(event_from_json(json.dumps(e)), UnknownEvent)]


async def test_an_event_is_one_of_its_stream_with_its_seq_as_the_id(place: Callable[..., Any]) -> None:
    """No line break of any text ends it early."""
    answer = await place().client.post("/events", {"prompt": "unicode"})
    *blocks, rest = answer.body.split(b"\n\n")
    assert rest == b""
    for at, block in enumerate(blocks, start=1):
        number, data = block.split(b"\n")
        assert number == f"id: {at}".encode()
        assert json.loads(data.removeprefix(b"data: "))["seq"] == at


async def test_progress_comes_while_the_tool_runs(place: Callable[..., Any]) -> None:
    answer = await place().client.post("/events", {"prompt": "progress"})
    kinds = [event["type"] for event in answer.events]
    steps = [event["data"] for event in answer.events if event["type"] == "tool_progress"]
    assert steps[:3] == [{"step": 1}, {"step": 2}, {"step": 3}]
    assert kinds.index("tool_started") < kinds.index("tool_progress") < kinds.index("tool_finished")


async def test_the_first_event_comes_before_the_last_is_made(place: Callable[..., Any]) -> None:
    here = place()
    async with here.client.open("POST", "/events", {"prompt": "held"}) as answer:
        await answer.until(lambda answer: answer.has("text_delta"))
        assert here.scenarios.waiting == 1
    assert here.scenarios.waiting == 0


@pytest.mark.parametrize("path", ["/stream", "/events"])
async def test_a_hundred_thousand_pieces_arrive(place: Callable[..., Any], path: str) -> None:
    answer = await place(spec="2.3").client.post(path, {"prompt": "flood"}, accept="application/x-ndjson, */*")
    pieces = answer.body if path == "/stream" else answer.body.count(b'"type":"text_delta"') * b"x"
    assert pieces == b"x" * FLOOD


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", "text/event-stream"),
        ("text/*", "text/event-stream"),
        ("application/*", "application/x-ndjson"),
        ("application/json", "application/x-ndjson"),
        ("application/x-ndjson;q=0.2, text/event-stream;q=0.1", "application/x-ndjson"),
        ("application/x-ndjson;q=0.5, */*", "text/event-stream"),
        ("text/event-stream;q=0, */*", "application/x-ndjson"),
        ("TEXT/Event-Stream ; Q=1", "text/event-stream"),
    ],
)
async def test_the_form_is_the_one_that_the_client_wants_most(
    place: Callable[..., Any], accept: str, form: str
) -> None:
    answer = await place().client.post("/events", {"prompt": "text"}, accept=accept)
    assert answer.headers["content-type"] == form


@pytest.mark.parametrize("accept", ["text/html", "text/event-stream;q=0, application/x-ndjson;q=nothing"])
async def test_a_client_that_accepts_neither_form_is_told(place: Callable[..., Any], accept: str) -> None:
    """No run is left behind."""
    here = place()
    answer = await here.client.post("/events", {"prompt": "text"}, accept=accept)
    assert (answer.status, answer.code) == (406, "not_acceptable")
    assert here.going_on == 0


@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson"])
async def test_a_silent_stream_is_kept_open(place: Callable[..., Any], accept: str) -> None:
    from becket_serve import ServeLimits

    here = place(limits=ServeLimits(heartbeat=0.01))
    async with here.client.open("POST", "/events", {"prompt": "held"}, accept=accept) as answer:
        await answer.until(lambda answer: answer.has("text_delta"))
        beat = b":\n\n" if accept == "text/event-stream" else b"\n\n\n"
        await answer.until(lambda answer: beat in answer.body)
        assert answer.events[-1]["type"] == "text_delta"
