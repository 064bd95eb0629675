"""Polling one consumer: records, ends and troubles, with seeks that take at once.

A partition that was just taken has no fetcher yet, and librdkafka refuses to seek in it; such
seeks are kept and tried again at the next poll. Records that were fetched before a seek are
dropped by position.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaPartition

from farandole.errors import FatalTransportError
from farandole.events.envelope import Headers
from farandole.transport.kafka.errors import trouble_kind
from farandole.transport.port import End, Polled, Record, TopicPartition, Trouble

UNREACHABLE_EVERY = 1.0
"""Least seconds between two tellings that the cluster is unreachable."""

SEEK_PAUSE = 0.005
"""Longest wait of a poll while a seek waits to be tried again, seconds."""


class Poller:
    """What lies between a consumer and a port's `poll`."""

    def __init__(self, consumer: Consumer, client_id: str, *, is_eager: bool = False) -> None:
        self._consumer = consumer
        self._is_eager = is_eager
        self._client_id = client_id
        self._next: dict[TopicPartition, int | None] = {}
        """Next offset to deliver; None: not sought yet, deliver nothing."""

        self._reached: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._seeks: dict[TopicPartition, int] = {}
        self._broken: set[TopicPartition] = set()
        """Partitions whose fetcher has stopped with an error: only a new assignment starts it again."""

        self._troubles: list[Polled] = []
        self._told_unreachable = -UNREACHABLE_EVERY

    def add(self, partitions: Iterable[TopicPartition]) -> None:
        """Partitions that were just assigned: paused, with no place to read from."""
        new = list(partitions)
        self._next.update(dict.fromkeys(new))
        self._paused.update(new)
        self._consumer.pause(_kafka(new))

    def begin(self, positions: Mapping[TopicPartition, int]) -> None:
        """Partitions that a reader was assigned at places of its own; logical offsets deliver whatever comes."""
        self._next.update({at: max(position, 0) for at, position in positions.items()})
        self._reached = {at: position for at, position in positions.items() if position >= 0}

    def reached(self, at: TopicPartition) -> int | None:
        """Next offset after what was delivered; None before anything was, from a logical offset."""
        return self._reached.get(at)

    def tell(self, trouble: Trouble) -> None:
        """Tell a trouble at the next poll."""
        self._troubles.append(trouble)

    def drop(self, partitions: Iterable[TopicPartition]) -> None:
        """They are gone."""
        for at in partitions:
            self._next.pop(at, None)
            self._seeks.pop(at, None)
            self._paused.discard(at)
            self._reached.pop(at, None)
            self._broken.discard(at)

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        """Deliver nothing more."""
        self._paused.update(partitions)
        self._consumer.pause(_kafka(partitions))

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        """Deliver again, once a waiting seek has taken."""
        self._paused.difference_update(partitions)
        for at in partitions:
            if self._next.get(at) is None:
                error = "expected a position before it is resumed, but none was ever sought"
                self._troubles.append(Trouble("position_missing", error, at))
        self._consumer.resume(
            _kafka(at for at in partitions if at not in self._seeks and self._next.get(at) is not None)
        )

    def seek(self, at: TopicPartition, position: int) -> None:
        """Deliver from `position` on."""
        self._next[at] = position
        self._seeks[at] = position
        self._try_seeks()

    def poll(self, timeout: float, most: int) -> list[Polled]:
        """Records, ends and troubles."""
        self._try_seeks()
        if self._troubles:
            told, self._troubles = self._troubles, []
            return told
        wait = min(timeout, SEEK_PAUSE) if self._seeks else timeout
        first = self._consumer.poll(wait)
        if first is None:
            return []
        out: list[Polled] = []
        self._take(first, out)
        for message in self._consumer.consume(most - 1, 0) if most > 1 else ():
            self._take(message, out)
        return out

    def _take(self, message: Message, out: list[Polled]) -> None:
        error = message.error()
        if error is not None:
            self._take_error(message, error, out)
            return
        at, offset = _place(message)
        expected = self._next.get(at)
        if expected is None or at in self._paused or at in self._seeks or offset < expected:
            # Fetched before a seek or a pause. What a pause held back is fetched again at its end.
            if expected is not None and at in self._paused and at not in self._seeks and offset >= expected:
                self._seeks[at] = expected
            return
        self._next[at] = self._reached[at] = offset + 1
        key, value, headers = message.key(), message.value(), message.headers() or ()
        _, timestamp = message.timestamp()
        out.append(
            Record(
                at.topic,
                at.partition,
                offset,
                key,
                value,
                cast(Headers, headers),
                timestamp or 0,
            )
        )

    def _take_error(self, message: Message, error: KafkaError, out: list[Polled]) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            at, offset = _place(message)
            expected = self._next.get(at)
            if expected is not None and at not in self._seeks and at not in self._paused:
                end = max(expected, offset)
                self._next[at] = self._reached[at] = end
                out.append(End(at, end))
            return
        if error.fatal():
            raise FatalTransportError(f"{self._client_id}: {error.str()}")
        kind = trouble_kind(error)
        now = time.monotonic()
        if kind == "unreachable":
            if now - self._told_unreachable < UNREACHABLE_EVERY:
                return
            self._told_unreachable = now
        topic, partition = message.topic(), message.partition()
        if kind.startswith("position") and topic is not None and partition is not None:
            self._broken.add(TopicPartition(topic, partition))
        named = (
            None
            if topic is None or kind == "unreachable"
            else TopicPartition(topic, -1 if partition is None else partition)
        )
        out.append(Trouble(kind, f"{error.name()}: {error.str()}", named))

    def _try_seeks(self) -> None:
        """Seeks that wait for their partition's fetcher; a partition is resumed only when its seek has taken."""
        for at, position in list(self._seeks.items()):
            try:
                if at in self._broken:
                    self._assign_anew(at, position)
                else:
                    self._consumer.seek(KafkaPartition(at.topic, at.partition, position))
            except KafkaException:
                continue  # "Erroneous state": the fetcher is not there yet
            del self._seeks[at]
            if at not in self._paused:
                self._consumer.resume(_kafka([at]))

    def _assign_anew(self, at: TopicPartition, position: int) -> None:
        """Start a stopped fetcher again, in the way that the group's protocol allows."""
        self._broken.discard(at)
        fresh = KafkaPartition(at.topic, at.partition, position)
        if not self._is_eager:
            self._consumer.incremental_unassign([fresh])
            self._consumer.incremental_assign([fresh])
            return
        everything = {other: self._next.get(other) or 0 for other in self._next} | {at: position}
        self._consumer.assign([KafkaPartition(each.topic, each.partition, where) for each, where in everything.items()])
        self._consumer.pause(_kafka(self._paused))


def _place(message: Message) -> tuple[TopicPartition, int]:
    """Where a message stands; one that was delivered always says so."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    return TopicPartition(topic, partition), offset


def _kafka(partitions: Iterable[TopicPartition]) -> list[KafkaPartition]:
    return [KafkaPartition(at.topic, at.partition) for at in partitions]
