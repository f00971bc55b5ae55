"""What the model of a plugin's configuration allows at each place, read from its annotations.

pydantic says whether a value is right. It does not say what else there is beside a key that is not known, which keys a
project may set, and what is a secret before it has been validated; and it takes 0.1 s to import, which a plugin whose
table is not there should not cost.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

from becket.config import ProjectMaySet

__all__ = ["Shape", "is_model", "required"]

_WRAPPERS: Final = (typing.Required, typing.NotRequired, typing.Final)

_DEEPEST: Final = 4
"""How far a shape is looked into for secrets. A model may hold itself."""


def is_model(item: object) -> bool:
    """Whether it is a class that can stand for a table: a pydantic model, a dataclass or a TypedDict."""
    return inspect.isclass(item) and (dataclasses.is_dataclass(item) or _is_typeddict(item) or _is_pydantic(item))


def required(model: type) -> list[str]:
    """The keys that a table of this model must have."""
    if _is_typeddict(model):
        return _required_of_typeddict(model)
    if _is_pydantic(model):
        fields: Mapping[str, Any] = getattr(model, "model_fields", {})
        return [_aliases(name, info)[0] for name, info in fields.items() if info.is_required()]
    return [
        item.name
        for item in dataclasses.fields(model)
        if item.init and item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
    ]


class Shape:
    """What may stand at one place of a table.

    Args:
        annotation: The annotation of the place.
        marked: Whether a project may set what holds it.

    Attributes:
        secret: Whether a secret may stand there.
        marked: Whether a project may set it, as far as the marks say.
    """

    __slots__ = ("_each", "_keys", "_open", "marked", "secret")

    def __init__(self, annotation: object, *, marked: bool = False) -> None:
        self._keys: dict[str, object] = {}
        self._each: list[object] = []
        self._open = False
        self.secret = False
        self.marked = marked
        self._take(annotation)

    def __repr__(self) -> str:
        return f"<shape with the keys {', '.join(self._keys) or 'none'}>"

    @property
    def keys(self) -> list[str]:
        """The keys of the table that may stand there, as far as they are known."""
        return list(self._keys)

    @property
    def takes_table(self) -> bool:
        """Whether a table may stand there whose inside is known."""
        return bool(self._keys or self._each or self._open)

    def may_hold_secret(self, deep: int = _DEEPEST) -> bool:
        """Whether a secret may stand there, or in a list or table that may: a text in its place then may be one."""
        if self.secret or deep == 0:
            return self.secret
        inside = [self.each] if self._each else []
        return any(one.may_hold_secret(deep - 1) for one in (*inside, *filter(None, map(self.at, self._keys))))

    def at(self, key: str) -> Shape | None:
        """What may stand under a key of the table; None where the key is not known."""
        if key in self._keys:
            return Shape(self._keys[key], marked=self.marked)
        return self.each if self._each or self._open else None

    @property
    def each(self) -> Shape:
        """What may be an item of the list, or a value of a table whose keys are free."""
        return Shape(typing.Union[tuple(self._each) or (Any,)], marked=self.marked)  # noqa: UP007  of a list of them

    def _take(self, annotation: object) -> None:
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is Annotated:
            if any(isinstance(item, ProjectMaySet) or item is ProjectMaySet for item in arguments[1:]):
                self.marked = True
            self._take(arguments[0])
        elif origin in _WRAPPERS:
            self._take(arguments[0])
        elif origin in {typing.Union, types.UnionType}:
            for one in arguments:
                self._take(one)
        elif annotation is Any or annotation is object:
            self._open = True
        elif value := getattr(annotation, "__value__", None):  # an alias by the `type` statement
            self._take(value)
        else:
            self._take_class(origin or annotation, arguments)

    def _take_class(self, cls: object, arguments: tuple[object, ...]) -> None:
        if not inspect.isclass(cls):
            return
        if _is_secret(cls):
            self.secret = True
        elif is_model(cls):
            self._open = self._open or _is_open(cls)
            fields = _fields(cls)
            if getattr(cls, "__pydantic_root_model__", False):
                self._take(fields["root"])
            else:
                self._keys |= fields
        elif issubclass(cls, Mapping):
            self._each += arguments[1:] or (Any,)
        elif issubclass(cls, Iterable) and not issubclass(cls, str | bytes):
            self._each += [argument for argument in arguments if argument is not ...] or (Any,)


def _fields(model: type) -> dict[str, object]:
    """The keys of a model with their annotations."""
    if _is_pydantic(model):
        fields: Mapping[str, Any] = getattr(model, "model_fields", {})
        return {alias: _annotation(info) for name, info in fields.items() for alias in _aliases(name, info, model)}
    hints = typing.get_type_hints(model, include_extras=True)
    if dataclasses.is_dataclass(model):
        return {item.name: hints[item.name] for item in dataclasses.fields(model) if item.init}
    return hints


def _annotation(info: Any) -> object:
    """The annotation of a field of pydantic's, which has looked up the names in it and taken it apart."""
    return Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation


def _aliases(name: str, info: Any, model: Any = None) -> list[str]:
    """The keys by which pydantic takes a field."""
    alias = info.validation_alias or info.alias
    choices = getattr(alias, "choices", [alias])
    aliases = [choice for choice in choices if isinstance(choice, str)]
    config = getattr(model, "model_config", {})
    by_name = not aliases or config.get("populate_by_name") or config.get("validate_by_name")
    return [*aliases, name] if by_name else aliases


def _required_of_typeddict(model: type) -> list[str]:
    # Where annotations are texts, as they are in most modules, Python itself does not see the marks in them.
    hints = typing.get_type_hints(model, include_extras=True)
    origins = {key: typing.get_origin(hint) for key, hint in hints.items()}
    keys: frozenset[str] = getattr(model, "__required_keys__", frozenset())
    return [
        key
        for key, origin in origins.items()
        if origin is typing.Required or (key in keys and origin is not typing.NotRequired)
    ]


def _is_typeddict(item: type) -> bool:
    # Not typing.is_typeddict: before Python 3.12 pydantic wants those of typing_extensions, which it does not know.
    return issubclass(item, dict) and hasattr(item, "__required_keys__")


def _is_open(model: Any) -> bool:
    """Whether the model itself takes keys that it does not declare."""
    config = getattr(model, "model_config", None) or getattr(model, "__pydantic_config__", None) or {}
    return bool(config.get("extra") == "allow")


def _is_pydantic(item: type) -> bool:
    pydantic = sys.modules.get("pydantic")  # where nobody has imported it, nothing is of its kind
    return pydantic is not None and issubclass(item, pydantic.BaseModel)


def _is_secret(cls: type) -> bool:
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and issubclass(cls, (pydantic.Secret, pydantic.SecretStr, pydantic.SecretBytes))
