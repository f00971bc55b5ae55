"""A tool's arguments, read from its signature and its Google-style docstring. No pydantic until `Arguments.of`."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import re
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from becket.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import TypeAdapter

    from becket._values import JsonValue

__all__ = ["Arguments", "check_signature", "parse_docstring", "where"]

_SECTION = re.compile(
    r"(Args|Arguments|Parameters|Params|Returns?|Yields?|Raises|Examples?|Notes?|Attributes|Warnings?|See Also|Todo):\s*$"
)
_ARGUMENT = re.compile(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")
_ARGUMENT_SECTIONS = ("Args", "Arguments", "Parameters", "Params")


def parse_docstring(doc: str | None) -> tuple[str, dict[str, str]]:
    """The text of a Google-style docstring before its first section, and the descriptions of its arguments."""
    lines = inspect.cleandoc(doc or "").splitlines()
    heads = [(number, match[1]) for number, line in enumerate(lines) if (match := _SECTION.match(line))]
    text = "\n".join(lines[: heads[0][0]] if heads else lines).strip()
    described: dict[str, str] = {}
    for index, (start, head) in enumerate(heads):
        if head in _ARGUMENT_SECTIONS:
            end = heads[index + 1][0] if index + 1 < len(heads) else len(lines)
            described |= _parse_arguments(lines[start + 1 : end])
    return text, described


def _parse_arguments(lines: list[str]) -> dict[str, str]:
    """The arguments of one section: the least indented lines name one each, deeper ones go on describing it."""
    filled = [line for line in lines if line.strip()]
    depth = min((len(line) - len(line.lstrip()) for line in filled), default=0)
    described: dict[str, str] = {}
    name = ""
    for line in filled:
        match = _ARGUMENT.match(line.strip()) if len(line) - len(line.lstrip()) == depth else None
        if match:
            name = match[1]
            described[name] = match[2].strip()
        elif name:
            described[name] = f"{described[name]} {line.strip()}".strip()
    return described


def where(function: Callable[..., Any]) -> str:
    """`file:line` of a function, for an error message."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)


def check_signature(name: str, function: Callable[..., Any]) -> None:
    """Refuse what no model can be told: a parameter without annotation, or one that is not passed by its name.

    Raises:
        ConfigError: Names the tool, where it is, and the parameter.
    """
    for parameter in inspect.signature(function).parameters.values():
        at = f"tool {name!r} ({where(function)}): parameter {parameter.name!r}"
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ConfigError(f"{at} is {parameter.kind.description}; a model passes arguments by name, so name each one")
        if parameter.annotation is parameter.empty:
            hint = (
                "decorate the bound method, as in tool(object.method)"
                if parameter.name in ("self", "cls")
                else f"write {parameter.name}: str, or whatever it takes"
            )
            raise ConfigError(f"{at} has no type annotation, and the model must be told one; {hint}")


@dataclass(slots=True)
class Arguments:
    """The arguments of one tool: their schema, and how they are validated.

    Attributes:
        schema: The JSON schema, an object schema without titles.
        context: The parameter that takes the `ToolContext`, or None.
    """

    schema: dict[str, JsonValue]
    context: str | None
    _names: tuple[str, ...]
    _adapter: TypeAdapter[Any]

    @classmethod
    def of(cls, name: str, function: Callable[..., Any], context_type: type) -> Arguments:
        """Read the signature of `function`.

        Raises:
            ConfigError: An annotation cannot be resolved, or has no JSON schema.
        """
        try:
            hints = typing.get_type_hints(function, include_extras=True)
        except (NameError, TypeError) as error:
            raise ConfigError(
                f"tool {name!r} ({where(function)}): an annotation cannot be resolved: {error}; "
                f"import what it names where the tool is defined, not only under TYPE_CHECKING"
            ) from error
        parameters = inspect.signature(function).parameters
        context = next((key for key in parameters if _is_context(hints[key], context_type)), None)
        described = parse_docstring(function.__doc__)[1]
        asked = {key: parameter for key, parameter in parameters.items() if key != context}
        adapter = _adapter_of(name, function, [_field(p, hints[key], described.get(key)) for key, p in asked.items()])
        return cls(_schema_of(name, function, adapter), context, tuple(asked), adapter)

    def validate(self, arguments: dict[str, JsonValue]) -> dict[str, Any]:
        """The arguments as the function takes them.

        Raises:
            ValueError: They do not fit; the text says each argument and what is wrong with it, for the model to read.
        """
        from pydantic import ValidationError

        try:
            valid = self._adapter.validate_python(arguments)
        except ValidationError as error:
            raise ValueError(_explain(error, self._names)) from error
        return {name: getattr(valid, name) for name in self._names}


