"""Members and readers with the simplest loop there is: they note everything, and do as a case tells them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import count
from typing import Protocol, TypeVar

from farandole.transport.port import (
    Commit,
    End,
    GroupSnapshot,
    Member,
    NewRecord,
    Polled,
    Position,
    Reader,
    ReadPositions,
    Record,
    Reply,
    Request,
    TopicPartition,
    Trouble,
)

T = TypeVar("T")

_moments = count()


class Waits(Protocol):
    """What pumps everything while somebody waits (`Kit`)."""

    def until(self, is_so: Callable[[], T | None], what: str) -> T:
        """Pump until it is so."""
        ...


class Noted:
    """What polls have brought."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.ends: dict[TopicPartition, int] = {}
        self.troubles: list[Trouble] = []

    def note(self, polled: Sequence[Polled]) -> None:
        """Keep it."""
        for each in polled:
            match each:
                case Record():
                    self.records.append(each)
                case End():
                    self.ends[each.at] = each.position
                case Trouble():
                    self.troubles.append(each)

    def values(self, at: TopicPartition | None = None) -> list[bytes | None]:
        """Values of the records, of one partition or all, as they came."""
        return [each.value for each in self.records if at is None or each.at == at]

    def offsets(self, at: TopicPartition) -> list[int]:
        """Offsets of the records of one partition, as they came."""
        return [each.offset for each in self.records if each.at == at]

    def trouble(self, kind: str) -> Trouble | None:
        """The first trouble of a kind."""
        return next((each for each in self.troubles if each.kind == kind), None)


class Reading(Noted):
    """A reader that is polled while the case waits."""

    def __init__(self, waits: Waits, reader: Reader) -> None:
        super().__init__()
        self._waits = waits
        self.reader = reader
        self._is_closed = False

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read these, with nothing noted yet."""
        self.records.clear()
        self.ends.clear()
        self.troubles.clear()
        self.reader.assign(positions)

    def pump(self, timeout: float) -> None:
        """Poll once."""
        if not self._is_closed:
            self.note(self.reader.poll(timeout))

    def reaches(self, at: TopicPartition, position: int) -> None:
        """Wait until an end was told there, or later."""
        self._waits.until(lambda: self.ends.get(at, -1) >= position, f"the end of {at} at {position}")

    def seen(self) -> str:
        """One line for a failure."""
        return f"a reader has {len(self.records)} records, ends {self.ends}, troubles {self.troubles}"

    def close(self) -> None:
        """Poll no more."""
        if not self._is_closed:
            self._is_closed = True
            self.reader.close()


class Driven(Noted):
    """A member, and the rebalance listener that belongs to it.

    `moves` are the calls back in their order: what, which partitions, and a moment that is comparable
    among members. `answer` says what `releasing` answers.
    """

    def __init__(self, waits: Waits, member: Member, start: int | None) -> None:
        super().__init__()
        self._waits = waits
        self.member = member
        self._start = start
        self._replies: dict[int, Reply] = {}
        self._is_silent = False
        self._is_closed = False
        self.answer: Callable[[], bool] = lambda: True
        self.moves: list[tuple[str, frozenset[TopicPartition], int]] = []
        self.largest_poll = 0

    @property
    def client_id(self) -> str:
        """Of the member."""
        return self.member.client_id

    @property
    def owned(self) -> frozenset[TopicPartition]:
        """What is assigned, as the member has it."""
        return self.member.assignment()

    def subscribe(self, topics: Sequence[str]) -> None:
        """Join for these topics."""
        self.member.subscribe(topics, self)

    # --- Rebalance ------------------------------------------------------------------------

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Read them from the start, if this member reads."""
        self._note_move("assigned", partitions)
        if self._start is not None:
            for at in partitions:
                self.member.seek(at, self._start)
            self.member.resume(partitions)

    def releasing(self, partitions: Sequence[TopicPartition]) -> bool:
        """They may go when the case says so."""
        self._note_move("releasing", partitions)
        return self.answer()

    def gone(self, partitions: Sequence[TopicPartition], *, lost: bool) -> None:
        """Note it."""
        self._note_move("lost" if lost else "gone", partitions)

    def moments(self, what: str, at: TopicPartition) -> list[int]:
        """When something happened to a partition."""
        return [moment for move, partitions, moment in self.moves if move == what and at in partitions]

    def moved(self, *what: str) -> frozenset[TopicPartition]:
        """Partitions to which one of these happened."""
        return frozenset(at for move, partitions, _ in self.moves if move in what for at in partitions)

    # --- requests -------------------------------------------------------------------------

    def ask(self, request: Request) -> Reply:
        """Make a request and wait for its reply."""
        return self.reply_to(self.member.call(request))

    def reply_to(self, ticket: int) -> Reply:
        """Wait for the reply that carries a ticket."""
        return self._waits.until(lambda: self._replies.pop(ticket, None), f"a reply to request {ticket}")

    def commit(
        self,
        records: Sequence[NewRecord],
        positions: Mapping[TopicPartition, Position],
        snapshot: GroupSnapshot | None = None,
    ) -> Reply:
        """One transaction, with a fresh snapshot unless another is given."""
        return self.ask(Commit(records, positions, snapshot or self.member.snapshot()))

    def commits(self, records: Sequence[NewRecord], positions: Mapping[TopicPartition, Position]) -> None:
        """One transaction that has to succeed."""
        reply = self.commit(records, positions)
        assert reply.verdict is not None, f"expected a verdict, but got {reply}"
        assert reply.verdict.value == "committed", f"expected a commit, but got {reply.verdict}: {reply.error}"

    def positions(self, partitions: Sequence[TopicPartition], group: str = "") -> dict[TopicPartition, Position | None]:
        """Committed positions, once nothing is pending on any of these partitions.

        A commit is answered before its markers are written (in Kafka), so only a stable read is sure to see it.
        """
        request = ReadPositions(partitions, group=group)

        def settled() -> dict[TopicPartition, Position | None] | None:
            found = dict(self.ask(request).positions)
            return found if len(found) == len(partitions) else None

        found = self._waits.until(settled, f"nothing to be pending on {partitions}")
        assert found is not None
        return found

    # --- life -----------------------------------------------------------------------------

    def pump(self, timeout: float) -> None:
        """Take replies, then poll once."""
        if self._is_closed:
            return
        for reply in self.member.replies(0.0):
            self._replies[reply.ticket] = reply
        if not self._is_silent:
            polled = self.member.poll(timeout)
            self.largest_poll = max(self.largest_poll, sum(isinstance(each, Record) for each in polled))
            self.note(polled)

    def fall_silent(self) -> None:
        """Poll no more: the member becomes a zombie."""
        self._is_silent = True

    def speak(self) -> None:
        """Poll again."""
        self._is_silent = False

    def seen(self) -> str:
        """One line for a failure."""
        return (
            f"{self.client_id} has {len(self.records)} records, ends {self.ends}, troubles {self.troubles}, "
            f"owns {sorted(self.owned)}, moves {[(what, sorted(which)) for what, which, _ in self.moves]}"
        )

    def close(self) -> None:
        """Leave."""
        if not self._is_closed:
            self._is_closed = True
            self.answer = lambda: True
            self.member.close()

    def _note_move(self, what: str, partitions: Collection[TopicPartition]) -> None:
        self.moves.append((what, frozenset(partitions), next(_moments)))
