"""Structured output: the type that a run is to give, and how its JSON is told, read and written."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, get_args

from becket._partials import Partials, partial_validator
from becket._signature import explain, first_line, untitled
from becket._values import adapter, clean_text, to_json_value
from becket.errors import ConfigError
from becket.providers import OutputMode

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import SchemaValidator
    from typing_extensions import TypeForm

    from becket._values import JsonValue

__all__ = ["Fitting", "Output"]

T = TypeVar("T")
_T_co = TypeVar("_T_co", covariant=True)

WRAPPED: Final = "value"
"""The key under which a type stands whose JSON is no object."""

_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Fitting(Generic[_T_co]):
    """An output that fits.

    Attributes:
        value: The Python value.
        json: The same as JSON: what pydantic writes of it, by alias.
    """

    value: _T_co
    json: JsonValue


@dataclass(frozen=True, slots=True)
class _Form:
    """A type as JSON.

    Attributes:
        adapter: Validates and writes it.
        schema: Its JSON schema, an object schema.
        wrapped: Whether that is an object around it, since its own JSON is none.
        partial: Validates what has come of it so far.
    """

    adapter: TypeAdapter[Any]
    schema: dict[str, JsonValue]
    wrapped: bool
    partial: SchemaValidator


class Output(Generic[T]):
    """The structured output of a run: a type, and how a model is asked for it.

    `Agent(output=Person)` is short for `Agent(output=Output(Person))`. A model service that can hold a model to a JSON
    schema is asked to; any other model is offered a tool whose arguments are the output, and whose call ends the run.
    Either way the answer is validated by pydantic, and a model whose answer does not fit is told why and asked again.

    A type whose JSON is no object (a list, a number, a union) is asked for as an object that holds it under `value`,
    and taken out of that again.

    Args:
        of: A pydantic model, a dataclass, a TypedDict, a union of them, or whatever else pydantic reads from JSON.
        name: What the model calls it, and its tool. None for the type's own name, and `final_output` for the tool.
        description: What it is, for the model to read. None for what the type's docstring says.
        mode: `schema` or `tool`; None for `schema` where the model has that, else `tool`.
        repairs: How often in one run the model is told that its output does not fit, and asked again.

    Attributes:
        of: The type.
        name: The name given, or None.
        description: The description given, or that of the type.
        mode: The mode given, or None.
        repairs: How often the model is asked again.
        schema: The JSON schema of the type as a model is told it, an object schema.

    Raises:
        ConfigError: The type cannot be read from JSON, or an option is none.
    """

    __slots__ = ("_form", "description", "mode", "name", "of", "repairs", "schema")

    def __init__(
        self,
        of: TypeForm[T],
        *,
        name: str | None = None,
        description: str | None = None,
        mode: OutputMode | None = None,
        repairs: int = 1,
    ) -> None:
        if mode is not None and mode not in get_args(OutputMode):
            raise ConfigError(f"the mode of an output is {mode!r}; it must be 'schema', 'tool', or None")
        times: Any = repairs
        if not (isinstance(times, int) and times >= 0):
            raise ConfigError(f"repairs of an output is {repairs!r}; it must be 0 or above")
        if name is not None and (not name or len(name) > 64 or _NOT_IN_A_NAME.search(name)):  # noqa: PLR2004  as for a tool
            raise ConfigError(f"{name!r} is no name for an output: letters, digits, '_' and '-', 64 at most")
        self._form = _form(of)
        self.of = of
        self.name = name
        self.schema = self._form.schema
        self.description = clean_text(str(self.schema.get("description", "")) if description is None else description)
        self.mode: OutputMode | None = mode
        self.repairs = repairs

    def __repr__(self) -> str:
        return f"<output {self.title}>"

    @property
    def title(self) -> str:
        """The type's name, for an error message."""
        return _title(self.of)

    @property
    def type_name(self) -> str:
        """The type's name, as services take one; `output` where it has none."""
        name = getattr(self.of, "__name__", "") if isinstance(self.of, type) else ""
        return _NOT_IN_A_NAME.sub("_", name)[:64] or "output"

    @property
    def wrapped(self) -> bool:
        """Whether a model is told an object that holds the type's JSON under `value`."""
        return self._form.wrapped

    def partials(self, tool: str | None) -> Partials:
        """What tells how far the output of one model call has come, the arguments of `tool`, or the text."""
        return Partials(self._form.partial, tool=tool, key=WRAPPED if self.wrapped else None)

    @property
    def adapter(self) -> TypeAdapter[T]:
        """The pydantic adapter of the type."""
        return self._form.adapter

    def validate(self, value: JsonValue) -> T:
        """The Python value of an output's JSON, such as that of a `run_finished` event which came over a wire.

        A field may stand under its name where it has an alias for reading alone, since that is how it is written.

        Raises:
            ValueError: It does not fit; the text says what is wrong with it, a line each.
        """
        return self._validated(value, "", by_name=True)

    def fit(self, told: JsonValue) -> Fitting[T]:
        """What a model gave as its output, validated. A type that is asked for wrapped may come without its wrapping.

        Raises:
            ValueError: It does not fit; the text says what is wrong with it, for the model to read.
            ConfigError: The value that came of it cannot be written as JSON.
        """
        if not self.wrapped:
            return self._fitting(self._validated(told, ""))
        if not isinstance(told, dict) or told.keys() != {WRAPPED}:
            return self._fitting(self._validated(told, WRAPPED))
        return self._fitting(self._validated(told[WRAPPED], WRAPPED))

    def _validated(self, value: JsonValue, within: str, *, by_name: bool | None = None) -> T:
        from pydantic import ValidationError
        from pydantic_core import to_json

        try:
            # As JSON, since a strict model takes a date from a JSON string and from no Python one.
            return self.adapter.validate_json(to_json(value), by_alias=by_name, by_name=by_name)
        except ValidationError as error:
            raise ValueError(explain(error, within=within)) from error
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # nothing here waits, so a SystemExit or a cancellation is the type's own doing
            raise ValueError(f"it could not be checked: {type(error).__name__}: {error}") from error

    def _fitting(self, value: T) -> Fitting[T]:
        try:
            dumped = self.adapter.dump_python(value, mode="json", by_alias=True, warnings=False)
            return Fitting(value, to_json_value(dumped))
        except Exception as error:  # serialisers of the type's own, whatever they raise; values that JSON has not
            raise ConfigError(
                f"the output type {self.title} was read, and cannot be written as JSON: {first_line(error)}; "
                f"events carry it as JSON, so give the type a serializer"
            ) from error


