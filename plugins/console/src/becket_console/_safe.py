"""Text from models and tools, made safe to show: what would steer a terminal is spelled out, never sent.

Every piece of content passes through `shown` or `shown_on_a_line` on its way out (`_screen` sees to it), so the only
escape sequences in the output are the sink's own.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from becket import ToolCall, ToolResult

__all__ = ["call_head", "clip", "preview", "result_preview", "shown", "shown_on_a_line"]

# C0 without tab and newline, DEL and C1; line and paragraph separator, bidi embeddings and overrides (U+2028..202E);
# bidi isolates; lone surrogates, which no stream can encode. Joiners and the marks U+200E and U+200F stay: emoji and
# right-to-left text need them, and they cannot reorder what is not theirs.
_STEERS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_UNSAFE = re.compile(f"[{_STEERS}]")
_UNSAFE_ON_A_LINE = re.compile(f"[\t\n{_STEERS}]")
_SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def _spelled(match: re.Match[str]) -> str:
    char = match[0]
    return _SHORT.get(char) or (f"\\x{ord(char):02x}" if ord(char) <= 0xFF else f"\\u{ord(char):04x}")  # noqa: PLR2004 - the last code point that two hex digits spell


def shown(text: str) -> str:
    r"""`text` with what steers a terminal spelled out (ESC as `\x1b`); newlines and tabs stay."""
    # Nothing in _UNSAFE counts as printable, and most fragments have no newline: no regular expression for those.
    return text if text.isprintable() else _UNSAFE.sub(_spelled, text)


def shown_on_a_line(text: str) -> str:
    r"""As `shown`, with newlines and tabs spelled out too (`\n`)."""
    return text if text.isprintable() else _UNSAFE_ON_A_LINE.sub(_spelled, text)


def clip(text: str, limit: int) -> str:
    """At most `limit` characters of `text`, ending in `...` where some are missing."""
    return text if len(text) <= limit else text[: max(limit - 3, 0)] + "..."


def preview(value: object, limit: int) -> str:
    """The beginning of a JSON value as JSON, a string as itself; no more of it is encoded than is shown."""
    if isinstance(value, str):
        return clip(value, limit)
    return clip("".join(_until(limit, _json(value))), limit)


def call_head(call: ToolCall, limit: int) -> str:
    """A call as a person would write it: `calculator(expression="42 + 7")`, the arguments cut to `limit`."""
    if call.malformed is not None:
        return f"{call.tool}(malformed: {clip(call.malformed.reason, limit)})"
    return f"{call.tool}({clip(''.join(_until(limit, _arguments(call))), limit)})"


def result_preview(result: ToolResult, limit: int) -> str:
    """The beginning of what a tool answered."""
    return clip("\n".join(_until(limit, _blocks(result, limit))), limit)


def _json(value: object) -> Iterator[str]:
    # `iterencode` is lazy: the beginning of a value of ten megabytes costs its beginning.
    return json.JSONEncoder(ensure_ascii=False, default=repr).iterencode(value)


def _arguments(call: ToolCall) -> Iterator[str]:
    for index, (name, value) in enumerate(call.arguments.items()):
        yield f"{', ' if index else ''}{name}="
        yield from _json(value)


def _blocks(result: ToolResult, limit: int) -> Iterator[str]:
    for block in result.content:
        if block.type == "text":
            yield block.text[: limit + 1]
        elif block.type == "json":
            yield preview(block.value, limit + 1)
        else:
            yield f"[{block.type} {block.media_type}]"


def _until(limit: int, parts: Iterator[str]) -> Iterator[str]:
    """The parts up to the one that goes past `limit` characters."""
    length = 0
    for part in parts:
        yield part[: limit + 1]
        length += len(part)
        if length > limit:
            return
