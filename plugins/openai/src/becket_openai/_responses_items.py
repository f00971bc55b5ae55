"""The messages of a history as the items that the Responses API takes.

An answer of this API is a row of items, which have ids and other members that becket's blocks have not. What the
service wants back of them stands before an item's blocks as an `Extension` (see `_responses_blocks`): for reasoning, a
message and a function call the rest of the item, which the blocks complete; for any other item all of it.

The items of one answer hang together. The service refuses reasoning that is not followed by what came after it, and
an item by its id whose reasoning is missing; so they go back as they came, all of them, or as if they had come from
elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from becket import Document, Extension, Image, Reasoning, Text, ToolCall, ToolResult
from becket_wire import text_of

from becket_openai._ids import legal_id, legal_name
from becket_openai._json import dumps

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from becket import ContentBlock, Message

__all__ = ["Items"]

_CALL_ID: Final = 64
"""Characters that the service allows in a `call_id`."""

_COMPLETED: Final = ("message", "reasoning", "function_call")
"""The types of items whose Extension is completed by the blocks after it."""


class Items:
    """Writes messages for one endpoint.

    Args:
        provider: The provider's name; Extensions of others are left out.
        reasoning: Whether reasoning goes back. A model that does not reason refuses it.
    """

    __slots__ = ("_provider", "_reasoning")

    def __init__(self, provider: str, *, reasoning: bool) -> None:
        self._provider = provider
        self._reasoning = reasoning

    def encode(self, message: Message, before: Sequence[Message]) -> bytes:  # noqa: ARG002  as a Transcript calls it
        """A message as JSON: no item, one, or several joined by commas.

        Args:
            message: The message.
            before: Those before it.
        """
        if message.role == "assistant":
            return b",".join(map(dumps, self._answered(message)))
        return b",".join(map(dumps, _asked(message)))

    def _answered(self, message: Message) -> list[dict[str, Any]]:
        answer = _Answer(self._provider)
        for block in message.content:
            answer.add(block)
        intact = self._reasoning and not message.interrupted and answer.is_whole
        return answer.as_it_came() if intact else answer.as_from_elsewhere()


class _Item:
    """An item of an answer.

    Attributes:
        data: The item, without what `texts` will be.
        texts: The parts of a message.
        ours: Whether it came from this service, with an Extension that says so.
    """

    __slots__ = ("data", "ours", "texts")

    def __init__(self, data: dict[str, Any], *, ours: bool) -> None:
        self.data = data
        self.texts: list[str] = []
        self.ours = ours

    @property
    def type(self) -> str:
        kind: str = self.data["type"]
        return kind

    @property
    def is_sealed(self) -> bool:
        """Of reasoning: whether the service can read it, which stores none."""
        return bool(self.data.get("encrypted_content") or self.data.get("content"))


class _Answer:
    """The items of one answer, put together from its blocks."""

    __slots__ = ("_by_id", "_call", "_items", "_provider", "_spoken", "_thought")

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._items: list[_Item] = []
        self._by_id: dict[str, _Item] = {}
        self._spoken: _Item | None = None  # the message that text belongs to
        self._thought: _Item | None = None  # the item that reasoning belongs to
        self._call: _Item | None = None  # the call that comes next

    def add(self, block: ContentBlock) -> None:
        """Take the next block of the message."""
        match block:
            case Text(text=text) if text:
                self._say(text)
            case Reasoning():
                self._think(block)
            case ToolCall():
                self._calls(block)
            case Extension(provider=self._provider, data=dict(data)) if isinstance(data.get("type"), str):
                self._extend(str(data["type"]), data)
            case Image() | Document():
                self._say(f"[{block.type} {block.media_type}]")

    @property
    def is_whole(self) -> bool:
        """Whether each piece of reasoning can be read by the service, and is followed by what came after it."""
        followed = False
        for item in reversed(self._written):
            if item.type != "reasoning":
                followed = item.ours
            elif not (followed and item.is_sealed):
                return False
        return True

    def as_it_came(self) -> list[dict[str, Any]]:
        """The items with their ids."""
        return [_with_texts(item) if item.type == "message" else item.data for item in self._written]

    def as_from_elsewhere(self) -> list[dict[str, Any]]:
        """The items without reasoning, and without what depends on it: ids, and tools that the service ran itself."""
        reasoned = any(item.type == "reasoning" for item in self._items)
        kept: list[dict[str, Any]] = []
        for item in self._written:
            if item.type in ("message", "function_call"):
                item.data.pop("id", None)
                kept.append(_with_texts(item) if item.type == "message" else item.data)
            elif not reasoned:
                kept.append(item.data)
        return kept

    @property
    def _written(self) -> list[_Item]:
        """The items without messages that say nothing."""
        return [item for item in self._items if item.type != "message" or item.texts]

    def _say(self, text: str) -> None:
        if self._spoken is None:
            self._spoken = _Item({"type": "message", "role": "assistant"}, ours=False)
            self._items.append(self._spoken)
        self._spoken.texts.append(text)

    def _think(self, block: Reasoning) -> None:
        """Put reasoning into its item; there is none for that of another service."""
        if self._thought is None:
            return
        data = self._thought.data
        if block.text:
            where, kind = ("content", "reasoning_text") if "content" in data else ("summary", "summary_text")
            data[where].append({"type": kind, "text": block.text})
        if seal := block.signature or block.redacted:
            data["encrypted_content"] = seal

    def _calls(self, call: ToolCall) -> None:
        """Add a call. One that was malformed has no arguments, since servers parse them, and its result quotes it."""
        item = self._call or _Item({"type": "function_call"}, ours=False)
        self._call = self._spoken = None
        item.data["call_id"] = legal_id(call.id, most=_CALL_ID)
        item.data["name"] = legal_name(call.tool)
        item.data["arguments"] = dumps({} if call.malformed else call.arguments).decode()
        self._items.append(item)

    def _extend(self, kind: str, data: dict[str, Any]) -> None:
        """Begin an item of this service's, or add what became known of it at its end."""
        known = self._by_id.get(str(data.get("id")))
        if known is not None:
            known.data.update(_own(data))
            return
        item = _Item(data, ours=True)
        self._spoken = None
        match kind:
            case "message":
                item.data = {"role": "assistant", "status": "completed", **data}
                self._spoken = item
            case "reasoning":
                item.data = {"summary": [], **_own(data)}
                self._thought = item
            case "function_call":
                item.data = {"status": "completed", **data}
                self._call = item
        if kind in _COMPLETED and "id" in data:
            self._by_id[str(data["id"])] = item
        if item is not self._call:
            self._items.append(item)


