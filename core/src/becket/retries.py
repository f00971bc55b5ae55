"""When a call that failed is made again: a model call, or a tool call that may be repeated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from becket.errors import ConfigError, ProtocolError

if TYPE_CHECKING:
    from becket.errors import ProviderError, ToolError

__all__ = ["Backoff", "RetryPolicy", "asked"]


@runtime_checkable
class RetryPolicy(Protocol):
    """Decides whether a call that failed is made again, and when. Each retry is said as a `retry_scheduled` event.

    Asked about a model call only where nothing of the answer was emitted yet: a reader cannot be made to forget text.
    The next one is a new `attempt`. Asked about a tool call only where the tool is `idempotent`, and has raised a
    `ToolError` that says `retryable`; the next one has the same key, and the tool's time limit is for all together.
    """

    def delay(self, error: ProviderError | ToolError, attempt: int, /) -> float | None:
        """Seconds to wait before the call is made again; None to let it fail.

        Args:
            error: What went wrong; `retryable` and `retry_after` are the service's own word, or the tool's.
            attempt: The attempt that failed, from 1.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Try again what is retryable, waiting longer each time, or as long as the service says.

    The waits before the second attempt, the third, ... are `first`, `first * factor`, ..., at most `most` seconds, each
    shortened at random to between half of it and all of it, so that many runs that failed together do not come back
    together. A service that asks for more than `most` is not waited for: the run fails, and the host decides.

    Attributes:
        attempts: Attempts in all, the first included.
        first: Seconds before the second attempt.
        factor: How many times longer each wait is than the one before.
        most: The longest wait, in seconds.
    """

    attempts: int = 3
    first: float = 0.5
    factor: float = 2.0
    most: float = 30.0

    def __post_init__(self) -> None:
        for name, least in (("attempts", 1), ("first", 0), ("factor", 1), ("most", 0)):
            if not least <= getattr(self, name) < math.inf:
                raise ConfigError(
                    f"{name} of Backoff is {getattr(self, name)}; it must be {least} or above, and finite"
                )

    def delay(self, error: ProviderError | ToolError, attempt: int, /) -> float | None:
        """The wait; None where the error is not retryable, the attempts are used up, or the service asks for more."""
        if not error.retryable or attempt >= self.attempts:
            return None
        if error.retry_after is not None:
            return max(0.0, error.retry_after) if error.retry_after <= self.most else None
        import random

        wait = min(self.most, self.first * self.factor ** (attempt - 1))
        return wait * random.uniform(0.5, 1)  # noqa: S311  spreads load, guards nothing


def asked(retry: RetryPolicy, error: ProviderError | ToolError, attempt: int) -> float | None:
    """What the policy says; see `RetryPolicy.delay`.

    Raises:
        ProtocolError: It is no time that can be waited for. The error that it was asked about is its cause.
        Exception: Whatever the policy raises; the run fails with it.
    """
    delay: object = retry.delay(error, attempt)
    if delay is None or (isinstance(delay, int | float) and 0 <= delay < math.inf):
        return delay
    raise ProtocolError(
        f"delay() of the retry policy {retry!r} returned {delay!r}; it returns seconds from 0, or None for no retry"
    ) from error
