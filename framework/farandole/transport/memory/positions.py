"""Committed positions of groups, and those that wait for their transaction to end.

Positions are written by transactions alone (R3). Until a transaction has ended, the positions
it names are *pending*: a stable read does not answer for them. Of two transactions that name
the same partition the one that was told its positions later wins, whichever ends first.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from farandole.transport.memory.refusals import MetadataTooLong
from farandole.transport.port import Position, TopicPartition

METADATA_CHARACTERS_MAX = 4095
"""Longest commit metadata: what a Kafka broker takes through confluent-kafka.

Source: the broker compares `offset.metadata.max.bytes` (4,096) with `String.length()`, and confluent-kafka 2.16.1
sends the NUL that ends a C string too: 4,096 characters are refused through it and taken from aiokafka (measured).
"""


class _Told(NamedTuple):
    """A position and its place in the order in which the broker was told."""

    number: int
    position: Position


@dataclass(slots=True)
class _Partition:
    """What one group has on one partition: pending ones by transactional id."""

    committed: _Told | None = None
    pending: dict[str, _Told] = field(default_factory=dict)


class Positions:
    """Positions of all groups."""

    def __init__(self) -> None:
        self._groups: dict[str, dict[TopicPartition, _Partition]] = {}
        self._told = 0

    def stage(self, writer: str, group: str, positions: Mapping[TopicPartition, Position]) -> None:
        """Positions of an open transaction, on top of those that it named before.

        Raises:
            MetadataTooLong: of at least one of them; the others are staged all the same, as Kafka does it.
        """
        partitions = self._groups.setdefault(group, {})
        refused: list[TopicPartition] = []
        for at, position in positions.items():
            if len(position.metadata) > METADATA_CHARACTERS_MAX:
                refused.append(at)
                continue
            self._told += 1
            partitions.setdefault(at, _Partition()).pending[writer] = _Told(self._told, position)
        if refused:
            raise MetadataTooLong(
                f"{group}: expected at most {METADATA_CHARACTERS_MAX} characters of commit metadata, "
                f"but {', '.join(f'{at.topic}[{at.partition}]' for at in refused)} have more"
            )

    def settle(self, writer: str, group: str, *, commit: bool) -> None:
        """The transaction of `writer` has ended."""
        for partition in self._groups.get(group, {}).values():
            told = partition.pending.pop(writer, None)
            if told is None or not commit:
                continue
            if partition.committed is None or partition.committed.number < told.number:
                partition.committed = told

    def forget(self, group: str) -> None:
        """All that a group has committed: it was away for too long."""
        self._groups.pop(group, None)

    def get(
        self, group: str, partitions: Iterable[TopicPartition], *, stable: bool
    ) -> dict[TopicPartition, Position | None]:
        """Last committed positions, None where none was ever; `stable` leaves out what is pending."""
        have = self._groups.get(group, {})
        found: dict[TopicPartition, Position | None] = {}
        for at in partitions:
            partition = have.get(at)
            if partition is None:
                found[at] = None
            elif not (stable and partition.pending):
                found[at] = partition.committed.position if partition.committed else None
        return found

    def all_of(self, group: str) -> dict[TopicPartition, Position]:
        """Every committed position of a group."""
        have = self._groups.get(group, {})
        return {at: each.committed.position for at, each in have.items() if each.committed is not None}
