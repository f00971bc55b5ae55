"""Structured output: every mode and kind of type, beside tools, asked for again, given up, and cut short."""

from __future__ import annotations

import dataclasses
import datetime as dt
import pickle
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import anyio
import pytest
from becket import (
    Agent,
    AgentResult,
    AgentStream,
    BecketError,
    ConfigError,
    Limits,
    Message,
    ModelFinished,
    ModelOptions,
    Output,
    OutputError,
    OutputPartial,
    RunFailed,
    RunFinished,
    Runtime,
    SchemaProvider,
    Text,
    TextDelta,
    ToolCallDelta,
    ToolResult,
    Usage,
    event_from_json,
    tool,
)
from becket._values import adapter
from becket.content import to_messages
from becket.testing import ScriptedProvider, calls, text
from pydantic import BaseModel, Field, RootModel, field_serializer, field_validator
from typing_extensions import TypedDict

if TYPE_CHECKING:
    from becket import Event
    from becket.testing import Script
    from becket.tools import AnyTool

pytestmark = pytest.mark.anyio


class Person(BaseModel):
    """A person of the story."""

    name: str
    age: int = Field(ge=0, description="In years.")


class Node(BaseModel):
    label: str
    inner: list[Node] = []


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    barks: bool


class Renamed(BaseModel):
    full_name: str = Field(alias="fullName")


class Strict(BaseModel, strict=True):
    day: dt.date


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Row(TypedDict):
    id: int
    label: str


@tool(effect="none")
def look(at: str) -> str:
    """Look at something."""
    return f"{at} is red"


@tool(effect="none")
def fail() -> str:
    """Fail."""
    raise ValueError("no")


GIVEN: dict[str, Any] = {"name": "Ada", "age": 36}
ADA = Person(name="Ada", age=36)


def make(*scripts: Script, tools: tuple[AnyTool, ...] = (), schema: bool = False, **options: Any) -> Agent:
    return Agent(ScriptedProvider(*scripts, schema=schema), tools, runtime=Runtime(discover=False), **options)


def gives(value: Any, name: str = "final_output") -> Script:
    """The script of an answer that gives `value` as the output, by the tool."""
    return calls((name, value))


async def drained(stream: AgentStream[Any]) -> tuple[list[Event], Exception | None]:
    """The events of a run, and what it raised at its end."""
    events: list[Event] = []
    try:
        async for event in stream:
            assert event_from_json(event.to_json()) == event
            events.append(event)
    except BecketError as error:
        return events, error
    return events, None


def history(events: list[Event]) -> list[Message]:
    """The messages that the run added, after checking that they are a prompt again: each call has its one result."""
    added = [event.message for event in events if event.type == "message_added"]
    to_messages([Message("user", (Text("go"),)), *added])
    return added


def results(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.result.status, event.result.text) for event in events if event.type == "tool_finished"]


def result_of(events: list[Event]) -> AgentResult[Any]:
    assert isinstance(events[-1], RunFinished)
    return events[-1].result


# -- types -------------------------------------------------------------------------------------------------------------

TYPES: list[Any] = [
    (Person, GIVEN, ADA),
    (Point, {"x": 1}, Point(1)),
    (Row, {"id": 1, "label": "a"}, {"id": 1, "label": "a"}),
    (Node, {"label": "a", "inner": [{"label": "b"}]}, Node(label="a", inner=[Node(label="b")])),
    (dict[str, int], {"a": 1}, {"a": 1}),
    (Cat | Dog, {"value": {"kind": "dog", "barks": True}}, Dog(kind="dog", barks=True)),
    (
        Annotated[Cat | Dog, Field(discriminator="kind")],
        {"value": {"kind": "cat", "lives": 9}},
        Cat(kind="cat", lives=9),
    ),
    (list[Person], {"value": [GIVEN]}, [ADA]),
    (RootModel[list[int]], {"value": [1, 2]}, RootModel[list[int]]([1, 2])),
    (int, {"value": 42}, 42),
    (str, {"value": "Paris"}, "Paris"),
    (Literal["red", "green"], {"value": "red"}, "red"),
    (Optional[Person], {"value": None}, None),  # noqa: UP045  as users write it too
    (Person | None, {"value": GIVEN}, ADA),
    (tuple[int, str], {"value": [1, "a"]}, (1, "a")),
    (Strict, {"day": "2026-01-02"}, Strict(day=dt.date(2026, 1, 2))),
    (Annotated[int, {"any": "thing"}], {"value": 3}, 3),
]


