"""The judges of a recorded answer, and a client that puts together what it is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from ag_ui.core import Event as AnyEvent
from ag_ui_validate import create_validator
from pydantic import BaseModel, TypeAdapter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Judge = Callable[..., list[dict[str, Any]]]
    Assemble = Callable[..., list[dict[str, Any]]]

EVENTS: TypeAdapter[Any] = TypeAdapter(AnyEvent)

TOLERATED = {
    "AGUI208": "a call names the message that it is part of, which a client makes for it where it has no text",
    "AGUI204": "1.0 has arguments carried as the model wrote them, `Tool Calls`, TOOL_CALL_END; the rule is older",
}

RESUMED = {
    "AGUI207": "a call of the interrupted answer is not started again, `Interrupts`, `Tool-bound interrupts`",
}


@pytest.fixture(scope="session")
def judged() -> Judge:
    """The events of an answer, once both judges have passed it; `resumed` where it goes on with an earlier one."""

    def judge(raw: bytes, *, resumed: bool = False) -> list[dict[str, Any]]:
        events = list(frames(raw))
        validator = create_validator()
        for event in events:
            validator.feed(event)
        validator.finalize()
        report = validator.report()
        tolerated = TOLERATED | RESUMED if resumed else TOLERATED
        assert [found for found in report.diagnostics if found.rule not in tolerated] == []
        assert report.internal_errors == []
        for event in events:
            known = EVENTS.validate_python(event)  # the protocol's own types
            assert list(unknown(known)) == []
        return events

    return judge


def frames(raw: bytes) -> Iterator[dict[str, Any]]:
    """The events, each a line of JSON and an empty one."""
    *whole, rest = raw.split(b"\n\n")
    assert rest == b""
    for one in whole:
        assert one.startswith(b"data: {")
        assert b"\n" not in one
        assert b"\r" not in one
        yield json.loads(one.removeprefix(b"data: "))


def unknown(model: BaseModel) -> Iterator[str]:
    """The members that the protocol does not know, at any depth."""
    yield from model.model_extra or ()
    for name in type(model).model_fields:
        given = getattr(model, name)
        for item in given if isinstance(given, list) else [given]:
            if isinstance(item, BaseModel):
                yield from unknown(item)


@pytest.fixture(scope="session")
def assembled() -> Assemble:
    """The messages of a conversation after an answer, as the protocol's client puts them together."""

    def assemble(events: list[dict[str, Any]], before: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
        messages = json.loads(json.dumps(before or []))
        for event in events:
            apply(messages, event)
        return messages

    return assemble


def apply(messages: list[dict[str, Any]], event: dict[str, Any]) -> None:  # noqa: C901  one case for each type
    """What one event changes."""

    def message(name: str, **begun: Any) -> dict[str, Any]:
        for one in messages:
            if one["id"] == name:
                return one
        tag = {"subagentRunId": event["subagentRunId"]} if "subagentRunId" in event else {}
        messages.append({"id": name, **begun, **tag})
        return messages[-1]

    def call(name: str) -> dict[str, Any]:
        return next(call for one in messages for call in one.get("toolCalls", ()) if call["id"] == name)

    changed: dict[str, Any] = {}
    match event:
        case {"type": "TEXT_MESSAGE_START" | "TEXT_MESSAGE_END", "messageId": name}:
            changed = message(name, role="assistant")
        case {"type": "REASONING_MESSAGE_START" | "REASONING_MESSAGE_END", "messageId": name}:
            changed = message(name, role="reasoning", content="")
        case {"type": "TEXT_MESSAGE_CONTENT" | "REASONING_MESSAGE_CONTENT", "messageId": name, "delta": delta}:
            assert delta
            changed = message(name)
            changed["content"] = changed.get("content", "") + delta
        case {"type": "REASONING_ENCRYPTED_VALUE", "entityId": name, "encryptedValue": sealed}:
            message(name)["encryptedValue"] = sealed
        case {"type": "TOOL_CALL_START", "toolCallId": name, "toolCallName": tool, "parentMessageId": parent}:
            changed = {"id": name, "type": "function", "function": {"name": tool, "arguments": ""}}
            made = message(parent, role="assistant").setdefault("toolCalls", [])
            if all(one["id"] != name for one in made):  # one that is begun again goes on
                made.append(changed)
        case {"type": "TOOL_CALL_ARGS", "toolCallId": name, "delta": delta}:
            assert delta
            call(name)["function"]["arguments"] += delta
        case {"type": "TOOL_CALL_END", "toolCallId": name}:
            changed = call(name)
        case {"type": "TOOL_CALL_RESULT", "messageId": name, "toolCallId": answered, "content": content}:
            changed = message(name, role="tool", toolCallId=answered, content=content)
        case {"type": "ACTIVITY_SNAPSHOT", "messageId": name, "content": content}:
            message(name, role="activity")["content"] = content
        case _:
            return
    if "metadata" in event:
        changed.setdefault("metadata", {}).update(event["metadata"])
