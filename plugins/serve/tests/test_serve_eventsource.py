"""`eventsource-parser` of npm on the server's own events: a client whose connection drops, and who comes back."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from anyio.lowlevel import checkpoint
from becket import Agent, ModelFinished, Runtime, TextDelta, tool
from becket.testing import ScriptedProvider, calls
from becket.testing.scenarios import UNICODE
from becket_serve import app
from becket_serve.testing import serving

if TYPE_CHECKING:
    from collections.abc import Callable

LIVES = ["1", "40", "1000", "7777", "20001", "3", "30000", "asked", "2", "5001", "100000", "end", "end"]
"""Bytes that each connection lives to read, of some 200 for an event, and where else it ends."""


@tool(effect="write")
async def change(value: int) -> str:
    """Change something."""
    return f"changed to {value}"


def talkative() -> Agent:
    """Says much, with characters of one to four bytes and line breaks of all kinds, asks, and says as much again."""
    pieces = [step for _ in range(150) for step in (*map(TextDelta, UNICODE), checkpoint)]
    asks = calls(("change", {"value": 7}))
    provider = ScriptedProvider([*pieces, *asks], [*pieces, ModelFinished("end_turn")])
    return Agent(provider, [change], approver="reader", runtime=Runtime(discover=False))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_no_event_comes_twice_and_none_is_missing(backend: Any, judge: Callable[..., Any]) -> None:
    """Wherever the connections are cut: in the first byte, in an event, in a character; and while the run waits."""
    with serving(app(talkative()), backend=backend) as address:
        seen = judge("eventsource.mjs", address, "go", *LIVES)
        with urllib.request.urlopen(f"{address}/runs/{seen['run']}/events") as answer:  # noqa: S310  our own server
            whole = [json.loads(line.removeprefix(b"data: ")) for line in answer if line.startswith(b"data: ")]
    assert seen["statuses"] == [*[200] * (len(LIVES) - 1), 204]
    assert seen["complaints"] == []
    assert [event["data"] for event in seen["events"]] == whole
    assert [event["id"] for event in seen["events"]] == [str(event["seq"]) for event in whole]
    assert [event["seq"] for event in whole] == list(range(1, len(whole) + 1))
    assert {event["name"] for event in seen["events"]} == {None}
    assert whole[-1]["result"]["message"]["content"][0]["text"] == "".join(UNICODE) * 150
