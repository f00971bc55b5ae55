"""The service's errors: `{"type": "error", "error": {"type": ..., "message": ...}, "request_id": ...}`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from becket_wire import ErrorDetails

from becket_anthropic._api import UNREADABLE

if TYPE_CHECKING:
    from becket import ProviderError
    from becket_wire import Explain

    from becket_anthropic._api import Problem

__all__ = ["Faults", "explanation", "in_stream"]

_STATUS: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The status that a type of error has outside of streams: https://platform.claude.com/docs/en/api/errors."""

_PASSING: Final = frozenset({"rate_limit_error", "api_error", "timeout_error", "overloaded_error"})

_ADVICE: Final = {
    402: "look at the plan and the billing of the key's organisation",
    403: "the key has no access to this; look at its workspace, or ask with another",
    413: "a request has 32 MB at most: send less, or large files by their url",
}


class Faults(Protocol):
    """What words the errors of a stream: a `becket_wire.Reply`."""

    def broken(self, error: ErrorDetails, /) -> ProviderError:
        """The error that the stream carries."""
        ...

    def cut_off(self, what: str, /) -> ProviderError:
        """The error of a stream that ended without this."""
        ...

    def unreadable(self, data: bytes, error: Exception, /) -> ProviderError:
        """The error of an event that is not what it should be."""
        ...


def explanation(provider: str, key: str) -> Explain:
    """What reads the service's error documents, or those that a gateway writes nearly so.

    Args:
        provider: The provider's name.
        key: Where its key is set.
    """

    def explain(status: int, body: bytes) -> ErrorDetails | None:
        try:
            document: Any = msgspec.json.decode(body)
        except UNREADABLE:
            return None
        error = document.get("error") if isinstance(document, dict) else None
        if isinstance(error, str):
            error = {"message": error}
        if not isinstance(error, dict) or not isinstance(error.get("message"), str):
            return None
        message, code = error["message"], error.get("type")
        if not isinstance(code, str):
            code = None
        if 200 <= status < 300:  # noqa: PLR2004  an error where an answer should be: its type says its status
            return _typed(code, message)
        return ErrorDetails(message=message, code=code, advice=advice(status, message))

    def advice(status: int, message: str) -> str:
        if status == 401:  # noqa: PLR2004  not authenticated
            return f"check the key: {key}"
        if status == 404 and "model" in message:  # noqa: PLR2004  not found
            return f"'becket models {provider}' lists the models that there are"
        return _ADVICE.get(status, "")

    return explain


def in_stream(problem: Problem | None) -> ErrorDetails:
    """The words of an `error` event."""
    if problem is None:
        return ErrorDetails(message="", retryable=True)
    return _typed(problem.type, problem.message or "")


def _typed(code: str | None, message: str) -> ErrorDetails:
    """An error that no status says more of: its type does."""
    status = _STATUS.get(code or "")
    retryable = code in _PASSING if status is not None else None
    return ErrorDetails(message=message, code=code, status=status, retryable=retryable)
