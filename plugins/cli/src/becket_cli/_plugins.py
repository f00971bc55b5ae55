"""Building a runtime for the command line, and saying what became of its plugins."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from typing import TYPE_CHECKING

from becket import ConfigError, Plugin, __version__

from becket_cli._exits import CONFIG, OK, complain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from becket import Config, Runtime

    from becket_cli._exits import State

__all__ = [
    "build",
    "built",
    "canonical",
    "configured",
    "ended",
    "has_advice",
    "is_orphan",
    "tell_all",
    "tell_idle_blocks",
    "tell_left_out",
    "tell_unknown",
]


def built(state: State, *, tell: bool = True, lenient: bool = False, project: bool = True) -> Runtime:
    """A runtime of the installed plugins, by the configuration and the options of the command line.

    What plugins print while they are imported goes to standard error. The sinks of the configuration are not the
    runtime's: the command line may name others instead.

    Args:
        state: What the commands of this invocation share.
        tell: Whether to say which plugins are left out.
        lenient: Whether what is wrong with the configuration is said, instead of being an error.
        project: Whether to look for a project's configuration, too.

    Raises:
        ConfigError: The configuration is wrong; a required plugin is missing, blocked or unusable; or there is a lock,
            and the plugins are not those that are locked.
    """
    runtime = build(configured(state, lenient=lenient, project=project), state)
    tell_all(runtime, state, tell=tell, lenient=lenient)
    return runtime


def tell_all(runtime: Runtime, state: State, *, tell: bool, lenient: bool) -> None:
    """Say what there is to say of a runtime; see `built`."""
    for problem in runtime.config_problems if lenient else ():
        complain(f"the configuration is wrong: {problem}")
    if runtime.lock_problem:
        complain(runtime.lock_problem)
    if tell:
        told = runtime.lock_problem  # names those that it is about, and why
        tell_left_out((one for one in runtime.plugins if not told or f"{one.title}: {one.reason}" not in told), state)
    if not state.no_plugins:
        tell_unknown(state.block, runtime.plugins)


def ended(runtime: Runtime) -> int:
    """The exit code of a command that has listed what there is: plugins that differ from a lock are no success."""
    return CONFIG if runtime.lock_problem else OK


def configured(state: State, *, lenient: bool = False, project: bool = True) -> Config:
    """The configuration; see `built`. What it says of a lock counts where the command line says nothing."""
    from becket import load_config

    environ = _without_requirements(os.environ, state) if state.no_plugins else None
    config = load_config(state.config, project=project, environ=environ, lenient=lenient)
    if state.lock is None:
        state.lock = config.lock
    return config


def _without_requirements(environ: Mapping[str, str], state: State) -> Mapping[str, str]:
    """The variables for a command with `--no-plugins`: it wins over what `BECKET_PLUGINS` insists on, not denies."""
    words = environ.get("BECKET_PLUGINS", "").replace(",", " ").split()
    kept = [word for word in words if word.startswith("no:") or word in state.require]
    return {**environ, "BECKET_PLUGINS": ",".join(kept)}


def build(config: Config, state: State) -> Runtime:
    """A runtime, and nothing is said; see `built`."""
    from becket import Runtime

    discover, allow = True, None
    if state.no_plugins:
        discover, allow = bool(state.require), _allowed(state.require, config)
    with contextlib.redirect_stdout(sys.stderr):
        return Runtime(
            discover=discover,
            allow=allow,
            block=state.block,
            require=state.require,
            sinks=(),
            config=config,
            lock=state.lock,
        )


def _allowed(names: Sequence[str], config: Config) -> Sequence[str]:
    """Those of the plugins with these names that the configuration allows: what is denied there stays so."""
    if config.allow is None or not names:
        return names
    from becket.discovery import discover

    candidates = (Plugin(one.name, one.distribution, one.version, one.value) for one in discover(__version__))
    wanted, allowed = set(map(canonical, names)), set(map(canonical, config.allow))
    return [one.distribution or "" for one in candidates if one.aliases & wanted and one.aliases & allowed]


def tell_left_out(plugins: Iterable[Plugin], state: State) -> None:
    """Say which plugins could not be used, once each, and what to do about it; of several their names, in one line.

    Not those that are not configured, or not rightly: the one is no fault, the other is told with the configuration.
    """
    broken = [one for one in plugins if one.status == "quarantined" and not isinstance(one.error, ConfigError)]
    if len(broken) > 1 and not state.traceback:
        names = ", ".join(plugin.name for plugin in broken)
        complain(f"{len(broken)} plugins are left out: {names}; 'becket doctor' says why")
        return
    for plugin in broken:
        hidden = f"-p no:{plugin.name}"
        do = f"{hidden} hides it" if has_advice(plugin) else f"Upgrade or uninstall it, or hide it with {hidden}"
        complain(
            f"plugin {plugin.name!r} ({plugin.title}) is left out: {plugin.reason}. {do}", plugin.error, state=state
        )


def has_advice(plugin: Plugin) -> bool:
    """Whether the reason why a plugin is left out says what to do, as where becket has refused to import it.

    Where the plugin's own code has failed it does not.
    """
    return plugin.error is None or is_orphan(plugin)


def is_orphan(plugin: Plugin) -> bool:
    """Whether the module that a plugin's entry point names is itself not there."""
    module = plugin.error.name if isinstance(plugin.error, ModuleNotFoundError) else None
    return bool(module) and f"{plugin.value.partition(':')[0].strip()}.".startswith(f"{module}.")


def canonical(name: str) -> str:
    """The form in which names of plugins are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def tell_unknown(block: Iterable[str], plugins: Sequence[Plugin]) -> None:
    """Say which names of the block list block nothing: a misspelled one would go unnoticed."""
    _tell_idle((f"-p no:{name}" for name in _idle(block, plugins)), plugins)


def tell_idle_blocks(runtime: Runtime, state: State) -> bool:
    """Say the same of the names that the configuration and `BECKET_PLUGINS` block, and whether there are any.

    Only where somebody looks at the plugins: the file may be for other environments as well, that have what it names.
    """
    if state.no_plugins:
        return False
    idle = [name for name in _idle(runtime.config.block, runtime.plugins) if name not in state.block]
    _tell_idle((f"{name!r} under 'block' in {runtime.config.origin('block')}" for name in idle), runtime.plugins)
    return bool(idle)


def _idle(block: Iterable[str], plugins: Iterable[Plugin]) -> list[str]:
    aliases = {alias for plugin in plugins for alias in plugin.aliases}
    return [name for name in block if canonical(name) not in aliases]


def _tell_idle(said: Iterable[str], plugins: Iterable[Plugin]) -> None:
    known = ", ".join(plugin.name for plugin in plugins) or "none"
    for one in said:
        complain(f"{one} blocks nothing: no plugin has that name. Installed plugins: {known}")
