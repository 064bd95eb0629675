"""What the dead leave behind: a place in the group, and a transaction; nobody waits for either (R7)."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import timedelta

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka import TopicPartition as KafkaPartition

from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.kafka.membership import Members
from farandole.transport.kafka.transactions import Snapshot
from farandole.transport.port import (
    FenceWriter,
    Member,
    MemberSettings,
    NewRecord,
    ReadPositions,
    Record,
    Reply,
    Request,
    TopicPartition,
    TopicSpec,
)

pytestmark = pytest.mark.kafka

SESSION = timedelta(seconds=15)
HEIR_MAX_SECONDS = 14.0
"""Less than a session; 1 s is usual."""


RETRY_OF_LIBRDKAFKA_S = 0.5
TRIES = 4
"""On a busy machine one of them is quick."""


class Watched:
    """What came and went."""

    def __init__(self) -> None:
        self.owned: set[TopicPartition] = set()
        self.lost: set[TopicPartition] = set()

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """They are ours."""
        self.owned |= set(partitions)

    def releasing(self, partitions: Sequence[TopicPartition]) -> bool:
        """At once."""
        return True

    def gone(self, partitions: Sequence[TopicPartition], *, lost: bool) -> None:
        """They were."""
        self.owned -= set(partitions)
        self.lost |= set(partitions) if lost else set()


def seconds_until(is_so: Callable[[], object], most: float = 30.0) -> float:
    """How long it took; fails if it does not become so."""
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < most, "it did not become so in time"
    return time.monotonic() - began


def test_heir_of_a_slot_has_its_partitions_before_the_session_of_the_dead_is_over(kafka: str, unique: str) -> None:
    """The join of a process that was started again in its slot waited for its dead predecessor, session by session.

    The predecessor here is not dead, but stands still with a client that goes on with its heartbeats: it would be
    waited for even longer. When it moves again it is told that its partitions are lost.
    """
    transport = KafkaTransport(KafkaSettings(kafka))
    with closing(transport.admin()) as admin:
        admin.create([TopicSpec(f"{unique}.in", 2)])
    everything = {TopicPartition(f"{unique}.in", n) for n in range(2)}
    slot = MemberSettings(unique, f"{unique}.slot", "range", SESSION)
    before, after = Watched(), Watched()
    with closing(transport.member(slot)) as dead:
        dead.subscribe([f"{unique}.in"], before)
        seconds_until(lambda: dead.poll(0.1) or before.owned == everything)

        with closing(transport.member(slot)) as heir:
            heir.subscribe([f"{unique}.in"], after)
            took = seconds_until(lambda: heir.poll(0.1) or after.owned == everything)
            seconds_until(lambda: dead.poll(0.1) or before.lost == everything)

    assert took < HEIR_MAX_SECONDS


def test_member_that_is_in_its_group_twice_after_an_outage_is_once_again(kafka: str, unique: str) -> None:
    """After `kill -9` of an only broker a group stood still for 5 minutes, the longest that a rebalance may last.

    Its members had been away for a session and joined under other ids; the broker, started anew, waited for the ones
    that it had on its disk. Here another client under the same name lives on without a sign, and is waited for too.
    """
    transport = KafkaTransport(KafkaSettings(kafka))
    with closing(transport.admin()) as admin:
        admin.create([TopicSpec(f"{unique}.in", 2)])
    everything = {TopicPartition(f"{unique}.in", n) for n in range(2)}
    slot, watched = MemberSettings(unique, f"{unique}.slot", "range", SESSION), Watched()
    with closing(transport.member(slot)) as member:
        member.subscribe([f"{unique}.in"], watched)
        seconds_until(lambda: member.poll(0.1) or watched.owned == everything)
        with closing(Consumer(dict(KafkaSettings(kafka).member(slot)))) as other:
            other.subscribe([f"{unique}.in"])
            seconds_until(lambda: other.poll(0.05) or member.poll(0.05) or other.assignment())
            seconds_until(lambda: member.poll(0.1) or len(watched.owned) == 1)

            member._outage(KafkaError(KafkaError._ALL_BROKERS_DOWN))
            took = seconds_until(lambda: member.poll(0.1) or watched.owned == everything)

    assert took < HEIR_MAX_SECONDS


@pytest.mark.parametrize("assignor", ["range", "cooperative-sticky"])
def test_member_whose_join_the_broker_has_forgotten_joins_anew(
    kafka: str, unique: str, assignor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A starting broker loaded a group twice, and forgot who had joined in between: the client waited for 5 minutes.

    Here the broker is said not to know of it. Its partitions are lost, and are its own again by another client.
    """
    transport, at = KafkaTransport(KafkaSettings(kafka)), TopicPartition(f"{unique}.in", 0)
    with closing(transport.admin()) as admin:
        admin.create([TopicSpec(at.topic, 1)])
    watched = Watched()
    with closing(transport.member(MemberSettings(unique, f"{unique}.slot", assignor, SESSION))) as member:
        member.subscribe([at.topic], watched)
        seconds_until(lambda: member.poll(0.1) or watched.owned == {at})
        member.seek(at, 0)
        member.resume([at])
        with monkeypatch.context() as patch:
            patch.setattr(member._namesakes, "_ask", lambda _: Members((), ""))
            member._outage(KafkaError(KafkaError._ALL_BROKERS_DOWN))
            seconds_until(lambda: member.poll(0.1) or watched.lost == {at})

        seconds_until(lambda: member.poll(0.1) or watched.owned == {at})
        member.seek(at, 0)
        member.resume([at])
        with closing(transport.producer(f"{unique}.writer")) as producer:
            producer.send(NewRecord(at.topic, b"key", b"after", (), 0))
            assert producer.flush(10) == 0
        found: list[bytes | None] = []

        def has_read() -> bool:
            found.extend(it.value for it in member.poll(0.1) if isinstance(it, Record))
            return bool(found)

        seconds_until(has_read)

        assert found == [b"after"]
        assert member.snapshot().has_joined


