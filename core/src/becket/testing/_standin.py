"""What stands in the place of a provider while runs are recorded or replayed, and what sees of them what sinks see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from becket._plan import RunPlan

__all__ = ["StandIn", "masked"]


class StandIn:
    """A provider in whose place this one stands; what is not asked of `stream` is asked of it.

    Args:
        plan: The plan of the run that it is asked in, with that provider.
    """

    def __init__(self, plan: RunPlan) -> None:
        self._plan = plan

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plan.provider, name)


def masked(value: Any, plan: RunPlan) -> Any:
    """`value`, a JSON value, as the masks of a run's runtime leave it, through which its events have gone already."""
    for given in plan.masks:
        value = _through(given.item.mask, value)
    return value


def _through(mask: Any, value: Any) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, list):
        return [_through(mask, item) for item in value]
    if isinstance(value, dict):
        return {mask(key): _through(mask, item) for key, item in value.items()}
    return value
