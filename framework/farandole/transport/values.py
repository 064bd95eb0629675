"""The values that pass through the port: places, records, positions, topics, settings.

Data only; what is asked of a log, and how, is in `port`, which hands these on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import NamedTuple

import msgspec


class TopicPartition(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record that exists; `offset` is its place, `timestamp_ms` the log's.

    No dataclass: one is made for each record that is read, and a frozen dataclass takes ten times as long.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp_ms: int = 0

    @property
    def at(self) -> TopicPartition:
        """Where it stands."""
        return TopicPartition(self.topic, self.partition)

    @property
    def place(self) -> str:
        """`topic/partition/offset`: how headers name a consumed record."""
        return f"{self.topic}/{self.partition}/{self.offset}"


class NewRecord(msgspec.Struct, frozen=True):
    """A record to write. Without a partition the key places it by murmur2; without a key, partition 0..n at random."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int | None = None


class Position(NamedTuple):
    """The next offset to read, and the metadata committed with it (at most 4,096 characters)."""

    offset: int
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """The reader stands at the end of a partition; `position` is past markers and gaps."""

    at: TopicPartition
    position: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """A partition (or, without `at`, the connection) does not deliver; polling goes on for the others.

    `kind`: `position_out_of_range`, `position_missing`, `unknown_topic`, `unreachable`, `other`.
    """

    kind: str
    error: str
    at: TopicPartition | None = None


Polled = Record | End | Trouble
"""What a poll brings; an `End` is told once each time the end is reached."""


class Isolation(Enum):
    """Whether the last stable offset bounds what is seen (`COMMITTED`) or the high watermark does."""

    COMMITTED = "read_committed"
    UNCOMMITTED = "read_uncommitted"


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it must exist; `config` in Kafka's names and texts. `replication` -1 = the broker's default."""

    name: str
    partitions: int
    replication: int = -1
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MemberSettings:
    """How a member joins. `assignor`: `range` (coordinators) or `cooperative-sticky` (agents)."""

    group: str
    client_id: str
    assignor: str = "cooperative-sticky"
    session_timeout: timedelta = timedelta(seconds=10)
    poll_interval: timedelta = timedelta(minutes=5)
    """Longest time between two polls before the member is taken for dead (R14: `max.poll.interval.ms`)."""
    transaction_timeout: timedelta = timedelta(seconds=10)
    poll_max_records: int = 500