@pytest.mark.parametrize("schema", [False, True], ids=["tool", "schema"])
@pytest.mark.parametrize(("of", "told", "value"), TYPES, ids=[str(of) for of, _, _ in TYPES])
async def test_every_kind_of_type_is_asked_for_and_validated(of: Any, told: Any, value: Any, *, schema: bool) -> None:
    """A service wants an object at the top: what is none is wrapped in one, and taken out of it again."""
    provider = ScriptedProvider(text(adapter(Any).dump_json(told).decode()) if schema else gives(told), schema=schema)
    stream = Agent(provider, output=of, runtime=Runtime(discover=False)).stream_async("go")
    events, _ = await drained(stream)
    assert stream.output == value
    assert type(stream.output) is type(value)
    asked = provider.requests[0].output
    assert asked is not None
    assert asked.schema["type"] == "object"
    assert asked.mode == ("schema" if schema else "tool")
    assert [spec.name for spec in provider.requests[0].tools] == ([] if schema else ["final_output"])
    result = result_of(events)
    assert Output(of).validate(result.output) == value
    assert result.stop_reason == "end_turn"
    history(events)


async def test_a_result_that_is_awaited_holds_the_python_value() -> None:
    """And an event the same as JSON; it has the defaults filled in, and is written by alias."""
    result = await make(gives(GIVEN), output=Person).invoke_async("go")
    assert result.output.name == "Ada"
    assert pickle.loads(pickle.dumps(result)) == result  # noqa: S301  our own
    assert b'"output":{"name":"Ada","age":36}' in adapter(AgentResult).dump_json(result)
    events, _ = await drained(make(gives({"x": 1})).stream_async("go", output=Point))
    assert result_of(events).output == {"x": 1, "y": 0}
    events, _ = await drained(make(gives({"fullName": "Ada"})).stream_async("go", output=Renamed))
    assert result_of(events).output == {"fullName": "Ada"}


def test_a_sync_call_gives_it_too() -> None:
    runtime = Runtime(discover=False)
    result = Agent(ScriptedProvider(gives(GIVEN)), runtime=runtime)("go", output=Person)
    assert result.output == ADA
    runtime.close()


async def test_the_output_of_a_run_stands_over_that_of_the_agent() -> None:
    agent = make(gives({"x": 1}), output=Person)
    assert (await agent.invoke_async("go", output=Point)).output == Point(1)
    assert (await agent.replace(output=None).invoke_async("go")).output is None


async def test_a_stream_has_no_output_before_its_end() -> None:
    async with make(gives(GIVEN), output=Person).stream_async("go") as stream:
        seen = [(event.type, stream.output) async for event in stream if event.type in ("run_started", "run_finished")]
    assert seen[-1] == ("run_finished", ADA)
    assert make(text("hi"), output=Person).stream_async("go").output is None


def test_the_schema_has_what_a_model_needs_and_no_titles_of_fields() -> None:
    assert Output(Person).schema == {
        "type": "object",
        "description": "A person of the story.",
        "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer", "minimum": 0, "description": "In years."},
        },
        "required": ["name", "age"],
    }
    schema: Any = Output(list[Node]).schema
    assert schema["properties"] == {"value": {"type": "array", "items": {"$ref": "#/$defs/Node"}}}
    assert (schema["required"], schema["additionalProperties"]) == (["value"], False)
    assert "Node" in schema["$defs"]
    own: Any = Output(Node).schema
    assert set(own) == {"type", "properties", "required", "$defs"}, "a type that holds itself is not behind a reference"


class NoSchema:
    pass


