"""A compacted topic is read to the end that the log has, markers and open transactions included."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import cast

import pytest

from farandole.clock import ManualClock
from farandole.errors import ConfigError, TransportError
from farandole.transport.compacted import CompactedTopic
from farandole.transport.port import (
    End,
    Isolation,
    NewRecord,
    Polled,
    Record,
    TopicPartition,
    TopicSpec,
    Transport,
    Trouble,
)

AT = TopicPartition("t", 0)


class Log:
    """A transport of one partition: what it holds, its end, and how far it is stable."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.rows: dict[int, tuple[bytes | None, bytes | None]] = {}
        self.end = 0
        self.stable: int | None = None
        self.exists = True
        self.trouble: list[Trouble] = []
        self.unacknowledged = 0
        self.at = 0

    def write(self, key: bytes, value: bytes | None) -> None:
        """One record."""
        self.rows[self.end] = (key, value)
        self.end += 1

    # As transport, admin and producer

    def admin(self) -> "Log":
        """Itself."""
        return self

    def producer(self, client_id: str) -> "Log":
        """Itself."""
        return self

    def reader(self, client_id: str) -> "Log":
        """Itself."""
        return self

    def topics(self, names: Sequence[str]) -> Mapping[str, TopicSpec]:
        """The one topic."""
        return {"t": TopicSpec("t", 1)} if self.exists else {}

    def ends(self, partitions: Sequence[TopicPartition], isolation: Isolation) -> Mapping[TopicPartition, int]:
        """The end, as is right for a restore."""
        assert isolation is Isolation.UNCOMMITTED
        return dict.fromkeys(partitions, self.end)

    def send(self, record: NewRecord) -> None:
        """Write at once."""
        assert record.key is not None
        self.write(record.key, record.value)

    def flush(self, timeout: float) -> int:
        """What was not acknowledged."""
        return self.unacknowledged

    def close(self) -> None:
        """Nothing is held."""

    # As reader

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Where to read from."""
        self.at = max(positions[AT], 0)

    def poll(self, timeout: float) -> Sequence[Polled]:
        """All that is stable, then the end."""
        self.clock.advance(timedelta(seconds=timeout))
        stable = self.end if self.stable is None else self.stable
        found: list[Polled] = [*self.trouble]
        found += [Record("t", 0, n, *row) for n, row in self.rows.items() if self.at <= n < stable]
        self.at = stable
        return [*found, End(AT, stable)]

    def position(self, at: TopicPartition) -> int | None:
        """The next place to read."""
        return self.at


@pytest.fixture
def log() -> Log:
    """An empty topic."""
    return Log(ManualClock())


def topic(log: Log) -> CompactedTopic:
    """The topic, read by a process that waits ten seconds."""
    return CompactedTopic(cast(Transport, log), "t", "c", patience=timedelta(seconds=10), clock=log.clock)


def test_rows_are_told_once_and_then_only_new_ones(log: Log) -> None:
    ours = topic(log)
    assert list(ours.news()) == []
    ours.append([(b"a", b"1"), (b"b", b"2")])

    first, second = list(ours.news()), list(ours.news())
    log.write(b"a", None)

    assert first == [(b"a", b"1"), (b"b", b"2")]
    assert second == []
    assert list(ours.news()) == [(b"a", None)]


def test_end_behind_markers_and_compacted_records_is_reached(log: Log) -> None:
    log.end = 100
    log.write(b"a", b"1")
    log.end += 3

    assert list(topic(log).news()) == [(b"a", b"1")]


def test_row_in_an_open_transaction_is_waited_for_and_not_missed(log: Log) -> None:
    log.write(b"a", b"1")
    log.write(b"b", b"2")
    log.stable = 1
    rows = topic(log).news()

    first = next(iter(rows))
    log.stable = None

    assert [first, *rows] == [(b"a", b"1"), (b"b", b"2")]


def test_end_that_is_never_reached_is_told_with_the_last_trouble(log: Log) -> None:
    log.write(b"a", b"1")
    log.stable = 0
    log.trouble = [Trouble("unreachable", "connection refused", AT)]

    with pytest.raises(TransportError, match=r"t\[0\]: expected to reach 1, but unreachable: connection refused"):
        list(topic(log).news())


def test_topic_that_does_not_exist_is_the_operators(log: Log) -> None:
    log.exists = False

    with pytest.raises(ConfigError, match="`farandole apply` creates it"):
        list(topic(log).news())


def test_row_that_is_not_acknowledged_is_an_error(log: Log) -> None:
    log.unacknowledged = 1

    with pytest.raises(TransportError, match="expected 1 rows written, but 1 are unacknowledged"):
        topic(log).append([(b"a", b"1")])
