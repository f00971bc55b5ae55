"""The settings: the table `[plugins.openai-server]` of the user's configuration, or an object made in code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from becket import ConfigError

__all__ = ["Settings", "SettingsError", "ShownTools"]

ShownTools: TypeAlias = Literal["hidden", "reasoning", "events"]
"""What a client sees of the tools that its agent calls.

`hidden`: nothing; `reasoning`: a line for each call and each result, as reasoning; `events`: becket's own events, in
the member `becket`.
"""


class SettingsError(ConfigError, ValueError):
    """A setting is wrong. A `ValueError`, so that pydantic tells it with the place in the file."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What clients see besides the answer's text. It holds for all of them: what an agent does is its host's to show.

    Attributes:
        reasoning: Whether the model's reasoning is sent, as `reasoning_content`: no part of OpenAI's API, but what
            DeepSeek began and most front ends show.
        tools: What is sent of tools, their arguments and results; see `ShownTools`.

    Raises:
        SettingsError: One of them is wrong.
    """

    reasoning: bool = False
    tools: Literal["hidden", "reasoning", "events"] = "hidden"

    def __post_init__(self) -> None:
        if self.tools not in get_args(ShownTools):
            allowed = ", ".join(map(repr, get_args(ShownTools)))
            raise SettingsError(f"tools is {self.tools!r}; it is one of: {allowed}")
