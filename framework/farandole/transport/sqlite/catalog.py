"""Topics, the numbers of their partitions, and where a record belongs.

A copy of two small tables, renewed when its version on the log is another. Topics are never
removed and keep their number of partitions, so an old copy is short of some but never wrong.
"""

import random
import sqlite3
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, NamedTuple

import msgspec

from farandole.ids import TOPIC_RULE, is_topic, partition_of
from farandole.transport.memory.log import RECORD_BYTES_MAX, RECORD_OVERHEAD_BYTES
from farandole.transport.memory.refusals import RecordTooLarge, UnknownTopic
from farandole.transport.outgoing import size_of
from farandole.transport.port import NewRecord, TopicPartition, TopicSpec

PARTITIONS_MAX = 10_000
"""Of one topic: ten times what `apply` makes. All of them are counted through now and then."""

NUMBERS = ("max.message.bytes", "retention.ms", "delete.retention.ms")
"""Entries of a configuration that are used here; the others are kept for who asks."""

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


class _Row(msgspec.Struct, array_like=True, frozen=True):
    """A row of `topics`."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    first: Annotated[int, msgspec.Meta(ge=1)]
    partitions: Annotated[int, msgspec.Meta(ge=1, le=PARTITIONS_MAX)]
    config: str


_config_of = msgspec.json.Decoder(dict[str, str]).decode


class Catalog:
    """The topics as last read; `version` is the log's."""

    def __init__(self) -> None:
        self.version = 0
        self.topics: dict[str, Topic] = {}

    def load(self, db: sqlite3.Connection, version: object) -> None:
        """Read them anew, if the log has another version of them; inside `File.reading` or `writing`."""
        if version == self.version:
            return
        if not isinstance(version, int):
            raise TypeError(f"{version!r} as the version of the topics")
        topics = {}
        for row in db.execute("SELECT name, first, partitions, config FROM topics"):
            it = msgspec.convert(row, _Row)
            config = _config_of(it.config)
            _check(config)
            topics[it.name] = Topic(it.name, it.first, it.partitions, _bytes_max(config), config)
        self.topics, self.version = topics, version

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
    """Make a topic that `check` takes; False if there is one of that name, which stays as it is.

    Inside a write transaction.
    """
    if db.execute("SELECT 1 FROM topics WHERE name = ?", (spec.name,)).fetchone():
        return False
    (first,) = db.execute("SELECT coalesce(max(number), 0) + 1 FROM parts").fetchone()
    db.execute("INSERT INTO topics VALUES (?, ?, ?, ?)", (spec.name, first, spec.partitions, _text({**spec.config})))
    db.executemany("INSERT INTO parts VALUES (?, 0, 0, 0)", [(first + n,) for n in range(spec.partitions)])
    _changed(db)
    return True


def check(spec: TopicSpec) -> None:
    """Refuse a topic that cannot be made.

    Raises:
        ValueError: its name is none that Kafka takes, it is to have no partitions or too many, or its configuration is
            refused.
    """
    if not is_topic(spec.name):
        raise ValueError(f"topic {spec.name!r:.80}: expected a name of {TOPIC_RULE}")
    if not 1 <= spec.partitions <= PARTITIONS_MAX:
        raise ValueError(f"{spec.name}: expected 1 to {PARTITIONS_MAX} partitions, but {spec.partitions} are asked for")
    check_config(spec.name, spec.config)


def check_config(topic: str, config: Mapping[str, str]) -> None:
    """Refuse a configuration as a broker does.

    Raises:
        ValueError: an entry is no number that has to be one.
    """
    try:
        _check(config)
    except ValueError as bad:
        raise ValueError(f"{topic}: {bad}") from None


def _check(config: Mapping[str, str]) -> None:
    for name in NUMBERS:
        if not config.get(name, "0").removeprefix("-").isdecimal():
            raise ValueError(f"expected a number for {name}, but it is {config[name]!r}")


def configure(db: sqlite3.Connection, topic: str, config: Mapping[str, str]) -> None:
    """Set entries of a topic's configuration that `check_config` takes; the others stay. Inside a write transaction.

    Raises:
        UnknownTopic: there is no such topic.
    """
    found = db.execute("SELECT config FROM topics WHERE name = ?", (topic,)).fetchone()
    if found is None:
        raise UnknownTopic(f"{topic}: expected an existing topic to configure, but there is none")
    merged = {**_config_of(found[0]), **config}
    db.execute("UPDATE topics SET config = ? WHERE name = ?", (_text(merged), topic))
    _changed(db)


def _text(config: Mapping[str, str]) -> str:
    return msgspec.json.encode(config).decode()


def _changed(db: sqlite3.Connection) -> None:
    db.execute("UPDATE meta SET value = value + 1 WHERE name = 'catalog'")


def _bytes_max(config: Mapping[str, str]) -> int:
    return int(config.get("max.message.bytes", RECORD_BYTES_MAX))


def _placed(key: bytes | None, partitions: int) -> int:
    assert key is not None
    return _place_of_key(key, partitions)
