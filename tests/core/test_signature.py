"""What a model is told of a tool's arguments, and what becomes of those it sends."""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import math
from collections.abc import Callable, Iterator  # noqa: TC003  tools' annotations are read at run time
from datetime import datetime
from typing import Annotated, Any, Literal, Optional
from uuid import UUID

import pytest
from becket import Agent, ConfigError, ToolContext, tool
from becket._signature import parse_docstring
from becket.testing import ScriptedProvider, text
from pydantic import BaseModel, Field, field_validator
from typing_extensions import TypedDict  # what pydantic wants before Python 3.12


class Unit(enum.Enum):
    CELSIUS = "c"
    FAHRENHEIT = "f"


class Point(BaseModel):
    title: str
    x: int


@dataclasses.dataclass
class Size:
    width: int
    height: int = 2


class Options(TypedDict, total=False):
    deep: bool


class Opaque:
    pass


class Picky(BaseModel):
    """Its validator has a bug."""

    name: str

    @field_validator("name")
    @classmethod
    def look_up(cls, name: str) -> str:
        raise LookupError(name)


def schema_of(function: Callable[..., Any]) -> Any:
    return tool(function).spec.schema


def properties_of(function: Callable[..., Any]) -> Any:
    return schema_of(function)["properties"]


def validate(function: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    return tool(function).arguments.validate(arguments)


def complaint(function: Callable[..., Any], **arguments: Any) -> str:
    with pytest.raises(ValueError) as caught:
        validate(function, **arguments)
    return str(caught.value)


# -- docstrings --------------------------------------------------------------------------------------------------------


def test_the_description_is_the_text_before_the_first_section() -> None:
    doc = """Look it up.

    In two paragraphs.

    Note: a word with a colon is no section.

    Returns:
        The result.
    """
    assert parse_docstring(doc) == (
        "Look it up.\n\nIn two paragraphs.\n\nNote: a word with a colon is no section.",
        {},
    )


@pytest.mark.parametrize("head", ["Args", "Arguments", "Parameters", "Params"])
def test_arguments_are_described_in_a_section_of_several_names(head: str) -> None:
    assert parse_docstring(f"Do.\n\n{head}:\n    x: The x.\n") == ("Do.", {"x": "The x."})


@pytest.mark.parametrize(
    ("line", "described"),
    [
        ("x: The x.", "The x."),
        ("x (int): The x.", "The x."),
        ("x (int, optional): The x.", "The x."),
        ("x (tuple[int, (str)]): The x.", "The x."),
        ("x : The x.", "The x."),
        ("*x: The x.", "The x."),
        ("**x: The x.", "The x."),
        ("x: Either a: or b: that.", "Either a: or b: that."),
        ("x:\n      The x.", "The x."),
        ("x: The\n        x,\n\n        at length.", "The x, at length."),
        ("x: The\n      y: of x.", "The y: of x."),
        ("x:", ""),
    ],
)
def test_one_argument_is_read_in_every_shape(line: str, described: str) -> None:
    assert parse_docstring(f"Do.\n\nArgs:\n    {line}\n")[1] == {"x": described}


def test_sections_may_stand_in_any_order() -> None:
    doc = """Do.

    Raises:
        ValueError: no argument.

    Args:
        x: The x.

        y: The y.

    Returns:
        z: no argument either.
    """
    assert parse_docstring(doc) == ("Do.", {"x": "The x.", "y": "The y."})


def test_text_after_a_section_does_not_hide_its_arguments() -> None:
    assert parse_docstring("Do.\n\nArgs:\n    x: The x.\n\nMore text: at the end.\n")[1] == {"x": "The x."}


def test_a_line_that_names_no_argument_goes_on_with_the_one_above() -> None:
    assert parse_docstring("Args:\n    none so far\n    x: The x,\n    and more.")[1] == {"x": "The x, and more."}


@pytest.mark.parametrize("doc", [None, "", "   \n  "])
def test_no_docstring_is_no_description(doc: str | None) -> None:
    assert parse_docstring(doc) == ("", {})


def test_a_docstring_that_is_all_sections_has_no_description() -> None:
    assert parse_docstring("Args:\n    x: The x.") == ("", {"x": "The x."})


# -- the schema --------------------------------------------------------------------------------------------------------


def test_a_tool_without_arguments_takes_an_empty_object() -> None:
    def f() -> None: ...

    assert schema_of(f) == {"type": "object", "properties": {}, "additionalProperties": False}


def test_parameters_without_default_are_required() -> None:
    def f(a: int, b: str = "x", *, c: bool, d: float = 0.5) -> None: ...

    schema = schema_of(f)
    assert schema["required"] == ["a", "c"]
    assert schema["properties"] == {
        "a": {"type": "integer"},
        "b": {"type": "string", "default": "x"},
        "c": {"type": "boolean"},
        "d": {"type": "number", "default": 0.5},
    }


def test_plain_defaults_stand_in_the_schema_and_others_are_kept_for_the_call() -> None:
    kept = [1]

    def f(
        none: str | None = None,
        unit: Unit = Unit.CELSIUS,
        tags: list[int] = kept,
        most: float = math.inf,
    ) -> None: ...

    properties = properties_of(f)
    assert properties["none"]["default"] is None
    assert properties["unit"]["default"] == "c"
    assert "default" not in properties["tags"]
    assert "default" not in properties["most"]
    assert validate(f) == {"none": None, "unit": Unit.CELSIUS, "tags": [1], "most": math.inf}
    assert validate(f)["tags"] is kept


def test_a_default_that_is_no_json_value_is_left_out_of_the_schema_without_a_warning() -> None:
    class Odd(enum.Enum):
        ONE = UUID(int=1)

    def f(x: Annotated[Any, "anything"] = Odd.ONE) -> None: ...

    assert validate(f) == {"x": Odd.ONE}
    json.dumps(schema_of(f))


def test_field_and_docstring_describe_together() -> None:
    def f(
        a: Annotated[int, Field(ge=1, description="From the field.")],
        b: Annotated[int, Field(ge=2, description="From the field.")],
        c: int = Field(3, le=3),
    ) -> None:
        """Do.

        Args:
            b: From the docstring.
        """

    assert properties_of(f) == {
        "a": {"type": "integer", "minimum": 1, "description": "From the field."},
        "b": {"type": "integer", "minimum": 2, "description": "From the docstring."},
        "c": {"type": "integer", "maximum": 3, "default": 3},
    }
    assert validate(f, a=1, b=2) == {"a": 1, "b": 2, "c": 3}


def test_every_kind_of_value_is_made_what_the_function_asks_for() -> None:
    def f(
        lit: Literal["a", "b"],
        unit: Unit,
        maybe: Optional[int],  # noqa: UP045  what users write
        point: Point,
        size: Size,
        options: Options,
        when: datetime,
        pairs: dict[str, tuple[int, str]],
        names: set[str],
        any_: Any,
    ) -> None: ...

    arguments: dict[str, Any] = {
        "lit": "b",
        "unit": "f",
        "maybe": None,
        "point": {"title": "t", "x": 1},
        "size": {"width": 1},
        "options": {"deep": True},
        "when": "2026-01-02T03:04:05Z",
        "pairs": {"k": [1, "one"]},
        "names": ["n", "n"],
        "any_": [None],
    }
    valid = validate(f, **arguments)
    assert valid == {
        "lit": "b",
        "unit": Unit.FAHRENHEIT,
        "maybe": None,
        "point": Point(title="t", x=1),
        "size": Size(1, 2),
        "options": {"deep": True},
        "when": datetime.fromisoformat("2026-01-02T03:04:05Z"),
        "pairs": {"k": (1, "one")},
        "names": {"n"},
        "any_": [None],
    }


def test_titles_are_left_out_but_not_a_property_of_that_name() -> None:
    def f(title: str, point: Point) -> None: ...

    schema = schema_of(f)
    assert "title" not in schema
    assert schema["properties"]["title"] == {"type": "string"}
    assert schema["$defs"]["Point"]["properties"]["title"] == {"type": "string"}


def test_parameters_may_be_named_like_the_methods_of_pydantic() -> None:
    def f(schema: str, json: str, self: str, copy: str, model_config: str, _hidden: str, validate: str) -> None: ...

    names = ["schema", "json", "self", "copy", "model_config", "_hidden", "validate"]
    assert list(properties_of(f)) == names
    arguments: dict[str, Any] = {name: name.upper() for name in names}
    assert tool(f).arguments.validate(arguments) == arguments


def test_a_description_is_clean_text() -> None:
    def f(x: Annotated[str, Field(description="a lone \ud800 surrogate")]) -> None: ...

    assert properties_of(f)["x"]["description"] == "a lone \ufffd surrogate"


def test_the_return_type_need_not_be_known() -> None:
    def f(x: int) -> OnlyForTypeCheckers: ...  # type: ignore[name-defined]  # noqa: F821  as under TYPE_CHECKING

    assert properties_of(f) == {"x": {"type": "integer"}}


# -- the context -------------------------------------------------------------------------------------------------------


def plain_context(context: ToolContext, x: int) -> None: ...  # type: ignore[type-arg]  # what users write


def typed_context(x: int, *, ctx: ToolContext[str]) -> None: ...


def maybe_context(x: int, ctx: ToolContext[str] | None = None) -> None: ...


def optional_context(x: int, ctx: Optional[ToolContext[str]] = None) -> None: ...  # noqa: UP045  what users write


def annotated_context(x: int, ctx: Annotated[ToolContext[str], "the context"]) -> None: ...


def two_contexts(one: ToolContext[str], x: int, two: ToolContext[Any]) -> None: ...


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (plain_context, ("context",)),
        (typed_context, ("ctx",)),
        (maybe_context, ("ctx",)),
        (optional_context, ("ctx",)),
        (annotated_context, ("ctx",)),
        (two_contexts, ("one", "two")),
    ],
)
def test_the_context_is_found_by_its_annotation_and_hidden_from_the_model(
    function: Callable[..., Any], names: tuple[str, ...]
) -> None:
    assert list(properties_of(function)) == ["x"]
    assert tool(function).arguments.contexts == names
    assert "there is no such argument" in complaint(function, x=1, **dict.fromkeys(names, 1))


