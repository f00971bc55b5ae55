"""Calling the hooks of a run: each within its time limit, and each failure as the hook's own rule has it."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from becket._calls import from_outside, unwrap
from becket._gone import gone
from becket._log import logger
from becket._table import Implementation
from becket._values import clean_text
from becket._yielded import Yielded
from becket.content import Message, ToolCall, ToolResult, Usage, checked_block, to_messages
from becket.errors import ConfigError, PluginError, ProtocolError
from becket.events import (
    ErrorInfo,
    ExtensionDelta,
    ModelFinished,
    PluginEvent,
    PluginFailed,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)
from becket.hooks import HookContext
from becket.plugins import Plugin
from becket.policies import Allow, Ask, Deny, Said
from becket.providers import ModelRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from becket._alarm import Alarm
    from becket._backend import Backend
    from becket._plan import RunPlan
    from becket.effects import ModelAnswer
    from becket.events import Event, ModelEvent
    from becket.policies import Policy, Verdict
    from becket.sinks import RunInfo
    from becket.tools import AnyTool
    from becket.turn import Turn

__all__ = ["Dispatch"]

T = TypeVar("T")
Paired = TypeVar("Paired", ToolCall, ToolResult)

_ANSWER = (TextDelta, ReasoningDelta, ToolCallDelta, ExtensionDelta, ModelFinished, PluginEvent)


class Dispatch:
    """Calls the hooks of one run.

    Args:
        plan: The agent, resolved; with the table of hooks, and the policies.
        turn: The run's state.
        info: What identifies the run.
        context: The host's object.
        backend: The event loop of the run.
        alarm: Its time limits.
        emit: Where a failure is reported.
        stuck: Called with a name when a hook has swallowed the cancellation that its time limit sent.
        grace: Seconds that a hook has to end once its time limit has cancelled it.
    """

    __slots__ = (
        "_alarm",
        "_backend",
        "_context",
        "_ctx",
        "_deciding",
        "_emit",
        "_grace",
        "_info",
        "_seconds",
        "_stuck",
        "_system",
        "_table",
        "_turn",
    )

    def __init__(
        self,
        plan: RunPlan,
        turn: Turn,
        info: RunInfo,
        *,
        context: object,
        backend: Backend,
        alarm: Alarm,
        emit: Callable[[Event], object],
        stuck: Callable[[str], None],
        grace: float,
    ) -> None:
        self._table = plan.hooks
        self._deciding = [(hook, False) for hook in plan.hooks.approve_tool]
        self._deciding += [(_as_hook(policy), True) for policy in plan.policies]
        self._seconds = plan.limits.hook_seconds
        self._turn = turn
        self._info = info
        self._context = context
        self._backend = backend
        self._alarm = alarm
        self._emit = emit
        self._stuck = stuck
        self._grace = grace
        self._system: str | None = None
        self._ctx: HookContext | None = None

    # -- the hooks -------------------------------------------------------------------------------------------------

    async def system_prompt(self, given: str) -> str:
        """`given` and what the hooks add to it; asked for once a run."""
        if self._system is None:
            parts = [given]
            for hook in self._table.system_prompt:
                try:
                    parts.append(clean_text(_typed(hook, await self._call(hook), str, "a text") or ""))
                except PluginError as error:
                    self._report(hook, error)
            self._system = "\n\n".join(part for part in parts if part)
        return self._system

    async def messages(self, messages: Sequence[Message]) -> Sequence[Message]:
        """What the model is sent of the history.

        Raises:
            PluginError: A hook has failed, or made a history that no service would take.
        """
        for hook in self._table.transform_messages:
            messages = tuple(messages)  # a view, and no way to the history itself
            given = await self._call(hook, messages=messages)
            if given is not None:
                messages = _history(hook, given)
        return messages

    async def before_model(self, request: ModelRequest) -> ModelRequest | list[ModelEvent]:
        """The request to make, or the events that stand for its answer.

        Raises:
            PluginError: A hook has failed.
        """
        for hook in self._table.before_model_call:
            given = await self._call(hook, request=request)
            if isinstance(given, list | tuple):
                return _answer(hook, given)
            request = _typed(hook, given, ModelRequest, "a ModelRequest or a list of events") or request
        return request

    async def after_model(self, request: ModelRequest, answer: ModelAnswer) -> None:
        """Show the answer to the hooks."""
        for hook in self._table.after_model_call:
            try:
                await self._call(hook, request=request, answer=answer)
            except PluginError as error:
                self._report(hook, error)

    async def before_tool(self, call: ToolCall) -> ToolCall | ToolResult:
        """The call to make, or the result that stands for it.

        Raises:
            PluginError: A hook has failed.
        """
        for hook in self._table.before_tool_call:
            given = await self._call(hook, call=call)
            given = _typed(hook, given, (ToolCall, ToolResult), "a ToolCall or a ToolResult")
            if isinstance(given, ToolResult):
                return _paired(hook, given, given.call_id, call)
            if given is not None:
                call = _paired(hook, given, given.id, call)
        return call

    async def after_tool(self, call: ToolCall, result: ToolResult) -> ToolResult:
        """The result that the model gets.

        Raises:
            PluginError: A hook has failed.
        """
        for hook in self._table.after_tool_call:
            given = _typed(hook, await self._call(hook, call=call, result=result), ToolResult, "a ToolResult")
            if given is not None:
                result = _paired(hook, given, given.call_id, call)
        return result

    async def verdicts(self, call: ToolCall, tool: AnyTool) -> list[Said]:
        """What the hooks and the policies say of a call. One that fails denies it: it fails closed."""
        said = []
        for hook, named in self._deciding:
            try:
                given = await self._call(hook, call=call, tool=tool)
                verdict = _worded(hook, _typed(hook, given, (Allow, Ask, Deny), "Allow, Ask or Deny"))
            except PluginError as error:
                self._report(hook, error)
                verdict = Deny(f"it could not be decided whether this call may be made: {error}")
            if verdict is not None:
                said.append(Said(hook.plugin.name, verdict, named))
        return said

    # -- calling one -----------------------------------------------------------------------------------------------

    async def _call(self, hook: Implementation, **given: object) -> Any:
        """What the implementation returns.

        Raises:
            PluginError: It raised, or took too long.
        """
        given["ctx"] = self._told()
        try:
            value = hook.function(*(given[name] for name in hook.arguments))
            return await self._awaited(hook, value) if inspect.isawaitable(value) else value
        except PluginError:
            raise
        except BaseException as raised:
            outside = from_outside(raised, self._backend)
            if outside is raised:
                raise
            if outside is not None:
                logger.error("%s raised more than its cancellation", _titled(hook), exc_info=raised)  # noqa: TRY400  the whole group
                raise outside from None
            error = unwrap(raised)
            raise _failure(hook, f"it raised {_said(error)}") from error

    async def _awaited(self, hook: Implementation, value: Awaitable[T]) -> T:
        """The result of an async implementation, within its time limit."""
        if self._seconds is None:
            return await value
        with anyio.CancelScope() as scope:
            timers: list[Callable[[], object]] = []

            def expire() -> None:
                scope.cancel()
                timers.append(self._alarm.after(self._grace, lambda: self._stuck(_titled(hook))))

            timers.append(self._alarm.after(self._seconds, expire))
            try:
                return await value
            finally:
                for forget in timers:
                    forget()
        raise _failure(hook, f"it took longer than {self._seconds:g} s (Limits.hook_seconds), and was cancelled")

    def _told(self) -> HookContext:
        """What hooks are told of the run; one object a cycle, which may be shared since it is frozen."""
        if self._ctx is None or self._ctx.cycle != self._turn.cycle:
            self._ctx = HookContext(
                run_id=self._info.run_id,
                agent=self._info.agent,
                model=self._info.model,
                cycle=self._turn.cycle,
                session_id=self._info.session_id,
                context=self._context,
            )
        return self._ctx

    def _report(self, hook: Implementation, error: PluginError) -> None:
        logger.error("%s", error, exc_info=error)
        self._emit(PluginFailed(hook.plugin.name, hook.hook, ErrorInfo.of(error).message, error.distribution))


def _as_hook(policy: Policy) -> Implementation:
    """A policy, as what is called."""
    plugin = Plugin(policy.name, None, None, type(policy).__module__)
    return Implementation("approve", 1, policy.approve, ("ctx", "call", "tool"), plugin)


def _titled(hook: Implementation) -> str:
    if hook.hook == "approve":
        return f"policy {hook.plugin.name!r}"
    of = f" ({hook.plugin.title})" if hook.plugin.distribution else ""
    return f"hook {hook.hook} of the plugin {hook.plugin.name!r}{of}"


def _failure(hook: Implementation, why: str) -> PluginError:
    return PluginError(
        f"the {_titled(hook)} failed: {why}; mend it, or leave it out",
        plugin=hook.plugin.name,
        distribution=hook.plugin.title if hook.plugin.distribution else None,
        hook=hook.hook,
    )


def _said(error: BaseException) -> str:
    said = ErrorInfo.of(error)
    return (said.kind if said.message == said.kind else f"{said.kind}: {said.message}") + gone(error)


def _typed(hook: Implementation, given: Any, kinds: type | tuple[type, ...], wanted: str) -> Any:
    """What a hook has given, if it may; None stays None."""
    if given is None or isinstance(given, kinds):
        return given
    raise _failure(hook, f"it returned {given!r}, where it must return {wanted}, or None")


def _worded(hook: Implementation, given: Verdict | None) -> Verdict | None:
    """What a hook says of a call, with its reason as it can stand in an event."""
    if given is None:
        return None
    if not isinstance(given.reason, str):
        raise _failure(hook, f"it returned {given!r}, whose reason must be a text")
    return replace(given, reason=clean_text(given.reason))


def _answer(hook: Implementation, given: Sequence[Any]) -> list[ModelEvent]:
    """The events that stand for an answer, copied: a run stamps what it emits, and a hook may give them again."""
    if not given or not all(isinstance(event, _ANSWER) for event in given) or not isinstance(given[-1], ModelFinished):
        raise _failure(hook, f"it returned {given!r}; an answer is a list of a model's events, ModelFinished the last")
    answer = Yielded("it", 0.0)
    try:
        for event in given:
            answer.take(_unstamped(event))
    except (ProtocolError, AttributeError, TypeError) as error:
        why = str(error) if isinstance(error, ProtocolError) else "what must be a text in it is none"
        raise _failure(hook, f"its answer {given!r} cannot be used: {why}") from error
    if not isinstance(given[-1].usage, Usage):
        raise _failure(hook, f"its answer ends with {given[-1]!r}, whose usage must be a Usage")
    return [_unstamped(event) for event in given]


def _unstamped(event: Any) -> ModelEvent:
    """A copy of an event that may have been in a run before, nested in another; the rest of a stamp is set anew."""
    copied: ModelEvent = replace(event, parent_run_id=None, parent_call_id=None)
    return copied


def _paired(hook: Implementation, given: Paired, call_id: str, call: ToolCall) -> Paired:
    """A call or a result that a hook has given for `call`, as it can stand in an event."""
    if call_id != call.id:
        raise _failure(hook, f"what it returned has the id {call_id!r}, and the call has {call.id!r}; keep the id")
    try:
        return checked_block(given)
    except ConfigError as error:
        raise _failure(hook, f"it returned what cannot be an event: {error}") from error


def _history(hook: Implementation, given: object) -> tuple[Message, ...]:
    """What a hook has made of the history, if a service would take it."""
    if not isinstance(given, list | tuple) or not all(isinstance(message, Message) for message in given):
        raise _failure(hook, f"it returned {given!r}, where it must return a list of Message, or None")
    try:
        return to_messages(given)
    except ConfigError as error:
        raise _failure(hook, f"it returned a history that no model service takes: {error}") from error
