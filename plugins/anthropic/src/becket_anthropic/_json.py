"""JSON that is sent."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

__all__ = ["to_json"]

_encode: Final = msgspec.json.Encoder().encode


def to_json(value: Any) -> bytes:
    """`value` as JSON in UTF-8."""
    try:
        return _encode(value)
    except OverflowError:  # an integer of more than 64 bits, which msgspec has not
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_raw).encode()


def _raw(value: Any) -> Any:
    """What is JSON already, for the one encoder that has no word for it."""
    if isinstance(value, msgspec.Raw):
        return json.loads(bytes(value))
    raise TypeError(f"{value!r} is no JSON")