def _own(data: dict[str, Any]) -> dict[str, Any]:
    """A copy whose `content`, a list that is still empty, can be filled."""
    return {**data, "content": []} if "content" in data else data


def _with_texts(item: _Item) -> dict[str, Any]:
    """A message with its parts. What has no id is an input like any other, and may be written shorter."""
    data, texts = item.data, item.texts
    noted = data.pop("annotations", None) or []
    if "id" not in data:
        data.pop("status", None)
        if len(texts) == 1:
            return {**data, "content": texts[0]}
        return {**data, "content": [{"type": "output_text", "text": text} for text in texts]}
    noted = noted if len(noted) == len(texts) else [[]] * len(texts)
    parts = zip(texts, noted, strict=True)
    return {**data, "content": [{"type": "output_text", "text": text, "annotations": notes} for text, notes in parts]}


def _asked(message: Message) -> Iterable[dict[str, Any]]:
    """The results of tools, each an item, and a message of what else there is."""
    said = []
    for block in message.content:
        if isinstance(block, ToolResult):
            yield {
                "type": "function_call_output",
                "call_id": legal_id(block.call_id, most=_CALL_ID),
                "output": _output(block),
            }
        elif isinstance(block, Text | Image | Document):
            said.append(block)
    if len(said) == 1 and isinstance(said[0], Text):
        yield {"type": "message", "role": "user", "content": said[0].text}
    elif said:
        yield {"type": "message", "role": "user", "content": [_part(block) for block in said]}


def _output(result: ToolResult) -> str | list[dict[str, Any]]:
    """What the model gets to read of a result: a text, and parts where there is more than text."""
    text = f"Error: {text_of(result)}" if result.status == "error" else text_of(result)
    media = [_part(block) for block in result.content if isinstance(block, Image | Document)]
    return [{"type": "input_text", "text": text}, *media] if media else text


def _part(block: Text | Image | Document) -> dict[str, Any]:
    match block:
        case Text():
            return {"type": "input_text", "text": block.text}
        case Image():
            return {"type": "input_image", "image_url": block.url or _data_url(block), "detail": "auto"}
        case Document(url=str(url)):
            return {"type": "input_file", "file_url": url}
    return {"type": "input_file", "filename": block.name or _file_name(block), "file_data": _data_url(block)}


def _data_url(block: Image | Document) -> str:
    return f"data:{block.media_type};base64,{block.data}"


def _file_name(document: Document) -> str:
    """A name with the ending that the service goes by."""
    ending = document.media_type.rpartition("/")[2].partition(";")[0]
    return f"document.{ {'plain': 'txt', 'markdown': 'md'}.get(ending, ending) }"
