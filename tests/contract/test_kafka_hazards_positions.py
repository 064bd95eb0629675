"""What Kafka lets happen to committed positions, shown with a bare client, and what we do about it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import get_args

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient

from farandole import SyncClient, agent, pipeline
from farandole.events.topics import Topics
from farandole.testing.conformance import Kit
from farandole.testing.inprocess import InProcess
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.kafka.admin import KafkaAdmin
from farandole.transport.kafka.member import KafkaMember
from farandole.transport.kafka.pending import pending as never_settled
from farandole.transport.kafka.reader import KafkaReader
from farandole.transport.port import (
    Commit,
    Isolation,
    NewRecord,
    Position,
    ReadPositions,
    Request,
    TopicPartition,
    Transport,
)

CALL_TIMEOUT_SECONDS = 20.0
BLOCKED_SECONDS = 1.0
"""How long a bare client is given for an answer that takes it 2 ms when nothing is pending."""

TRANSACTION_TIMEOUT_MS = 120_000
"""Longer than any test: it is never the broker's own clean-up that ends a transaction here."""


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


@contextmanager
def raw_consumer(kafka: str, group: str) -> Iterator[Consumer]:
    """A bare consumer of a group, not joined yet."""
    config: dict[str, str | bool] = {
        "bootstrap.servers": kafka,
        "group.id": group,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
    }
    consumer = Consumer(config)
    try:
        yield consumer
    finally:
        consumer.close()


def raw_pending(kafka: str, kit: Kit, consumer: Consumer, position: KafkaPartition) -> Producer:
    """A bare producer with an open transaction that has sent one position in the name of a consumer."""
    config: dict[str, str | int] = {
        "bootstrap.servers": kafka,
        "transactional.id": kit.name("pending"),
        "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
    }
    producer = Producer(config)
    producer.init_transactions(CALL_TIMEOUT_SECONDS)
    producer.begin_transaction()
    producer.send_offsets_to_transaction([position], consumer.consumer_group_metadata(), CALL_TIMEOUT_SECONDS)
    return producer


def joined(kit: Kit, consumer: Consumer, topic: str) -> None:
    """Have a bare consumer join its group."""
    consumer.subscribe([topic])

    def has_joined() -> bool:
        consumer.poll(0.05)
        return bool(consumer.assignment())

    kit.until(has_joined, "the bare consumer to be assigned something")


# --- plain commits (R3) -------------------------------------------------------------------


def test_plain_commit_over_a_pending_position_wins_and_the_transaction_s_is_lost(kafka: str, kit: Kit) -> None:
    (at,) = kit.topic_of([[]])
    with raw_consumer(kafka, kit.name("group")) as consumer:
        joined(kit, consumer, at.topic)
        pending = KafkaPartition(at.topic, at.partition, 10, "transactional")
        producer = raw_pending(kafka, kit, consumer, pending)

        consumer.commit(offsets=[KafkaPartition(at.topic, at.partition, 3, "plain")], asynchronous=False)
        producer.commit_transaction(CALL_TIMEOUT_SECONDS)

        (found,) = consumer.committed([KafkaPartition(at.topic, at.partition)], CALL_TIMEOUT_SECONDS)
    assert (found.offset, found.metadata) == (3, "plain")


def test_transport_has_no_plain_commit_and_positions_are_written_by_transactions_only() -> None:
    offered = {
        name
        for part in (KafkaMember, KafkaReader, KafkaAdmin)
        for name in dir(part)
        if not name.startswith("_") and ("commit" in name or "store" in name)
    }
    takes_positions = [each for each in get_args(Request) if "positions" in {field.name for field in fields(each)}]

    assert offered == set()
    assert takes_positions == [Commit]


def test_member_that_reads_and_leaves_has_committed_nothing_by_itself(kit: Kit) -> None:
    (at,) = kit.topic_of([[b"one", b"two"]])
    member = kit.joined([at.topic])
    kit.until(lambda: member.ends.get(at) == 2, "everything to be read")

    member.close()

    assert dict(kit.admin.positions(kit.name("group"), [at])) == {}


# --- reading what is pending (R12) ----------------------------------------------------------


def test_one_pending_position_blocks_committed_for_all_but_not_our_stable_read(kafka: str, kit: Kit) -> None:
    pending, free = kit.topic_of([[], []])
    member = kit.joined([pending.topic])
    member.commits([], {pending: Position(1, "one"), free: Position(2, "two")})
    member.positions([pending, free])
    with raw_consumer(kafka, kit.name("group")) as stranger:
        producer = raw_pending(kafka, kit, stranger, KafkaPartition(pending.topic, pending.partition, 9))

        with pytest.raises(KafkaException) as blocked:
            stranger.committed([KafkaPartition(at.topic, at.partition) for at in (pending, free)], BLOCKED_SECONDS)
        stable = member.ask(ReadPositions([pending, free]))
        told = never_settled(KafkaSettings(kafka), [kit.name("group")])
        producer.abort_transaction(CALL_TIMEOUT_SECONDS)

    assert told == [], "its transaction is open on the log, and will end"
    assert never_settled(KafkaSettings(kafka), [kit.name("group")]) == []
    assert blocked.value.args[0].code() == KafkaError._TIMED_OUT
    assert dict(stable.positions) == {free: Position(2, "two")}
    assert member.positions([pending, free]) == {pending: Position(1, "one"), free: Position(2, "two")}


