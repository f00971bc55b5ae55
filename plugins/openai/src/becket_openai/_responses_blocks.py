"""The items of an answer of the Responses API as they come in, as blocks of becket's.

What an item has that becket's blocks have not becomes an `ExtensionDelta` before the item's first block, and again
once the item is whole if something of it was not known before. `_responses_items` makes the items of them again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from becket import ExtensionDelta, ReasoningDelta, TextDelta, ToolCallDelta

if TYPE_CHECKING:
    from collections.abc import Iterable

    from becket import ModelEvent

    from becket_openai._responses_events import Kind

__all__ = ["Blocks", "Part"]

_ID: Final = 64
"""Characters that the service allows in an item's id. Some servers like it give longer ones, and then refuse them."""

_TAKEN_APART: Final[dict[str, tuple[str, ...]]] = {
    "message": ("role", "status", "content"),
    "reasoning": ("status", "summary", "content", "encrypted_content"),
    "function_call": ("status", "call_id", "name", "arguments"),
}
"""The types of items that become blocks, and the members that do."""


class Part:
    """A block in the making.

    Attributes:
        index: The place of its item.
        at: Its place in the item.
        block: Its number.
        length: How many characters have come.
    """

    __slots__ = ("at", "block", "index", "length")

    def __init__(self, index: int, at: int, block: int) -> None:
        self.index = index
        self.at = at
        self.block = block
        self.length = 0


class _Item:
    """An item in the making.

    Attributes:
        index: Its place in the answer.
        data: What was known of it when it began.
        parts: Its blocks, by kind and place.
        said: What of it has become an Extension, or None.
        done: Whether it is whole.
    """

    __slots__ = ("data", "done", "index", "parts", "said")

    def __init__(self, index: int, data: dict[str, Any]) -> None:
        self.index = index
        self.data = data
        self.parts: dict[tuple[str, int], Part] = {}
        self.said: dict[str, Any] | None = None
        self.done = False


