"""The table `[plugins.fallback]` of the user's configuration."""

from __future__ import annotations

from dataclasses import dataclass, field

from becket_fallback._lists import fault

__all__ = ["Settings"]


@dataclass(kw_only=True)
class Settings:
    """The lists of models that are asked one after the other.

    Attributes:
        models: By the name of the list, its models as `provider:model`, the one to ask first at the top.

    Raises:
        ValueError: A list is empty, or one of its models is none or stands in it twice.
    """

    models: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, models in self.models.items():
            if why := fault(name, models):
                raise ValueError(why)