@pytest.mark.parametrize(
    ("of", "why"),
    [
        (Iterable[int], r"cannot be read from JSON \(an iterator is used up once it is read; use a list\)"),
        (NoSchema, "output is NoSchema, which cannot be read from JSON"),
        (Callable[[int], int], "cannot be read from JSON"),
        (ADA, "cannot be read from JSON"),
        (list["Missing"], "cannot be read from JSON"),  # type: ignore[name-defined]  # noqa: F821  that is the test
        ("Person", "output is 'Person'; it takes a type"),
        ({"type": "object"}, "output is {'type': 'object'}; it takes a type"),
    ],
)
async def test_a_type_without_a_schema_is_refused_at_once(of: Any, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        make(text("hi"), output=of)
    with pytest.raises(ConfigError, match=why):
        make(text("hi")).stream_async("go", output=of)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"mode": "xml"}, "the mode of an output is 'xml'; it must be 'schema', 'tool', or None"),
        ({"repairs": -1}, "repairs of an output is -1; it must be 0 or above"),
        ({"repairs": "1"}, "repairs of an output is '1'"),
        ({"name": "final output"}, "'final output' is no name for an output"),
        ({"name": ""}, "'' is no name for an output"),
        ({"name": "x" * 65}, "is no name for an output"),
    ],
)
def test_an_option_that_is_none_is_refused(options: Any, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Output(Person, **options)


def test_an_output_shows_its_type() -> None:
    assert repr(Output(Person)) == "<output Person>"
    assert repr(Output(list[int])) == "<output list[int]>"


class OneWay(BaseModel, extra="forbid"):
    full_name: str = Field(validation_alias="fullName")


async def test_what_is_read_by_another_name_than_it_is_written_by_is_read_back() -> None:
    events, _ = await drained(make(gives({"fullName": "Ada"}), output=OneWay).stream_async("go"))
    assert result_of(events).output == {"full_name": "Ada"}
    assert Output(OneWay).validate({"full_name": "Ada"}) == Output(OneWay).validate({"fullName": "Ada"})


class Left(BaseModel):
    x: int


class Right(BaseModel):
    x: int


def test_of_a_union_the_first_that_fits_is_taken_whatever_was_asked_for_before() -> None:
    """Although Python takes `A | B` and `B | A` for the same."""
    for of, first in ((Left | Right, Left), (Right | Left, Right)):
        assert type(Output(of).validate({"x": 1})) is first


def test_the_json_of_an_event_is_validated_anew_by_who_reads_it() -> None:
    assert Output(list[int]).validate([1, "2"]) == [1, 2]
    with pytest.raises(ValueError, match=r"^1: Input should be a valid integer"):
        Output(list[int]).validate([1, "b"])
    with pytest.raises(ValueError, match=r"^the whole: Input should be a valid integer"):
        Output(int).validate("b")


# -- how a model is asked ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tools", "choice", "becomes"),
    [
        ((), "auto", "any"),
        ((), "none", "final_output"),
        ((look,), "auto", "auto"),
        ((look,), "any", "any"),
        ((look,), "none", "final_output"),
        ((look,), "look", "look"),
    ],
)
async def test_the_tool_of_the_output_can_be_called_whatever_the_host_chose(
    tools: tuple[AnyTool, ...], choice: str, becomes: str
) -> None:
    provider = ScriptedProvider(gives(GIVEN))
    options = ModelOptions(tool_choice=choice, temperature=0.0)
    agent = Agent(provider, tools, options=options, output=Person, runtime=Runtime(discover=False))
    await agent.invoke_async("go")
    (request,) = provider.requests
    assert (request.options.tool_choice, request.options.temperature) == (becomes, 0.0)
    assert [spec.name for spec in request.tools] == [*(one.name for one in tools), "final_output"]


