"""Whose time is over, who has lasted, and who waits for room."""

from types import SimpleNamespace
from typing import cast

from farandole.runtime.attempts import Attempt
from farandole.runtime.rooms import Rooms
from farandole.runtime.timing import ENDED_MAX, TELL_AGAIN_S, Lasting, Timeouts


def attempt(timeout_s: float | None = None, isolation: str = "thread") -> Attempt:
    """An attempt as far as clocks and rooms look at it."""
    it = SimpleNamespace(
        call=SimpleNamespace(timeout_s=timeout_s),
        spec=SimpleNamespace(isolation=isolation),
        started=None,
        ended=None,
        is_over=False,
    )
    return cast(Attempt, it)


def test_time_counts_from_the_beginning_of_the_handler_not_from_its_handing_over() -> None:
    timeouts, late = Timeouts(), attempt(timeout_s=2.0)
    timeouts.add(late, now=10.0, running=1)
    late.started = 11.0

    assert timeouts.next_due() == 12.0
    assert list(timeouts.over(12.5)) == [], "it began a second later"
    assert timeouts.next_due() == 13.0
    assert list(timeouts.over(13.0)) == [late]
    assert list(timeouts.over(99.0)) == [], "once"


def test_attempts_that_are_over_or_may_last_for_ever_are_never_timed_out() -> None:
    timeouts, over, endless = Timeouts(), attempt(timeout_s=1.0), attempt()
    timeouts.add(over, now=0.0, running=2)
    timeouts.add(endless, now=0.0, running=2)
    over.is_over = True

    assert timeouts.next_due() is None
    assert list(timeouts.over(99.0)) == []


def test_attempts_that_ended_long_before_their_time_are_let_go() -> None:
    timeouts = Timeouts()
    for _ in range(3 * ENDED_MAX):
        quick = attempt(timeout_s=3600.0)
        timeouts.add(quick, now=0.0, running=1)
        quick.is_over = True

    assert len(timeouts._heap) <= ENDED_MAX + 3


def test_attempts_are_told_of_once_they_have_lasted_and_are_still_at_work() -> None:
    lasting, at_work, done, queued = Lasting(1.0), attempt(), attempt(), attempt()
    for each in (at_work, done, queued):
        lasting.add(each, now=0.0)
    at_work.started, done.started, done.ended = 0.0, 0.0, 0.5

    assert list(lasting.ripe(0.9)) == []
    assert list(lasting.ripe(1.0)) == [(at_work, 0.0)]
    queued.started = 1.5
    assert list(lasting.ripe(2.0 + TELL_AGAIN_S)) == [], "it has lasted half a second"
    assert list(lasting.ripe(2.5 + TELL_AGAIN_S)) == [(queued, 1.5)]
    assert list(lasting.ripe(99.0)) == [], "once"


def test_who_tells_of_nothing_keeps_nothing() -> None:
    lasting = Lasting(None)
    lasting.add(attempt(), now=0.0)

    assert not lasting._untold


def test_a_full_pool_holds_up_no_attempt_of_another_isolation() -> None:
    rooms = Rooms()
    first, second, other = attempt(isolation="process"), attempt(isolation="process"), attempt(isolation="thread")
    for each in (first, second, other):
        rooms.wait(each)

    assert list(rooms.freed(lambda each: each.spec.isolation == "thread")) == [other]
    assert rooms.drop(lambda each: each is first) == [first]
    assert rooms.drop(lambda each: each is first) == []
    assert list(rooms.freed(lambda each: True)) == [second]
