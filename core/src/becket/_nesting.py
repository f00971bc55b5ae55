"""Where a run stands among others: the tool call in which it was started, and what that call means for it.

A run that is started in a tool call of another, on the same event loop, is nested in it: its events go into the log,
the sinks and the stream of the run above, it draws on the budgets of the runs above, and it is over before the call is.
One that is started elsewhere inside a run (in a sync tool, which has a thread; in a hook; in a provider) has a stream
of its own, but draws on the same budgets, counts to the same depth, and is cancelled with the run above.
"""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import ref

import anyio

from becket.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextvars import Token
    from weakref import ReferenceType

    from becket._driver import Driver
    from becket._plan import RunPlan

__all__ = ["Place", "check_depth", "current_place", "inherited", "mark"]

T = TypeVar("T")

# Weak: a task that lasts, or a connection that stays open, keeps the context that it was made in, and must not keep the
# run. A place is kept by the call that it surrounds, and by the run that it stands for.
_inside: ContextVar[ReferenceType[Place] | None] = ContextVar("becket_inside", default=None)


class Place:
    """What the current task works for: a run, and one of its tool calls, which this surrounds with `async with`.

    Attributes:
        run: The run.
        call_id: The tool call, or None where it is none.
        open: Whether the call goes on.
    """

    __slots__ = ("__weakref__", "_token", "call_id", "open", "run")

    _token: Token[ReferenceType[Place] | None]

    def __init__(self, run: Driver, call_id: str | None = None) -> None:
        self.run = run
        self.call_id = call_id
        self.open = True

    async def __aenter__(self) -> None:
        self._token = _inside.set(ref(self))

    async def __aexit__(self, *_: object) -> None:
        """The call is over, and so is every run that was started in it."""
        with suppress(ValueError):  # a coroutine whose loop has gone is closed in another context
            _inside.reset(self._token)
        self.open = False
        if self.run.children:
            await self._end_runs()

    async def _end_runs(self) -> None:
        """Cancel the runs that still go on, such as one whose stream was left early, and wait for those that are here.

        Bounded: a run that was cancelled is given up after its grace. None is here where the event loop has gone.
        """
        left = [child for child in tuple(self.run.children) if child.parent is self]
        for child in left:
            child.cancel("cancelled")
        if here := [child for child in left if child.is_here()]:
            with anyio.CancelScope(shield=True):
                for child in here:
                    await child.ended()

    def nests(self) -> bool:
        """Whether a run that is started here is nested, its events and all, in the run of this place."""
        return self.call_id is not None and self.run.is_here()

    def above(self) -> Iterator[Place]:
        """This place, the one in which its run was started, and so on to the root's."""
        at: Place | None = self
        while at is not None:
            yield at
            at = at.run.parent


def mark(run: Driver) -> Place:
    """Have the current task work for `run`, as long as what is returned is kept."""
    place = Place(run)
    _inside.set(ref(place))
    return place


def current_place() -> Place | None:
    """What the current task works for; None where that is no run, or one that is over, or a call that is."""
    kept = _inside.get()
    place = None if kept is None else kept()
    return place if place is not None and place.open and place.run.state == "running" else None


def inherited(plan: RunPlan, place: Place) -> RunPlan:
    """The plan of a run that is started here, with what it takes over from the run above.

    In a tool call that is what decides, policies and the hook `approve_tool`, so that no agent may do in another's name
    what that may not; and, where it is nested, whoever is asked, the person who has the run above before them, and the
    masks, since its events are seen with those of the run above. The prices too, where it has none.
    """
    above = place.run.plan
    changes: dict[str, Any] = {} if plan.prices else {"prices": above.prices}
    if place.call_id is not None and (above.policies or above.hooks.approve_tool):
        deciding = _joined(above.hooks.approve_tool, plan.hooks.approve_tool)
        changes["policies"] = _joined(above.policies, plan.policies)
        changes["hooks"] = replace(plan.hooks, approve_tool=deciding)
        changes["free"] = frozenset()
    if place.nests():
        if above.approver is not None:
            changes["approver"] = above.approver
        if above.masks:
            changes["masks"] = _joined(above.masks, plan.masks)
    return replace(plan, **changes)


def _joined(above: tuple[T, ...], own: tuple[T, ...]) -> tuple[T, ...]:
    return (*above, *(one for one in own if all(one is not other for other in above)))


def check_depth(place: Place) -> None:
    """Refuse to start a run here where that would be deeper than a run above allows.

    Raises:
        ToolError: It would; whichever tool tried to gets an error result that says so.
    """
    for depth, at in enumerate(place.above(), start=1):
        most = at.run.plan.limits.depth
        if most is not None and depth > most:
            raise ToolError(
                f"no agent can be run here: it would be nested {depth} deep, and the run of "
                f"{at.run.plan.agent!r} allows {most} (Limits(depth=...)); do it without another agent"
            )