class Blocks:
    """The blocks of one answer.

    Args:
        provider: The provider's name, for what only it reads.

    Attributes:
        text: Where the last fragment of text belongs.
        calls: Id, tool and block of each call, by the place of its item.
        refused: Whether there is a refusal.
    """

    __slots__ = ("_count", "_items", "_linked", "_provider", "calls", "refused", "text")

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._items: dict[int, _Item] = {}
        self._count = 0
        self._linked = False  # whether items refer to one another, so that their ids have to go back
        self.text = Part(-1, -1, 0)
        self.calls: dict[int, tuple[str, str, Part]] = {}
        self.refused = False

    def _next_block(self) -> int:
        self._count += 1
        return self._count - 1

    def _item(self, index: int) -> _Item:
        item = self._items.get(index)
        if item is None:
            item = self._items[index] = _Item(index, {})
        return item

    def fragment(self, kind: Kind, index: int, at: int, text: str) -> list[ModelEvent]:
        """A fragment of the text at `at` of the item at `index`."""
        item = self._item(index)
        part = item.parts.get((kind, at))
        events: list[ModelEvent] = []
        if part is None:
            if item.said is None or (kind == "thought" and "content" not in item.said):
                events += self._opened(item, thought=kind == "thought")
            part = item.parts[kind, at] = Part(index, at, self._next_block())
        if kind == "text":
            self.text = part
        part.length += len(text)
        if kind in ("text", "refusal"):
            self.refused = self.refused or kind == "refusal"
            events.append(TextDelta(text, part.block))
        else:
            events.append(ReasoningDelta(text, part.block))
        return events

    def rest(self, kind: Kind, index: int, at: int, text: str) -> list[ModelEvent]:
        """What of a whole text has not come in fragments."""
        part = self._item(index).parts.get((kind, at))
        rest = text if part is None else text[part.length :]
        return self.fragment(kind, index, at, rest) if rest else []

    def rest_of_call(self, index: int, arguments: str) -> list[ModelEvent]:
        call = self.calls.get(index)
        if call is None:
            return []
        call_id, tool, part = call
        rest = arguments[part.length :]
        part.length += len(rest)
        return [ToolCallDelta(call_id, tool, rest, part.block)] if rest else []

    def _opened(self, item: _Item, *, thought: bool = False) -> list[ModelEvent]:
        """The Extension that an item begins with, where it has something to say."""
        if not item.data:
            return []
        said = _remainder(item.data)
        if thought:
            said["content"] = []  # it says where the texts go that follow
        if item.said is not None or self._linked or said.keys() - {"type", "id"}:
            return [self._extension(item, said)]
        return []

    def _extension(self, item: _Item, said: dict[str, Any]) -> ExtensionDelta:
        item.said = {**(item.said or {}), **said}
        return ExtensionDelta(self._provider, said, self._next_block())

    # -- items -----------------------------------------------------------------------------------------------------

    def added(self, index: int, data: dict[str, Any]) -> list[ModelEvent]:
        if index in self._items:
            return []
        item = self._items[index] = _Item(index, data)
        kind = data.get("type")
        self._linked = self._linked or kind not in ("message", "function_call")
        return self._called(item, data) if kind == "function_call" else []

    def _called(self, item: _Item, data: dict[str, Any]) -> list[ModelEvent]:
        """The beginning of a call."""
        events = self._opened(item)
        call_id, tool = str(data.get("call_id") or data.get("id") or ""), str(data.get("name") or "")
        part = Part(item.index, 0, self._next_block())
        self.calls[item.index] = call_id, tool, part
        return [*events, ToolCallDelta(call_id, tool, "", part.block)]

    def rest_of_item(self, index: int, data: dict[str, Any]) -> Iterable[ModelEvent]:
        """What of a whole item has not come."""
        kind = data.get("type")
        if index not in self._items:
            yield from self.added(index, data)
        item = self._items[index]
        if item.done:
            return
        item.done = True
        item.data = item.data or data
        self._linked = self._linked or kind not in ("message", "function_call")
        if kind not in _TAKEN_APART:
            yield self._extension(item, _without_none(data))
            return
        if kind == "function_call":
            if index not in self.calls:
                yield from self._called(item, data)
            yield from self.rest_of_call(index, str(data.get("arguments") or ""))
        else:
            yield from self._rest_of_parts(index, data)
        if kind == "reasoning":
            yield from self._sealed(item, data)
        yield from self._closed(item, data)

    def _rest_of_parts(self, index: int, data: dict[str, Any]) -> Iterable[ModelEvent]:
        for at, part in enumerate(data.get("summary") or ()):
            yield from self.rest("summary", index, at, _text(part, "text"))
        for at, part in enumerate(data.get("content") or ()):
            match part:
                case {"type": "reasoning_text"}:
                    yield from self.rest("thought", index, at, _text(part, "text"))
                case {"type": "output_text"}:
                    yield from self.rest("text", index, at, _text(part, "text"))
                case {"type": "refusal"}:
                    yield from self.rest("refusal", index, at, _text(part, "refusal"))

    def _sealed(self, item: _Item, data: dict[str, Any]) -> Iterable[ModelEvent]:
        """The encrypted reasoning: the seal of the last text that is shown of it, or all there is."""
        seal = data.get("encrypted_content")
        if not isinstance(seal, str) or not seal:
            return
        if item.parts:
            yield ReasoningDelta(block=max(part.block for part in item.parts.values()), signature=seal)
            return
        yield from self._opened(item)
        yield ReasoningDelta(block=self._next_block(), redacted=seal)

    def _closed(self, item: _Item, data: dict[str, Any]) -> Iterable[ModelEvent]:
        """What became known of an item after its Extension."""
        if item.said is None:  # a first one after the item's blocks would be another item's
            return
        known = _remainder(data)
        if data.get("status") == "incomplete":
            known["status"] = "incomplete"
        notes = [_notes(part) for part in data.get("content") or ()] if data.get("type") == "message" else []
        if any(notes):
            known["annotations"] = notes
        new = {key: value for key, value in known.items() if item.said.get(key) != value}
        if new.keys() - {"type", "id"} and "id" in known:
            yield self._extension(item, {"type": known["type"], "id": known["id"], **new})

    def missed(self, output: list[dict[str, Any]]) -> Iterable[ModelEvent]:
        """What of the whole answer has not come before."""
        known = {_identity(item.data): item for item in self._items.values() if _identity(item.data)}
        for at, data in enumerate(output):
            item = known.get(_identity(data)) or self._items.get(at)
            if item is not None and item.data.get("type") == data.get("type"):
                yield from self.rest_of_item(item.index, data)
            else:
                yield from self.rest_of_item(max(self._items, default=-1) + 1, data)


def _remainder(data: dict[str, Any]) -> dict[str, Any]:
    """What of an item becomes no block."""
    taken = _TAKEN_APART.get(str(data.get("type")), ())
    rest = {key: value for key, value in data.items() if key not in taken and value is not None}
    if len(str(rest.get("id", ""))) > _ID:
        del rest["id"]
    return rest


def _without_none(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value is not None}


def _identity(data: dict[str, Any]) -> str:
    return str(data.get("call_id") or data.get("id") or "")


def _text(part: Any, key: str) -> str:
    text = part.get(key) if isinstance(part, dict) else None
    return text if isinstance(text, str) else ""


def _notes(part: Any) -> list[Any]:
    """The citations in a part of a message."""
    notes = part.get("annotations") if isinstance(part, dict) else None
    return notes if isinstance(notes, list) else []
