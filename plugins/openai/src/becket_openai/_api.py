"""What the two APIs of the service have in common: a request is written, and what comes back is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from becket import ModelEvent, ModelFinished, ModelRequest, ProviderError
    from becket_wire import ErrorDetails

__all__ = ["Answer", "Api", "Failures"]


class Failures(Protocol):
    """Makes the errors of one answer; `becket_wire.Reply` is one."""

    def broken(self, error: ErrorDetails, /) -> ProviderError:
        """For an error that the stream itself carries."""
        ...

    def cut_off(self, what: str, /) -> ProviderError:
        """For a stream that ended before it was complete."""
        ...

    def unreadable(self, data: bytes, error: Exception, /) -> ProviderError:
        """For an event that is no JSON, or not what it should be."""
        ...


class Answer(Protocol):
    """One answer as it comes in. It awaits nothing.

    Attributes:
        done: Whether it is complete: what follows in the stream need not be waited for.
    """

    done: bool

    def take(self, data: bytes, /) -> Iterable[ModelEvent]:
        """What the data of one server-sent event comes to.

        Raises:
            ProviderError: It is an error, or cannot be read.
        """
        ...

    def finish(self) -> ModelFinished:
        """How the answer ended, once the stream has.

        Raises:
            ProviderError: The stream ended before the answer did.
        """
        ...


class Api(Protocol):
    """One of the APIs, of one endpoint; it serves every run, and keeps nothing of one but in `request.kept`.

    Attributes:
        path: Its path below the base URL.
    """

    path: str

    def encode(self, request: ModelRequest, /) -> list[bytes]:
        """The body of a request, in pieces.

        Raises:
            ConfigError: The request holds what the API does not take.
        """
        ...

    def answer(self, request: ModelRequest, failures: Failures, /) -> Answer:
        """What reads the answer to a request."""
        ...
