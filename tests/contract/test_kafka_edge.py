"""The asyncio edge on Kafka, where an answer is lost."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

import pytest

from farandole.errors import TransportError
from farandole.testing.conformance import Kit
from farandole.testing.proxy import PRODUCE, Fate, KafkaProxy
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.port import NewRecord, Position, TopicPartition, Transport

pytestmark = pytest.mark.kafka


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
