"""The contract of tools as tests, which the tests of a plugin with tools inherit."""

from __future__ import annotations

import functools
import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, get_args

import anyio
import anyio.to_thread

from becket.agent import Agent
from becket.errors import ToolError
from becket.events import ToolFinished
from becket.runtime import Runtime
from becket.testing._blocking import kept_at
from becket.testing._calling import LaterContext, backends, called, cancelled_at, context_of, within
from becket.testing._contract import Contract, missing, must, not_looked_at
from becket.testing._model_calls import as_failures, events_of
from becket.testing._watch import Watch
from becket.testing.fakes import ScriptedProvider, calls, text
from becket.tools import Effect, Tool, ToolContext

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from becket.tools import AnyTool

__all__ = ["ToolConformance"]

_NONE: Final[Mapping[str, Sequence[Mapping[str, Any]]]] = MappingProxyType({})

_LONGEST: Final = 1024
"""Characters of a description; OpenAI's API takes no more."""


class ToolConformance(Contract):
    """What every tool must do, as tests.

    Subclass it in a test file, and say which tools there are, a call or two of each that succeed, and calls that fail::

        class TestTools(ToolConformance):
            cases = {"divide": [{"a": 6, "b": 3}]}
            failing = {"divide": [{"a": 6, "b": 0}]}

            def make_tools(self):
                return [divide]

    The calls are made: give arguments that may be used in a test, any number of times and at once. Where they depend on
    a fixture, set `self.cases` in one that has `autouse=True`.
    """

    cases: Mapping[str, Sequence[Mapping[str, Any]]] = _NONE
    """Arguments of calls that succeed, by the tool's name. A tool without parameters needs none."""

    failing: Mapping[str, Sequence[Mapping[str, Any]]] = _NONE
    """Arguments of calls that fit the schema and fail all the same, by the tool's name."""

    context: object = None
    """The host's object, as `context=` of a run."""

    blocks: float = 0.1
    """Seconds for which a call may keep the event loop from everything else."""

    at_once: int = 10
    """Calls that are made at the same time."""

    waits: int = 300
    """The most places at which a call is cancelled, one after the other."""

    patience: float = 10.0
    """Seconds that any call may take."""

    def make_tools(self) -> Sequence[AnyTool]:
        """The tools under test."""
        raise missing(self, "make_tools")

    # -- what is said of them ------------------------------------------------------------------------------------------

    def test_a_model_can_be_told_of_it(self) -> None:
        """A description that speaks of each parameter, and a schema that is JSON: it is all that the model has."""
        for tool in self._tools():
            must(tool.description.strip(), f"{tool.name}: write a docstring: it is what the model knows the tool by")
            length = len(tool.description)
            must(length <= _LONGEST, f"{tool.name}: the description has {length} characters; services take {_LONGEST}")
            schema: Any = tool.spec.schema
            must(_is_json(schema), f"{tool.name}: the schema is JSON: {schema!r}")
            for name, parameter in schema["properties"].items():
                told = str(parameter.get("description", "")).strip() or _plain(name) in _plain(tool.description)
                hint = f"add '{name}: ...' to the docstring's Args:"
                must(told, f"{tool.name}: nothing is said of the parameter {name!r}; {hint}")

    def test_what_a_call_does_is_stated(self) -> None:
        """`effect` is said, and no call does more: else every call is asked about, or one is not that should be."""
        for tool in self._tools():
            must(
                tool.effect_stated,
                f"{tool.name}: say what a call does, as @tool(effect=...): one of {', '.join(get_args(Effect))}",
            )
            strongest = get_args(Effect).index(tool.effect)
            for arguments in self._cases(tool):
                said = tool.effect_of(arguments)
                must(
                    get_args(Effect).index(said) <= strongest,
                    f"{tool.name}: effect_of says {said!r} of {arguments!r}, and effect is {tool.effect!r}; effect is "
                    f"the strongest of all calls",
                )

    # -- calls ---------------------------------------------------------------------------------------------------------

    def test_each_is_called(self) -> None:
        """There is a call of each tool that succeeds, without which the tests below would say nothing of it."""
        for tool in self._tools():
            must(self._cases(tool), f"{tool.name}: add the arguments of a call that succeeds to `cases`")
        unknown = {*self.cases, *self.failing} - {tool.name for tool in self._tools()}
        must(not unknown, f"`cases` and `failing` name no tools that are not there: {', '.join(sorted(unknown))}")

    async def test_a_run_has_its_result(self) -> None:
        """A call of a model succeeds, and what it comes to can be sent to the model, and stand in an event."""
        for tool, arguments in self._calls():
            provider = ScriptedProvider(calls((tool.name, dict(arguments))), text("Done."))
            agent = Agent(provider, [tool], approver=lambda _: True, runtime=Runtime(discover=False))
            with within(self.patience, f"{_shown(tool, arguments)}, in a run"):
                events, error = await events_of(agent, "Go on.", context=self.context)
            must(error is None, f"{_shown(tool, arguments)}: the run fails: {error!r}")
            (result,) = [event.result for event in events if isinstance(event, ToolFinished)]
            must(result.status == "success", f"{_shown(tool, arguments)}: it is to succeed: {result.text}")

    async def test_an_error_is_for_the_model_to_read(self) -> None:
        """What fails raises a `ToolError`, whose text the model reads; anything else would be taken for a bug."""
        if not self.failing:
            not_looked_at("say in `failing` which calls fail, so that it can be looked at what the model gets to read")
        for tool in self._tools():
            for arguments in self.failing.get(tool.name, ()):
                error = await self._raised(tool, arguments)
                must(error is not None, f"{_shown(tool, arguments)}: it is to fail, and succeeds")
                must(
                    isinstance(error, ToolError | ValueError),
                    f"{_shown(tool, arguments)}: it raises {error!r}; raise ToolError and say what to do instead",
                )
                must(str(error).strip(), f"{_shown(tool, arguments)}: the ToolError says nothing")

    async def test_the_event_loop_is_free_during_a_call(self) -> None:
        """An async tool waits with `await`, and does what takes long in a thread: all other runs wait for it else."""
        for tool, arguments in self._calls():
            await self._call(tool, arguments)  # what is imported and made for the first call may take a while
            found = await kept_at(self.blocks, functools.partial(self._call, tool, arguments))
            must(
                not found,
                f"{_shown(tool, arguments)}: it keeps the event loop from everything else, for more than "
                f"{self.blocks:g} s, at {found}; await something, use anyio.to_thread.run_sync, or write "
                f"`def` without async: such a tool runs in a thread",
            )

    async def test_a_cancelled_call_ends(self) -> None:
        """Wherever the cancellation arrives: it goes through, nothing else is raised, and nothing is left open."""
        waiting = [(tool, arguments) for tool, arguments in self._calls() if tool.is_async]
        if not waiting:
            not_looked_at("no tool is async: what runs in a thread cannot be cancelled, and is left to itself")
        for tool, arguments in waiting:
            with Watch() as watch:
                await self._call(tool, arguments)
                await watch.check(f"{_shown(tool, arguments)}, after a whole call")
                wait = 1
                while wait <= self.waits and await self._cancelled(tool, arguments, wait):
                    await watch.check(f"{_shown(tool, arguments)}, cancelled at its wait {wait}")
                    wait += 1

    async def test_a_context_may_tell_more(self) -> None:
        """A later becket has more fields in `ToolContext`: a tool takes those that it knows, by their names."""
        told = [(tool, arguments) for tool, arguments in self._calls() if tool.arguments.contexts]
        if not told:
            not_looked_at("no tool takes a ToolContext")
        for tool, arguments in told:
            await self._call(tool, arguments, LaterContext)

    async def test_many_calls_go_on_at_once(self) -> None:
        """Runs call a tool at the same time; each call succeeds as it does alone."""
        for tool, arguments in self._calls():
            with as_failures(f"{_shown(tool, arguments)}, one of {self.at_once} calls at once"):
                async with anyio.create_task_group() as tasks:
                    for _ in range(1 if tool.sequential else self.at_once):
                        tasks.start_soon(self._call, tool, arguments)

    async def test_it_serves_one_event_loop_after_the_other(self) -> None:
        """What a tool keeps, such as a client, is not bound to the event loop of its first call."""
        for tool, arguments in self._calls():
            for backend in backends():
                work = functools.partial(anyio.run, self._call, tool, arguments, backend=backend)
                with as_failures(f"{_shown(tool, arguments)}, in one event loop after the other"):
                    await anyio.to_thread.run_sync(work)

    # -- how the tests call them ---------------------------------------------------------------------------------------

    def _tools(self) -> list[AnyTool]:
        tools = list(self.make_tools())
        must(tools, "make_tools() gives at least one tool")
        for tool in tools:
            must(isinstance(tool, Tool), f"make_tools() gives what @tool makes: {tool!r}")
        return tools

    def _cases(self, tool: AnyTool) -> Sequence[Mapping[str, Any]]:
        without: Sequence[Mapping[str, Any]] = () if tool.spec.schema["properties"] else ({},)
        return self.cases.get(tool.name, without)

    def _calls(self) -> Iterator[tuple[AnyTool, Mapping[str, Any]]]:
        return ((tool, arguments) for tool in self._tools() for arguments in self._cases(tool))

    async def _call(
        self, tool: AnyTool, arguments: Mapping[str, Any], kind: type[ToolContext[Any]] = ToolContext
    ) -> object:
        more = ", with a context that tells more" if kind is LaterContext else ""
        shown = f"{_shown(tool, arguments)}{more}"
        with as_failures(shown), within(self.patience, shown):
            return await called(tool, arguments, context_of(tool, self.context, kind))

    async def _raised(self, tool: AnyTool, arguments: Mapping[str, Any]) -> Exception | None:
        try:
            with anyio.fail_after(self.patience):
                await called(tool, arguments, context_of(tool, self.context))
        except Exception as error:  # noqa: BLE001  it is what is asked for
            return error
        return None

    async def _cancelled(self, tool: AnyTool, arguments: Mapping[str, Any], wait: int) -> bool:
        context, shown = context_of(tool, self.context), _shown(tool, arguments)
        with within(self.patience, f"{shown}, cancelled at its wait {wait}"):
            return await cancelled_at(wait, lambda: called(tool, arguments, context), shown)


def _shown(tool: AnyTool, arguments: Mapping[str, Any]) -> str:
    return f"{tool.name}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"


def _plain(text: str) -> str:
    """The letters and digits of a text, to find `time_zone` in "of a time zone"."""
    return "".join(character for character in text.lower() if character.isalnum())


def _is_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True
