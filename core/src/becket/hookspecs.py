"""Every hook that a plugin may implement, one docstring each: this file is the reference for authors.

A plugin is a module, a class or an object named by an entry point in the group `becket`; the functions in it that are
marked with `@becket.hookimpl` implement hooks of the same name. A class is called without arguments, and its instance
is the plugin. A module that implements no hook, and has `@tool` functions, is a plugin too: those are its tools.

The hooks called `register_...` are called once, when a `Runtime` is built, synchronously, each on its own: one that
raises, or gives what it must not, takes its plugin out of that runtime, and nothing else. They return any iterable, or
None for nothing, and do no more than make what they return: to connect, to load a model, to import what is heavy is
for its first use. Each may take the argument `config`, what the plugin's own table of the configuration has become:
see `declare_config`.

The others are called in every run of that runtime: to install a plugin with such hooks, and not to block it, is to
switch them on. They may be sync or async. A sync one runs on the event loop and must not block; an async one has
`Limits.hook_seconds`. What happens when one raises, takes too long or returns what it must not is said with each; a
cancellation of the run and a KeyboardInterrupt pass through all of them. None of them may change what it is given.

The order is: first those marked `@hookimpl(tryfirst=True)`, last those marked `@hookimpl(trylast=True)`, and among
equals the order that the host has configured, then that of the plugins' names. An implementation takes those of the
arguments that it names. Wrappers (`@hookimpl(wrapper=True)`) are refused: what a call goes through is a table, with an
error policy for each hook. A hook that a newer becket has, and this one does not, is marked
`@hookimpl(optionalhook=True)`; without the mark it is an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from pluggy import HookspecMarker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from becket.content import Message, ToolCall, ToolResult
    from becket.effects import ModelAnswer
    from becket.events import ModelEvent
    from becket.hooks import HookContext
    from becket.log import EventLog
    from becket.masks import Mask
    from becket.policies import Policy, Verdict
    from becket.providers import ModelRequest, Provider
    from becket.retries import RetryPolicy
    from becket.session import SessionStore
    from becket.sinks import RunInfo, Sink
    from becket.tools import AnyTool
    from becket.wires import AnyWire

__all__ = [
    "after_model_call",
    "after_tool_call",
    "approve_tool",
    "before_model_call",
    "before_tool_call",
    "declare_config",
    "make_event_log",
    "make_retry_policy",
    "make_session_store",
    "register_commands",
    "register_masks",
    "register_policies",
    "register_providers",
    "register_sinks",
    "register_tools",
    "register_wires",
    "system_prompt",
    "transform_messages",
]

hookspec = HookspecMarker("becket")

FindModel: TypeAlias = "Callable[[str], tuple[Provider, str]]"
"""The provider of a model, and the model's name without the provider's; it raises `ConfigError` as `Runtime.model`."""


@hookspec
def declare_config() -> type | None:
    """The model of the plugin's table in a configuration, `[plugins.<name>]`: a pydantic model, dataclass or TypedDict.

    Called before every other hook, whose argument `config` is then the table as an instance of the model: validated,
    or made of its defaults where there is no table. Keys that the model does not have are errors, unless it says
    `extra="allow"` itself. Secrets are fields of the types `SecretStr`, `SecretBytes` or `Secret` of pydantic; no
    message shows them. In the user's file the value of any key may be `{ env = "NAME" }`, an environment variable, and
    is as if it were absent where that is not set. A project's file may set what is marked with `becket.ProjectMaySet`.

    A table that does not fit is the user's to mend, and an error of the `Runtime`. A plugin whose model has required
    fields is left out where there is no table. pydantic takes a while to import; a dataclass does without, until there
    is a table.
    """


@hookspec
def register_tools(config: Any) -> Iterable[AnyTool] | None:
    """The tools that the plugin makes available. An agent has those that it names; none is granted by being installed.

    A name that another plugin's tool has too is no error before somebody asks for it; `plugin:name` then says which.
    """


@hookspec
def register_providers(config: Any, find_model: FindModel) -> Iterable[Provider] | None:
    """The model providers that the plugin makes available, as objects.

    One object serves every run of the runtime, in any number of event loops; see `becket.Provider`.

    A provider that calls models of others keeps `find_model`, which gives the provider of `provider:model` and the
    model's name without the provider's, or raises a `ConfigError`. It is for when a model is called: other plugins have
    not been asked for theirs while the runtime is built, and until then it raises a `ConfigError` too.
    """


@hookspec
def register_sinks(config: Any) -> Iterable[Sink] | None:
    """The event sinks that the plugin makes available. A run has those that its agent or its runtime names."""


@hookspec
def register_policies(config: Any) -> Iterable[Policy] | None:
    """The policies that the plugin makes available. A run has those that its agent or its runtime names.

    A policy that the host has named may grant what is asked about otherwise; see `becket.policies`. One that is to hold
    wherever the plugin is installed is the hook `approve_tool`.
    """


@hookspec
def register_masks(config: Any) -> Iterable[Mask] | None:
    """What replaces secrets in all text of every run: to install the plugin, and not to block it, switches them on.

    Each mask gets what those before it have left; see `becket.masks`. It fails closed: while a plugin that implements
    this hook is quarantined, for whatever reason, every run of the runtime fails with a `PluginError` that says so.
    """


@hookspec
def register_wires(config: Any) -> Iterable[AnyWire] | None:
    """The formats that the plugin can answer clients in, see `becket.wires`. A server gives each one a route."""


@hookspec
def make_session_store(config: Any) -> SessionStore | None:
    """Where `agent.session` keeps histories, or None to leave that to others.

    Called once, when a `Runtime` is built without a `session_store` of its own; the first store that a plugin gives is
    used, and the next plugins are not asked. Where it fails, or gives no store, nothing stands in for it: runs in
    sessions are refused with a `PluginError`, and the others go on. What else the plugin contributes stays in use.
    """


@hookspec
def make_event_log(config: Any) -> Callable[[RunInfo], EventLog] | None:
    """What makes the log of each run, or None to leave that to others.

    Called once, when a `Runtime` is built without a `make_log` of its own; the first that a plugin gives is used. Where
    it fails the plugin is shown as quarantined, the log says so, and events are kept in memory; a host that relies on
    the record requires the plugin.
    """


@hookspec
def make_retry_policy(config: Any) -> RetryPolicy | None:
    """When model calls that failed are made again, for agents that do not say it; None to leave that to others.

    As `make_event_log`; the default is `Backoff()`.
    """


@hookspec
def register_commands(cli: Any, config: Any) -> None:
    """Add commands to a command line. Called when a command line asks for them, not when the runtime is built.

    What was added before it raised stays added; what the plugin contributes besides commands stays in use.

    Args:
        cli: The group of commands to add to. The program `becket` passes a `click.Group`.
        config: As in the hooks above. The program `becket` reads no project's file for it.
    """


@hookspec
def system_prompt(ctx: HookContext) -> str | Awaitable[str | None] | None:
    """Text to add to the agent's system prompt, each in a paragraph of its own, in the order of the hooks.

    Called once a run, before its first model call, so that services can cache what follows from it. One that fails is
    reported as a `plugin_failed` event and left out.
    """


@hookspec
def transform_messages(
    ctx: HookContext, messages: Sequence[Message]
) -> Sequence[Message] | Awaitable[Sequence[Message] | None] | None:
    """The messages that the model is sent instead of these, or None for these.

    A view for this one call: the history is not rewritten, and the next call begins with all of it again. Each hook is
    given what the one before has made of it. A tool call and its result must stay in neighbouring messages. One that
    fails fails the run with a `PluginError`.
    """


@hookspec
def before_model_call(
    ctx: HookContext, request: ModelRequest
) -> ModelRequest | Sequence[ModelEvent] | Awaitable[ModelRequest | Sequence[ModelEvent] | None] | None:
    """The request that is made instead of this one, or an answer that stands for the model's; None for neither.

    Called for each attempt, with the transformed messages. To change a request, give
    `dataclasses.replace(request, ...)`. An answer is a list of what a provider would yield, a `ModelFinished` last; the
    events are copied. It ends the chain, and the model is not called. One that fails fails the run with a
    `PluginError`.
    """


@hookspec
def after_model_call(ctx: HookContext, request: ModelRequest, answer: ModelAnswer) -> Awaitable[None] | None:
    """See what the model has answered to `request`: the assembled message, the stop reason, the usage.

    An answer that a hook gave is seen as well. What is returned is not looked at. One that fails is reported as a
    `plugin_failed` event.
    """


@hookspec
def before_tool_call(
    ctx: HookContext, call: ToolCall
) -> ToolCall | ToolResult | Awaitable[ToolCall | ToolResult | None] | None:
    """The call that is made instead of this one, or a result that stands for its; None for neither.

    Called for every call that the model has written as it should, before it is approved, of a tool that is not there
    too. Another call keeps the `id`; a result has it as its `call_id`, and ends the chain. The history keeps the call
    as the model wrote it; `tool_started` has it as it is made. One that fails fails the run with a `PluginError`.
    """


@hookspec
def after_tool_call(
    ctx: HookContext, call: ToolCall, result: ToolResult
) -> ToolResult | Awaitable[ToolResult | None] | None:
    """The result that the model gets instead of this one; None for this one.

    Called for each call that was made, also where it has failed. One that fails fails the run with a `PluginError`.
    """


@hookspec
def approve_tool(ctx: HookContext, call: ToolCall, tool: AnyTool) -> Verdict | Awaitable[Verdict | None] | None:
    """What the plugin says of a call about to be made: `Allow`, `Ask`, `Deny`, or None for nothing.

    It sees the final arguments, after every rewrite. All implementations are called; the strongest word counts: see
    `becket.policies`. An `Allow` given here grants nothing that the tool's effect would not: only a policy that the
    host has named can do that. One that fails denies the call: it fails closed.
    """