# --- where a new inbox starts (R8) ------------------------------------------------------------


def test_altering_positions_of_a_live_group_is_refused(kafka: str, kit: Kit) -> None:
    (inbox,), (fresh,) = kit.topic_of([[]]), kit.topic_of([[b"first"]], "fresh")
    kit.joined([inbox.topic])
    group = kit.name("group")
    request = ConsumerGroupTopicPartitions(group, [KafkaPartition(fresh.topic, fresh.partition, 0)])

    client = AdminClient({"bootstrap.servers": kafka})
    (future,) = client.alter_consumer_group_offsets([request]).values()
    answer = future.result(CALL_TIMEOUT_SECONDS)

    assert [each.error.code() for each in answer.topic_partitions] == [KafkaError.UNKNOWN_MEMBER_ID]
    assert dict(kit.admin.positions(group, [fresh])) == {}


def test_new_inbox_of_a_running_unit_gets_its_start_position_and_is_read_from_there(kit: Kit) -> None:
    (inbox,), (fresh,) = kit.topic_of([[]]), kit.topic_of([[b"first"]], "fresh")
    member = kit.joined([inbox.topic])
    member.commits([], {inbox: Position(0, "running")})
    before = member.member.snapshot()

    kit.admin.start_positions(kit.name("group"), {fresh: Position(0, "start")})

    assert member.positions([inbox, fresh]) == {inbox: Position(0, "running"), fresh: Position(0, "start")}
    reply = member.commit([], {inbox: Position(0, "still running")}, before)
    assert reply.error is None
    member.subscribe([inbox.topic, fresh.topic])
    kit.until(lambda: member.values(fresh), "the first record of the new inbox")
    assert member.values(fresh) == [b"first"]


# --- lag of an idle inbox (R9) ------------------------------------------------------------------


def test_position_after_the_last_record_leaves_a_lag_and_the_end_s_position_leaves_none(kit: Kit) -> None:
    (elsewhere,), (inbox,) = kit.topic_of([[]], "elsewhere"), kit.topic_of([[]])
    writer, member = kit.joined([elsewhere.topic], "writers", "writer"), kit.joined([inbox.topic])
    writer.commits([NewRecord(inbox.topic, None, b"trigger", (), inbox.partition)], {elsewhere: Position(0)})
    kit.until(lambda: member.values() and member.ends.get(inbox, 0) > 1, "the trigger, and the end behind its marker")
    (last,) = member.offsets(inbox)

    member.commits([], {inbox: Position(last + 1)})
    after_record = lags(kit, member.positions([inbox]))
    member.commits([], {inbox: Position(member.ends[inbox])})
    after_end = lags(kit, member.positions([inbox]))

    assert after_record == {inbox: 1}
    assert after_end == {inbox: 0}


def lags(kit: Kit, positions: Mapping[TopicPartition, Position | None]) -> dict[TopicPartition, int]:
    """Lag as every monitoring tool computes it; markers count as records."""
    ends = kit.admin.ends(list(positions), Isolation.UNCOMMITTED)
    return {at: ends[at] - position.offset for at, position in positions.items() if position is not None}


@dataclass(frozen=True)
class Number:
    """What travels."""

    n: int


@agent
async def add_one(number: Number) -> Number:
    """One more."""
    return Number(number.n + 1)


@agent
async def add_two(number: Number) -> Number:
    """Two more."""
    return Number(number.n + 2)


@pipeline(owner="tests")
def three_more(number: Number) -> Number:
    """Two hops: the first inbox is written by the coordinator, the second by an agent."""
    return add_two(add_one(number))


def test_inboxes_of_a_real_agent_loop_have_no_lag_when_it_is_idle(
    kafka: str, kit: Kit, unique: str, tmp_path: Path
) -> None:
    transport, topics = KafkaTransport(KafkaSettings(bootstrap=kafka)), Topics(unique)
    with InProcess(transport, [three_more], namespace=unique, folder=tmp_path) as deployed:
        with SyncClient(transport, unique) as client:
            results = [client.start(three_more, Number(n)).result("60s") for n in range(3)]

        inboxes = [at for name in deployed.agents for at in kit.places(topics.inbox(name))]
        group, expected = topics.group("tests"), dict.fromkeys(inboxes, 0)
        kit.until(lambda: lags(kit, kit.admin.positions(group, inboxes)) == expected, "no inbox of an idle unit to lag")
        ends = kit.admin.ends(inboxes, Isolation.UNCOMMITTED)

    assert results == [Number(n + 3) for n in range(3)]
    # Each of the two inboxes has taken three triggers and at least one marker.
    assert sum(ends.values()) >= 2 * (3 + 1)