# -- what is decorated -------------------------------------------------------------------------------------------------


class Shop:
    """A shop."""

    def buy(self, what: str) -> str:
        """Buy it.

        Args:
            what: The ware.
        """
        return what

    def __call__(self, what: str) -> str:
        """Call the shop.

        Args:
            what: The number.
        """
        return what


def test_a_bound_method_is_a_tool_without_self() -> None:
    buy = tool(Shop().buy)
    assert (buy.name, buy.description) == ("buy", "Buy it.")
    assert buy.spec.schema["properties"] == {"what": {"type": "string", "description": "The ware."}}


def test_a_callable_object_is_a_tool_by_its_call() -> None:
    shop = tool(Shop())
    assert (shop.name, shop.description) == ("Shop", "Call the shop.")
    assert shop.spec.schema["properties"] == {"what": {"type": "string", "description": "The number."}}


def signed(key: str, question: str, *, ctx: ToolContext[None]) -> str:
    """Ask.

    Args:
        key: The key.
        question: The question.
    """
    return key + question


@pytest.mark.parametrize("filled", [functools.partial(signed, "secret"), functools.partial(signed, key="secret")])
def test_what_a_partial_has_filled_in_is_hidden_from_the_model(filled: Callable[..., Any]) -> None:
    ask = tool(functools.partial(filled))
    assert (ask.name, ask.description, ask.arguments.contexts) == ("signed", "Ask.", ("ctx",))
    assert ask.spec.schema["properties"] == {"question": {"type": "string", "description": "The question."}}
    assert "secret" not in json.dumps(ask.spec.schema)
    assert "there is no such argument" in complaint(filled, question="?", key="mine")


