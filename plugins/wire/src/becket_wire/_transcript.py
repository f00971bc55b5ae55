"""The messages of a run as JSON, each encoded once."""

from __future__ import annotations

from operator import is_
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from becket import Message

__all__ = ["Transcript"]


class Transcript:
    """The messages of one run as JSON, as a provider sends them again with every model call.

    A history grows at its end; what was encoded for one call is used again for the next. Messages are compared by
    identity, so a history that a hook has changed is encoded anew from the first change on. Keep it in
    `ModelRequest.kept`, under the provider.

    Args:
        encode: Makes the JSON of a message, given the messages before it, to be read and not kept. Several values are
            joined by commas, and empty bytes stand for nothing. What it makes depends on its arguments alone.
    """

    __slots__ = ("_encode", "_messages", "_pieces")

    def __init__(self, encode: Callable[[Message, Sequence[Message]], bytes]) -> None:
        self._encode = encode
        self._messages: list[Message] = []
        self._pieces: list[bytes] = []

    def pieces(self, messages: Sequence[Message]) -> list[bytes]:
        """The JSON of each message that has some, in order; a list of the caller's own."""
        kept = self._same(messages)
        del self._messages[kept:], self._pieces[kept:]
        for index in range(kept, len(messages)):
            message = messages[index]
            self._pieces.append(self._encode(message, self._messages))
            self._messages.append(message)
        return [piece for piece in self._pieces if piece]

    def _same(self, messages: Sequence[Message]) -> int:
        """How many messages at the start are those that were encoded."""
        if len(self._messages) <= len(messages) and all(map(is_, self._messages, messages)):
            return len(self._messages)
        same = 0
        for ours, theirs in zip(self._messages, messages, strict=False):
            if ours is not theirs:
                break
            same += 1
        return same
