"""Partitions of which nothing comes, and whether there is more to read."""

from collections.abc import Callable, Mapping, Sequence

import pytest

from farandole.errors import TransportError
from farandole.transport.kafka.standstill import LOOK_EVERY, Standstill
from farandole.transport.port import TopicPartition

A, B = TopicPartition("inbox", 0), TopicPartition("inbox", 1)


class Log:
    """A member's places, the real ends, a clock, and a helper that works at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("farandole.transport.kafka.standstill.time.monotonic", lambda: self.now)
        self.places = {A: 5, B: 7}
        self.ends = {A: 5, B: 7}
        self.asked: list[list[TopicPartition]] = []
        self.behind: list[list[TopicPartition]] = []
        self.is_away = False
        self.it = Standstill(self._ends, self._brokers)

    def pass_time(self, looks: float = 1.0) -> bool:
        """So many looks long; whether it was found to stand still in that time."""
        stuck = False
        for _ in range(round(looks * LOOK_EVERY)):
            self.now += 1.0
            stuck |= self.it.step(lambda: dict(self.places), lambda work: work())
        return stuck

    def _ends(self, asked: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        self.asked.append(list(asked))
        if self.is_away:
            raise TransportError("no answer")
        return {at: self.ends[at] for at in asked}

    def _brokers(self, behind: Sequence[TopicPartition]) -> str:
        self.behind.append(list(behind))
        return "known:1,known:2"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    return Log(monkeypatch)


def test_who_has_read_everything_does_not_stand_still(log: Log) -> None:
    assert not log.pass_time(10)
    assert log.behind == []


def test_partition_with_more_than_comes_at_two_looks_stands_still(log: Log) -> None:
    """The leader that it is read from is cut off: it answers, and knows of nothing new."""
    log.pass_time(2)
    log.ends[B] = 9

    assert log.pass_time(3)
    assert log.it.bootstrap == "known:1,known:2"
    assert log.behind
    assert all(asked == [B] for asked in log.behind)


def test_what_comes_between_two_looks_is_no_standstill(log: Log) -> None:
    log.pass_time(2)
    for _ in range(10):
        log.ends[B] += 3
        log.places[B] = log.ends[B] - 1

        assert not log.pass_time()


def test_one_that_is_a_little_behind_once_is_given_another_look(log: Log) -> None:
    log.pass_time(2)
    log.ends[B] = 8

    assert not log.pass_time()
    log.places[B] = 8
    assert not log.pass_time(3)


def test_busy_partitions_are_not_asked_for(log: Log) -> None:
    for _ in range(5):
        log.places[A] += 1
        log.ends[A] += 1
        log.pass_time()

    assert log.asked
    assert all(A not in asked for asked in log.asked)


def test_nobody_is_asked_where_nothing_is_wanted(log: Log) -> None:
    log.places = {}

    assert not log.pass_time(5)
    assert log.asked == []


def test_look_that_is_not_answered_says_nothing(log: Log) -> None:
    log.ends[B], log.is_away = 9, True

    assert not log.pass_time(5)
    log.is_away = False
    assert log.pass_time(3)


def test_answers_that_come_late_are_not_two_looks(log: Log) -> None:
    """Both looks waited behind something that took its time, and were answered one after the other. What had been
    written a moment before had more than came "at two looks"."""
    waiting: list[Callable[[], None]] = []
    for _ in range(round(3.5 * LOOK_EVERY)):
        log.now += 1.0
        log.it.step(lambda: dict(log.places), waiting.append)
    log.ends[B] = 8

    late = len(waiting)
    for work in waiting:
        work()
        assert not log.it.step(lambda: dict(log.places), lambda _: None)

    assert late == 1
    log.places[B] = 8
    assert not log.pass_time(3)


def test_next_look_is_made_some_time_after_the_last_one_was_answered(log: Log) -> None:
    waiting: list[Callable[[], None]] = []
    log.pass_time()
    log.now += LOOK_EVERY
    log.it.step(lambda: dict(log.places), waiting.append)
    log.now += LOOK_EVERY
    log.ends[B] = 8
    waiting.pop()()
    log.it.step(lambda: dict(log.places), waiting.append)

    log.now += LOOK_EVERY - 1
    log.it.step(lambda: dict(log.places), waiting.append)
    assert waiting == []
    log.now += 1
    log.it.step(lambda: dict(log.places), waiting.append)

    assert len(waiting) == 1
