"""The asyncio edge on Kafka, where an answer is lost."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import timedelta

import pytest

from farandole.errors import TransportError
from farandole.testing.conformance import Kit
from farandole.testing.proxy import PRODUCE, Fate, KafkaProxy
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.port import NewRecord, Position, TopicPartition, TopicSpec, Transport

pytestmark = pytest.mark.kafka

CLOSED_WITHIN_S = 30
"""Far beyond the time that an end may take."""


def _no_hang(
    transport: Transport,
    client_id: str,
    records: Sequence[NewRecord],
    group: str,
    positions: Mapping[TopicPartition, Position],
) -> None:
    raise AssertionError("no test here leaves a transaction open")


@pytest.fixture
def proxy(kafka: str) -> Iterator[KafkaProxy]:
    """A bad network in front of the real broker."""
    with KafkaProxy(kafka) as proxy:
        yield proxy


@pytest.fixture
def kit(proxy: KafkaProxy) -> Iterator[Kit]:
    """The transport behind it; it gives up a call after 2 s."""
    settings = KafkaSettings(proxy.bootstrap, call_timeout=timedelta(seconds=2))
    with Kit(lambda: KafkaTransport(settings), hang=_no_hang) as kit:
        yield kit


async def _sent(kit: Kit, *records: NewRecord, before_last: KafkaProxy | None = None) -> list[str]:
    """What became of each record."""
    edge = kit.transport.edge(kit.name("edge"))
    told = []
    try:
        for number, record in enumerate(records):
            if before_last is not None and number == len(records) - 1:
                before_last.meddle(PRODUCE, Fate.LOSE_REPLY)
            try:
                told.append(str(await edge.send(record)))
            except TransportError as error:
                told.append(str(error))
    finally:
        await edge.close()
    return told


def test_send_whose_answer_is_lost_says_that_it_is_in_doubt_and_writes_once(kit: Kit, proxy: KafkaProxy) -> None:
    (at,) = kit.topic_of([[]])
    records = [NewRecord(at.topic, None, value, (), 0) for value in (b"1", b"2")]

    first, second = asyncio.run(_sent(kit, *records, before_last=proxy))

    assert first == "(0, 0)"
    assert "in doubt" in second
    assert at.topic in second
    kit.sees(at, [b"1", b"2"])


def test_send_that_can_not_be_placed_is_refused_at_once(kit: Kit) -> None:
    (at,) = kit.topic_of([[]])
    nowhere = kit.name("nowhere")

    told = asyncio.run(_sent(kit, NewRecord(nowhere, b"k", b"v"), NewRecord(at.topic, b"k", b"v", (), 7)))

    assert all("refused" in each for each in told)
    assert nowhere in told[0]
    assert f"{at.topic}/7" in told[1]


def test_record_that_the_broker_refuses_does_not_stop_those_that_follow_it(kit: Kit) -> None:
    """The broker misses its number: each later one to that partition was out of order, until the process ended."""
    topic = kit.name("narrow")
    with closing(kit.transport.admin()) as admin:
        admin.create([TopicSpec(topic, 1, config={"max.message.bytes": "1000"})])
    small, large = (NewRecord(topic, None, value, (), 0) for value in (b"small", b"x" * 5_000))

    told = asyncio.run(_sent(kit, small, large, small, small))

    assert told[0] == "(0, 0)"
    assert "was refused" in told[1]
    assert told[2:] == ["(0, 1)", "(0, 2)"]


def test_edge_is_closed_although_something_is_in_doubt(kit: Kit, proxy: KafkaProxy) -> None:
    """It waited for as long as the cluster was away, and whoever was to end was killed in the end."""
    (at,) = kit.topic_of([[]])

    async def left() -> str:
        edge = kit.transport.edge(kit.name("edge"))
        await edge.send(NewRecord(at.topic, None, b"1", (), 0))
        proxy.meddle(PRODUCE, Fate.HOLD, times=1_000)
        with pytest.raises(TransportError, match="in doubt") as told:
            await edge.send(NewRecord(at.topic, None, b"2", (), 0))
        await asyncio.wait_for(edge.close(), CLOSED_WITHIN_S)
        return str(told.value)

    assert at.topic in asyncio.run(left())
