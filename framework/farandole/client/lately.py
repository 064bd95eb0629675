"""Whether positions are behind what was answered lately: a look of seconds, for who looks a deployment over. Blocking.

By the proof of `answered`, on the ends of `events` and what `since` reads. So it may miss what `agent reposition`
finds, and tells of nothing that is not so:

- What was answered is read first, and the positions that should have it later. They only advance, so that what is open
  then was answered and is not done, unless its transaction is pending; then nothing is said of it.
- The unit may be at work. A broker that is reading its log of positions may give out old ones for seconds, and none the
  next moment: two looks must find the same.
- What a person let be read again (`Repositioned`) was answered, and is open until the unit has caught up.
- A fact is believed only if its cause is the record that stands at the place it names, which one record tells.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from farandole.client.answered import done_of, input_of
from farandole.client.applying import read_rows
from farandole.client.placing import seen_settled
from farandole.client.scan import header
from farandole.client.stretches import stretch
from farandole.errors import RecordError
from farandole.events.acts import LATE, REPOSITION, ReadAgain, read_repositioned
from farandole.events.envelope import instant_of
from farandole.events.topics import Topics
from farandole.transport.port import Admin, Isolation, Position, Record, TopicPartition, Transport

TAIL_OFFSETS = 500
"""Of each partition of `events`: 12,000 at most of as many as there are by default, which is a part of a second."""

LOOK_S = 5.0
"""Longest that one reading may take; what was read by then is what is known."""

CERTAIN_S = 10.0
"""Between the two looks, where something is suspected: longer than an only broker was seen to load an hour of positions
(3.8 s, and 8 s on a machine at its limit; decision 0112)."""

_EVER = 1 << 63


@dataclass(frozen=True, slots=True)
class Named:
    """A record of an inbox that a fact names as answered: its offset, a hash of the fact's cause, and when that was."""

    offset: int
    cause: int
    written: datetime


@dataclass(frozen=True, slots=True)
class WentBack:
    """A position that is behind `answered`, the highest offset of which it was found that it was answered."""

    unit: str
    at: TopicPartition
    position: int
    answered: int


Lately = Mapping[TopicPartition, Sequence[Named]]


def named_lately(transport: Transport, admin: Admin, topics: Topics) -> dict[TopicPartition, list[Named]]:
    """What the last facts name, by partition of the inboxes. Only what is settled is read: nothing is waited for.

    Raises:
        TransportError: `events` cannot be read.
    """
    spec = admin.topics([topics.events]).get(topics.events)
    places = [TopicPartition(topics.events, n) for n in range(0 if spec is None else spec.partitions)]
    if not places:
        return {}
    begins, ends = admin.beginnings(places), admin.ends(places, Isolation.COMMITTED)
    tail = {at: max(begins[at], ends[at] - TAIL_OFFSETS) for at in places}
    found: dict[TopicPartition, list[Named]] = {}
    for record in stretch(transport, client_id(topics), tail, ends, until=time.monotonic() + LOOK_S):
        take(record, topics, found)
    return found


def take(record: Record, topics: Topics, found: dict[TopicPartition, list[Named]]) -> None:
    """What a record of `events` names, beside what others did."""
    place, cause = input_of(record), header(record, "ce_cause")
    if place is not None and cause and place[0].topic.startswith(topics.inbox("")):
        at, offset = place
        found.setdefault(at, []).append(Named(offset, hash(cause), instant_of(record.timestamp_ms)))


def went_back(
    transport: Transport, admin: Admin, topics: Topics, lately: Lately, owners: Mapping[str, str]
) -> list[WentBack]:
    """The positions that do not have what was named lately; `owners` (unit of each agent) were asked for after that.

    Seconds longer where something is suspected.

    Raises:
        TransportError: something cannot be read.
    """
    unit_of = {topics.inbox(agent): unit for agent, unit in owners.items()}
    found: list[WentBack] = []
    for unit in sorted(set(owners.values())):
        its = {at: named for at, named in lately.items() if unit_of.get(at.topic) == unit}
        behind = _behind(transport, admin, topics.group(unit), its) if its else {}
        if behind:
            found += sorted(_proven(transport, admin, topics, unit, behind, its), key=lambda each: each.at)
    return found


def _behind(transport: Transport, admin: Admin, group: str, its: Lately) -> dict[TopicPartition, Position]:
    """Settled positions that do not have all that is named; in two looks, unless the first word is that they have."""
    found = _open(admin.positions(group, sorted(its)), its)
    if found:
        found = _open(seen_settled(transport, group, sorted(found), LOOK_S), its)
    if found:
        time.sleep(CERTAIN_S)
        found = _open(seen_settled(transport, group, sorted(found), LOOK_S), its)
    return found


def _open(positions: Mapping[TopicPartition, Position], its: Lately) -> dict[TopicPartition, Position]:
    return {at: position for at, position in positions.items() if any(_left(position, its[at]))}


def _left(position: Position, named: Iterable[Named], begin: int = 0, end: int = _EVER) -> Iterator[Named]:
    """What is not done for a position; nothing if nobody can read it."""
    done = done_of(position, begin, end)
    return iter(()) if done is None else (each for each in named if done.is_open(each.offset))


def _proven(
    transport: Transport,
    admin: Admin,
    topics: Topics,
    unit: str,
    behind: Mapping[TopicPartition, Position],
    its: Lately,
) -> Iterator[WentBack]:
    """Those of which the highest offset that is open is the record that was answered, and nobody let it be read again.

    Acts are read last: what they gave was committed with them.
    """
    acts = _acts(transport, admin, topics)
    begins, ends = admin.beginnings(list(behind)), admin.ends(list(behind), Isolation.UNCOMMITTED)
    last: dict[TopicPartition, int] = {}
    for at, position in behind.items():
        left = [each.offset for each in _left(position, its[at], begins[at], ends[at]) if not _is_again(each, at, acts)]
        if left:
            last[at] = max(left)
    until = time.monotonic() + LOOK_S
    read = stretch(transport, client_id(topics), last, {at: it + 1 for at, it in last.items()}, until=until)
    for record in read:
        told = record.offset, hash(header(record, "ce_id"))
        if any((each.offset, each.cause) == told for each in its[record.at]):
            yield WentBack(unit, record.at, behind[record.at].offset, record.offset)


def _acts(transport: Transport, admin: Admin, topics: Topics) -> dict[TopicPartition, list[tuple[ReadAgain, datetime]]]:
    """What people let be read again, and when. A row that is none lets nothing be read."""
    found: dict[TopicPartition, list[tuple[ReadAgain, datetime]]] = {}
    for key, row in read_rows(transport, admin, topics.definitions).items():
        if not key.startswith(REPOSITION):
            continue
        with suppress(RecordError):
            act = read_repositioned(row.encode())
            for each in act.partitions:
                at = TopicPartition(topics.inbox(act.agent), each.partition)
                found.setdefault(at, []).append((each, act.at))
    return found


def _is_again(
    it: Named, at: TopicPartition, acts: Mapping[TopicPartition, Sequence[tuple[ReadAgain, datetime]]]
) -> bool:
    """Whether it was answered before somebody let it be read once more."""
    return any(each.begin <= it.offset < each.end and it.written <= when + LATE for each, when in acts.get(at, ()))


def client_id(topics: Topics) -> str:
    """Of who looks a deployment over."""
    return f"{topics.namespace}.doctor"
