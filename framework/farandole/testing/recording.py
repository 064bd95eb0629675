"""The topics of a namespace in one compact file, and back: what older versions wrote, for later ones to read.

A file is gzipped JSON lines: a head with topics and committed positions, then records with their
offsets, sorted. Offsets that hold no record (markers, aborted records) stay gaps. `telemetry` is left
out: hints, which nobody reads again.
"""

import base64
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from farandole.clock import Clock
from farandole.transport.memory import MemoryTransport
from farandole.transport.port import Isolation, NewRecord, Position, Record, TopicPartition, TopicSpec, Transport

FORMAT = 1
BEGINNING = -2


def record(transport: Transport, topics: Sequence[str], groups: Sequence[str], *, now: datetime, note: str) -> bytes:
    """Everything committed on these topics, and the positions of these groups; `note` says who wrote it, `now` when.

    Of `telemetry` only its being there is kept.
    """
    admin, reader = transport.admin(), transport.reader("recording")
    try:
        known = admin.topics(topics)
        names = [name for name in sorted(known) if not name.endswith(".telemetry")]
        places = [TopicPartition(name, n) for name in names for n in range(known[name].partitions)]
        ends = admin.ends(places, Isolation.COMMITTED)
        positions = {group: admin.positions(group, places) for group in groups}
        reader.assign(dict.fromkeys(places, BEGINNING))
        found: list[Record] = []
        while any((reader.position(at) or 0) < ends[at] for at in places if ends[at]):
            found += [each for each in reader.poll(0.1) if isinstance(each, Record)]
    finally:
        reader.close()
        admin.close()
    head = {
        "format": FORMAT,
        "note": note,
        "now": now.isoformat(),
        "topics": {name: [spec.partitions, dict(spec.config)] for name, spec in sorted(known.items())},
        "ends": [[*at, end] for at, end in sorted(ends.items()) if end],
        "positions": [
            [group, *at, position.offset, position.metadata]
            for group, of in sorted(positions.items())
            for at, position in sorted(of.items())
            if position.offset >= 0
        ],
    }
    lines = [head, *(_line(each) for each in sorted(found, key=lambda each: (each.topic, each.partition, each.offset)))]
    text = "\n".join(json.dumps(line, separators=(",", ":"), sort_keys=True) for line in lines)
    return gzip.compress(text.encode(), mtime=0)


def recorded_at(recorded: bytes) -> datetime:
    """The writer's time when it was recorded: what was due then had been done."""
    return datetime.fromisoformat(json.loads(gzip.decompress(recorded).partition(b"\n")[0])["now"])


def play(recorded: bytes, clock: Clock) -> MemoryTransport:
    """A log in memory that holds what was recorded, at the same offsets.

    Raises:
        ValueError: it is of another format.
    """
    head, *lines = (json.loads(line) for line in gzip.decompress(recorded).splitlines())
    if head["format"] != FORMAT:
        raise ValueError(f"expected a recording of format {FORMAT}, but found {head['format']!r}")
    transport = MemoryTransport(clock)
    ends = {TopicPartition(topic, number): end for topic, number, end in head["ends"]}
    with transport.hub as broker:
        for name, (partitions, config) in head["topics"].items():
            broker.create_topic(TopicSpec(name, partitions, config=config))
        for new, offset in _records(lines):
            at = TopicPartition(new.topic, new.partition or 0)
            while broker.end(at, Isolation.UNCOMMITTED) < offset:
                broker.burn(at)
            broker.append(new)
        for at, end in ends.items():
            while broker.end(at, Isolation.UNCOMMITTED) < end:
                broker.burn(at)
        for group, topic, number, offset, metadata in head["positions"]:
            broker.restore_position(group, TopicPartition(topic, number), Position(offset, metadata))
    return transport


def _line(it: Record) -> Mapping[str, object]:
    return {
        "at": [it.topic, it.partition, it.offset],
        "key": _text(it.key),
        "value": _text(it.value),
        "headers": [[name, _text(value)] for name, value in it.headers],
    }


def _records(lines: Sequence[Mapping[str, object]]) -> Iterator[tuple[NewRecord, int]]:
    for line in lines:
        at, headers = line["at"], line["headers"]
        assert isinstance(at, list)
        assert isinstance(headers, list)
        topic, number, offset = at
        given = [(str(name), _bytes(value) or b"") for name, value in headers]
        yield NewRecord(topic, _bytes(line["key"]), _bytes(line["value"]), given, number), offset


def _text(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _bytes(text: object) -> bytes | None:
    return None if text is None else base64.b64decode(str(text))
