"""A partition that the client fetches no more, and tells nothing of, is read on all the same."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing

import pytest
from confluent_kafka import KafkaError
from confluent_kafka import TopicPartition as KafkaPartition

from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.kafka.silence import PATIENCE
from farandole.transport.port import MemberSettings, NewRecord, Polled, Record, TopicPartition, TopicSpec

pytestmark = pytest.mark.kafka

BEGINNING = -2


class Watched:
    """What came."""

    def __init__(self) -> None:
        self.owned: set[TopicPartition] = set()

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """They are ours."""
        self.owned |= set(partitions)

    def releasing(self, partitions: Sequence[TopicPartition]) -> bool:
        """At once."""
        return True

    def gone(self, partitions: Sequence[TopicPartition], *, lost: bool) -> None:
        """They were."""
        self.owned -= set(partitions)


def read(poll: Callable[[float], Sequence[Polled]], count: int, within: float = 30.0) -> list[bytes | None]:
    """The values of so many records; fails if they do not come."""
    found: list[bytes | None] = []
    until = time.monotonic() + within
    while len(found) < count:
        assert time.monotonic() < until, f"{found} came in {within} s"
        found += [each.value for each in poll(0.1) if isinstance(each, Record)]
    return found


@pytest.fixture
def transport(kafka: str, unique: str) -> KafkaTransport:
    """With a topic of one partition, named `unique`."""
    transport = KafkaTransport(KafkaSettings(kafka))
    with closing(transport.admin()) as admin:
        admin.create([TopicSpec(unique, 1)])
    return transport


def write(transport: KafkaTransport, topic: str, *values: bytes) -> None:
    """Some records."""
    with closing(transport.producer(f"{topic}.writer")) as producer:
        for value in values:
            producer.send(NewRecord(topic, b"key", value, (), 0))
        assert producer.flush(10) == 0


@pytest.mark.parametrize("assignor", ["range", "cooperative-sticky"])
def test_member_reads_on_where_its_client_fetches_no_more_after_an_outage(
    transport: KafkaTransport, unique: str, assignor: str
) -> None:
    """After a `kill -9` of an only broker one home stood still, its runs with it, and its owner read all others.

    What its client does then cannot be provoked; here it is told behind the member's back to fetch nothing.
    """
    at, watched = TopicPartition(unique, 0), Watched()
    with closing(transport.member(MemberSettings(unique, f"{unique}.slot", assignor))) as member:
        member.subscribe([unique], watched)
        until = time.monotonic() + 30
        while not watched.owned:
            member.poll(0.1)
            assert time.monotonic() < until
        member.seek(at, 0)
        member.resume([at])
        write(transport, unique, b"before")
        assert read(member.poll, 1) == [b"before"]

        member._consumer.pause([KafkaPartition(unique, 0)])
        write(transport, unique, b"after")
        member._outage(KafkaError(KafkaError._ALL_BROKERS_DOWN))

        assert read(member.poll, 1) == [b"after"]


def test_member_asks_for_what_does_not_come_after_a_seek(transport: KafkaTransport, unique: str) -> None:
    """Without any sign of an outage: a seek is always followed by a record or an end."""
    at, watched = TopicPartition(unique, 0), Watched()
    write(transport, unique, b"one")
    with closing(transport.member(MemberSettings(unique, f"{unique}.slot", "range"))) as member:
        member.subscribe([unique], watched)
        until = time.monotonic() + 30
        while not watched.owned:
            member.poll(0.1)
            assert time.monotonic() < until
        member.seek(at, 0)
        member.resume([at])
        member._consumer.pause([KafkaPartition(unique, 0)])
        began = time.monotonic()

        assert read(member.poll, 1) == [b"one"]
        assert time.monotonic() - began >= PATIENCE - 0.1


def test_reader_assigns_once_more_where_nothing_comes(transport: KafkaTransport, unique: str) -> None:
    """A restore, whose reader may be the one that is told nothing."""
    write(transport, unique, b"one", b"two")
    with closing(transport.reader(f"{unique}.reader")) as reader:
        reader.assign({TopicPartition(unique, 0): BEGINNING})
        reader._consumer.unassign()  # behind its back
        reader._consumer.assign([])

        assert read(reader.poll, 2) == [b"one", b"two"]
