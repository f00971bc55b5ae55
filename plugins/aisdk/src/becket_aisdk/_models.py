"""What a chat of the AI SDK posts. Imported when a request is read: pydantic takes 100 ms."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError
from pydantic.alias_generators import to_camel

__all__ = [
    "Approval",
    "ChatRequest",
    "DataPart",
    "FilePart",
    "OtherPart",
    "Part",
    "Pending",
    "ReasoningPart",
    "SteeringPart",
    "TextPart",
    "ToolPart",
    "UIMessage",
]


class _Model(BaseModel):
    """Members that are not known are let through: the SDK adds some in every version, and hosts add their own."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="ignore")


class TextPart(_Model):
    """Text."""

    type: Literal["text"]
    text: str


class ReasoningPart(_Model):
    """Reasoning, with its seal where becket has sent one."""

    type: Literal["reasoning"]
    text: str = ""
    provider_metadata: dict[str, Any] | None = None


class FilePart(_Model):
    """A file: its bytes as a data URL, or its address."""

    type: Literal["file"]
    media_type: str
    url: str
    filename: str | None = None


class Approval(_Model):
    """What was asked about a call, and what was answered."""

    id: str
    approved: bool | None = None
    reason: str | None = None
    is_automatic: bool | None = None


ToolState: TypeAlias = Literal[
    "input-streaming",
    "input-available",
    "approval-requested",
    "approval-responded",
    "output-available",
    "output-error",
    "output-denied",
]


class ToolPart(_Model):
    """A call of a tool, of the type `dynamic-tool` or `tool-NAME`, and what has become of it."""

    type: str
    tool_call_id: Annotated[str, Field(min_length=1)]
    tool_name: str | None = None
    state: ToolState
    input: Any = None
    output: Any = None
    error_text: str | None = None
    preliminary: bool | None = None
    approval: Approval | None = None

    @property
    def tool(self) -> str:
        """The tool's name."""
        return self.tool_name or self.type.removeprefix("tool-")


class DataPart(_Model):
    """Data for the frontend, of the type `data-NAME`."""

    type: str
    id: str | None = None
    data: Any = None


class SteeringPart(_Model):
    """What the user said while the assistant was at work."""

    type: Literal["steering-message"]
    parts: list[Part]


class OtherPart(_Model):
    """A part that says nothing to a model: where a step begins, a source, ..."""

    type: str


_ASKED = ("approval-requested", "approval-responded")

_TYPES = {"text": "text", "reasoning": "reasoning", "file": "file", "steering-message": "steering"}


def _kind(part: Any) -> str:
    name = part.get("type") if isinstance(part, dict) else getattr(part, "type", None)
    if not isinstance(name, str):
        return "other"
    if name == "dynamic-tool" or name.startswith("tool-"):
        return "tool"
    return "data" if name.startswith("data-") else _TYPES.get(name, "other")


Part: TypeAlias = Annotated[
    Annotated[TextPart, Tag("text")]
    | Annotated[ReasoningPart, Tag("reasoning")]
    | Annotated[FilePart, Tag("file")]
    | Annotated[ToolPart, Tag("tool")]
    | Annotated[DataPart, Tag("data")]
    | Annotated[SteeringPart, Tag("steering")]
    | Annotated[OtherPart, Tag("other")],
    Discriminator(_kind),
]


class HeldCall(_Model):
    """A call that the client does not have, and the run will come to."""

    tool_call_id: str
    tool_name: str
    input: Any = None


class HeldQuestion(_Model):
    """What is to be asked when something else was answered."""

    approval_id: str
    tool_call_id: str
    reason: str = ""
    descriptor: Any = None


class Pending(_Model):
    """Where the run stood when the answer ended, as its encoder said it in the message's metadata.

    Attributes:
        asked: What the client was asked: ids of requests by those of calls. None where the client has lost it.
        running: Calls that were begun.
        held: Calls that the client does not have.
        waiting: What is to be asked later.
    """

    asked: dict[str, str] | None = None
    running: list[str] = []
    held: list[HeldCall] = []
    waiting: list[HeldQuestion] = []


class UIMessage(_Model):
    """One message of the conversation."""

    id: str = ""
    role: Literal["system", "user", "assistant"]
    parts: list[Part]
    metadata: Any = None

    @functools.cached_property
    def pending(self) -> Pending:
        """Where its run stood when it ended; empty where that is not said."""
        said = self.metadata.get("pending") if isinstance(self.metadata, dict) else None
        try:
            return Pending.model_validate(said or {})
        except ValidationError:  # a client's own metadata
            return Pending()

    def open_request(self, part: ToolPart) -> str | None:
        """What the client was asked about a call, and the run was not told yet; None for nothing.

        A part that was responded to stays in that state until the call has an outcome, also after the run was told.
        """
        approval, asked = part.approval, self.pending.asked
        if approval is None or approval.is_automatic or part.state not in _ASKED:
            return None
        return approval.id if asked is None or asked.get(part.tool_call_id) == approval.id else None


class ChatRequest(_Model):
    """The conversation, and what is wanted of it.

    Attributes:
        id: The chat.
        messages: All of its messages.
        trigger: Both are answered alike: what is to be made anew is no longer among the messages.
        message_id: The message that is to go on, where approvals were responded to.
        agent: The agent that is to answer; a host's transport adds it to the body.
    """

    id: str = ""
    messages: Annotated[list[UIMessage], Field(min_length=1)]
    trigger: Literal["submit-message", "regenerate-message"] = "submit-message"
    message_id: str | None = None
    agent: str | None = None
