"""Wires as plugins give them, and the agent that they are tested with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from becket import Agent, Plugin, Runtime, hookimpl
from becket.testing import Scenarios
from becket.wires import DescribingWire, DocumentWire, EventStreamEncoder, RunRequest, SocketWire, Wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from becket import Event, RunInfo
    from becket.wires import RunHost, Socket


class Types(EventStreamEncoder):
    def encode(self, event: Event) -> bytes:
        return event.type.encode()


class Plain:
    """The least that a wire has."""

    name = "plain"
    path = "/plain"
    media_type = "text/event-stream"
    asks = False
    request_model = dict

    def read(self, body: Any, /) -> RunRequest:
        return RunRequest(prompt=body["prompt"])

    def open(self, body: Any, run: RunInfo, /, *, accept: str = "") -> Types:
        return Types()


class Both:
    name = "both"
    path = "/both"
    subprotocols: Sequence[str] = ()

    async def serve(self, socket: Socket, runs: RunHost, /) -> None: ...


def given(*wires: object) -> Runtime:
    class Giving:
        @hookimpl
        def register_wires(self) -> list[object]:
            return list(wires)

    return Runtime(plugins=[Giving()], discover=False)


def only(runtime: Runtime) -> Plugin:
    (plugin,) = runtime.plugins
    return plugin


def test_a_plugin_gives_wires_of_both_kinds() -> None:
    runtime = given(Plain(), Both())
    assert list(runtime.wires) == ["both", "plain"]
    assert only(runtime).adds == {"wires": ("plain", "both")}
    assert isinstance(runtime.wires.find("plain"), Wire)
    assert isinstance(runtime.wires.find("both"), SocketWire)
    assert not isinstance(runtime.wires.find("plain"), DescribingWire | DocumentWire)


def test_what_is_no_wire_takes_its_plugin_out_and_the_others_serve_on() -> None:
    class Broken:
        @hookimpl
        def register_wires(self) -> list[object]:
            return ["plain"]

    class Good:
        @hookimpl
        def register_wires(self) -> list[object]:
            return [Plain()]

    runtime = Runtime(plugins=[Broken(), Good()], discover=False)
    assert list(runtime.wires) == ["plain"]
    broken = next(plugin for plugin in runtime.plugins if plugin.status == "quarantined")
    assert "it gave 'plain', which is no Wire and no SocketWire" in broken.reason


def test_a_wire_has_a_name_of_its_own() -> None:
    class Odd(Plain):
        name = "a wire"

    assert "a Wire with the name 'a wire'" in only(given(Odd())).reason
    assert "two wires with the name 'plain'" in only(given(Plain(), Plain())).reason


def test_an_agent_says_what_it_was_made_with() -> None:
    runtime = Runtime(discover=False)
    agent = Scenarios().agent.replace(system_prompt="be brief", runtime=runtime)
    assert (agent.system_prompt, agent.approver, agent.runtime) == ("be brief", "reader", runtime)
    assert agent.options.temperature is None
    assert agent.limits.cycles == 100


@pytest.mark.anyio
@pytest.mark.parametrize("name", [name for name in Scenarios.names if name != "flood"])
async def test_a_scenario_does_what_it_says(name: str) -> None:
    scenarios, said, types = Scenarios(), "", []
    stream = scenarios.agent.stream_async(name)
    with anyio.fail_after(10):
        try:
            async with stream as events:
                async for event in events:
                    types.append(event.type)
                    said += event.get("data", "")
                    if event.type == "decision_requested":
                        await events.decide(event.request_id, True)
                    if (name, event.type) in {("held", "text_delta"), ("idle tool", "tool_started")}:
                        events.cancel()
        except Exception:
            assert name in {"fails first", "fails midway"}
    assert said == Scenarios.text(name)
    assert ("run_failed" in types) == name.startswith("fails")


@pytest.mark.anyio
async def test_an_unknown_scenario_and_a_denied_change_say_so() -> None:
    scenarios = Scenarios()
    assert "There is no scenario 'dance'" in (await scenarios.agent.invoke_async("dance")).text
    denied: Agent = scenarios.agent.replace(approver=None)
    assert (await denied.invoke_async("asks")).text == "The answer: denied"
