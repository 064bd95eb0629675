"""Where an inbox stands, as the log itself tells: which of its records were answered although its positions do not
have them. Blocking.

What an agent writes about a record names it (`ce_input`) and stands in the transaction of its position (R3): a fact on
`events`, also for each step that ran at once with another and for a run that the record starts; a dead letter alone
where nobody can tell what the record asks for. So on a sound log each record that is named is done by position and
bitmap, and one that is not proves that the position went back; or it tells where one stood that is missing.

A name is believed only if the record that stands at that place is the one that was answered: its id is the fact's
cause. In a topic that was made anew another record has the place, and may not be passed over.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from farandole.client.scan import header, header_text
from farandole.client.stretches import Told, stretch, unheard
from farandole.errors import MetadataUnreadable
from farandole.events.topics import Topics
from farandole.ids import partition_of
from farandole.transport.metadata import WINDOW, decode
from farandole.transport.port import Admin, Isolation, Position, Record, TopicPartition, Transport

_ORIGINAL = "original_"
"""Before the names of a stranger's headers in its dead letter."""

_COMPARED = 16
"""Headers of a stranger that are compared with its dead letter, which repeats the first 64."""

_DIGITS = 20
"""More than an offset can have: anybody may write anything."""

_EVER = 1 << 63
"""Later than every time of a log."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a position says of its partition: done are the offsets below it and those whose bit is set above it.

    The log has records from `begin` up to, not including, `end`.
    """

    position: int
    bitmap: bytes
    begin: int
    end: int

    def is_open(self, offset: int) -> bool:
        """Whether a record that may be there is not done."""
        above = offset - self.position
        return self.begin <= offset < self.end and above >= 0 and not self._bits >> above & 1

    @property
    def last(self) -> int:
        """The highest offset that is done."""
        return self.position + self._bits.bit_length() - 1

    @property
    def _bits(self) -> int:
        return int.from_bytes(self.bitmap, "little")


def done_of(position: Position, begin: int, end: int) -> Done | None:
    """What a position says of a log that goes from `begin` to `end`; None if nobody can read it."""
    try:
        return Done(position.offset, decode(position.metadata).bitmap, begin, end)
    except MetadataUnreadable:
        return None


def input_of(record: Record) -> tuple[TopicPartition, int] | None:
    """The place that a record names as what its writer had in hand; None if it is none."""
    topic, _, rest = header_text(record, "ce_input").partition("/")
    number, _, offset = rest.partition("/")
    if not (_is_number(number) and _is_number(offset)):
        return None
    return TopicPartition(topic, int(number)), int(offset)


@dataclass(frozen=True, slots=True)
class Stand:
    """Where a partition stood before its position went back.

    `last` is the highest offset that was answered. `doubted`: up to where records that are read again may have been
    answered all the same, for what was written of them may be deleted; None if there is no such record. `unanswered`:
    how many below have no answer although it would be there, and are too far below `last` to be read again.
    """

    position: int
    bitmap: bytes
    last: int
    doubted: int | None
    unanswered: int


@dataclass(frozen=True, slots=True)
class _Left:
    """A record without an answer.

    `is_doubted`: it may have been answered all the same. `is_owed`: it was not, as far as the log goes back: what names
    its place, if anything does, speaks of another record.
    """

    is_doubted: bool
    is_owed: bool


@dataclass(slots=True)
class _Named:
    """What the log says of open offsets of one partition: each with a hash of what tells the record from another.

    A hash, for there may be as many as an hour's work, and each is compared with one record alone.
    """

    by_fact: set[tuple[int, int]] = field(default_factory=set)
    by_letter: set[tuple[int, int]] = field(default_factory=set)

    def reaches(self, done: Done) -> int:
        """Up to where the inbox is to be read: past all that may have been answered; 0 if no fact names anything."""
        if not any(done.is_open(offset) for offset, _ in self.by_fact):
            return 0
        return min(done.end, max(done.last, *(offset for offset, _ in self.by_fact | self.by_letter)) + 1)

    def is_answered(self, record: Record) -> bool:
        return (record.offset, hash(header(record, "ce_id"))) in self.by_fact

    def is_dead(self, record: Record) -> bool:
        return (record.offset, hash(_as_stranger(record))) in self.by_letter


