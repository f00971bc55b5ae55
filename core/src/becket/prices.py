"""What models cost: a table given as data."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from becket.errors import ConfigError

if TYPE_CHECKING:
    from becket.content import Usage

__all__ = ["Price", "Prices"]

_PER: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a million tokens of a model cost, in whatever currency the whole table is in.

    Attributes:
        input: Tokens that the model reads.
        output: Tokens that it writes.
        cached: Tokens that it reads from the service's cache; None for the price of input.
        reasoning: Tokens that it writes as reasoning; None for the price of output.
    """

    input: float
    output: float
    cached: float | None = None
    reasoning: float | None = None

    def __post_init__(self) -> None:
        for part in dataclasses.fields(self):
            given: Any = getattr(self, part.name)
            if given is None and part.default is None:
                continue
            if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < math.inf:
                raise ConfigError(
                    f"the price of {part.name} is {given!r}; it must be a number from 0, per million tokens"
                )

    def cost(self, usage: Usage) -> float:
        """What a model call costs that used these tokens."""
        cached = self.input if self.cached is None else self.cached
        reasoning = self.output if self.reasoning is None else self.reasoning
        return (
            (usage.input_tokens - usage.cached_tokens) * self.input
            + usage.cached_tokens * cached
            + (usage.output_tokens - usage.reasoning_tokens) * self.output
            + usage.reasoning_tokens * reasoning
        ) / _PER


class Prices:
    """A table of prices, checked.

    Args:
        table: A `Price`, or a mapping with its fields, by `provider:model`, or by a pattern of it with `*` and `?`. The
            very name wins, else the first pattern that fits, in the order given.

    Raises:
        ConfigError: The table, or a price in it, is none.
    """

    __slots__ = ("_found", "_table")

    def __init__(self, table: Mapping[str, Price | Mapping[str, float]] | None = None) -> None:
        given: object = {} if table is None else table
        if not isinstance(given, Mapping):
            raise ConfigError(
                f"prices is {given!r}; it takes a mapping: {{'provider:model': Price(input=..., output=...)}}"
            )
        self._table = {_checked_name(name): _checked(name, price) for name, price in given.items()}
        self._found: dict[str, Price | None] = {}

    def __bool__(self) -> bool:
        return bool(self._table)

    def before(self, others: Mapping[str, Price | Mapping[str, float]]) -> Prices:
        """These, and the others for what they do not have."""
        return Prices({**self._table, **{name: price for name, price in others.items() if name not in self._table}})

    def find(self, model: str) -> Price | None:
        """The price of a model, `provider:model`; None where the table has none."""
        if not self._table:
            return None
        if model not in self._found:
            self._found[model] = self._look_up(model)
        return self._found[model]

    def need(self, model: str) -> Price:
        """The price of a model in a run whose cost is limited.

        Raises:
            ConfigError: There is none: the limit could never be reached.
        """
        if (price := self.find(model)) is not None:
            return price
        raise ConfigError(
            f"the cost of this run is limited (Limits(cost=...)), and there is no price for the model {model!r}; "
            f"add one: Runtime(prices={{{model!r}: Price(input=..., output=...)}}), "
            f'or [prices."{model}"] in your becket.toml'
        )

    def _look_up(self, model: str) -> Price | None:
        from fnmatch import fnmatchcase

        exact = self._table.get(model)
        return exact or next((price for name, price in self._table.items() if fnmatchcase(model, name)), None)


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise ConfigError(f"prices has {name!r} in it; it takes the names of models, as 'provider:model' or a pattern")
    return name


def _checked(name: str, given: object) -> Price:
    if isinstance(given, Price):
        return given
    fields = [part.name for part in dataclasses.fields(Price)]
    if not isinstance(given, Mapping):
        raise ConfigError(f"the price of {name!r} is {given!r}; it takes Price(input=..., output=...), or a mapping")
    if unknown := [key for key in given if key not in fields]:
        raise ConfigError(f"the price of {name!r} has {unknown[0]!r}; it has: {', '.join(fields)}")
    if missing := [key for key in ("input", "output") if key not in given]:
        raise ConfigError(f"the price of {name!r} lacks {missing[0]!r}; a price has both input and output")
    try:
        return Price(**given)
    except ConfigError as error:
        raise ConfigError(f"{name!r}: {error}") from None
