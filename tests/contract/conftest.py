"""What the contract tests on real brokers share: a transaction that nobody ends."""

from collections.abc import Callable, Mapping, Sequence

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as KafkaTopicPartition

from farandole.testing.conformance import Hang
from farandole.transport.port import NewRecord, Position, TopicPartition, Transport

# Longer than any case takes, so that it is never the broker's own clean-up that ends the transaction.
TRANSACTION_TIMEOUT_MS = 120_000
CALL_TIMEOUT_SECONDS = 20.0


@pytest.fixture
def hang_at() -> Callable[[str], Hang]:
    """For an address: a raw producer that begins a transaction there, writes, and is never heard of again.

    Its client object lives on with the test's, because to destroy it would be heard of.
    """
    left: list[Producer] = []
    return lambda bootstrap: _hanging(bootstrap, left)


def _hanging(bootstrap: str, left: list[Producer]) -> Hang:

    def hang(
        transport: Transport,
        client_id: str,
        records: Sequence[NewRecord],
        group: str,
        positions: Mapping[TopicPartition, Position],
    ) -> None:
        producer = Producer(
            {
                "bootstrap.servers": bootstrap,
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
            _send_positions(bootstrap, producer, group, positions)
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
