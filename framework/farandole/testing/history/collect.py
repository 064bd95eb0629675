"""A `History` from a live log: every topic of a namespace, read to the end that stands at the call.

Committed positions are read before the topics, so that whatever counts as consumed has its
effects in what is read after. Blocking; for tests, `farandole verify` and the like.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from farandole.clock import Clock, SystemClock
from farandole.definition.model import Definition, parse_definition
from farandole.errors import DefinitionError, MetadataUnreadable, RecordError, TransportError
from farandole.events.acts import REPOSITION, Repositioned, read_repositioned
from farandole.events.topics import Topics
from farandole.lineage.entries import Entry, from_record
from farandole.testing.history.report import Committed, History, Span
from farandole.transport.metadata import decode
from farandole.transport.port import Admin, Isolation, Position, Reader, Record, TopicPartition, Transport

BEGINNING = -2
COORDINATOR = "coordinator"
"""The coordinators' unit."""

INBOX, DEAD = "inbox", "dead"
PRIVATE = ("telemetry", "schemas", "definitions")
"""Topics of a namespace that are no part of its history: hints, and what is read apart."""

POLL_S = 0.1


def collect(
    transport: Transport,
    namespace: str = "farandole",
    *,
    own: Sequence[str] = (),
    quiescent: bool = False,
    isolation: Isolation = Isolation.UNCOMMITTED,
    clock: Clock | None = None,
    timeout: timedelta = timedelta(seconds=60),
) -> History:
    """The history of a namespace. `own` are topics of the user's to read too; `quiescent`: nothing is under way.

    `isolation` says which ends are read to: those of open transactions (and so their outcome is waited for), or
    what can be read now, which is a history only if nobody is in the midst of committing.

    Raises:
        TransportError: the log does not answer, or an open transaction hides its end for longer than `timeout`.
    """
    clock = clock or SystemClock()
    topics, admin, reader = Topics(namespace), transport.admin(), transport.reader(f"{namespace}.history")
    scan = _Scan(reader, clock, timeout)
    try:
        counts = _counts(admin, namespace, own)
        known = _definitions(admin, scan, topics)
        now = clock.now()
        committed = tuple(_committed(admin, topics, counts, known.units))
        spans = _spans(admin, _read_ones(topics, counts))
        wants_open = isolation is Isolation.UNCOMMITTED
        by_topic = _by_topic(scan.read({at: it.end if wants_open else it.stable for at, it in spans.items()}))
    finally:
        reader.close()
        admin.close()
    return History(
        topics=topics,
        events=tuple(by_topic[topics.events]),
        commands=tuple(by_topic[topics.commands]),
        inboxes=_of_kind(by_topic, topics, INBOX),
        dead=_of_kind(by_topic, topics, DEAD),
        runs=tuple(by_topic[topics.runs]),
        settled=tuple(by_topic[topics.settled]),
        control=tuple(by_topic[topics.control]),
        published=tuple(entry for name in own for entry in by_topic[name]),
        definitions=known.definitions,
        units=known.units,
        spans={(at.topic, at.partition): span for at, span in spans.items()},
        committed=committed,
        repositions=tuple(known.repositions),
        quiescent=quiescent,
        now=now,
    )


def _by_topic(entries: Iterable[Entry]) -> Mapping[str, list[Entry]]:
    found: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        found[entry.topic].append(entry)
    return found


def entry_of(record: Record) -> Entry:
    """The entry of a record that a reader delivered."""
    return from_record(
        record.topic,
        record.partition,
        record.offset,
        record.key,
        record.value,
        record.headers,
        record.timestamp_ms,
    )


class _Scan:
    """Reads partitions to given ends through one reader."""

    def __init__(self, reader: Reader, clock: Clock, timeout: timedelta) -> None:
        self._reader = reader
        self._clock = clock
        self._timeout = timeout

    def read(self, ends: Mapping[TopicPartition, int]) -> list[Entry]:
        """Every committed record before the ends, in the order of each partition."""
        return [entry_of(record) for record in self.records(ends)]

    def records(self, ends: Mapping[TopicPartition, int]) -> list[Record]:
        """The records themselves."""
        left = {at: end for at, end in ends.items() if end > 0}
        out: list[Record] = []
        self._reader.assign(dict.fromkeys(left, BEGINNING))
        until = self._clock.monotonic() + self._timeout.total_seconds()
        while left:
            for polled in self._reader.poll(POLL_S):
                if isinstance(polled, Record) and polled.offset < ends.get(polled.at, 0):
                    out.append(polled)
            left = {at: end for at, end in left.items() if (self._reader.position(at) or 0) < end}
            if left and self._clock.monotonic() > until:
                at, end = next(iter(left.items()))
                raise TransportError(
                    f"{at.topic}[{at.partition}]: expected to read up to {end} within {self._timeout}, but stand at "
                    f"{self._reader.position(at)}: an open transaction may hide the rest. Nothing was judged"
                )
        return sorted(out, key=lambda record: (record.topic, record.partition, record.offset))


