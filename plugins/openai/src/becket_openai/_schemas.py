"""Which JSON schemas the service can hold a model to."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["strict"]

_KEYWORDS: Final = frozenset(
    {
        "$defs",
        "$ref",
        "additionalProperties",
        "anyOf",
        "const",
        "definitions",
        "description",
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "items",
        "maxItems",
        "maximum",
        "minItems",
        "minimum",
        "multipleOf",
        "pattern",
        "properties",
        "required",
        "title",
        "type",
    }
)
_FORMATS: Final = frozenset(
    {"date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uuid"},
)
_LEVELS: Final = 10  # of nesting
_PROPERTIES: Final = 5000  # in all


def strict(schema: dict[str, Any]) -> bool:
    """Whether OpenAI takes `schema` in its strict mode as it stands.

    That is, as its guide to structured outputs has it: an object at the top, every object closed and each of its
    properties required, and no keyword but those it supports. A schema is never rewritten: one that is not taken so is
    sent without the mode, and the run checks what comes of it in either case.
    """
    if schema.get("type") != "object" or "anyOf" in schema:
        return False
    left = [_PROPERTIES]
    return _takes(schema, _LEVELS, left)


def _takes(schema: Any, levels: int, left: list[int]) -> bool:
    """Whether a schema within one is taken; `left` counts the properties that there may still be."""
    if not isinstance(schema, dict) or levels < 0 or not _is_supported(schema):
        return False
    kinds = schema.get("type", ())
    if ("object" in kinds or "properties" in schema) and not _is_closed(schema, left):
        return False
    if "array" in kinds and "items" not in schema:
        return False
    return all(_takes(inner, levels - 1, left) for inner in _inner(schema))


def _is_supported(schema: dict[str, Any]) -> bool:
    """Whether it has the keywords that it must have, and none but those that are known."""
    if "$ref" in schema:
        return schema.keys() <= {"$ref", "description", "title"}
    says_what = bool(schema.keys() & {"type", "anyOf", "enum", "const"})  # not a schema of anything
    return says_what and schema.keys() <= _KEYWORDS and schema.get("format", "date") in _FORMATS


def _is_closed(schema: dict[str, Any], left: list[int]) -> bool:
    properties, required = schema.get("properties", {}), schema.get("required", [])
    left[0] -= len(properties)
    return (
        left[0] >= 0
        and schema.get("additionalProperties") is False
        and isinstance(required, list)
        and len(required) == len(properties)
        and set(required) == set(properties)
    )


def _inner(schema: dict[str, Any]) -> list[Any]:
    named = [schema.get(key, {}) for key in ("properties", "$defs", "definitions")]
    found = [inner for group in named for inner in group.values()]
    found += schema.get("anyOf", [])
    if "items" in schema:
        found.append(schema["items"])
    return found
