"""How becket's values are made: slots dataclasses, frozen for the type checker, cleaned and encoded at the borders.

Frozen at run time they would cost six to nine times as much to build (measured with ten fields: plain 0.3 to 0.5 us,
frozen 2.6 to 3.2), and one is built per token.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, field, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, TypeVar, dataclass_transform

from becket.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from pydantic import TypeAdapter

    JsonValue: TypeAlias = dict[str, "JsonValue"] | list["JsonValue"] | str | int | float | bool | None
else:
    JsonValue = Any  # pydantic then serialises by the value itself; what enters was made JSON by `to_json_value`

__all__ = [
    "DEPTH",
    "ByType",
    "JsonValue",
    "Value",
    "adapter",
    "clean_json",
    "clean_text",
    "read_state",
    "to_json_value",
    "value",
]

V = TypeVar("V", bound="Value")
S = TypeVar("S")

DEPTH: Final = 100
"""Levels of lists and objects that a JSON value may have. pydantic writes 255 and reads 200, the event's included."""


class Value:
    """What the values share: equality by class and fields, no hash, and a repr of what differs from the defaults.

    Written once here: `dataclass` would compile an `__eq__` for each class (importing the events: 6.9 ms, so 5.5).
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]  # as for every object that compares by what it holds

    _own: ClassVar[Callable[[Any], Any]]
    _shown: ClassVar[tuple[Field[Any], ...]]

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        own = type(self)._own
        return bool(own(self) == own(other))

    def __repr__(self) -> str:
        shown = (_show(f, getattr(self, f.name)) for f in self._shown)
        return f"{type(self).__name__}({', '.join(text for text in shown if text)})"


def _show(of: Field[Any], given: Any) -> str:
    """One field of a repr, empty where it has its default."""
    default = of.default if of.default_factory is MISSING else of.default_factory()
    return "" if default is not MISSING and given == default else f"{of.name}={given!r}"


@dataclass_transform(frozen_default=True, eq_default=True, field_specifiers=(field,))
def value(cls: type[V]) -> type[V]:
    """Make `cls` a slots dataclass that compares by value, is not hashable, and is frozen for the type checker."""
    made = dataclass(slots=True, repr=False, eq=False)(cls)
    made._own = attrgetter(*(f.name for f in fields(made)))  # type: ignore[arg-type]  # noqa: SLF001  Value's own
    shown = [f for f in fields(made) if f.init and f.repr]  # type: ignore[arg-type]  # as above
    made._shown = tuple(sorted(shown, key=lambda f: f.kw_only is True))  # noqa: SLF001  as above
    return made


class ByType:
    """Marks a union that is read back by the `type` of its members.

    pydantic's own mark would have to be imported with the module. Without one it takes the first class that fits, and
    reasoning would be read back as text.
    """

    __slots__ = ()

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """The schema of the union, built by pydantic when it builds an adapter."""
        from pydantic import Field

        return handler.generate_schema(Annotated[source, Field(discriminator="type")])


@functools.lru_cache(maxsize=256)
def adapter(of: Any) -> TypeAdapter[Any]:
    """The pydantic adapter of a type, built on first use: building one costs milliseconds, importing pydantic 100."""
    from pydantic import TypeAdapter

    return TypeAdapter(of)


def clean_text(text: str) -> str:
    """`text` with each lone surrogate replaced by U+FFFD: one would make the event that carries it unserialisable."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def read_state(cls: type[S], raw: str | bytes, what: str, version: int) -> S:
    """The state of this class that its `to_json` wrote.

    Raises:
        ProtocolError: `raw` is no such state, or one of a later version than `version`.
    """
    from pydantic_core import from_json

    try:
        state = from_json(raw)
        stored = state.get("version", 1) if isinstance(state, dict) else 1
        if isinstance(stored, int) and stored > version:
            raise ProtocolError(f"{what} was stored by a newer becket (state version {stored}); upgrade to go on")
        read: S = adapter(cls).validate_python(state)  # type: ignore[arg-type]  # a class is hashable
    except (ValueError, TypeError) as error:  # pydantic's ValidationError is a ValueError
        raise ProtocolError(f"this is not {what}: {error}") from error
    return read


_SMALL: Final = 2**63
_SCALARS: Final = (int, float, bool, type(None))  # asking each for its abstract base class is what costs


def to_json_value(raw: object) -> JsonValue:
    """A JSON value equal to `raw`: what pydantic can serialise, tuples as lists, NaN and infinity as null.

    Raises:
        ValueError: `raw` holds something that JSON cannot: an open file or another iterator, a lock, bytes that are
            no text, a reference to itself, more than `DEPTH` levels.
    """
    if raw is None or isinstance(raw, bool | str):
        return clean_text(raw) if isinstance(raw, str) else raw
    if type(raw) is int and -_SMALL < raw < _SMALL:
        return raw
    from pydantic_core import PydanticSerializationError, from_json, to_json, to_jsonable_python

    try:
        plain = clean_json(to_jsonable_python(clean_json(raw)))
        return from_json(to_json(plain, inf_nan_mode="null"))  # type: ignore[no-any-return]
    except (PydanticSerializationError, UnicodeError) as error:
        raise ValueError(f"it cannot be written as JSON: {error}") from error


def clean_json(raw: Any, *, depth: int = DEPTH) -> Any:
    """`raw` with the text in plain containers cleaned, tuples as lists; other objects are left to pydantic.

    Raises:
        ValueError: It has more than `depth` levels, or holds an iterator: pydantic would use that up, or never end.
    """
    if isinstance(raw, str):
        return clean_text(raw)
    if isinstance(raw, dict | list | tuple):
        if depth == 0:
            raise ValueError(f"it is nested more than {DEPTH} levels deep, or holds itself")
        return _cleaned(raw, depth - 1)
    if type(raw) not in _SCALARS and isinstance(raw, Iterator):
        raise ValueError(f"it holds an iterator ({type(raw).__name__}), where a list is wanted")
    return raw


def _cleaned(raw: Any, depth: int) -> Any:
    if isinstance(raw, dict):
        return {
            clean_text(key) if isinstance(key, str) else key: clean_json(item, depth=depth) for key, item in raw.items()
        }
    return [clean_json(item, depth=depth) for item in raw]
