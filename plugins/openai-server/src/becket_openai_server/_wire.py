"""The wire: chat completions, and the documents of the models."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from becket_openai_server._errors import error_object
from becket_openai_server._settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from becket import RequestError, RunInfo
    from becket.wires import Encoder, RunRequest

__all__ = ["ChatCompletions"]


class ChatCompletions:
    """OpenAI's chat completions. A model is an agent, by its name.

    Args:
        settings: What clients see besides the text; None for the text alone.

    Attributes:
        name: `openai`.
        path: `/v1/chat/completions`: a client's base URL ends in `/v1`.
        media_type: That of a stream; an answer in one piece is JSON.
        asks: False: the API has no word for asking, so what would be asked about is denied.
    """

    name = "openai"
    path = "/v1/chat/completions"
    media_type = "text/event-stream"
    asks = False

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._since = int(time.time())

    @property
    def request_model(self) -> type:
        """A request, as OpenAI's clients send it; members that are not known are left alone."""
        from becket_openai_server._request import ChatRequest  # with pydantic, which takes 100 ms

        return ChatRequest

    def read(self, body: Any, /) -> RunRequest:
        """The run that a request asks for.

        Args:
            body: An instance of `request_model`.

        Raises:
            RequestError: It asks for what an agent does not give, such as calls of the client's own tools, or its
                conversation is none that can go on. Status 400, as OpenAI has it.
        """
        from becket_openai_server._reading import read

        return read(body)

    def open(self, body: Any, run: RunInfo, /, *, accept: str = "") -> Encoder:  # noqa: ARG002  `stream` decides
        """An encoder of chunks, or of one completion, as the request has it."""
        if body.stream:
            from becket_openai_server._chunks import ChunkEncoder

            return ChunkEncoder(run, self._settings, usage=body.wants_usage)
        from becket_openai_server._completion import CompletionEncoder

        return CompletionEncoder(run, self._settings)

    @staticmethod
    def describe(error: RequestError, /) -> Mapping[str, Any]:
        """OpenAI's `error` member, which its clients take the message from."""
        return {"error": error_object(error)}

    def documents(self, agents: Sequence[str], /) -> Mapping[str, Any]:
        """The models: their list, and each by itself. They are as old as this object."""
        models: dict[str, Any] = {
            name: {"id": name, "object": "model", "created": self._since, "owned_by": "becket"} for name in agents
        }
        listed: dict[str, Any] = {"object": "list", "data": [*models.values()]}
        return {"/v1/models": listed, **{f"/v1/models/{name}": model for name, model in models.items()}}
