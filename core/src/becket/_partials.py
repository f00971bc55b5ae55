"""Structured output while it is being written: what of it has come and is valid, at a cost that stays linear.

pydantic's partial mode leaves out what does not fit yet at the end of a list or a TypedDict; a model or a dataclass it
takes only whole. So the types are read here with each of those as a TypedDict in which nothing is required. Functions
of the type's own (validators, defaults) are not called on half an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from becket._values import clean_json
from becket.events import OutputPartial, TextDelta, ToolCallDelta

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import SchemaValidator

    from becket._values import JsonValue
    from becket.events import ModelEvent

__all__ = ["Partials", "partial_validator"]

_SHORT: Final = 256
_STEP: Final = 16
"""Up to so many characters the text is read at each delta; from there on, when what is above that has grown by one part
in so many. So at most some 17 times its length is read in all, and not half the square of it."""

_NUMBER: Final = "0123456789+-."
_EXPONENT: Final = "eE"

_FUNCTIONS: Final = ("function-after", "function-before", "function-wrap")

_INNER: Final = (
    "schema",
    "items_schema",
    "keys_schema",
    "values_schema",
    "lax_schema",
    "strict_schema",
    "json_schema",
    "python_schema",
    "choices",
    "steps",
    "definitions",
)
"""The keys of pydantic's core schemas under which further schemas stand, plain, in a list, or by name."""


class Partials:
    """The output of one model call while it comes.

    Args:
        validator: What `partial_validator` made.
        tool: The name of the output's tool; None where the output is the text.
        key: The key that the output is wrapped under, or None.
    """

    __slots__ = ("_call", "_due", "_fragments", "_key", "_last", "_length", "_tool", "_validator")

    def __init__(self, validator: SchemaValidator, *, tool: str | None, key: str | None) -> None:
        self._validator = validator
        self._tool = tool
        self._key = key
        self._call: str | None = None
        self._fragments: list[str] = []
        self._length = 0
        self._due = 0
        self._last: JsonValue = {}

    def take(self, event: ModelEvent) -> OutputPartial | None:
        """The event that says what has come, where `event` is a piece of the output and something new is valid."""
        fragment = self._piece(event)
        if not fragment:
            return None
        self._fragments.append(fragment)
        self._length += len(fragment)
        if self._length < self._due:
            return None
        self._due = self._length + max(0, self._length - _SHORT) // _STEP
        return self._read()

    def _piece(self, event: ModelEvent) -> str:
        if self._tool is None:
            return event.text if isinstance(event, TextDelta) else ""
        if not isinstance(event, ToolCallDelta) or event.tool != self._tool:
            return ""
        self._call = self._call or event.call_id
        return event.fragment if event.call_id == self._call else ""

    def _read(self) -> OutputPartial | None:
        from pydantic_core import to_jsonable_python

        text = "".join(self._fragments)
        self._fragments = [text]
        try:
            # Not `to_json_value`, which takes three times as long: what comes out of JSON is nearly JSON already.
            valid: Any = self._validator.validate_json(_settled(text), allow_partial="trailing-strings")
            value = clean_json(
                to_jsonable_python(valid if self._key is None else valid[self._key], inf_nan_mode="null")
            )
        except Exception:  # noqa: BLE001  it does not fit yet, whatever code of the type's own has to say
            return None
        if value == self._last:
            return None
        self._last = value
        return OutputPartial(value)


def _settled(text: str) -> str:
    """`text` without a number at its end, which may still grow; in a string, a few characters are then late."""
    rest = text.rstrip(_NUMBER + _EXPONENT)
    return text[: len(text) - len(text[len(rest) :].lstrip(_EXPONENT))]


def partial_validator(adapter: TypeAdapter[Any], key: str | None) -> SchemaValidator:
    """What validates half an output of this type, which may be wrapped under a key."""
    from pydantic_core import SchemaError, SchemaValidator

    schema: Any = adapter.core_schema
    try:
        return SchemaValidator(_wrapped(_loosened(schema), key))
    except (
        SchemaError,
        AttributeError,
        LookupError,
        TypeError,
    ):  # a schema of a later pydantic, which is then taken as it is
        return SchemaValidator(_wrapped(schema, key))


def _wrapped(schema: Any, key: str | None) -> Any:
    if key is None:
        return schema
    if schema["type"] == "definitions":
        return schema | {"schema": _wrapped(schema["schema"], key)}
    return _typed_dict({key: {"schema": schema}})


def _typed_dict(fields: dict[str, Any]) -> dict[str, Any]:
    typed = {name: one | {"type": "typed-dict-field", "required": False} for name, one in fields.items()}
    return {"type": "typed-dict", "fields": typed, "total": False}


def _loosened(schema: Any) -> Any:
    """A core schema, with models, dataclasses and TypedDicts as TypedDicts in which nothing is required."""
    kind = schema["type"]
    if kind in ("model", "dataclass", *_FUNCTIONS):
        loose = _loosened(schema["schema"])
        if "config" in schema and loose["type"] == "typed-dict":
            loose["config"] = {name: one for name, one in schema["config"].items() if name != "extra_fields_behavior"}
    elif kind in ("model-fields", "typed-dict"):
        loose = _typed_dict(dict(_field(name, one) for name, one in schema["fields"].items() if _is_told(one)))
    elif kind == "dataclass-args":
        loose = _typed_dict(dict(_field(one["name"], one) for one in schema["fields"] if _is_told(one)))
    else:
        return schema | {name: _each(schema[name]) for name in _INNER if name in schema}
    return loose | {"ref": schema["ref"]} if "ref" in schema else loose


def _each(inner: Any) -> Any:
    """What stands under one of the keys: a schema, schemas by name, or a list of them, each with a label or without."""
    if isinstance(inner, list):
        return [_each(one) for one in inner]
    if isinstance(inner, tuple):  # a choice, and its label
        return (_each(inner[0]), *inner[1:])
    return _loosened(inner) if isinstance(inner.get("type"), str) else {name: _each(one) for name, one in inner.items()}


def _is_told(field: Any) -> bool:
    """Whether the field is one that a model is asked for, and that the finished output shows."""
    return field.get("init", True) and not field.get("serialization_exclude", False)


def _field(name: str, field: Any) -> tuple[str, dict[str, Any]]:
    """A field under the name that it has in JSON, with no default: what has not come is not there."""
    schema = field["schema"]
    while schema["type"] in ("default", *_FUNCTIONS):
        schema = schema["schema"]
    shown = field.get("serialization_alias", name)
    return shown, {"schema": _loosened(schema), "validation_alias": field.get("validation_alias", name)}
