"""The broker as one object: every operation a method, done at once, with no thread and no clock.

Time comes in by `tick`; what follows from it (sessions, transaction time-outs) happens there.
Transactions are prepared by `end` and finished by `settle`, so that a simulator may put other
operations, or nothing for a while, between any two. Whoever refuses raises a `Refusal`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from farandole.transport.memory.groups import Assigned, Groups, Join, Standing
from farandole.transport.memory.log import Log
from farandole.transport.memory.positions import Positions
from farandole.transport.memory.transactions import Transactions, Writer
from farandole.transport.port import Isolation, NewRecord, Position, Record, TopicPartition, TopicSpec

BEGINNING, LATEST = -2, -1
"""Kafka's logical offsets."""


class Changes(NamedTuple):
    """What readers and members may want to look at again."""

    partitions: frozenset[TopicPartition]
    groups: frozenset[str]
    topics: frozenset[str]


class Broker:
    """Log, transactions, positions and groups of one cluster; single-threaded and deterministic."""

    def __init__(self) -> None:
        self._log = Log()
        self._positions = Positions()
        self._transactions = Transactions(self._log, self._positions)
        self._groups = Groups(self._log.count)
        self._now = 0.0
        self._timestamp_ms = 0

    # --- time ---------------------------------------------------------------------------

    def tick(self, now: float, timestamp_ms: int) -> None:
        """It is `now` (seconds, never going back) and records get this timestamp; end what has timed out."""
        self._now, self._timestamp_ms = now, timestamp_ms
        self._groups.expire(now)
        self._transactions.expire(now)

    @property
    def next_due(self) -> float:
        """Nothing times out before."""
        return min(self._groups.due, self._transactions.due)

    def take_changes(self) -> Changes | None:
        """What has changed since the last call; None if nothing has."""
        log, groups = self._log, self._groups
        if not (log.changed or groups.changed or log.created):
            return None
        changes = Changes(frozenset(log.changed), frozenset(groups.changed), frozenset(log.created))
        log.changed.clear()
        log.created.clear()
        groups.changed.clear()
        return changes

    # --- topics and records ---------------------------------------------------------------

    @property
    def topics(self) -> Mapping[str, TopicSpec]:
        """Topics that exist, by name."""
        return self._log.topics

    def create_topic(self, spec: TopicSpec) -> bool:
        """Make a topic; False if it exists already."""
        return self._log.create(spec)

    def configure_topic(self, topic: str, config: Mapping[str, str]) -> None:
        """Set entries of a topic's configuration; the others stay."""
        self._log.configure(topic, config)

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has; 0 if there is no such topic."""
        return self._log.count(topic)

    def append(self, record: NewRecord) -> tuple[int, int]:
        """Write outside any transaction: partition and offset."""
        partition = self._log.place(record)
        return partition.at.partition, partition.append(record, self._timestamp_ms)

    def burn(self, at: TopicPartition) -> None:
        """Leave an offset without a record, as a marker does: for logs that are made from a recording."""
        self._log.partition(at).mark("", commit=True)

    def restore_position(self, group: str, at: TopicPartition, position: Position) -> None:
        """Set a committed position outside any transaction: for logs that are made from a recording."""
        self._positions.stage("", group, {at: position})
        self._positions.settle("", group, commit=True)

    def read(
        self, at: TopicPartition, position: int, most: int, isolation: Isolation = Isolation.COMMITTED
    ) -> tuple[Sequence[Record], int]:
        """Records from `position` on, and the next position: past markers and gaps."""
        return self._log.partition(at).read(position, most, isolation)

    def beginning(self, at: TopicPartition) -> int:
        """First offset that still exists."""
        return self._log.partition(at).beginning

    def end(self, at: TopicPartition, isolation: Isolation) -> int:
        """End offset, as seen at an isolation level."""
        return self._log.partition(at).end_of(isolation)

    def resolve(self, at: TopicPartition, position: int) -> int:
        """A logical offset (-2 beginning, -1 end for committed reads) as a number."""
        if position == BEGINNING:
            return self.beginning(at)
        return self.end(at, Isolation.COMMITTED) if position == LATEST else position

    def truncate_before(self, at: TopicPartition, offset: int) -> None:
        """Delete what is before `offset`, as retention does."""
        self._log.partition(at).truncate_before(offset)

    # --- transactions -----------------------------------------------------------------------

    def init(self, transactional_id: str, timeout: float) -> Writer:
        """A new epoch of a transactional id; fences the old one and aborts what it left open."""
        return self._transactions.init(transactional_id, timeout)

    def append_in(self, writer: Writer, record: NewRecord) -> int:
        """Write inside the writer's transaction; the offset."""
        return self._transactions.append(writer, record, self._now, self._timestamp_ms)

    def add_positions(
        self,
        writer: Writer,
        group: str,
        member_id: str,
        generation: int,
        positions: Mapping[TopicPartition, Position],
    ) -> None:
        """Positions of a group, inside the writer's transaction, if the member's generation stands."""
        self._transactions.check(writer)
        self._groups.check(group, member_id, generation)
        self._transactions.add_positions(writer, group, positions, self._now)

    def end_transaction(self, writer: Writer, *, commit: bool) -> None:
        """Decide the outcome; readers see it once the markers are written."""
        self._transactions.end(writer, commit=commit)

    @property
    def transactions(self) -> Transactions:
        """Transactions, for whoever writes markers one by one."""
        return self._transactions

    def settle(self) -> None:
        """Write all markers that are missing."""
        self._transactions.settle()

    def positions(
        self, group: str, partitions: Iterable[TopicPartition], *, stable: bool
    ) -> dict[TopicPartition, Position | None]:
        """Committed positions; None where none was ever, absent what is pending (if `stable`)."""
        return self._positions.get(group, partitions, stable=stable)

    def forget_positions(self, group: str) -> None:
        """Delete them all, as Kafka does once a group has been empty for `offsets.retention.minutes`."""
        self._positions.forget(group)

    def lose_positions(self, group: str, commits: int) -> int:
        """Who keeps a group begins anew without the end of its log: the last `commits` are gone, and its members.

        As a broker does that is killed twice in a minute (docs/decisions/0112, 0122); how many commits were lost.
        """
        self._groups.disband(group)
        return self._positions.rewind(group, commits)

    def all_positions(self, group: str) -> dict[TopicPartition, Position]:
        """Every committed position of a group."""
        return self._positions.all_of(group)

    # --- groups -------------------------------------------------------------------------------

    def join(self, group: str, join: Join) -> str:
        """Join a group, or join again; the member id."""
        return self._groups.join(group, join, self._now)

    def heartbeat(self, group: str, member_id: str) -> Standing:
        """Say that a member lives; what it has to do."""
        return self._groups.heartbeat(group, member_id, self._now)

    def assigned(self, group: str, member_id: str) -> Assigned:
        """Generation and partitions of a member that stands as assigned."""
        return self._groups.assigned(group, member_id)

    def leave(self, group: str, member_id: str) -> None:
        """Leave a group."""
        self._groups.leave(group, member_id)

    def members(self, group: str) -> frozenset[str]:
        """Client ids of a group's members."""
        return self._groups.client_ids(group)

    def topics_read(self, group: str) -> frozenset[str] | None:
        """Topics of which a member of a group has partitions; None while they are divided anew."""
        return self._groups.topics_read(group)
