"""becket-websocket keeps the contract of wires that go both ways."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from becket.testing import SocketWireConformance
from becket_websocket import WebSocketWire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from becket.wires import SocketWire


class TestWebSocketWire(SocketWireConformance):
    refused = (
        "{",
        "",
        b"\xff\xfe",
        "[]",
        '{"type": "stop"}',
        '{"type": "start"}',
        '{"type": "cancel", "run_id": "no"}',
    )

    def make_wire(self) -> SocketWire:
        return WebSocketWire()

    def start(self, prompt: str) -> str:
        return json.dumps({"type": "start", "prompt": prompt})

    def cancel(self, run_id: str) -> str:
        return json.dumps({"type": "cancel", "run_id": run_id})

    def decide(self, run_id: str, request_id: str, *, allow: bool) -> str:
        outcome = "allow" if allow else "deny"
        return json.dumps({"type": "decide", "run_id": run_id, "request_id": request_id, "outcome": outcome})

    def text_of(self, heard: Sequence[str | bytes], run_id: str) -> str:
        events = [said["event"] for said in read(heard) if said["type"] == "event"]
        return "".join(one["text"] for one in events if one["type"] == "text_delta" and one["run_id"] == run_id)

    def ended(self, heard: Sequence[str | bytes], run_id: str) -> bool:
        return {"type": "ended", "run_id": run_id} in read(heard)

    def tells_failure(self, message: str | bytes) -> bool:
        said = json.loads(message)
        return said["type"] == "problem" or said.get("event", {}).get("type") == "run_failed"


def read(heard: Sequence[str | bytes]) -> list[Any]:
    return [json.loads(message) for message in heard]
