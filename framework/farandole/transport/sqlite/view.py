"""The log as a reader sees it: committed records, and the ends up to which there are any.

What is known of partitions is kept until the file moves. Whatever reads records does so inside
`File.reading`, after `look`, so that spans and records are of one moment: retention must not
come between them, or a gap would be taken for an empty place.
"""

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from farandole.transport.memory.cursors import Cursors
from farandole.transport.memory.refusals import OutOfRange
from farandole.transport.port import Isolation, Polled, Record, TopicPartition
from farandole.transport.sqlite.batches import key_of, records_of
from farandole.transport.sqlite.catalog import Catalog
from farandole.transport.sqlite.file import File
from farandole.transport.sqlite.schema import OFFSET_BITS, OFFSETS_MAX

BEGINNING, LATEST = -2, -1
"""Kafka's logical offsets."""


class Span(NamedTuple):
    """What there is of a partition: first offset that exists, last stable offset, end."""

    beginning: int
    stable: int
    end: int

    def end_of(self, isolation: Isolation) -> int:
        """The end as seen at an isolation level."""
        return self.stable if isolation is Isolation.COMMITTED else self.end


class View:
    """The log as of the last `look`."""

    def __init__(self, file: File) -> None:
        self.catalog = Catalog()
        self._file = file
        self._db = file.db
        self._moves = -1
        self._spans: dict[int, Span] = {}
        self._opened: dict[int, int] = {}
        self._wanted: set[str] = set()

    def look(self) -> bool:
        """Renew what is known if the file has moved; whether it had. Inside `File.reading` or `File.writing`."""
        if self._moves == self._file.moves:
            return False
        version, has_opened = self._db.execute(
            "SELECT (SELECT value FROM meta WHERE name = 'catalog'), EXISTS (SELECT 1 FROM opened)"
        ).fetchone()
        self.catalog.load(self._db, version)
        self._opened = _opened(self._db) if has_opened else {}
        self._spans.clear()
        for topic in self._wanted:
            self._span_topic(topic)
        self._moves = self._file.moves
        return True

    def span(self, at: TopicPartition) -> Span:
        """What there is of a partition.

        Raises:
            UnknownTopic: there is no such partition.
        """
        number = self.catalog.number(at)
        found = self._spans.get(number)
        if found is None:
            self._wanted.add(at.topic)
            self._span_topic(at.topic)
            found = self._spans[number]
        return found

    def resolve(self, at: TopicPartition, position: int) -> int:
        """A logical offset (-2 beginning, -1 end) as a number."""
        if position == BEGINNING:
            return self.span(at).beginning
        return self.span(at).stable if position == LATEST else position

    def read(self, at: TopicPartition, position: int, most: int) -> tuple[Sequence[Record], int]:
        """At most `most` committed records from `position` on, and the next position, past markers and gaps.

        Raises:
            OutOfRange: the position is not between beginning and end.
            UnknownTopic: there is no such partition.
        """
        span = self.span(at)
        if not span.beginning <= position <= span.end:
            raise OutOfRange(
                f"{at.topic}[{at.partition}]: expected a position from {span.beginning} to {span.end}, "
                f"but it is {position}. The partition stops"
            )
        if position >= span.stable:
            return (), position
        number = self.catalog.number(at)
        rows = self._db.execute(
            "SELECT key, base, ms, body FROM batches WHERE key BETWEEN ? AND ? ORDER BY key",
            (key_of(number, position), key_of(number, span.stable - 1)),
        )
        found: list[Record] = []
        for key, base, ms, body in rows:
            found += records_of(at, key, base, ms, body)
            if base < position:
                found = [each for each in found if each.offset >= position]
            if len(found) >= most:
                rows.close()
                found = found[:most]
                return found, found[-1].offset + 1
        return found, span.stable

    def _span_topic(self, name: str) -> None:
        topic = self.catalog.topics.get(name)
        if topic is None:
            return
        rows = self._db.execute(
            "SELECT number, beginning, next FROM parts WHERE number BETWEEN ? AND ?",
            (topic.first, topic.first + topic.partitions - 1),
        )
        for number, beginning, end in rows:
            if not 0 <= beginning <= end <= OFFSETS_MAX:
                raise ValueError(f"a partition of {name} from {beginning} to {end}")
            self._spans[number] = Span(beginning, self._opened.get(number, end), end)


class Feed:
    """Cursors over the log; `touch` it when one was moved, added or resumed."""

    def __init__(self, file: File) -> None:
        self.view = View(file)
        self.cursors = Cursors()
        self._file = file
        self._moves = -1
        self._may_have_more = True

    def touch(self) -> None:
        """There may be something to fetch although the file has not moved."""
        self._may_have_more = True

    def fetch(self, most: int) -> list[Polled]:
        """Up to `most` records with the ends and troubles met, of one moment of the log."""
        if self._moves == self._file.moves and not self._may_have_more:
            return []
        self._may_have_more = True  # until it was read: the log may fail in between, and need not move again after that
        with self._file.reading:
            self._file.observe()
            self.view.look()
            self._moves = self._file.moves
            found = self.cursors.fetch(self.view, most)
        self._may_have_more = bool(found)
        return found


def _opened(db: sqlite3.Connection) -> dict[int, int]:
    """Where open transactions begin, by partition."""
    first: dict[int, int] = {}
    for key, base in db.execute("SELECT key, base FROM opened"):
        number = key >> OFFSET_BITS
        first[number] = min(base, first.get(number, base))
    return first
