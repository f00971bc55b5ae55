"""The wire keeps the contract of wires."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from becket.testing import WireConformance
from becket_aisdk import register_wires

if TYPE_CHECKING:
    from becket.wires import Wire


class TestAiSdk(WireConformance):
    refused = ({}, {"id": "chat", "messages": []})

    def make_wire(self) -> Wire:
        (wire,) = register_wires()
        return wire

    def make_body(self, prompt: str) -> Any:
        message = {"id": "m1", "role": "user", "parts": [{"type": "text", "text": prompt}]}
        return {"id": "chat", "messages": [message], "trigger": "submit-message"}

    def text_of(self, answer: bytes) -> str:
        lines = [line.removeprefix(b"data: ") for line in answer.split(b"\n") if line.startswith(b"data: {")]
        chunks = [json.loads(line) for line in lines]
        return "".join(chunk["delta"] for chunk in chunks if chunk["type"] == "text-delta")

    def tells_failure(self, answer: bytes) -> bool:
        return b'"type":"error"' in answer
