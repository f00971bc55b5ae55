"""Structured output while it comes: what is shown of it, what is not yet, and what that costs."""

from __future__ import annotations

import dataclasses
import datetime as dt  # noqa: TC003  pydantic resolves the annotation
import itertools
import json
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from becket import (
    Agent,
    ModelFinished,
    Output,
    OutputPartial,
    ReasoningDelta,
    Runtime,
    TextDelta,
    ToolCallDelta,
    event_from_json,
)
from becket._partials import partial_validator
from becket.testing import ScriptedProvider
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, Field, RootModel, Tag, field_validator, model_validator
from typing_extensions import TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable

called: list[object] = []


class Pet(BaseModel, extra="forbid"):
    kind: Literal["cat", "dog"]
    born: dt.date | None = None


class Person(BaseModel):
    name: str = Field(alias="fullName")
    age: int = 3
    tags: list[str] = Field(default_factory=list)
    pet: Pet | None = None
    friends: list[Person] = []
    secret: str = Field(default="", exclude=True)

    @field_validator("name")
    @classmethod
    def spy(cls, name: str) -> str:
        called.append(name)
        return name

    @model_validator(mode="after")
    def spy_too(self) -> Person:
        called.append(self)
        return self


@dataclasses.dataclass
class Point:
    x: int
    names: tuple[str, ...]
    made: int = dataclasses.field(default=0, init=False)


class Row(TypedDict):
    id: int
    label: str


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    barks: bool


def shown(of: Any, text: str, *, step: int = 1) -> list[Any]:
    """What is shown of an output while it comes in pieces of `step` characters."""
    partials = Output(of).partials(None)
    events = [partials.take(TextDelta(text[at : at + step])) for at in range(0, len(text), step)]
    return [event.value for event in events if event is not None]


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def test_a_model_is_shown_field_by_field() -> None:
    """Under the names that the finished output has. What has not come has no default yet."""
    told = {"fullName": "Ada", "age": 36, "tags": ["a", "b"], "pet": {"kind": "cat"}, "secret": "x"}
    seen = shown(Person, compact(told))
    assert seen[0] == {"fullName": ""}
    assert {"fullName": "Ad"} in seen
    assert {"fullName": "Ada", "age": 36, "tags": ["a"]} in seen
    assert seen[-1] == {name: told[name] for name in told if name != "secret"}
    assert [list(value) for value in seen] == sorted([list(value) for value in seen], key=len)


def test_no_function_of_the_type_is_called_on_half_an_answer() -> None:
    called.clear()
    assert shown(Person, compact({"fullName": "Ada", "friends": [{"fullName": "Bob"}]}))
    assert called == []


def test_a_number_is_shown_once_it_is_whole() -> None:
    assert shown(Point, '{"x": 1234, "names": []}') == [{"x": 1234}, {"x": 1234, "names": []}]
    assert shown(int, '{"value": -12}') == [-12]
    assert shown(float, '{"value": 1.5e-3}') == [0.0015]


def test_a_string_is_shown_as_it_grows() -> None:
    seen = shown(str, '{"value": "a2\\ud83d\\ude00 e3"}')
    assert seen == ["", "a", "a2", "a2😀 ", "a2😀 e", "a2😀 e3"]


def test_a_number_that_json_has_not_is_shown_as_null() -> None:
    """Pydantic reads NaN; an event that held one could not be read back. At its end, such an output does not fit."""
    assert shown(list[float], '{"value": [NaN, 1]}') == [[], [None], [None, 1.0]]


def test_what_does_not_fit_is_not_shown() -> None:
    assert shown(Person, '{"fullName": 3}') == []
    assert shown(Pet, '{"kind": "cow", "born": "2020-01-02"}') == []
    assert shown(Pet, '{"kind": "cat", "born": "2020-01-02"}') == [
        {"kind": "cat"},
        {"kind": "cat", "born": "2020-01-02"},
    ]
    assert shown(Person, "Let me see: { that is no JSON") == []
    assert shown(Any, '{"value": ' + "[" * 300)[-1] == json.loads("[" * 100 + "]" * 100)


def test_an_output_that_is_wrapped_is_shown_without_its_wrapping() -> None:
    assert shown(list[Row], '{"value": [{"id": 1, "label": "a"}, {"id": 2}]}', step=4)[-1] == [
        {"id": 1, "label": "a"},
        {"id": 2},
    ]
    assert shown(Cat | Dog, '{"value": {"kind": "dog", "barks": true}}')[-1] == {"kind": "dog", "barks": True}
    labelled = Annotated[Cat, Tag("a cat")] | Annotated[Dog, Tag("a dog")]
    assert shown(labelled, '{"value": {"kind": "dog", "barks": true}}')[-1] == {"kind": "dog", "barks": True}
    tagged = Annotated[Cat | Dog, Field(discriminator="kind")]
    assert shown(tagged, '{"value": {"kind": "cat", "lives": 9}}')[-1] == {"kind": "cat", "lives": 9}
    assert shown(RootModel[list[int]], '{"value": [1, 2]}')[-1] == [1, 2]
    assert shown(list[Person], '{"value": [{"fullName": "A", "friends": [{"fullName": "B"}]}]}')[-1] == [
        {"fullName": "A", "friends": [{"fullName": "B"}]}
    ]
    checked = Annotated[list[int], AfterValidator(called.append)]
    assert shown(checked, '{"value": [1, 2]}')[-1] == [1, 2]


