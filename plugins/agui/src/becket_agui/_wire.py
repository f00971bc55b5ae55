"""The wire: what it is called, where it is, and who reads and writes for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from becket import RunInfo
    from becket.wires import Encoder, RunRequest

__all__ = ["AgUi"]


class AgUi:
    """AG-UI 1.0 over `text/event-stream`, for `HttpAgent` of `@ag-ui/client` and what is built on it.

    A client brings the whole conversation with each request, so a thread is no session of becket's. Decisions are
    interrupts: the answer ends with what is asked, and the request that resumes goes on with the same run.
    """

    name = "agui"
    path = "/agui"
    media_type = "text/event-stream"
    asks = True

    @property
    def request_model(self) -> type:
        """`RunAgentInput` of the protocol; members that it does not know are ignored."""
        from becket_agui._request import RunAgentInput

        return RunAgentInput

    def read(self, body: Any, /) -> RunRequest:
        """The conversation up to its last message, which is the prompt; or the answers to interrupts.

        Raises:
            RequestError: It does not end with a message of the user, offers tools of the client's own, has content
                that is no text, image or document, or answers in another form than was asked for.
        """
        from becket_agui._reading import run_request

        return run_request(body)

    def open(self, body: Any, run: RunInfo, /, *, accept: str = "") -> Encoder:  # noqa: ARG002  one form
        """The encoder of one answer, which goes on where an interrupted one has ended."""
        from becket_agui._encoder import AgUiEncoder

        return AgUiEncoder(body, run)
