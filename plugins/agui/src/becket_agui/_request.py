"""What a client sends, as https://ag-ui.com/spec/1.0/schema.json has it.

Members that are not known are ignored, and null stands for one that is left out: the protocol grows.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

__all__ = [
    "ActivityMessage",
    "AssistantMessage",
    "Context",
    "DataSource",
    "FileSource",
    "FunctionCall",
    "InstructionMessage",
    "MediaPart",
    "Part",
    "ReasoningMessage",
    "ResumeEntry",
    "RunAgentInput",
    "SentMessage",
    "SentTool",
    "SentToolCall",
    "TextPart",
    "ToolMessage",
    "UrlSource",
    "UserMessage",
]


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore")


class TextPart(_Model):
    """A text."""

    type: Literal["text"]
    text: str


class DataSource(_Model):
    """Bytes in base64."""

    type: Literal["data"]
    value: str
    mime_type: str


class UrlSource(_Model):
    """An address, fetched by the model's service."""

    type: Literal["url"]
    value: str
    mime_type: str | None = None


class FileSource(_Model):
    """A file that a model's service keeps."""

    type: Literal["file"]
    value: str
    provider: str | None = None


class MediaPart(_Model):
    """What is no text."""

    type: Literal["image", "audio", "video", "document"]
    source: Annotated[DataSource | UrlSource | FileSource, Field(discriminator="type")]


Part: TypeAlias = Annotated[TextPart | MediaPart, Field(discriminator="type")]


class _Sent(_Model):
    """What messages have in common.

    Attributes:
        id: Names the message.
        subagent_run_id: The nested run that it belongs to.
        metadata: What was attached to it, under the name of whoever did.
    """

    id: str = ""
    subagent_run_id: str | None = None
    metadata: dict[str, JsonValue] | None = None


class InstructionMessage(_Sent):
    """Instructions of the application."""

    role: Literal["system", "developer"]
    content: str


class UserMessage(_Sent):
    """What the user says."""

    role: Literal["user"]
    content: str | list[Part]


class FunctionCall(_Model):
    """A tool and its arguments, as the model wrote them."""

    name: str
    arguments: str = ""


class SentToolCall(_Model):
    """A call of a tool."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall
    metadata: dict[str, JsonValue] | None = None


class AssistantMessage(_Sent):
    """What the agent has said, and the tools it has called."""

    role: Literal["assistant"]
    content: str | None = None
    tool_calls: list[SentToolCall] | None = None


class ToolMessage(_Sent):
    """The result of one call."""

    role: Literal["tool"]
    content: str | list[Part]
    tool_call_id: str
    error: str | None = None


class ReasoningMessage(_Sent):
    """What the agent has thought."""

    role: Literal["reasoning"]
    content: str = ""
    encrypted_value: str | None = None


class ActivityMessage(_Sent):
    """Progress, which is the client's to show and not the agent's to read."""

    role: Literal["activity"]


SentMessage: TypeAlias = Annotated[
    InstructionMessage | UserMessage | AssistantMessage | ToolMessage | ReasoningMessage | ActivityMessage,
    Field(discriminator="role"),
]


class SentTool(_Model):
    """A tool that the client would run."""

    name: str


class Context(_Model):
    """Something that the model should know."""

    description: str
    value: str


class ResumeEntry(_Model):
    """The answer to one interrupt."""

    interrupt_id: str
    status: Literal["resolved", "cancelled"]
    payload: JsonValue = None


class RunAgentInput(_Model):
    """A request to run an agent.

    Attributes:
        thread_id: The conversation, which is the client's.
        run_id: The client's name for this answer.
        parent_run_id: The client's name for the answer that it branches from.
        messages: The whole conversation, oldest first.
        tools: Must be empty: the agent has its own.
        context: What the model should know besides.
        forwarded_props: `{"becket": {"agent": "..."}}` asks for an agent by name; the rest is ignored.
        state: Ignored: becket shares no state with a client.
        resume: The answers to the interrupts of the answer before.
    """

    thread_id: str
    run_id: str
    parent_run_id: str | None = None
    messages: list[SentMessage]
    tools: list[SentTool] | None = None
    context: list[Context] | None = None
    forwarded_props: Any = None
    state: Any = None
    resume: list[ResumeEntry] | None = None
