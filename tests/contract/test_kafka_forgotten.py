"""A transaction that has ended for its coordinator and is open in a partition: found, and told from one under way."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest
from aiokafka.client import AIOKafkaClient
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka import TopicPartition as KafkaPartition

from farandole.errors import TransportError
from farandole.testing.broker import Broker, BrokerSettings, start_broker
from farandole.testing.chaos.markers import abort_forgotten
from farandole.testing.cluster import wait_until
from farandole.testing.proxy import PRODUCE, Fate, KafkaProxy
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.kafka.asking import ask
from farandole.transport.kafka.forgotten import OFFSETS, _open, forgotten
from farandole.transport.kafka.transactions import Transactor
from farandole.transport.port import Isolation, TopicPartition, TopicSpec

pytestmark = pytest.mark.kafka

AT = TopicPartition("ns.events", 0)

TRIES = 6
"""Records that may be refused before one is taken."""


@pytest.fixture(scope="module")
def lax() -> Iterator[Broker]:
    """A broker that takes a record of a transaction that is over, as those before 3.7 did."""
    settings = BrokerSettings(properties={"transaction.partition.verification.enable": "false"})
    with start_broker(settings) as broker:
        with closing(KafkaTransport(KafkaSettings(broker.bootstrap)).admin()) as admin:
            admin.create([TopicSpec(AT.topic, 1), TopicSpec("other.events", 1)])
        yield broker


def ends(broker: Broker) -> tuple[int, int]:
    """Where committed readers stop, and where the log ends."""
    with closing(KafkaTransport(KafkaSettings(broker.bootstrap)).admin()) as admin:
        return admin.ends([AT], Isolation.COMMITTED)[AT], admin.ends([AT], Isolation.UNCOMMITTED)[AT]


def producer(bootstrap: str, name: str, **settings: object) -> Producer:
    """A transactional one, initialised."""
    made = Producer({"bootstrap.servers": bootstrap, "transactional.id": name, "log_level": 0, **settings})
    made.init_transactions(10)
    return made


def comes_late(lax: Broker, name: str) -> bool:
    """Let a record come after its transaction has ended; whether it is taken.

    It is refused where the client has had the time to take another epoch when it aborted, as on a busy machine.
    """
    with KafkaProxy(lax.bootstrap) as proxy:
        late = producer(proxy.bootstrap, name, **{"socket.timeout.ms": 1_000, "message.timeout.ms": 1_500})
        late.begin_transaction()
        proxy.meddle(PRODUCE, Fate.HOLD, times=100)
        late.produce(AT.topic, b"late", partition=0)
        late.flush(3)
        with pytest.raises(KafkaException):
            late.commit_transaction(5)
        proxy.leave_alone()
        late.abort_transaction(10)
        assert proxy.release() > 0
    until = time.monotonic() + 1
    while (is_open := len(set(ends(lax))) == 2) is False and time.monotonic() < until:
        time.sleep(0.05)
    return is_open


def test_record_that_comes_after_its_transaction_has_ended_is_found_and_aborted(lax: Broker) -> None:
    """A broker's restart brought the like about: a coordinator stood before it for ever, and nothing told."""
    names = [f"ns.orders.{n}" for n in range(TRIES)]
    name = next(each for each in names if comes_late(lax, each))
    committed, _ = ends(lax)

    (found,) = forgotten(KafkaSettings(lax.bootstrap), "ns.")

    assert (found.at, found.start, found.transactional_id) == (AT, committed, name)
    assert forgotten(KafkaSettings(lax.bootstrap), "other.") == []
    heir, other = (Transactor(KafkaSettings(lax.bootstrap), each) for each in (name, "ns.orders.other"))
    other.prepare()
    for begin in (heir.prepare, heir.renew, heir.prepare):
        with pytest.raises(TransportError, match=r"open in ns\.events/0, and its broker has forgotten it.*doctor"):
            begin()
    assert abort_forgotten(KafkaSettings(lax.bootstrap), "ns.") == [replace(found, state="Empty")]
    wait_until(lambda: len(set(ends(lax))) == 1, timedelta(seconds=10), "readers to go on")
    assert forgotten(KafkaSettings(lax.bootstrap), "ns.") == []
    heir.renew()


def test_transaction_under_way_is_not_forgotten(lax: Broker) -> None:
    open_ = producer(lax.bootstrap, "ns.orders.open")
    open_.begin_transaction()
    open_.produce(AT.topic, b"soon", partition=0)
    open_.flush(10)
    committed, end = ends(lax)
    assert committed < end

    assert forgotten(KafkaSettings(lax.bootstrap), "ns.") == []
    open_.commit_transaction(10)
    assert forgotten(KafkaSettings(lax.bootstrap), "ns.") == []


def test_positions_of_a_group_are_where_its_writers_ask_for_them(lax: Broker) -> None:
    writer, settings = producer(lax.bootstrap, "ns.orders.positions"), KafkaSettings(lax.bootstrap)
    groups = [f"ns.orders{n}" for n in range(6)]
    found = []

    async def look(client: AIOKafkaClient) -> list[tuple[TopicPartition, int, int, int, int]]:
        return await _open(client, "ns.", False, group)

    for group in groups:
        stranger = Consumer({"bootstrap.servers": lax.bootstrap, "group.id": group})
        writer.begin_transaction()
        writer.send_offsets_to_transaction([KafkaPartition(AT.topic, 0, 1)], stranger.consumer_group_metadata(), 10)
        found += ask(settings, "tests", look)
        writer.abort_transaction(10)
        stranger.close()

    assert [at.topic for at, *_ in found] == [OFFSETS] * len(groups)
