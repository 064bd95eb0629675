"""Where a member reads each of its partitions: places, pauses, and what is not to be delivered.

What librdkafka does, found by experiment (its docs tell none of it):
- A partition that is assigned without an offset is asked for its committed one, which a pending transaction holds
  up. With a number that has been cleaned away it stops for good, and a seek is refused. With `OFFSET_END`, whose
  answer may come after a seek and wins over it, it skips everything in silence: 4 of 10 times where the seek came in
  the callback. Hence `OFFSET_BEGINNING`, paused: when its answer wins, what comes lies before the place, is
  recognised by that, and the seek is repeated.
- A partition that is resumed alone is fetched up to a second later; a seek after it wakes the fetcher: 5 ms.
- A partition stops for good when its place is out of range; a seek is refused, a new assignment helps.
- What was fetched before a seek or a pause is dropped by it; but one call that also runs rebalance callbacks may
  bring records from before them.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from farandole.transport.kafka.errors import told
from farandole.transport.port import Polled, Record, TopicPartition, Trouble

SEEK_PAUSE = 0.005
"""Longest wait of a poll while a seek waits to be tried again, seconds."""

SEEK_PATIENCE = 0.1
"""Seconds after which a partition that refuses to be sought is assigned anew."""


@dataclass(slots=True)
class _Cursor:
    """`place` is the next offset to deliver; None: nobody has said. `refused`: since when a seek is refused."""

    place: int | None = None
    is_paused: bool = True
    refused: float | None = None

    @property
    def is_active(self) -> bool:
        """Whether its records are wanted."""
        return self.place is not None and not self.is_paused


class Cursors:
    """The partitions of one member; belongs to the loop's thread, as the consumer does."""

    def __init__(self, consumer: Consumer, *, cooperative: bool) -> None:
        self._consumer = consumer
        self._is_cooperative = cooperative
        self._cursors: dict[TopicPartition, _Cursor] = {}
        self._refused: set[TopicPartition] = set()
        self._moved: set[TopicPartition] = set()
        self._astray: set[TopicPartition] = set()
        self._troubles: list[Trouble] = []

    @property
    def owned(self) -> frozenset[TopicPartition]:
        """The partitions that are ours now."""
        return frozenset(self._cursors)

    def wanted(self) -> dict[TopicPartition, int]:
        """The next offset to deliver of each partition whose records are wanted now."""
        return {
            at: cursor.place
            for at, cursor in self._cursors.items()
            if cursor.place is not None and not cursor.is_paused
        }

    # --- rebalances, inside callbacks ---------------------------------------------------------

    def add(self, partitions: Sequence[TopicPartition]) -> None:
        """Take partitions: paused, with no place to read from."""
        self._assign(_kafka(partitions, OFFSET_BEGINNING))
        self._cursors.update((at, _Cursor()) for at in partitions)
        self._moved.update(partitions)
        self._consumer.pause(_kafka(partitions))

    def drop(self, partitions: Iterable[TopicPartition]) -> None:
        """They are gone; librdkafka's side of it is done by the client when the callback ends."""
        for at in partitions:
            self._cursors.pop(at, None)
            self._refused.discard(at)
            self._moved.add(at)

    # --- what the loop asks -------------------------------------------------------------------

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Deliver nothing more; partitions that have gone meanwhile are left alone."""
        ours = [at for at in partitions if at in self._cursors and not self._cursors[at].is_paused]
        for at in ours:
            self._cursors[at].is_paused = True
            self._refused.discard(at)
        if ours:
            self._consumer.pause(_kafka(ours))

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """Deliver again, from the place of each."""
        for at in partitions:
            cursor = self._cursors.get(at)
            if cursor is None or not cursor.is_paused:
                continue
            cursor.is_paused = False
            if cursor.place is None:
                what = f"{at.topic}/{at.partition}: expected a position to read from, but there is none"
                self._troubles.append(Trouble("position_missing", what, at))
            else:
                self._go(at, cursor)

    def seek(self, at: TopicPartition, position: int) -> None:
        """Deliver from `position` on.

        Raises:
            ValueError: `position` is negative.
        """
        if position < 0:
            raise ValueError(f"{at.topic}/{at.partition}: expected a position to seek, but it is {position}")
        if (cursor := self._cursors.get(at)) is not None:
            cursor.place = position
            if not cursor.is_paused:
                self._go(at, cursor)

    # --- polling ------------------------------------------------------------------------------

    def prepare(self, timeout: float) -> float:
        """Before a poll: try refused seeks again. How long the poll may wait."""
        self._moved.clear()
        for at in list(self._refused):
            self._go(at, self._cursors[at])
        if self._troubles:
            return 0.0
        return min(timeout, SEEK_PAUSE) if self._refused else timeout

    @property
    def has_moved(self) -> bool:
        """Whether partitions have come or gone since `prepare`."""
        return bool(self._moved)

    def deliver(self, found: Iterable[Polled]) -> list[Polled]:
        """What of it the loop may have; the places move on behind it."""
        troubles, self._troubles = self._troubles, []
        out: list[Polled] = [*troubles, *(each for each in found if self._take(each))]
        # Of what has moved, all that came was dropped; what is astray is not where it was sought.
        for at in (self._moved | self._astray) & self._cursors.keys():
            if (cursor := self._cursors[at]).is_active:
                self._go(at, cursor)
        self._astray.clear()
        return out

    def _take(self, each: Polled) -> bool:
        if isinstance(each, Trouble):
            return True
        at = each.at
        cursor = self._cursors.get(at)
        if cursor is None or cursor.is_paused or cursor.place is None or at in self._moved or at in self._refused:
            return False
        reached, behind = (each.offset, each.offset + 1) if isinstance(each, Record) else (each.position,) * 2
        if reached < cursor.place:
            self._astray.add(at)
            return False
        cursor.place = behind
        return True

    # --- librdkafka ---------------------------------------------------------------------------

    def _go(self, at: TopicPartition, cursor: _Cursor) -> None:
        assert cursor.place is not None
        (kafka,) = _kafka([at], cursor.place)
        self._consumer.resume([kafka])
        try:
            self._consumer.seek(kafka)
        except KafkaException as error:
            self._put_off(at, cursor, told(error))
        else:
            cursor.refused = None
            self._refused.discard(at)

    def _put_off(self, at: TopicPartition, cursor: _Cursor, why: str) -> None:
        """It has no fetcher: not yet, or not any more."""
        now = time.monotonic()
        self._refused.add(at)
        if cursor.refused is None:
            cursor.refused = now
        elif now - cursor.refused > SEEK_PATIENCE:
            cursor.refused = now
            try:
                self._reassign(at)
            except KafkaException as error:
                what = f"{at.topic}/{at.partition}: cannot be read from {cursor.place}: {why}; {told(error)}"
                self._troubles.append(Trouble("other", what, at))

    def _reassign(self, at: TopicPartition) -> None:
        if self._is_cooperative:
            self._consumer.incremental_unassign(_kafka([at]))
            self._consumer.incremental_assign(_kafka([at], self._cursors[at].place))
            return
        # The eager protocol knows only all or nothing: the others are sought again at the next poll.
        self._consumer.assign(_kafka(self._cursors, OFFSET_BEGINNING))
        self._consumer.pause(_kafka(each for each, cursor in self._cursors.items() if not cursor.is_active))
        self._refused.update(each for each, cursor in self._cursors.items() if cursor.is_active)

    def _assign(self, partitions: list[KafkaPartition]) -> None:
        if self._is_cooperative:
            self._consumer.incremental_assign(partitions)
        else:
            self._consumer.assign(partitions)


def _kafka(partitions: Iterable[TopicPartition], offset: int | None = None) -> list[KafkaPartition]:
    if offset is None:
        return [KafkaPartition(*at) for at in partitions]
    return [KafkaPartition(*at, offset) for at in partitions]
