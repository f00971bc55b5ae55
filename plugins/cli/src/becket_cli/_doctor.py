"""`becket doctor`: what is wrong with an environment, its plugins and the configuration, and what to do about it."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
from collections import Counter
from typing import TYPE_CHECKING

from becket import ConfigError, KeyedProvider, RoutingProvider, __version__

from becket_cli import _findings, _lists
from becket_cli._environment import environment
from becket_cli._exits import FAILED, OK, described
from becket_cli._findings import Finding, counted, sentence
from becket_cli._group import Offered
from becket_cli._judging import judged
from becket_cli._options import LOCK
from becket_cli._plugins import build, canonical, configured

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import click
    from becket import Config, Provider, Runtime
    from becket.lock import Lock
    from becket.plugins import Status

    from becket_cli._exits import State

__all__ = ["show"]


def show(own: Mapping[str, click.Command], state: State, *, as_json: bool) -> int:
    """Print what was found, and return the exit code: 1 where something is a problem.

    Args:
        own: Becket's own commands.
        state: What the commands of this invocation share.
        as_json: Whether to print JSON.

    Raises:
        ConfigError: What `-p` requires is not there, or there is no lock where one is wanted.
    """
    config = configured(state, lenient=True)
    lock, unreadable = _lock_of(state)
    runtime = build(config, state)
    with contextlib.redirect_stdout(sys.stderr):
        runtime.commands(Offered(own))
        findings = [*_all(runtime, state, lock), *unreadable]
    facts = _facts(runtime, state)
    if as_json:
        shown = {"facts": facts, "findings": [one.row for one in findings], "summary": counted(findings)}
        _lists.echo(json.dumps(shown, indent=2))
    else:
        _findings.show(facts, findings)
    return FAILED if any(one.problem for one in findings) else OK


def _all(runtime: Runtime, state: State, lock: Lock | None) -> Iterator[Finding]:
    chosen = list(_models(runtime))  # first: what is wrong with the model of the configuration is among its problems
    report = runtime.config_report()
    differences = [] if lock is None else lock.differences(runtime)
    yield from environment(runtime.plugins)
    yield from judged(runtime, report.problems, differences)
    yield from _configuration(runtime, state)
    yield from chosen
    yield from _differing(differences, state.lock or LOCK)


def _facts(runtime: Runtime, state: State) -> dict[str, str]:
    """What was looked at."""
    from becket.index import index_state

    statuses = Counter(plugin.status for plugin in runtime.plugins)
    named: dict[Status, str] = {"loaded": "in use", "blocked": "blocked", "quarantined": "left out"}
    plugins = ", ".join(f"{statuses[status]} {words}" for status, words in named.items() if statuses[status])
    files = [file.path for file in runtime.config.files if file.status == "read"]
    index = index_state(state.config)
    shown = f"{index.path}: {index.entries} plugins" if index.fresh else f"{index.path or 'none'}: {index.reason}"
    return {
        "becket": f"{__version__} on Python {platform.python_version()}",
        "environment": sys.prefix,
        "plugins": "none is looked for (--no-plugins)" if state.no_plugins and not plugins else plugins or "none",
        "configuration": ", ".join(files) or "no file",
        "index": shown,
    }


def _configuration(runtime: Runtime, state: State) -> Iterator[Finding]:
    report = runtime.config_report()
    for problem in report.problems:
        yield Finding(group="configuration", kind="configuration", about="", what=sentence(problem))
    for remark in report.remarks:
        yield Finding(
            group="configuration", kind="configuration-remark", about="", problem=False, what=sentence(remark)
        )
    for name in state.block:
        if not state.no_plugins and not any(canonical(name) in plugin.aliases for plugin in runtime.plugins):
            yield Finding(
                group="configuration",
                kind="blocks-nothing",
                about=name,
                problem=False,
                what=f"-p no:{name} blocks nothing: no plugin has that name.",
                do="'becket plugins' lists their names.",
            )


def _models(runtime: Runtime) -> Iterator[Finding]:
    """Models that could not be called: a problem where they are those that would be."""
    wanted = _is_chosen(runtime.config)
    used: list[Provider] = []
    try:
        provider, model = runtime.model()
        used = [provider, *_routed(runtime, provider, model)]
    except ConfigError as error:
        yield Finding(
            group="models",
            kind="no-model",
            about="",
            problem=wanted,
            what=sentence(str(error))
            if wanted
            else "No model is chosen, and not one alone offers itself as the default.",
            do="Set BECKET_MODEL, or 'model' in your becket.toml, or give -m; 'becket models' lists what there is.",
        )
    for entry in runtime.providers.contributions():
        provider = entry.item
        if not isinstance(provider, KeyedProvider):
            continue
        try:
            provider.check_key()
        except Exception as error:  # noqa: BLE001  a plugin's code, that may break its contract
            yield Finding(
                group="models",
                kind="key",
                about=provider.name,
                problem=any(provider is one for one in used) or not isinstance(error, ConfigError),
                what=sentence(described(error)),
            )


def _is_chosen(config: Config) -> bool:
    return bool(os.environ.get("BECKET_MODEL") or config.model)


def _routed(runtime: Runtime, provider: Provider, model: str) -> Sequence[Provider]:
    """The providers of the models that may answer for one, where it has others answer."""
    if not isinstance(provider, RoutingProvider):
        return []
    try:
        routes = [*provider.routes(model)]
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"the provider {provider.name!r} cannot say whom it asks: {described(error)}") from error
    return [runtime.model(name)[0] for name in routes]


def _lock_of(state: State) -> tuple[Lock | None, list[Finding]]:
    """The lock that the plugins are held to: the one that is asked for, else one that lies here.

    What differs from it is then not imported. One that lies here and is none is a finding.

    Raises:
        ConfigError: The one that is asked for is not there, or is none.
    """
    from becket.lock import Lock

    if state.lock is not None:
        return Lock.read(state.lock), []
    if not os.path.lexists(LOCK):
        return None, []
    try:
        lock = Lock.read(LOCK)
    except ConfigError as error:
        return None, [Finding(group="lock", kind="lock", about=LOCK, what=sentence(str(error)))]
    state.lock = LOCK
    return lock, []


def _differing(differences: Iterable[str], path: str) -> Iterator[Finding]:
    """What has changed since the lock was written."""
    for difference in differences:
        yield Finding(
            group="lock",
            kind="lock",
            about=path,
            what=f"Since {path} was written: {difference}.",
            do="Install what is locked; or, if you trust what is there, write it anew with 'becket lock'.",
        )
