"""A run as the answer to an HTTP request, called as an ASGI server would, on asyncio and on trio."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from becket import Agent, Event, MemoryLog, RunFailed, RunFinished, Runtime, TextDelta
from becket.asgi import EventResponse
from becket.testing import Scenarios, ScriptedProvider, text
from becket.wires import EventStreamEncoder, server_sent_event

if TYPE_CHECKING:
    from becket import AgentStream
    from becket.asgi import Message

pytestmark = pytest.mark.anyio


class Lines(EventStreamEncoder):
    """Writes the type of each event."""

    def encode(self, event: Event) -> bytes:
        return f"{event.type}\n".encode()

    def finish(self) -> bytes:
        return b"end\n"


class AtTheEnd(Lines):
    """Writes nothing before the run is over, and then how it went."""

    media_type = "application/json"
    status = 200

    def encode(self, event: Event) -> bytes:
        if isinstance(event, RunFailed):
            self.status = 503
        return b"{}" if isinstance(event, RunFailed | RunFinished) else b""


class UntilAsked(Lines):
    """Ends where a decision is asked for."""

    def encode(self, event: Event) -> bytes:
        self.done = event.type == "decision_requested"
        return super().encode(event)


class Client:
    """What a server would be between the application and a client.

    Args:
        leaves: The text after which the client goes away, None for never.
        raises: Whether sending then raises, as in version 2.4 of the specification, and nothing is received.
    """

    def __init__(self, leaves: bytes | None = None, *, raises: bool = False) -> None:
        self.messages: list[Message] = []
        self.leaves = leaves
        self.raises = raises
        self.gone = anyio.Event()
        self.request = [{"type": "http.request", "body": b"", "more_body": False}]
        if leaves == b"":
            self.gone.set()

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)

    async def receive(self) -> Message:
        if self.request:
            return self.request.pop()
        await self.gone.wait()
        if self.raises:
            await anyio.sleep_forever()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await checkpoint()
        if self.raises and self.gone.is_set():
            raise OSError("the client has gone")
        self.messages.append(message)
        if self.leaves is not None and self.leaves in self.body:
            self.gone.set()


async def answered(
    client: Client, stream: AgentStream[Any], encoder: Lines | None = None, **options: Any
) -> EventResponse:
    response = EventResponse(stream, encoder or Lines(), **options)
    with anyio.fail_after(60):
        await response({"type": "http"}, client.receive, client.send)
    return response


@pytest.mark.parametrize("name", ["text", "tools", "nested", "fails first", "fails midway"])
async def test_every_event_is_sent_and_the_run_is_over(name: str) -> None:
    client, stream = Client(), Scenarios().agent.stream_async(name)
    response = await answered(client, stream, headers={"X-Run": stream.run_id})
    start, *pieces = client.messages
    assert start["status"] == 200
    assert dict(start["headers"])[b"content-type"] == b"text/event-stream"
    assert dict(start["headers"])[b"x-run"] == stream.run_id.encode()
    assert [piece["more_body"] for piece in pieces] == [True] * (len(pieces) - 1) + [False]
    lines = client.body.decode().split()
    assert lines[0] == "run_started"
    assert lines[-2:] == ["run_failed" if "fails" in name else "run_finished", "end"]
    assert (stream.done, response.gone, response.parked) == (True, False, False)


async def test_a_client_that_goes_away_after_its_last_byte_has_all_of_it() -> None:
    """Servers say so after every answer; it cuts nothing off, and nobody was gone."""

    class Waits(Client):
        async def send(self, message: Message) -> None:
            await super().send(message)
            if message.get("more_body") is False:
                self.gone.set()
                await anyio.wait_all_tasks_blocked()

    client = Waits()
    response = await answered(client, Scenarios().agent.stream_async("text"))
    assert not response.gone
    assert client.body.endswith(b"end\n")


async def test_what_is_ready_together_is_sent_together() -> None:
    client = Client()
    await answered(client, Scenarios().agent.stream_async("flood"))
    assert client.body.count(b"text_delta") == 100_000
    assert len(client.messages) < 10_000


async def test_the_status_is_that_of_the_first_bytes() -> None:
    client = Client()
    await answered(client, Scenarios().agent.stream_async("fails first"), AtTheEnd())
    assert client.messages[0]["status"] == 503
    assert client.body == b"{}end\n"


async def test_an_answer_of_nothing_is_an_answer() -> None:
    class Silent(EventStreamEncoder):
        def encode(self, event: Event) -> bytes:
            return b""

    client = Client()
    await answered(client, Scenarios().agent.stream_async("text"), Silent())  # type: ignore[arg-type]
    assert client.messages[0]["status"] == 200
    assert client.body == b""


@pytest.mark.parametrize("raises", [False, True], ids=["2.3", "2.4"])
async def test_a_client_that_goes_away_while_text_flows_ends_the_run(raises: bool) -> None:
    scenarios = Scenarios()
    stream = scenarios.agent.stream_async("flood")
    response = await answered(Client(b"text_delta", raises=raises), stream)
    assert response.gone
    assert stream.done


@pytest.mark.parametrize("name", ["held", "idle tool"])
async def test_a_client_that_goes_away_while_nothing_comes_ends_the_run(name: str) -> None:
    scenarios = Scenarios()
    client, stream = Client(), scenarios.agent.stream_async(name)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(answered, client, stream)
        with anyio.fail_after(10):
            while not scenarios.waiting:
                await checkpoint()
        client.gone.set()
    assert (scenarios.waiting, scenarios.cleaned, stream.done) == (0, 1, True)


async def test_a_client_that_goes_away_while_it_does_not_read_ends_the_run() -> None:
    class Stuck(Client):
        async def send(self, message: Message) -> None:
            await super().send(message)
            if b"text_delta" in self.body:
                self.gone.set()
                await anyio.sleep_forever()

    stream = Scenarios().agent.stream_async("flood")
    assert (await answered(Stuck(), stream)).gone
    assert stream.done


@pytest.mark.parametrize("raises", [False, True], ids=["2.3", "2.4"])
async def test_a_client_that_has_gone_before_the_first_byte_begins_no_run(raises: bool) -> None:
    scenarios = Scenarios()
    stream = scenarios.agent.stream_async("text")
    assert (await answered(Client(b"", raises=raises), stream)).gone
    assert stream.done


async def test_a_detached_run_goes_on_when_the_client_goes_away() -> None:
    scenarios = Scenarios()
    stream = scenarios.agent.stream_async("held", detach=True)
    assert (await answered(Client(b"text_delta"), stream)).gone
    assert not stream.done
    stream.cancel()
    client = Client()
    await answered(client, stream.follow())  # type: ignore[arg-type]
    assert client.body.startswith(b"run_started")
    assert client.body.endswith(b"run_finished\nend\n")


async def test_an_answer_that_ends_with_a_question_leaves_the_run_to_be_read_on() -> None:
    """Nothing is lost between the answer that ends there and the one that goes on."""
    for detach in (False, True):
        first, second = Client(), Client()
        stream = Scenarios().agent.stream_async("asks", detach=detach)
        response = await answered(first, stream, UntilAsked())
        assert response.parked
        assert first.body.endswith(b"decision_requested\nend\n")
        request_id = await _request_id(stream)
        await stream.decide(request_id, True)
        response = await answered(second, stream, UntilAsked())
        assert not response.parked
        assert second.body.startswith(b"decision_made\ntool_started\n")


async def _request_id(stream: AgentStream[Any]) -> str:
    async for event in stream.follow():
        if event.type == "decision_requested":
            return event.request_id
    raise AssertionError("nothing was asked")


async def test_what_came_after_the_question_is_read_on() -> None:
    """Events that were ready together with it, such as those of a tool beside it."""

    class UntilStarted(Lines):
        def encode(self, event: Event) -> bytes:
            self.done = event.type == "cycle_started"
            return super().encode(event)

    first, second = Client(), Client()
    stream = Scenarios().agent.stream_async("text")
    assert (await answered(first, stream, UntilStarted())).parked
    await answered(second, stream)
    assert (first.body + second.body).count(b"\n") == 12  # ten events, two ends


async def test_a_silent_run_keeps_the_connection_open() -> None:
    scenarios, client = Scenarios(), Client()
    client.leaves = b":\n\n:\n\n"
    stream = scenarios.agent.stream_async("held")
    assert (await answered(client, stream, heartbeat=0.001)).gone


async def test_who_follows_a_run_that_says_nothing_is_answered_at_once() -> None:
    """A browser's page learns only by the answer's head that it is connected."""
    scenarios = Scenarios()
    stream = scenarios.agent.stream_async("held", detach=True)
    async for event in stream:
        if event.type == "text_delta":
            break
    client = Client(b":\n\n")
    response = await answered(client, stream.follow(event.seq), heartbeat=None)  # type: ignore[arg-type]
    assert (response.gone, client.body) == (True, b":\n\n")
    stream.cancel()
    await answered(Client(), stream.follow())  # type: ignore[arg-type]


async def test_an_answer_that_has_begun_ends_where_its_reader_has_not_kept_up() -> None:
    """Even where it had no event yet: its client comes back, and is told then."""

    class Slow(Client):
        async def send(self, message: Message) -> None:
            if message.get("body") == b":\n\n":
                go.set()
                while not stream.done:
                    await checkpoint()
            await super().send(message)

    go, client = anyio.Event(), Slow()
    agent = Agent(ScriptedProvider([TextDelta("a"), go.wait, *text(*"bcdefg")]), runtime=Runtime(discover=False))
    stream = agent.stream_async("go", log=MemoryLog(keep=4), detach=True)
    async for event in stream:
        if event.type == "text_delta":
            break
    await answered(client, stream.follow(event.seq), heartbeat=None)  # type: ignore[arg-type]
    assert client.body == b":\n\nend\n"


async def test_a_format_without_a_heartbeat_sends_none() -> None:
    class Mute(Lines):
        beats = 0

        def beat(self) -> bytes:
            self.beats += 1
            if self.beats == 3:
                client.gone.set()
            return b""

    client = Client()
    await answered(client, Scenarios().agent.stream_async("held"), Mute(), heartbeat=0.001)
    assert b":" not in client.body


async def test_an_encoder_that_fails_ends_the_run_and_is_the_hosts_to_know() -> None:
    class Broken(Lines):
        def encode(self, event: Event) -> bytes:
            if event.type == "text_delta":
                raise LookupError("no such word") from KeyError("text_delta")
            return super().encode(event)

    stream = Scenarios().agent.stream_async("held")
    with pytest.raises(LookupError) as caught:
        await answered(Client(), stream, Broken())
    assert isinstance(caught.value.__cause__, KeyError)
    assert stream.done


async def test_a_run_that_cannot_begin_is_the_hosts_to_know(monkeypatch: pytest.MonkeyPatch) -> None:
    scenarios = Scenarios()
    monkeypatch.setattr("becket._driver.current_backend", lambda: (_ for _ in ()).throw(LookupError("no loop")))
    with pytest.raises(LookupError):
        await answered(Client(), scenarios.agent.stream_async("text"))


async def test_that_the_run_failed_is_logged_and_not_raised(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "becket"):
        await answered(Client(), Scenarios().agent.stream_async("fails midway"))
    assert "ProviderError: the line was cut" in caplog.text


def test_a_server_sent_event_keeps_every_line_of_its_data() -> None:
    """Each kind of line break would end the line for the client."""
    assert server_sent_event(b"a") == b"data: a\n\n"
    event = server_sent_event(b"a\r\nb\rc\n\nd", name="piece", event_id="7")
    assert event == b"id: 7\nevent: piece\ndata: a\ndata: b\ndata: c\ndata: \ndata: d\n\n"
    assert EventStreamEncoder().finish() == b""