def test_a_decorated_function_shows_what_it_wraps() -> None:
    def logged(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    assert schema_of(logged(typed_context))["properties"] == {"x": {"type": "integer"}}


def test_a_lambda_needs_a_name_and_annotations() -> None:
    with pytest.raises(ConfigError, match=r"'<lambda>' is no name for a tool.*@tool\(name="):
        tool(lambda: 1)
    assert tool(lambda: 1, name="one").spec.schema["properties"] == {}
    with pytest.raises(ConfigError, match="parameter 'x' has no type annotation"):
        tool(lambda x: x, name="same")


@pytest.mark.parametrize("given", [Shop, dict, "name", 3, tool(typed_context)])
def test_what_is_no_function_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"@tool takes a function, not .*options go by name"):
        tool(given)


def test_a_function_without_a_signature_is_refused_with_the_way_out() -> None:
    with pytest.raises(
        ConfigError, match=r"'iter'.*has no signature that can be read.*wrap it in a function of your own"
    ):
        tool(iter)


# -- what cannot be told -----------------------------------------------------------------------------------------------


def variadic(*x: int) -> None: ...


def keywords(**x: int) -> None: ...


def positional(x: int, /) -> None: ...


def bare(x) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001  what is tested


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (variadic, "is variadic positional; a model passes arguments by name, so name each one"),
        (keywords, "is variadic keyword; a model passes arguments by name, so name each one"),
        (positional, "is positional-only; a model passes arguments by name, so name each one"),
        (bare, "has no type annotation, and the model must be told one; write x: str, or whatever it takes"),
    ],
)
def test_a_parameter_that_cannot_be_passed_by_name_is_refused_when_it_is_decorated(
    function: Callable[..., Any], why: str
) -> None:
    line = function.__code__.co_firstlineno
    with pytest.raises(ConfigError) as caught:
        tool(function)
    assert str(caught.value) == f"tool {function.__name__!r} ({__file__}:{line}): parameter 'x' {why}"


