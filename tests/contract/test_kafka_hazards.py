"""What Kafka lets happen, shown with a bare client, and what we do about it: writers, their ends, their places.

Each hazard that DESIGN marks [V] has a test on the real broker; those of committed positions and
of doubt stand in files of their own. A hazard that no longer shows would be news: then a rule of ours is not needed.
"""

import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka import TopicPartition as KafkaPartition

from farandole.errors import NotJoined
from farandole.ids import partition_of
from farandole.testing.conformance import Kit
from farandole.testing.conformance.driven import Driven
from farandole.testing.conformance.kit import BEGINNING
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.kafka.transactions import Snapshot
from farandole.transport.port import (
    Commit,
    FenceWriter,
    Isolation,
    NewRecord,
    Position,
    ReadEnds,
    TopicPartition,
    Transport,
)

CALL_TIMEOUT_SECONDS = 20.0
TRANSACTION_TIMEOUT_MS = 120_000
"""Longer than any test: it is never the broker's own clean-up that ends a transaction here."""

FREED_WITHIN_SECONDS = 3.0
"""What is promised of a dead writer's partition; without help it takes the transaction's time-out (R7)."""

PARTITIONS = 12
KEY = b"order-1"
"""A key that CRC32 and murmur2 place differently among 12."""

WRITER_THAT_DIES = """
import sys, threading
from confluent_kafka import Producer
bootstrap, name, topic, timeout = sys.argv[1:]
it = Producer({"bootstrap.servers": bootstrap, "transactional.id": name, "transaction.timeout.ms": int(timeout)})
it.init_transactions(20)
it.begin_transaction()
it.produce(topic, b"open", partition=0)
assert it.flush(20) == 0
print("open", flush=True)
threading.Event().wait()
"""


@pytest.fixture
def kit(kafka: str) -> Iterator[Kit]:
    """Our transport, and members with the simplest loop."""

    def hang(
        transport: Transport,
        client_id: str,
        records: Sequence[NewRecord],
        group: str,
        positions: Mapping[TopicPartition, Position],
    ) -> None:
        raise AssertionError("expected the hazards to be made with a bare client, but the kit was asked for one")

    with Kit(lambda: KafkaTransport(KafkaSettings(bootstrap=kafka)), hang=hang) as kit:
        yield kit


def raw_writer(kafka: str, transactional_id: str) -> Producer:
    """A bare transactional producer, initialised."""
    config: dict[str, str | int] = {
        "bootstrap.servers": kafka,
        "transactional.id": transactional_id,
        "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
        "log_level": 0,
    }
    producer = Producer(config)
    producer.init_transactions(CALL_TIMEOUT_SECONDS)
    return producer


@contextmanager
def raw_consumer(kafka: str, group: str) -> Iterator[Consumer]:
    """A bare read-committed consumer of a group, not joined yet."""
    config: dict[str, str | bool] = {
        "bootstrap.servers": kafka,
        "group.id": group,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
    }
    consumer = Consumer(config)
    try:
        yield consumer
    finally:
        consumer.close()


class Zombie:
    """A bare client that was a member, is one no more, and still has a producer and two group snapshots."""

    def __init__(self, kafka: str, kit: Kit, inbox: TopicPartition, out: TopicPartition) -> None:
        self._inbox, self._out = inbox, out
        self._producer = raw_writer(kafka, kit.name("zombie"))
        with raw_consumer(kafka, kit.name("group")) as consumer:
            self.before_joining = consumer.consumer_group_metadata()
            consumer.subscribe([inbox.topic])

            def joined() -> bool:
                consumer.poll(0.05)
                return bool(consumer.assignment())

            kit.until(joined, "the zombie to have been alive")
            self.of_its_life = consumer.consumer_group_metadata()

    def transact(self, value: bytes, snapshot: object = None, position: int = 7) -> None:
        """One transaction that says `value`, with a position if there is a snapshot to send it with."""
        self._producer.begin_transaction()
        self._producer.produce(self._out.topic, value, partition=self._out.partition)
        assert self._producer.flush(CALL_TIMEOUT_SECONDS) == 0
        if snapshot is not None:
            offsets = [KafkaPartition(self._inbox.topic, self._inbox.partition, position, "zombie")]
            self._producer.send_offsets_to_transaction(offsets, snapshot, CALL_TIMEOUT_SECONDS)
        self._producer.commit_transaction(CALL_TIMEOUT_SECONDS)

    def give_up(self) -> None:
        """Abort what was refused."""
        self._producer.abort_transaction(CALL_TIMEOUT_SECONDS)


