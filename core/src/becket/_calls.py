"""Making one tool call: validation, the way each kind of function is run, its time limit, and its result as blocks."""

from __future__ import annotations

import inspect
import math
from collections.abc import AsyncGenerator, Generator
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio.lowlevel import checkpoint

from becket._gone import gone
from becket._log import logger
from becket._values import clean_text, to_json_value
from becket.content import Document, Image, Json, MalformedArguments, ResultBlock, Text, ToolCall, ToolResult
from becket.errors import ToolError
from becket.events import RetryScheduled, ToolFinished, ToolProgress, ToolStarted
from becket.retries import asked
from becket.tools import AnyTool, ToolContext

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from becket._alarm import Alarm
    from becket._backend import Backend
    from becket._budget import Budget
    from becket._threads import WorkerThreads
    from becket._values import JsonValue
    from becket.effects import CallKey, Effects, PlannedCall
    from becket.retries import RetryPolicy

__all__ = ["ToolCalls", "from_outside", "refusal", "to_blocks", "unreadable", "unwrap"]

_nowhere: Callable[[str], AbstractAsyncContextManager[Any]] = nullcontext

_BLOCKS: Final = (Text, Json, Image, Document)


class ToolCalls:
    """Makes the tool calls of one run.

    Args:
        tools: The tools by name.
        effects: Where events go.
        backend: The event loop of the run.
        alarm: Its time limits.
        threads: Where sync tools run.
        seconds: The time limit of a tool that sets none itself, or None.
        agent: The agent's name.
        context: The host's object.
        stuck: Called with the tool's name when a tool has swallowed the cancellation that its time limit sent.
        over: Whether the run has ended; what a forgotten thread still reports is then dropped.
        fail: Fails the run with an exception that arose outside of its tasks.
        grace: Seconds that a tool has to end once its time limit has cancelled it.
        after: What hooks make of the result of a call that was made; None where there are none.
        place: Where a run stands that is started in the call with an id.
        budget: What the run may spend, or None where nothing is limited.
        retry: When a call that failed is made again, of a tool that allows it; None for never.

    Attributes:
        running: The names of the tools that run, by the keys of their calls.
    """

    def __init__(
        self,
        tools: Mapping[str, AnyTool],
        effects: Effects,
        *,
        backend: Backend,
        alarm: Alarm,
        threads: WorkerThreads,
        seconds: float | None,
        agent: str,
        context: object,
        stuck: Callable[[str], None],
        over: Callable[[], bool],
        fail: Callable[[Exception], None],
        grace: float,
        after: Callable[[ToolCall, ToolResult], Awaitable[ToolResult]] | None = None,
        place: Callable[[str], AbstractAsyncContextManager[Any]] = _nowhere,
        budget: Budget | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        self._tools = tools
        self._effects = effects
        self._backend = backend
        self._alarm = alarm
        self._threads = threads
        self._seconds = seconds
        self._agent = agent
        self._context = context
        self._stuck = stuck
        self._over = over
        self._after = after
        self._fail = fail
        self._grace = grace
        self._place = place
        self._budget = budget
        self._retry = retry
        self.running: dict[CallKey, str] = {}

    async def make(self, planned: Sequence[PlannedCall]) -> list[ToolResult]:
        """Make the calls of one cycle: together, or in order where one of the tools asks for that."""
        if len(planned) == 1 or any(self._is_sequential(plan.call.tool) for plan in planned):
            return [await self._one(plan) for plan in planned]
        return await self._together(planned)

    def _is_sequential(self, name: str) -> bool:
        return name in self._tools and self._tools[name].sequential

    async def _together(self, planned: Sequence[PlannedCall]) -> list[ToolResult]:
        """Make the calls in a task each. The first that fails the run cancels the others, and raises as it is."""
        results: dict[int, ToolResult] = {}
        failures: list[BaseException] = []

        async def into(index: int, plan: PlannedCall) -> None:
            try:
                results[index] = await self._one(plan)
            except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  raised below: here it would be one of a group
                failures.append(error)
                tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for index, plan in enumerate(planned):
                tasks.start_soon(into, index, plan, name=f"becket tool {plan.call.tool}")
        if failures:
            raise failures.pop(0)  # popped, so that its traceback does not hold it
        return [results[index] for index in range(len(planned))]

    async def _one(self, plan: PlannedCall) -> ToolResult:
        refused = self._unpaid(plan.call) or plan.instead or refusal(plan.call, self._tools)
        if refused is not None:
            return self._finish(refused)
        tool = self._tools[plan.call.tool]
        try:
            arguments = tool.arguments.validate(plan.call.arguments)
        except ValueError as error:
            return self._finish(_error(plan.call, f"the arguments of {tool.name} do not fit:\n{error}"))
        self._effects.emit(ToolStarted(plan.call))
        started = self._effects.now()
        self.running[plan.key] = tool.name
        try:
            async with self._place(plan.call.id):
                result = await self._guarded(tool, plan, arguments)
        finally:
            del self.running[plan.key]
        if self._over():
            await checkpoint()  # the run was ended without this tool, and is cancelled: nobody wants the result
        seconds = self._effects.now() - started
        if self._after is not None:
            result = await self._after(plan.call, result)
        return self._finish(result, seconds)

    def _unpaid(self, call: ToolCall) -> ToolResult | None:
        """What stands for a call that the budget forbids; the run then ends with that limit, and no model reads it."""
        if self._budget is None or (reason := self._budget.take_call()) is None:
            return None
        return ToolResult(call.id, "interrupted", (Text(f"This call was not made: {reason}."),))

    def _finish(self, result: ToolResult, seconds: float = 0.0) -> ToolResult:
        self._effects.emit(ToolFinished(result, seconds))
        return result

    async def _guarded(self, tool: AnyTool, plan: PlannedCall, arguments: dict[str, Any]) -> ToolResult:
        """The call within its time limit, with whatever it raises as a result."""
        seconds = self._seconds if tool.timeout is None else tool.timeout
        if seconds is None or seconds == math.inf:
            return await self._caught(tool, plan, arguments)
        with anyio.CancelScope() as scope:
            timers = self._arm(scope, tool.name, seconds)
            try:
                result = await self._caught(tool, plan, arguments)
            finally:
                for disarm in timers:
                    disarm()
            if result.status == "success" or not scope.cancel_called:
                return result
        logger.warning("tool %r was stopped after its time limit of %s s", tool.name, seconds)
        return _error(plan.call, f"{tool.name} did not finish within its time limit of {seconds:g} s and was stopped")

    def _arm(self, scope: anyio.CancelScope, name: str, seconds: float) -> list[Callable[[], object]]:
        """Cancel `scope` after `seconds`, and say that the tool is stuck if it is still there after the grace."""
        after = self._alarm.after

        def expire() -> None:
            scope.cancel()
            timers.append(after(self._grace, lambda: self._stuck(name)))

        timers = [after(seconds, expire)]
        return timers

    async def _caught(self, tool: AnyTool, plan: PlannedCall, arguments: dict[str, Any]) -> ToolResult:
        """The result of the call, which is made again where its tool, its error and the retry policy say so."""
        attempt = 1
        while isinstance(outcome := await self._outcome(tool, plan, arguments), BaseException):
            delay = self._delay(tool, outcome, attempt)
            if delay is None:
                return _failed(tool, plan.call, outcome)
            attempt += 1
            self._effects.emit(RetryScheduled(clean_text(str(outcome)), delay, attempt, plan.call.id))
            await anyio.sleep(delay)
            arguments = tool.arguments.validate(plan.call.arguments)  # anew: the tool may have changed them
        return ToolResult(plan.call.id, "success", outcome)

    def _delay(self, tool: AnyTool, error: BaseException, attempt: int) -> float | None:
        """Seconds until the call is made again, under the same key; None where it is not."""
        if self._retry is None or not isinstance(error, ToolError) or not error.retryable:
            return None
        return asked(self._retry, error, attempt) if tool.idempotent and not self._over() else None

    async def _outcome(
        self, tool: AnyTool, plan: PlannedCall, arguments: dict[str, Any]
    ) -> tuple[ResultBlock, ...] | BaseException:
        """What the tool returned or raised. Only what was not its own doing passes; see `from_outside`."""
        try:
            return to_blocks(tool.name, await self._run(tool, plan, arguments))
        except BaseException as raised:  # SystemExit too, which would stop asyncio's loop from a parallel tool
            outside = from_outside(raised, self._backend)
            if outside is raised:
                raise
            if outside is not None:
                logger.error("tool %r raised more than its cancellation", tool.name, exc_info=raised)  # noqa: TRY400  the whole group
                raise outside from None
            return unwrap(raised)

    async def _run(self, tool: AnyTool, plan: PlannedCall, arguments: dict[str, Any]) -> object:
        for name in tool.arguments.contexts:
            arguments[name] = self._tool_context(plan)
        if tool.is_async:
            value = tool.function(**arguments)
        else:
            value = await self._threads.run(f"tool {tool.name!r}", lambda: self._call(tool, plan, arguments))
        if isinstance(value, AsyncGenerator):
            return await self._iterate(plan, value)
        return await value if inspect.isawaitable(value) else value

    async def _iterate(self, plan: PlannedCall, items: AsyncGenerator[object, None]) -> object:
        """Report what an async generator yields, and return what it yielded last."""
        last: object = None
        try:
            async for last in items:
                await self._hand_over(plan, _json(plan.call.tool, last))
        finally:
            # Half of the grace: a tool that takes all of it after its time limit is stuck, and fails the run.
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + self._grace / 2):
                await items.aclose()
        return last

    def _call(self, tool: AnyTool, plan: PlannedCall, arguments: dict[str, Any]) -> object:
        """Call a sync tool, in its worker thread; a generator is run to its end there."""
        value = tool.function(**arguments)
        return self._drain(plan, value) if isinstance(value, Generator) else value

    def _drain(self, plan: PlannedCall, items: Generator[object, None, object]) -> object:
        """Report what a generator yields; each item waits for the reader, so that it cannot run ahead."""
        from anyio import from_thread  # it brings `logging`, and few tools are sync generators

        with closing(items):
            while True:
                try:
                    item = next(items)
                except StopIteration as end:
                    return end.value
                if not from_thread.run(self._hand_over, plan, _json(plan.call.tool, item)):
                    return None

    async def _hand_over(self, plan: PlannedCall, value: JsonValue) -> bool:
        """Report progress and wait for the reader. Whether the call still goes on."""
        if self._report(plan, value):
            await checkpoint()  # a generator that never waits must not keep the loop, nor outlive its cancellation
        else:
            await self._effects.room()
        return plan.key in self.running

    def _tool_context(self, plan: PlannedCall) -> ToolContext[Any]:
        run_id, cycle, index, call_id = plan.key

        def report(data: object) -> None:
            value = _json(plan.call.tool, data)

            def say() -> None:
                self._report(plan, value)

            if self._backend.here():
                say()
            else:
                self._backend.post(say)

        return ToolContext(run_id, self._agent, call_id, f"{run_id}:{cycle}:{index}:{call_id}", self._context, report)

    def _report(self, plan: PlannedCall, value: JsonValue) -> bool:
        """Emit progress. False where the reader is behind, or the run has failed with it: then wait.

        It raises nothing: a callback handler or a required sink that fails must fail the run, and not the tool.
        """
        if plan.key not in self.running or self._over():
            logger.debug("tool %r reports progress after its call has ended", plan.call.tool)
            return True
        event = ToolProgress(plan.call.id, value)
        event.share(plan.call)
        try:
            return self._effects.emit(event)
        except Exception as error:  # noqa: BLE001  whatever it is: it is the run's
            self._fail(error)
            return False