async def test_beside_other_tools_the_system_prompt_says_how_to_end() -> None:
    how = "When you have what you need, give your final answer by calling the tool final_output, not as text."
    for own, said in (("", how), ("Be brief.", f"Be brief.\n\n{how}")):
        provider = ScriptedProvider(gives(GIVEN))
        agent = Agent(provider, [look], system_prompt=own, output=Person, runtime=Runtime(discover=False))
        await agent.invoke_async("go")
        assert provider.requests[0].system == said
    provider = ScriptedProvider(gives(GIVEN))
    await Agent(provider, output=Person, runtime=Runtime(discover=False)).invoke_async("go")
    assert provider.requests[0].system == ""


async def test_the_model_is_told_what_the_output_is() -> None:
    provider = ScriptedProvider(gives(GIVEN))
    agent = Agent(provider, runtime=Runtime(discover=False))
    outputs = [Output(Person), Output(Person, description="Whom it is about."), Output(Person, description="")]
    for output in outputs:
        await agent.invoke_async("go", output=output)
    told = [request.tools[0] for request in provider.requests]
    assert [spec.description for spec in told] == [
        "Gives the final answer: A person of the story.",
        "Gives the final answer: Whom it is about.",
        "Gives the final answer.",
    ]
    assert all(spec.schema == Output(Person).schema for spec in told)


async def test_the_tool_gives_way_to_a_tool_of_the_same_name() -> None:
    taken = tool(lambda: "x", name="final_output", effect="none")
    provider = ScriptedProvider(gives(GIVEN, "final_output_2"))
    agent = Agent(provider, [taken], output=Person, runtime=Runtime(discover=False))
    assert (await agent.invoke_async("go")).output == ADA
    assert [spec.name for spec in provider.requests[0].tools] == ["final_output", "final_output_2"]


async def test_the_model_started_event_names_the_tool_of_the_output() -> None:
    events, _ = await drained(make(gives(GIVEN), tools=(look,), output=Person).stream_async("go"))
    assert [event.tools for event in events if event.type == "model_started"] == [("look", "final_output")]


async def test_in_schema_mode_the_request_is_left_as_it_is() -> None:
    provider = ScriptedProvider(text('{"name": "Ada", "age": 36}'), schema=True)
    agent = Agent(provider, [look], system_prompt="Be brief.", output=Person, runtime=Runtime(discover=False))
    assert (await agent.invoke_async("go")).output == ADA
    (request,) = provider.requests
    assert (request.system, request.options, len(request.tools)) == ("Be brief.", ModelOptions(), 1)
    assert request.output is not None
    assert (request.output.name, request.output.description) == ("Person", "A person of the story.")
    named = Output(list[int], name="numbers")
    provider = ScriptedProvider(text('{"value": [1]}'), schema=True)
    agent = Agent(provider, runtime=Runtime(discover=False))
    assert (await agent.invoke_async("go", output=named)).output == [1]
    await agent.invoke_async("go", output=list[int])
    assert [request.output.name for request in provider.requests if request.output] == ["numbers", "output"]


async def test_the_mode_can_be_chosen() -> None:
    """And a schema that the model cannot be held to is refused when the stream is made."""
    provider = ScriptedProvider(gives(GIVEN), schema=True)
    agent = Agent(provider, [look], runtime=Runtime(discover=False))
    assert (await agent.invoke_async("go", output=Output(Person, mode="tool"))).output == ADA
    schema = Output(Person, mode="schema")
    with pytest.raises(ConfigError, match=r"the model scripted:model cannot be held to a JSON schema, as Output\("):
        make(text("hi")).stream_async("go", output=schema)
    with pytest.raises(ConfigError, match="cannot be held to a JSON schema beside tools, as"):
        make(text("hi"), tools=(look,)).stream_async("go", output=schema)


def test_a_provider_that_knows_of_no_schema_is_still_a_provider() -> None:
    assert isinstance(ScriptedProvider(text("hi")), SchemaProvider)
    assert not isinstance(Old(), SchemaProvider)


class Old:
    """A provider as they were before there was structured output."""

    name = "old"
    default_model: str | None = "model"

    def models(self) -> list[Any]:
        return []

    async def stream(self, request: Any, /) -> Any:
        yield ToolCallDelta("a", "final_output", '{"name": "Ada", "age": 36}')
        yield ModelFinished("tool_use")

    async def aclose(self) -> None:
        pass


