"""Questions that nobody answers: the end of a partition whose leader is away is no number, and nobody lives on."""

import gc
import weakref
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from farandole.client.applying import read_rows
from farandole.client.insisting import insist
from farandole.errors import NotReady
from farandole.testing.proxy import Fate, KafkaProxy
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.kafka.queries import Queries
from farandole.transport.port import Admin, Isolation, NewRecord, TopicPartition, TopicSpec

pytestmark = pytest.mark.kafka

LIST_OFFSETS, DESCRIBE_GROUPS = 2, 15
PATIENCE = timedelta(seconds=2)


@pytest.fixture
def proxy(kafka: str) -> Iterator[KafkaProxy]:
    """A network in front of the broker that loses what it is told to lose."""
    with KafkaProxy(kafka) as proxy:
        yield proxy


@pytest.fixture
def transport(proxy: KafkaProxy) -> KafkaTransport:
    """The transport behind it."""
    return KafkaTransport(KafkaSettings(proxy.bootstrap, call_timeout=PATIENCE))


@pytest.fixture
def admin(transport: KafkaTransport) -> Iterator[Admin]:
    """Its admin client."""
    made = transport.admin()
    yield made
    made.close()


@pytest.fixture
def topic(transport: KafkaTransport, admin: Admin, unique: str) -> str:
    """A topic with one row."""
    admin.create([TopicSpec(unique, 1)])
    producer = transport.producer(f"{unique}.rows")
    producer.send(NewRecord(unique, b"pipeline:orders", b"a hash", (), 0))
    assert producer.flush(10) == 0
    producer.close()
    return unique


@pytest.mark.parametrize("isolation", list(Isolation))
def test_leader_that_does_not_answer_is_an_error_and_no_end(
    isolation: Isolation, proxy: KafkaProxy, admin: Admin, topic: str
) -> None:
    """librdkafka gives every partition the offset -1001 and no error when its own time-out has passed (2.16.0, seen in
    the seconds after one of three brokers was killed). Below any first offset, it passed for an empty partition:
    `run start` found no pipelines, and a coordinator that took a home over then would have restored nothing.
    """
    proxy.meddle(LIST_OFFSETS, Fate.LOSE_REQUEST, times=100)

    with pytest.raises(NotReady, match=topic):
        admin.ends([TopicPartition(topic, 0)], isolation)


def test_table_is_not_empty_because_its_leader_is_away(
    proxy: KafkaProxy, transport: KafkaTransport, admin: Admin, topic: str
) -> None:
    proxy.meddle(LIST_OFFSETS, Fate.LOSE_REQUEST, times=100)
    with pytest.raises(NotReady):
        read_rows(transport, admin, topic)

    proxy.leave_alone()

    found = insist(lambda: read_rows(transport, admin, topic), timedelta(seconds=30), lambda *_: None)
    assert found == {"pipeline:orders": "a hash"}


def test_more_replicas_than_brokers_may_be_a_matter_of_time(admin: Admin, unique: str) -> None:
    """Three brokers that were started a moment ago know of each other one by one: `apply` gave up at the first."""
    with pytest.raises(NotReady, match="INVALID_REPLICATION_FACTOR"):
        admin.create([TopicSpec(unique, 1, 3)])


@pytest.mark.parametrize(
    "ask",
    [
        lambda queries, topic: queries.ends([TopicPartition(topic, 0)], Isolation.COMMITTED),
        lambda queries, topic: queries.member_ids(topic),
    ],
    ids=["ends", "members"],
)
def test_client_that_was_not_answered_and_is_thrown_away_does_not_live_on(
    ask: Callable[[Queries, str], object], proxy: KafkaProxy, topic: str
) -> None:
    """The story: after 60 minutes of faults a process had a client more, with four threads, for each outage: a future
    kept its error, that every frame it had passed, and those the future and the client.
    """
    queries = Queries(KafkaSettings(proxy.bootstrap, call_timeout=PATIENCE), "asker")
    ask(queries, topic)
    first = weakref.ref(queries.client)
    gc.collect()
    gc.disable()
    try:
        proxy.meddle(LIST_OFFSETS, Fate.LOSE_REQUEST, times=100)
        proxy.meddle(DESCRIBE_GROUPS, Fate.LOSE_REQUEST, times=100)
        with pytest.raises(NotReady):
            ask(queries, topic)

        assert first() is None
    finally:
        gc.enable()
