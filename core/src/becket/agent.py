"""An agent: an immutable definition that any number of runs share."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack

from becket._decisions import needless
from becket._driver import Driver
from becket._plan import RunPlan
from becket._values import clean_text
from becket.content import Message, Prompt, to_conversation
from becket.errors import ConfigError
from becket.providers import Provider
from becket.retries import Backoff, RetryPolicy
from becket.runtime import Runtime, default_runtime
from becket.stream import AgentStream, result_of
from becket.tools import AnyTool, Tool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from becket._sessions import SessionRun
    from becket.content import AgentResult
    from becket.options import Limits, ModelOptions
    from becket.policies import Approver, Policy
    from becket.session import Session
    from becket.sinks import Sink
    from becket.tools import Reach

__all__ = ["Agent"]

T = TypeVar("T")

_BACKOFF = Backoff()


class _Changes(TypedDict, total=False):
    model: str | Provider | None
    tools: Sequence[AnyTool | str]
    name: str
    system_prompt: str
    options: ModelOptions | None
    limits: Limits | None
    retry: RetryPolicy | None
    sinks: Sequence[Sink | str]
    policies: Sequence[Policy | str]
    approver: Approver | None
    callback_handler: Callable[..., Any] | None
    runtime: Runtime | None


class Agent:
    """A model, its tools and its instructions.

    An agent holds no conversation and nothing that a run changes: a thousand runs of one agent may go on at once.

    Args:
        model: `"provider:model"`, a provider's name, or a provider object. None for the model that `BECKET_MODEL`
            names, else the runtime's configuration, else the default of the one installed provider that has one.
        tools: Tools, as made by `@tool`, or the names of installed ones.
        name: What events and logs call the agent.
        system_prompt: Instructions for the model.
        options: How the model is to answer. None for what the runtime's configuration says, if anything.
        limits: What a run may use. None for what the runtime's configuration says, else for the defaults.
        retry: When a model call that failed before its first delta is made again; None for never. Unless given, what
            the runtime says.
        sinks: What observes each run, as objects or by the names of installed ones.
        policies: What decides on each tool call, as objects or by the names of installed ones; see `becket.policies`.
        approver: Who is asked where a policy, or a tool that writes, asks: a function that gets the `DecisionRequested`
            event, or `"reader"` for whoever reads the stream and answers with `stream.decide`. None for nobody: the
            call is denied.
        callback_handler: Called with the mapping of each event that has one, as keyword arguments, before the reader
            gets the event. If it raises, the run fails with that exception. None for nobody; nothing is printed.
        runtime: The plugins and shared resources to use; None for the default runtime.

    Raises:
        ConfigError: A name is not known, two tools have the same name, or a tool's signature cannot be told to a model.
    """

    __slots__ = ("_given", "_plan", "_runtime")

    def __init__(
        self,
        model: str | Provider | None = None,
        tools: Sequence[AnyTool | str] = (),
        *,
        name: str = "agent",
        system_prompt: str = "",
        options: ModelOptions | None = None,
        limits: Limits | None = None,
        retry: RetryPolicy | None = _BACKOFF,
        sinks: Sequence[Sink | str] = (),
        policies: Sequence[Policy | str] = (),
        approver: Approver | None = None,
        callback_handler: Callable[..., Any] | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        self._given: _Changes = {
            "model": model,
            "tools": (tools,) if isinstance(tools, str | Tool) else tuple(tools),
            "name": name,
            "system_prompt": clean_text(system_prompt),
            "options": options,
            "limits": limits,
            "retry": retry,
            "sinks": (sinks,) if isinstance(sinks, str) else tuple(sinks),
            "policies": (policies,) if isinstance(policies, str) else tuple(policies),
            "approver": _checked_approver(approver),
            "callback_handler": callback_handler,
            "runtime": runtime,
        }
        self._runtime = runtime
        self._plan: RunPlan | None = None
        for given in _resolve_tools(self._given["tools"], self._lookup).values():
            given.spec  # noqa: B018  built here, so that no run has to
        if model is not None:
            self._resolved()

    @property
    def name(self) -> str:
        """The agent's name."""
        return self._given["name"]

    @property
    def model(self) -> str:
        """The model, as `provider:model`."""
        return self._resolved().model_id

    @property
    def tools(self) -> Mapping[str, AnyTool]:
        """The tools by name."""
        return self._resolved().tools

    def __repr__(self) -> str:
        return f"<agent {self.name!r}>"

    def replace(self, **changes: Unpack[_Changes]) -> Agent:
        """Another agent, with these arguments of the constructor changed."""
        given: Any = {**self._given, **changes}
        return Agent(**given)

    def stream_async(
        self,
        prompt: Prompt,
        *,
        history: Sequence[Message] = (),
        context: object = None,
        limits: Limits | None = None,
    ) -> AgentStream:
        """Run the agent, and stream what happens as events.

        A plain function: nothing starts before the first event is asked for, or the stream is entered with
        `async with`, which is the form that cleans up before the next line runs.

        Args:
            prompt: A text, content blocks, or messages.
            history: Messages that come before the prompt; not changed.
            context: Any object; tools get it as `ToolContext.context`.
            limits: The limits of this run, instead of the agent's.

        Raises:
            ConfigError: The prompt is empty or is none, or no model is to be had.
        """
        return self._stream(prompt, history=history, context=context, limits=limits)

    async def invoke_async(
        self,
        prompt: Prompt,
        *,
        history: Sequence[Message] = (),
        context: object = None,
        limits: Limits | None = None,
    ) -> AgentResult:
        """Run the agent to its end. The arguments are those of `stream_async`.

        Raises:
            Exception: Whatever made the run fail.
        """
        return await result_of(self.stream_async(prompt, history=history, context=context, limits=limits))

    def __call__(
        self,
        prompt: Prompt,
        *,
        history: Sequence[Message] = (),
        context: object = None,
        limits: Limits | None = None,
    ) -> AgentResult:
        """Run the agent to its end, from sync code: a script, a notebook, a worker thread.

        The run lives in a thread of the runtime. The arguments are those of `stream_async`.
        """
        return self._call(lambda: self.invoke_async(prompt, history=history, context=context, limits=limits))

    def session(self, session_id: str) -> Session:
        """A conversation with this agent, whose history the runtime's session store keeps from run to run.

        A plain function: nothing is loaded before the first run. Any number of handles of one session may be made, of
        this agent and of others.

        Args:
            session_id: Names the conversation in the store: a text of at most 256 characters, no control characters.

        Raises:
            ConfigError: The id is none.
            PluginError: The plugin that was to give the session store failed to.
        """
        from becket.session import Session

        return Session(self, session_id, self._used_runtime().session_store)

    def _stream(
        self,
        prompt: Prompt,
        *,
        history: Sequence[Message] = (),
        session: SessionRun | None = None,
        context: object = None,
        limits: Limits | None = None,
    ) -> AgentStream:
        """The stream of a run that goes on from a history, or in a session."""
        plan = self._resolved(limits)
        earlier, asked = to_conversation(history, prompt)
        return AgentStream(Driver(plan, self._used_runtime(), asked, history=earlier, context=context, session=session))

    def _call(self, work: Callable[[], Awaitable[AgentResult]]) -> AgentResult:
        return self._used_runtime().call(work)

    def as_tool(
        self, name: str, description: str, *, reach: Reach = "network", timeout: float | None = None
    ) -> AnyTool:
        """A tool that runs this agent, for another agent.

        The model that calls it gives one argument, the prompt, and gets the answer's text, or the structured output, or
        the reason why there is none. The run is nested in the one that calls the tool, as every run is that an async
        tool starts: its events are in that run's stream, with `parent_run_id` and `parent_call_id`; it is cancelled
        with it and draws on its budgets; its policies and its approver decide as well. Tools of both get the same
        `context`.

        The tool's effect is `"read"`, so that the call itself is not asked about: what the agent changes are calls of
        its own tools, and each of those is decided on by itself.

        Args:
            name: What the model calls it by.
            description: What the agent is good for, for the model to read.
            reach: `"network"`, since its model is there as a rule; `"local"` where all of it stays on this machine.
            timeout: Seconds that one call may take; None for no limit of its own, not even that of
                `Limits.tool_seconds`, since an agent may have to wait for a person.

        Raises:
            ConfigError: The name is none that a model can be told of.
        """
        from becket._agent_tool import agent_tool

        return agent_tool(self, name, description, reach=reach, timeout=timeout)

    # -- resolving -------------------------------------------------------------------------------------------------

    def _used_runtime(self) -> Runtime:
        if self._runtime is None:
            self._runtime = default_runtime()
        return self._runtime

    def _lookup(self, name: str) -> AnyTool:
        return self._used_runtime().tool(name)

    def _resolved(self, limits: Limits | None = None) -> RunPlan:
        """The plan of a run; made once, and again only for other limits."""
        if self._plan is None:
            self._plan = self._make_plan(self._given["limits"] or self._used_runtime().config.limits)
        plan = self._plan if limits is None else self._make_plan(limits)
        if plan.limits.cost is not None:
            plan.prices.need(plan.model_id)
        return plan

    def _make_plan(self, limits: Limits) -> RunPlan:
        given, runtime = self._given, self._used_runtime()
        provider, model = _resolve_model(given["model"], runtime)
        tools = _resolve_tools(given["tools"], self._lookup)
        handed = frozenset(tool.name for tool in given["tools"] if isinstance(tool, Tool))
        policies = _each_once((*runtime.policies, *(runtime.as_policy(policy) for policy in given["policies"])))
        named = tuple(runtime.as_sink(sink) for sink in given["sinks"])
        return RunPlan(
            agent=given["name"],
            provider=provider,
            model=model,
            model_id=f"{provider.name}:{model}",
            system_prompt=given["system_prompt"],
            tools=MappingProxyType(tools),
            specs=tuple(tool.spec for tool in tools.values()),
            options=given["options"] or runtime.config.options,
            limits=limits,
            prices=runtime.prices,
            retry=runtime.retry if given["retry"] is _BACKOFF else given["retry"],
            sinks=_each_once((*runtime.sinks, *named)),
            hooks=runtime.hooks,
            policies=policies,
            approver=given["approver"],
            handed=handed,
            free=frozenset(name for name, tool in tools.items() if needless(tool, handed=name in handed))
            if not (policies or runtime.hooks.before_tool_call or runtime.hooks.approve_tool)
            else frozenset(),
            callback_handler=given["callback_handler"],
            threads=runtime.threads,
            make_log=runtime.make_log,
        )


