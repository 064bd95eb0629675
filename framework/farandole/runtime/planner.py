"""Which results go into the next transaction, and what becomes of them when it has ended (R3 to R6, R11).

While one transaction is in flight results pile up, and the next takes them all: alone, a
record waits for nothing. Every transaction names position and metadata of each partition it
touches. Pure: partitions and results in, records and positions out; whoever submits takes the
group snapshot at that moment, after the epoch filter of `plan`.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

from farandole.runtime.partition import Partition, Stage
from farandole.transport.metadata import NUMBER_BITS, Metadata, encode
from farandole.transport.outgoing import size_of
from farandole.transport.port import NewRecord, Position, TopicPartition


@dataclass(slots=True, eq=False)
class Answer:
    """What one inbox record came to: the records to write with its position.

    `charge`: bytes of its input, which stay in flight until it is committed. `refused` counts how often these
    records could not be produced; `retreat` then gives records that can, in place of them, or None if there is no less
    to say: then it says `whole` again, what it said first. `rounds` counts how often that came to pass.
    """

    partition: Partition
    offset: int
    records: Sequence[NewRecord]
    size: int
    charge: int
    retreat: Callable[[int, str], Sequence[NewRecord] | None]
    refused: int = 0
    whole: Sequence[NewRecord] = ()
    rounds: int = 0


@dataclass(slots=True, eq=False)
class Flight:
    """A transaction: submitted, perhaps in doubt, until it is known how it ended.

    `is_suspect`: it holds part of a batch that was refused. `opening` and `closing` partitions commit their epoch,
    or that they were let go of in order.
    """

    number: int
    answers: list[Answer]
    touched: dict[TopicPartition, Partition]
    positions: dict[TopicPartition, Position]
    opening: list[Partition]
    closing: list[Partition]
    is_suspect: bool = False

    @property
    def records(self) -> list[NewRecord]:
        """All records, in the order of their results."""
        return list(chain.from_iterable(answer.records for answer in self.answers))


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one transaction; the first answer is always taken."""

    records_max: int
    bytes_max: int

    def halved(self) -> "Limits":
        """Half of them, and at least one."""
        return Limits(max(1, self.records_max // 2), max(1, self.bytes_max // 2))

    def grown(self, most: "Limits") -> "Limits":
        """A tenth of `most` more, and no more than that."""
        return Limits(
            min(most.records_max, self.records_max + max(1, most.records_max // 10)),
            min(most.bytes_max, self.bytes_max + max(1, most.bytes_max // 10)),
        )


@dataclass(slots=True)
class Planner:
    """Results in hand, and the way they leave it. `number` starts at random at each producer start (R4)."""

    writer: str
    number: int
    limits: Limits
    """The setting: the most that a transaction grows to."""

    _size: Limits = field(init=False)
    """The bounds at present."""

    _answers: deque[Answer] = field(default_factory=deque)
    _suspects: deque[deque[Answer]] = field(default_factory=deque)
    """Halves of a refused batch: each goes alone, until the culprit stands alone."""

    def __post_init__(self) -> None:
        self._size = self.limits

    def shrink(self) -> None:
        """A transaction was not answered in time: the next ones are half as large, so that a slow log keeps up."""
        self._size = self._size.halved()

    def grow(self) -> None:
        """A transaction was committed: the next ones may be larger by a tenth of the setting."""
        self._size = self._size.grown(self.limits)

    def add(self, answer: Answer) -> None:
        """One more result in hand."""
        self._answers.append(answer)

    @property
    def has_answers(self) -> bool:
        """Whether results are in hand."""
        return bool(self._answers or self._suspects)

    def waits_for(self, partition: Partition) -> bool:
        """Whether results of a partition are in hand."""
        return any(a.partition is partition for a in chain(self._answers, *self._suspects))

    def drop(self, is_current: Callable[[Partition], bool]) -> list[Answer]:
        """Throw away results whose assignment no longer stands (R6)."""
        out = [a for a in chain(self._answers, *self._suspects) if not is_current(a.partition)]
        if out:
            self._answers = deque(a for a in self._answers if is_current(a.partition))
            kept = (deque(a for a in batch if is_current(a.partition)) for batch in self._suspects)
            self._suspects = deque(batch for batch in kept if batch)
        return out

    def plan(
        self,
        opening: Sequence[Partition] = (),
        closing: Sequence[Partition] = (),
        settling: Sequence[Partition] = (),
    ) -> Flight | None:
        """The next transaction, or None if there is nothing to say. Call `drop` first.

        `settling` partitions have markers and gaps to be committed over (R9).
        """
        is_suspect = bool(self._suspects)
        answers = self._batch(self._suspects[0] if is_suspect else self._answers)
        if is_suspect and not self._suspects[0]:
            self._suspects.popleft()
        closing = [p for p in closing if not self.waits_for(p)]
        if not (answers or opening or closing or settling):
            return None
        self.number = (self.number + 1) % (1 << NUMBER_BITS)
        done: dict[Partition, set[int]] = {}
        for answer in answers:
            done.setdefault(answer.partition, set()).add(answer.offset)
        for p in chain(opening, closing, settling):
            done.setdefault(p, set())
        positions = {p.at: self._position(p, extra, p in closing) for p, extra in done.items()}
        touched = {p.at: p for p in done}
        return Flight(self.number, answers, touched, positions, list(opening), closing, is_suspect)

    def committed(self, flight: Flight, is_current: Callable[[Partition], bool]) -> None:
        """The transaction stands: its offsets are done."""
        done: dict[Partition, list[int]] = {}
        for answer in flight.answers:
            done.setdefault(answer.partition, []).append(answer.offset)
        for at, p in flight.touched.items():
            if is_current(p):
                p.offsets.finish(done.get(p, ()))
                p.committed = flight.positions[at].offset
                p.look_clean()
        for p in flight.opening:
            if is_current(p) and p.stage is Stage.EPOCH:
                p.opened()
        for p in flight.closing:
            p.is_released = True

    def without_effect(self, flight: Flight) -> None:
        """The transaction had no effect: its results are in hand again, before all others (R5)."""
        if flight.is_suspect:
            if flight.answers:
                self._suspects.appendleft(deque(flight.answers))
        else:
            self._answers.extendleft(reversed(flight.answers))

    def refused(self, flight: Flight, error: str) -> Answer | None:
        """A record could not be produced: halve until the culprit stands alone, which then says something else.

        Returns the culprit, whose `retreat` was called; it is in hand again. If there was no less to say, its `refused`
        is 0: one more refusal is not the record's fault.
        """
        if len(flight.answers) > 1:
            half = len(flight.answers) // 2
            self._suspects.extendleft((deque(flight.answers[half:]), deque(flight.answers[:half])))
            return None
        if not flight.answers:
            return None
        culprit = flight.answers[0]
        culprit.whole = culprit.whole or culprit.records
        culprit.refused += 1
        less = culprit.retreat(culprit.refused, error)
        if less is None:
            culprit.refused, culprit.rounds = 0, culprit.rounds + 1
        culprit.records = culprit.whole if less is None else less
        culprit.size = sum(size_of(record) for record in culprit.records)
        self._suspects.appendleft(deque([culprit]))
        return culprit

    def _batch(self, waiting: deque[Answer]) -> list[Answer]:
        """As many of them as may go together."""
        batch: list[Answer] = []
        records = size = 0
        while waiting:
            first = waiting[0]
            records, size = records + len(first.records), size + first.size
            if batch and (records > self._size.records_max or size > self._size.bytes_max):
                break
            batch.append(waiting.popleft())
        return batch

    def _position(self, p: Partition, done: set[int], clean: bool) -> Position:
        offset, bitmap = p.offsets.commit_point(done)
        epoch = p.epoch + (p.stage is Stage.EPOCH)
        return Position(offset, encode(Metadata(self.writer, self.number, epoch, clean, bitmap=bitmap)))


def partitions_of(answers: Iterable[Answer]) -> list[Partition]:
    """The partitions of some results, once each."""
    return list(dict.fromkeys(answer.partition for answer in answers))
