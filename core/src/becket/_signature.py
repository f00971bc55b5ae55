"""A tool's arguments, read from its signature and its Google-style docstring. No pydantic until `Arguments.of`."""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import itertools
import math
import re
import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, Union

from becket._values import to_json_value
from becket.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import TypeAdapter, ValidationError
    from pydantic_core import ErrorDetails

    from becket._values import JsonValue

__all__ = ["Arguments", "check_signature", "explain", "first_line", "innermost", "parse_docstring", "untitled", "where"]

_Row: TypeAlias = tuple[str, Any, Any]
"""A field of a dataclass: its name, type and default."""

_SECTION = re.compile(
    r"(Args|Arguments|Parameters|Params|Returns?|Yields?|Raises|Examples?|Notes?|Attributes|Warnings?|See Also|Todo)"
    r":\s*$"
)
_ARGUMENT = re.compile(r"\*{0,2}(\w+)\s*(?:\(.*?\))?\s*:(?:\s+(.*))?$")
_ARGUMENT_SECTIONS = ("Args", "Arguments", "Parameters", "Params")

_MOST_LINES: Final = 20
_MOST_CHARACTERS: Final = 200
"""How much of bad arguments is quoted: an error must not fill the model's context with what it got wrong."""


def parse_docstring(doc: str | None) -> tuple[str, dict[str, str]]:
    """The text of a Google-style docstring before its first section, and the descriptions of its arguments."""
    lines = inspect.cleandoc(doc or "").splitlines()
    heads = [(number, match[1]) for number, line in enumerate(lines) if (match := _SECTION.match(line))]
    text = "\n".join(lines[: heads[0][0]] if heads else lines).strip()
    described: dict[str, str] = {}
    for (start, head), (end, _) in itertools.pairwise([*heads, (len(lines), "")]):
        if head in _ARGUMENT_SECTIONS:
            described |= _parse_arguments([line for line in lines[start + 1 : end] if line.strip()])
    return text, described


def _parse_arguments(lines: list[str]) -> dict[str, str]:
    """The arguments of one section: a line as deep as the first names one, deeper ones go on describing it."""
    described: dict[str, str] = {}
    name = ""
    for line in lines:
        deeper = _depth(line) - _depth(lines[0])
        if deeper < 0:
            break  # text after the section
        match = None if deeper else _ARGUMENT.match(line.strip())
        if match:
            name = match[1]
            described[name] = (match[2] or "").strip()
        elif name:
            described[name] = f"{described[name]} {line.strip()}".strip()
    return described


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())


