"""The tool calls of one answer of chat completions, told apart.

OpenAI gives each call an index, an id in its first fragment, and nothing but the index in the others. Those who imitate
it leave out the index (Google), give each call the index 0 (Ollama, at times Google), leave out the id, repeat id and
name in every fragment, or send all arguments at once, as a text or as an object.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
from becket import ToolCallDelta

from becket_openai._json import dumps

__all__ = ["CallDelta", "Calls", "Function"]


class Function(msgspec.Struct, gc=False):
    """What is called, as far as a fragment says it."""

    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class CallDelta(msgspec.Struct, gc=False):
    """A fragment of a call."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None
    extra_content: Any = None  # Google


class _Call:
    """A call as far as it has come."""

    __slots__ = ("block", "extra", "fragments", "id", "name")

    def __init__(self, block: int, call_id: str, name: str) -> None:
        self.block = block
        self.id = call_id
        self.name = name
        self.extra: Any = None
        self.fragments: list[str] = []

    def is_another(self, name: str, fragment: str) -> bool:
        """Whether a fragment that has a name and no new id begins another call: the name may as well be repeated."""
        return name != self.name or (fragment.lstrip()[:1] == "{" and self._is_whole())

    def _is_whole(self) -> bool:
        try:
            return isinstance(json.loads("".join(self.fragments)), dict)
        except (ValueError, RecursionError):
            return False


class Calls:
    """The calls of one answer.

    Args:
        first: The number of the first call's block; the next calls have the next ones.
    """

    __slots__ = ("_all", "_by_id", "_by_index", "_first")

    def __init__(self, first: int) -> None:
        self._first = first
        self._all: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._by_id: dict[str, _Call] = {}

    @property
    def made(self) -> int:
        """How many calls there are."""
        return len(self._all)

    def extras(self) -> list[Any]:
        """What came beside each call, in order; empty where there is nothing."""
        extras = [call.extra for call in self._all]
        return extras if any(extras) else []

    def take(self, delta: CallDelta) -> ToolCallDelta:
        """The event of a fragment."""
        function = delta.function
        name, arguments = (function.name or "", function.arguments) if function is not None else ("", None)
        fragment = arguments if isinstance(arguments, str) else "" if arguments is None else dumps(arguments).decode()
        call = self._of(delta, name, fragment) or self._begin(delta, name)
        call.fragments.append(fragment)
        call.extra = delta.extra_content or call.extra
        return ToolCallDelta(call.id, call.name, fragment, call.block)

    def _of(self, delta: CallDelta, name: str, fragment: str) -> _Call | None:
        """The call that a fragment goes on; None where it begins one."""
        at = self._by_index.get(delta.index) if delta.index is not None else None
        if delta.id:
            known = self._by_id.get(delta.id)
            if known is not None and delta.index is not None and at is not known and name:
                known = None  # the same id under another index
            call = known or (at if at is not None and (not at.id or not name) else None)
        else:
            call = at if delta.index is not None else self._last
        if not name:  # also where the id is new in each fragment
            return call or self._last
        return None if call is None or call.is_another(name, fragment) else call

    def _begin(self, delta: CallDelta, name: str) -> _Call:
        call = _Call(self._first + len(self._all), delta.id or "", name)
        self._all.append(call)
        if delta.index is not None:
            self._by_index[delta.index] = call
        if delta.id:
            self._by_id.setdefault(delta.id, call)
        return call

    @property
    def _last(self) -> _Call | None:
        return self._all[-1] if self._all else None
