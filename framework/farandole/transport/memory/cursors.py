"""Where a reader stands in each of its partitions, and what a poll brings from there.

Shared by members, readers and tails. A trouble and an end are told once, until the cursor is
moved; a trouble stops its partition alone.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from farandole.transport.memory.refusals import OutOfRange, UnknownTopic
from farandole.transport.port import End, Polled, Record, TopicPartition, Trouble


class Readable(Protocol):
    """What cursors read from: a log as it is at one moment, committed records alone."""

    def resolve(self, at: TopicPartition, position: int) -> int:
        """A logical offset (-2 beginning, -1 end) as a number."""
        ...

    def read(self, at: TopicPartition, position: int, most: int) -> tuple[Sequence[Record], int]:
        """Records from `position` on, and the next position: past markers and gaps.

        Raises:
            OutOfRange, UnknownTopic: there is nothing to read.
        """
        ...


@dataclass(slots=True)
class Cursor:
    """One partition. `position` is None until somebody seeks; `told_end` where an end was last told."""

    at: TopicPartition
    position: int | None = None
    paused: bool = False
    told_end: int | None = None
    told_trouble: bool = False
    reached: int | None = None
    """Next offset after what was delivered."""

    def move(self, position: int) -> None:
        """Stand elsewhere; ends and troubles may be told again."""
        self.position, self.told_end, self.told_trouble = position, None, False


class Cursors:
    """The partitions of one reader."""

    def __init__(self) -> None:
        self._cursors: dict[TopicPartition, Cursor] = {}
        self._turn = 0

    def __getitem__(self, at: TopicPartition) -> Cursor:
        return self._cursors[at]

    def get(self, at: TopicPartition) -> Cursor | None:
        """The cursor of a partition, None if it is not read."""
        return self._cursors.get(at)

    def add(self, cursor: Cursor) -> None:
        """Read one more partition."""
        self._cursors[cursor.at] = cursor

    def drop(self, partitions: Iterable[TopicPartition]) -> None:
        """Read these no more."""
        for at in partitions:
            self._cursors.pop(at, None)

    def clear(self) -> None:
        """Read nothing."""
        self._cursors.clear()

    def known(self, partitions: Iterable[TopicPartition]) -> Iterator[Cursor]:
        """Cursors of those that are read; what has gone meanwhile is left out."""
        for at in partitions:
            cursor = self._cursors.get(at)
            if cursor is not None:
                yield cursor

    def fetch(self, broker: Readable, most: int) -> list[Polled]:
        """Up to `most` records, with the ends and troubles met; each call begins with the next partition.

        A log that fails half-way has failed for the partitions that are left: what was read before is delivered, for
        its cursors have moved, and the failure is raised when nothing was.
        """
        found: list[Polled] = []
        cursors = list(self._cursors.values())
        self._turn = (self._turn + 1) % max(len(cursors), 1)
        for cursor in cursors[self._turn :] + cursors[: self._turn]:
            if cursor.paused:
                continue
            if len(found) >= most:
                break
            try:
                self._fetch_one(broker, cursor, most - len(found), found)
            except Exception:
                if not found:
                    raise
                break
        return found

    def _fetch_one(self, broker: Readable, cursor: Cursor, most: int, found: list[Polled]) -> None:
        if cursor.position is None:
            _trouble(cursor, "position_missing", f"{_name(cursor)}: expected a position, but nobody did `seek`", found)
            return
        try:
            if cursor.position < 0:
                cursor.position = broker.resolve(cursor.at, cursor.position)
            records, cursor.position = broker.read(cursor.at, cursor.position, most)
        except UnknownTopic as refusal:
            _trouble(cursor, "unknown_topic", str(refusal), found)
            return
        except OutOfRange as beyond:  # a name of its own: compiled by mypyc, one name has one type
            _trouble(cursor, "position_out_of_range", str(beyond), found)
            return
        cursor.told_trouble = False
        if records:
            found += records
            cursor.reached = cursor.position
        if len(records) < most and cursor.told_end != cursor.position:
            cursor.told_end = cursor.reached = cursor.position
            found.append(End(cursor.at, cursor.position))


def _trouble(cursor: Cursor, kind: str, error: str, found: list[Polled]) -> None:
    if not cursor.told_trouble:
        cursor.told_trouble = True
        found.append(Trouble(kind, error, cursor.at))


def _name(cursor: Cursor) -> str:
    return f"{cursor.at.topic}[{cursor.at.partition}]"
