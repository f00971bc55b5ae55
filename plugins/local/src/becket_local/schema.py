"""Tools as the engine is told of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from becket import ToolSpec

__all__ = ["tools_json"]

# What only a validator needs. The model would read it as meaning, and did: "no title given" in its reasoning.
_NOISE = frozenset({"title", "default", "additionalProperties", "$schema"})


def tools_json(tools: Iterable[ToolSpec]) -> str:
    """The tools in the engine's form; equal tools give equal text, by which the worker knows a conversation again."""
    entries = [
        {"name": tool.name, "description": tool.description, "parameters": simplified(tool.schema)} for tool in tools
    ]
    return json.dumps(entries)


def simplified(schema: Any) -> Any:
    """`schema` without what the engine does not need, and with `X or null` as `X`. References stay: it resolves them.

    A schema for the keys of an object (`additionalProperties` as a schema) stays as well.
    """
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if key not in _NOISE or _is_schema_of_keys(key, value)}
    variants = [item for item in kept.get("anyOf", ()) if item != {"type": "null"}]
    if len(variants) == 1:
        del kept["anyOf"]
        kept = {**variants[0], **kept}
        return simplified(kept)
    return {key: _simplified_below(key, kept[key]) for key in sorted(kept, key=_place)}


def _place(key: str) -> int:
    """Where a key stands: the type first, as in the schemas that the engine itself makes.

    The model reads the text of the schema. With the description first it answered "What is 42 + 7?" by `42`, at 0.19;
    with the type first by `42 + 7`, at 0.62.
    """
    return 0 if key == "type" else 1


def _is_schema_of_keys(key: str, value: object) -> bool:
    return key == "additionalProperties" and isinstance(value, dict)


def _simplified_below(key: str, value: Any) -> Any:
    if key in {"properties", "$defs", "definitions"} and isinstance(value, dict):
        return {name: simplified(schema) for name, schema in value.items()}
    if key in {"items", "additionalProperties"}:
        return simplified(value)
    if key in {"anyOf", "oneOf", "allOf", "prefixItems"} and isinstance(value, list):
        return [simplified(item) for item in value]
    return value
