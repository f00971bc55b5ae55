"""Which recorded events belong together: a run, and those nested in it, which share its `seq` and its sinks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from becket import RunFailed, RunFinished

if TYPE_CHECKING:
    from becket import Event

__all__ = ["Roots"]


class Roots:
    """Finds the root run of each event, given in the order in which they were recorded."""

    __slots__ = ("_of",)

    def __init__(self) -> None:
        self._of: dict[str, str] = {}

    def root(self, event: Event) -> str:
        """The run at the root; its own, where nothing of the run above was recorded, as by a sink of a nested agent."""
        return self._of.setdefault(event.run_id, self._of.get(event.parent_run_id or "", event.run_id))

    def is_end(self, event: Event) -> bool:
        """Whether the event is the last of its root and of all that is nested in it."""
        if not isinstance(event, RunFinished | RunFailed):
            return False
        return self._of.pop(event.run_id, event.run_id) == event.run_id
