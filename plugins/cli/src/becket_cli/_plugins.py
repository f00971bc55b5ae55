"""Building a runtime for the command line, and saying what became of its plugins."""

from __future__ import annotations

import contextlib
import re
import sys
from typing import TYPE_CHECKING

from becket import ConfigError

from becket_cli._exits import complain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from becket import Plugin, Runtime

    from becket_cli._exits import State

__all__ = ["built", "tell_left_out"]


def built(
    choice: Sequence[str], state: State, *, tell: bool = True, lenient: bool = False, project: bool = True
) -> Runtime:
    """A runtime of the installed plugins, by the configuration and the values of `-p`.

    What plugins print while they are imported goes to standard error. The sinks of the configuration are not the
    runtime's: the command line may name others instead.

    Args:
        choice: The values of `-p`: `no:name` blocks a plugin, `name` requires one.
        state: What the commands of this invocation share.
        tell: Whether to say which plugins are left out.
        lenient: Whether what is wrong with the configuration is said, instead of being an error.
        project: Whether to look for a project's configuration, too.

    Raises:
        ConfigError: The configuration is wrong, or a required plugin is missing, blocked or unusable.
    """
    from becket import Runtime, load_config

    block = [name.removeprefix("no:") for name in choice if name.startswith("no:")]
    require = [name for name in choice if not name.startswith("no:")]
    with contextlib.redirect_stdout(sys.stderr):
        config = load_config(state.config, project=project, lenient=lenient)
        runtime = Runtime(block=block, require=require, sinks=(), config=config)
    for problem in runtime.config_report().problems if lenient else ():
        complain(f"the configuration is wrong: {problem}")
    if tell:
        tell_left_out(runtime.plugins, state)
    _tell_unknown(block, runtime.plugins)
    return runtime


def tell_left_out(plugins: Iterable[Plugin], state: State) -> None:
    """Say which plugins could not be used, once each, and what to do about it.

    Not those that are not configured, or not rightly: the one is no fault, the other is told with the configuration.
    """
    for plugin in plugins:
        if plugin.status == "quarantined" and not isinstance(plugin.error, ConfigError):
            complain(
                f"plugin {plugin.name!r} ({plugin.title}) is left out: {plugin.reason}. "
                f"Upgrade or uninstall it, or hide it with -p no:{plugin.name}",
                plugin.error,
                state=state,
            )


def _tell_unknown(block: Iterable[str], plugins: Sequence[Plugin]) -> None:
    """Say which names of the block list block nothing: a misspelled one would go unnoticed."""
    for name in block:
        canonical = re.sub(r"[-_.]+", "-", name).lower()  # PEP 503, as plugins give their names
        if not any(canonical in plugin.aliases for plugin in plugins):
            known = ", ".join(plugin.name for plugin in plugins) or "none"
            complain(f"-p no:{name} blocks nothing: no plugin has that name. Installed plugins: {known}")
