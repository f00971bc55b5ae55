"""What Google's services say went wrong."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
from becket_wire import ErrorDetails

from becket_google._chunks import ErrorBody  # noqa: TC001  msgspec looks at the annotations

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["explain", "in_words"]

KEY_ADVICE: Final = "check the key: GOOGLE_API_KEY, or GEMINI_API_KEY, or [plugins.google] api_key"
_OF_THE_BETA: Final = (
    'names that follow the newest model are known in the beta alone: api_version = "beta" in [plugins.google]'
)

_KEY_REASONS: Final = frozenset({"API_KEY_INVALID", "API_KEY_EXPIRED", "API_KEY_SERVICE_BLOCKED", "API_KEY_MISSING"})
_NO_TOOLS: Final = re.compile(r"function calling is not (?:enabled|supported)|tool use is not supported", re.IGNORECASE)
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)s")


class _Document(msgspec.Struct):
    error: ErrorBody


_ONE: Final = msgspec.json.Decoder(_Document)
_SEVERAL: Final = msgspec.json.Decoder(list[_Document])


def explain(status: int, body: bytes) -> ErrorDetails | None:
    """What an error document says: `{"error": …}`, or a list of one, as without `alt=sse`. None for anything else."""
    try:
        documents = _SEVERAL.decode(body) if body.lstrip()[:1] == b"[" else [_ONE.decode(body)]
    except (ValueError, RecursionError):  # msgspec's own is a ValueError, and so is that of UTF-8
        return None
    return in_words(documents[0].error, status) if documents else None


def in_words(error: ErrorBody, status: int | None = None) -> ErrorDetails:
    """An error of the service's. `status` is that of the reply, None where a stream carries it."""
    details = error.details or []
    code = next(_each(details, "ErrorInfo", "reason"), None)
    code = code if code in _KEY_REASONS else error.status
    message = error.message or ""
    daily = _daily(details)
    return ErrorDetails(
        message=message,
        code=code,
        retryable=False if daily else None,
        status=error.code or status,
        retry_after=_retry_delay(details),
        advice=_advice(code, message, daily),
    )


def _advice(code: str | None, message: str, daily: str | None) -> str:
    if code in _KEY_REASONS or code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return KEY_ADVICE
    if daily:
        return f"{daily} counts by the day: wait for the next, or ask for more"
    if code == "NOT_FOUND":
        return _OF_THE_BETA if "-latest" in message else "becket models google lists the names that there are"
    if _NO_TOOLS.search(message):
        return "take a model that can call functions, or an agent without tools"
    return ""


def _each(details: list[dict[str, Any]], kind: str, name: str) -> Iterator[Any]:
    """The field `name` of the details of this kind; they name it as `type.googleapis.com/google.rpc.RetryInfo`."""
    for item in details:
        if str(item.get("@type", "")).rpartition(".")[2] == kind and name in item:
            yield item[name]


def _retry_delay(details: list[dict[str, Any]]) -> float | None:
    """Seconds of `RetryInfo.retryDelay`, a duration such as `3.5s`."""
    for given in _each(details, "RetryInfo", "retryDelay"):
        if isinstance(given, str) and (match := _DURATION.fullmatch(given)):
            return float(match[1])
    return None


def _daily(details: list[dict[str, Any]]) -> str | None:
    """The quota of a day that is used up: no wait of seconds or minutes helps, whatever `RetryInfo` says."""
    for violations in _each(details, "QuotaFailure", "violations"):
        for violation in violations if isinstance(violations, list) else ():
            quota = str(violation.get("quotaId", "")) if isinstance(violation, dict) else ""
            if "PerDay" in quota:
                return quota
    return None
