from __future__ import annotations

import json
from typing import Any

import pytest
from becket import ToolSpec
from becket_local.schema import simplified, tools_json


def test_a_tool_has_its_name_description_and_parameters() -> None:
    assert json.loads(tools_json([ToolSpec("f", "Do.", {"type": "object", "properties": {}})])) == [
        {"name": "f", "description": "Do.", "parameters": {"type": "object", "properties": {}}}
    ]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "title": "X", "default": None}, {"type": "string"}),
        ({"type": "object", "additionalProperties": False}, {"type": "object"}),
        (
            {"type": "object", "additionalProperties": {"type": "string", "title": "V"}},
            {"type": "object", "additionalProperties": {"type": "string"}},
        ),
        (
            {"anyOf": [{"type": "integer", "title": "I"}, {"type": "null"}], "description": "how many"},
            {"type": "integer", "description": "how many"},
        ),
        (
            {"anyOf": [{"type": "integer", "title": "I"}, {"type": "string"}]},
            {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        ),
        ({"type": "array", "items": {"type": "string", "title": "S"}}, {"type": "array", "items": {"type": "string"}}),
        ({"$ref": "#/$defs/P", "$defs": {"P": {"title": "P"}}}, {"$ref": "#/$defs/P", "$defs": {"P": {}}}),
        ({"enum": ["title", "default"], "title": "E"}, {"enum": ["title", "default"]}),
        ({"items": True}, {"items": True}),
    ],
)
def test_what_only_a_validator_needs_is_left_out(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    assert simplified(schema) == expected


def test_a_parameter_called_title_stays() -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string", "title": "Title"}}}
    assert simplified(schema) == {"type": "object", "properties": {"title": {"type": "string"}}}


def test_the_callers_schema_is_not_changed() -> None:
    schema: dict[str, Any] = {"properties": {"x": {"anyOf": [{"type": "integer"}, {"type": "null"}], "title": "X"}}}
    before = json.dumps(schema)
    simplified(schema)
    assert json.dumps(schema) == before
