"""Every error that becket raises, and whose bug each one is.

::

    BecketError
    |-- ConfigError      yours: an option, a name, a signature
    |-- PluginError      a plugin's: it could not be loaded, or its code failed
    |-- ProtocolError    a component's: it broke the contract it is called by
    |-- ProviderError    the remote side's: a model service refused or failed
    |-- OutputError      the model's: its answer never fitted the type that was asked for
    |-- SessionError     a conversation's: another run goes on in it, it was changed elsewhere, or its store failed
    |-- RequestError     a client's: what it sent to a server cannot be served
    |-- EventsDropped    a reader's: it comes back too late, events that it has not seen are no longer there
    `-- ToolError        raised by a tool on purpose: its text goes to the model

A message says what happened, who it concerns, and what to do next.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from becket._values import JsonValue

__all__ = [
    "BecketError",
    "ConfigError",
    "EventsDropped",
    "OutputError",
    "PluginError",
    "ProtocolError",
    "ProviderError",
    "RequestError",
    "SessionError",
    "ToolError",
]


class BecketError(Exception):
    """The base of every error that becket raises on its own account."""


class ConfigError(BecketError):
    """What the caller asked for cannot be done as asked: an unknown name, a bad option, a bad signature."""


class PluginError(BecketError):
    """A plugin could not be loaded, or its code failed where a run cannot go on without it.

    Attributes:
        plugin: The plugin's name.
        distribution: The installed distribution it came from, with its version; None for a plugin passed as an object.
        hook: The hook that failed, or None.
    """

    def __init__(self, message: str, *, plugin: str, distribution: str | None = None, hook: str | None = None) -> None:
        super().__init__(message)
        self.plugin = plugin
        self.distribution = distribution
        self.hook = hook

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is unpickled from its positional arguments, and `plugin` is none.
        return functools.partial(type(self), plugin=self.plugin), self.args, self.__dict__


class ProtocolError(BecketError):
    """A component broke its contract: an illegal event, a stream without an end, a result for no call."""


class ProviderError(BecketError):
    """The model service, or the engine behind a provider, refused or failed.

    Attributes:
        provider: The provider's name, empty if the raiser did not know it.
        status: The HTTP status, or None where there was none.
        retryable: Whether the same request may succeed later.
        retry_after: Seconds to wait before asking again, as the service said, or None.
        code: The service's own word for what went wrong, such as `rate_limit_exceeded`, or None.
        request_id: What the service calls the request, to be told to its support, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        status: int | None = None,
        retryable: bool = False,
        retry_after: float | None = None,
        code: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.status = status
        self.retryable = retryable
        self.retry_after = retry_after
        self.code = code
        self.request_id = request_id


class OutputError(BecketError):
    """The model gave no structured output that fits, and was told why as often as the host allows.

    Attributes:
        text: What it gave last: its text, or the arguments of its call as JSON.
        reason: Why that does not fit, as the model was told it before.
    """

    def __init__(self, message: str, *, text: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.text = text
        self.reason = reason


class SessionError(BecketError):
    """A session cannot be used now: another run goes on in it, it was changed elsewhere, or its store failed.

    Where the store failed, what it raised is the cause.

    Attributes:
        session_id: The session.
        running: The id of the run that goes on in it, or None where that is not what is wrong.
    """

    def __init__(self, message: str, *, session_id: str, running: str | None = None) -> None:
        super().__init__(message)
        self.session_id = session_id
        self.running = running

    def __reduce__(self) -> tuple[Any, ...]:
        # As for PluginError.
        return functools.partial(type(self), session_id=self.session_id), self.args, self.__dict__


class RequestError(BecketError):
    """A client's request cannot be served as it is. Its text is what the client gets to read.

    Attributes:
        status: The HTTP status, from 400.
        code: A word for programs, such as `unknown_agent`.
        retry_after: Seconds after which the same request may succeed, or None.
        members: What else the body of the answer says, as JSON.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        code: str = "bad_request",
        retry_after: float | None = None,
        members: Mapping[str, JsonValue] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after
        self.members: Mapping[str, JsonValue] = members or {}

    @classmethod
    def events_dropped(cls, error: EventsDropped, *, last: int | None = None) -> RequestError:
        """For a client that asks for events, or goes on with some, which are no longer kept; status 410.

        Args:
            error: What its reader was told.
            last: The `seq` of the run's last event so far, where that is known.
        """
        members: dict[str, JsonValue] = {"after": error.after, "dropped": error.dropped, "first": error.dropped + 1}
        return cls(
            f"the events {error.after + 1} to {error.dropped} of the run {error.run_id} are no longer kept; "
            f"go on after {error.dropped}",
            status=410,
            code="events_dropped",
            members=members if last is None else {**members, "last": last},
        )

    @classmethod
    def unknown_decision(cls, request_id: str) -> RequestError:
        """For a client that answers what nobody asks; status 409."""
        return cls(
            f"nothing waits for a decision on {request_id[:100]!r}: it was made, it has lapsed, or the run is over",
            status=409,
            code="unknown_decision",
        )


class EventsDropped(BecketError):  # noqa: N818  what has become of them; the reader made no mistake
    """A reader asks for events of a run that are no longer kept.

    Attributes:
        run_id: The run.
        after: The last `seq` that the reader has seen.
        dropped: The last `seq` that is gone; the reader can go on after that.
    """

    def __init__(self, message: str, *, run_id: str, after: int, dropped: int) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.after = after
        self.dropped = dropped

    def __reduce__(self) -> tuple[Any, ...]:
        # As for PluginError.
        made = functools.partial(type(self), run_id=self.run_id, after=self.after, dropped=self.dropped)
        return made, self.args, self.__dict__


class ToolError(BecketError):
    """Raised by a tool on purpose: the text is what the model gets to read.

    Attributes:
        retryable: Whether the same call may succeed later. A tool that is `idempotent` is then called again, under the
            same key, as the run's retry policy says; one that is not is never called again by itself.
        retry_after: Seconds to wait before that, or None.
    """

    def __init__(self, message: str = "", *, retryable: bool = False, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after = retry_after
