"""What we ask of a log: small enough to implement several times (DESIGN section 10).

A `Member` is one consumer in a group and one transactional producer, owned by one loop.
Nothing here blocks except `poll` and `replies`, and those no longer than they are told:
broker calls are *requests*, answered later by a *reply* that carries the same ticket, so
that a thread or a simulator may drive the same loop.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from farandole.errors import TransportError
from farandole.transport.values import (
    End,
    Isolation,
    MemberSettings,
    NewRecord,
    Polled,
    Position,
    Record,
    TopicPartition,
    TopicSpec,
    Trouble,
)

__all__ = [
    "Admin",
    "Commit",
    "Edge",
    "End",
    "FenceWriter",
    "GroupSnapshot",
    "Isolation",
    "ListMembers",
    "Member",
    "MemberSettings",
    "NewRecord",
    "Polled",
    "Position",
    "Producer",
    "ReadEnds",
    "ReadPositions",
    "Reader",
    "Rebalance",
    "Record",
    "RenewProducer",
    "Reply",
    "Request",
    "TopicPartition",
    "TopicSpec",
    "Transport",
    "Trouble",
    "Verdict",
]


class GroupSnapshot(Protocol):
    """The member's id and generation as of one moment (KIP-447); opaque to loops, compared for identity only."""


# --- requests -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Commit:
    """One transaction: begin, produce, flush, send positions with `snapshot`, commit (R2, R3).

    Raises at submission:
        ValueError: `positions` is empty, or an offset is negative.
        NotJoined: `snapshot` was taken before joining (checked again here).
    """

    records: Sequence[NewRecord]
    positions: Mapping[TopicPartition, Position]
    snapshot: GroupSnapshot


@dataclass(frozen=True, slots=True)
class RenewProducer:
    """Throw the producer away, make a new one on the same transactional id and initialise it (R4)."""


@dataclass(frozen=True, slots=True)
class FenceWriter:
    """Initialise another, departed member's transactional id, which ends a transaction it left open (R7)."""

    transactional_id: str


@dataclass(frozen=True, slots=True)
class ReadPositions:
    """Committed positions of the member's group, or of another `group`.

    `stable`: partitions with a transaction pending on them are absent from the reply; else the last committed
    position is told whatever is pending (R7 needs the last writer even then).
    """

    partitions: Sequence[TopicPartition]
    stable: bool = True
    group: str = ""


@dataclass(frozen=True, slots=True)
class ReadEnds:
    """End offsets of any partitions, at one isolation level (R12: restore asks for `UNCOMMITTED`)."""

    partitions: Sequence[TopicPartition]
    isolation: Isolation


@dataclass(frozen=True, slots=True)
class ListMembers:
    """Client ids of the members of the group, as the broker sees them now."""


Request = Commit | RenewProducer | FenceWriter | ReadPositions | ReadEnds | ListMembers
"""At most one of `Commit`, `RenewProducer`, `FenceWriter` is in flight; the others may overlap with it."""


# --- replies ------------------------------------------------------------------------------


class Verdict(Enum):
    """How a transaction ended, as far as the client can tell."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    """It certainly had no effect and the producer is fit for the next one."""
    STALE = "stale"
    """Aborted for a stale generation (R11): re-produce with a fresh snapshot."""
    DOUBT = "doubt"
    """Anything else: renew the producer, then judge by the committed positions (R4)."""
    FENCED = "fenced"
    """Another process uses our transactional id; what was in flight is as in doubt."""
    REFUSED = "refused"
    """Certainly aborted because a record cannot be produced (too large, unknown topic): `error` says which."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request. Exactly one of the fields that belong to the request is set, or `error`."""

    ticket: int
    request: Request
    verdict: Verdict | None = None
    positions: Mapping[TopicPartition, Position | None] = field(default_factory=dict)
    """For `ReadPositions`: None = no position was ever committed. Partitions still pending are absent: ask again."""
    ends: Mapping[TopicPartition, int] = field(default_factory=dict)
    members: frozenset[str] = frozenset()
    error: TransportError | None = None