async def test_such_a_provider_is_asked_by_the_tool() -> None:
    assert (await Agent(Old(), output=Person, runtime=Runtime(discover=False)).invoke_async("go")).output == ADA


# -- with tools --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", [False, True], ids=["tool", "schema"])
async def test_tools_are_called_before_the_output(*, schema: bool) -> None:
    last = text('{"name": "Ada", "age": 36}') if schema else gives(GIVEN)
    stream = make(calls(("look", {"at": "it"})), last, tools=(look,), schema=schema, output=Person).stream_async("go")
    events, _ = await drained(stream)
    assert stream.output == ADA
    assert results(events)[0] == ("success", "it is red")
    assert [event.stop_reason for event in events if event.type == "cycle_finished"] == ["tool_use", "end_turn"]
    history(events)


async def test_a_tool_that_is_called_beside_the_output_is_made_first() -> None:
    both = calls(("final_output", GIVEN), ("look", {"at": "it"}))
    stream = make(both, tools=(look,), output=Person).stream_async("go")
    events, _ = await drained(stream)
    assert stream.output == ADA
    assert results(events) == [("success", "it is red"), ("success", "The output was taken.")]
    assert [block.call_id for block in history(events)[-1].content if isinstance(block, ToolResult)] == [
        "call-1",
        "call-2",
    ]
    assert [event.call.tool for event in events if event.type == "tool_started"] == ["look"]


async def test_an_output_beside_a_tool_that_failed_was_written_blind_and_is_asked_for_again() -> None:
    both = calls(("fail", {}), ("final_output", GIVEN))
    output = Output(Person, repairs=0)
    stream = make(both, gives({"name": "Bob", "age": 1}), tools=(fail,), output=output).stream_async("go")
    events, _ = await drained(stream)
    assert stream.output == Person(name="Bob", age=1)
    assert results(events)[1] == (
        "error",
        "fail, called beside final_output, did not succeed; call final_output again in view of that",
    )
    history(events)


async def test_the_first_output_of_several_that_fits_is_taken() -> None:
    several = calls(("final_output", {}), ("final_output", GIVEN), ("final_output", {"name": "Bob", "age": 1}))
    stream = make(several, output=Output(Person, repairs=0)).stream_async("go")
    events, error = await drained(stream)
    assert error is None
    assert stream.output == ADA
    assert [status for status, _ in results(events)] == ["error", "success", "error"]
    assert results(events)[2][1] == "one call of final_output was taken already; this one was not"
    history(events)


async def test_the_call_of_the_output_does_not_count_as_a_tool_call() -> None:
    limits = Limits(tool_calls=1)
    scripts = (gives({}), calls(("look", {"at": "it"})), gives(GIVEN))
    assert (await make(*scripts, tools=(look,), output=Person, limits=limits).invoke_async("go")).output == ADA


# -- asking again ------------------------------------------------------------------------------------------------------


async def test_an_output_that_does_not_fit_is_asked_for_again_with_what_is_wrong() -> None:
    stream = make(gives({"name": "Ada", "age": "old"}), gives(GIVEN), output=Person).stream_async("go")
    events, _ = await drained(stream)
    assert stream.output == ADA
    said = (
        "the output does not fit:\n"
        "age: Input should be a valid integer, unable to parse string as an integer, got 'old'\n"
        "call final_output again, with that mended"
    )
    assert results(events)[0] == ("error", said)
    assert [message.role for message in history(events)] == ["assistant", "user", "assistant", "user"]


async def test_arguments_that_are_no_json_are_an_output_that_does_not_fit() -> None:
    broken = [ToolCallDelta("a", "final_output", '{"name": "Ada"'), ModelFinished("tool_use")]
    events, _ = await drained(make(broken, gives(GIVEN), output=Person).stream_async("go"))
    status, said = results(events)[0]
    assert status == "error"
    assert "the arguments of final_output could not be read: Expecting" in said
    assert 'they began with: {"name": "Ada"' in said
    assert result_of(events).output == GIVEN


