"""The tests of the contract of wires that go both ways find every way to break it, and say what is wrong."""

from __future__ import annotations

import json
import unittest
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from becket import ProviderError, RequestError
from becket.policies import Allow, Deny
from becket.testing import SocketWireConformance
from becket.testing._contract import rules_of
from becket.testing._conversations import Client, Host
from becket.testing.scenarios import Scenarios
from becket.wires import RunRequest, SocketClosed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from becket.wires import SocketWire

pytestmark = pytest.mark.anyio


class Good:
    """A wire without a fault: a client sends arrays, and gets arrays."""

    name = "good"
    path = "/good"
    subprotocols: Any = ("good.v1",)
    asks = True

    async def serve(self, socket: Any, runs: Any, /) -> None:
        await Talk(self, socket, runs).hold()


class Silent(Good):
    """One whose clients cannot be asked, and that tells its server that the client has gone."""

    asks = False

    async def serve(self, socket: Any, runs: Any, /) -> None:
        await super().serve(socket, runs)
        raise SocketClosed


class Talk:
    def __init__(self, wire: Any, socket: Any, runs: Any) -> None:
        self.wire, self.socket, self.runs = wire, socket, runs
        self.sending = anyio.Lock()

    async def hold(self) -> None:
        async with anyio.create_task_group() as tasks:
            with suppress(SocketClosed):
                while True:
                    await self.hear(await self.socket.receive(), tasks)
            tasks.cancel_scope.cancel()

    async def hear(self, message: str | bytes, tasks: Any) -> None:
        try:
            said = json.loads(message)
            await getattr(self, f"do_{said[0]}")(tasks, *said[1:])
        except RequestError as error:
            await self.send("problem", str(error))
        except (ValueError, TypeError, AttributeError, LookupError):
            await self.send("problem", "that is none of this wire")

    async def do_start(self, tasks: Any, prompt: str) -> None:
        stream = self.runs.start(RunRequest(prompt=prompt), asks=self.wire.asks)
        await self.send("started", stream.run_id)
        tasks.start_soon(self.pass_on, stream, tasks.cancel_scope)

    async def do_cancel(self, _tasks: Any, run_id: str) -> None:
        self.runs.find(run_id).cancel()

    async def do_decide(self, _tasks: Any, run_id: str, request_id: str, allow: bool) -> None:
        await self.runs.find(run_id).decide(request_id, Allow() if allow else Deny("no"))

    async def pass_on(self, stream: Any, scope: Any) -> None:
        try:
            try:
                async for event in stream:
                    await self.tell(event, stream.run_id)
            except ProviderError:  # it was told
                pass
            await self.send("ended", stream.run_id)
        except SocketClosed:
            scope.cancel()

    async def tell(self, event: Any, run_id: str) -> None:
        if event.run_id != run_id:
            return
        if event.type == "text_delta":
            await self.send("text", run_id, event.text)
        if event.type == "run_failed":
            await self.send("problem", event.error.message)

    async def send(self, *said: str) -> None:
        async with self.sending:
            await self.socket.send(json.dumps(said))


class Arrays(SocketWireConformance):
    """How a client speaks these wires."""

    refused = ("{", b"\xff", "[]", '["start"]', '["stop", "it"]', '["cancel", "nothing"]')

    def start(self, prompt: str) -> str | bytes:
        return json.dumps(["start", prompt])

    def cancel(self, run_id: str) -> str | bytes | None:
        return json.dumps(["cancel", run_id])

    def decide(self, run_id: str, request_id: str, *, allow: bool) -> str | bytes | None:
        return json.dumps(["decide", run_id, request_id, allow])

    def text_of(self, heard: Sequence[str | bytes], run_id: str) -> str:
        return "".join(said[2] for said in map(json.loads, heard) if said[:2] == ["text", run_id])

    def ended(self, heard: Sequence[str | bytes], run_id: str) -> bool:
        return ["ended", run_id] in map(json.loads, heard)


class TestGood(Arrays):
    def make_wire(self) -> SocketWire:
        return Good()


