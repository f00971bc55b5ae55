"""The wire: what joins the reading of a request and the writing of its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from becket import RunInfo
    from becket.wires import Encoder, RunRequest

__all__ = ["AiSdkWire"]


class AiSdkWire:
    """Version 1 of the UI message stream, which `useChat` and `DefaultChatTransport` of the AI SDK 7 speak.

    The client sends the whole conversation each time. What it says of earlier answers is taken as it stands: who can
    send a request can write a history of their own.
    """

    name = "aisdk"
    path = "/aisdk"
    media_type = "text/event-stream"
    asks = True

    @property
    def request_model(self) -> type:
        """What `DefaultChatTransport` posts; members of other names are let through."""
        from becket_aisdk._models import ChatRequest

        return ChatRequest

    def read(self, body: Any, /) -> RunRequest:
        """The run that the messages ask for: a new one, or one that waits for the approvals they respond to.

        Raises:
            RequestError: A message cannot be said in becket's terms, or the last one asks for nothing.
        """
        from becket_aisdk._read import run_request

        return run_request(body)

    def open(self, body: Any, run: RunInfo, /, *, accept: str = "") -> Encoder:  # noqa: ARG002  as it says
        """An encoder; for approvals that were responded to, one that goes on with the same message.

        Args:
            body: As for `read`; None for a new answer.
            run: The run.
            accept: Not looked at: there is one form.
        """
        from becket_aisdk._earlier import earlier_answer
        from becket_aisdk._encoder import ChunkEncoder

        return ChunkEncoder(run, None if body is None else earlier_answer(body))
