"""What an agent comes to once its names are looked up: everything a run needs, resolved once and shared by its runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from becket._outcome import OutputPlan
    from becket._table import HookTable
    from becket._threads import WorkerThreads
    from becket.log import EventLog
    from becket.masks import Mask
    from becket.options import Limits, ModelOptions
    from becket.plugins import Contribution
    from becket.policies import Approver, Policy
    from becket.prices import Prices
    from becket.providers import Provider, ToolSpec
    from becket.retries import RetryPolicy
    from becket.sinks import RunInfo, Sink
    from becket.tools import AnyTool

__all__ = ["RunPlan"]  # and `stand_in`, which is set in this module, and so is not for import


@dataclass(frozen=True, slots=True)
class RunPlan:
    """An agent, resolved.

    Attributes:
        agent: The agent's name.
        provider: The provider of its model.
        model: The model's name without the provider's.
        model_id: The model, as `provider:model`.
        priced: The models that may answer, as `provider:model`: they need a price where the cost is limited.
        system_prompt: The system prompt.
        tools: The tools by name.
        specs: The tools as a model is told of them.
        options: The model's options.
        limits: The limits of a run.
        output: The structured output that its runs are to give, or None.
        prices: What models cost.
        retry: When a failed model call is made again; None for never.
        sinks: What observes its runs.
        masks: What all text of its events passes through.
        hooks: The hooks of plugins that are called in its runs.
        policies: What the host has named to decide on tool calls.
        approver: Who is asked; None for nobody.
        handed: The names of tools that the host gave as objects.
        free: The names of tools whose every call may be made without a look at it.
        callback_handler: What is called with each event's mapping.
        threads: Where sync tools run.
        make_log: Makes the log of a run.
    """

    agent: str
    provider: Provider
    model: str
    model_id: str
    priced: tuple[str, ...]
    system_prompt: str
    tools: Mapping[str, AnyTool]
    specs: tuple[ToolSpec, ...]
    options: ModelOptions
    limits: Limits
    output: OutputPlan | None
    prices: Prices
    retry: RetryPolicy | None
    sinks: tuple[Sink, ...]
    masks: tuple[Contribution[Mask], ...]
    hooks: HookTable
    policies: tuple[Policy, ...]
    approver: Approver | None
    handed: frozenset[str]
    free: frozenset[str]
    callback_handler: Callable[..., Any] | None
    threads: WorkerThreads
    make_log: Callable[[RunInfo], EventLog]


stand_in: Callable[[RunPlan, str, bool], RunPlan] | None = None
"""What gives a run another plan as it starts: a recording, for the time of a test (see `becket.testing.Recording`).

It is given the plan, the run's id, and whether the run is started inside of another one.
"""
