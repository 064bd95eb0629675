"""Committed positions of groups, and those that wait for their transaction to end.

Positions are written by transactions alone (R3). Until a transaction has ended, the positions
it names are *pending*: a stable read does not answer for them. Of two transactions that name
the same partition the one that was told its positions later wins, whichever ends first.

A broker keeps all of a group in one log, pending ones too. One that came back with only the
beginning of that log is what `rewind` makes of it (docs/decisions/0112).
"""

from collections import deque
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

KEPT_MAX = 256
"""How many commits of a group can be taken back: some minutes of a simulated world, and little memory."""


class _Told(NamedTuple):
    """A position and its place in the order in which the broker was told."""

    number: int
    position: Position


@dataclass(slots=True)
class _Partition:
    """What one group has on one partition: pending ones by transactional id."""

    committed: _Told | None = None
    pending: dict[str, _Told] = field(default_factory=dict)


class _Commit(NamedTuple):
    """One commit of a group: what it took the place of, and how many positions the broker had been told by then."""

    before: dict[TopicPartition, _Told | None]
    told: int


class Positions:
    """Positions of all groups."""

    def __init__(self) -> None:
        self._groups: dict[str, dict[TopicPartition, _Partition]] = {}
        self._commits: dict[str, deque[_Commit]] = {}
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
        before: dict[TopicPartition, _Told | None] = {}
        for at, partition in self._groups.get(group, {}).items():
            told = partition.pending.pop(writer, None)
            if told is None or not commit:
                continue
            if partition.committed is None or partition.committed.number < told.number:
                before[at] = partition.committed
                partition.committed = told
        if before:
            self._commits.setdefault(group, deque(maxlen=KEPT_MAX)).append(_Commit(before, self._told))

    def rewind(self, group: str, commits: int) -> int:
        """Take the last commits of a group back, as if its log ended before them; how many were.

        Never the first position of a partition: without one nobody goes on before a person acts. What is pending
        stays if it was told before; of the rest the log knows nothing, and its transaction will move nothing.
        """
        partitions, kept = self._groups.get(group, {}), self._commits.get(group, deque())
        taken = 0
        while taken < commits and kept and None not in kept[-1].before.values():
            for at, told in kept.pop().before.items():
                partitions[at].committed = told
            taken += 1
        if taken:
            known = kept[-1].told if kept else 0
            for partition in partitions.values():
                lost = [writer for writer, told in partition.pending.items() if told.number > known]
                for writer in lost:
                    del partition.pending[writer]
        return taken

    def forget(self, group: str) -> None:
        """All that a group has committed: it was away for too long."""
        self._groups.pop(group, None)
        self._commits.pop(group, None)

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
