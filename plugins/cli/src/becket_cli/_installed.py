"""`becket plugins` and `becket hooks`: what is installed, what became of it, and in what order it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from becket_cli._exits import OK, complain
from becket_cli._lists import show
from becket_cli._plugins import built, ended, tell_idle_blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from becket import Plugin

    from becket_cli._exits import State

__all__ = ["row_of", "show_hooks", "show_plugins"]

Row = dict[str, Any]

_COLUMNS = {"PLUGIN": "name", "DISTRIBUTION": "distribution", "VERSION": "version", "STATUS": "status", "WHAT": "what"}


def show_plugins(state: State, *, times: bool, as_json: bool) -> int:
    """Print every plugin that was found, and what became of it, and return the exit code.

    Args:
        state: What the commands of this invocation share.
        times: Whether to show how long the imports took, the slowest first.
        as_json: Whether to print JSON.
    """
    columns = dict(_COLUMNS)
    plugins, code = _found(state)
    rows = [row_of(plugin) for plugin in plugins]
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
    return code


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


def _found(state: State) -> tuple[Sequence[Plugin], int]:
    """The plugins, and the exit code.

    They are from the index where that is enough, so that nothing has to be found and imported for a list.
    """
    from becket.index import recall, remember

    usual = not (state.require or state.block or state.no_plugins or state.lock)
    if usual and not state.traceback and (known := recall(state.config)) is not None:
        return known, OK
    runtime = built(state, tell=state.traceback, lenient=True)
    if not tell_idle_blocks(runtime, state) and usual:  # an index would have nothing to say of them
        remember(runtime, state.config)
    return runtime.plugins, ended(runtime)


def show_hooks(state: State, name: str | None, *, as_json: bool) -> int:
    """Print the implementations of hooks, in the order of their calls, and return the exit code.

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
    return ended(runtime)
