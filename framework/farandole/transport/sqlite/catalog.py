"""Topics, the numbers of their partitions, and where a record belongs.

A copy of two small tables, renewed when its version on the log is another. Topics are never
removed and keep their number of partitions, so an old copy is short of some but never wrong.
"""

import json
import random
import sqlite3
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from farandole.ids import partition_of
from farandole.transport.memory.log import RECORD_BYTES_MAX, RECORD_OVERHEAD_BYTES
from farandole.transport.memory.refusals import RecordTooLarge, UnknownTopic
from farandole.transport.outgoing import size_of
from farandole.transport.port import NewRecord, TopicPartition, TopicSpec

_place_of_key = lru_cache(maxsize=16_384)(partition_of)


class Topic(NamedTuple):
    """A topic; its partitions have the numbers from `first` on, among those of all topics."""

    name: str
    first: int
    partitions: int
    bytes_max: int
    config: Mapping[str, str]

    @property
    def spec(self) -> TopicSpec:
        """As the port tells it; there is one copy of everything."""
        return TopicSpec(self.name, self.partitions, 1, self.config)


class Catalog:
    """The topics as last read; `version` is the log's."""

    def __init__(self) -> None:
        self.version = 0
        self.topics: dict[str, Topic] = {}

    def load(self, db: sqlite3.Connection, version: int) -> None:
        """Read them anew, if the log has another version of them."""
        if version == self.version:
            return
        self.topics = {
            name: Topic(name, first, partitions, _bytes_max(json.loads(config)), json.loads(config))
            for name, first, partitions, config in db.execute("SELECT name, first, partitions, config FROM topics")
        }
        self.version = version

    def refresh(self, db: sqlite3.Connection) -> None:
        """Read them anew, if need be."""
        self.load(db, version_of(db))

    def count(self, topic: str) -> int:
        """How many partitions a topic has; 0 if there is no such topic."""
        found = self.topics.get(topic)
        return found.partitions if found else 0

    def number(self, at: TopicPartition) -> int:
        """The number of a partition.

        Raises:
            UnknownTopic: there is no such partition.
        """
        found = self.topics.get(at.topic)
        if found is None or not 0 <= at.partition < found.partitions:
            have = f"it has {found.partitions} partitions" if found else "there is no such topic"
            raise UnknownTopic(f"{at.topic}[{at.partition}]: expected an existing partition, but {have}")
        return found.first + at.partition

    def place(self, record: NewRecord) -> int:
        """The number of the partition where a record goes: its own, or that of its key (murmur2), or any.

        Raises:
            UnknownTopic: there is no such topic or partition.
            RecordTooLarge: the topic takes no record of that size.
        """
        topic = self.topics.get(record.topic)
        partition = record.partition
        if partition is None and topic is not None:
            keyless = record.key is None
            partition = random.randrange(topic.partitions) if keyless else _placed(record.key, topic.partitions)
        number = self.number(TopicPartition(record.topic, partition or 0))
        assert topic is not None
        size = size_of(record) + RECORD_OVERHEAD_BYTES
        if size > topic.bytes_max:
            raise RecordTooLarge(
                f"{record.topic}[{partition}]: expected a record of at most {topic.bytes_max} bytes "
                f"(max.message.bytes), but one has {size}"
            )
        return number

    def by_number(self) -> dict[int, TopicPartition]:
        """Every partition, by number."""
        return {
            topic.first + partition: TopicPartition(topic.name, partition)
            for topic in self.topics.values()
            for partition in range(topic.partitions)
        }


def version_of(db: sqlite3.Connection) -> int:
    """The version of the topics on the log."""
    (version,) = db.execute("SELECT value FROM meta WHERE name = 'catalog'").fetchone()
    return int(version)


def create(db: sqlite3.Connection, spec: TopicSpec) -> bool:
    """Make a topic; False if there is one of that name, which stays as it is. Inside a write transaction.

    Raises:
        ValueError: it is to have no partitions, or `max.message.bytes` is no number.
    """
    if spec.partitions < 1:
        raise ValueError(f"{spec.name}: expected at least one partition, but {spec.partitions} are asked for")
    _bytes_max(spec.config)
    if db.execute("SELECT 1 FROM topics WHERE name = ?", (spec.name,)).fetchone():
        return False
    (first,) = db.execute("SELECT coalesce(max(number), 0) + 1 FROM parts").fetchone()
    db.execute(
        "INSERT INTO topics VALUES (?, ?, ?, ?)", (spec.name, first, spec.partitions, json.dumps({**spec.config}))
    )
    db.executemany("INSERT INTO parts VALUES (?, 0, 0, 0)", [(first + n,) for n in range(spec.partitions)])
    _changed(db)
    return True


def configure(db: sqlite3.Connection, topic: str, config: Mapping[str, str]) -> None:
    """Set entries of a topic's configuration; the others stay. Inside a write transaction.

    Raises:
        UnknownTopic: there is no such topic.
        ValueError: `max.message.bytes` is no number.
    """
    found = db.execute("SELECT config FROM topics WHERE name = ?", (topic,)).fetchone()
    if found is None:
        raise UnknownTopic(f"{topic}: expected an existing topic to configure, but there is none")
    merged = {**json.loads(found[0]), **config}
    _bytes_max(merged)
    db.execute("UPDATE topics SET config = ? WHERE name = ?", (json.dumps(merged), topic))
    _changed(db)


def _changed(db: sqlite3.Connection) -> None:
    db.execute("UPDATE meta SET value = value + 1 WHERE name = 'catalog'")


def _bytes_max(config: Mapping[str, str]) -> int:
    return int(config.get("max.message.bytes", RECORD_BYTES_MAX))


def _placed(key: bytes | None, partitions: int) -> int:
    assert key is not None
    return _place_of_key(key, partitions)
