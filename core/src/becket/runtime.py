"""The runtime: the plugins that are in use, and what its runs share."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar

from becket._homes import Homes, close_all
from becket._inprocess import GRACE
from becket._log import logger
from becket._names import canonical
from becket._portal import Portal
from becket._threads import WorkerThreads
from becket._version import VERSION
from becket.errors import ConfigError, PluginError
from becket.log import memory_log
from becket.policies import Policy
from becket.prices import Prices
from becket.retries import Backoff, RetryPolicy
from becket.sinks import Sink

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping, Sequence
    from types import TracebackType

    from anyio.abc import TaskGroup

    from becket._driver import Driver
    from becket._locking import LockCheck
    from becket._table import HookTable
    from becket.config import Config, ConfigReport
    from becket.discovery import Candidate
    from becket.lock import Lock
    from becket.log import EventLog
    from becket.masks import Mask
    from becket.plugins import Contribution, HookPlace, Plugin, Registry
    from becket.prices import Price
    from becket.providers import Provider
    from becket.session import SessionStore
    from becket.sinks import RunInfo
    from becket.tools import AnyTool
    from becket.wires import AnyWire

__all__ = ["VERSION", "Runtime", "default_runtime", "set_default_runtime"]

T = TypeVar("T")


class Runtime:
    """The plugins in use, compiled once into a table that does not change, and what runs share: threads, a portal.

    A runtime may be used by any number of agents, event loops and threads; nothing in it is bound to a loop, but for
    the time of its `async with`, in which it is the home of the runs that are started on that loop: leaving it cancels
    those that still go on, waits until they have cleaned up, and has the providers close what they keep for the loop.
    A tool that swallows its cancellation holds that up. On one loop it is open once at a time; on another as well, if
    need be.

    Args:
        plugins: Plugins as objects: modules, classes, or instances with `@hookimpl` methods. They need not be on the
            allow list.
        discover: Whether to look for installed plugins.
        allow: Names of the only plugins to load, or None for all. A name is that of the plugin (its entry point), of
            its distribution, or of its module.
        block: Names of plugins not to load, nor to import; wins over `allow`.
        require: Names of plugins that must be there and usable: everything that has the name, but for what is blocked.
        order: Names of plugins in the order in which their hooks are called, before all others.
        strict: Whether a plugin that cannot be used is an error, instead of being left out.
        sinks: Sinks that observe every run, as objects or by name.
        policies: Policies that decide on the tool calls of every run, as objects or by name; see `becket.policies`.
        prices: What models cost, for `Limits(cost=...)` and the `cost` of results: a `Price`, or a mapping with its
            fields, by `provider:model` or a pattern of it with `*` and `?`. The very name wins, else the first pattern
            that fits. Nothing is known of prices but what stands here, and after it in the configuration.
        threads: Sync tools that may run at once, at least 1.
        make_log: Makes the event log of each run; None for what a plugin gives, else for the last 256 events in memory.
        retry: When a model call that failed is made again, for agents that do not say it; None for what a plugin gives,
            else for `Backoff()`.
        config: A configuration, such as `load_config()` reads; see `becket.config`. Without one no file is read.
            `allow` and `sinks` given here are used instead of what it says; `block`, `require` and `policies` are
            added to it, and `order` goes before its own.
        session_store: Where `agent.session` keeps histories; None for what a plugin gives, else for one in memory.
        lock: What the installed plugins are held to, as a `becket.lock.Lock` or the file of one; None for what the
            configuration says, which is `BECKET_LOCK`. One that is not in it is not imported; one that is in it is
            required, as it was; see `becket.lock`. Does not concern `plugins`.

    Raises:
        ConfigError: A required plugin is missing, blocked or unusable, a locked one is missing or not as it was, a
            sink or a policy is not known, or an option is none.
        PluginError: With `strict`, a plugin cannot be used.
    """

    __slots__ = (
        "__weakref__",
        "_config",
        "_homes",
        "_lock_problem",
        "_make_log",
        "_no_store",
        "_policies",
        "_portal",
        "_prices",
        "_retry",
        "_session_store",
        "_set",
        "_sinks",
        "_threads",
    )

    def __init__(
        self,
        *,
        plugins: Iterable[object] = (),
        discover: bool = True,
        allow: Iterable[str] | None = None,
        block: Iterable[str] = (),
        require: Iterable[str] = (),
        order: Sequence[str] = (),
        strict: bool = False,
        sinks: Sequence[Sink | str] | None = None,
        policies: Sequence[Policy | str] = (),
        prices: Mapping[str, Price | Mapping[str, float]] | None = None,
        threads: int = 40,
        make_log: Callable[[RunInfo], EventLog] | None = None,
        retry: RetryPolicy | None = None,
        config: Config | None = None,
        session_store: SessionStore | None = None,
        lock: Lock | str | os.PathLike[str] | None = None,
    ) -> None:
        if threads < 1:
            raise ConfigError(f"threads is {threads}; it must be 1 or above, or no sync tool could ever run")
        # Imported here: an agent that is given its model and tools as objects needs none of it until its first run.
        from becket._choice import Choice
        from becket._config_use import ConfigUse
        from becket._loading import PluginSet
        from becket._sessions import find_store
        from becket.config import Config

        config = Config() if config is None else config
        if not isinstance(config, Config):
            raise ConfigError(f"config is {config!r}; it takes a becket.Config, such as load_config() reads")
        if allow is None:
            allow = config.allow
        choice = Choice(
            allow=None if allow is None else frozenset(_names("allow", allow)),
            block=frozenset((*_names("block", block), *_names("block", config.block))),
            order=(*_names("order", order), *_names("order", config.order)),
            strict=strict,
        )
        if lock is None:
            lock = config.lock
        check = None if lock is None else _check(lock)
        self._set = PluginSet(
            plugins,
            _discover() if discover else (),
            choice,
            tables=config.plugins,
            find_model=self._find_model,
            check=check,
        )
        tools = frozenset(entry.item.name for entry in self._set.tools.contributions())
        self._config = ConfigUse(config, self._set.settled, tools)
        self._lock_problem = check.problem(self.plugins, choice) if check is not None and discover else ""
        if self._lock_problem and not config.lenient:
            raise ConfigError(self._lock_problem)
        self._make_log: Callable[[RunInfo], EventLog] = (
            make_log or self._first("make_event_log", Callable, "the event log", strict=strict) or memory_log
        )
        self._retry: RetryPolicy = (
            retry or self._first("make_retry_policy", RetryPolicy, "the retry policy", strict=strict) or Backoff()
        )
        for name in _names("require", require):
            self._check_required(name)
        self._config.each("require", self._check_required)
        self._prices = Prices(prices).before(config.prices)
        self._threads = WorkerThreads(threads)
        self._portal = Portal(self)
        self._homes = Homes()
        self._session_store, self._no_store = find_store(session_store, self._set, strict=strict)
        self._sinks = (
            self._config.each("sinks", self.sink)
            if sinks is None
            else tuple(self.as_sink(sink) for sink in _listed("sinks", sinks))
        )
        given = tuple(self.as_policy(policy) for policy in _listed("policies", policies))
        self._policies = (*given, *self._config.each("policies", self.as_policy), *self._approvals(config))

    # -- what is there ---------------------------------------------------------------------------------------------

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """Every plugin that was passed or found, with what became of it."""
        return self._set.plugins

    @property
    def config(self) -> Config:
        """The configuration that it was given, or one that says nothing."""
        return self._config.config

    def config_report(self) -> ConfigReport:
        """The effective configuration, the plugins' included, where each value is from, and what is wrong with it."""
        return self._config.report()

    @property
    def config_problems(self) -> tuple[str, ...]:
        """What is wrong with the configuration, as `config_report` has it; empty unless that is `lenient`."""
        return self._config.problems

    @property
    def lock_problem(self) -> str:
        """How the installed plugins differ from those that are locked, in a sentence; empty where they do not.

        It is an error, unless the configuration is `lenient`. Nothing of a distribution that differs was imported.
        """
        return self._lock_problem

    @property
    def tools(self) -> Registry[AnyTool]:
        """The tools that plugins make available; an agent has those that it names."""
        return self._set.tools

    @property
    def providers(self) -> Registry[Provider]:
        """The model providers that plugins make available."""
        return self._set.providers

    @property
    def available_sinks(self) -> Registry[Sink]:
        """The sinks that plugins make available."""
        return self._set.sinks

    @property
    def sinks(self) -> tuple[Sink, ...]:
        """The sinks that observe every run."""
        return self._sinks

    @property
    def available_policies(self) -> Registry[Policy]:
        """The policies that plugins make available."""
        return self._set.policies

    @property
    def policies(self) -> tuple[Policy, ...]:
        """The policies that decide in every run."""
        return self._policies

    @property
    def wires(self) -> Registry[AnyWire]:
        """The formats for clients that plugins make available; a server gives each one a route."""
        return self._set.wires

    @property
    def hooks(self) -> HookTable:
        """The hooks that are called in its runs."""
        return self._set.hooks

    def hook_order(self, name: str) -> tuple[HookPlace, ...]:
        """The implementations of a hook, of any that there is, in the order in which they are called, and why.

        Those of plugins that are in use. Policies, which the host has named, decide beside the hook `approve_tool`, and
        are in `policies`.

        Raises:
            ConfigError: There is no such hook.
        """
        from becket import hookspecs

        if name not in hookspecs.__all__:
            import difflib

            near = difflib.get_close_matches(name, hookspecs.__all__, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the hooks are: {', '.join(hookspecs.__all__)}"
            raise ConfigError(f"there is no hook {name!r}; {hint}")
        return self._set.order_of(name)

    @property
    def masks(self) -> tuple[Contribution[Mask], ...]:
        """What all text of its runs passes through before it is seen, in order; see `becket.masks`."""
        return self._set.masks

    @property
    def prices(self) -> Prices:
        """What models cost."""
        return self._prices

    @property
    def threads(self) -> WorkerThreads:
        """Where sync tools run."""
        return self._threads

    @property
    def make_log(self) -> Callable[[RunInfo], EventLog]:
        """Makes the event log of a run."""
        return self._make_log

    @property
    def retry(self) -> RetryPolicy:
        """When a model call that failed is made again, for agents that do not say it."""
        return self._retry

    @property
    def session_store(self) -> SessionStore:
        """Where histories are kept.

        Raises:
            PluginError: The plugin that was to give it failed to; one in memory would lose what it is to keep.
        """
        if self._no_store is not None:
            raise self._no_store
        return self._session_store

    def tool(self, name: str) -> AnyTool:
        """The tool with this name, or `plugin:name`.

        Raises:
            ConfigError: There is none, or there are two.
        """
        found = self.tools.find(name)
        if found is None:
            raise self._unknown(self.tools, name)
        return found

    def sink(self, name: str) -> Sink:
        """The sink with this name, or `plugin:name`, configured by what follows another colon: `name:argument`.

        Raises:
            ConfigError: There is none, there are two, or it does not take the argument.
            PluginError: It broke its contract when it was given the argument.
        """
        found, argument = self.available_sinks.split(name)
        if found is None:
            raise self._unknown(self.available_sinks, name.partition(":")[0], name)
        if argument is None:
            return found
        configured: object = found.with_argument(argument)
        if not isinstance(configured, Sink):
            raise PluginError(
                f"the sink {name!r} cannot be used: its with_argument() returned {configured!r}, which is no sink; "
                f"that is its plugin's to mend",
                plugin=found.name,
            )
        return configured

    def model(self, name: str | None = None) -> tuple[Provider, str]:
        """The provider of a model, and the model's name without the provider's.

        Args:
            name: `provider:model`, or a provider that has a default model; with `plugin:` before it where two plugins
                have a provider of that name. None for the one that the environment variable `BECKET_MODEL` names,
                else the configuration, else that of the one installed provider that offers a default.

        Raises:
            ConfigError: There is no such provider, or no default; the text lists what is installed and what to set.
        """
        if name:
            return self._model(name)
        if chosen := os.environ.get("BECKET_MODEL"):
            try:
                return self._model(chosen)
            except ConfigError as error:
                raise ConfigError(f"BECKET_MODEL is {chosen!r}: {error}") from None
        for found in self._config.each("model", self._model):
            return found
        return self._default_model()

    def commands(self, cli: Any) -> None:
        """Let every plugin add its commands to a command line; see the hook `register_commands`.

        A plugin that fails at it is shown in `plugins` as quarantined from then on; what else it contributes stays.

        Raises:
            PluginError: The runtime is strict, and a plugin failed.
        """
        self._set.commands(cli)

    def _model(self, name: str) -> tuple[Provider, str]:
        provider, model = self.providers.split(name)
        if provider is None:
            raise self._unknown(self.providers, name.partition(":")[0], name)
        if model := model or provider.default_model:
            return provider, model
        raise ConfigError(
            f"the provider {provider.name!r} has no default model; name one as '{provider.name}:<model>'"
            f"{_models_of(provider)}"
        )

    def _find_model(self, name: str) -> tuple[Provider, str]:
        """The provider of a model and the model's name without the provider's, for providers that call others.

        Raises:
            ConfigError: There is no such provider, it has no default, or the runtime is still being built.
        """
        if not hasattr(self, "_set"):
            raise ConfigError(
                f"find_model was asked for {name!r} while the runtime is built, before it knows all models; that is "
                f"its plugin's to mend: keep find_model, and ask it when a model is called"
            )
        return self._model(name)

    def _default_model(self) -> tuple[Provider, str]:
        offering = [
            (entry.item, model) for entry in self.providers.contributions() if (model := entry.item.default_model)
        ]
        if len(offering) == 1:
            return offering[0]
        which = "several installed providers offer" if offering else "no installed provider offers"
        raise ConfigError(
            f"{which} a default model; pass model='provider:model', or set BECKET_MODEL. "
            f"{self._inventory(self.providers)}"
        )

    def _unknown(self, registry: Registry[Any], name: str, text: str | None = None) -> ConfigError:
        """The error for a `name` that is not there, in a text that may say more."""
        near = registry.suggestion(text or name)
        return ConfigError(f"there is no {registry.kind} {name!r}{near} {self._inventory(registry)}")

    def _inventory(self, registry: Registry[Any]) -> str:
        """What is installed of a kind, and which plugins are not in use: one of them may be what is missed."""
        text = [f"Installed {registry.kinds}: {', '.join(registry) or 'none'}."]
        text += [f"{one.title} is {one.status}: {one.reason}." for one in self.plugins if one.status != "loaded"]
        if not registry:
            text.append("Install a plugin that has one (becket-<name>); 'becket plugins' lists what is there.")
        return " ".join(text)

    def as_sink(self, sink: Sink | str) -> Sink:
        """A sink, given as one or by its name.

        Raises:
            ConfigError: It is neither.
        """
        if isinstance(sink, str):
            return self.sink(sink)
        if not isinstance(sink, Sink):
            raise ConfigError(
                f"{sink!r} is no sink; it takes an object with what becket.Sink has, or the name of an installed one"
            )
        return sink

    def as_policy(self, policy: Policy | str) -> Policy:
        """A policy, given as one or by its name.

        Raises:
            ConfigError: It is neither.
        """
        if isinstance(policy, str):
            found = self.available_policies.find(policy)
            if found is None:
                raise self._unknown(self.available_policies, policy)
            return found
        if isinstance(policy, type) or not isinstance(policy, Policy):
            raise ConfigError(
                f"{policy!r} is no policy; it takes an object with what becket.Policy has, "
                f"or the name of an installed one"
            )
        return policy

    def _approvals(self, config: Config) -> tuple[Policy, ...]:
        """What the configuration says of tools, as a policy."""
        said = config.approvals
        if not (said.allow or said.ask or said.deny):
            return ()
        from becket._approvals import ApprovalPolicy

        return (ApprovalPolicy(said, lambda key, name: self._config.had(key, name, self.tool)),)

    def _first(self, hook: str, wanted: Any, what: str, *, strict: bool) -> Any:
        """What a plugin gives for a hook of which the first counts; None where none does, or one has failed.

        Raises:
            PluginError: One has failed, and the runtime is strict.
        """
        try:
            return self._set.first(hook, wanted, what)
        except PluginError as error:
            if strict:
                raise
            logger.error("%s; the default is used instead", error, exc_info=error)  # noqa: TRY400  the text says what it was, the traceback why
            return None

    def _check_required(self, name: str) -> None:
        """Refuse to go on without a plugin, or with a part of it: a host relies on all that it required."""
        named = [plugin for plugin in self.plugins if canonical(name) in plugin.aliases]
        broken = [plugin for plugin in named if plugin.status == "quarantined"]
        if any(plugin.status == "loaded" for plugin in named) and not broken:
            return
        one = next(iter(broken or named), None)
        why = f"{one.title} is {one.status}: {one.reason}" if one else "it is not installed"
        raise ConfigError(
            f"the plugin {name!r} is required, and {why}; mend that, or take it off the list of required ones"
        ) from (one.error if one else None)

    # -- runs ------------------------------------------------------------------------------------------------------

    def call(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run a coroutine function to its end for a sync caller, in this runtime's own thread.

        Raises:
            RuntimeError: The caller is async code in that thread; or the runtime was closed meanwhile.
        """
        return self._portal.call(work)

    def home(self, driver: Driver) -> TaskGroup | None:
        """The task group that a run started here lives in; None where it lives in a task of its own."""
        return self._homes.tasks(driver)

    def leave(self, driver: Driver) -> None:
        """A run is over."""
        self._homes.leave(driver)

    async def __aenter__(self) -> Self:
        await self._homes.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._homes.close()
        finally:
            providers = [entry.item for entry in self.providers.contributions()]
            kept = [(f"the provider {provider.name!r}", provider) for provider in providers]
            await close_all([*kept, ("the session store", self._session_store)], GRACE)

    def close(self, *, grace: float = GRACE) -> None:
        """Stop the thread of sync calls, if there is one, and cancel the calls in it. A later call starts another.

        Args:
            grace: Seconds to wait for what runs in it. What has not cleaned up by then is logged and left behind.

        Raises:
            RuntimeError: The caller is async code in that thread.
        """
        self._portal.close(grace=grace)


def _check(lock: Lock | str | os.PathLike[str]) -> LockCheck:
    from becket._locking import LockCheck
    from becket.lock import Lock

    if not isinstance(lock, Lock | str | os.PathLike):
        raise ConfigError(f"lock is {lock!r}; it takes a becket.lock.Lock, or the path of a file")
    return LockCheck(lock if isinstance(lock, Lock) else Lock.read(lock))


def _discover() -> list[Candidate]:
    from becket.discovery import discover

    return discover(VERSION)


def _listed(option: str, given: Iterable[Any]) -> list[Any]:
    if isinstance(given, str):
        raise ConfigError(f"{option} is the text {given!r}; it takes a list, as in {option}=[{given!r}]")
    return list(given)


def _names(option: str, given: Iterable[str]) -> list[str]:
    """The names in canonical form."""
    for name in (names := _listed(option, given)):
        if not isinstance(name, str):
            raise ConfigError(f"{option} has {name!r} in it; it takes the names of plugins")
    return [canonical(name) for name in names]


def _models_of(provider: Provider) -> str:
    names = [model.name for model in provider.models()]
    return f"; it knows: {', '.join(names)}" if names else ""


_default: Runtime | None = None
_default_lock = threading.RLock()  # a plugin may ask for it while it is built, and must not wait for itself
_building = False


def default_runtime() -> Runtime:
    """The runtime of agents that are given none, built on first use.

    Raises:
        ConfigError: It is being built, and a plugin that is loaded for it asks for it.
    """
    global _default, _building  # noqa: PLW0603  the one piece of global state: replaceable, and bound to no loop
    with _default_lock:
        if _default is None:
            if _building:
                raise ConfigError(
                    "the default runtime is asked for while it is built; in a plugin, give an agent its tools as "
                    "objects instead of names, and make it without a model or with a provider object"
                )
            _building = True
            try:
                _default = Runtime()
            finally:
                _building = False
        return _default


def set_default_runtime(runtime: Runtime | None) -> Runtime | None:
    """Replace the default runtime, None to have it built anew on its next use; the one that it was, or None."""
    global _default
    with _default_lock:
        previous, _default = _default, runtime
        return previous
