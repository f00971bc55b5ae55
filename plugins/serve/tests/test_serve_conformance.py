"""The wires and the command of becket-serve itself keep their contracts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from becket.testing import CommandConformance, WireConformance
from becket_serve import Settings, register_commands, register_wires

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import click
    from becket.wires import Wire


class TestEvents(WireConformance):
    refused = ({}, {"prompt": 7})

    def make_wire(self) -> Wire:
        return next(wire for wire in register_wires() if wire.name == "events")

    def make_body(self, prompt: str) -> Any:
        return {"prompt": prompt}

    def text_of(self, answer: bytes) -> str:
        lines = [line.removeprefix(b"data: ") for line in answer.split(b"\n") if line.startswith(b"data: ")]
        events = [json.loads(line) for line in lines]
        own = [event for event in events if event["type"] == "text_delta" and not event.get("parent_run_id")]
        return "".join(event["text"] for event in own)

    def tells_failure(self, answer: bytes) -> bool:
        return b'"run_failed"' in answer


class TestServe(CommandConformance):
    failing: Mapping[str, Sequence[Sequence[str]]] = {"serve": [["--port", "x"], ["--token-file", "gone"]]}

    def register_commands(self, cli: click.Group) -> None:
        register_commands(cli, Settings())
