"""Which JSON schemas the service can hold a model to."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["strict", "strict_form"]

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
_NAMED: Final = ("properties", "$defs", "definitions")  # whose values are schemas by name
_WITHIN: Final = ("items", "anyOf")  # whose values are a schema, or a list of them
_LEVELS: Final = 10  # of nesting
_PROPERTIES: Final = 5000  # in all


def strict_form(schema: dict[str, Any]) -> dict[str, Any] | None:
    """`schema` as OpenAI takes it in its strict mode, or None where it would change its meaning.

    That mode wants every object closed, and pydantic's models leave theirs open though they drop what they do not know.
    So an object that says nothing of further properties is closed; nothing else is rewritten. What is not taken then is
    sent without the mode, and the run checks what comes of it in either case.
    """
    closed: dict[str, Any] = _closed(schema)
    return closed if strict(closed) else None


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {
        key: {name: _closed(inner) for name, inner in value.items()}
        if key in _NAMED and isinstance(value, dict)
        else _closed(value)
        if key in _WITHIN
        else value
        for key, value in schema.items()
    }
    if schema.get("type") == "object" and "properties" in schema:
        closed.setdefault("additionalProperties", False)
    return closed


def strict(schema: dict[str, Any]) -> bool:
    """Whether OpenAI takes `schema` in its strict mode as it stands.

    That is, as its guide to structured outputs has it: an object at the top, every object closed and each of its
    properties required, and no keyword but those it supports.
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
        return len(schema) == 1
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
    named = [schema.get(key, {}) for key in _NAMED]
    found = [inner for group in named for inner in group.values()]
    found += schema.get("anyOf", [])
    if "items" in schema:
        found.append(schema["items"])
    return found
