"""What larger members of the protocol's events are made of."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from becket import Document, Image, Json, Text
from pydantic_core import to_json

from becket_agui._names import OWN, call_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from becket import DecisionRequested, ToolResult, Usage
    from becket.content import ResultBlock

__all__ = ["interrupt", "result_content", "token_usage"]

_TOOL_CALL: Final = "approve_tool"

_ANSWER: Final = {
    "type": "object",
    "properties": {"approved": {"type": "boolean"}, "editedArgs": {"type": "object"}, "reason": {"type": "string"}},
    "required": ["approved"],
}
"""How a call is answered: as the protocol's guide to interrupts has it, and with a reason, which the model may read."""


def interrupt(event: DecisionRequested) -> dict[str, Any]:
    """The interrupt that a request to decide is."""
    made: dict[str, Any] = {
        "id": event.request_id,
        "reason": "tool_call" if event.kind == _TOOL_CALL else f"{OWN}:{event.kind}",
        "message": event.why,
    }
    if event.kind == _TOOL_CALL:
        made["responseSchema"] = _ANSWER
    elif isinstance(event.schema, dict):
        made["responseSchema"] = event.schema
    if (call := event.call) is not None:
        # What is decided on are the final arguments; those that were streamed are the model's.
        made["message"] = f"{call.tool}: {event.why}"
        made["toolCallId"] = call_name(event.run_id, event.cycle, call.id)
        made["metadata"] = {OWN: {"tool": call.tool, "arguments": call.arguments}}
    if event.deadline is not None:
        made["expiresAt"] = datetime.fromtimestamp(event.deadline, UTC).isoformat(timespec="milliseconds")
    return made


def result_content(result: ToolResult) -> str | list[dict[str, Any]]:
    """A tool's result: a text, or parts where something in it is none."""
    if not any(isinstance(block, Image | Document) for block in result.content):
        return result.text
    return [_part(block) for block in result.content]


def _part(block: ResultBlock) -> dict[str, Any]:
    match block:
        case Text():
            return {"type": "text", "text": block.text}
        case Json():
            return {"type": "text", "text": to_json(block.value).decode()}
        case _:
            source = {"type": "url", "value": block.url} if block.url else {"type": "data", "value": block.data}
            return {"type": block.type, "source": {**source, "mimeType": block.media_type}}


def token_usage(used: Mapping[str, Usage]) -> list[dict[str, Any]] | None:
    """The tokens by model, `provider:model`; a count that the service did not give is left out."""
    entries = []
    for model, usage in used.items():
        counts = {
            "inputTokens": usage.input_tokens,
            "outputTokens": usage.output_tokens,
            "totalTokens": usage.total_tokens,
            "cachedInputTokens": usage.cached_tokens,
            "reasoningTokens": usage.reasoning_tokens,
        }
        provider, _, name = model.partition(":")
        if given := {key: count for key, count in counts.items() if count}:
            entries.append({"provider": provider, "model": name, **given})
    return entries or None