def _json(name: str, data: object) -> JsonValue:
    try:
        return to_json_value(data)
    except ValueError as error:
        raise ToolError(f"{name} reported progress that is no JSON value: {error}") from error


def refusal(call: ToolCall, tools: Mapping[str, AnyTool]) -> ToolResult | None:
    """The error result of a call that cannot be made: malformed, or of a tool that is not there. None where it can."""
    if call.malformed is not None:
        return _error(call, f"{unreadable(call.tool, call.malformed)}\nmake the call again, with one JSON object")
    if call.tool not in tools:
        return _error(call, f"there is no tool {call.tool!r}; the tools are: {', '.join(tools) or 'none'}")
    return None


def unreadable(tool: str, malformed: MalformedArguments) -> str:
    """Why the arguments of a call could not be read, and how they began, for a model to read."""
    began = f"\nthey began with: {malformed.text[:200]}" if malformed.text else ""
    return f"the arguments of {tool} could not be read: {malformed.reason}{began}"


def _error(call: ToolCall, text: str) -> ToolResult:
    return ToolResult(call.id, "error", (Text(clean_text(text)),))


def _failed(tool: AnyTool, call: ToolCall, error: BaseException) -> ToolResult:
    """What the model gets to read of an exception."""
    if isinstance(error, ToolError):
        text = str(error) or f"{call.tool} failed, and did not say why"
        if error.retryable and not tool.idempotent:
            text += "\n(It may succeed later. It was not made again, since it is not known whether that would be safe.)"
        return _error(call, text)
    logger.error("tool %r raised %s", call.tool, type(error).__name__, exc_info=error)
    return _error(call, f"{call.tool} failed: {type(error).__name__}: {error}{gone(error)}")