class InBytes(Arrays):
    """The same by a client that sends bytes, says something first, and can neither cancel nor decide."""

    greeting = ('["stop", "before it begins"]',)

    def start(self, prompt: str) -> str | bytes:
        return json.dumps(["start", prompt]).encode()

    def cancel(self, run_id: str) -> str | bytes | None:
        return SocketWireConformance.cancel(self, run_id)

    def decide(self, run_id: str, request_id: str, *, allow: bool) -> str | bytes | None:
        return SocketWireConformance.decide(self, run_id, request_id, allow=allow)

    def tells_failure(self, message: str | bytes) -> bool:
        said = json.loads(message)
        return said[0] == "problem" and said[1] != "that is none of this wire"

    refused = ('["cancel", "nothing"]',)


class TestInBytes(InBytes):
    def make_wire(self) -> SocketWire:
        return Silent()


# -- wires that break the contract -------------------------------------------------------------------------------------


class Kit(Arrays):
    """The tests of the contract, to be called one by one."""

    __test__ = False
    patience = 0.5

    def __init__(self, talk: Any = Talk, **changes: Any) -> None:
        async def serve(self: Any, socket: Any, runs: Any, /) -> None:
            await talk(self, socket, runs).hold()

        self.made = changes.pop("made", None) or type("Made", (Good,), {"serve": serve, **changes})

    def make_wire(self) -> Any:
        return self.made()


class TellsNested(Talk):
    async def tell(self, event: Any, run_id: str) -> None:
        if event.type == "text_delta":
            await self.send("text", run_id, event.text)


class SaysNoEnd(Talk):
    async def send(self, *said: str) -> None:
        if said[0] != "ended":
            await super().send(*said)


class HidesFailure(Talk):
    async def tell(self, event: Any, run_id: str) -> None:
        if event.type != "run_failed":
            await super().tell(event, run_id)


class AlwaysFails(Talk):
    async def send(self, *said: str) -> None:
        await super().send(*(["problem"] if said[0] == "started" else said))


class HangsUpAtFailure(Talk):
    async def tell(self, event: Any, run_id: str) -> None:
        await super().tell(event, run_id)
        if event.type == "run_failed":
            raise SocketClosed


class WaitsForTheEnd(Talk):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.texts: dict[str, str] = {}

    async def send(self, *said: str) -> None:
        if said[0] == "text":
            self.texts[said[1]] = self.texts.get(said[1], "") + said[2]
            return
        if said[0] == "ended":
            await super().send("text", said[1], self.texts.pop(said[1], ""))
        await super().send(*said)


class OneAfterTheOther(Talk):
    async def do_start(self, tasks: Any, prompt: str) -> None:
        stream = self.runs.start(RunRequest(prompt=prompt), asks=True)
        await self.pass_on(stream, tasks.cancel_scope)


class EndsAllAtOnce(Talk):
    ids: Any = ()

    async def send(self, *said: str) -> None:
        self.ids = (*self.ids, said[1]) if said[0] == "started" else self.ids
        for run_id in self.ids if said[0] == "ended" else said[1:2]:
            await super().send(said[0], run_id, *said[2:])


class SharesASocket(Talk):
    """Answers whoever came last."""

    last: Any = None

    def __init__(self, wire: Any, socket: Any, runs: Any) -> None:
        super().__init__(wire, socket, runs)
        wire.last = self

    async def send(self, *said: str) -> None:
        await Talk.send(self.wire.last, *said)


class KeepsAll(Talk):
    async def pass_on(self, stream: Any, scope: Any) -> None:
        for event in [event async for event in stream]:
            await self.tell(event, stream.run_id)
        await self.send("ended", stream.run_id)


class LetsItRun(Talk):
    async def do_cancel(self, _tasks: Any, run_id: str) -> None:
        await self.send("ended", run_id)


class Closes(Talk):
    async def do_cancel(self, _tasks: Any, run_id: str) -> None:
        await self.runs.find(run_id).aclose()
        raise SocketClosed


class DeniesAll(Talk):
    async def do_decide(self, tasks: Any, run_id: str, request_id: str, allow: bool) -> None:
        await super().do_decide(tasks, run_id, request_id, allow=False)


class AsksSomethingElse(Talk):
    async def do_start(self, tasks: Any, prompt: str) -> None:
        await super().do_start(tasks, "text" if prompt == "asks" else prompt)


class HangsUp(Talk):
    async def hear(self, message: str | bytes, tasks: Any) -> None:
        said = json.loads(message)
        await getattr(self, f"do_{said[0]}")(tasks, *said[1:])


