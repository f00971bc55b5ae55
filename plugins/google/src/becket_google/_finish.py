"""Why an answer ended: what becket makes of each `finishReason` of the service's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from becket_wire import ErrorDetails

if TYPE_CHECKING:
    from becket import StopReason

    from becket_google._chunks import Candidate

__all__ = ["FILTERED", "STOPS", "failure"]

FILTERED: Final = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "MODEL_ARMOR",
        "ESCALATION",
    }
)
"""The service holds the answer, or the rest of it, back."""

STOPS: Final[dict[str, StopReason]] = {
    "STOP": "end_turn",  # for a stop sequence, too
    "MAX_TOKENS": "max_tokens",
    "CONTINUATION": "max_tokens",  # the service's own limit of one request
    **dict.fromkeys(FILTERED, "content_filtered"),
}

_LASTING: Final = frozenset({"MISSING_THOUGHT_SIGNATURE", "PUP_LIMITED_DISABLED", "TOO_MANY_TOOL_CALLS"})
"""Asked again as it is, the service says the same."""

_MEANING: Final = {
    "MALFORMED_FUNCTION_CALL": "the model wrote a function call that cannot be read",
    "UNEXPECTED_TOOL_CALL": "the model called a function that it was not offered",
    "TOO_MANY_TOOL_CALLS": "the service's own tools were called too often before an answer came",
    "MALFORMED_RESPONSE": "the model's answer cannot be read",
    "MISSING_THOUGHT_SIGNATURE": "a call in the history lacks the signature of the thought that led to it",
    "PUP_LIMITED_DISABLED": "the account is limited for breaking the service's rules",
    "NO_IMAGE": "the model was to make an image, and made none",
    "OTHER": "the answer ended, and the service does not say why",
}


def failure(candidate: Candidate) -> ErrorDetails | None:
    """What is wrong with an answer that ended so; None where it is an answer."""
    reason = candidate.finish_reason or ""
    if reason in STOPS:
        return None
    message = _MEANING.get(reason, "the answer ended for a reason that is not known here")
    if candidate.finish_message:
        message = f"{message}: {candidate.finish_message}"
    return ErrorDetails(message=message, code=reason, retryable=reason not in _LASTING)
