"""Errors survive what hosts do with them: they are pickled by process pools, and copied."""

from __future__ import annotations

import copy
import pickle

import becket
import pytest
from becket import (
    BecketError,
    ConfigError,
    EventsDropped,
    OutputError,
    PluginError,
    ProtocolError,
    ProviderError,
    RequestError,
    SessionError,
    ToolError,
)

ERRORS = [
    ConfigError("a"),
    EventsDropped("g", run_id="run", after=1, dropped=7),
    RequestError("h", status=429, code="busy", retry_after=1.0, members={"limit": 3}),
    ProtocolError("b"),
    SessionError("s", session_id="chat", running="run"),
    ToolError("c"),
    OutputError("f", text="{}", reason="name: missing; it is required"),
    PluginError("d", plugin="weather", distribution="becket-weather 1.0", hook="register_tools"),
    ProviderError("e", provider="vendor", status=429, retryable=True, retry_after=2.5, code="busy", request_id="req_1"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_is_pickled_and_copied_whole(error: BecketError) -> None:
    for made in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):  # noqa: S301  our own
        assert type(made) is type(error)
        assert str(made) == str(error)
        assert vars(made) == vars(error)


def test_one_base_catches_every_error_of_becket() -> None:
    public = [getattr(becket, name) for name in becket.__all__]
    errors = [one for one in public if isinstance(one, type) and issubclass(one, Exception)]
    assert len(errors) == len(ERRORS) + 1
    assert all(issubclass(error, BecketError) for error in errors)


@pytest.mark.parametrize(("last", "more"), [(None, {}), (9, {"last": 9})])
def test_a_client_is_told_which_events_are_gone_and_where_to_go_on(last: int | None, more: dict[str, int]) -> None:
    dropped = EventsDropped("they are gone", run_id="r", after=2, dropped=5)
    error = RequestError.events_dropped(dropped, last=last)
    assert str(error) == "the events 3 to 5 of the run r are no longer kept; go on after 5"
    assert (error.status, error.code) == (410, "events_dropped")
    assert error.members == {"after": 2, "dropped": 5, "first": 6, **more}


def test_a_client_is_told_that_nobody_asks_what_it_answers() -> None:
    error = RequestError.unknown_decision("x" * 1000)
    assert (error.status, error.code) == (409, "unknown_decision")
    assert f"nothing waits for a decision on '{'x' * 100}': it was made" in str(error)
