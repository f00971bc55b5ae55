"""The wire keeps the contract of wires."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from becket.testing import WireConformance
from becket_agui import AgUi

if TYPE_CHECKING:
    from becket.wires import Wire


class TestAgUi(WireConformance):
    refused = ({}, {"threadId": "thread", "runId": "run", "messages": []})

    def make_wire(self) -> Wire:
        return AgUi()

    def make_body(self, prompt: str) -> Any:
        message = {"id": "asked", "role": "user", "content": prompt}
        return {"threadId": "thread", "runId": "run", "messages": [message]}

    def text_of(self, answer: bytes) -> str:
        lines = [line.removeprefix(b"data: ") for line in answer.split(b"\n") if line.startswith(b"data: ")]
        events = [json.loads(line) for line in lines]
        begun = [event for event in events if event["type"] == "TEXT_MESSAGE_START"]
        own = {event["messageId"] for event in begun if "subagentRunId" not in event}
        written = [event for event in events if event["type"] == "TEXT_MESSAGE_CONTENT"]
        return "".join(event["delta"] for event in written if event["messageId"] in own)

    def tells_failure(self, answer: bytes) -> bool:
        return b'"RUN_ERROR"' in answer
