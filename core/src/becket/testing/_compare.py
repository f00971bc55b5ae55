"""What a model is asked, as JSON: the same for the same request, whichever run it stands in; and what differs."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from becket._values import to_json_value
from becket.testing._secrets import MASK

if TYPE_CHECKING:
    from becket.providers import ModelRequest

__all__ = ["CallNames", "alike", "as_json", "asked", "difference"]

_LINES: Final = 120
"""Lines of a difference that are shown."""


def asked(provider: str, request: ModelRequest) -> dict[str, Any]:
    """What `request` is, without its key and what the provider keeps in it.

    Fields that have their defaults are left out, so that a recording holds where a later version has more of them.
    """
    said: dict[str, Any] = as_json(dataclasses.replace(request, kept={}))
    said.pop("key", None)
    return {**said, "model": f"{provider}:{request.model}"}


def as_json(value: Any) -> Any:
    """A value of becket's as JSON, without what has its default."""
    if dataclasses.is_dataclass(value):
        given = {
            field.name: getattr(value, field.name) for field in dataclasses.fields(value) if _differs(field, value)
        }
        return {name: as_json(item) for name, item in given.items()}
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return to_json_value(value)


def _differs(field: dataclasses.Field[Any], of: Any) -> bool:
    """Whether a field has another value than its default; the type of a block tells it from others."""
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    given = getattr(of, field.name)
    return field.name == "type" or default is dataclasses.MISSING or (given is not default and given != default)


class CallNames:
    """Gives tool calls their names in a recording, by the order in which they come: services make up others each time.

    Args:
        keep: Whether they keep those that they have.
    """

    def __init__(self, *, keep: bool = False) -> None:
        self._keep = keep
        self._names: dict[str, str] = {}

    def name(self, call_id: str) -> str:
        """The name of the call."""
        return call_id if self._keep else self._names.setdefault(call_id, f"call-{len(self._names) + 1}")

    def renamed(self, value: Any) -> Any:
        """`value`, JSON that holds content blocks, with the calls in it renamed."""
        if isinstance(value, list):
            return [self.renamed(item) for item in value]
        if not isinstance(value, dict):
            return value
        match value:
            case {"type": "tool_call", "id": str(call_id), "tool": _}:
                return {**value, "id": self.name(call_id)}
            case {"call_id": str(call_id), "type": _}:
                value = {**value, "call_id": self.name(call_id)}
        return {key: self.renamed(item) if key in _HOLDERS else item for key, item in value.items()}


_HOLDERS: Final = frozenset({"call", "content", "message", "messages", "prompt", "raw", "request", "result"})
"""Under which keys of events, requests and messages there are content blocks. A tool's own JSON is not looked into."""


def alike(recorded: Any, now: Any) -> bool:
    """Whether two JSON values are equal, where a mask of the recorded one stands for any text."""
    return bool(_aligned(recorded, now) == recorded)


def _aligned(recorded: Any, now: Any) -> Any:
    """`now`, with each text that the recorded one stands for replaced by it."""
    if isinstance(recorded, dict) and isinstance(now, dict):
        return {key: _aligned(recorded.get(key), item) for key, item in now.items()}
    if isinstance(recorded, list) and isinstance(now, list):
        return [_aligned(one, other) for one, other in zip(recorded, now, strict=False)] + now[len(recorded) :]
    if isinstance(recorded, str) and isinstance(now, str) and MASK.search(recorded):
        pattern = ".*".join(map(re.escape, MASK.split(recorded)))
        return recorded if re.fullmatch(pattern, now, re.DOTALL) else now
    return now


def difference(recorded: Any, now: Any) -> str:
    """What differs between two JSON values, as a unified diff."""
    lines = list(
        difflib.unified_diff(_shown(recorded), _shown(_aligned(recorded, now)), "recorded", "now", lineterm="")
    )
    if len(lines) > _LINES:
        lines = [*lines[:_LINES], f"... and {len(lines) - _LINES} lines more"]
    return "\n".join(lines)


def _shown(value: Any) -> list[str]:
    return json.dumps(_in_lines(value), indent=2, ensure_ascii=False).splitlines()


def _in_lines(value: Any) -> Any:
    """`value` with each text of several lines as a list of them, so that a difference is in one of them."""
    if isinstance(value, dict):
        return {key: _in_lines(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_in_lines(item) for item in value]
    if isinstance(value, str) and "\n" in value:
        return value.splitlines(keepends=True)
    return value