async def test_a_wrapped_output_is_quoted_with_its_wrapping() -> None:
    """So that the model finds the place in what it wrote; and one that came without the wrapping is taken."""
    events, _ = await drained(
        make(gives({"value": [1, "b"]}), gives({"value": [1]}), output=list[int]).stream_async("go")
    )
    assert "value.1: Input should be a valid integer" in results(events)[0][1]
    bare = {"kind": "dog", "barks": True}
    assert (await make(gives(bare), output=Cat | Dog).invoke_async("go")).output == Dog(kind="dog", barks=True)


@pytest.mark.parametrize("schema", [False, True], ids=["tool", "schema"])
@pytest.mark.parametrize(
    "said",
    [
        '{"name": "Ada", "age": 36}',
        '```json\n{"name": "Ada", "age": 36}\n```',
        'Here:\n```\n{"name": "Ada", "age": 36}```',
    ],
)
async def test_a_text_that_is_the_json_is_taken(said: str, *, schema: bool) -> None:
    events, _ = await drained(make(text(said), schema=schema, output=Person).stream_async("go"))
    assert result_of(events).output == GIVEN
    assert len(history(events)) == 1


async def test_a_text_is_answered_with_a_message_that_asks_for_the_tool() -> None:
    provider = ScriptedProvider(text("It is Ada."), gives(GIVEN))
    agent = Agent(provider, [look], output=Person, runtime=Runtime(discover=False))
    events, _ = await drained(agent.stream_async("go"))
    assert result_of(events).output == GIVEN
    assert history(events)[1] == Message(
        "user",
        (Text("This does not fit:\nit is no JSON\nGive the answer by calling the tool final_output."),),
    )
    assert [request.options.tool_choice for request in provider.requests] == ["auto", "final_output"]
    assert [event.stop_reason for event in events if event.type == "cycle_finished"] == ["tool_use", "end_turn"]


async def test_in_schema_mode_a_text_that_does_not_fit_is_asked_for_again() -> None:
    bad = '{"name": "Ada"}'
    events, _ = await drained(
        make(text(bad), text('{"name": "Ada", "age": 36}'), schema=True, output=Person).stream_async("go")
    )
    assert result_of(events).output == GIVEN
    assert history(events)[1].text == (
        "This does not fit:\nage: missing; it is required\n"
        "Answer again, with that mended, and with nothing but the JSON."
    )


async def test_after_a_text_the_model_may_call_its_tools_again() -> None:
    scripts = (text("Hm."), calls(("look", {"at": "it"})), gives(GIVEN))
    provider = ScriptedProvider(*scripts)
    agent = Agent(provider, [look], output=Person, runtime=Runtime(discover=False))
    assert (await agent.invoke_async("go")).output == ADA
    assert [request.options.tool_choice for request in provider.requests] == ["auto", "final_output", "auto"]


async def test_an_answer_without_content_is_asked_for_again() -> None:
    """It adds no message of its own; one stands for it, so that user and assistant take turns."""
    events, _ = await drained(make([ModelFinished("end_turn")], gives(GIVEN), output=Person).stream_async("go"))
    assert result_of(events).output == GIVEN
    silence, asking = history(events)[:2]
    assert (silence.role, silence.text, silence.interrupted) == ("assistant", "There was no answer.", True)
    assert "it is empty" in asking.text


async def test_json_with_a_mistake_in_it_is_told_where_it_is() -> None:
    events, _ = await drained(make(text('{"name": Ada}'), gives(GIVEN), output=Person).stream_async("go"))
    assert "it is no JSON: Expecting value: line 1 column 10 (char 9)" in history(events)[1].text


# -- giving up ---------------------------------------------------------------------------------------------------------


