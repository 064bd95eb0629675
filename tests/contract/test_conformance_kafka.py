"""The conformance suite on a real broker, unchanged."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as KafkaTopicPartition

from farandole.testing.conformance import CASES, Case, Hang, Kit
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.port import NewRecord, Position, TopicPartition, Transport

# Longer than any case takes, so that it is never the broker's own clean-up that ends the transaction.
TRANSACTION_TIMEOUT_MS = 120_000
CALL_TIMEOUT_SECONDS = 20.0


@pytest.fixture
def leave_open(kafka: str) -> Hang:
    """A raw producer that begins a transaction, writes, and is never heard of again.

    Its client object lives on with the test's, because to destroy it would be heard of.
    """
    left: list[Producer] = []

    def hang(
        transport: Transport,
        client_id: str,
        records: Sequence[NewRecord],
        group: str,
        positions: Mapping[TopicPartition, Position],
    ) -> None:
        producer = Producer(
            {
                "bootstrap.servers": kafka,
                "transactional.id": client_id,
                "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
                # That it is fenced in the end is what the cases want.
                "log_level": 0,
                "error_cb": lambda error: None,
            }
        )
        producer.init_transactions(CALL_TIMEOUT_SECONDS)
        producer.begin_transaction()
        for record in records:
            partition = -1 if record.partition is None else record.partition
            producer.produce(record.topic, record.value, record.key, partition, headers=list(record.headers))
        assert producer.flush(CALL_TIMEOUT_SECONDS) == 0
        if positions:
            _send_positions(kafka, producer, group, positions)
        left.append(producer)

    return hang


def _send_positions(
    bootstrap: str, producer: Producer, group: str, positions: Mapping[TopicPartition, Position]
) -> None:
    """As a consumer that never joined: that is accepted in any state of the group."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    try:
        offsets = [
            KafkaTopicPartition(at.topic, at.partition, position.offset, position.metadata)
            for at, position in positions.items()
        ]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), CALL_TIMEOUT_SECONDS)
    finally:
        consumer.close()


@pytest.fixture
def make(kafka: str) -> Callable[[], Transport]:
    """Transports of the real broker."""
    return lambda: KafkaTransport(KafkaSettings(bootstrap=kafka, strict=False))


def check_case(case: Case, kit: Kit) -> None:
    """The case asserts by itself."""
    case.run(kit)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_kafka_conforms(case: Case, make: Callable[[], Transport], leave_open: Hang) -> None:
    kit = Kit(make, hang=leave_open, settle=timedelta(seconds=40), session=timedelta(seconds=6))

    check_case(case, kit)
