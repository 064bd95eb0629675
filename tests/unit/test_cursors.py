"""Cursors over a log that fails: what they have moved over is delivered."""

from collections.abc import Sequence

import pytest

from farandole.transport.memory.cursors import Cursor, Cursors
from farandole.transport.port import End, Record, TopicPartition

FINE, BROKEN = TopicPartition("t", 0), TopicPartition("t", 1)


class HalfBroken:
    """A log of which one partition cannot be read for a while."""

    def __init__(self) -> None:
        self.is_broken = True

    def resolve(self, at: TopicPartition, position: int) -> int:
        """There are no logical offsets here."""
        return position

    def read(self, at: TopicPartition, position: int, most: int) -> tuple[Sequence[Record], int]:
        """One record in each partition."""
        if at == BROKEN and self.is_broken:
            raise OSError("the disk is gone")
        return [Record(at.topic, at.partition, 0, None, b"v")][position:], 1


def cursors_of(*partitions: TopicPartition) -> Cursors:
    """At the beginning of these."""
    cursors = Cursors()
    for at in partitions:
        cursors.add(Cursor(at, 0))
    return cursors


def test_a_failure_half_way_does_not_swallow_what_was_read_before_it() -> None:
    """An exception threw away the batch whose cursors had moved: its records would never have been delivered."""
    log, cursors = HalfBroken(), cursors_of(BROKEN, FINE)

    first = cursors.fetch(log, 10)

    with pytest.raises(OSError, match="the disk is gone"):
        cursors.fetch(log, 10)
    log.is_broken = False
    rest = cursors.fetch(log, 10)
    assert [each.at for each in first if isinstance(each, Record)] == [FINE]
    assert End(FINE, 1) in first
    assert [each.at for each in rest if isinstance(each, Record)] == [BROKEN]
