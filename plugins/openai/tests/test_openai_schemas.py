"""Which schemas OpenAI can hold a model to, and what is made of those that it can."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from becket import tool
from becket_openai._ids import legal_id, legal_name
from becket_openai._schemas import strict, strict_form
from hypothesis import given
from hypothesis import strategies as st
from openai.lib._pydantic import to_strict_json_schema
from pydantic import BaseModel, Field, TypeAdapter


class Inner(BaseModel):
    """A part."""

    name: str
    size: Annotated[int, Field(ge=0)] | None


class Outer(BaseModel):
    kind: Literal["a", "b"]
    parts: list[Inner]
    best: Inner
    score: float = Field(description="From 0.")


class WithDefault(BaseModel):
    name: str = "x"


class WithMap(BaseModel):
    sizes: dict[str, int]


class WithLength(BaseModel):
    name: Annotated[str, Field(max_length=3)]


class Tagged(BaseModel):
    part: Annotated[Inner, Field(description="Its part.")]


def schema_of(model: Any) -> dict[str, Any]:
    return TypeAdapter(model).json_schema()


def untitled(schema: Any) -> Any:
    """Without the titles, which mean nothing."""
    if isinstance(schema, dict):
        return {key: untitled(value) for key, value in schema.items() if key != "title" or isinstance(value, dict)}
    return [untitled(one) for one in schema] if isinstance(schema, list) else schema


@pytest.mark.parametrize("model", [Inner, Outer])
def test_a_model_is_closed_as_the_official_client_closes_it(model: type[BaseModel]) -> None:
    """Where its meaning stays: the two then send the same."""
    assert not strict(schema_of(model))
    assert strict_form(schema_of(model)) == to_strict_json_schema(model)


@pytest.mark.parametrize(
    "model", [WithDefault, WithMap, WithLength, Tagged, list[Inner], dict[str, Any], Inner | Outer]
)
def test_what_would_change_its_meaning_is_left_alone(model: Any) -> None:
    """A default, a map, a limit that the service does not know, what is no object: all go without the strict mode."""
    assert strict_form(schema_of(model)) is None


def test_a_schema_is_not_changed_where_it_stands() -> None:
    schema = schema_of(Outer)
    before = repr(schema)
    strict_form(schema)
    assert repr(schema) == before


def test_a_tool_that_takes_all_its_parameters_is_held_to_them() -> None:
    @tool
    def add(a: int, b: list[str]) -> int:
        """Add."""
        return a

    @tool
    def more(a: int, b: int = 3) -> int:
        """Add more."""
        return a + b

    assert strict_form(add.spec.schema) == add.spec.schema
    assert strict_form(more.spec.schema) is None


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False},
        {"type": "object", "properties": {"a": True}, "required": ["a"], "additionalProperties": False},
        {"type": "object", "properties": {"a": {"type": "array"}}, "required": ["a"], "additionalProperties": False},
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": [], "additionalProperties": False},
        {"type": "object", "properties": {}, "additionalProperties": False, "anyOf": []},
        {"type": "object", "properties": {}, "additionalProperties": False, "patternProperties": {}},
        {
            "type": "object",
            "properties": {"a": {"type": "string", "format": "uri"}},
            "required": ["a"],
            "additionalProperties": False,
        },
    ],
)
def test_what_the_strict_mode_refuses_is_known(schema: dict[str, Any]) -> None:
    assert not strict(schema)


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"], "additionalProperties": False}
    return schema


def test_a_schema_that_is_nested_too_deeply_is_not_taken() -> None:
    assert strict(nested(10))
    assert not strict(nested(11))


@given(st.text(min_size=1), st.text(min_size=1), st.sampled_from([40, 64]))
def test_ids_of_calls_fit_and_stay_apart(one: str, other: str, most: int) -> None:
    """A call and its result are paired by them."""
    made = legal_id(one, most=most)
    assert 0 < len(made) <= most
    assert made.isascii()
    assert made.isprintable()
    assert made == legal_id(made, most=most)
    assert (made == legal_id(other, most=most)) is (one == other)


@pytest.mark.parametrize("call_id", ["call_DdmO9pD3xa9XTPNJ32zg2hcA", "functions.search:0", "9char-idx"])
def test_an_id_that_fits_is_left_as_it_is(call_id: str) -> None:
    assert legal_id(call_id) == call_id


@given(st.text())
def test_names_of_tools_fit(name: str) -> None:
    """A model may have called what there never was."""
    made = legal_name(name)
    assert 0 < len(made) <= 64
    assert made.replace("_", "a").replace("-", "a").isalnum()
    assert made.isascii()
