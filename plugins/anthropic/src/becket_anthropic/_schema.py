"""JSON schemas of structured output as the service takes them: a part of JSON Schema, compiled into a grammar.

https://platform.claude.com/docs/en/build-with-claude/structured-outputs says which part. What it leaves out and a
description can say (a least length, a pattern) is said in the description, for the model to heed; becket validates the
answer in any case. What changes the form (an object with any keys, a schema that holds itself) cannot be said.
"""

from __future__ import annotations

from typing import Any, Final

from becket_wire import dumps

__all__ = ["as_taken", "told"]

_FORMATS: Final = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
_TYPES: Final = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
_ASIDE: Final = frozenset({"$defs", "discriminator"})
_FEW: Final = 1
"""`minItems` is taken up to so many."""


class _MissingError(Exception):
    """The service's schemas have no form for it."""


def as_taken(schema: dict[str, Any]) -> dict[str, Any] | None:
    """`schema` in the part of JSON Schema that the service takes; None where that has no form for it."""
    defined: dict[str, Any] = schema.get("$defs", {})
    try:
        _check_ends(schema, defined, ())
        made = _converted(schema)
        if defined:
            made = {"$defs": {name: _converted(one) for name, one in defined.items()}, **made}
    except _MissingError:
        return None
    return made


def told(schema: dict[str, Any]) -> str:
    """What asks for an answer by a schema that the service does not take."""
    return (
        "Answer with nothing but a JSON object, without a fence around it, that fits this JSON schema:\n"
        f"{dumps(schema).decode()}"
    )


def _converted(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, dict):  # True takes anything
        raise _MissingError
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}
    rest = {key: value for key, value in schema.items() if key not in _ASIDE}
    made = _form(rest)
    for key in ("description", "title"):
        if key in rest:
            made[key] = rest.pop(key)
    if rest:
        also = ", ".join(f"{key}: {value}" for key, value in rest.items())
        made["description"] = f"{made['description']}\n\n{{{also}}}" if "description" in made else f"{{{also}}}"
    return made


def _form(rest: dict[str, Any]) -> dict[str, Any]:
    """What makes the form of a schema, taken out of `rest`."""
    made: dict[str, Any] = {}
    if "enum" in rest or "const" in rest:
        rest.pop("type", None)
        for key in ("enum", "const"):
            if key in rest:
                made[key] = rest.pop(key)
        if any(isinstance(one, list | dict) for one in (*made.get("enum", ()), made.get("const"))):
            raise _MissingError
        return made
    variants = rest.pop("anyOf", None) or rest.pop("oneOf", None)
    if variants is not None:
        rest.pop("type", None)
        return {"anyOf": [_converted(one) for one in variants]}
    kind = rest.pop("type", None)
    if not isinstance(kind, str) or kind not in _TYPES:  # there may be several, or none
        raise _MissingError
    made["type"] = kind
    if kind == "object":
        made |= _object(rest)
    elif kind == "array":
        made |= _array(rest)
    elif kind == "string" and rest.get("format") in _FORMATS:
        made["format"] = rest.pop("format")
    return made


def _object(rest: dict[str, Any]) -> dict[str, Any]:
    properties = rest.pop("properties", None)
    if properties is None or rest.pop("additionalProperties", False) or "patternProperties" in rest:
        raise _MissingError
    made: dict[str, Any] = {
        "properties": {name: _converted(one) for name, one in properties.items()},
        "additionalProperties": False,
    }
    if "required" in rest:
        made["required"] = rest.pop("required")
    return made


def _array(rest: dict[str, Any]) -> dict[str, Any]:
    if "items" not in rest or "prefixItems" in rest:
        raise _MissingError
    made: dict[str, Any] = {"items": _converted(rest.pop("items"))}
    if rest.get("minItems", _FEW + 1) <= _FEW:
        made["minItems"] = rest.pop("minItems")
    return made


def _check_ends(schema: Any, defined: dict[str, Any], within: tuple[str, ...]) -> None:
    """Refuse a schema that comes to itself again.

    Raises:
        _MissingError: It does, or refers to what is not there.
    """
    if isinstance(schema, list):
        for one in schema:
            _check_ends(one, defined, within)
        return
    if not isinstance(schema, dict):
        return
    if "$ref" in schema:
        name = str(schema["$ref"]).removeprefix("#/$defs/")
        if name in within or name not in defined:
            raise _MissingError
        _check_ends(defined[name], defined, (*within, name))
    for key, one in schema.items():
        if key != "$defs":
            _check_ends(one, defined, within)
