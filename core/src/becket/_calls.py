"""Making one tool call: validation, the way each kind of function is run, its time limit, and its result as blocks."""

from __future__ import annotations

import inspect
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, NoReturn

import anyio
from anyio import from_thread

from becket._values import clean_text, to_json_value
from becket.content import Document, Image, Json, ResultBlock, Text, ToolCall, ToolResult
from becket.errors import ToolError
from becket.events import ToolFinished, ToolProgress, ToolStarted
from becket.tools import AnyTool, ToolContext

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from becket._backend import Backend
    from becket._threads import WorkerThreads
    from becket.effects import Effects, PlannedCall

__all__ = ["ToolCalls", "refusal", "to_blocks", "unwrap"]

logger = logging.getLogger("becket")

_BLOCKS: Final = (Text, Json, Image, Document)


class ToolCalls:
    """Makes the tool calls of one run.

    Args:
        tools: The tools by name.
        effects: Where events go.
        backend: The event loop of the run.
        threads: Where sync tools run.
        seconds: The time limit of a tool that sets none itself, or None.
        agent: The agent's name.
        context: The host's object.
        stuck: Called with the tool's name when a tool has swallowed the cancellation that its time limit sent.
        over: Whether the run has ended; what a forgotten thread still reports is then dropped.
        fail: Fails the run with an exception that arose outside of its tasks.
        grace: Seconds that a tool has to end once its time limit has cancelled it.
    """

    def __init__(
        self,
        tools: Mapping[str, AnyTool],
        effects: Effects,
        *,
        backend: Backend,
        threads: WorkerThreads,
        seconds: float | None,
        agent: str,
        context: object,
        stuck: Callable[[str], None],
        over: Callable[[], bool],
        fail: Callable[[Exception], None],
        grace: float,
    ) -> None:
        self._tools = tools
        self._effects = effects
        self._backend = backend
        self._threads = threads
        self._seconds = seconds
        self._agent = agent
        self._context = context
        self._stuck = stuck
        self._over = over
        self._fail = fail
        self._grace = grace
        self.running: dict[str, str] = {}

    async def make(self, planned: Sequence[PlannedCall]) -> list[ToolResult]:
        """Make the calls of one cycle: together, or in order where one of the tools asks for that."""
        if len(planned) == 1 or any(self._sequential(plan.call.tool) for plan in planned):
            return [await self._one(plan) for plan in planned]
        results: list[ToolResult | None] = [None] * len(planned)

        async def into(index: int, plan: PlannedCall) -> None:
            results[index] = await self._one(plan)

        async with anyio.create_task_group() as tasks:
            for index, plan in enumerate(planned):
                tasks.start_soon(into, index, plan, name=f"becket tool {plan.call.tool}")
        return [result for result in results if result is not None]

    def _sequential(self, name: str) -> bool:
        return name in self._tools and self._tools[name].sequential

    async def _one(self, plan: PlannedCall) -> ToolResult:
        call, tool = plan.call, self._tools.get(plan.call.tool)
        result, arguments = plan.instead or refusal(call, self._tools), {}
        if result is None and tool is not None:
            try:
                arguments = tool.arguments.validate(call.arguments)
            except ValueError as error:
                result = _error(call, f"the arguments of {call.tool} do not fit:\n{error}")
        if result is not None or tool is None:
            result = result or refusal(call, self._tools) or _error(call, "refused")
            self._effects.emit(ToolFinished(result))
            return result
        self._effects.emit(ToolStarted(call))
        started = self._effects.now()
        self.running[call.id] = tool.name
        try:
            result = await self._guarded(tool, plan, arguments)
        finally:
            del self.running[call.id]
        self._effects.emit(ToolFinished(result, self._effects.now() - started))
        return result

    async def _guarded(self, tool: AnyTool, plan: PlannedCall, arguments: dict[str, Any]) -> ToolResult:
        """The call within its time limit, with whatever it raises as a result."""
        seconds = self._seconds if tool.timeout is None else tool.timeout
        if seconds is None:
            return await self._caught(tool, plan, arguments)
        with anyio.CancelScope() as scope:
            forget = self._arm(scope, tool.name, seconds)
            try:
                return await self._caught(tool, plan, arguments)
            finally:
                forget()
        logger.warning("tool %r was stopped after its time limit of %s s", tool.name, seconds)
        return _error(plan.call, f"{tool.name} did not finish within its time limit of {seconds:g} s and was stopped")

    def _arm(self, scope: anyio.CancelScope, name: str, seconds: float) -> Callable[[], None]:
        """Cancel `scope` after `seconds`, and say that the tool is stuck if it is still there after the grace."""
        call_later = self._backend.call_later

        def expire() -> None:
            nonlocal forget
            scope.cancel()
            forget = call_later(self._grace, lambda: self._stuck(name))

        forget = call_later(seconds, expire)
        return lambda: forget()  # noqa: PLW0108  what it names changes when the time is up

    async def _caught(self, tool: AnyTool, plan: PlannedCall, arguments: dict[str, Any]) -> ToolResult:
        """The result of the call. Only a cancellation that came from outside, and KeyboardInterrupt, pass."""
        call = plan.call
        try:
            content = to_blocks(tool.name, await self._run(tool, plan, arguments))
        except BaseException as raised:  # noqa: BLE001  SystemExit would stop asyncio's loop from a parallel tool
            error = unwrap(raised)
            if self._passes(error):
                raise
            if isinstance(error, ToolError):
                return _error(call, str(error))
            logger.error("tool %r raised %s", tool.name, type(error).__name__, exc_info=error)
            return _error(call, f"{tool.name} failed: {type(error).__name__}: {error}")
        return ToolResult(call.id, "success", content)

    def _passes(self, error: BaseException) -> bool:
        if isinstance(error, anyio.get_cancelled_exc_class()):
            return self._backend.cancel_pending()  # else the tool made it itself
        if isinstance(error, BaseExceptionGroup):
            return error.subgroup((KeyboardInterrupt, GeneratorExit)) is not None or self._backend.cancel_pending()
        return isinstance(error, KeyboardInterrupt | GeneratorExit)

    async def _run(self, tool: AnyTool, plan: PlannedCall, arguments: dict[str, Any]) -> object:
        call = plan.call
        if (name := tool.arguments.context) is not None:
            arguments[name] = self._tool_context(plan)
        match tool.kind:
            case "async":
                return await tool.function(**arguments)
            case "async generator":
                last: object = None
                async with aclosing(tool.function(**arguments)) as items:
                    async for last in items:
                        await self._progress(call, last)
                return last
            case "generator":
                return await self._threads.run(f"tool {tool.name!r}", lambda: self._drain(tool, call, arguments))
            case _:
                value = await self._threads.run(f"tool {tool.name!r}", lambda: tool.function(**arguments))
                return await value if inspect.isawaitable(value) else value

    def _drain(self, tool: AnyTool, call: ToolCall, arguments: dict[str, Any]) -> object:
        """Run a generator in its worker thread; each item waits for the reader, so that it cannot run ahead."""
        items = tool.function(**arguments)
        try:
            while True:
                try:
                    item = next(items)
                except StopIteration as end:
                    return end.value
                from_thread.run(self._progress, call, item)
        finally:
            items.close()

    async def _progress(self, call: ToolCall, data: object) -> None:
        if not self._report(call, self._json(call.tool, data)):
            await self._effects.room()

    def _tool_context(self, plan: PlannedCall) -> ToolContext[Any]:
        run_id, cycle, index, call_id = plan.key

        def report(data: object) -> None:
            value = self._json(plan.call.tool, data)
            if self._backend.here():
                self._report(plan.call, value)
            else:
                self._backend.post(lambda: self._report_late(plan.call, value))

        return ToolContext(run_id, self._agent, call_id, f"{run_id}:{cycle}:{index}:{call_id}", self._context, report)

    def _json(self, name: str, data: object) -> Any:
        try:
            return to_json_value(data)
        except ValueError as error:
            raise ToolError(f"{name} reported progress that is no JSON value: {error}") from error

    def _report(self, call: ToolCall, value: Any) -> bool:
        if call.id not in self.running or self._over():
            logger.debug("tool %r reports progress after its call has ended", call.tool)
            return True
        event = ToolProgress(call.id, value)
        event.share(call)
        return self._effects.emit(event)

    def _report_late(self, call: ToolCall, value: Any) -> None:
        """`_report` from a callback of the loop, where nobody is there to raise at."""
        try:
            self._report(call, value)
        except Exception as error:  # noqa: BLE001  a callback handler or a required sink failed
            self._fail(error)


