"""The contract of wires that go both ways as tests, which the tests of such a wire inherit."""

from __future__ import annotations

import math
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio
from anyio.lowlevel import checkpoint

from becket.errors import RequestError
from becket.events import DecisionRequested, RunFinished, TextDelta
from becket.testing._contract import Contract, missing, must, not_looked_at
from becket.testing._conversations import Client, Host
from becket.testing._model_calls import as_failures
from becket.testing._runs import ENDING
from becket.testing._watch import Watch
from becket.testing.fakes import ScriptedProvider, text
from becket.testing.scenarios import Scenarios
from becket.wires import SocketClosed, SocketWire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from becket.agent import Agent
    from becket.events import Event
    from becket.providers import ModelRequest
    from becket.stream import AgentStream
    from becket.testing.fakes import Step

__all__ = ["SocketWireConformance"]

_FAILING: Final = ("fails first", "fails midway")
_ROOM: Final = 3
_MUCH: Final = 20_000
_MOST: Final = 5000
"""Pieces that a model may say to a client that does not read: many times what a run and a wire keep."""


class SocketWireConformance(Contract):
    """What every `SocketWire` must do, as tests.

    Subclass it in a test file, and say how a wire is made, what its client sends, and how it reads what comes::

        class TestMyWire(SocketWireConformance):
            refused = ("{", '{"type": "nonsense"}')

            def make_wire(self):
                return MyWire()

            def start(self, prompt):
                return json.dumps({"type": "start", "prompt": prompt})

            def text_of(self, heard, run_id):
                said = [json.loads(message) for message in heard]
                return "".join(one["text"] for one in said if one.get("run") == run_id and one["type"] == "text")

            def ended(self, heard, run_id):
                return any(json.loads(message) == {"type": "end", "run": run_id} for message in heard)

    The runs are those of `Scenarios`; no server and no network is needed. A wire that lets its client cancel runs and
    decide says so with `cancel` and `decide`.
    """

    scenarios: Sequence[str] = ENDING
    """The scenarios whose answers are read. Leave one out that the format cannot carry."""

    greeting: Sequence[str | bytes] = ()
    """What a client says first, on each connection."""

    several: bool = True
    """Whether a client may have several runs on one connection: one after the other, and at once."""

    refused: Sequence[str | bytes] = ()
    """Messages that must not be taken for something that can be done."""

    patience: float = 10.0
    """Seconds in which an answer of a few pieces comes."""

    def make_wire(self) -> SocketWire:
        """The wire under test."""
        raise missing(self, "make_wire")

    def start(self, prompt: str) -> str | bytes:  # noqa: ARG002  to be overridden
        """What a client sends to ask this."""
        raise missing(self, "start")

    def text_of(self, heard: Sequence[str | bytes], run_id: str) -> str:  # noqa: ARG002  as above
        """The text that a client reads of a run in all that has come so far; not that of nested runs."""
        raise missing(self, "text_of")

    def ended(self, heard: Sequence[str | bytes], run_id: str) -> bool:  # noqa: ARG002  as above
        """Whether a client knows from what has come so far that this run is over."""
        raise missing(self, "ended")

    def tells_failure(self, message: str | bytes) -> bool:
        """Whether a message says that something is wrong; here, whether `error` or `problem` is in it."""
        said = message.lower() if isinstance(message, str) else message.decode().lower()
        return "error" in said or "problem" in said

    def cancel(self, run_id: str) -> str | bytes | None:  # noqa: ARG002  for those that have it
        """What a client sends to end a run; None where it cannot."""
        return None

    def decide(self, run_id: str, request_id: str, *, allow: bool) -> str | bytes | None:  # noqa: ARG002  as above
        """What a client sends to decide what a run asks; None where it cannot be asked."""
        return None

    # -- what is said of it --------------------------------------------------------------------------------------------

    def test_it_is_named_and_has_its_place(self) -> None:
        """A name, a path of its own, and what a client may agree on with it."""
        wire = self._wire()
        must(re.fullmatch(r"[A-Za-z0-9_-]+", wire.name), f"the name {wire.name!r} has letters, digits, '-' and '_'")
        must(
            re.fullmatch(r"(/[!-.0-~]+)+", wire.path),
            f"the path begins with a slash, and ends with none: {wire.path!r}",
        )
        offered = wire.subprotocols
        must(not isinstance(offered, str), f"subprotocols are a list of names, and not a text: {offered!r}")
        for name in offered:  # a token of RFC 9110, section 5.6.2
            must(re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name), f"{name!r} can be the name of a subprotocol")

    # -- runs ----------------------------------------------------------------------------------------------------------

    async def test_each_scenario_has_its_answer(self) -> None:
        """A client reads the text of its run, whatever else is in it, and knows when it is over."""
        for name in self.scenarios:
            async with self._connected() as (client, host):
                run = await self._started(client, host, name)
                if name == "asks":
                    await self._answer(client, run, allow=True)
                await self._over(client, run, f"{name}: a client is told that its run is over")
                read = self.text_of(client.heard, run.run_id)
                wanted = "The answer: denied" if name == "asks" and not host.asks[0] else Scenarios.text(name)
                must(
                    name == "fails first" or read == wanted,
                    f"{name}: the client reads {read!r}, and the answer is {wanted!r}",
                )

    async def test_a_run_that_fails_is_told(self) -> None:
        """Half of an answer must not pass for a whole; and nothing else is wrong."""
        for name in (name for name in self.scenarios if name in (*_FAILING, "text")):
            async with self._connected() as (client, host):
                await self._ask(client, host, name)
                told = any(map(self.tells_failure, client.heard))
                if name == "text":
                    must(not told, f"a whole answer passes for one that has failed: {client.heard!r}")
                else:
                    must(told, f"{name}: a client cannot tell this answer from one that is whole: {client.heard!r}")
                if self.several:
                    await self._ask(client, host, "text", f"after a run of the scenario {name!r}")

    async def test_text_is_sent_when_it_comes(self) -> None:
        """While the model goes on, though it says nothing more for a long time."""
        async with self._connected() as (client, host):
            run = await self._started(client, host, "held")
            await client.hear(
                lambda: self.text_of(client.heard, run.run_id) == Scenarios.text("held"),
                "a client reads what a run has said while it goes on",
            )

    async def test_several_runs_go_on_at_once(self) -> None:
        """On one connection: one that waits holds up none, and each has its own text."""
        self._several()
        async with self._connected() as (client, host):
            held = await self._started(client, host, "held")
            runs = [await self._started(client, host, name) for name in ("text", "nested", "tools")]
            for name, run in zip(("text", "nested", "tools"), runs, strict=True):
                await self._over(client, run, f"{name}: a client is told that its run is over, while another waits")
                read = self.text_of(client.heard, run.run_id)
                must(read == Scenarios.text(name), f"{name}, one of several runs: the client reads {read!r}")
            must(not self.ended(client.heard, held.run_id), "a run that waits is said to be over")

    async def test_clients_are_kept_apart(self) -> None:
        """One wire serves any number of them at once."""
        wire = self._wire()
        async with self._connected(wire) as (one, hers), self._connected(wire) as (two, his):
            runs = await self._started(one, hers, "nested"), await self._started(two, his, "text")
            for name, client, run in zip(("nested", "text"), (one, two), runs, strict=True):
                await self._over(client, run, f"{name}: one of two clients is told that its run is over")
                read = self.text_of(client.heard, run.run_id)
                must(read == Scenarios.text(name), f"{name}: one of two clients reads {read!r}")

    async def test_a_client_that_does_not_read_holds_up_its_own_run_alone(self) -> None:
        """The model waits, what waits in memory has a bound, and a client beside it is served."""
        wire, asked = self._wire(), 0

        def pieces(_request: ModelRequest) -> Iterator[Step]:
            nonlocal asked
            while asked < _MUCH:
                asked += 1
                yield TextDelta("x")
            yield from text("the end")

        agent = Scenarios().agent.replace(model=ScriptedProvider(pieces))
        async with self._connected(wire, agent, room=_ROOM) as (slow, host), self._connected(wire) as (quick, other):
            await self._started(slow, host, "much")
            await self._ask(quick, other, "text", "beside a client that does not read")
            with anyio.move_on_after(self.patience):
                await anyio.wait_all_tasks_blocked()
            must(
                asked < _MOST,
                f"the model has said {asked:,} pieces to a client that reads none: send what was read of it before "
                f"more is read of it",
            )
            before = asked
            await slow.hear(lambda: asked > before, "a client that reads on is sent more")

    # -- what a client says --------------------------------------------------------------------------------------------

    async def test_a_run_is_cancelled(self) -> None:
        """The client is told that it is over, and the connection goes on."""
        if self.cancel("run") is None:
            not_looked_at("say in `cancel` what a client sends to end a run, where it can")
        scenarios = Scenarios()
        async with self._connected(agent=scenarios.agent) as (client, host):
            run = await self._started(client, host, "held")
            await client.hear(lambda: bool(self.text_of(client.heard, run.run_id)), "a run has begun")
            client.say(self.cancel(run.run_id) or "")
            await self._over(client, run, "a client that has cancelled a run is told that it is over")
            last: Event | None = None
            with anyio.move_on_after(self.patience):
                last = (await _events(run))[-1]
            must(
                isinstance(last, RunFinished) and last.result.stop_reason == "cancelled",
                f"a run that is cancelled ends with that: call cancel() of its stream; it ended with {last!r}",
            )
            if self.several:
                await self._ask(client, host, "text", "after a run was cancelled")

    async def test_a_decision_is_made(self) -> None:
        """What the client says becomes of the call; a run whose client cannot be asked is started with `asks=False`."""
        for allow in (True, False):
            async with self._connected() as (client, host):
                run = await self._started(client, host, "asks")
                can = self.decide(run.run_id, "request", allow=allow) is not None
                must(
                    host.asks == [can],
                    f"a run is started with asks={can}, where `decide` gives {'a message' if can else 'none'}: nobody "
                    f"would {'be asked' if can else 'answer'}",
                )
                await self._answer(client, run, allow=allow)
                await self._over(client, run, "a client that has decided is told that its run is over")
                read = self.text_of(client.heard, run.run_id)
                wanted = Scenarios.text("asks") if can and allow else "The answer: denied"
                must(read == wanted, f"with allow={allow} decided, the client reads {read!r}, and not {wanted!r}")

    async def test_what_cannot_be_understood_is_told_and_ends_nothing(self) -> None:
        """The client learns what is wrong with its message; no run is started, and those that go on, go on."""
        if not self.refused:
            not_looked_at("say in `refused` which messages make no sense, so that it can be looked at what is said")
        for message in self.refused:
            async with self._connected() as (client, host):
                held = await self._started(client, host, "held") if self.several else None
                client.say(message)
                await self._told(client, f"{message!r} cannot be understood")
                must(len(host.streams) == (held is not None), f"{message!r} has started a run")
                await self._ask(client, host, "text", f"after the message {message!r}")
                must(held is None or not held.done, f"the message {message!r} has ended another run")

    async def test_what_the_server_refuses_is_told_and_ends_nothing(self) -> None:
        """A `RequestError` of `start` is for the client, with its words: it may ask again."""
        async with self._connected() as (client, host):
            host.refusal = RequestError("there are too many sheep", status=429, code="too_many_sheep")
            client.say(self.start("text"))
            await self._told(client, "a RequestError was raised by start")
            said = [one if isinstance(one, str) else one.decode() for one in client.heard]
            must("sheep" in "".join(said), f"what a RequestError says is told, or its code: {said!r}")
            host.refusal = None
            await self._ask(client, host, "text", "after a run that was refused")

    async def test_bytes_are_as_good_as_a_text(self) -> None:
        """A socket gives either."""
        message = self.start("text")
        for given in (message, message.decode() if isinstance(message, bytes) else message.encode()):
            async with self._connected() as (client, host):
                client.say(given)
                await client.hear(lambda: bool(host.streams), f"a run is started by {given!r}")
                await self._over(client, host.streams[0], f"the run that is started by {given!r} comes to its end")

    # -- the end of a conversation -------------------------------------------------------------------------------------

    async def test_a_client_may_go_at_any_time(self) -> None:
        """Before it has said a word, while nothing is said to it, and while a message waits to be sent."""
        for name, room in (
            ("", math.inf),
            ("text", math.inf),
            ("held", math.inf),
            ("idle tool", math.inf),
            ("flood", _ROOM),
        ):
            scenarios = Scenarios()
            with Watch() as watch:
                async with self._connected(agent=scenarios.agent, room=room) as (client, host):
                    if name:
                        run = await self._started(client, host, name)
                        await self._under_way(run, scenarios, name)
                await watch.check_all(f"the client has gone, in a run of the scenario {name!r}, and")
            must(not scenarios.waiting, f"the client has gone, and the run of the scenario {name!r} goes on")

    async def test_a_conversation_that_is_cancelled_ends(self) -> None:
        """A server that is stopped hangs up: the cancellation goes through, and nothing is left open."""
        for name, room in (("", math.inf), ("held", math.inf), ("flood", _ROOM)):
            scenarios, wire = Scenarios(), self._wire()
            host, client = Host(scenarios.agent), Client(room, self.patience)
            when = f"cancelled, in a run of the scenario {name!r}"
            with Watch() as watch, as_failures(when), anyio.fail_after(3 * self.patience):
                try:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(self._serve, wire, client, host, anyio.Event())
                        client.say(*self.greeting)
                        if name:
                            run = await self._started(client, host, name)
                            await self._under_way(run, scenarios, name)
                        tasks.cancel_scope.cancel()
                finally:
                    client.leave()
                    client.free()
                must(not client.wrong, client.wrong)
                await host.leave()
                await watch.check_all(f"the conversation was {when}, and")

    # -- how the tests use it ------------------------------------------------------------------------------------------

    def _wire(self) -> SocketWire:
        wire: object = self.make_wire()
        must(
            isinstance(wire, SocketWire),
            f"{wire!r} has what such a wire has: see becket.wires.SocketWire",
        )
        return wire  # type: ignore[return-value]  # looked at

    def _several(self) -> None:
        if not self.several:
            not_looked_at("`several` is False: a connection has one run")

    @asynccontextmanager
    async def _connected(
        self, wire: SocketWire | None = None, agent: Agent | None = None, room: float = math.inf
    ) -> AsyncIterator[tuple[Client, Host]]:
        """A client that talks to the wire as long as the block lasts, and then goes away."""
        host, client, ended = Host(agent or Scenarios().agent), Client(room, self.patience), anyio.Event()
        with as_failures("in a conversation"):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._serve, wire or self._wire(), client, host, ended)
                client.say(*self.greeting)
                try:
                    yield client, host
                finally:
                    client.leave()
                    host.cancel()
                with anyio.move_on_after(self.patience):
                    await ended.wait()
                tasks.cancel_scope.cancel()
            must(
                ended.is_set(),
                f"the client has gone, and serve goes on after {self.patience:g} s: let SocketClosed end it",
            )
            must(not client.wrong, client.wrong)

    async def _serve(self, wire: SocketWire, client: Client, host: Host, ended: anyio.Event) -> None:
        try:
            await wire.serve(client, host)
        except SocketClosed:
            pass
        except Exception as error:  # noqa: BLE001  it is what is asked for
            found: BaseException = error
            while isinstance(found, BaseExceptionGroup):
                found = found.exceptions[0]
            client.wrong = (
                f"serve raised {found!r}: tell the client what is wrong with a message, and let it end nothing"
            )
        finally:
            client.free()
        await host.leave()
        ended.set()

    async def _started(self, client: Client, host: Host, prompt: str) -> AgentStream[object]:
        before = len(host.streams)
        client.say(self.start(prompt))
        with anyio.move_on_after(self.patience):
            while len(host.streams) == before:
                await checkpoint()
        must(len(host.streams) > before, f"a client asks {prompt!r}, and within {self.patience:g} s no run is started")
        return host.streams[-1]

    async def _over(self, client: Client, run: AgentStream[object], what: str) -> None:
        await client.hear(lambda: self.ended(client.heard, run.run_id), what)

    async def _ask(self, client: Client, host: Host, name: str, when: str = "") -> None:
        """A run of a scenario, to its end, with its answer."""
        run = await self._started(client, host, name)
        await self._over(client, run, f"{when or name}: a client is told that its run is over")
        read = self.text_of(client.heard, run.run_id)
        must(name in _FAILING or read == Scenarios.text(name), f"{when or name}: the client reads {read!r}")

    async def _told(self, client: Client, what: str) -> None:
        await client.hear(lambda: any(map(self.tells_failure, client.heard)), f"{what}, and the client is to be told")

    async def _answer(self, client: Client, run: AgentStream[object], *, allow: bool) -> None:
        """Decide what the run asks, where a client can."""
        if self.decide(run.run_id, "request", allow=allow) is None:
            return
        with anyio.fail_after(self.patience):
            async for event in run.follow():
                if isinstance(event, DecisionRequested):
                    client.say(self.decide(run.run_id, event.request_id, allow=allow) or "")
                    return

    async def _under_way(self, run: AgentStream[object], scenarios: Scenarios, name: str) -> None:
        """Wait until the run waits, is over, or has said more than its client takes."""
        with anyio.move_on_after(self.patience):
            while not (scenarios.waiting or run.done or (name == "flood" and run.follow().ready(_ROOM + 2)[_ROOM:])):
                await checkpoint()


async def _events(run: AgentStream[object]) -> list[Event]:
    return [event async for event in run.follow()]
