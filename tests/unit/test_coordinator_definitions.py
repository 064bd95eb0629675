"""What the coordinator tells of its table of definitions: rows that it left out, not that the log is away."""

import logging
from collections.abc import Mapping, Sequence

import pytest

from farandole.clock import ManualClock
from farandole.coordinator.definitions import DefinitionTable
from farandole.events.topics import Topics
from farandole.transport.memory import MemoryTransport
from farandole.transport.port import Polled, Reader, TopicPartition, Trouble


class Away:
    """A reader behind a connection that is gone: it tells so at every poll."""

    def __init__(self, *troubles: Trouble) -> None:
        self._troubles = troubles

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Nothing comes of it."""

    def poll(self, timeout: float) -> Sequence[Polled]:
        """What is wrong."""
        return self._troubles

    def position(self, at: TopicPartition) -> int | None:
        """Nothing was read."""
        return None

    def close(self) -> None:
        """Nothing to free."""


class Broken(MemoryTransport):
    """A log whose readers are all `Away`."""

    def __init__(self, *troubles: Trouble) -> None:
        super().__init__(ManualClock())
        self._troubles = troubles

    def reader(self, client_id: str) -> Reader:  # type: ignore[override]
        """One of them."""
        return Away(*self._troubles)


def steps(times: int, *troubles: Trouble) -> None:
    """A table that is stepped so often."""
    table = DefinitionTable(Broken(*troubles), Topics("t"), "c", lambda request, then: None)
    for _ in range(times):
        table.step()


def test_outage_is_not_told_as_rows_that_were_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """While the broker was away the coordinator said once a second that a row of definitions was left out: none was.

    That the log is away, the polls of its member tell, once a minute.
    """
    with caplog.at_level(logging.INFO):
        steps(3, Trouble("unreachable", "all brokers are down"))

    assert not caplog.records


def test_definitions_that_do_not_deliver_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        steps(1, Trouble("unknown_topic", "there is none", TopicPartition("t.definitions", 0)))

    assert [each.getMessage() for each in caplog.records] == [
        "definitions do not deliver: there is none (unknown_topic)"
    ]