def refusal(call: ToolCall, tools: Mapping[str, AnyTool]) -> ToolResult | None:
    """The error result of a call that cannot be made: malformed, or of a tool that is not there. None where it can."""
    if call.malformed is not None:
        return _error(
            call,
            f"the arguments of {call.tool} could not be read: {call.malformed.reason}\n"
            f"they began with: {call.malformed.text[:200]}\nwrite them again as one JSON object",
        )
    if call.tool not in tools:
        return _error(call, f"there is no tool {call.tool!r}; the tools are: {', '.join(tools) or 'none'}")
    return None


def _error(call: ToolCall, text: str) -> ToolResult:
    return ToolResult(call.id, "error", (Text(clean_text(text)),))


def to_blocks(name: str, value: object) -> tuple[ResultBlock, ...]:
    """What a tool returned, as content blocks.

    Raises:
        ToolError: It is nothing that a model can be sent.
    """
    if isinstance(value, str):
        return (Text(clean_text(value)),)
    if isinstance(value, _BLOCKS):
        return (value,)
    if isinstance(value, list | tuple) and value and all(isinstance(item, _BLOCKS) for item in value):
        return tuple(value)
    if isinstance(value, bytes | bytearray):
        _refuse(name, value, "return Image.from_bytes(...) or Document.from_bytes(...)")
    try:
        return (Json(to_json_value(value)),)
    except ValueError as error:
        _refuse(name, value, str(error))


def _refuse(name: str, value: object, why: str) -> NoReturn:
    raise ToolError(f"{name} returned a {type(value).__name__}, which cannot be sent to a model: {why}")


def unwrap(error: BaseException) -> BaseException:
    """`error`, out of exception groups that hold nothing else."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
