"""What a host may ask of the model and allow a run."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from becket.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a run may use. Reaching a limit ends the run with a stop reason, never with an exception. None: no limit.

    Attributes:
        cycles: Model calls. The default stops a model that calls tools in circles.
        tool_calls: Tool calls in all.
        tokens: Input and output tokens of all model calls together, checked between calls.
        seconds: Wall time of the run.
        silence_seconds: How long a model may send nothing; after that, twice that at the latest, its call fails.
        tool_seconds: Wall time of one tool call, where the tool sets none itself; the call then gets an error result.
        hook_seconds: Wall time of one call of an async hook, or of a policy.
        decision_seconds: How long a decision on a tool call is waited for; after that, the call is denied.
        argument_chars: Characters that the arguments of one call may have; a longer call gets an error result.
    """

    cycles: int | None = 100
    tool_calls: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    silence_seconds: float | None = 300.0
    tool_seconds: float | None = 300.0
    hook_seconds: float | None = 30.0
    decision_seconds: float | None = 600.0
    argument_chars: int | None = 1_000_000

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            _check(
                f"the limit {item.name}",
                getattr(self, item.name),
                lambda given: 0 < given < math.inf,
                "a number above 0",
            )


def _check(name: str, given: object, fits: Callable[[float], bool], wanted: str) -> None:
    if given is not None and not (isinstance(given, int | float) and fits(given)):
        raise ConfigError(f"{name} is {given!r}; it must be {wanted}, or None to set none")
