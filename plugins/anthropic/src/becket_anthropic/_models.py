"""What is known of models by their names; the service tells the rest when it is asked."""

from __future__ import annotations

import functools
import re
from typing import Final

__all__ = ["max_tokens", "takes_schema"]

# Claude's own names in both of their orders (`claude-3-5-haiku-…`, `claude-haiku-4-5`), also where a gateway or a cloud
# has put something before or after, or writes the version with a point.
_OLD: Final = re.compile(r"claude-(\d)(?:[.-](\d)(?!\d))?-(opus|sonnet|haiku)")
_NEW: Final = re.compile(r"claude-([a-z]+)-(\d+)(?:[.-](\d)(?!\d))?")

_UNKNOWN: Final = 8_192
_LATEST: Final = 128_000

_MOST: Final = {
    ((3, 0), ""): 4_096,
    ((3, 5), ""): 8_192,
    ((3, 7), ""): 64_000,
    ((4, 0), "opus"): 32_000,
    ((4, 1), "opus"): 32_000,
    ((4, 0), ""): 64_000,
    ((4, 5), ""): 64_000,
}
"""The most tokens that one answer may have, by version and line: "Max output" on each model's page of
https://platform.claude.com/docs/en/about-claude/models/overview. All that came after 4.5 have 128,000."""

_SCHEMAS_SINCE: Final = (4, 5)
"""The first version with JSON outputs: https://platform.claude.com/docs/en/build-with-claude/structured-outputs."""


@functools.lru_cache(maxsize=256)
def max_tokens(model: str) -> int:
    """The `max_tokens` of a call whose host sets none: what the model can write at most.

    The service wants a number, and becket's None leaves the choice to the model. A name that is none of Claude's gets
    8,192, which servers of other models take.
    """
    known = _version(model)
    if known is None:
        return _UNKNOWN
    version, line = known
    return _MOST.get((version, line)) or _MOST.get((version, "")) or _LATEST


@functools.lru_cache(maxsize=256)
def takes_schema(model: str) -> bool:
    """Whether the service can hold the model's text to a JSON schema."""
    known = _version(model)
    return known is not None and known[0] >= _SCHEMAS_SINCE


def _version(model: str) -> tuple[tuple[int, int], str] | None:
    """The version and the line of a Claude model; None for any other."""
    name = model.lower()
    if old := _OLD.search(name):
        return (int(old[1]), int(old[2] or 0)), old[3]
    if new := _NEW.search(name):
        return (int(new[2]), int(new[3] or 0)), new[1]
    return None
