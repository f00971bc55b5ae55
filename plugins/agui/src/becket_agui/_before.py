"""What a client knows from earlier answers, as its request shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from becket_agui._names import call_pattern
from becket_agui._request import AssistantMessage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from becket_agui._request import SentMessage, SentToolCall

__all__ = ["Before"]


class Before:
    """The tool calls of a conversation so far.

    Looked at only where a run goes on in another answer, so nothing is made of them before.
    """

    def __init__(self, messages: Sequence[SentMessage]) -> None:
        self._messages = messages

    def call(self, run_id: str, call_id: str) -> tuple[str, str] | None:
        """The newest call of a run that has this id in becket: its name in the protocol, and its tool."""
        wanted = call_pattern(run_id, call_id)
        found = (call for call in self._calls() if wanted.fullmatch(call.id))
        return next(((call.id, call.function.name) for call in found), None)

    def _calls(self) -> Iterator[SentToolCall]:
        for message in reversed(self._messages):
            if isinstance(message, AssistantMessage):
                yield from message.tool_calls or ()
