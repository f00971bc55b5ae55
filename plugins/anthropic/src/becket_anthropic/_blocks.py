"""The content blocks of an answer while they come, each by its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from becket import Extension, ExtensionDelta, Reasoning, ReasoningDelta, Text, TextDelta, ToolCall, ToolCallDelta

from becket_anthropic._api import decode_start

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from becket import ContentBlock, ModelEvent

    from becket_anthropic._api import Delta, Start

__all__ = ["Block", "begun"]


class Block:
    """A content block.

    Attributes:
        number: The block's, among the events of the answer; the next one is that of the extension beside it.
    """

    __slots__ = ("_provider", "_warn", "number")

    is_call = False
    is_text = False

    def __init__(self, number: int, provider: str, warn: Callable[[str], object]) -> None:
        self.number = number
        self._provider = provider
        self._warn = warn

    def begin(self) -> Sequence[ModelEvent]:
        """What its beginning comes to."""
        return ()

    def take(self, delta: Delta) -> Sequence[ModelEvent]:
        """What a fragment comes to."""
        self._warn(f"the delta {delta.type!r}")
        return ()

    def end(self) -> Sequence[ModelEvent]:
        """What its end comes to. Called once."""
        return ()

    def content(self) -> Sequence[ContentBlock]:
        """What the history has of it, as becket makes it of the events."""
        return ()

    def beside(self, data: dict[str, Any]) -> ExtensionDelta:
        """The event of an extension beside the block."""
        return ExtensionDelta(self._provider, data, self.number + 1)


class TextBlock(Block):
    """Text, with the places that it cites."""

    __slots__ = ("_citations", "_fragments")

    is_text = True

    def __init__(self, start: Start, number: int, provider: str, warn: Callable[[str], object]) -> None:
        super().__init__(number, provider, warn)
        self._fragments: list[str] = [start.text] if start.text else []
        self._citations: list[Any] = list(start.citations or ())

    def begin(self) -> Sequence[ModelEvent]:
        return [TextDelta(text, self.number) for text in self._fragments]

    def take(self, delta: Delta) -> Sequence[ModelEvent]:
        text = delta.text
        if text:
            self._fragments.append(text)
            return (TextDelta(text, self.number),)
        if delta.citation:
            self._citations.append(msgspec.json.decode(delta.citation))
        elif text is None:
            self._warn(f"the delta {delta.type!r}")
        return ()

    def end(self) -> Sequence[ModelEvent]:
        return (self.beside({"citations": self._citations}),) if self._citations and self._fragments else ()

    def content(self) -> Sequence[ContentBlock]:
        if not self._fragments:
            return ()
        text = Text("".join(self._fragments))
        return (text, Extension(self._provider, {"citations": self._citations})) if self._citations else (text,)


class ThinkingBlock(Block):
    """Thinking. Its signature is told at its end, with a word that it is this provider's, or that there is none."""

    __slots__ = ("_fragments", "_signature")

    def __init__(self, start: Start, number: int, provider: str, warn: Callable[[str], object]) -> None:
        super().__init__(number, provider, warn)
        self._fragments: list[str] = [start.thinking] if start.thinking else []
        self._signature = start.signature or ""

    def begin(self) -> Sequence[ModelEvent]:
        return [ReasoningDelta(text, self.number) for text in self._fragments]

    def take(self, delta: Delta) -> Sequence[ModelEvent]:
        text = delta.thinking
        if text:
            self._fragments.append(text)
            return (ReasoningDelta(text, self.number),)
        if delta.signature is not None:
            self._signature = delta.signature
        elif text is None:
            self._warn(f"the delta {delta.type!r}")
        return ()

    def end(self) -> Sequence[ModelEvent]:
        if self._signature:
            return ReasoningDelta("", self.number, signature=self._signature), self.beside({"signed": True})
        return (self.beside({"signed": False}),) if self._fragments else ()

    def content(self) -> Sequence[ContentBlock]:
        if not self._fragments and not self._signature:
            return ()
        signed = bool(self._signature)
        thought = Reasoning("".join(self._fragments), self._signature or None)
        return thought, Extension(self._provider, {"signed": signed})