async def test_an_answer_that_never_fits_fails_the_run() -> None:
    """What was said is in the history, each call with its result, and the error says what, who and what next."""
    events, error = await drained(make(gives({"name": "Ada", "age": -1}), output=Person).stream_async("go"))
    assert isinstance(error, OutputError)
    assert str(error) == (
        "the model gave no Person (asked 2 times): age: Input should be greater than or equal to 0, got -1\n"
        "its last answer is in the history; loosen the type, describe its fields, allow more with Output(repairs=...), "
        "or name a stronger model"
    )
    assert (error.text, error.reason) == (
        '{"name":"Ada","age":-1}',
        "age: Input should be greater than or equal to 0, got -1",
    )
    assert isinstance(events[-1], RunFailed)
    assert events[-1].error.kind == "OutputError"
    assert [message.role for message in history(events)] == ["assistant", "user", "assistant", "user"]
    with pytest.raises(OutputError):
        await make(gives({}), output=Person).invoke_async("go")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  our own
    assert (str(again), again.text, again.reason) == (str(error), error.text, error.reason)


@pytest.mark.parametrize("schema", [False, True], ids=["tool", "schema"])
async def test_a_text_that_never_fits_fails_the_run(*, schema: bool) -> None:
    events, error = await drained(make(text("no"), schema=schema, output=Person).stream_async("go"))
    assert isinstance(error, OutputError)
    assert error.text == "no"
    assert [message.role for message in history(events)] == ["assistant", "user", "assistant"]


@pytest.mark.parametrize(("repairs", "cycles"), [(0, 1), (1, 2), (3, 4)])
async def test_how_often_it_is_asked_for_again_is_the_hosts_to_say(repairs: int, cycles: int) -> None:
    provider = ScriptedProvider(gives({}))
    agent = Agent(provider, output=Output(Person, repairs=repairs), runtime=Runtime(discover=False))
    with pytest.raises(OutputError, match=f"asked {cycles} times" if repairs else "asked once"):
        await agent.invoke_async("go")
    assert len(provider.requests) == cycles


async def test_two_bad_outputs_in_one_answer_are_one_failure() -> None:
    """The model could not know of the first when it wrote the second."""
    twice = calls(("final_output", {}), ("final_output", {}))
    assert (await make(twice, gives(GIVEN), output=Person).invoke_async("go")).output == ADA