def test_first_of_a_slot_joins_a_group_that_nobody_knows(kafka: str, unique: str) -> None:
    transport = KafkaTransport(KafkaSettings(kafka))
    with closing(transport.admin()) as admin:
        admin.create([TopicSpec(f"{unique}.in", 1)])
    watched = Watched()
    with closing(transport.member(MemberSettings(unique, f"{unique}.slot", "range", SESSION))) as member:
        member.subscribe([f"{unique}.in"], watched)

        seconds_until(lambda: member.poll(0.1) or watched.owned)

        assert watched.owned == {TopicPartition(f"{unique}.in", 0)}


def test_transaction_that_a_member_left_open_before_its_first_commit_is_ended_by_who_waits_for_its_positions(
    kafka: str, unique: str
) -> None:
    """A newcomer died in the transaction of its epochs: its name stood in no committed position, and its heirs waited.

    They read stable positions, as long as the broker took to end the transaction: 10 s, and up to 10 s more by default.
    """
    transport, at = KafkaTransport(KafkaSettings(kafka)), TopicPartition(f"{unique}.in", 0)
    with closing(transport.admin()) as admin:
        admin.create([TopicSpec(at.topic, 1)])
    watched = Watched()
    with closing(transport.member(MemberSettings(unique, f"{unique}.heir", "range", SESSION))) as heir:
        heir.subscribe([at.topic], watched)
        seconds_until(lambda: heir.poll(0.1) or watched.owned)
        dead = dying(kafka, f"{unique}.newcomer", at, heir.snapshot())

        took = seconds_until(lambda: position_of(heir, at))

    assert dead
    assert took < HEIR_MAX_SECONDS


def test_open_transaction_of_the_dead_is_ended_without_waiting_half_a_second_for_the_client(
    kafka: str, unique: str
) -> None:
    """librdkafka asks again only after 500 ms while the broker is ending the transaction: no heir fenced in less."""
    transport, at = KafkaTransport(KafkaSettings(kafka)), TopicPartition(f"{unique}.in", 0)
    with closing(transport.admin()) as admin:
        admin.create([TopicSpec(at.topic, 1)])
    watched, taken = Watched(), []
    with closing(transport.member(MemberSettings(unique, f"{unique}.heir", "range", SESSION))) as heir:
        heir.subscribe([at.topic], watched)
        seconds_until(lambda: heir.poll(0.1) or watched.owned)
        for n in range(TRIES):
            dead = dying(kafka, f"{unique}.dead{n}", at, heir.snapshot())
            began = time.monotonic()
            assert reply_of(heir, FenceWriter(f"{unique}.dead{n}")).error is None
            taken.append(time.monotonic() - began)
            with pytest.raises(KafkaException, match=r"fenced|epoch"):
                dead.commit_transaction(20)
            assert position_of(heir, at)

    assert min(taken) < RETRY_OF_LIBRDKAFKA_S, taken


def dying(kafka: str, transactional_id: str, at: TopicPartition, snapshot: object) -> Producer:
    """A producer that has sent a position and will never end its transaction."""
    assert isinstance(snapshot, Snapshot)
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": transactional_id})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.send_offsets_to_transaction([KafkaPartition(*at, 1)], snapshot.raw, 20)
    return producer


def position_of(member: Member, at: TopicPartition) -> bool:
    """Whether a stable read tells of the partition, that it never had a position included."""
    return at in reply_of(member, ReadPositions([at])).positions


def reply_of(member: Member, request: Request) -> Reply:
    """The answer to one request."""
    ticket = member.call(request)
    while True:
        for reply in member.replies(0.1):
            if reply.ticket == ticket:
                return reply
