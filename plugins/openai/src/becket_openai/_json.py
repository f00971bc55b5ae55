"""JSON as it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from becket import ConfigError
from becket_wire import dumps

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["dumps", "laid_over", "members"]


def members(body: Mapping[str, object]) -> bytes:
    """The members of a JSON object without its braces, each with a comma before it: to go on one that is begun.

    Raises:
        ConfigError: One of them is no JSON, as may stand in `extra`.
    """
    return b"".join(b",%b:%b" % (dumps(name), _value(name, value)) for name, value in body.items())


def _value(name: str, value: object) -> bytes:
    try:
        return dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"the option {name!r} is no JSON: {error}; look at ModelOptions(extra=...)") from error


def laid_over(body: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """`body` with `extra` laid over it: objects are merged, None takes a member out.

    Tools are added, and so is what to include in an answer.
    """
    merged = dict(body)
    for name, value in extra.items():
        old = merged.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[name] = {**old, **value}
        elif name in ("include", "tools") and old and isinstance(value, list):
            merged[name] = [*old, *(item for item in value if item not in old)]
        else:
            merged[name] = value
    return {name: value for name, value in merged.items() if value is not None}
