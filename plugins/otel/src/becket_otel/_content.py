"""What was said, in the JSON that the conventions have for it: `gen-ai-input-messages.json`, and that of outputs.

Data of images and documents is left out: a trace is no place for 20 MB.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from becket import Document, Image, Json, Reasoning, Text, ToolCall, ToolResult

if TYPE_CHECKING:
    from becket import Message

__all__ = ["as_json", "message_json", "result_json"]


def as_json(value: object) -> str:
    """A JSON value as text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def message_json(message: Message, finish_reason: str | None = None) -> str:
    """One message; `finish_reason` where it is a model's answer, in the conventions' words."""
    role = "tool" if message.tool_results else message.role
    said: dict[str, Any] = {"role": role, "parts": [part for block in message.content for part in _parts(block)]}
    if finish_reason is not None:
        said["finish_reason"] = finish_reason
    return as_json(said)


def result_json(result: ToolResult) -> str:
    """What a tool answered."""
    return as_json(_response(result))


def _parts(block: object) -> list[dict[str, Any]]:
    """None for what only the service that made it can read."""
    match block:
        case Text():
            return [{"type": "text", "content": block.text}]
        case Reasoning() if block.text:
            return [{"type": "reasoning", "content": block.text}]
        case ToolCall():
            given = block.arguments if block.malformed is None else block.malformed.text
            return [{"type": "tool_call", "id": block.id, "name": block.tool, "arguments": given}]
        case ToolResult():
            return [{"type": "tool_call_response", "id": block.call_id, "response": _response(block)}]
        case Image() | Document():
            return [_file(block)]
        case _:
            return []


def _file(block: Image | Document) -> dict[str, Any]:
    part = {"modality": block.type, "mime_type": block.media_type}
    if block.url:
        return {"type": "uri", "uri": block.url, **part}
    return {"type": "blob", "content": "", **part}


def _response(result: ToolResult) -> Any:
    """A text as itself and a single JSON value as it is; else the list of what there is."""
    made = [
        block.text if isinstance(block, Text) else block.value if isinstance(block, Json) else _file(block)
        for block in result.content
    ]
    return made[0] if len(made) == 1 else made