def test_the_same_is_not_shown_twice() -> None:
    seen = shown(dict[str, int], '{   "a":     1 ,          "b": 2   }')
    assert seen == [{"a": 1}, {"a": 1, "b": 2}]


def test_a_schema_that_cannot_be_loosened_is_taken_as_it_is() -> None:
    """A later pydantic may keep something else under a key that holds schemas today."""
    later: Any = SimpleNamespace(core_schema={"type": "list", "items_schema": {"type": "int"}, "steps": 3})
    assert partial_validator(later, None).validate_json("[1, 2]") == [1, 2]


JSON_TEXT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


def is_prefix(part: Any, whole: Any) -> bool:
    """Whether `part` is `whole` with the end cut off, at each level."""
    if isinstance(part, str) and isinstance(whole, str):
        return whole.startswith(part)
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) <= len(whole) and all(map(is_prefix, part, whole))
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(name in whole and is_prefix(one, whole[name]) for name, one in part.items())
    return bool(part == whole)


@settings(deadline=None)
@given(JSON_TEXT, st.integers(1, 9))
def test_what_is_shown_is_always_the_beginning_of_what_comes(value: Any, step: int) -> None:
    seen = shown(Any, compact({"value": value}), step=step)
    assert all(is_prefix(part, value) for part in seen)
    assert all(is_prefix(part, later) for part, later in itertools.pairwise(seen))


# -- in a run ----------------------------------------------------------------------------------------------------------


def pieces(text: str, *, step: int, tool: str | None = None) -> Iterable[Any]:
    parts = [text[at : at + step] for at in range(0, len(text), step)]
    return [TextDelta(part) if tool is None else ToolCallDelta("a", tool, part) for part in parts]


@pytest.mark.anyio
@pytest.mark.parametrize("schema", [False, True], ids=["tool", "schema"])
async def test_a_run_says_what_has_come_after_the_delta_that_brought_it(*, schema: bool) -> None:
    told = compact({"x": 1, "names": ["ab", "cd"]})
    script = [
        ReasoningDelta("hm"),
        *pieces(told, step=4, tool=None if schema else "final_output"),
        ModelFinished("end_turn"),
    ]
    agent = Agent(ScriptedProvider(script, schema=schema), output=Point, runtime=Runtime(discover=False))
    events = [event async for event in agent.stream_async("go")]
    partial = [event for event in events if isinstance(event, OutputPartial)]
    assert [event.value for event in partial] == shown(Point, told, step=4)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert all(event_from_json(event.to_json()) == event for event in partial)
    assert all(event["structured_output_partial"] == event.value for event in partial)
    before = [events[event.seq - 2].type for event in partial]
    assert set(before) == {"text_delta" if schema else "tool_call_delta"}
    assert {event.cycle for event in partial} == {1}


@pytest.mark.anyio
async def test_only_the_output_is_shown_and_not_what_stands_beside_it() -> None:
    script = [
        TextDelta('{"x": 1}'),
        ToolCallDelta("a", "other", '{"x": 2}', 1),
        ToolCallDelta("b", "final_output", '{"x": 3, "names": []}', 2),
        ToolCallDelta("c", "final_output", '{"x": 4}', 3),
        ModelFinished("tool_use"),
    ]
    agent = Agent(ScriptedProvider(script), output=Output(Point, repairs=0), runtime=Runtime(discover=False))
    events = [event async for event in agent.stream_async("go")]
    assert [event.value for event in events if isinstance(event, OutputPartial)][:1] == [{"x": 3, "names": []}]
    assert {event["structured_output_partial"]["x"] for event in events if isinstance(event, OutputPartial)} == {3}


@pytest.mark.anyio
async def test_without_output_nothing_is_shown() -> None:
    agent = Agent(
        ScriptedProvider([TextDelta('{"x": 1}'), ModelFinished("end_turn")], schema=True),
        runtime=Runtime(discover=False),
    )
    assert not [event async for event in agent.stream_async("go") if isinstance(event, OutputPartial)]


@pytest.mark.anyio
async def test_a_reader_that_is_behind_holds_the_model_up_at_partials_too() -> None:
    """More events than the buffer holds, two for a delta: none is lost."""
    told = compact({"value": "x" * 2_000})
    provider = ScriptedProvider([*pieces(told, step=1), ModelFinished("end_turn")], schema=True)
    agent = Agent(provider, output=str, runtime=Runtime(discover=False))
    events = [event async for event in agent.stream_async("go")]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["result"].output == "x" * 2_000


# -- cost --------------------------------------------------------------------------------------------------------------


def cost(items: int) -> float:
    """CPU seconds of this thread to read an output of so many rows in small pieces, the better of two."""
    text = compact({"value": [{"id": number, "label": f"row {number}"} for number in range(items)]})
    costs = []
    for _ in range(2):
        began = time.thread_time()
        shown(list[Row], text, step=4)
        costs.append(time.thread_time() - began)
    return min(costs)


def test_ten_times_the_output_costs_ten_times_as_much() -> None:
    """Reading all that has come at each delta would make it a hundred times."""
    cost(10)
    assert cost(4_000) < 30 * cost(400)
