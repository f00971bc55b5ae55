"""What the tests of becket-google share: a stream's events as the message that a run makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from becket import ModelFinished, ProviderError
from becket.events import CycleStarted, ModelStarted, RunStarted
from becket.turn import Turn
from becket_google._answer import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from becket import Message, ModelEvent
    from becket_wire import ErrorDetails


class Failures:
    """Words errors shortly, as a reply would at length."""

    def broken(self, error: ErrorDetails) -> ProviderError:
        return ProviderError(error.message, status=error.status, retryable=bool(error.retryable), code=error.code)

    def cut_off(self, what: str) -> ProviderError:
        return ProviderError(f"ended without {what}", retryable=True)

    def unreadable(self, data: bytes, error: Exception) -> ProviderError:
        return ProviderError(f"cannot be read: {error}: {data!r}", retryable=True)


@pytest.fixture(scope="session")
def new_answer() -> Callable[..., Answer]:
    """Makes what reads an answer."""

    def make(unknown: Callable[[str], object] = lambda _: None) -> Answer:
        return Answer(Failures(), provider="google", own_id="google-call-1-", unknown=unknown)

    return make


@pytest.fixture(scope="session")
def message_of() -> Callable[[Iterable[ModelEvent]], Message]:
    """Makes the message of a run of the events of one model call."""

    def make(events: Iterable[ModelEvent]) -> Message:
        turn: Any = Turn("run")
        begun = RunStarted("agent", "google:model", ()), CycleStarted(), ModelStarted("google:model", 0)
        for event in (*begun, *events):
            if not isinstance(event, ModelFinished):
                turn.receive(event)
        message: Message = turn.answer()
        return message

    return make
