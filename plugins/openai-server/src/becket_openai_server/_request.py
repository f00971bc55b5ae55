"""What a client may send, as pydantic validates it. Imported with the first request: pydantic takes 100 ms.

What is not here is left alone, as is what has no say in becket, such as `user` or `store`. What is here and refused is
here so that a client that asks for it hears that it does not get it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, Discriminator, Field, Tag

__all__ = [
    "AssistantMessage",
    "AudioPart",
    "Call",
    "ChatRequest",
    "Content",
    "FilePart",
    "ImagePart",
    "InstructionMessage",
    "Part",
    "RefusalPart",
    "RequestMessage",
    "TextPart",
    "ToolMessage",
    "UserMessage",
]


class TextPart(BaseModel):
    """Text."""

    type: Literal["text"]
    text: str


class RefusalPart(BaseModel):
    """What an assistant has said where it refused."""

    type: Literal["refusal"]
    refusal: str


class ImageUrl(BaseModel):
    """Where an image is."""

    url: str = Field(description="An https URL, which the model's service fetches, or a data URL with base64 in it")


class ImagePart(BaseModel):
    """An image."""

    type: Literal["image_url"]
    image_url: ImageUrl


class Audio(BaseModel):
    """Sound in base64."""

    data: str
    format: Literal["wav", "mp3"]


class AudioPart(BaseModel):
    """Sound."""

    type: Literal["input_audio"]
    input_audio: Audio


class File(BaseModel):
    """A document as a data URL."""

    file_data: str | None = None
    filename: str = ""
    file_id: str | None = Field(None, description="Refused: there are no uploads")


class FilePart(BaseModel):
    """A document."""

    type: Literal["file"]
    file: File


Part: TypeAlias = Annotated[TextPart | ImagePart | AudioPart | FilePart | RefusalPart, Field(discriminator="type")]


def _form(given: object) -> str:
    """Which of its forms a content is meant to have: an error then tells of that one alone."""
    return "text" if isinstance(given, str) else "parts"


Content: TypeAlias = Annotated[Annotated[str, Tag("text")] | Annotated[list[Part], Tag("parts")], Discriminator(_form)]


class InstructionMessage(BaseModel):
    """Instructions, which are added to the agent's own."""

    role: Literal["system", "developer"]
    content: Content


class UserMessage(BaseModel):
    """What the user has said."""

    role: Literal["user"]
    content: Content


class Function(BaseModel):
    """What was called."""

    name: str
    arguments: str = ""


class Call(BaseModel):
    """A tool call of earlier."""

    id: str
    type: Literal["function"] = "function"
    function: Function


class AssistantMessage(BaseModel):
    """What a model has said."""

    role: Literal["assistant"]
    content: Content | None = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None


class ToolMessage(BaseModel):
    """What a tool call of earlier has come to."""

    role: Literal["tool"]
    tool_call_id: str
    content: Content


RequestMessage: TypeAlias = Annotated[
    InstructionMessage | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")
]


class ResponseFormat(BaseModel):
    """The form of the answer."""

    type: str = Field(description="`text`; any other is refused")


class StreamOptions(BaseModel):
    """What a stream has besides the answer."""

    include_usage: bool | None = None


class ChatRequest(BaseModel):
    """A chat completion that is asked for."""

    messages: list[RequestMessage] = Field(min_length=1)
    model: str | None = Field(None, description="The name of an agent; without it, the server's first one answers")
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = Field(None, description="Tokens that one model call may write")
    stop: str | list[str] | None = None
    seed: int | None = None

    n: int | None = Field(None, description="1; any other number is refused")
    tools: list[Any] | None = Field(None, description="Refused: the agent has tools of its own")
    functions: list[Any] | None = Field(None, description="Refused, as `tools`")
    tool_choice: Any = Field(
        None, description="`auto` and `none`, which concern the client's tools; others are refused"
    )
    function_call: Any = Field(None, description="As `tool_choice`")
    response_format: ResponseFormat | None = None
    logprobs: bool | None = Field(None, description="Refused where true")
    top_logprobs: int | None = Field(None, description="Refused where above 0")
    modalities: list[str] | None = Field(None, description="`text`; any other is refused")
    audio: Any = Field(None, description="Refused")
    web_search_options: Any = Field(None, description="Refused")
    moderation: Any = Field(None, description="Refused")

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with a chunk of usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)