def innermost(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function that is run in the end: out of partials and decorators, and `__call__` of an object."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    return function if inspect.isroutine(function) else type(function).__call__


def where(function: Callable[..., Any]) -> str:
    """`file:line` of a function, for an error message."""
    code = getattr(innermost(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)


def check_signature(name: str, function: Callable[..., Any]) -> None:
    """Refuse what no model can be told: a parameter without annotation, or one that is not passed by its name.

    Raises:
        ConfigError: Names the tool, where it is, and the parameter.
    """
    for parameter in _parameters(name, function):
        at = f"tool {name!r} ({where(function)}): parameter {parameter.name!r}"
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ConfigError(
                f"{at} is {parameter.kind.description}; a model passes arguments by name, so name each one"
            )
        if parameter.annotation is parameter.empty:
            hint = (
                "decorate the bound method, as in tool(object.method)"
                if parameter.name in ("self", "cls")
                else f"write {parameter.name}: str, or whatever it takes"
            )
            raise ConfigError(f"{at} has no type annotation, and the model must be told one; {hint}")


def _parameters(name: str, function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters that a caller may fill in; a partial has filled in the others, and they are not the model's."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"tool {name!r}: {function!r} has no signature that can be read: {error}; wrap it in a function of your own"
        ) from error
    filled = function.keywords if isinstance(function, functools.partial) else {}
    return [parameter for parameter in parameters if parameter.name not in filled]


@dataclass(slots=True)
class Arguments:
    """The arguments of one tool: their schema, and how they are validated.

    Attributes:
        schema: The JSON schema, an object schema; neither it nor its properties have titles.
        contexts: The parameters that take the `ToolContext`; one or none, as a rule.
    """

    schema: dict[str, JsonValue]
    contexts: tuple[str, ...]
    _names: tuple[str, ...]
    _adapter: TypeAdapter[Any]

    @classmethod
    def of(cls, name: str, function: Callable[..., Any], context_type: type) -> Arguments:
        """Read the signature of `function`.

        Raises:
            ConfigError: An annotation cannot be resolved, or has no JSON schema.
        """
        described = parse_docstring(innermost(function).__doc__)[1]
        contexts: list[str] = []
        rows: list[_Row] = []
        for parameter in _parameters(name, function):
            hint = _resolve(name, function, parameter)
            if _is_context(hint, context_type):
                contexts.append(parameter.name)
            else:
                rows.append(_row(parameter, hint, described.get(parameter.name)))
        try:
            adapter = _adapter_of(rows)
            schema = _schema_of(adapter)
        except Exception as error:  # annotations bring code of their own, which pydantic runs
            raise ConfigError(_unsupported(name, function, rows, error)) from error
        return cls(schema, tuple(contexts), tuple(row[0] for row in rows), adapter)

    def validate(self, arguments: dict[str, JsonValue]) -> dict[str, Any]:
        """The arguments as the function takes them.

        Raises:
            ValueError: They do not fit; the text says each argument and what is wrong with it, for the model to read.
        """
        from pydantic import ValidationError

        try:
            valid = self._adapter.validate_python(arguments)
        except ValidationError as error:
            raise ValueError(explain(error, names=self._names)) from error
        except Exception as error:  # a validator of the tool's own has failed otherwise than validators do
            raise ValueError(f"they could not be checked: {type(error).__name__}: {error}") from error
        return {name: getattr(valid, name) for name in self._names}


def _resolve(name: str, function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """The annotation of one parameter, read where the function was written.

    One by one: the return type may be known to type checkers alone, and an error can name the parameter.
    """
    alone = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    names = getattr(innermost(function), "__globals__", {})
    try:
        return typing.get_type_hints(alone, names, include_extras=True)[parameter.name]
    except Exception as error:  # an annotation is any expression
        raise ConfigError(
            f"tool {name!r} ({where(function)}): the annotation of {parameter.name!r} cannot be resolved: {error}; "
            f"define or import what it names at the top of its module, and not only under TYPE_CHECKING"
        ) from error


def _is_context(hint: Any, context_type: type) -> bool:
    origin = typing.get_origin(hint)
    if origin in (Annotated, Union, types.UnionType):
        return any(_is_context(part, context_type) for part in typing.get_args(hint))
    return hint is context_type or origin is context_type


def _row(parameter: inspect.Parameter, hint: Any, description: str | None) -> _Row:
    """The parameter as a field of a dataclass."""
    from pydantic import Field

    if description:
        hint = Annotated[hint, Field(description=description)]
    default = parameter.default
    if default is parameter.empty:
        return parameter.name, hint, dataclasses.field()
    if _is_told(default):
        return parameter.name, hint, dataclasses.field(default=default)
    return parameter.name, hint, dataclasses.field(default_factory=lambda: default)


def _is_told(default: object) -> bool:
    """Whether a default goes into the schema: the plain ones do, and pydantic's `Field(...)` stands for its own."""
    from pydantic.fields import FieldInfo

    if isinstance(default, float):
        return math.isfinite(default)  # JSON has no other
    return isinstance(default, str | int | None | enum.Enum | FieldInfo)


def _adapter_of(rows: list[_Row]) -> TypeAdapter[Any]:
    from pydantic import ConfigDict, TypeAdapter

    # A dataclass, since any parameter name will do as a field of one: a model's own methods would be shadowed.
    config = ConfigDict(extra="forbid")
    return TypeAdapter(
        dataclasses.make_dataclass("Arguments", rows, kw_only=True, namespace={"__pydantic_config__": config})
    )


def _schema_of(adapter: TypeAdapter[Any]) -> dict[str, JsonValue]:
    return {"type": "object", "properties": {}, **untitled(adapter)}


def untitled(adapter: TypeAdapter[Any]) -> dict[str, JsonValue]:
    """The JSON schema of a type, without titles of its own and of its fields."""
    from pydantic.json_schema import GenerateJsonSchema

    class Untitled(GenerateJsonSchema):
        """A title repeats the name, and each costs tokens in every request."""

        ignored_warning_kinds: set[Any] = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012  the base class has it so

        def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  the base class names it
            return False

    schema: Any = to_json_value(adapter.json_schema(schema_generator=Untitled))
    schema.pop("title", None)
    return schema  # type: ignore[no-any-return]


def _unsupported(name: str, function: Callable[..., Any], rows: list[_Row], error: Exception) -> str:
    """Which parameter it was: the first that has no schema when it stands alone."""
    for row in rows:
        try:
            _schema_of(_adapter_of([row]))
        except Exception as own:  # noqa: BLE001  as where the error comes from
            shown = getattr(row[1], "__name__", row[1])
            return (
                f"tool {name!r} ({where(function)}): parameter {row[0]!r} has the type {shown}, which cannot be "
                f"read from JSON ({first_line(own)}); use str, int, float, bool, list, dict, a dataclass, a TypedDict "
                f"or a pydantic model"
            )
    return f"tool {name!r} ({where(function)}): its arguments cannot be read from JSON: {first_line(error)}"


def first_line(error: BaseException) -> str:
    """The first line of what an exception says; its type where it says nothing."""
    return str(error).partition("\n")[0] or type(error).__name__


def explain(error: ValidationError, *, names: tuple[str, ...] = (), within: str = "") -> str:
    """What is wrong, a line each, for a model to read.

    Args:
        error: What pydantic says.
        names: The arguments that there are.
        within: The key that what was validated stands under, empty where it is the whole.
    """
    items = error.errors(include_url=False, include_context=False)
    lines = [_explain_one(item, names, within) for item in items[:_MOST_LINES]]
    if len(items) > _MOST_LINES:
        lines.append(f"and {len(items) - _MOST_LINES} more like these")
    return "\n".join(lines)


def _explain_one(item: ErrorDetails, names: tuple[str, ...], within: str) -> str:
    at = _cut(".".join(str(part) for part in (within, *item["loc"]) if part != "")) or "the whole"
    if item["type"] == "missing":
        return f"{at}: missing; it is required"
    if item["type"] == "unexpected_keyword_argument":
        known = f"; the arguments are: {', '.join(names) or 'none'}" if len(item["loc"]) == 1 else ""
        return f"{at}: there is no such argument, leave it out{known}"
    return f"{at}: {_cut(item['msg'])}, got {_cut(repr(item['input']))}"


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}... ({len(text)} characters)"
