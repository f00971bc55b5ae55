"""An agent whose prompt names what is to happen: for tests of what carries events, such as wires, servers and sinks."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio.lowlevel import checkpoint

from becket.agent import Agent
from becket.content import Text, ToolResult, Usage
from becket.errors import ProviderError
from becket.events import ModelFinished, ReasoningDelta, TextDelta, ToolCallDelta
from becket.runtime import Runtime
from becket.testing.fakes import ScriptedProvider, calls, text
from becket.tools import ToolContext, tool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping

    from becket.providers import ModelRequest
    from becket.testing.fakes import Step
    from becket.tools import AnyTool

__all__ = ["FLOOD", "Scenarios"]

FLOOD: Final = 100_000
"""Deltas of the scenario `flood`."""

UNICODE: Final = (
    "na",
    "i\u0308ve ",
    "\U0001f469",
    "\u200d\U0001f680 ",
    "\u65e5\u672c",
    " a\r\nb\n\n\u2028c \x85 \x00 ",
    "\U0001f6f6",
)
"""Text whose characters take one to four bytes, and whose line breaks are not those of any format."""

_TEXTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "text": "Hello, world.",
        "tools": "Both are done.",
        "progress": "Counted.",
        "reasoning": "It is 42.",
        "fails first": "",
        "fails midway": "so far ",
        "held": "so far ",
        "idle tool": "",
        "asks": "The answer: changed to 7",
        "nested": "The helper said: nested text",
        "malformed": "That went wrong.",
        "unicode": "".join(UNICODE),
        "flood": "x" * FLOOD,
    }
)


_SCRIPTS: Final[Mapping[str, list[Step]]] = MappingProxyType(
    {
        "text": text("Hello", ", ", "world."),
        "tools": calls(("slow", {"seconds": 1}), ("fast", {})),
        "progress": calls(("count", {"to": 3})),
        "reasoning": [
            ReasoningDelta("Six times "),
            ReasoningDelta("seven."),
            ReasoningDelta(signature="c2lnbmVk"),
            TextDelta("It is ", 1),
            TextDelta("42.", 1),
            ModelFinished("end_turn", Usage(10, 5)),
        ],
        "fails first": [ProviderError("the service is overloaded", provider="scripted", status=529, code="overloaded")],
        "fails midway": [TextDelta("so far "), ProviderError("the line was cut", provider="scripted")],
        "idle tool": calls(("wait", {})),
        "asks": calls(("change", {"value": 7})),
        "nested": calls(("helper", {"prompt": "and you?"})),
        "malformed": [ToolCallDelta("call-1", "fast", '{"broken": ', 1), ModelFinished("tool_use", Usage(10, 1))],
        "unicode": text(*UNICODE),
    }
)
"""What the model says first, but for what waits and what is long."""


class Scenarios:
    """An agent that does what its prompt names, as the real thing would: its events come from the loop.

    ==============  ====================================================================================================
    prompt          what happens
    ==============  ====================================================================================================
    `text`          an answer in three pieces
    `tools`         two tools in one cycle; `slow`, called first, ends after `fast`
    `progress`      the tool `count` reports 1, 2, 3 as `{"step": n}`
    `reasoning`     reasoning in two pieces, its signature, then text
    `fails first`   the model fails before its first piece, with a `ProviderError` of status 529
    `fails midway`  the model fails after its first piece
    `held`          the model sends one piece, then nothing for ever
    `idle tool`     the tool `wait` never ends
    `asks`          the tool `change` is asked about first; denied, the answer's text is another
    `nested`        the tool `helper` is an agent, which calls a tool of its own and streams text
    `malformed`     the arguments of a call cannot be read
    `unicode`       text whose characters take one to four bytes, with line breaks of all kinds in it
    `flood`         100,000 pieces
    ==============  ====================================================================================================

    Args:
        discover: Whether its runtime finds installed plugins.

    Attributes:
        runtime: The runtime of its agents.
        agent: The agent. Whoever reads a stream is asked.
        waiting: Model calls and tools that wait for ever now.
        cleaned: How many of those have cleaned up.
    """

    names: tuple[str, ...] = tuple(_TEXTS)

    def __init__(self, *, discover: bool = False) -> None:
        self.waiting = 0
        self.cleaned = 0
        self._fast: dict[str, anyio.Event] = {}
        self.runtime = Runtime(discover=discover)
        helper = Agent(
            ScriptedProvider(calls(("fast", {}), prefix="inner"), text("nested ", "text"), name="inner"),
            [self._tool_fast()],
            name="helper",
            runtime=self.runtime,
        )
        self.agent = Agent(
            ScriptedProvider(self._script),
            [
                self._tool_slow(),
                self._tool_fast(),
                self._tool_wait(),
                count,
                change,
                helper.as_tool("helper", "Answers a question."),
            ],
            name="scenarios",
            approver="reader",
            retry=None,
            runtime=self.runtime,
        )

    @staticmethod
    def text(name: str) -> str:
        """The text of the whole answer, that of the nested run not among it."""
        return _TEXTS[name]

    def _script(self, request: ModelRequest) -> Iterable[Step]:
        name, results = _asked(request)
        if results:
            said = " ".join(block.text for result in results for block in result.content if isinstance(block, Text))
            return text(*_after_tools(name, results, said))
        return self._begin(name)

    def _begin(self, name: str) -> Iterable[Step]:
        if name == "held":
            return [TextDelta("so far "), self._hold]
        if name == "flood":
            return _flood()
        unknown = text("There is no scenario ", repr(name), "; there are: ", ", ".join(self.names))
        return _SCRIPTS.get(name, unknown)

    async def _hold(self) -> None:
        self.waiting += 1
        try:
            await anyio.sleep_forever()
        finally:
            self.waiting -= 1
            self.cleaned += 1

    def _tool_wait(self) -> AnyTool:
        @tool(effect="none")
        async def wait() -> None:
            """Wait for ever."""
            await self._hold()

        return wait

    def _tool_slow(self) -> AnyTool:
        @tool(effect="none")
        async def slow(seconds: int, ctx: ToolContext) -> str:
            """End after `fast` has."""
            await self._fast.setdefault(ctx.run_id, anyio.Event()).wait()
            del self._fast[ctx.run_id]
            await checkpoint()
            return f"slow after {seconds}"

        return slow

    def _tool_fast(self) -> AnyTool:
        @tool(effect="none")
        async def fast(ctx: ToolContext) -> str:
            """End at once."""
            if ctx.agent == "scenarios":
                self._fast.setdefault(ctx.run_id, anyio.Event()).set()
            return "fast"

        return fast


@tool(effect="none")
async def count(to: int) -> AsyncIterator[Any]:
    """Count, and report each step."""
    for step in range(1, to + 1):
        yield {"step": step}
    yield f"counted to {to}"


@tool(effect="write")
async def change(value: int) -> str:
    """Change something."""
    return f"changed to {value}"


def _asked(request: ModelRequest) -> tuple[str, list[ToolResult]]:
    """The text that the run was asked, and the results of the tools it has called last."""
    results = [block for block in request.messages[-1].content if isinstance(block, ToolResult)]
    texts = [message.text for message in request.messages if message.role == "user" and message.text]
    return texts[-1] if texts else "", results


def _after_tools(name: str, results: list[ToolResult], said: str) -> tuple[str, ...]:
    match name:
        case "tools":
            return ("Both are ", "done.")
        case "progress":
            return ("Counted.",)
        case "asks":
            return ("The answer: ", said if results[0].status == "success" else "denied")
        case "nested":
            return ("The helper said: ", said)
        case _:
            return ("That went wrong.",)


def _flood() -> Iterator[Step]:
    for number in range(FLOOD):
        if number % 100 == 0:
            yield checkpoint  # as from a network, pieces come some at a time
        yield TextDelta("x")
    yield ModelFinished("end_turn", Usage(10, FLOOD))