class Haunted:
    """An inbox that has passed from a zombie to its heir, who has committed position 1; and where they write."""

    def __init__(self, kafka: str, kit: Kit) -> None:
        (self.inbox,), (self.out,) = kit.topic_of([[]]), kit.topic_of([[]], "out")
        self.zombie = Zombie(kafka, kit, self.inbox, self.out)
        self.heir: Driven = kit.joined([self.inbox.topic])
        self.heir.commits([], {self.inbox: Position(1, "heir")})
        assert self.heir.positions([self.inbox]) == {self.inbox: Position(1, "heir")}


@pytest.fixture
def haunted(kafka: str, kit: Kit) -> Haunted:
    """The scene of all zombies."""
    return Haunted(kafka, kit)


def refusal_of(call: Callable[[], object]) -> KafkaError:
    """Why the bare client's call is refused."""
    with pytest.raises(KafkaException) as refused:
        call()
    error = refused.value.args[0]
    assert isinstance(error, KafkaError)
    return error


# --- zombies (R3) -------------------------------------------------------------------------


def test_zombie_with_the_snapshot_of_its_life_is_fenced_by_the_broker(kit: Kit, haunted: Haunted) -> None:
    error = refusal_of(lambda: haunted.zombie.transact(b"undead", haunted.zombie.of_its_life))
    haunted.zombie.give_up()

    assert error.code() in (KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION)
    assert error.txn_requires_abort()
    kit.sees(haunted.out, [])
    assert haunted.heir.positions([haunted.inbox]) == {haunted.inbox: Position(1, "heir")}


def test_zombie_that_sends_no_position_commits(kit: Kit, haunted: Haunted) -> None:
    haunted.zombie.transact(b"undead")

    kit.sees(haunted.out, [b"undead"])
    assert haunted.heir.positions([haunted.inbox]) == {haunted.inbox: Position(1, "heir")}


def test_zombie_whose_position_is_invalid_commits_because_the_client_drops_it(kit: Kit, haunted: Haunted) -> None:
    haunted.zombie.transact(b"undead", haunted.zombie.of_its_life, position=-1001)

    kit.sees(haunted.out, [b"undead"])
    assert haunted.heir.positions([haunted.inbox]) == {haunted.inbox: Position(1, "heir")}


def test_zombie_with_a_snapshot_from_before_joining_commits_over_its_heir(kit: Kit, haunted: Haunted) -> None:
    haunted.zombie.transact(b"undead", haunted.zombie.before_joining)

    kit.sees(haunted.out, [b"undead"])
    assert haunted.heir.positions([haunted.inbox]) == {haunted.inbox: Position(7, "zombie")}


def test_member_refuses_a_transaction_without_a_position_or_with_an_invalid_one(kit: Kit, haunted: Haunted) -> None:
    member, snapshot = haunted.heir.member, haunted.heir.member.snapshot()
    record = NewRecord(haunted.out.topic, None, b"unfenced", (), haunted.out.partition)

    with pytest.raises(ValueError, match="R3"):
        member.call(Commit([record], {}, snapshot))
    with pytest.raises(ValueError, match="R3"):
        member.call(Commit([record], {haunted.inbox: Position(-1001)}, snapshot))

    kit.sees(haunted.out, [])


def test_member_refuses_a_snapshot_from_before_joining(kit: Kit, haunted: Haunted) -> None:
    fresh = kit.member([kit.topic("other")], "others", "fresh")
    record = NewRecord(haunted.out.topic, None, b"unfenced", (), haunted.out.partition)
    smuggled = Snapshot(haunted.zombie.before_joining, generation=-1)

    with pytest.raises(NotJoined):
        fresh.member.snapshot()
    with pytest.raises(NotJoined):
        haunted.heir.member.call(Commit([record], {haunted.inbox: Position(7)}, smuggled))

    kit.sees(haunted.out, [])
    assert haunted.heir.positions([haunted.inbox]) == {haunted.inbox: Position(1, "heir")}


