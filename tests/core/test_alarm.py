"""The time limits of a run, on one timer; with a backend whose time the test tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from becket._alarm import Alarm

if TYPE_CHECKING:
    from collections.abc import Callable


class Clockwork:
    """A backend that keeps the timers that are set, and rings when it is told."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Callable[[], None]:
        timer = (seconds, callback)
        self.timers.append(timer)
        return lambda: self.timers.remove(timer)

    def ring(self) -> None:
        self.timers.pop()[1]()


@pytest.fixture
def clock() -> Clockwork:
    return Clockwork()


@pytest.fixture
def alarm(clock: Clockwork) -> Alarm:
    backend: Any = clock
    return Alarm(backend)


def test_limits_later_than_the_first_set_no_timer_of_their_own(alarm: Alarm, clock: Clockwork) -> None:
    for seconds in (10, 20, 30):
        alarm.after(seconds, print)
    assert [round(seconds) for seconds, _ in clock.timers] == [10]


def test_a_limit_before_the_timer_moves_it(alarm: Alarm, clock: Clockwork) -> None:
    alarm.after(10, print)
    alarm.after(5, print)
    assert [round(seconds) for seconds, _ in clock.timers] == [5]


def test_what_is_due_is_called_and_the_timer_set_for_the_rest(alarm: Alarm, clock: Clockwork) -> None:
    rung: list[str] = []
    alarm.after(0, lambda: rung.append("now"))
    alarm.after(60, lambda: rung.append("later"))
    clock.ring()
    assert rung == ["now"]
    assert [round(seconds) for seconds, _ in clock.timers] == [60]


def test_what_was_forgotten_is_not_called_and_the_last_ring_sets_nothing(alarm: Alarm, clock: Clockwork) -> None:
    rung: list[str] = []
    forget = alarm.after(0, lambda: rung.append("forgotten"))
    forget()
    forget()  # the second changes nothing
    clock.ring()
    assert rung == []
    assert clock.timers == []


def test_one_that_rings_may_have_another_forgotten_and_set_its_own(alarm: Alarm, clock: Clockwork) -> None:
    rung: list[str] = []

    def first() -> None:
        rung.append("first")
        forget_second()
        alarm.after(5, lambda: rung.append("third"))

    alarm.after(0, first)
    forget_second = alarm.after(0, lambda: rung.append("second"))
    clock.ring()
    assert rung == ["first"]
    assert len(clock.timers) == 1


def test_closed_it_leaves_no_timer(alarm: Alarm, clock: Clockwork) -> None:
    alarm.after(5, print)
    alarm.close()
    assert clock.timers == []
    alarm.close()  # nothing more to stop
