"""Copies records that are old enough from topics to the archive, before retention takes them.

Blocking, outside any group and transaction: what is copied is what committed readers see. Each
partition goes on where its last file ends, so that a run repeats nothing, and one that was killed
is simply run again.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain

from farandole.artifacts.archive import Archive, Archived, Span, read_file
from farandole.errors import ConfigError, TransportError
from farandole.transport.port import Admin, End, Isolation, Reader, Record, TopicPartition, Transport, Trouble

FILE_BYTES_MAX = 32 * 1024 * 1024
"""Keys, values and headers of one file, before compression: it is made in memory."""

FILE_RECORDS_MAX = 50_000
"""Records of one file: small ones cost memory by their number."""

SILENCE_MAX_S = 30.0
"""A partition that gives nothing for so long while there is something to come is an error."""

AHEAD_MS = 3600 * 1000
"""From now, of a time that no clock can have told rightly: such a record goes with those before it. Who waited for its
time to come would lose what follows to the embedded log's retention, which does not (`upkeep.AHEAD_MS`).
Source: Kafka's `message.timestamp.after.max.ms`."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Records that retention took before they were archived: offsets `first` up to, not including, `end`."""

    topic: str
    partition: int
    first: int
    end: int


@dataclass(slots=True)
class Report:
    """What a run did."""

    written: list[Span] = field(default_factory=list)
    records: int = 0
    lost: list[Lost] = field(default_factory=list)


@dataclass(slots=True)
class _Chunk:
    """Records of the next file of a partition."""

    first: int
    records: list[Archived] = field(default_factory=list)
    size: int = 0

    @property
    def is_full(self) -> bool:
        return self.size >= FILE_BYTES_MAX or len(self.records) >= FILE_RECORDS_MAX


class Archiver:
    """Fills an archive from a log. `told` hears of each file as soon as it is there."""

    def __init__(
        self,
        transport: Transport,
        archive: Archive,
        client_id: str,
        told: Callable[[Span, int], None] = lambda *_: None,
    ) -> None:
        self._admin: Admin = transport.admin()
        self._reader: Reader = transport.reader(client_id)
        self._archive = archive
        self._told = told

    def run(self, topics: Sequence[str], older_than: timedelta, now: datetime) -> Report:
        """Archive what is older than that, of every partition of these topics.

        Raises:
            ConfigError: a topic does not exist, another process is writing, or the files are of another log.
            TransportError: the log or the archive fails; what was written stays.
        """
        places = self._places(topics)
        ends = self._admin.ends(places, Isolation.COMMITTED)
        beginnings = self._admin.beginnings(places)
        now_ms = round(now.timestamp() * 1000)
        young = range(now_ms - older_than // timedelta(milliseconds=1), now_ms + AHEAD_MS)
        report = Report()
        with self._archive.writing():
            known_spans = {at: spans for at in places if (spans := self._archive.spans(*at))}
            for at, spans in known_spans.items():  # of all, before anything is written
                self._require_same_log(spans, beginnings[at], ends[at])
            for at in places:
                known = known_spans[at][-1].end if at in known_spans else beginnings[at]
                if beginnings[at] > known:
                    report.lost.append(Lost(*at, known, beginnings[at]))
                self._copy(at, max(known, beginnings[at]), ends[at], young, report)
        return report

    def _require_same_log(self, spans: Sequence[Span], beginning: int, end: int) -> None:
        """Refuse to go on with files of a topic that was made anew since: what follows would not be told from them."""
        span = spans[-1]
        # Of the last file that has records.
        first = next(chain.from_iterable(read_file(each.path) for each in reversed(spans)), None)
        is_same = span.end <= end
        if is_same and first is not None and first.offset >= beginning:
            at = TopicPartition(span.topic, span.partition)
            here = next((each for each in self._items(at, first.offset, first.offset + 1)), None)
            if isinstance(here, Record) and here.offset == first.offset:
                is_same = (here.timestamp_ms, here.key) == (first.timestamp_ms, first.key)
        if not is_same:
            raise ConfigError(
                f"archive {span.path}: expected it to be of this log, but {span.topic}[{span.partition}] has other "
                "records there now: the topic was made anew. Nothing was archived; use another folder (`--into`)"
            )

    def close(self) -> None:
        """Free the clients."""
        self._reader.close()
        self._admin.close()

    def _places(self, topics: Sequence[str]) -> list[TopicPartition]:
        found = self._admin.topics(topics)
        missing = sorted(set(topics) - found.keys())
        if missing:
            raise ConfigError(f"archive: expected the topics to exist, but there is no {', '.join(missing)}")
        return [TopicPartition(topic, number) for topic in topics for number in range(found[topic].partitions)]

    def _copy(self, at: TopicPartition, begin: int, end: int, young: range, report: Report) -> None:
        """One partition, from `begin` to the first record of a time among the `young` ones, or to `end`."""
        if begin >= end:
            return
        chunk = _Chunk(begin)
        for item in self._items(at, begin, end):
            if isinstance(item, End) or item.offset >= end:
                self._flush(at, chunk, end, report)
                return
            if item.timestamp_ms in young:
                self._flush(at, chunk, item.offset, report)
                return
            if chunk.is_full:
                self._flush(at, chunk, item.offset, report)
                chunk = _Chunk(item.offset)
            chunk.records.append(_archived(item))
            chunk.size += len(item.key or b"") + len(item.value or b"") + sum(len(v) + 50 for _, v in item.headers)

    def _flush(self, at: TopicPartition, chunk: _Chunk, end: int, report: Report) -> None:
        """Write the file, also of nothing but markers and gaps: nobody else could tell later that this was all."""
        if chunk.first < end:
            span = self._archive.write(*at, chunk.first, end, chunk.records)
            report.written.append(span)
            report.records += len(chunk.records)
            self._told(span, len(chunk.records))

    def _items(self, at: TopicPartition, begin: int, end: int) -> Iterator[Record | End]:
        """Records from `begin` on, and an `End` when everything before `end` was given.

        Raises:
            TransportError: nothing comes although there is more.
        """
        self._reader.assign({at: begin})
        heard, why = time.monotonic(), ""
        while True:
            for item in self._reader.poll(0.2):
                if isinstance(item, Trouble):  # told again and again while the log is away
                    why = f" ({item.kind}: {item.error})"
                    continue
                heard, why = time.monotonic(), ""
                if isinstance(item, Record):
                    yield item
                elif item.position >= end:
                    yield item
                    return
            if (self._reader.position(at) or 0) >= end:
                yield End(at, end)
                return
            if time.monotonic() - heard > SILENCE_MAX_S:
                raise TransportError(
                    f"{at.topic}[{at.partition}]: expected records up to offset {end}, but none came for "
                    f"{SILENCE_MAX_S:.0f} s{why}. What was written stays; run it again"
                )


def _archived(record: Record) -> Archived:
    headers = [(name, value or b"") for name, value in record.headers]
    return Archived(*record.at, record.offset, record.timestamp_ms, record.key, record.value, headers)