class Ignores(Talk):
    async def send(self, *said: str) -> None:
        if said[1:] != ("that is none of this wire",):
            await super().send(*said)


class StartsAnything(Talk):
    async def hear(self, message: str | bytes, tasks: Any) -> None:
        if message == "{":
            self.runs.start(RunRequest(prompt="text"), asks=True)
        await super().hear(message, tasks)


class EndsOthers(Talk):
    async def hear(self, message: str | bytes, tasks: Any) -> None:
        if message == "{":
            for stream in self.runs.streams:
                await stream.aclose()
        await super().hear(message, tasks)


class IsVague(Talk):
    async def send(self, *said: str) -> None:
        await super().send(*(["problem", "no"] if said[0] == "problem" else said))


class WantsText(Talk):
    async def hear(self, message: str | bytes, tasks: Any) -> None:
        if isinstance(message, str):
            await super().hear(message, tasks)


class StaysThere(Talk):
    async def hold(self) -> None:
        await super().hold()
        await anyio.sleep_forever()


class FailsAtTheEnd(Talk):
    async def hold(self) -> None:
        await super().hold()
        raise LookupError("nobody is there")


class LeavesTasks(Talk):
    async def hold(self) -> None:
        self.kept = self.generator()
        await anext(self.kept)
        await super().hold()

    async def generator(self) -> Any:
        yield 1
        yield 2


class TalksAtOnce(Talk):
    async def send(self, *said: str) -> None:
        await self.socket.send(json.dumps(said))


class SendsObjects(Talk):
    async def send(self, *said: str) -> None:
        await super().send(*said)
        if said[0] == "started":
            with suppress(Exception):
                await self.socket.send({"type": "started"})


class SendsLatin(Talk):
    async def send(self, *said: str) -> None:
        if said[0] == "started":
            await self.socket.send(b'["\xe9"]')
        await super().send(*said)


class Swallows(Talk):
    async def hold(self) -> None:
        try:
            await super().hold()
        except anyio.get_cancelled_exc_class():
            raise RuntimeError("no") from None


FAULTS: list[tuple[Kit, str, str]] = [
    (Kit(name="a:b"), "test_it_is_named_and_has_its_place", "the name 'a:b' has"),
    (Kit(path="/good/"), "test_it_is_named_and_has_its_place", "ends with none: '/good/'"),
    (Kit(subprotocols="good.v1"), "test_it_is_named_and_has_its_place", "a list of names, and not a text"),
    (Kit(subprotocols=["good v1"]), "test_it_is_named_and_has_its_place", "'good v1' can be the name"),
    (Kit(made=object), "test_it_is_named_and_has_its_place", "has what such a wire has: see becket.wires.SocketWire"),
    (Kit(TellsNested), "test_each_scenario_has_its_answer", "nested: the client reads 'nested text"),
    (Kit(SaysNoEnd), "test_each_scenario_has_its_answer", "text: a client is told that its run is over; no more came"),
    (Kit(SendsObjects), "test_each_scenario_has_its_answer", "send takes a text, or bytes of one, and not {'type'"),
    (Kit(SendsLatin), "test_each_scenario_has_its_answer", "what is sent is UTF-8"),
    (Kit(HidesFailure), "test_a_run_that_fails_is_told", "fails first: a client cannot tell this answer"),
    (Kit(AlwaysFails), "test_a_run_that_fails_is_told", "a whole answer passes for one that has failed"),
    (Kit(HangsUpAtFailure), "test_a_run_that_fails_is_told", "the wire has ended the conversation"),
    (Kit(WaitsForTheEnd), "test_text_is_sent_when_it_comes", "a client reads what a run has said while it goes on; no"),
    (Kit(OneAfterTheOther), "test_several_runs_go_on_at_once", "a client asks 'text', and within 0.5 s no run is"),
    (
        Kit(EndsAllAtOnce),
        "test_several_runs_go_on_at_once",
        "a run that waits is said to be over|one of several runs: the client reads '",
    ),
    (Kit(SharesASocket), "test_clients_are_kept_apart", "one of two clients"),
    (Kit(TalksAtOnce), "test_several_runs_go_on_at_once", "two tasks send at the same time"),
    (Kit(KeepsAll), "test_a_client_that_does_not_read_holds_up_its_own_run_alone", "to a client that reads none: send"),
    (Kit(LetsItRun), "test_a_run_is_cancelled", "with that: call cancel"),
    (Kit(Closes), "test_a_run_is_cancelled", "the wire has ended the conversation"),
    (Kit(DeniesAll), "test_a_decision_is_made", "with allow=True decided, the client reads 'The answer: denied'"),
    (Kit(AsksSomethingElse), "test_a_decision_is_made", "with allow=True decided, the client reads 'Hello, world.'"),
    (Kit(asks=False), "test_a_decision_is_made", "a run is started with asks=True, where `decide` gives a message"),
    (Kit(HangsUp), "test_what_cannot_be_understood_is_told_and_ends_nothing", "serve raised JSONDecodeError"),
    (Kit(Ignores), "test_what_cannot_be_understood_is_told_and_ends_nothing", "and the client is to be told; no more"),
    (Kit(StartsAnything), "test_what_cannot_be_understood_is_told_and_ends_nothing", "'{' has started a run"),
    (Kit(EndsOthers), "test_what_cannot_be_understood_is_told_and_ends_nothing", "'{' has ended another run"),
    (Kit(HangsUp), "test_what_the_server_refuses_is_told_and_ends_nothing", "serve raised RequestError"),
    (Kit(IsVague), "test_what_the_server_refuses_is_told_and_ends_nothing", "what a RequestError says is told, or"),
    (Kit(WantsText), "test_bytes_are_as_good_as_a_text", "a run is started by b'"),
    (Kit(StaysThere), "test_a_client_may_go_at_any_time", "the client has gone, and serve goes on after 0.5 s"),
    (Kit(FailsAtTheEnd), "test_a_client_may_go_at_any_time", "serve raised LookupError.'nobody is there'"),
    (Kit(LeavesTasks), "test_a_client_may_go_at_any_time", "generator"),
    (Kit(Swallows), "test_a_conversation_that_is_cancelled_ends", "serve raised RuntimeError"),
]


