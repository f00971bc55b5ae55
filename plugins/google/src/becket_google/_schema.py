"""JSON schemas as Gemini takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["fitted", "takes_arguments"]

_NAMED: Final = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})
"""Keywords whose keys are names, and no keywords."""

_VALUES: Final = frozenset({"enum", "default", "examples", "required", "propertyOrdering", "type"})
"""Keywords whose values are data, and no schemas."""

_SUBSCHEMAS: Final = frozenset({"$ref", "anyOf", "oneOf", "allOf", "patternProperties"})
"""Keywords by which an object has properties that stand elsewhere."""


def fitted(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema with the same meaning that the service accepts.

    It takes full JSON schemas, reads a part of the keywords and ignores the others (the reference of
    `responseJsonSchema`, https://ai.google.dev/api/generate-content#generationconfig). Two things are changed: beside
    a `$ref` nothing may stand but what begins with `$`, and `const`, which is not read, is an `enum` of one.
    """
    if "$ref" in schema:
        return {key: _fitted(key, value) for key, value in schema.items() if key.startswith("$")}
    made = {key: _fitted(key, value) for key, value in schema.items() if key != "const"}
    if "const" in schema:
        made["enum"] = [schema["const"]]
    return made


def _fitted(key: str, value: Any) -> Any:
    if key in _VALUES:
        return value
    if isinstance(value, dict):
        return {name: _fitted("", item) for name, item in value.items()} if key in _NAMED else fitted(value)
    if isinstance(value, list):
        return [_fitted("", item) for item in value]
    return value


def takes_arguments(schema: Mapping[str, Any]) -> bool:
    """Whether a function with these parameters has any: the service wants the schema of one that has none left out."""
    return bool(schema.get("properties") or schema.get("additionalProperties")) or bool(_SUBSCHEMAS & schema.keys())