def _is_context(hint: Any, context_type: type) -> bool:
    return hint is context_type or typing.get_origin(hint) is context_type


def _field(parameter: inspect.Parameter, hint: Any, description: str | None) -> tuple[str, Any, Any]:
    from pydantic import Field

    if description:
        hint = Annotated[hint, Field(description=description)]
    if parameter.default is parameter.empty:
        return parameter.name, hint, dataclasses.field()
    default = parameter.default
    if isinstance(default, str | int | float | None | enum.Enum):
        return parameter.name, hint, dataclasses.field(default=default)  # then the schema tells the model of it
    return parameter.name, hint, dataclasses.field(default_factory=lambda: default)


def _adapter_of(name: str, function: Callable[..., Any], rows: list[tuple[str, Any, Any]]) -> TypeAdapter[Any]:
    from pydantic import ConfigDict, TypeAdapter
    from pydantic.errors import PydanticUserError

    # A dataclass, since any parameter name will do as a field of one: a model's own methods would be shadowed.
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=False, defer_build=False)
    holder = dataclasses.make_dataclass(
        "Arguments", rows, kw_only=True, namespace={"__pydantic_config__": config, "__module__": function.__module__}
    )
    try:
        return TypeAdapter(holder)
    except PydanticUserError as error:
        raise ConfigError(_unsupported(name, function, rows, error)) from error


def _schema_of(name: str, function: Callable[..., Any], adapter: TypeAdapter[Any]) -> dict[str, JsonValue]:
    from pydantic.errors import PydanticUserError
    from pydantic.json_schema import GenerateJsonSchema

    class Untitled(GenerateJsonSchema):
        """A title repeats the name, and each costs tokens in every request."""

        def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  the base class names it
            return False

    try:
        schema = adapter.json_schema(schema_generator=Untitled)
    except PydanticUserError as error:
        raise ConfigError(
            f"tool {name!r} ({where(function)}): its arguments have no JSON schema: {error.message}"
        ) from error
    schema.pop("title", None)
    schema.setdefault("properties", {})
    return schema


def _unsupported(
    name: str, function: Callable[..., Any], rows: list[tuple[str, Any, Any]], error: Exception
) -> str:
    """Which parameter it was: the first whose own type cannot be validated."""
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError

    for parameter, hint, _ in rows:
        try:
            TypeAdapter(hint)
        except PydanticUserError:
            shown = getattr(hint, "__name__", hint)
            return (
                f"tool {name!r} ({where(function)}): parameter {parameter!r} has the type {shown}, which cannot be "
                f"read from JSON; use str, int, float, bool, list, dict, a dataclass, a TypedDict or a pydantic model"
            )
    return f"tool {name!r} ({where(function)}): its arguments cannot be read from JSON: {error}"


def _explain(error: Any, names: tuple[str, ...]) -> str:
    lines = []
    for item in error.errors(include_url=False, include_context=False):
        at = ".".join(str(part) for part in item["loc"]) or "arguments"
        if item["type"] == "unexpected_keyword_argument":
            lines.append(f"{at}: there is no such argument; the arguments are: {', '.join(names) or 'none'}")
        elif item["type"] == "missing":
            lines.append(f"{at}: missing")
        else:
            lines.append(f"{at}: {item['msg']}, got {_short(item['input'])}")
    return "\n".join(lines)


def _short(value: object, most: int = 200) -> str:
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"