class RedactedBlock(Block):
    """Thinking that the service shows only encrypted."""

    __slots__ = ("_data",)

    def __init__(self, start: Start, number: int, provider: str, warn: Callable[[str], object]) -> None:
        super().__init__(number, provider, warn)
        self._data = start.data or ""

    def begin(self) -> Sequence[ModelEvent]:
        return ReasoningDelta("", self.number, redacted=self._data), self.beside({"signed": True})

    def content(self) -> Sequence[ContentBlock]:
        return Reasoning(redacted=self._data), Extension(self._provider, {"signed": True})


class CallBlock(Block):
    """A call of a tool of becket's."""

    __slots__ = ("_fragments", "_id", "_more", "_name", "_whole")

    is_call = True

    def __init__(self, start: Start, number: int, provider: str, warn: Callable[[str], object]) -> None:
        super().__init__(number, provider, warn)
        self._id = start.id or ""
        self._name = start.name or ""
        self._whole = bytes(start.input).decode() or "{}"
        self._fragments: list[str] = []
        self._more: dict[str, Any] = {}
        if start.caller is not None and start.caller.get("type") != "direct":
            self._more["caller"] = start.caller
        if start.toolset_name is not None:
            self._more["toolset_name"] = start.toolset_name

    def begin(self) -> Sequence[ModelEvent]:
        return (ToolCallDelta(self._id, self._name, "", self.number),)

    def take(self, delta: Delta) -> Sequence[ModelEvent]:
        fragment = delta.partial_json
        if fragment:
            self._fragments.append(fragment)
            return (ToolCallDelta(self._id, self._name, fragment, self.number),)
        if fragment is None:
            self._warn(f"the delta {delta.type!r}")
        return ()

    def end(self) -> Sequence[ModelEvent]:
        events: list[ModelEvent] = []
        if not self._fragments:  # the whole input came with the start, or there is none
            events.append(ToolCallDelta(self._id, self._name, self._whole, self.number))
        if self._more:
            events.append(self.beside({"call": self._more}))
        return events

    def content(self) -> Sequence[ContentBlock]:
        # A turn with a call in it is no one that is gone on with before the call is answered.
        return (ToolCall(self._id, self._name),)


class OwnBlock(Block):
    """A block of the service's own, kept as it came: what its tools were asked and have found, and what is to come."""

    __slots__ = ("_block", "_fragments")

    def __init__(self, block: dict[str, Any], number: int, provider: str, warn: Callable[[str], object]) -> None:
        super().__init__(number, provider, warn)
        self._block = block
        self._fragments: list[str] = []

    def take(self, delta: Delta) -> Sequence[ModelEvent]:
        match delta.type:
            case "input_json_delta":
                self._fragments.append(delta.partial_json or "")
            case "compaction_delta":
                self._block["content"] = delta.content
                if delta.encrypted_content is not None:
                    self._block["encrypted_content"] = delta.encrypted_content
            case other:
                self._warn(f"the delta {other!r} of a block {self._block['type']!r}")
        return ()

    def end(self) -> Sequence[ModelEvent]:
        return (ExtensionDelta(self._provider, {"block": self._block}, self.number),) if self._is_whole() else ()

    def content(self) -> Sequence[ContentBlock]:
        return (Extension(self._provider, {"block": self._block}),) if self._is_whole() else ()

    def _is_whole(self) -> bool:
        """Whether its input came to its end; a call that was cut off in the middle is none, and is not kept."""
        if self._fragments:
            try:
                self._block["input"] = msgspec.json.decode("".join(self._fragments) or "{}")
            except msgspec.DecodeError:
                return False
            self._fragments = []
        return True


_KINDS: dict[str, type[TextBlock | ThinkingBlock | RedactedBlock | CallBlock]] = {
    "text": TextBlock,
    "thinking": ThinkingBlock,
    "redacted_thinking": RedactedBlock,
    "tool_use": CallBlock,
}


def begun(raw: msgspec.Raw, number: int, provider: str, warn: Callable[[str], object]) -> Block:
    """The block that begins so.

    Raises:
        msgspec.MsgspecError: It is no block.
    """
    start = decode_start(raw)
    kind = _KINDS.get(start.type)
    if kind is not None:
        return kind(start, number, provider, warn)
    return OwnBlock(msgspec.json.decode(raw), number, provider, warn)