def lag(transport: Transport, namespace: str = "farandole") -> int:
    """How many offsets the owners of all partitions are behind, markers included: 0 when nothing is under way."""
    topics, admin, reader = Topics(namespace), transport.admin(), transport.reader(f"{namespace}.lag")
    try:
        counts = _counts(admin, namespace, ())
        known = _definitions(admin, _Scan(reader, SystemClock(), timedelta(seconds=60)), topics)
        committed = list(_committed(admin, topics, counts, known.units))
        places = [TopicPartition(each.topic, each.partition) for each in committed]
        ends = admin.ends(places, Isolation.UNCOMMITTED) if places else {}
    finally:
        reader.close()
        admin.close()
    return sum(max(0, ends[at] - each.position) for at, each in zip(places, committed, strict=True))


def _counts(admin: Admin, namespace: str, own: Sequence[str]) -> dict[str, int]:
    """The topics of a namespace and the user's, with their numbers of partitions."""
    found = admin.topics()
    return {name: it.partitions for name, it in found.items() if name.startswith(f"{namespace}.") or name in own}


@dataclass(frozen=True, slots=True)
class _Known:
    """Compiled pipelines by hash, the unit of each agent's inbox, and what people did to positions."""

    definitions: dict[str, Definition] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    repositions: list[Repositioned] = field(default_factory=list)

    def take(self, key: str, value: bytes) -> None:
        """A row; one that is unreadable says nothing."""
        kind, colon, name = key.partition(":")
        with suppress(DefinitionError, RecordError):  # a run that is pinned to it is reported as pinned to nothing
            if not colon:
                self.definitions[key] = parse_definition(value)
            elif kind == INBOX:
                self.units[name] = value.decode(errors="replace")
            elif key.startswith(REPOSITION):
                self.repositions.append(read_repositioned(value))


def _definitions(admin: Admin, scan: _Scan, topics: Topics) -> _Known:
    at = TopicPartition(topics.definitions, 0)
    known = _Known()
    for record in scan.records(admin.ends([at], Isolation.UNCOMMITTED)):
        if record.value is not None:  # what a name means now does not change what runs are pinned to
            known.take((record.key or b"").decode(errors="replace"), record.value)
    return known


def _read_ones(topics: Topics, counts: Mapping[str, int]) -> list[TopicPartition]:
    """The partitions that make up the history."""
    private = {f"{topics.namespace}.{kind}" for kind in PRIVATE}
    return [TopicPartition(name, n) for name, count in counts.items() if name not in private for n in range(count)]


def _spans(admin: Admin, places: Sequence[TopicPartition]) -> dict[TopicPartition, Span]:
    if not places:
        return {}
    begin = admin.beginnings(places)
    stable = admin.ends(places, Isolation.COMMITTED)
    ends = admin.ends(places, Isolation.UNCOMMITTED)
    return {at: Span(begin[at], stable[at], ends[at]) for at in places}


def _committed(
    admin: Admin, topics: Topics, counts: Mapping[str, int], units: Mapping[str, str]
) -> Iterable[Committed]:
    """The positions of whoever owns each partition: coordinators at home, units at their agents' inboxes."""
    owned: dict[str, list[TopicPartition]] = defaultdict(list)
    for name in (topics.events, topics.commands):
        owned[topics.group(COORDINATOR)] += [TopicPartition(name, n) for n in range(counts.get(name, 0))]
    for agent, unit in units.items():
        inbox = topics.inbox(agent)
        owned[topics.group(unit)] += [TopicPartition(inbox, n) for n in range(counts.get(inbox, 0))]
    for group, places in owned.items():
        if places:
            for at, position in admin.positions(group, places).items():
                yield _position(group, at, position)


def _position(group: str, at: TopicPartition, position: Position) -> Committed:
    try:
        metadata = decode(position.metadata)
    except MetadataUnreadable as bad:
        return Committed(group, at.topic, at.partition, position.offset, trouble=str(bad))
    bits = int.from_bytes(metadata.bitmap, "little")
    done = frozenset(position.offset + n for n in range(bits.bit_length()) if bits >> n & 1)
    return Committed(
        group, at.topic, at.partition, position.offset, done, metadata.writer, metadata.epoch, metadata.clean
    )


def _of_kind(by_topic: Mapping[str, list[Entry]], topics: Topics, kind: str) -> tuple[Entry, ...]:
    prefix = f"{topics.namespace}.{kind}."
    return tuple(entry for name, entries in sorted(by_topic.items()) if name.startswith(prefix) for entry in entries)
