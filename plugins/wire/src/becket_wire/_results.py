"""JSON, and a tool's result as models read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from becket import Json, Text

if TYPE_CHECKING:
    from becket import ToolResult

__all__ = ["dumps", "text_of"]


def dumps(value: Any) -> bytes:
    """A JSON value as JSON, without spaces."""
    return msgspec.json.encode(value)


def text_of(result: ToolResult) -> str:
    """The text and the JSON of a result, a line each; images and documents are left out, see `ToolResult.content`.

    The text of a result without either says what became of the call, since services refuse an empty one.
    """
    parts = []
    for block in result.content:
        if isinstance(block, Text):
            parts.append(block.text)
        elif isinstance(block, Json):
            parts.append(dumps(block.value).decode())
    return "\n".join(parts) or ("done" if result.status == "success" else result.status)
