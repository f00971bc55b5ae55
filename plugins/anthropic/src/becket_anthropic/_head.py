"""What stands before the messages of a request: the model, the tools, the options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from becket import ConfigError

from becket_anthropic._models import max_tokens
from becket_anthropic._schema import as_taken, told

if TYPE_CHECKING:
    from becket import ModelRequest, ToolSpec

__all__ = ["head_of", "is_sampled"]

_OURS: Final = frozenset({"model", "messages", "stream"})
_MERGED: Final = frozenset({"tools", "betas", "output_config"})


def is_sampled(request: ModelRequest) -> bool:
    """Whether the request says how to sample, which only older models and the older version of the service allow."""
    options = request.options
    return options.temperature is not None or options.top_p is not None or "top_k" in options.extra


def head_of(request: ModelRequest, mark: dict[str, Any], *, default_max_tokens: int | None = None) -> dict[str, Any]:
    """The request without its messages.

    Args:
        request: What is asked.
        mark: A mark for the service's cache, to be put behind what stays the same; empty for none.
        default_max_tokens: The tokens that the answer may have where the request does not say it. None for as many as
            the model can write.

    Raises:
        ConfigError: `options.extra` holds what is not its to say.
    """
    options, extra = request.options, request.options.extra
    if taken := sorted(_OURS & extra.keys()):
        raise ConfigError(f"extra has {taken[0]!r}, which becket itself sets; leave it out")
    most = options.max_tokens or default_max_tokens or max_tokens(request.model)
    head: dict[str, Any] = {"model": request.model, "max_tokens": most, "stream": True}
    system, config = _output(request)
    tools = [*map(_tool, request.tools), *_listed(extra, "tools")]
    if system.strip():
        head["system"] = [{"type": "text", "text": system, "cache_control": mark}] if mark else system
    elif tools and mark and "cache_control" not in tools[-1]:
        tools[-1] = {**tools[-1], "cache_control": mark}
    if tools:
        head["tools"] = tools
        head |= _choice(options.tool_choice)
    if config:
        head["output_config"] = config
    said = {"temperature": options.temperature, "top_p": options.top_p, "stop_sequences": list(options.stop) or None}
    head |= {name: value for name, value in said.items() if value is not None}
    head |= {name: value for name, value in extra.items() if name not in _MERGED}
    return head


def _output(request: ModelRequest) -> tuple[str, dict[str, Any]]:
    """The system prompt and the `output_config`, with the schema of a structured output in one of them."""
    system, config = request.system, dict(_mapping(request.options.extra, "output_config"))
    if request.output is not None and request.output.mode == "schema":
        schema = as_taken(request.output.schema)
        if schema is not None:
            config["format"] = {"type": "json_schema", "schema": schema}
        else:
            asked = told(request.output.schema)
            system = f"{system}\n\n{asked}" if system else asked
    return system, config


def _tool(spec: ToolSpec) -> dict[str, Any]:
    tool: dict[str, Any] = {"name": spec.name}
    if spec.description:
        tool["description"] = spec.description
    tool["input_schema"] = spec.schema
    return tool


def _choice(choice: str) -> dict[str, Any]:
    match choice:
        case "auto":
            return {}
        case "any" | "none":
            return {"tool_choice": {"type": choice}}
        case name:
            return {"tool_choice": {"type": "tool", "name": name}}


def _mapping(extra: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    given = extra.get(name) or {}
    if not isinstance(given, Mapping):
        raise ConfigError(f"extra has {name} {given!r}; it must be a mapping")
    return given


def _listed(extra: Mapping[str, Any], name: str) -> list[Any]:
    given = extra.get(name) or []
    if not isinstance(given, list | tuple):
        raise ConfigError(f"extra has {name} {given!r}; it must be a list")
    return list(given)
