"""What things are called in the protocol: there, a name is unique within the conversation."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["DISCARDED", "OWN", "call_name", "call_pattern", "message_name", "message_of_thought", "thought_name"]

OWN: Final = "becket"
"""Under this name stands what becket attaches to events and messages, and reads when they come back."""

DISCARDED: Final = {OWN: {"discarded": True}}
"""Attached to what does not count: a model call was made again, or was broken off within a tool call."""


_THOUGHT: Final = "-reasoning-"


def message_name(run_id: str, cycle: int, attempt: int) -> str:
    """What a model has said in one attempt of a cycle: its text and its calls."""
    return f"{run_id}-{cycle}-{attempt}"


def thought_name(message: str, block: int) -> str:
    """A block of reasoning, which is a message of its own."""
    return f"{message}{_THOUGHT}{block}"


def message_of_thought(name: str) -> str | None:
    """The message that a block of reasoning belongs to, where the name is one of becket's."""
    return name.rpartition(_THOUGHT)[0] or None


def call_name(run_id: str, cycle: int, call_id: str) -> str:
    """A tool call; in becket its id is unique within its message."""
    return f"{run_id}-{cycle}-{call_id}"


def call_pattern(run_id: str, call_id: str) -> re.Pattern[str]:
    """What the names of a run's calls with this id have in common, in whichever cycle they were made."""
    return re.compile(rf"{re.escape(run_id)}-\d+-{re.escape(call_id)}")
