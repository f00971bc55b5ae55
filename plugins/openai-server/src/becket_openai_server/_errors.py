"""Errors as OpenAI has them: an object with a message, a type, a code, and the parameter at fault."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from becket import RequestError

if TYPE_CHECKING:
    from becket import ErrorInfo

__all__ = ["error_object", "failure_object", "failure_status", "refused"]

_CODES: Final = {
    "unknown_agent": "model_not_found",
    "unauthorized": "invalid_api_key",
}
"""Words of a server for what OpenAI has words of its own for."""

_SERVER_ERROR: Final = 500
_TOO_MANY: Final = 429


def refused(message: str, *, param: str | None = None, code: str | None = None) -> RequestError:
    """An error of the client's, with status 400.

    Args:
        message: What is wrong, and what to do.
        param: The parameter at fault, such as `messages[2].content`.
        code: OpenAI's word for it.
    """
    return RequestError(message, code=code or "invalid_request", members={} if param is None else {"param": param})


def error_object(error: RequestError) -> dict[str, Any]:
    """An error before a run has begun."""
    code = _CODES.get(error.code, error.code)
    param = "model" if code == "model_not_found" else error.members.get("param") or _invalid(error)
    return {"message": str(error), "type": _type(error.status), "param": param, "code": code}


def _invalid(error: RequestError) -> str | None:
    """The member of a body that the server has found invalid first: becket-serve tells `[{at: "messages.0", ...}]`."""
    match error.members.get("errors"):
        case [{"at": str(at)}, *_] if at:
            return at.partition(".")[0]
    return None


def failure_object(error: ErrorInfo) -> dict[str, Any]:
    """What a run has failed with. The code is the model service's own word for it, or else the error's kind."""
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", error.kind).lower()
    return {"message": error.message, "type": _type(_SERVER_ERROR), "param": None, "code": error.code or kind}


def failure_status(error: ErrorInfo) -> int:
    """The HTTP status of a run that has failed before its answer began.

    503 where the model's service may answer another time, 502 where it has refused or failed for good, else 500.
    """
    if error.provider is None and error.kind != "ProviderError":
        return _SERVER_ERROR
    return 503 if error.retryable else 502


def _type(status: int) -> str:
    if status >= _SERVER_ERROR:
        return "server_error"
    return "rate_limit_error" if status == _TOO_MANY else "invalid_request_error"
