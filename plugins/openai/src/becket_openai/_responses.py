"""The Responses API of OpenAI, and of the servers that have it too. Nothing is stored at the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from becket_openai._json import members
from becket_openai._responses_answer import ResponsesAnswer
from becket_openai._responses_request import Kept, options, reasons

if TYPE_CHECKING:
    from becket import ModelRequest

    from becket_openai._api import Failures

__all__ = ["ResponsesApi"]


class ResponsesApi:
    """See `becket_openai._api.Api`.

    Args:
        provider: The provider's name.

    Attributes:
        path: Its path below the base URL.
    """

    path = "responses"

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._warned: set[str] = set()

    def encode(self, request: ModelRequest, /) -> list[bytes]:
        """The body: the input first, which grows at its end, and after it what is the same in every cycle."""
        kept: Kept | None = request.kept.get(self)
        reasoning = reasons(request.model, request.options) is not False
        if kept is None or kept.reasoning is not reasoning:
            kept = request.kept[self] = Kept(self._provider, reasoning=reasoning)
        pieces = kept.transcript.pieces(request.messages)
        same = (request.model, request.system, request.tools, request.options, request.output)
        if kept.rest is None or any(old is not new for old, new in zip(kept.same, same, strict=True)):
            kept.same, kept.rest = same, members(options(request))
        return [b'{"input":[', b",".join(pieces), b"]", kept.rest, b"}"]

    def answer(self, request: ModelRequest, failures: Failures, /) -> ResponsesAnswer:  # noqa: ARG002  as the protocol has it
        """What reads the answer."""
        return ResponsesAnswer(self._provider, failures, self._warned)
