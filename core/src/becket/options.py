"""What a host may ask of the model and allow a run."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from becket.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from becket._values import JsonValue

__all__ = ["Limits", "ModelOptions", "ToolChoice"]

ToolChoice: TypeAlias = Literal["auto", "any", "none"] | str  # noqa: PYI051  an editor offers the three
"""`auto`: the model decides; `any`: it must call a tool; `none`: it must not; else the name of the tool to call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """Options of a model call. None leaves a choice to the service.

    Attributes:
        temperature: 0 for the likeliest token each time; services stop at 1 or 2.
        top_p: Probability mass to sample from, above 0, at most 1.
        max_tokens: Tokens that one answer may have.
        tool_choice: Whether tools may, must or must not be called; see `ToolChoice`.
        stop: Texts at which the model stops.
        seed: Asks for repeatable sampling, where the service has it.
        extra: Options of one vendor, passed to it as they are.
    """

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    tool_choice: ToolChoice = "auto"
    stop: tuple[str, ...] = ()
    seed: int | None = None
    extra: Mapping[str, JsonValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check("temperature", self.temperature, lambda given: 0 <= given < math.inf, "a number from 0")
        _check("top_p", self.top_p, lambda given: 0 < given <= 1, "a number above 0 and at most 1")
        _check("max_tokens", self.max_tokens, lambda given: given >= 1, "a number from 1")
        stop: object = self.stop
        if isinstance(stop, str):
            raise ConfigError(f"stop is the text {stop!r}; it must be a tuple of texts: ({stop!r},)")
        for name, given, kind, wanted in (
            ("tool_choice", self.tool_choice, str, "'auto', 'any', 'none' or the name of a tool"),
            ("seed", self.seed, int | None, "a whole number, or None to set none"),
        ):
            if not isinstance(given, kind):
                raise ConfigError(f"{name} is {given!r}; it must be {wanted}")
        extra: object = self.extra
        if not isinstance(extra, Mapping):
            raise ConfigError(f'extra is {extra!r}; it must be a mapping of option names to values: {{"top_k": 20}}')


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a run may use. Reaching a limit ends the run with a stop reason, never with an exception. None: no limit.

    Tool calls, tokens, cost and seconds are those of the run and of all that are nested in it; a nested run that meets
    a limit of a run above ends with it, and so does that one. The other limits are those of each run by itself.

    Attributes:
        cycles: Model calls. The default stops a model that calls tools in circles.
        tool_calls: Tool calls in all.
        tokens: Input and output tokens of all model calls together, checked before each call.
        cost: What all model calls cost together, in the currency of the prices (`Runtime(prices=...)`), checked before
            each call. A model without a price is then a `ConfigError`.
        seconds: Wall time of the run.
        depth: How deep runs may be nested in this one: 1 allows agents as its tools, and these none of their own; 0
            allows none.
        silence_seconds: How long a model may send nothing; after that, twice that at the latest, its call fails.
        tool_seconds: Wall time of one tool call, where the tool sets none itself; the call then gets an error result.
        hook_seconds: Wall time of one call of an async hook, or of a policy.
        decision_seconds: How long a decision on a tool call is waited for; after that, the call is denied.
        argument_chars: Characters that the arguments of one call may have; a longer call gets an error result.
    """

    cycles: int | None = 100
    tool_calls: int | None = None
    tokens: int | None = None
    cost: float | None = None
    seconds: float | None = None
    silence_seconds: float | None = 300.0
    tool_seconds: float | None = 300.0
    hook_seconds: float | None = 30.0
    decision_seconds: float | None = 600.0
    argument_chars: int | None = 1_000_000
    depth: int | None = 8

    def __post_init__(self) -> None:
        _check("the limit depth", self.depth, lambda given: 0 <= given < math.inf, "a number from 0")
        for item in dataclasses.fields(self):
            if item.name != "depth":
                _check(
                    f"the limit {item.name}",
                    getattr(self, item.name),
                    lambda given: 0 < given < math.inf,
                    "a number above 0",
                )


def _check(name: str, given: object, fits: Callable[[float], bool], wanted: str) -> None:
    if given is not None and not (isinstance(given, int | float) and fits(given)):
        raise ConfigError(f"{name} is {given!r}; it must be {wanted}, or None to set none")
