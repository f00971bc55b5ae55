"""`becket plugins` and `becket hooks`: what is installed, what became of it, and in what order it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from becket_cli._exits import complain
from becket_cli._lists import show
from becket_cli._plugins import build, built, canonical, configured, tell_all, tell_unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from becket import Config, Plugin

    from becket_cli._exits import State

__all__ = ["row_of", "show_hooks", "show_plugins"]

Row = dict[str, Any]

_COLUMNS = {"PLUGIN": "name", "DISTRIBUTION": "distribution", "VERSION": "version", "STATUS": "status", "WHAT": "what"}


def show_plugins(state: State, *, times: bool, as_json: bool) -> None:
    """Print every plugin that was found, and what became of it.

    Args:
        state: What the commands of this invocation share.
        times: Whether to show how long the imports took, the slowest first.
        as_json: Whether to print JSON.
    """
    columns = dict(_COLUMNS)
    rows = [row_of(plugin) for plugin in _found(state)]
    if times:
        *front, what = columns.items()
        columns = dict([*front, ("IMPORT", "import"), what])
        rows.sort(key=lambda row: -(row["import_seconds"] or 0))
    if as_json:
        for row in rows:
            del row["what"], row["import"]
    otherwise = "no plugin is installed; install one, such as becket-tools"
    if state.no_plugins:
        otherwise = "no plugin is looked for, since --no-plugins was given"
    show(rows, columns, as_json=as_json, otherwise=otherwise)


def row_of(plugin: Plugin) -> Row:
    """A plugin as it is shown."""
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "value": plugin.value,
        "status": plugin.status,
        "reason": plugin.reason,
        "adds": {kind: list(names) for kind, names in plugin.adds.items()},
        "hooks": [{"name": hook.name, "phase": hook.phase} for hook in plugin.hooks],
        "import_seconds": plugin.import_seconds,
        "import": "" if plugin.import_seconds is None else f"{plugin.import_seconds * 1000:.0f} ms",
        "what": plugin.reason or _what(plugin),
    }


def _what(plugin: Plugin) -> str:
    """What it adds, by kind, and the hooks that have nothing to show for it."""
    kinds = [f"{kind}: {', '.join(names)}" for kind, names in plugin.adds.items() if kind != "hooks" and names]
    hooks = [hook.name for hook in plugin.hooks if hook.name.removeprefix("register_") not in plugin.adds]
    return "; ".join([*kinds, f"hooks: {', '.join(hooks)}"] if hooks else kinds)


def _found(state: State) -> Sequence[Plugin]:
    """The plugins, from the index where that is enough, so that nothing has to be found and imported for a list."""
    config = configured(state, lenient=True)
    if (known := _recalled(state, config)) is not None:
        return known
    runtime = build(config, state)
    tell_all(runtime, state, tell=state.traceback, lenient=True)
    if not (state.block or state.no_plugins or state.lock):
        from becket.index import remember

        remember(runtime)
    return runtime.plugins


def _recalled(state: State, config: Config) -> Sequence[Plugin] | None:
    """The plugins as the index has them; None where there is more to say than it knows."""
    if state.no_plugins or state.lock or state.traceback or config.problems:
        return None
    from becket.index import recall

    plugins = recall(config, block=state.block)
    if plugins is None:
        return None
    policies = {name for plugin in plugins for name in plugin.adds.get("policies", ())}
    qualified = (":" in name for names in _approvals(config) for name in names)
    said = any(plugin.error is not None for plugin in plugins) or any(qualified)
    required = all(_is_there(name, plugins) for name in (*state.require, *config.require))
    if said or not required or not policies.issuperset(config.policies):
        return None
    tell_unknown(state.block, plugins)
    return plugins


def _approvals(config: Config) -> Sequence[Sequence[str]]:
    return (config.approvals.allow, config.approvals.ask, config.approvals.deny)


def _is_there(name: str, plugins: Sequence[Plugin]) -> bool:
    """Whether a plugin that is required by this name is there, and all that have it can be used."""
    statuses = {plugin.status for plugin in plugins if canonical(name) in plugin.aliases}
    return "loaded" in statuses and "quarantined" not in statuses


def show_hooks(state: State, name: str | None, *, as_json: bool) -> None:
    """Print the implementations of hooks, in the order of their calls.

    Raises:
        ConfigError: There is no hook of this name.
    """
    from becket import hookspecs

    runtime = built(state, lenient=True)
    rows: list[Row] = [
        {
            "hook": hook,
            "place": place,
            "plugin": one.plugin.name,
            "distribution": one.plugin.distribution,
            "phase": one.phase,
            "why": one.why,
        }
        for hook in ([name] if name else hookspecs.__all__)
        for place, one in enumerate(runtime.hook_order(hook), 1)
    ]
    show(
        rows,
        {"HOOK": "hook", "": "place", "PLUGIN": "plugin", "DISTRIBUTION": "distribution", "WHY": "why"},
        as_json=as_json,
        otherwise=f"no plugin implements {name}" if name else "no plugin implements a hook",
    )
    if name == "approve_tool" and runtime.policies:
        named = ", ".join(policy.name for policy in runtime.policies)
        complain(f"the policies that the configuration names decide, too: {named}")
