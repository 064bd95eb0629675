"""Compacted topics as tables in memory: read to their end, then followed (R13).

One reader serves several topics. A row that cannot be read is left out and told, never
fatal: the others are still true. Whether a table is up to date *now* is asked of the log
(`ReadEnds`), not of the reader, which only knows the end it last saw. A topic that was made anew, and
is shorter than we have read, is read again from its beginning: it is a table, and nothing is done twice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from farandole.errors import FarandoleError
from farandole.transport.port import End, Reader, Record, TopicPartition, Trouble

BEGINNING = -2

Row = TypeVar("Row")


@dataclass(slots=True)
class Table(Generic[Row]):
    """Rows of one topic by key; `read` turns a record (never a tombstone) into a row, or raises a FarandoleError."""

    topic: str
    partitions: int
    read: Callable[[Record], Row]
    rows: dict[str, Row] = field(default_factory=dict)

    def apply(self, record: Record) -> None:
        """Take in one record: a row, or its removal."""
        key = (record.key or b"").decode(errors="replace")
        if record.value is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = self.read(record)

    def clear(self) -> None:
        """Forget every row: it is read anew."""
        self.rows.clear()

    @property
    def places(self) -> list[TopicPartition]:
        """Its partitions."""
        return [TopicPartition(self.topic, n) for n in range(self.partitions)]


class Followed(Protocol):
    """What a follower needs of a table, whatever its rows are."""

    @property
    def topic(self) -> str:
        """The compacted topic."""
        ...

    @property
    def places(self) -> list[TopicPartition]:
        """Its partitions."""
        ...

    def apply(self, record: Record) -> None:
        """Take in one record."""
        ...

    def clear(self) -> None:
        """Forget every row."""
        ...


class Follower:
    """Follows tables through one reader; belongs to the reader's thread."""

    def __init__(self, reader: Reader, tables: Sequence[Followed]) -> None:
        self._reader = reader
        self._tables = {table.topic: table for table in tables}
        self.places: list[TopicPartition] = [at for table in tables for at in table.places]
        self._unread = set(self.places)
        self.troubles: list[Trouble | str] = []
        """What did not deliver, and (in words) rows that were left out, since the last look; the owner clears it."""
        reader.assign(dict.fromkeys(self.places, BEGINNING))

    @property
    def at_end(self) -> bool:
        """Whether the end of every partition has been reached at least once."""
        return not self._unread

    def follow(self, timeout: float = 0.0) -> int:
        """Take in what has come; the number of records."""
        count, lost = 0, set[str]()
        for polled in self._reader.poll(timeout):
            match polled:
                case Record():
                    count += 1
                    self._apply(polled)
                case End(at=at):
                    self._unread.discard(at)
                case Trouble():
                    self.troubles.append(polled)
                    if polled.at is not None and polled.kind == "position_out_of_range":
                        lost.add(polled.at.topic)
        if lost:
            self._begin_anew(lost)
        return count

    def _begin_anew(self, topics: set[str]) -> None:
        """Read topics again of which we have read more than there is: what we know of them stood on others."""
        for topic in topics:
            self._tables[topic].clear()
        known = {at: self._reader.position(at) for at in self.places if at.topic not in topics}
        self._reader.assign({at: BEGINNING if (position := known.get(at)) is None else position for at in self.places})

    def has_reached(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Whether everything before these ends has been taken in."""
        return all((self._reader.position(at) or 0) >= end for at, end in ends.items())

    def close(self) -> None:
        """Stop following."""
        self._reader.close()

    def _apply(self, record: Record) -> None:
        try:
            self._tables[record.topic].apply(record)
        except FarandoleError as error:
            self.troubles.append(f"{record.place}: expected a row of {record.topic}, but {error}. It was left out")