def _each_once(items: Sequence[T]) -> tuple[T, ...]:
    """The items without those that stand there already: the runtime and the agent may name the same one."""
    return tuple(item for at, item in enumerate(items) if all(item is not earlier for earlier in items[:at]))


def _checked_approver(approver: Approver | None) -> Approver | None:
    if approver is None or approver == "reader" or callable(approver):
        return approver
    raise ConfigError(
        f"approver is {approver!r}; it takes a function that answers, or 'reader' for whoever reads the stream"
    )


def _resolve_model(model: str | Provider | None, runtime: Runtime) -> tuple[Provider, str]:
    if model is None or isinstance(model, str):
        return runtime.model(model)
    if not isinstance(model, Provider):
        raise ConfigError(f"model is {model!r}; it takes 'provider:model', or a provider object (becket.Provider)")
    return model, model.default_model or ""


def _resolve_tools(given: Sequence[AnyTool | str], lookup: Callable[[str], AnyTool]) -> dict[str, AnyTool]:
    tools: dict[str, AnyTool] = {}
    for item in given:
        tool = lookup(item) if isinstance(item, str) else item
        if not isinstance(tool, Tool):
            raise ConfigError(
                f"{tool!r} is no tool; decorate the function with @becket.tool, or give the name of an installed one"
            )
        other = tools.setdefault(tool.name, tool)
        if other is not tool:
            raise ConfigError(
                f"two tools are named {tool.name!r}: that of {other.__module__} and that of {tool.__module__}; "
                f"rename one with @tool(name=...), or leave one out"
            )
    return tools
