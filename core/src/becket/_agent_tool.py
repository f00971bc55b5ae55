"""An agent as a tool of another."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from becket.errors import ToolError
from becket.tools import Tool, ToolContext

if TYPE_CHECKING:
    from becket._values import JsonValue
    from becket.agent import Agent
    from becket.content import AgentResult
    from becket.tools import AnyTool, Reach

__all__ = ["agent_tool"]

_DONE: Final = ("end_turn", "stop_sequence")


def agent_tool(agent: Agent, name: str, description: str, *, reach: Reach, timeout: float | None) -> AnyTool:
    """The tool; `Agent.as_tool` has its contract."""

    async def ask(prompt: str, ctx: ToolContext[Any]) -> JsonValue:
        """Ask the agent.

        Args:
            prompt: What it is to do, with everything that it has to know: it sees nothing else of this conversation.
            ctx: The run that asks.
        """
        if not prompt.strip():
            raise ToolError("the prompt is empty; say what is to be done")
        return _answer(name, await agent.invoke_async(prompt, context=ctx.context))

    limit = math.inf if timeout is None else timeout
    return Tool(ask, name=name, description=description, effect="read", reach=reach, timeout=limit)


def _answer(name: str, result: AgentResult) -> JsonValue:
    """What the model that asked gets to read.

    Raises:
        ToolError: The run was stopped, and there is nothing of an answer.
    """
    text, reason = result.text, result.stop_reason
    if reason in _DONE:
        return result.output if result.output is not None else text or f"{name} is done, and has said nothing"
    if not text.strip():
        raise ToolError(f"{name} was stopped before it had an answer: {reason}")
    return f"{text}\n\n[{name} was stopped before it was done: {reason}]"