def test_an_unbound_method_is_told_to_be_bound() -> None:
    with pytest.raises(ConfigError, match=r"parameter 'self'.*decorate the bound method, as in tool\(object.method\)"):
        tool(Shop.buy)


def opaque(ok: int, x: Opaque) -> None: ...


def calls_back(x: Callable[[int], int]) -> None: ...


def iterates(x: list[Iterator[int]]) -> None: ...


def misfit(x: Annotated[Opaque, Field(ge=1)]) -> None: ...


@pytest.mark.parametrize("function", [opaque, calls_back, iterates, misfit])
def test_a_type_that_json_cannot_carry_is_refused_by_the_name_of_its_parameter(function: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        Agent(ScriptedProvider(text("hi")), [tool(function)])
    assert f"tool {function.__name__!r} ({__file__}:" in str(caught.value)
    assert "parameter 'x' has the type" in str(caught.value)
    assert "use str, int, float, bool, list, dict, a dataclass" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_type_that_has_a_schema_when_it_stands_alone_is_refused_with_all_the_others() -> None:
    asked: list[int] = []

    class Moody:
        @classmethod
        def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
            asked.append(1)
            if len(asked) == 1:
                raise ZeroDivisionError
            return handler(int)

    def f(x) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001  annotated below, with a local class

    f.__annotations__["x"] = Moody
    with pytest.raises(ConfigError, match=r"its arguments cannot be read from JSON: ZeroDivisionError"):
        schema_of(f)


def unknown(x: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821  what is tested


def broken(x: "1 +") -> None: ...  # type: ignore[syntax, valid-type, unused-ignore]  # noqa: F722  what is tested


def absent(x: json.Nothing) -> None: ...  # type: ignore[name-defined]  # what is tested


@pytest.mark.parametrize("function", [unknown, broken, absent])
def test_an_annotation_that_cannot_be_resolved_is_named(function: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        schema_of(function)
    assert f"tool {function.__name__!r} ({__file__}:" in str(caught.value)
    assert "the annotation of 'x' cannot be resolved" in str(caught.value)
    assert "at the top of its module, and not only under TYPE_CHECKING" in str(caught.value)


# -- validation --------------------------------------------------------------------------------------------------------


def order(what: str, count: int, size: Size | None = None, tags: list[int] | None = None) -> None: ...


def test_every_bad_argument_is_named_with_what_is_wrong() -> None:
    said = complaint(order, count="many", colour="red", size={"width": 1, "depth": 2}, tags=["a"])
    assert said.splitlines() == [
        "what: missing; it is required",
        "count: Input should be a valid integer, unable to parse string as an integer, got 'many'",
        "size.depth: there is no such argument, leave it out",
        "tags.0: Input should be a valid integer, unable to parse string as an integer, got 'a'",
        "colour: there is no such argument, leave it out; the arguments are: what, count, size, tags",
    ]


def test_a_tool_without_arguments_says_so() -> None:
    def f() -> None: ...

    assert complaint(f, x=1) == "x: there is no such argument, leave it out; the arguments are: none"


def test_huge_arguments_are_not_quoted_at_length() -> None:
    huge = "x" * 10_000_000
    said = complaint(order, what=[huge], count=huge, **{huge: 1})
    assert len(said) < 2_000
    assert "(10000002 characters)" in said


def test_many_bad_items_are_counted_and_not_listed() -> None:
    said = complaint(order, what="a", count=1, tags=["bad"] * 1_000)
    assert len(said.splitlines()) == 21
    assert said.endswith("and 980 more like these")


def test_a_validator_with_a_bug_is_an_argument_error_like_any_other() -> None:
    def f(x: Picky) -> None: ...

    assert complaint(f, x={"name": "n"}) == "they could not be checked: LookupError: n"
