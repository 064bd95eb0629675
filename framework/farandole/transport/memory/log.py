"""Topics and their partitions: records, transaction markers, gaps, what readers may see.

As on a broker, an offset is burnt by every marker, records of aborted transactions stay where
they are, and a committed read stops at the last stable offset: before the first record of any
transaction that is still open. Knows nothing of producers' epochs, groups, threads or clocks;
compaction is left out, for it never changes what a table holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from farandole.ids import TOPIC_RULE, is_topic, partition_of
from farandole.transport.memory.refusals import OutOfRange, RecordTooLarge, UnknownTopic
from farandole.transport.outgoing import size_of
from farandole.transport.port import Isolation, NewRecord, Record, TopicPartition, TopicSpec

RECORD_BYTES_MAX = 1_048_588
"""Where a topic does not set `max.message.bytes`. Source: Kafka's default (1 MiB and a batch header)."""

RECORD_OVERHEAD_BYTES = 80
"""What a record takes beside key, value and headers: batch header 61, the record's own lengths and deltas."""

_place_of_key = lru_cache(maxsize=16_384)(partition_of)


class PartitionLog:
    """One partition. `at` is its name; `beginning` the first offset that still exists; `end` the next one."""

    __slots__ = ("_aborted", "_changed", "_entries", "_open", "at", "beginning")

    def __init__(self, at: TopicPartition, changed: set[TopicPartition]) -> None:
        self.at = at
        self.beginning = 0
        self._changed = changed
        # The record at offset beginning + i; None where a marker stands.
        self._entries: list[Record | None] = []
        # Offsets that a transaction not yet marked has written here, by transactional id.
        self._open: dict[str, list[int]] = {}
        self._aborted: set[int] = set()

    @property
    def end(self) -> int:
        """High watermark: the offset that the next entry gets."""
        return self.beginning + len(self._entries)

    @property
    def last_stable(self) -> int:
        """Where committed reads stop."""
        if not self._open:
            return self.end
        return max(self.beginning, min(offsets[0] for offsets in self._open.values()))

    def end_of(self, isolation: Isolation) -> int:
        """The end as seen at an isolation level."""
        return self.last_stable if isolation is Isolation.COMMITTED else self.end

    def append(self, record: NewRecord, timestamp_ms: int, writer: str = "") -> int:
        """Write a record, inside the open transaction of `writer` if there is one; its offset."""
        offset = self.end
        self._entries.append(
            Record(
                self.at.topic,
                self.at.partition,
                offset,
                record.key,
                record.value,
                tuple(record.headers),
                timestamp_ms,
            )
        )
        if writer:
            self._open.setdefault(writer, []).append(offset)
        self._changed.add(self.at)
        return offset

    def mark(self, writer: str, *, commit: bool) -> None:
        """End what `writer` has written here: burns one offset."""
        offsets = self._open.pop(writer, [])
        if not commit:
            self._aborted.update(offsets)
        self._entries.append(None)
        self._changed.add(self.at)

    def read(self, position: int, most: int, isolation: Isolation) -> tuple[Sequence[Record], int]:
        """At most `most` records from `position` on, and the next position, which is past markers and gaps.

        Raises:
            OutOfRange: the position is not between beginning and end.
        """
        if not self.beginning <= position <= self.end:
            raise OutOfRange(
                f"{self.at.topic}[{self.at.partition}]: expected a position from {self.beginning} to {self.end}, "
                f"but it is {position}. The partition stops"
            )
        limit = self.end_of(isolation)
        hidden = self._aborted if isolation is Isolation.COMMITTED else frozenset()
        found: list[Record] = []
        while position < limit and len(found) < most:
            until = min(limit, position + most - len(found))
            slice_ = self._entries[position - self.beginning : until - self.beginning]
            if hidden:
                found += [each for each in slice_ if each is not None and each.offset not in hidden]
            else:
                found += [each for each in slice_ if each is not None]
            position = until
        return found, position

    def truncate_before(self, offset: int) -> None:
        """Forget everything before `offset`, as retention does."""
        offset = min(max(offset, self.beginning), self.end)
        del self._entries[: offset - self.beginning]
        self.beginning = offset
        self._aborted = {each for each in self._aborted if each >= offset}
        self._changed.add(self.at)


