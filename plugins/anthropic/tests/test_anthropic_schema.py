"""Schemas of structured output, with what Anthropic's own client makes of them as the judge."""

from __future__ import annotations

import copy
from datetime import date  # noqa: TC003  pydantic reads it
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from anthropic import transform_schema
from becket import Output
from becket_anthropic._schema import as_taken
from pydantic import BaseModel, Field


class Address(BaseModel):
    street: str
    number: Annotated[int, Field(ge=1, le=9999)]


class Person(BaseModel):
    """Somebody."""

    name: Annotated[str, Field(min_length=1, max_length=80, description="In full.")]
    born: date
    role: Literal["admin", "guest"]
    home: Address
    others: Annotated[list[Address], Field(min_length=1)]
    tags: Annotated[list[str], Field(min_length=2, max_length=5)]
    nickname: str | None = None
    score: float = 0.5
    kind: Literal["person"] = "person"
    mail: Annotated[str, Field(json_schema_extra={"format": "email"})]
    odd: Annotated[str, Field(json_schema_extra={"format": "isbn"})]


class Node(BaseModel):
    children: list[Node]


class Counts(BaseModel):
    by_word: dict[str, int]


class Anything(BaseModel):
    value: Any


class Pair(BaseModel):
    pair: tuple[int, str]


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: list[str]


class Pet(BaseModel):
    animal: Annotated[Cat | Dog, Field(discriminator="kind")]


TAKEN = [Address, Person, Pet, list[Address], Literal["a", "b"], int | None, bool]
NOT_TAKEN = [Node, Counts, Anything, Pair, dict[str, int]]


@pytest.mark.parametrize("of", TAKEN, ids=str)
def test_the_official_client_makes_the_same_of_it(of: Any) -> None:
    schema = Output(of).schema
    judged = transform_schema(copy.deepcopy(schema))
    made = as_taken(schema)
    assert made is not None
    assert _plain(made) == _plain(judged)


@pytest.mark.parametrize("of", TAKEN, ids=str)
def test_what_is_made_is_a_schema(of: Any) -> None:
    jsonschema.Draft202012Validator.check_schema(as_taken(Output(of).schema))


@pytest.mark.parametrize("of", NOT_TAKEN, ids=str)
def test_what_the_service_has_no_form_for_is_not_sent(of: Any) -> None:
    assert as_taken(Output(of).schema) is None


@pytest.mark.parametrize("of", TAKEN + NOT_TAKEN, ids=str)
def test_the_hosts_schema_is_left_as_it_is(of: Any) -> None:
    schema = Output(of).schema
    before = copy.deepcopy(schema)
    as_taken(schema)
    assert schema == before


@pytest.mark.parametrize(
    "inner",
    [
        True,
        {"const": [1]},
        {"enum": [{"a": 1}]},
        {"type": ["string", "null"]},
        {"$ref": "#/$defs/Nobody"},
        {"type": "array"},
    ],
    ids=str,
)
def test_schemas_of_a_host_that_have_no_form_are_not_sent(inner: Any) -> None:
    assert as_taken({"type": "object", "properties": {"x": inner}}) is None


def test_limits_are_said_to_the_model() -> None:
    made = as_taken(Output(Address).schema)
    assert made is not None
    assert made["properties"]["number"] == {"type": "integer", "description": "{maximum: 9999, minimum: 1}"}


def _plain(schema: Any) -> Any:
    """A schema without what does not count: descriptions, titles, and the discriminator that it is said in."""
    if isinstance(schema, dict):
        return {key: _plain(one) for key, one in schema.items() if key not in ("description", "title")}
    return [_plain(one) for one in schema] if isinstance(schema, list) else schema
