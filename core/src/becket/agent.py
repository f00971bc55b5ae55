"""An agent: an immutable definition that any number of runs share."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack, overload

from becket._decisions import needless
from becket._driver import Driver
from becket._outcome import OutputPlan
from becket._plan import RunPlan
from becket._values import clean_text
from becket.content import Message, Prompt, to_conversation
from becket.errors import ConfigError
from becket.options import Limits, ModelOptions
from becket.output import Output
from becket.providers import Provider, RoutingProvider
from becket.retries import Backoff, RetryPolicy
from becket.runtime import Runtime, default_runtime
from becket.stream import AgentStream, result_of
from becket.tools import AnyTool, Tool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from typing_extensions import TypeForm

    from becket._sessions import SessionRun
    from becket.content import AgentResult
    from becket.log import EventLog
    from becket.policies import Approver, Policy
    from becket.session import Session
    from becket.sinks import Sink
    from becket.tools import Reach

__all__ = ["Agent"]

T = TypeVar("T")

_BACKOFF = Backoff()


class _RunOptions(TypedDict, total=False):
    """What a run may be given besides its prompt and its output."""

    history: Sequence[Message]
    context: object
    limits: Limits | None


class _StreamOptions(_RunOptions, total=False):
    """The same for a run whose stream is handed out."""

    detach: bool
    log: EventLog | None


class _Changes(TypedDict, total=False):
    model: str | Provider | None
    tools: Sequence[AnyTool | str]
    name: str
    system_prompt: str
    options: ModelOptions | None
    limits: Limits | None
    output: Any
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
        output: The type of the structured output that each run is to give, or an `Output`; None for none.
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
        ConfigError: A name is not known, two tools have the same name, a tool's signature cannot be told to a model,
            the output's type cannot be read from JSON, or an option is none.
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
        output: TypeForm[Any] | Output[Any] | None = None,
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
            "options": _checked("options", options, ModelOptions, "ModelOptions(...)"),
            "limits": _checked_limits(limits),
            "output": _as_output(output),
            "retry": _checked(
                "retry", retry, RetryPolicy, "Backoff(...), or an object with what becket.RetryPolicy has"
            ),
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
    def system_prompt(self) -> str:
        """The instructions that it was given."""
        return self._given["system_prompt"]

    @property
    def options(self) -> ModelOptions:
        """How the model is to answer."""
        return self._resolved().options

    @property
    def limits(self) -> Limits:
        """What a run may use."""
        return self._resolved().limits

    @property
    def approver(self) -> Approver | None:
        """Who is asked about tool calls."""
        return self._given["approver"]

    @property
    def sinks(self) -> Sequence[Sink | str]:
        """What it was given to observe its runs, besides what the runtime says."""
        return self._given["sinks"]

    @property
    def runtime(self) -> Runtime:
        """The plugins and shared resources that it uses."""
        return self._used_runtime()

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

    @overload
    def stream_async(
        self, prompt: Prompt, *, output: Output[T], **options: Unpack[_StreamOptions]
    ) -> AgentStream[T]: ...

    @overload
    def stream_async(
        self, prompt: Prompt, *, output: TypeForm[T], **options: Unpack[_StreamOptions]
    ) -> AgentStream[T]: ...

    @overload
    def stream_async(
        self, prompt: Prompt, *, output: None = None, **options: Unpack[_StreamOptions]
    ) -> AgentStream[Any]: ...

    def stream_async(
        self,
        prompt: Prompt,
        *,
        output: Any = None,
        history: Sequence[Message] = (),
        context: object = None,
        limits: Limits | None = None,
        detach: bool = False,
        log: EventLog | None = None,
    ) -> AgentStream[Any]:
        """Run the agent, and stream what happens as events.

        A plain function: nothing starts before the first event is asked for, or the stream is entered with
        `async with`, which is the form that cleans up before the next line runs.

        Args:
            prompt: A text, content blocks, or messages.
            output: The structured output of this run, a type or an `Output`; None for the agent's.
            history: Messages that come before the prompt; not changed.
            context: Any object; tools get it as `ToolContext.context`.
            limits: The limits of this run, instead of the agent's.
            detach: Whether the run goes on without a reader. It then does not wait for one either: the stream reads the
                runtime's event log, which is bounded, and leaving it does not end the run, but `stream.cancel` does. It
                ends with the `Runtime` that is open on this event loop, if one is. In a tool it is over with the call.
            log: The event log of this run, a new one, instead of one that the runtime makes. A run that is nested in
                another has that one's.

        Raises:
            ConfigError: The prompt is empty or is none, no model is to be had, or the output's type cannot be read from
                JSON.
            EventsDropped: From a detached run's stream: it was read slower than the log is long.
        """
        return self._stream(
            prompt, output=output, history=history, context=context, limits=limits, detach=detach, log=log
        )

    @overload
    async def invoke_async(
        self, prompt: Prompt, *, output: Output[T], **options: Unpack[_RunOptions]
    ) -> AgentResult[T | None]: ...

    @overload
    async def invoke_async(
        self, prompt: Prompt, *, output: TypeForm[T], **options: Unpack[_RunOptions]
    ) -> AgentResult[T | None]: ...

    @overload
    async def invoke_async(
        self, prompt: Prompt, *, output: None = None, **options: Unpack[_RunOptions]
    ) -> AgentResult[Any]: ...

    async def invoke_async(
        self, prompt: Prompt, *, output: Any = None, **options: Unpack[_RunOptions]
    ) -> AgentResult[Any]:
        """Run the agent to its end. The arguments are those of `stream_async`.

        Raises:
            OutputError: A structured output is wanted, and what the model gave never fitted.
            Exception: Whatever else made the run fail.
        """
        return await result_of(self.stream_async(prompt, output=output, **options))

    @overload
    def __call__(
        self, prompt: Prompt, *, output: Output[T], **options: Unpack[_RunOptions]
    ) -> AgentResult[T | None]: ...

    @overload
    def __call__(
        self, prompt: Prompt, *, output: TypeForm[T], **options: Unpack[_RunOptions]
    ) -> AgentResult[T | None]: ...

    @overload
    def __call__(self, prompt: Prompt, *, output: None = None, **options: Unpack[_RunOptions]) -> AgentResult[Any]: ...

    def __call__(self, prompt: Prompt, *, output: Any = None, **options: Unpack[_RunOptions]) -> AgentResult[Any]:
        """Run the agent to its end, from sync code: a script, a notebook, a worker thread.

        The run lives in a thread of the runtime. The arguments are those of `stream_async`.
        """
        return self._call(lambda: self.invoke_async(prompt, output=output, **options))

    def session(self, session_id: str, *, called: str | None = None) -> Session:
        """A conversation with this agent, whose history the runtime's session store keeps from run to run.

        A plain function: nothing is loaded before the first run. Any number of handles of one session may be made, of
        this agent and of others.

        Args:
            session_id: Names the conversation in the store: a text of at most 256 characters, no control characters.
            called: What the errors of its runs call it, where whoever reads them knows it by another name than the
                store: the client of a server that puts names of its own before those of clients.

        Raises:
            ConfigError: The id is none.
            PluginError: The plugin that was to give the session store failed to.
        """
        from becket.session import Session

        return Session(self, session_id, self._used_runtime().session_store, called)

    def _stream(
        self,
        prompt: Prompt,
        *,
        output: Any = None,
        history: Sequence[Message] = (),
        session: SessionRun | None = None,
        context: object = None,
        limits: Limits | None = None,
        detach: bool = False,
        log: EventLog | None = None,
    ) -> AgentStream[Any]:
        """The stream of a run that goes on from a history, or in a session."""
        plan = self._resolved(limits, output)
        earlier, asked = to_conversation(history, prompt)
        runtime = self._used_runtime()
        return AgentStream(
            Driver(plan, runtime, asked, history=earlier, context=context, session=session, detach=detach, log=log)
        )

    def _call(self, work: Callable[[], Awaitable[AgentResult[Any]]]) -> AgentResult[Any]:
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

    def _resolved(self, limits: Limits | None = None, output: Any = None) -> RunPlan:
        """The plan of a run; made once, and again only for other limits or another output."""
        given = self._given
        if limits is None and output is None and self._plan is not None:
            return self._plan
        allowed = _checked_limits(limits) or given["limits"] or self._used_runtime().config.limits
        if limits is not None or output is not None:
            return self._make_plan(allowed, given["output"] if output is None else _as_output(output))
        self._plan = self._make_plan(allowed, given["output"])
        return self._plan

    def _make_plan(self, limits: Limits, output: Output[Any] | None) -> RunPlan:
        given, runtime = self._given, self._used_runtime()
        provider, model = _resolve_model(given["model"], runtime)
        tools = _resolve_tools(given["tools"], self._lookup)
        handed = frozenset(tool.name for tool in given["tools"] if isinstance(tool, Tool))
        policies = _each_once((*runtime.policies, *(runtime.as_policy(policy) for policy in given["policies"])))
        model_id = f"{provider.name}:{model}"
        priced = tuple(provider.routes(model)) if isinstance(provider, RoutingProvider) else (model_id,)
        for answering in priced if limits.cost is not None else ():
            runtime.prices.need(answering)
        named = tuple(runtime.as_sink(sink) for sink in given["sinks"])
        return RunPlan(
            agent=given["name"],
            provider=provider,
            model=model,
            model_id=model_id,
            priced=priced,
            system_prompt=given["system_prompt"],
            tools=MappingProxyType(tools),
            specs=tuple(tool.spec for tool in tools.values()),
            options=given["options"] or runtime.config.options,
            limits=limits,
            output=None if output is None else OutputPlan.of(output, provider, model, tools),
            prices=runtime.prices,
            retry=runtime.retry if given["retry"] is _BACKOFF else given["retry"],
            sinks=_each_once((*runtime.sinks, *named)),
            masks=runtime.masks,
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


def _checked(option: str, given: T, kind: type, takes: str) -> T:
    if given is None or isinstance(given, kind):
        return given
    raise ConfigError(f"{option} is {given!r}; it takes {takes}, or None")


def _checked_limits(limits: Limits | None) -> Limits | None:
    return _checked("limits", limits, Limits, "Limits(...)")


def _checked_approver(approver: Approver | None) -> Approver | None:
    if approver is None or approver == "reader" or callable(approver):
        return approver
    raise ConfigError(
        f"approver is {approver!r}; it takes a function that answers, or 'reader' for whoever reads the stream"
    )


def _as_output(output: Any) -> Output[Any] | None:
    return output if output is None or isinstance(output, Output) else Output(output)


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
