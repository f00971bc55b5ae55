"""JSON as it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["dumps", "laid_over", "members"]

_encode = msgspec.json.Encoder().encode


def dumps(value: object) -> bytes:
    """`value` as JSON in UTF-8; it must hold nothing but what JSON has.

    A tool call's arguments may have integers beyond 64 bits, which a model writes and msgspec does not.
    """
    try:
        return _encode(value)
    except OverflowError:
        import json

        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def members(body: Mapping[str, object]) -> bytes:
    """The members of a JSON object without its braces, each with a comma before it: to go on one that is begun."""
    return b"".join(b",%b:%b" % (dumps(key), dumps(value)) for key, value in body.items())


def laid_over(body: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """`body` with `extra` laid over it: objects are merged, None takes a member out.

    Tools are added, and so is what to include in an answer.
    """
    merged = dict(body)
    for name, value in extra.items():
        old = merged.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[name] = {**old, **value}
        elif name in ("include", "tools") and old and isinstance(value, list):
            merged[name] = [*old, *(item for item in value if item not in old)]
        else:
            merged[name] = value
    return {name: value for name, value in merged.items() if value is not None}
