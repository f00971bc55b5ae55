"""Making up arguments from a JSON schema: the least that fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["example"]

_DEPTH: Final = 20
"""Levels after which a schema that contains itself is left."""

_PLAIN: Final[Mapping[str, Any]] = {"string": "text", "number": 1.5, "boolean": True, "null": None}


def example(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments for an object schema: what is required, with the first values that the schema says, or plain ones."""
    given: dict[str, Any] = _value(schema, schema.get("$defs", {}), 0)
    return given


def _value(schema: Mapping[str, Any], known: Mapping[str, Any], depth: int) -> Any:
    for word in ("const", "default"):
        if word in schema:
            return schema[word]
    for word in ("examples", "enum"):
        if schema.get(word):
            return schema[word][0]
    if depth > _DEPTH:
        return None
    if reference := schema.get("$ref"):
        return _value(known.get(reference.rpartition("/")[2], {}), known, depth + 1)
    for word in ("anyOf", "oneOf", "allOf"):
        if schema.get(word):
            return _value(schema[word][0], known, depth + 1)
    return _of_type(schema, known, depth)


def _of_type(schema: Mapping[str, Any], known: Mapping[str, Any], depth: int) -> Any:
    match schema.get("type"):
        case "object":
            required = schema.get("required", ())
            return {name: _value(schema["properties"][name], known, depth + 1) for name in required}
        case "array":
            items: list[Mapping[str, Any]] = schema.get("prefixItems") or [schema.get("items", {})] * schema.get(
                "minItems", 1
            )
            return [_value(item, known, depth + 1) for item in items]
        case "integer":
            return max(schema.get("minimum", 1), schema.get("exclusiveMinimum", 0) + 1)
        case "string":
            return "text".ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength", 1000)]
        case other:
            return _PLAIN.get(other)  # type: ignore[arg-type]  # None for what is not known
