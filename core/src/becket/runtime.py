"""The runtime: the plugins that are in use, and what its runs share."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Self

import anyio

from becket._backend import current_backend
from becket._portal import Portal
from becket._threads import WorkerThreads
from becket.discovery import Candidate, canonical, discover
from becket.errors import ConfigError
from becket.log import MemoryLog
from becket.plugins import Plugin, PluginSet, Registry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from types import TracebackType

    from anyio.abc import TaskGroup

    from becket._backend import Backend
    from becket.log import EventLog
    from becket.providers import Provider
    from becket.sinks import RunInfo, Sink
    from becket._driver import Driver
    from becket.tools import AnyTool

__all__ = ["Runtime", "default_runtime", "set_default_runtime"]

VERSION = "0.1.0"


class Runtime:
    """The plugins in use, compiled once into a table that does not change, and what runs share: threads, a portal.

    A runtime may be used by any number of agents, event loops and threads; nothing in it is bound to a loop, but for
    the time of its `async with`, in which it is the home of the runs that are started on that loop: leaving it cancels
    those that still go on, and waits until they have cleaned up.

    Args:
        plugins: Plugins as objects: modules, classes, or instances with `@hookimpl` methods. They come before
            discovered ones of the same name, and need not be on the allow list.
        discover: Whether to look for installed plugins.
        allow: Names of the only plugins to load, or None for all. A name is that of the plugin (its entry point), of
            its distribution, or of its module.
        block: Names of plugins not to load; wins over `allow`.
        require: Names of plugins that must be there and usable.
        order: Names of plugins in the order in which their hooks are called, before all others.
        strict: Whether a plugin that cannot be used is an error, instead of being left out.
        sinks: Sinks that observe every run, as objects or by name.
        threads: Sync tools that may run at once.
        make_log: Makes the event log of each run; the default keeps the last 256 events in memory.

    Raises:
        ConfigError: A required plugin is missing, blocked or unusable.
        PluginError: With `strict`, a plugin cannot be used.
    """

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
        sinks: Sequence[Sink | str] = (),
        threads: int = 40,
        make_log: Callable[[RunInfo], EventLog] | None = None,
    ) -> None:
        candidates: list[Candidate] = _discover() if discover else []
        self._set = PluginSet(plugins, candidates, allow=allow, block=block, order=order, strict=strict)
        for name in require:
            self._check_required(name)
        self.threads = WorkerThreads(threads)
        self.make_log = make_log or _memory_log
        self._portal = Portal()
        self._homes: list[_Home] = []
        self._lock = threading.Lock()
        self.sinks = tuple(self.sink(sink) if isinstance(sink, str) else sink for sink in sinks)

    # -- what is there ---------------------------------------------------------------------------------------------

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """Every plugin that was passed or found, with what became of it."""
        return tuple(self._set.plugins)

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

    def tool(self, name: str) -> AnyTool:
        """The tool with this name, or `plugin:name`.

        Raises:
            ConfigError: There is none, or there are two.
        """
        return self._find(self.tools, "tool", name)

    def sink(self, name: str) -> Sink:
        """The sink with this name, configured by what follows a colon: `name` or `name:argument`.

        Raises:
            ConfigError: There is none, there are two, or it does not take the argument.
        """
        own, colon, argument = name.partition(":")
        found = self._find(self.available_sinks, "sink", own)
        return found.with_argument(argument) if colon else found

    def model(self, name: str | None = None) -> tuple[Provider, str]:
        """The provider of a model, and the model's name without the provider's.

        Args:
            name: `provider:model`, or a provider that has a default model. None for the one that `BECKET_MODEL` names,
                else that of the one installed provider that offers a default.

        Raises:
            ConfigError: There is no such provider, or no default; the text lists what is installed and what to set.
        """
        name = name or os.environ.get("BECKET_MODEL")
        if not name:
            return self._default_model()
        own, _, model = name.partition(":")
        provider = self._find(self.providers, "provider", own)
        model = model or provider.default_model or ""
        if not model:
            raise ConfigError(f"the provider {own!r} has no default model; name one as '{own}:<model>'{_known(provider)}")
        return provider, model

    def commands(self, cli: Any) -> None:
        """Let every plugin add its commands to a command line; see the hook `register_commands`."""
        self._set.commands(cli)

    def _default_model(self) -> tuple[Provider, str]:
        offering = [provider for name in self.providers if (provider := self.providers.find(name)) and provider.default_model]
        if len(offering) == 1:
            return offering[0], offering[0].default_model or ""
        which = "no installed provider offers" if not offering else "several installed providers offer"
        raise ConfigError(
            f"{which} a default model; pass model='provider:model', or set BECKET_MODEL. {self._inventory('provider')}"
        )

    def _find(self, registry: Registry[Any], kind: str, name: str) -> Any:
        found = registry.find(name)
        if found is None:
            raise ConfigError(f"there is no {kind} {name!r}{registry.suggestion(name)} {self._inventory(kind)}".strip())
        return found

    def _inventory(self, kind: str) -> str:
        """What is installed of a kind, and which plugins could not be used: one of them may be the one that is missed."""
        registry: Registry[Any] = {"tool": self.tools, "provider": self.providers, "sink": self.available_sinks}[kind]
        text = f"Installed {kind}s: {', '.join(registry) or 'none'}."
        for plugin in self.plugins:
            if plugin.status != "loaded":
                text += f" {plugin.title} is {plugin.status}: {plugin.reason}."
        if not any(registry):
            text += f" Install a plugin that has one (becket-<name>), and 'becket plugins' lists it."
        return text

    def _check_required(self, name: str) -> None:
        named = [plugin for plugin in self.plugins if canonical(name) in plugin.aliases]
        if any(plugin.status == "loaded" for plugin in named):
            return
        why = f"{named[0].title} is {named[0].status}: {named[0].reason}" if named else "it is not installed"
        raise ConfigError(f"the plugin {name!r} is required, and {why}; mend that, or take it off the list of required ones")

    # -- runs ------------------------------------------------------------------------------------------------------

    def call(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Run a coroutine function to its end for a sync caller, in this runtime's own thread."""
        return self._portal.call(work)

    def home(self, driver: Driver) -> TaskGroup | None:
        """The task group that a run started here lives in; None where it lives in a task of its own."""
        with self._lock:
            for home in reversed(self._homes):
                if home.backend.here():
                    home.drivers.add(driver)
                    return home.tasks
        return None

    def leave(self, driver: Driver) -> None:
        """A run is over."""
        for home in self._homes:
            home.drivers.discard(driver)

    async def __aenter__(self) -> Self:
        tasks = anyio.create_task_group()
        await tasks.__aenter__()
        with self._lock:
            self._homes.append(_Home(current_backend(), tasks))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        with self._lock:
            home = next(home for home in reversed(self._homes) if home.backend.here())
            self._homes.remove(home)
        for driver in tuple(home.drivers):
            driver.cancel("cancelled")
        try:
            return await home.tasks.__aexit__(kind, error, traceback)
        finally:
            with anyio.CancelScope(shield=True):
                await self._close_providers()

    async def _close_providers(self) -> None:
        for name in self.providers:
            for entry in self.providers.providers_of(name):
                await entry.item.aclose()

    def close(self) -> None:
        """Stop the thread of sync calls, if there is one. A runtime that is used again starts another."""
        self._portal.close()


class _Home:
    """An event loop on which a runtime is open."""

    __slots__ = ("backend", "drivers", "tasks")

    def __init__(self, backend: Backend, tasks: TaskGroup) -> None:
        self.backend = backend
        self.tasks = tasks
        self.drivers: set[Driver] = set()


def _discover() -> list[Candidate]:
    return discover(VERSION)


def _memory_log(run: RunInfo) -> EventLog:  # noqa: ARG001  other logs are made for a run
    return MemoryLog()


def _known(provider: Provider) -> str:
    names = [model.name for model in provider.models()]
    return f"; it knows: {', '.join(names)}" if names else ""


_default: Runtime | None = None
_default_lock = threading.Lock()


def default_runtime() -> Runtime:
    """The runtime of agents that are given none, built on first use."""
    global _default  # noqa: PLW0603  the one piece of global state: replaceable, and nothing in it is bound to a loop
    with _default_lock:
        if _default is None:
            _default = Runtime()
        return _default


def set_default_runtime(runtime: Runtime | None) -> Runtime | None:
    """Replace the default runtime, None to have it built anew on its next use; the one that it was, or None."""
    global _default  # noqa: PLW0603  as above
    with _default_lock:
        previous, _default = _default, runtime
        return previous
