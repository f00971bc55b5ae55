"""What a service says went wrong, as a `ProviderError`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, TypeAlias

from becket import ProviderError

__all__ = ["ErrorDetails", "Explain", "Failure", "Voice", "mask_secrets", "retry_after", "secrets_of"]

RETRYABLE: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Statuses after which the same request may succeed later: RFC 9110 and 6585, and 529, by which services say that they
are overloaded."""

REQUEST_IDS: Final = (
    "x-request-id",
    "request-id",
    "apim-request-id",
    "x-goog-request-id",
    "x-amzn-requestid",
    "cf-ray",
)
"""Headers in which services name a request, for who asks their support about it."""

_SHOULD_RETRY: Final = "x-should-retry"
"""OpenAI's and Anthropic's own word on whether a request is to be sent again: `true` or `false`."""

_SECRET: Final = ("auth", "key", "token", "secret", "cookie", "password")
"""What is in the names of headers that hold secrets."""

_SHORTEST: Final = 8
"""Characters of a secret at least. Local servers are given keys such as `none`, and that is a word."""

_PLAIN: Final = frozenset({"accept", "accept-encoding", "content-type", "user-agent"})

_SHOWN: Final = 600
"""Characters of a body that is no error document of the service's that an error quotes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorDetails:
    """What a service's own error document says.

    Attributes:
        message: Its text, verbatim.
        code: The service's word for what went wrong, such as `rate_limit_exceeded`.
        retryable: Whether the same request may succeed later. None: what its status says.
        status: The status that goes with it, where a stream that began well carries it. None: that of the reply.
        retry_after: Seconds to wait, where the document says so. None: what the headers say.
        advice: What to do next, where that is known.
    """

    message: str
    code: str | None = None
    retryable: bool | None = None
    status: int | None = None
    retry_after: float | None = None
    advice: str = ""


Explain: TypeAlias = Callable[[int, bytes], ErrorDetails | None]
"""Reads the body of a reply with an error status. None: it is no error document of the service's."""


class Failure(Exception):  # noqa: N818  it is turned into a `ProviderError` before anybody sees it
    """A request failed below HTTP.

    Attributes:
        retryable: Whether the same request may succeed later.
    """

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a service asks to wait: `retry-after-ms`, or `retry-after` as seconds or as a date (RFC 9110)."""
    try:
        return max(0.0, float(headers["retry-after-ms"]) / 1000)
    except (KeyError, ValueError):
        pass
    given = headers.get("retry-after", "")
    try:
        seconds = float(given)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(given).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return None
    return max(0.0, seconds) if seconds == seconds and seconds < float("inf") else None  # noqa: PLR0124  no NaN


def secrets_of(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The secret values among a request's headers, by the headers' names, word by word.

    Before a key may be its scheme, and in one that was copied wrongly a space.
    """
    found = []
    for name, value in headers.items():
        lower = name.lower()
        if lower not in _PLAIN and any(part in lower for part in _SECRET):
            found += [word for word in value.split() if len(word) >= _SHORTEST]
    return tuple(found)


def mask_secrets(text: str, secrets: tuple[str, ...]) -> str:
    """`text` with each of `secrets` replaced: some services quote the key that they refuse."""
    for secret in secrets:
        text = text.replace(secret, "[secret]")
    return text


class Voice:
    """Words the errors of one reply.

    Args:
        provider: The provider's name.
        status: The status of the reply.
        headers: Its headers, by lower-case name.
        sent: The headers of the request: no error holds what is secret in them.
    """

    __slots__ = ("_headers", "_sent", "provider", "request_id", "status")

    def __init__(self, provider: str, status: int, headers: Mapping[str, str], sent: Mapping[str, str]) -> None:
        self.provider = provider
        self._headers = headers
        self._sent = sent
        self.status = status
        self.request_id = next((headers[name] for name in REQUEST_IDS if name in headers), None)

    def of(self, details: ErrorDetails, *, during: bool = False) -> ProviderError:
        """The error of a service's own document; `during`: it came in a stream that had begun well."""
        status = details.status or (None if during else self.status)
        said = f"{self.provider} {'broke off with' if during else 'answered'} {self._title(status, details.code)}"
        retryable = details.retryable
        if retryable is None:
            retryable = self._retryable(status)
        elif not during and self._headers.get(_SHOULD_RETRY) == "false":
            retryable = False  # it knows better than its words for such errors tell, such as that a tool was called
        wait = details.retry_after if details.retry_after is not None else retry_after(self._headers)
        text = f"{said}: {details.message.strip() or 'it gives no reason'}"
        return self.make(text, details.advice, status=status, retryable=retryable, wait=wait, code=details.code)

    def unexplained(self, body: bytes, advice: str) -> ProviderError:
        """The error of a status whose body is no error document."""
        shown = " ".join(body.decode("utf-8", "replace").split())
        shown = f"{shown[:_SHOWN]}…" if len(shown) > _SHOWN else shown or "an empty body"
        return self.make(
            f"{self.provider} answered {self._title(self.status, None)}: {shown}",
            advice,
            status=self.status,
            retryable=self._retryable(self.status),
            wait=retry_after(self._headers),
        )

    def make(
        self,
        text: str,
        advice: str = "",
        *,
        retryable: bool,
        status: int | None = None,
        wait: float | None = None,
        code: str | None = None,
    ) -> ProviderError:
        """An error with what to do next, and the id of the request, in its text."""
        ended = text.endswith((".", "!", "?"))  # services end theirs as a sentence, or do not
        if self.request_id:
            text = f"{text} (request {self.request_id})"
        if advice:
            text = f"{text} {advice[0].upper()}{advice[1:]}" if ended else f"{text}; {advice}"
        return ProviderError(
            mask_secrets(text, secrets_of(self._sent)),
            provider=self.provider,
            status=status,
            retryable=retryable,
            retry_after=wait if retryable else None,
            code=code,
            request_id=self.request_id,
        )

    def _retryable(self, status: int | None) -> bool:
        match self._headers.get(_SHOULD_RETRY):
            case "true":
                return True
            case "false":
                return False
        return status in RETRYABLE

    @staticmethod
    def _title(status: int | None, code: str | None) -> str:
        if status is None:
            return f"an error ({code})" if code else "an error"
        try:
            words = code or HTTPStatus(status).phrase
        except ValueError:
            words = code or ""
        return f"{status} ({words})" if words else str(status)
