"""Transactional ids: epochs, fencing, and transactions from their first record to their last marker.

To initialise an id raises its epoch, which fences whoever had it before and aborts what they
left open. A transaction ends in two moves, as on a broker: it is *prepared* (from then on its
outcome stands), then a marker is written to each partition that it touched, one by one. The
shell writes them all at once (`settle`); a simulator may let time pass between them, and whoever
uses the id meanwhile is told to try again (`TransactionBusy`). Knows no generations: the broker
checks them before positions get here.

A broker that comes back may leave markers out: `forget` does, and the transaction is over for its
coordinator and open where they are missing. What the id writes there next, if it has not heard of the
outage, ends both, as that ends; otherwise somebody does it (`recall`; docs/decisions/0123).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from farandole.transport.memory.log import Log
from farandole.transport.memory.positions import Positions
from farandole.transport.memory.refusals import ProducerFenced, TransactionBusy
from farandole.transport.port import NewRecord, Position, TopicPartition


class Writer(NamedTuple):
    """A producer as the broker tells it from others: its transactional id, and which of its epochs."""

    transactional_id: str
    epoch: int


class Stage(Enum):
    """How far a transaction has come; it is forgotten with its last marker."""

    OPEN = "open"
    COMMITTING = "committing"
    ABORTING = "aborting"


Unmarked = TopicPartition | str
"""Where a marker is missing: a partition, or (its positions) a group."""


@dataclass(slots=True)
class Transaction:
    """A transaction that has begun and is not fully marked. `unmarked` keeps the order of first use."""

    deadline: float
    stage: Stage = Stage.OPEN
    unmarked: dict[Unmarked, None] = field(default_factory=dict)
    is_marked: bool = False
    """Whether any marker of it is written."""


@dataclass(slots=True)
class _Left:
    """Markers of a commit that nobody writes any more."""

    unmarked: dict[Unmarked, None]
    is_heard_of: bool = False
    """Whether its writer has had a transaction since, and so has met the outage."""

    is_doubtful: bool = False
    """Whether that one was aborted: nobody knows any more which of the two is open."""


@dataclass(slots=True)
class _Id:
    """What is known of a transactional id."""

    epoch: int = -1
    timeout: float = 0.0
    transaction: Transaction | None = None
    left: _Left | None = None
    is_torn: bool = False
    """Whether one was aborted in this epoch while another was left open, or may be, that had been committed."""


class Transactions:
    """Every transactional id that was ever initialised."""

    def __init__(self, log: Log, positions: Positions) -> None:
        self._log = log
        self._positions = positions
        self._ids: dict[str, _Id] = {}
        self._busy: dict[str, Transaction] = {}
        self._due = float("inf")

    def init(self, transactional_id: str, timeout: float) -> Writer:
        """A new epoch of the id; whoever had it before is fenced.

        Raises:
            TransactionBusy: a transaction was left open and is being aborted, or another is being marked.
        """
        known = self._ids.setdefault(transactional_id, _Id())
        if known.transaction is not None:
            if known.transaction.stage is Stage.OPEN:
                known.epoch += 1
                self._prepare(transactional_id, known, Stage.ABORTING)
            self._refuse_while_busy(transactional_id, known)
        self.recall(transactional_id)  # as a writer does where it may, or waits for a person
        known.is_torn = False
        known.epoch += 1
        known.timeout = timeout
        return Writer(transactional_id, known.epoch)

    def check(self, writer: Writer) -> _Id:
        """What is known of the writer's id.

        Raises:
            ProducerFenced, TransactionBusy: it may do nothing now.
        """
        known = self._ids[writer.transactional_id]
        if writer.epoch != known.epoch:
            raise ProducerFenced(
                f"{writer.transactional_id}: expected the latest epoch, but {writer.epoch} was followed by "
                f"{known.epoch}. Somebody else has initialised this id, or the transaction timed out"
            )
        self._refuse_while_busy(writer.transactional_id, known)
        return known

    def append(self, writer: Writer, record: NewRecord, now: float, timestamp_ms: int) -> int:
        """Write a record in the writer's transaction, which begins with it if need be; its offset.

        Raises:
            ProducerFenced, TransactionBusy, UnknownTopic, RecordTooLarge: nothing was written.
        """
        known = self.check(writer)
        partition = self._log.place(record)
        self._begun(writer, known, now).unmarked[partition.at] = None
        return partition.append(record, timestamp_ms, writer.transactional_id)

    def add_positions(
        self, writer: Writer, group: str, positions: Mapping[TopicPartition, Position], now: float
    ) -> None:
        """Positions that become visible when the transaction commits.

        Raises:
            ProducerFenced, TransactionBusy, UnknownTopic: none was taken.
            MetadataTooLong: of some; the others were taken.
        """
        known = self.check(writer)
        for at in positions:
            self._log.partition(at)
        self._begun(writer, known, now).unmarked[group] = None
        self._positions.stage(writer.transactional_id, group, positions)

    def end(self, writer: Writer, *, commit: bool) -> None:
        """Decide the outcome; without a transaction there is nothing to decide.

        Raises:
            ProducerFenced, TransactionBusy: nothing was decided.
        """
        known = self.check(writer)
        if known.transaction is not None:
            self._prepare(writer.transactional_id, known, Stage.COMMITTING if commit else Stage.ABORTING)

    def expire(self, now: float) -> None:
        """Abort what is open for longer than its writer allowed; the writer is fenced by it."""
        if now < self._due:
            return
        self._due = float("inf")
        for name, known in self._ids.items():
            if known.transaction is None or known.transaction.stage is not Stage.OPEN:
                continue
            if known.transaction.deadline <= now:
                known.epoch += 1
                self._prepare(name, known, Stage.ABORTING)
            else:
                self._due = min(self._due, known.transaction.deadline)

    @property
    def due(self) -> float:
        """No transaction times out before."""
        return self._due

    def unmarked(self) -> Iterator[tuple[str, Unmarked]]:
        """Markers that are still to be written, by transactional id."""
        for name, transaction in self._busy.items():
            for place in transaction.unmarked:
                yield name, place

    def mark(self, transactional_id: str, place: Unmarked) -> None:
        """Write one marker of a prepared transaction; with the last one the id is free again."""
        transaction, known = self._busy[transactional_id], self._ids[transactional_id]
        commit = transaction.stage is Stage.COMMITTING
        del transaction.unmarked[place]
        transaction.is_marked = True
        self._end(transactional_id, place, commit=commit)
        if known.left is not None and place in known.left.unmarked:
            del known.left.unmarked[place]
            known.left = known.left if known.left.unmarked else None
        self._forget_if_marked(transactional_id)

    def forget(self, transactional_id: str) -> None:
        """The id's transaction, which is to be committed, is over, and its markers are left out."""
        transaction, known = self._busy.pop(transactional_id), self._ids[transactional_id]
        known.transaction, known.left = None, _Left(transaction.unmarked)

    def recall(self, transactional_id: str) -> bool:
        """Commit what was forgotten, or abort it in doubt, unless something is under way; whether nothing is left."""
        known = self._ids[transactional_id]
        if (left := known.left) is None or known.transaction is not None:
            return left is None
        known.left = None
        for place in left.unmarked:
            self._end(transactional_id, place, commit=not left.is_doubtful)
        return True

    def forgettable(self) -> list[str]:
        """Ids of which a transaction with records is to be committed and marked nowhere yet, and nothing was forgotten
        before.

        Not of an abort: what its writer commits next would count with it; nor of positions alone: they open partitions,
        and two owners would have one epoch. Both are known and left (decisions 0114, 0123).
        """
        decided = {name: it for name, it in self._busy.items() if it.stage is Stage.COMMITTING and not it.is_marked}
        fresh = [name for name, it in decided.items() if any(not isinstance(place, str) for place in it.unmarked)]
        return [name for name in fresh if self._ids[name].left is None]

    def is_torn(self, transactional_id: str) -> bool:
        """Whether an abort of this epoch has ended what was committed before."""
        return self._ids[transactional_id].is_torn

    def _end(self, transactional_id: str, place: Unmarked, *, commit: bool) -> None:
        if isinstance(place, str):
            self._positions.settle(transactional_id, place, commit=commit)
        else:
            self._log.partition(place).mark(transactional_id, commit=commit)

    def settle(self) -> None:
        """Write every marker that is missing."""
        while self._busy:
            for name, place in list(self.unmarked()):
                self.mark(name, place)

    def _refuse_while_busy(self, transactional_id: str, known: _Id) -> None:
        if known.transaction is not None and known.transaction.stage is not Stage.OPEN:
            raise TransactionBusy(f"{transactional_id}: the markers of its last transaction are not written yet")

    def _begun(self, writer: Writer, known: _Id, now: float) -> Transaction:
        if known.transaction is None:
            if known.left is not None and known.left.is_heard_of:
                self.recall(writer.transactional_id)  # as its writer sees to it
            if known.left is not None:
                known.left.is_heard_of = True
            known.transaction = Transaction(now + known.timeout)
            self._due = min(self._due, known.transaction.deadline)
        return known.transaction

    def _prepare(self, transactional_id: str, known: _Id, stage: Stage) -> None:
        assert known.transaction is not None
        known.transaction.stage = stage
        if stage is Stage.ABORTING and known.left is not None:
            known.left.is_doubtful = known.is_torn = True
        self._busy[transactional_id] = known.transaction
        self._forget_if_marked(transactional_id)

    def _forget_if_marked(self, transactional_id: str) -> None:
        if not self._busy[transactional_id].unmarked:
            del self._busy[transactional_id]
            self._ids[transactional_id].transaction = None
