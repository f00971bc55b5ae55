"""Deciding on the tool calls of a run: what hooks make of a call, who forbids it, and who is asked."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

import anyio

from becket._values import JsonValue, clean_text, to_json_value
from becket.content import Text, ToolCall, ToolResult
from becket.errors import ConfigError
from becket.events import DecisionMade, DecisionRequested
from becket.policies import Allow, Ask, Deny, Edit, Said, combined, request_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from becket._dispatch import Dispatch
    from becket._plan import RunPlan
    from becket.effects import PlannedCall
    from becket.events import Event
    from becket.policies import Answer, Verdict
    from becket.tools import AnyTool, Effect

__all__ = ["KIND", "Decisions", "needless"]

KIND: Final = "approve_tool"
"""What a request to decide on a tool call is called."""

NOBODY: Final = "nobody is there to be asked"
HINT: Final = "a host lets somebody answer with Agent(approver=...), or names a policy that allows it"

_ANSWERS: Final = "answer with Allow(), Deny(reason), Edit(arguments), True or False"

_SCHEMA: Final[dict[str, JsonValue]] = {
    "type": "object",
    "properties": {
        "outcome": {"enum": ["allow", "deny", "edit"]},
        "reason": {"type": "string"},
        "arguments": {"type": "object"},
    },
    "required": ["outcome"],
}
"""The answer as JSON, for whoever is asked through a wire; `arguments` go with `edit`."""


def needless(tool: AnyTool, *, handed: bool) -> bool:
    """Whether every call of the tool may be made where nobody says anything of it."""
    return tool.effect_is_fixed and isinstance(_rule(tool, tool.effect, handed=handed), Allow)


def _rule(tool: AnyTool, effect: Effect, *, handed: bool) -> Verdict:
    """What the effect of a call says where nobody else does.

    A tool that does not say what it does counts as one that writes. One that the host has handed over as an object is
    granted by that, unless it says itself that it writes: then it wants to be asked about.
    """
    if effect in ("none", "read") or (handed and not tool.effect_stated):
        return Allow()
    where = "beyond this machine" if tool.reach == "network" else "on this machine"
    return Ask(f"it may change something {where}")


class Decisions:
    """Decides on the tool calls of one run.

    Args:
        plan: The agent, resolved.
        dispatch: Calls the hooks and the policies.
        emit: Where the events go.
        now: Gives the time, in seconds since the epoch.
    """

    __slots__ = ("_dispatch", "_emit", "_now", "_pending", "_plan")

    def __init__(
        self, plan: RunPlan, dispatch: Dispatch, *, emit: Callable[[Event], object], now: Callable[[], float]
    ) -> None:
        self._plan = plan
        self._dispatch = dispatch
        self._emit = emit
        self._now = now
        self._pending: dict[str, _Pending] = {}

    async def decide(self, planned: PlannedCall) -> PlannedCall:
        """The call as it is to be made: rewritten, edited, or with a result that stands for its.

        Raises:
            PluginError: A hook that rewrites calls has failed.
            Exception: Whatever the approver has raised.
        """
        call = planned.call
        if call.malformed is not None:
            return planned
        made = await self._dispatch.before_tool(call)
        if isinstance(made, ToolResult):
            return replace(planned, instead=made)
        planned = replace(planned, call=made)
        tool = self._plan.tools.get(made.tool)
        return planned if tool is None else await self._approved(planned, tool)

    async def _approved(self, planned: PlannedCall, tool: AnyTool) -> PlannedCall:
        """The call, if nobody denies it."""
        said = await self._said(planned.call, tool)
        if isinstance(said.verdict, Allow):
            return planned
        name = request_id(*planned.key[:3], planned.call)
        if isinstance(said.verdict, Deny):
            return self._denied(planned, name, said.by, said.verdict.reason)
        if not tool.accepts(planned.call.arguments):
            return planned  # it will be told what is wrong with them: nobody is to be asked about such a call
        if self._plan.approver is None:
            return self._denied(planned, name, said.by, f"{said.verdict.reason}, and {NOBODY}", HINT)
        return await self._asked(planned, tool, name, said.verdict.reason)

    async def _said(self, call: ToolCall, tool: AnyTool) -> Said:
        rule = _rule(tool, tool.effect_of(call.arguments), handed=tool.name in self._plan.handed)
        said = combined(await self._dispatch.verdicts(call, tool), rule)
        return said if said.by else replace(said, by=f"the effect of {tool.name}")

    async def _asked(self, planned: PlannedCall, tool: AnyTool, name: str, why: str) -> PlannedCall:
        """Ask, wait for the answer, and do as it says."""
        call, seconds = planned.call, self._plan.limits.decision_seconds
        deadline = None if seconds is None else self._now() + seconds
        whom: Literal["reader", "approver"] = "reader" if self._plan.approver == "reader" else "approver"
        answer, by = await self._answer(DecisionRequested(name, KIND, call, why, _SCHEMA, deadline, whom), seconds)
        if isinstance(answer, Deny):
            return self._denied(planned, name, by, answer.reason)
        if isinstance(answer, Edit):
            planned = replace(planned, call=ToolCall(call.id, call.tool, dict(answer.arguments)))
            said = await self._said(planned.call, tool)
            if isinstance(said.verdict, Deny):
                return self._denied(planned, name, said.by, said.verdict.reason)
        self._emit(DecisionMade(name, "edit" if isinstance(answer, Edit) else "allow", by, call.id, answer.reason))
        return planned

    async def _answer(self, request: DecisionRequested, seconds: float | None) -> tuple[Answer, str]:
        """What was answered, and by whom."""
        with anyio.move_on_after(seconds):
            if self._plan.approver == "reader":
                return await self._of_reader(request), "the reader"
            self._emit(request)
            return await self._of_approver(request), "the approver"
        return Deny(f"nobody has answered within {seconds:g} s"), "the time limit"

    async def _of_reader(self, request: DecisionRequested) -> Answer:
        name = request.request_id
        pending = self._pending[name] = _Pending()
        try:
            self._emit(request)
            await pending.answered.wait()
        finally:
            del self._pending[name]
        return pending.answer

    async def _of_approver(self, request: DecisionRequested) -> Answer:
        approver: Any = self._plan.approver
        called = approver if inspect.isroutine(approver) else type(approver).__call__
        if inspect.iscoroutinefunction(called):
            return checked(await approver(request))
        given = await self._plan.threads.run("the approver", lambda: approver(request))
        return checked(await given if inspect.isawaitable(given) else given)

    def waits(self, name: str) -> bool:
        """Whether the reader is to answer this request."""
        return name in self._pending

    def answer(self, name: str, answer: Answer | bool) -> None:
        """Take the reader's answer.

        Raises:
            ConfigError: There is no such open request, or it is no answer.
        """
        pending = self._pending.get(name)
        if pending is None or pending.answered.is_set():
            raise ConfigError(
                f"there is no open request {name!r} in this run: it was answered, it has lapsed, the run is over, or "
                f"the agent has another approver than 'reader'"
            )
        pending.answer = checked(answer)
        pending.answered.set()

    def _denied(self, planned: PlannedCall, name: str, by: str, reason: str, hint: str = "") -> PlannedCall:
        """The call with a result that says why it is not made; a hint is for the host, and not for the model."""
        call, reason = planned.call, clean_text(reason)
        self._emit(DecisionMade(name, "deny", by, call.id, f"{reason}; {hint}" if hint else reason))
        told = Text(f"{call.tool} was not called, the call was denied: {reason}")
        return replace(planned, instead=ToolResult(call.id, "denied", (told,)))


class _Pending:
    """A request that the reader has not answered yet."""

    __slots__ = ("answer", "answered")

    answer: Answer

    def __init__(self) -> None:
        self.answered = anyio.Event()


def checked(answer: object) -> Answer:
    """What was answered, with its reason and the arguments of an edit as they can stand in an event.

    Raises:
        ConfigError: It is no answer.
    """
    if isinstance(answer, bool):
        return Allow() if answer else Deny("whoever was asked has said no")
    if isinstance(answer, Allow | Deny | Edit) and isinstance(answer.reason, str):
        answer = replace(answer, reason=clean_text(answer.reason))
        return _edit(answer) if isinstance(answer, Edit) else answer
    raise ConfigError(f"{answer!r} answers nothing; {_ANSWERS}")


def _edit(answer: Edit) -> Edit:
    try:
        arguments = to_json_value(answer.arguments)
    except ValueError as error:
        raise ConfigError(f"the arguments of {answer!r} are no JSON: {error}") from error
    if isinstance(arguments, dict):
        return replace(answer, arguments=arguments)
    raise ConfigError(f"{answer!r} answers nothing: its arguments are no JSON object; {_ANSWERS}")
