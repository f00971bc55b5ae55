"""What hooks that are called in a run are told of it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["HookContext"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HookContext:
    """The run in which a hook is called. Later versions may tell more.

    Attributes:
        run_id: The run.
        agent: The agent's name.
        model: The agent's model, as `provider:model`.
        cycle: The cycle, from 1.
        session_id: The session that the run belongs to, or None.
        context: The object that the host passed as `context=` to the run.
    """

    run_id: str
    agent: str
    model: str
    cycle: int = 1
    session_id: str | None = None
    context: object = None