async def test_a_validator_that_fails_otherwise_than_validators_do_is_told_as_what_it_is() -> None:
    raised = {"Eve": SystemExit(3), "me": KeyboardInterrupt}

    class Odd(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def look_up(cls, name: str) -> str:
            if name in raised:
                raise raised[name]
            return {"Ada": "Ada"}[name]

    events, _ = await drained(make(gives({"name": "Bob"}), gives({"name": "Ada"}), output=Odd).stream_async("go"))
    assert "it could not be checked: KeyError: 'Bob'" in results(events)[0][1]
    with pytest.raises(ValueError, match=r"^it could not be checked: SystemExit: 3$"):
        Output(Odd).validate({"name": "Eve"})
    with pytest.raises(KeyboardInterrupt):
        Output(Odd).validate({"name": "me"})
    assert result_of(events).output == {"name": "Ada"}


async def test_a_value_that_cannot_be_written_as_json_is_the_hosts_to_mend() -> None:
    class Unwritable(BaseModel):
        name: str

        @field_serializer("name")
        def fail(self, name: str) -> str:
            raise SystemExit(3)

    with pytest.raises(ConfigError, match="the output type Unwritable was read, and cannot be written as JSON: "):
        await make(gives({"name": "Ada"}), output=Unwritable).invoke_async("go")


# -- ended early -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", ["max_tokens", "content_filtered"])
@pytest.mark.parametrize("schema", [False, True], ids=["tool", "schema"])
async def test_an_answer_that_was_cut_off_ends_the_run_without_output(stop: Any, *, schema: bool) -> None:
    """Asked again it would be cut off again: that is a stop reason, and no error."""
    half = '{"name": "A'
    script = [TextDelta(half) if schema else ToolCallDelta("a", "final_output", half), ModelFinished(stop, Usage(1, 1))]
    stream = make(script, schema=schema, output=Person).stream_async("go")
    events, error = await drained(stream)
    assert error is None
    result = result_of(events)
    assert (result.stop_reason, result.output, result.cycles, stream.output) == (stop, None, 1, None)
    assert len(history(events)) == (1 if schema else 2)


async def test_what_fits_although_it_was_cut_off_is_taken() -> None:
    script = [TextDelta('{"name": "Ada", "age": 36}'), ModelFinished("max_tokens")]
    result = await make(script, schema=True, output=Person).invoke_async("go")
    assert (result.output, result.stop_reason) == (ADA, "max_tokens")


@pytest.mark.parametrize(
    ("scripts", "limits", "reason"),
    [
        ((gives({}),), Limits(cycles=1), "limit_cycles"),
        ((text("no"),), Limits(cycles=1), "limit_cycles"),
        ((gives({}),), Limits(tokens=5), "limit_tokens"),
        (
            (calls(("look", {"at": "a"}), ("look", {"at": "b"}), ("final_output", GIVEN)),),
            Limits(tool_calls=1),
            "limit_tool_calls",
        ),
    ],
)
async def test_a_limit_ends_the_run_without_output(scripts: Any, limits: Limits, reason: str) -> None:
    result = await make(*scripts, tools=(look,), output=Person, limits=limits).invoke_async("go")
    assert (result.stop_reason, result.output) == (reason, None)


@pytest.mark.parametrize("schema", [False, True], ids=["tool", "schema"])
async def test_an_output_that_reaches_a_limit_is_still_the_output(*, schema: bool) -> None:
    """No further call is made for it, of a model or of a tool."""
    script = text('{"name": "Ada", "age": 36}') if schema else gives(GIVEN)
    limits = Limits(cycles=1, tokens=1, tool_calls=1)
    result = await make(script, schema=schema, output=Person, limits=limits).invoke_async("go")
    assert (result.output, result.stop_reason) == (ADA, "end_turn")


@pytest.mark.parametrize("schema", [False, True], ids=["tool", "schema"])
async def test_a_cancelled_run_has_no_output_and_a_valid_history(*, schema: bool) -> None:
    pieces = [TextDelta('{"name": "A')] if schema else [ToolCallDelta("a", "final_output", '{"name": "A')]
    stream = make([*pieces, anyio.sleep_forever], schema=schema, output=Person).stream_async("go")
    events: list[Event] = []
    async for event in stream:
        events.append(event)
        if isinstance(event, OutputPartial):
            stream.cancel()
    result = result_of(events)
    assert (result.stop_reason, result.output, stream.output) == ("cancelled", None, None)
    assert [message.text for message in history(events)] == (['{"name": "A'] if schema else [])


async def test_a_session_goes_on_after_an_output() -> None:
    """By a tool, whose result is a message of the user's: the next prompt stands after an answer all the same."""
    provider = ScriptedProvider(gives(GIVEN))
    session = Agent(provider, runtime=Runtime(discover=False)).session("chat")
    assert (await session.invoke_async("who?", output=Person)).output == ADA
    stream = session.stream_async("and what?", output=Output(dict[str, Any]))
    events, _ = await drained(stream)
    assert stream.output == GIVEN
    assert events[0].type == "run_started"
    messages = await session.messages()
    assert [message.role for message in messages] == ["user", "assistant"] * 3 + ["user"]
    assert (messages[3].text, messages[3].interrupted) == ("The answer is the output above.", False)


def test_a_session_is_asked_from_sync_code_too() -> None:
    runtime = Runtime(discover=False)
    assert Agent(ScriptedProvider(gives(GIVEN)), runtime=runtime).session("chat")("go", output=Person).output == ADA
    runtime.close()


async def test_a_run_that_fails_at_its_very_end_has_no_output() -> None:
    def refuse(**keys: Any) -> None:
        if "result" in keys:
            raise ValueError("no")

    stream = make(gives(GIVEN), output=Person, callback_handler=refuse).stream_async("go")
    with pytest.raises(ValueError, match="no"):
        async for _ in stream:
            pass
    assert stream.output is None