def to_blocks(name: str, value: object) -> tuple[ResultBlock, ...]:
    """What a tool returned, as content blocks: itself a block, a list with a block in it, or a JSON value.

    Raises:
        ToolError: It is nothing that a model can be sent.
    """
    if isinstance(value, list | tuple) and any(isinstance(item, _BLOCKS) for item in value):
        return tuple(block for item in value for block in to_blocks(name, item))
    match value:
        case str():
            return (Text(clean_text(value)),)
        case Text():
            return (Text(clean_text(value.text)),)
        case Image() | Document() if isinstance(value.data, str):
            return (value,)
        case bytes() | bytearray() | Image() | Document():
            raise ToolError(
                f"{name} returned bytes, which cannot be sent to a model; "
                f"return Image.from_bytes(...) or Document.from_bytes(...)"
            )
    try:
        return (Json(to_json_value(value.value if isinstance(value, Json) else value)),)
    except ValueError as error:
        raise ToolError(
            f"{name} returned a {type(value).__name__}, which cannot be sent to a model; return a text, a JSON value, "
            f"an Image or a Document: {error}"
        ) from error


def from_outside(error: BaseException, backend: Backend) -> BaseException | None:
    """What in `error` is not the doing of the code that was called, and must pass; None where nothing is.

    That is a KeyboardInterrupt, a cancellation that was sent to the running task, and whatever is raised when a
    coroutine is closed whose loop has gone. A cancellation or a GeneratorExit of the code's own making is none of them.
    """
    if not backend.here():
        return error
    cancelled = anyio.get_cancelled_exc_class()
    kinds = (KeyboardInterrupt, cancelled) if backend.cancel_pending() else KeyboardInterrupt
    return next((leaf for leaf in _leaves(error) if isinstance(leaf, kinds)), None)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def unwrap(error: BaseException) -> BaseException:
    """`error`, out of exception groups that hold nothing else."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