class Rebalance(Protocol):
    """What the loop does when partitions come and go; called inside `Member.poll`, on its thread."""

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Partitions are ours, paused, with no place to read from yet: `seek`, then `resume` them."""
        ...

    def releasing(self, partitions: Sequence[TopicPartition]) -> bool:
        """They are about to go. Called again and again (replies may be fetched in it) until True or out of budget."""
        ...

    def gone(self, partitions: Sequence[TopicPartition], *, lost: bool) -> None:
        """They are gone; `lost` means others may have them for a while already: commit nothing for them."""
        ...


class Member(Protocol):
    """One consumer in a group and one transactional producer; every method belongs to one thread."""

    @property
    def client_id(self) -> str:
        """Client id and transactional id in one: `<ns>.<unit>.<slot>` (R7)."""
        ...

    def subscribe(self, topics: Sequence[str], rebalance: Rebalance) -> None:
        """Join the group for these topics; more may be added by calling again with all of them."""
        ...

    def poll(self, timeout: float) -> Sequence[Polled]:
        """Up to some hundreds of records, ends and troubles, waiting at most `timeout` seconds for the first.

        Must be called at least every few seconds whatever the loop does (max.poll.interval).

        Raises:
            FatalTransportError: this member can not go on.
        """
        ...

    def snapshot(self) -> GroupSnapshot:
        """The group's view of this member, for `Commit`.

        Raises:
            NotJoined: the member has no member id or generation now (R3).
        """
        ...

    def call(self, request: Request) -> int:
        """Send a request; the reply will carry the returned ticket."""
        ...

    def replies(self, timeout: float) -> Sequence[Reply]:
        """Replies that have arrived, waiting at most `timeout` seconds for the first; `wake` ends the wait."""
        ...

    def wake(self) -> None:
        """End a wait in `replies` (not in `poll`); the one method that other threads may call."""
        ...

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        """Deliver nothing more from them (what is already polled is the loop's)."""
        ...

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        """Deliver again, from the position of the partition."""
        ...

    def seek(self, at: TopicPartition, position: int) -> None:
        """The next record delivered from `at` is the first one at or after `position`."""
        ...

    def assignment(self) -> frozenset[TopicPartition]:
        """The partitions that are ours now."""
        ...

    def close(self) -> None:
        """Leave the group (callbacks run) and free everything; nothing may be in flight that matters."""
        ...


class Reader(Protocol):
    """Reads partitions outside any group, read-committed; belongs to one thread."""

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read exactly these from now on; a position of -2 is the beginning, -1 the end (Kafka's logical offsets)."""
        ...

    def poll(self, timeout: float) -> Sequence[Polled]:
        """As `Member.poll`."""
        ...

    def position(self, at: TopicPartition) -> int | None:
        """Next offset to be read, past markers and gaps once an `End` was told; None before the first."""
        ...

    def close(self) -> None:
        """Free everything."""
        ...


class Producer(Protocol):
    """Writes records outside any transaction: telemetry, commands, schemas. Thread-safe."""

    def send(self, record: NewRecord) -> None:
        """Queue a record; a full queue drops telemetry-grade records rather than block.

        Raises:
            TransportError: the queue is full or the record cannot be queued.
        """
        ...

    def flush(self, timeout: float) -> int:
        """Wait for what is queued; the number still unacknowledged.

        Raises:
            TransportError: a record since the last flush was refused by the log.
        """
        ...

    def close(self) -> None:
        """Flush briefly and free everything."""
        ...


class Admin(Protocol):
    """Operations on the log as a whole: blocking, for command line, start-up checks and tests."""

    def topics(self, names: Sequence[str] | None = None) -> Mapping[str, TopicSpec]:
        """Topics that exist (of `names`, or all), with their non-default config; missing ones are absent."""
        ...

    def create(self, topics: Sequence[TopicSpec]) -> Sequence[str]:
        """Create what is missing; returns the names created. Idempotent; existing topics are left alone."""
        ...

    def configure(self, topic: str, config: Mapping[str, str]) -> None:
        """Set these entries of an existing topic's configuration; all others stay as they are.

        Raises:
            TransportError: the topic does not exist, or an entry is refused.
        """
        ...

    def ends(self, partitions: Sequence[TopicPartition], isolation: Isolation) -> Mapping[TopicPartition, int]:
        """End offsets."""
        ...

    def beginnings(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """First offsets that still exist."""
        ...

    def positions(
        self, group: str, partitions: Sequence[TopicPartition] | None = None
    ) -> Mapping[TopicPartition, Position]:
        """Committed positions of a group (not waiting for pending ones); partitions without one are absent."""
        ...

    def members(self, group: str) -> frozenset[str]:
        """Client ids of the group's members."""
        ...

    def topics_read(self, group: str) -> frozenset[str] | None:
        """Topics of which a member of the group has partitions now; None while it divides them anew."""
        ...

    def start_positions(self, group: str, positions: Mapping[TopicPartition, Position]) -> None:
        """Commit positions where there is none yet, in a transaction with a never-joined snapshot (R8).

        Partitions that already have a position are left as they are.
        """
        ...

    def close(self) -> None:
        """Free everything."""
        ...


class Edge(Protocol):
    """The asyncio side, non-transactional: send and wait, and tails. One per application process."""

    async def send(self, record: NewRecord) -> tuple[int, int]:
        """Write and wait for the acknowledgement: (partition, offset).

        Raises:
            AccessDenied, NotReady: it was certainly not written.
            TransportError: refused, or in doubt (the message says which); never repeated by itself.
        """
        ...

    def tail(self, positions: Mapping[TopicPartition, int]) -> AsyncIterator[Record | End]:
        """Read-committed records from positions on (-2 beginning, -1 end), until the iterator or the edge is closed."""
        ...

    async def ends(self, partitions: Sequence[TopicPartition], isolation: Isolation) -> Mapping[TopicPartition, int]:
        """End offsets."""
        ...

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has; 0 if it does not exist."""
        ...

    async def close(self) -> None:
        """Free everything."""
        ...


class Transport(Protocol):
    """A log: makes the parts that talk to it. Thread-safe."""

    def member(self, settings: MemberSettings) -> Member:
        """A new member, its producer initialised on the first request."""
        ...

    def reader(self, client_id: str) -> Reader:
        """A new reader."""
        ...

    def producer(self, client_id: str) -> Producer:
        """A new plain producer."""
        ...

    def admin(self) -> Admin:
        """A new admin client."""
        ...

    def edge(self, client_id: str) -> Edge:
        """A new asyncio edge; call it inside a running event loop."""
        ...