def _title(of: object) -> str:
    return of.__name__ if isinstance(of, type) and not get_args(of) else str(of)


def _form(of: Any) -> _Form:
    """The form of a type; kept, since building one costs milliseconds and a run may be given its own output.

    Raises:
        ConfigError: The type cannot be read from JSON.
    """
    try:
        hash(of)
    except TypeError:  # `Annotated` with something unhashable in it
        return _form_of.__wrapped__(of, "")
    return _form_of(of, repr(of))


@functools.lru_cache(maxsize=256)
def _form_of(of: Any, shown: str) -> _Form:  # noqa: ARG001  `A | B` equals `B | A`, and the first that fits is taken
    if isinstance(of, str | dict):  # pydantic would look for a name, and take a dict for its own kind of schema
        raise ConfigError(f"output is {of!r}; it takes a type, such as a pydantic model")
    try:
        made = adapter.__wrapped__(of)
        inner = _at_top(untitled(made))
        if made.core_schema["type"] == "generator":
            raise TypeError("an iterator is used up once it is read; use a list")  # noqa: TRY301  told like the others
    except Exception as error:  # annotations bring code of their own, which pydantic runs
        raise ConfigError(
            f"output is {_title(of)}, which cannot be read from JSON ({first_line(error)}); use a pydantic model, "
            f"a dataclass, a TypedDict, a union of them, or list, dict, str, int, float, bool"
        ) from error
    if inner.get("type") == "object":
        return _Form(made, inner, wrapped=False, partial=partial_validator(made, None))
    return _Form(made, _wrap(inner), wrapped=True, partial=partial_validator(made, WRAPPED))


def _at_top(schema: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """`schema` with its own keys at the top; that of a type which holds itself is but a reference to them."""
    defined: Any = schema.get("$defs", {})
    name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    if name not in defined:
        return schema
    return {key: value for key, value in defined[name].items() if key != "title"} | {"$defs": defined}


def _wrap(inner: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """An object schema with one key; definitions stay at the top, where references look for them."""
    own = {key: value for key, value in inner.items() if key != "$defs"}
    wrapped: dict[str, JsonValue] = {
        "type": "object",
        "properties": {WRAPPED: own},
        "required": [WRAPPED],
        "additionalProperties": False,
    }
    return wrapped | ({"$defs": inner["$defs"]} if "$defs" in inner else {})