# --- where a key belongs (DESIGN section 3) ------------------------------------------------


def test_foreign_producer_places_a_key_elsewhere_than_we_do(kafka: str, kit: Kit) -> None:
    topic = kit.topic("home", PARTITIONS)
    placed: list[int | None] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        assert error is None
        placed.append(message.partition())

    foreign = Producer({"bootstrap.servers": kafka})
    foreign.produce(topic, b"theirs", KEY, on_delivery=delivered)
    assert foreign.flush(CALL_TIMEOUT_SECONDS) == 0
    kit.write([NewRecord(topic, KEY, b"ours")])

    theirs, ours = zlib.crc32(KEY) % PARTITIONS, partition_of(KEY, PARTITIONS)
    assert theirs != ours
    assert placed == [theirs]
    kit.sees(TopicPartition(topic, theirs), [b"theirs"])
    kit.sees(TopicPartition(topic, ours), [b"ours"])


def test_transaction_of_a_member_places_a_key_by_murmur2(kit: Kit) -> None:
    topic = kit.topic("home", PARTITIONS)
    (inbox,) = kit.topic_of([[]])
    member = kit.joined([inbox.topic])

    member.commits([NewRecord(topic, KEY, b"ours")], {inbox: Position(0)})

    kit.sees(TopicPartition(topic, partition_of(KEY, PARTITIONS)), [b"ours"])
    assert partition_of(KEY, PARTITIONS) != zlib.crc32(KEY) % PARTITIONS


# --- writers that leave a transaction open (R7, R12) ----------------------------------------


def test_committed_end_stops_at_an_open_transaction_and_uncommitted_end_does_not(kafka: str, kit: Kit) -> None:
    (at,) = kit.topic_of([[b"before"]])
    member = kit.joined([at.topic])
    writer = raw_writer(kafka, kit.name("open"))
    writer.begin_transaction()
    writer.produce(at.topic, b"open", partition=at.partition)
    assert writer.flush(CALL_TIMEOUT_SECONDS) == 0
    kit.write([NewRecord(at.topic, None, b"behind", (), at.partition)])

    with raw_consumer(kafka, kit.name("watermarks")) as consumer:
        watermarks = consumer.get_watermark_offsets(
            KafkaPartition(at.topic, at.partition), CALL_TIMEOUT_SECONDS, cached=False
        )
    committed = member.ask(ReadEnds([at], Isolation.COMMITTED))
    uncommitted = member.ask(ReadEnds([at], Isolation.UNCOMMITTED))

    assert watermarks == (0, 1)
    assert committed.ends == {at: 1}
    assert uncommitted.ends == {at: 3}
    writer.abort_transaction(CALL_TIMEOUT_SECONDS)


def test_dead_writer_is_freed_by_fencing_it_in_under_three_seconds(kafka: str, kit: Kit) -> None:
    (at,) = kit.topic_of([[b"before"]])
    member, dead = kit.joined([at.topic]), kit.name("dead")
    kill_with_an_open_transaction(kafka, dead, at.topic)
    kit.write([NewRecord(at.topic, None, b"behind", (), at.partition)])
    reading = kit.reading({at: BEGINNING})
    reading.reaches(at, 1)
    assert reading.values() == [b"before"]
    began = time.monotonic()

    reply = member.ask(FenceWriter(dead))
    kit.until(lambda: len(reading.records) == 2 and len(member.records) == 2, "what stands behind the dead writer")

    took = time.monotonic() - began
    assert reply.error is None
    assert reading.values() == member.values() == [b"before", b"behind"]
    assert took < FREED_WITHIN_SECONDS, f"expected readers to go on within 3 s, but it took {took:.1f} s"


def kill_with_an_open_transaction(kafka: str, transactional_id: str, topic: str) -> None:
    """A process of its own begins a transaction, writes to partition 0, and is killed with -9."""
    arguments = [sys.executable, "-c", WRITER_THAT_DIES, kafka, transactional_id, topic, str(TRANSACTION_TIMEOUT_MS)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"open\n"
        finally:
            process.kill()
