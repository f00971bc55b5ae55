"""`becket tools`, `becket models`: what is installed; and how lists are shown."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from becket_cli._exits import UnwritableError, complain, described
from becket_cli._table import table, width_wanted
from becket_cli._tools import is_granted_unasked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from becket import ListingProvider, ModelInfo, Provider, Runtime, Tool

__all__ = ["ambiguous", "echo", "models", "models_of", "show", "tools"]

Row = dict[str, Any]


def show(rows: Sequence[Row], columns: Mapping[str, str], *, as_json: bool, otherwise: str) -> None:
    """Print rows: all their keys as JSON, or these columns, by title, as a table.

    Args:
        rows: What to show.
        columns: The keys to show, by title.
        as_json: Whether to print JSON.
        otherwise: What to say on standard error where there is no row.
    """
    if as_json:
        echo(json.dumps(rows, indent=2))
    elif not rows:
        complain(otherwise)
    else:
        cells = [[_text(row[key]) for key in columns.values()] for row in rows]
        echo("\n".join(table(list(columns), cells, width_wanted())))  # at once: each echo is a write


def echo(text: str) -> None:
    """Print a line on standard output.

    Raises:
        UnwritableError: It takes nothing, for another reason than that its reader has gone.
    """
    try:
        click.echo(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UnwritableError(error.errno, error.strerror) from error


def _text(cell: object) -> str:
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return "" if cell is None else str(cell)


def tools(runtime: Runtime, *, schemas: bool) -> list[Row]:
    """Every tool, under the name by which it can be asked for."""
    return [
        {
            "name": name,
            "plugin": plugin,
            "effect": tool.effect,
            "reach": tool.reach,
            "granted": is_granted_unasked(tool),
            "description": tool.description,
        }
        | ({"parameters": _schema(tool)} if schemas else {})
        for name, plugin, tool in _named(runtime.tools)
    ]


def _schema(tool: Tool[..., Any]) -> Any:
    """The schema of the tool's arguments; None for a tool that no agent could have either."""
    try:
        return tool.spec.schema
    except Exception as error:  # noqa: BLE001  a plugin's annotations: one that is broken must not hide the others
        complain(f"the tool {tool.name!r} cannot be used: {described(error)}")
        return None


def models(runtime: Runtime) -> list[Row]:
    """Every model that a provider knows without asking a service."""
    return [
        _model(name, plugin, provider, model)
        for name, plugin, provider in _named(runtime.providers)
        for model in _known(provider)
    ]


def models_of(runtime: Runtime, name: str) -> list[Row]:
    """Every model of the provider `name`, or `plugin:name`, as its service says; what it knows where none can be asked.

    Raises:
        ConfigError: There is no such provider, or there are two.
        ProviderError: The service refused or failed.
    """
    from becket import ConfigError, ListingProvider

    registry = runtime.providers
    provider = registry.find(name)
    if provider is None:
        raise ConfigError(
            f"there is no provider {name!r}{registry.suggestion(name)} "
            f"Installed providers: {', '.join(registry) or 'none'}."
        )
    if isinstance(provider, ListingProvider):
        offered = _asked(provider)
    else:
        complain(f"the provider {provider.name!r} cannot ask its service; these are the models that it knows of")
        offered = _known(provider)
    shown, plugin = next((shown, plugin) for shown, plugin, one in _named(registry) if one is provider)
    return [_model(shown, plugin, provider, model) for model in offered]


def _asked(provider: ListingProvider) -> Sequence[ModelInfo]:
    """The models that the service of a provider says it has."""
    import anyio

    async def ask() -> Sequence[ModelInfo]:
        try:
            return await provider.list_models()
        finally:
            await provider.aclose()

    return anyio.run(ask, backend="asyncio")


def _model(name: str, plugin: str, provider: Provider, model: ModelInfo) -> Row:
    return {
        "name": f"{name}:{model.name}" if model.name else name,
        "plugin": plugin,
        "default": bool(model.name) and model.name == provider.default_model,
        "description": model.description,
    }


def ambiguous(rows: list[Row], runtime: Runtime) -> list[Row]:
    """The models as a table shows them: where several providers have a default, a run without a name has none."""
    if sum(bool(entry.item.default_model) for entry in runtime.providers.contributions()) < 2:  # noqa: PLR2004  more than one
        return rows
    return [row | {"default": "ambiguous" if row["default"] else False} for row in rows]


def _known(provider: Provider) -> Sequence[ModelInfo]:
    """Its models; one without a name stands for a provider that knows none."""
    from becket import ModelInfo
    from becket.providers import ListingProvider

    try:
        known = provider.models()
        if known:
            return known
        name = provider.name
        asks = f"; 'becket models {name}' asks which there are" if isinstance(provider, ListingProvider) else ""
        return [ModelInfo("", f"named as {name}:MODEL{asks}")]
    except Exception as error:  # noqa: BLE001  a plugin's code: one that fails must not hide the others
        complain(f"the provider {provider.name!r} cannot list its models: {described(error)}")
        return []


def _named(registry: Any) -> Iterator[tuple[str, str, Any]]:
    """What there is of a kind: name, plugin, the thing itself. A name that two plugins give comes with the plugin's."""
    entries = list(registry.contributions())  # a table of the runtime's, whose type is none of becket's public names
    often = Counter(entry.item.name for entry in entries)
    for entry in entries:
        name, plugin = entry.item.name, entry.plugin.distribution or entry.plugin.name
        yield name if often[name] == 1 else f"{plugin}:{name}", plugin, entry.item
