"""What was answered since the records that are next at the positions were written. Blocking.

The ends of `events` do not tell where a unit that was started anew has done much once more: its new facts have pushed
the old ones out of there. But the record at a position is on the log, with its instant and its run: what was answered
of it stands on the home of that run, and later. So homes are read from that instant on: a stretch at once, and short
spots up to their ends, since an inbox that lagged then was answered much later, and what lies between may be long.

Facts that name what is done by the positions, or what was never done, are no harm: `lately` proves each that counts.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from itertools import zip_longest

from farandole.client.answered import Done, done_of
from farandole.client.lately import TAIL_OFFSETS, Named, client_id, take
from farandole.client.scan import header_text
from farandole.errors import TransportError
from farandole.events.topics import Topics
from farandole.ids import partition_of
from farandole.transport.port import Admin, Isolation, Reader, Record, TopicPartition, Transport, Trouble

LOOK_S = 5.0
"""Longest that all of it may take; what was read by then is what is known."""

PARTITIONS_MAX = 8
"""Of each agent, those that have most to read: positions of a group go back together."""

NEXT_OFFSETS = 64
"""From a position on: some records, however many of them are markers or done already."""

STRETCH_OFFSETS = 1_000
SPOTS, SPOT_OFFSETS = 8, 100
"""Of each home: what is missed is what takes less than an eighth of the time since then."""

EARLY_MS = 1_000
"""Before the record: what clocks may differ; the doctor tells of more."""

Instants = Mapping[TopicPartition, int]
Spans = Mapping[TopicPartition, tuple[int, int]]

_EVER = 1 << 63


def named_since(
    transport: Transport,
    admin: Admin,
    topics: Topics,
    owners: Mapping[str, str],
    offsets_at: Callable[[Instants], Mapping[TopicPartition, int]],
) -> dict[TopicPartition, list[Named]]:
    """As `named_lately`, of what the units have left to read. `offsets_at` has the first offset at or after an instant
    (ms), without the partitions that have none.

    Raises:
        TransportError: something cannot be read.
    """
    until = time.monotonic() + LOOK_S
    found: dict[TopicPartition, list[Named]] = {}
    spec = admin.topics([topics.events]).get(topics.events)
    if spec is None:
        return found
    homes = [TopicPartition(topics.events, n) for n in range(spec.partitions)]
    ends = admin.ends(homes, Isolation.COMMITTED)
    left = dict(_left(admin, topics, owners))
    spans = {at: (it.position, min(it.end, it.position + NEXT_OFFSETS)) for at, it in left.items()}
    instants: defaultdict[str, dict[TopicPartition, int]] = defaultdict(dict)
    begins: defaultdict[TopicPartition, list[int]] = defaultdict(list)
    with closing(transport.reader(client_id(topics))) as reader:
        for record in _read(reader, spans, until):
            if left[record.at].is_open(record.offset) and (run := header_text(record, "ce_run")):
                home, its = homes[partition_of(run, len(homes))], instants[record.topic]
                its[home] = min(its.get(home, _EVER), max(0, record.timestamp_ms - EARLY_MS))
        for its in instants.values():
            for home, begin in offsets_at(its).items():
                begins[home].append(begin)
        of_each = [[(home, span) for span in _spans(begins[home], ends[home])] for home in begins]
        for round_ in zip_longest(*of_each):
            for record in _read(reader, dict(filter(None, round_)), until):
                take(record, topics, found)
    return found


def _left(admin: Admin, topics: Topics, owners: Mapping[str, str]) -> Iterator[tuple[TopicPartition, Done]]:
    """Of each agent, the partitions that have most left to read, and what is done of them."""
    specs = admin.topics([topics.inbox(agent) for agent in sorted(owners)])
    places: defaultdict[str, list[TopicPartition]] = defaultdict(list)
    for agent, unit in owners.items():
        if (spec := specs.get(topics.inbox(agent))) is not None:
            places[unit] += [TopicPartition(spec.name, n) for n in range(spec.partitions)]
    for unit, its in sorted(places.items()):
        begins, ends = admin.beginnings(its), admin.ends(its, Isolation.COMMITTED)
        behind: defaultdict[str, dict[TopicPartition, Done]] = defaultdict(dict)
        for at, position in admin.positions(topics.group(unit), its).items():
            done = done_of(position, begins[at], ends[at])
            if done is not None and begins[at] <= position.offset < ends[at]:
                behind[at.topic][at] = done
        for each in behind.values():
            yield from sorted(each.items(), key=lambda it: it[1].position - it[1].end)[:PARTITIONS_MAX]


def _spans(begins: Iterable[int], end: int) -> list[tuple[int, int]]:
    """What is read of a home that ends there: a stretch from each offset on, once, and spots behind the first."""
    found: list[tuple[int, int]] = []
    for begin in sorted(begins):
        found.append((max(begin, found[-1][1]) if found else begin, min(end, begin + STRETCH_OFFSETS)))
    first, last = found[0][1], end - TAIL_OFFSETS
    step = max(SPOT_OFFSETS, (last - first) // SPOTS)
    spots = [first + n * step for n in range(SPOTS)]
    return [*found, *((spot, spot + SPOT_OFFSETS) for spot in spots if spot < last)]


def _read(reader: Reader, spans: Spans, until: float) -> Iterator[Record]:
    """Every committed record of the spans, as far as time allows."""
    left = {at for at, (begin, end) in spans.items() if begin < end}
    if not left or time.monotonic() >= until:
        return
    reader.assign({at: spans[at][0] for at in left})
    while left and time.monotonic() < until:
        for polled in reader.poll(0.2):
            if isinstance(polled, Trouble) and polled.at is not None:
                raise TransportError(f"{polled.at.topic}/{polled.at.partition} does not deliver: {polled.error}")
            if isinstance(polled, Record) and polled.at in spans and polled.offset < spans[polled.at][1]:
                yield polled
        left = {at for at in left if (reader.position(at) or 0) < spans[at][1]}
