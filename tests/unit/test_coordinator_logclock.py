"""The coordinator's sense of now: monotone, and slewed to the wall by at most a tenth."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from farandole.coordinator.logclock import SLEW, Instants, LogClock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
STEPS = st.lists(st.tuples(st.floats(0, 1e5), st.floats(-1e6, 1e6)), min_size=1, max_size=30)


def s(seconds: float) -> timedelta:
    """Seconds as a duration."""
    return timedelta(seconds=seconds)


@given(STEPS, st.floats(0, 1e6), st.integers(-3600, 3600))
def test_clock_never_goes_back_and_is_slewed_by_at_most_a_tenth(
    steps: list[tuple[float, float]], monotonic: float, ahead: int
) -> None:
    clock = LogClock()
    clock.raise_to(NOON + s(ahead))
    before = clock.tell(NOON, monotonic)

    for passed, wall in steps:
        monotonic += passed
        told = clock.tell(NOON + s(wall), monotonic)
        assert s(passed) * (1 - SLEW) - s(1e-3) <= told - before <= s(passed) * (1 + SLEW) + s(1e-3)
        assert told >= before
        before = told


def test_clock_begins_at_the_wall_where_nobody_was_ahead_of_it() -> None:
    clock = LogClock()
    clock.raise_to(NOON - s(5))

    assert clock.tell(NOON, 0.0) == NOON


def test_clock_begins_at_what_a_predecessor_told_where_that_was_later() -> None:
    clock = LogClock()
    clock.raise_to(NOON + s(5))

    assert clock.tell(NOON, 7.0) == NOON + s(5)


def test_clock_goes_on_from_a_monotonic_zero() -> None:
    """Zero meant that it had not begun: the first stretch of time was lost, or the wall was believed again."""
    clock = LogClock()
    clock.raise_to(NOON + s(100))
    clock.tell(NOON, 0.0)

    assert clock.tell(NOON + s(10), 10.0) == NOON + s(109)


def test_clock_waits_for_a_wall_that_lags_and_meets_it() -> None:
    clock = LogClock()
    clock.raise_to(NOON + s(10))
    clock.tell(NOON, 1.0)

    assert clock.tell(NOON + s(50), 51.0) == NOON + s(55)
    assert clock.tell(NOON + s(150), 151.0) == NOON + s(150)


def test_clock_does_not_follow_a_wall_that_is_set_back_or_leaps() -> None:
    clock = LogClock()
    clock.tell(NOON, 1.0)

    assert clock.tell(NOON - s(3600), 2.0) == NOON + s(0.9)
    assert clock.tell(NOON + s(86_400), 3.0) == NOON + s(2)


def test_clock_is_raised_when_another_home_is_taken_over() -> None:
    clock = LogClock()
    clock.tell(NOON, 1.0)

    clock.raise_to(NOON + s(30))

    assert clock.tell(NOON + s(1), 2.0) == NOON + s(30.9)


class Hands:
    """Two clocks that move when they are told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        """The wall clock."""
        return NOON + s(self.seconds)

    def monotonic(self) -> float:
        """The other one."""
        return self.seconds


def test_instant_is_one_until_the_next_wait_and_never_before_what_a_predecessor_told() -> None:
    hands = Hands()
    instants = Instants(hands)
    assert instants.now() == NOON

    hands.seconds = 1.0
    assert instants.now() == NOON, "nobody has waited"
    instants.waited()
    assert instants.now() == NOON + s(1)

    instants.raise_to(NOON + s(60))
    assert instants.now() == NOON + s(60), "in this very step"