async def held(kit: Any, rule: str) -> None:
    """Make a test, as pytest does."""
    made = getattr(kit, rule)()
    if made is not None:
        await made


@pytest.mark.parametrize(("kit", "rule", "said"), FAULTS)
async def test_a_wire_that_breaks_the_contract_is_found(kit: Kit, rule: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        await held(kit, rule)


def test_every_test_of_the_contract_finds_a_fault() -> None:
    assert {rule for _, rule, _ in FAULTS} == set(rules_of(SocketWireConformance))


async def test_what_a_client_has_not_is_not_looked_at() -> None:
    kit = Kit()
    kit.refused, kit.several = (), False
    kit.cancel = lambda _: None  # type: ignore[method-assign]  # as one that has none
    for rule, why in (
        ("test_what_cannot_be_understood_is_told_and_ends_nothing", "say in `refused`"),
        ("test_several_runs_go_on_at_once", "a connection has one run"),
        ("test_a_run_is_cancelled", "say in `cancel`"),
    ):
        with pytest.raises(unittest.SkipTest, match=why):
            await held(kit, rule)


@pytest.mark.parametrize(
    "rule",
    [
        "test_a_run_that_fails_is_told",
        "test_a_run_is_cancelled",
        "test_what_cannot_be_understood_is_told_and_ends_nothing",
    ],
)
async def test_a_wire_with_one_run_a_connection_passes(rule: str) -> None:
    kit = Kit()
    kit.several = False
    await held(kit, rule)


async def test_the_runs_of_a_client_are_those_of_a_server() -> None:
    """A session, a run that is not there, and a client that hangs up itself."""
    host, client = Host(Scenarios().agent), Client()
    stream = host.start(RunRequest(prompt="text", session_id="mine"), asks=True)
    assert host.find(stream.run_id) is stream
    assert stream.info.session_id == "conformance/mine"
    with pytest.raises(RequestError, match="no run of this id"):
        host.find("another")
    await client.close()
    client.free()
    with pytest.raises(SocketClosed):
        await client.send("to nobody")
    await host.leave()


@pytest.mark.parametrize(
    ("method", "arguments"), [("make_wire", ()), ("start", ("",)), ("text_of", ((), "")), ("ended", ((), ""))]
)
def test_a_class_that_does_not_say_what_is_tested_fails(method: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(NotImplementedError, match=f"define {method}"):
        getattr(SocketWireConformance(), method)(*arguments)
