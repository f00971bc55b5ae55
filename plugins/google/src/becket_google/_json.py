"""JSON as it is sent."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

__all__ = ["to_json"]

_encode: Final = msgspec.json.Encoder().encode


def to_json(plain: Any) -> bytes:
    """`plain` as JSON. msgspec knows no integers above 64 bits, and models write some."""
    try:
        return _encode(plain)
    except OverflowError:
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()