class Log:
    """All topics. `changed` collects partitions that were written to; whoever tells others empties it."""

    def __init__(self) -> None:
        self.changed: set[TopicPartition] = set()
        self.created: set[str] = set()
        """Topics made since somebody last looked."""
        self._specs: dict[str, TopicSpec] = {}
        self._partitions: dict[str, list[PartitionLog]] = {}
        self._record_bytes_max: dict[str, int] = {}
        self._keyless = 0

    @property
    def topics(self) -> Mapping[str, TopicSpec]:
        """Topics that exist, by name."""
        return self._specs

    def create(self, spec: TopicSpec) -> bool:
        """Make a topic; False if there is one of that name, which stays as it is.

        Raises:
            ValueError: it is to have no partitions, or its name is none that Kafka takes.
        """
        if not is_topic(spec.name):
            raise ValueError(f"topic {spec.name!r:.80}: expected a name of {TOPIC_RULE}")
        if spec.partitions < 1:
            raise ValueError(f"{spec.name}: expected at least one partition, but {spec.partitions} are asked for")
        if spec.name in self._specs:
            return False
        self._set(replace(spec, replication=1))
        self._partitions[spec.name] = [
            PartitionLog(TopicPartition(spec.name, number), self.changed) for number in range(spec.partitions)
        ]
        self.created.add(spec.name)
        return True

    def configure(self, topic: str, config: Mapping[str, str]) -> None:
        """Set entries of a topic's configuration; the others stay.

        Raises:
            UnknownTopic: there is no such topic.
            ValueError: `max.message.bytes` is no number.
        """
        if topic not in self._specs:
            raise UnknownTopic(f"{topic}: expected an existing topic to configure, but there is none")
        spec = self._specs[topic]
        self._set(replace(spec, config={**spec.config, **config}))

    def count(self, topic: str) -> int:
        """How many partitions a topic has; 0 if there is no such topic."""
        return len(self._partitions.get(topic, ()))

    def partition(self, at: TopicPartition) -> PartitionLog:
        """One partition.

        Raises:
            UnknownTopic: there is no such partition.
        """
        partitions = self._partitions.get(at.topic, ())
        if not 0 <= at.partition < len(partitions):
            have = f"it has {len(partitions)} partitions" if partitions else "there is no such topic"
            raise UnknownTopic(f"{at.topic}[{at.partition}]: expected an existing partition, but {have}")
        return partitions[at.partition]

    def place(self, record: NewRecord) -> PartitionLog:
        """Where a record goes: its own partition, or that of its key (murmur2), or for neither each in turn.

        Raises:
            UnknownTopic: there is no such topic or partition.
            RecordTooLarge: the topic takes no record of that size.
        """
        count = self.count(record.topic)
        if record.partition is not None:
            number = record.partition
        elif record.key is not None and count:
            number = _place_of_key(record.key, count)
        else:
            self._keyless += 1
            number = self._keyless % max(count, 1)
        partition = self.partition(TopicPartition(record.topic, number))
        size, most = size_of(record) + RECORD_OVERHEAD_BYTES, self._record_bytes_max[record.topic]
        if size > most:
            raise RecordTooLarge(
                f"{record.topic}[{number}]: expected a record of at most {most} bytes (max.message.bytes), "
                f"but one has {size}"
            )
        return partition

    def _set(self, spec: TopicSpec) -> None:
        self._record_bytes_max[spec.name] = int(spec.config.get("max.message.bytes", RECORD_BYTES_MAX))
        self._specs[spec.name] = spec
