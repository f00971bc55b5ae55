"""The wire keeps the contract of wires, in both forms of its answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from becket.testing import WireConformance
from becket_openai_server import ChatCompletions

if TYPE_CHECKING:
    from becket.wires import Wire


class TestStreams(WireConformance):
    refused = ({}, {"model": "scenarios", "messages": []})

    def make_wire(self) -> Wire:
        return ChatCompletions()

    def make_body(self, prompt: str) -> Any:
        return {"model": "scenarios", "messages": [{"role": "user", "content": prompt}], "stream": True}

    def text_of(self, answer: bytes) -> str:
        lines = [line.removeprefix(b"data: ") for line in answer.split(b"\n") if line.startswith(b"data: {")]
        chunks = [json.loads(line) for line in lines]
        return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk.get("choices", ()))


class TestCompletions(TestStreams):
    streams = False

    def make_body(self, prompt: str) -> Any:
        return {**super().make_body(prompt), "stream": False}

    def text_of(self, answer: bytes) -> str:
        return str(json.loads(answer)["choices"][0]["message"]["content"] or "")
