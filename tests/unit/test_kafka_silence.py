"""When a partition has been silent for too long."""

from farandole.transport.kafka.silence import PATIENCE, PATIENCE_MAX, Silence
from farandole.transport.port import TopicPartition

A, B = TopicPartition("t", 0), TopicPartition("t", 1)


def test_what_says_nothing_is_overdue_and_what_has_said_something_is_not() -> None:
    silence = Silence()
    silence.expect([A, B], 0.0)
    silence.heard(B, 4.0)

    assert silence.overdue(PATIENCE - 0.1) == []
    assert silence.overdue(PATIENCE) == [A]


def test_after_an_end_nothing_has_to_come() -> None:
    silence = Silence()
    silence.expect([A], 0.0)
    silence.ended(A)

    assert silence.overdue(1_000.0) == []


def test_after_a_record_another_one_has_to_come_or_the_end() -> None:
    silence = Silence()
    silence.heard(A, 0.0)

    assert silence.overdue(PATIENCE) == [A]


def test_expecting_once_more_does_not_begin_the_wait_anew() -> None:
    """Signs of an outage come once a second while it lasts."""
    silence = Silence()
    for second in range(10):
        silence.expect([A], float(second))

    assert silence.overdue(PATIENCE) == [A]


def test_each_wait_is_twice_as_long_so_that_a_slow_fetch_comes_to_its_end() -> None:
    silence, told = Silence(), []
    silence.expect([A], 0.0)
    for second in range(400):
        if silence.overdue(float(second)):
            told.append(second)

    assert told == [5, 15, 35, 75, 135, 195, 255, 315, 375]
    assert PATIENCE_MAX == 60.0


def test_a_record_makes_the_next_wait_short_again() -> None:
    silence = Silence()
    silence.expect([A], 0.0)
    assert silence.overdue(5.0) == [A]
    silence.heard(A, 6.0)

    assert silence.overdue(11.0) == [A]