class Answers:
    """`events` and the dead letters of an agent, held against what its positions say."""

    def __init__(self, transport: Transport, admin: Admin, topics: Topics, agent: str, told: Told = unheard) -> None:
        self._transport, self._admin, self._topics, self._told = transport, admin, topics, told
        self._inbox, self._dead = topics.inbox(agent), topics.dead(agent)
        self._known_from: dict[int, int] = {}
        self._homes = 0

    def named(self, done: Mapping[TopicPartition, Done]) -> dict[TopicPartition, _Named]:
        """The partitions of which `events` names records as answered that are not done.

        Raises:
            TransportError: a partition cannot be read to its end.
        """
        found: dict[TopicPartition, _Named] = {}
        begins, ends = self._spans(self._topics.events)
        oldest: dict[TopicPartition, int] = {}
        for record in self._read(begins, ends):
            oldest.setdefault(record.at, record.timestamp_ms)
            cause = header(record, "ce_cause")
            if cause and (place := self._consumed(record, done)) is not None:
                at, offset = place
                found.setdefault(at, _Named()).by_fact.add((offset, hash(cause)))
        self._homes = len(begins)
        self._known_from = {at.partition: oldest.get(at, _EVER) for at, begin in begins.items() if begin > 0}
        return found

    def stood(
        self, done: Mapping[TopicPartition, Done], named: Mapping[TopicPartition, _Named]
    ) -> dict[TopicPartition, Stand]:
        """Where the partitions stood whose positions went back; `done` may be later than what `named` was asked with.

        Raises:
            TransportError: a partition cannot be read to its end.
        """
        done = {at: it for at, it in done.items() if at in named and named[at].reaches(it)}
        if not done:
            return {}
        for record in self._read(*self._spans(self._dead)):
            place = self._consumed(record, done)
            if place is not None and header_text(record, "ce_id") == f"{header_text(record, 'ce_input')}/dead":
                named[place[0]].by_letter.add((place[1], hash(_of_letter(record))))
        readings = {at: _Reading(it, named[at], self._may_be_forgotten) for at, it in done.items()}
        begin = {at: max(it.begin, it.position) for at, it in done.items()}
        for record in self._read(begin, {at: named[at].reaches(it) for at, it in done.items()}):
            readings[record.at].take(record)
        stands = {at: reading.stand() for at, reading in readings.items()}
        return {at: stand for at, stand in stands.items() if stand is not None}

    def _may_be_forgotten(self, record: Record) -> bool:
        """Whether what was written of an inbox record may be deleted from `events` again, in the home of its run."""
        run = header_text(record, "ce_run")
        if run and self._homes:
            return record.timestamp_ms <= self._known_from.get(partition_of(run, self._homes), -1)
        return record.timestamp_ms <= max(self._known_from.values(), default=-1)

    def _spans(self, topic: str) -> tuple[Mapping[TopicPartition, int], Mapping[TopicPartition, int]]:
        spec = self._admin.topics([topic]).get(topic)
        places = [TopicPartition(topic, n) for n in range(0 if spec is None else spec.partitions)]
        if not places:
            return {}, {}
        return self._admin.beginnings(places), self._admin.ends(places, Isolation.UNCOMMITTED)

    def _read(self, begin: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> Iterator[Record]:
        return stretch(self._transport, f"{self._topics.namespace}.reposition", begin, ends, self._told)

    def _consumed(self, record: Record, done: Mapping[TopicPartition, Done]) -> tuple[TopicPartition, int] | None:
        """The place of the inbox that a record names as its input, if one of `done` says that it is open."""
        place = input_of(record)
        if place is None or place[0].topic != self._inbox:
            return None
        at, offset = place
        return place if at in done and done[at].is_open(offset) else None


class _Reading:
    """One partition, record by record from its position on: what is answered of the last `WINDOW` offsets."""

    def __init__(self, done: Done, named: _Named, is_old: Callable[[Record], bool]) -> None:
        self._done, self._named, self._is_old = done, named, is_old
        self._by_letter = {offset for offset, _ in named.by_letter}
        self._doubtful = self._by_letter | {offset for offset, _ in named.by_fact}
        self._last: int | None = None
        self._answered: set[int] = set()
        self._left: dict[int, _Left] = {}
        self._owed_below = 0
        """Records without an answer that are out of hand, for they are too far below one that was answered."""
        self._owed_above = 0
        """And those that are so if one more is answered."""

    def take(self, record: Record) -> None:
        """The next record."""
        offset = record.offset
        is_answered = self._done.is_open(offset) and self._named.is_answered(record)
        if is_answered:
            self._last = offset
            self._owed_below, self._owed_above = self._owed_below + self._owed_above, 0
        if is_answered or not self._done.is_open(offset) or self._named.is_dead(record):
            self._answered.add(offset)
        else:
            is_old = self._is_old(record)
            owed = not is_old and offset not in self._by_letter
            self._left[offset] = _Left(is_old or offset in self._doubtful, owed)
        if len(self._left) + len(self._answered) > 4 * WINDOW:
            self._forget(offset)

    def stand(self) -> Stand | None:
        """Where it stood; None if what is named was answered in another topic of that name.

        A record is taken in only while the lowest unfinished one is less than `WINDOW` offsets below it: whatever is
        farther below than that was finished by then.
        """
        if self._last is None:
            return None
        last = max(self._last, self._done.last)
        left = {offset: it for offset, it in self._left.items() if last - WINDOW < offset <= last}
        below = sum(it.is_owed for offset, it in self._left.items() if offset <= last - WINDOW)
        position = min(left, default=last + 1)
        while position in self._answered:  # dead letters behind the last fact
            position += 1
        bits = sum(1 << (offset - position) for offset in self._answered if position < offset < position + WINDOW)
        doubted = max((offset for offset, it in left.items() if it.is_doubted), default=None)
        bitmap = bits.to_bytes((bits.bit_length() + 7) // 8, "little")
        return Stand(position, bitmap, last, None if doubted is None else doubted + 1, self._owed_below + below)

    def _forget(self, offset: int) -> None:
        """Keep what is in the window of the last one that was answered, or of one that is still to come."""
        last = -1 if self._last is None else max(self._last, self._done.last)

        def is_kept(each: int) -> bool:
            return each > offset - WINDOW or last - WINDOW < each <= last

        out = [each for each, it in self._left.items() if it.is_owed and not is_kept(each)]
        self._owed_below += sum(each <= last for each in out)
        self._owed_above += sum(each > last for each in out)
        self._left = {each: it for each, it in self._left.items() if is_kept(each)}
        self._answered = {each for each in self._answered if is_kept(each)}


def _is_number(text: str) -> bool:
    return len(text) < _DIGITS and text.isascii() and text.isdecimal()


def _as_stranger(record: Record) -> tuple[object, ...]:
    """What the dead letter of a record that nobody could read has of it."""
    return record.value, *((_ORIGINAL + name, content) for name, content in record.headers[:_COMPARED])


def _of_letter(letter: Record) -> tuple[object, ...]:
    original = [(name, content) for name, content in letter.headers if name.startswith(_ORIGINAL)]
    return letter.value, *original[:_COMPARED]
