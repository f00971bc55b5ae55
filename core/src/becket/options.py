"""What a host may ask of the model and allow a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from becket._values import JsonValue
from becket.errors import ConfigError

__all__ = ["Limits", "ModelOptions", "ToolChoice"]

ToolChoice: TypeAlias = Literal["auto", "any", "none"] | str
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
        if self.temperature is not None and self.temperature < 0:
            raise ConfigError(f"temperature is {self.temperature}; it must be 0 or above")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p is {self.top_p}; it must be above 0 and at most 1")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ConfigError(f"max_tokens is {self.max_tokens}; it must be 1 or above")


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
        argument_chars: Characters that the arguments of one call may have; a longer call gets an error result.
    """

    cycles: int | None = 100
    tool_calls: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    silence_seconds: float | None = 300.0
    tool_seconds: float | None = 300.0
    argument_chars: int = 1_000_000

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            limit = getattr(self, item.name)
            if limit is not None and limit <= 0:
                raise ConfigError(f"the limit {item.name} is {limit}; it must be above 0, or None for no limit")
