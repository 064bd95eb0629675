"""A reader on Kafka: a consumer that is only ever assigned, never in a group."""

from collections.abc import Mapping, Sequence

from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as KafkaPartition

from farandole.transport.kafka.polling import Poller
from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.port import Polled, TopicPartition

POLL_MAX = 1_000


class KafkaReader:
    """Implements `Reader`. The group id is never used: no position is committed, none is read."""

    def __init__(self, settings: KafkaSettings, client_id: str) -> None:
        self._consumer = Consumer(settings.consumer(client_id, f"{client_id}.none"))
        self._poller = Poller(self._consumer, client_id)
        self._assigned: set[TopicPartition] = set()

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read exactly these."""
        self._poller.drop(self._assigned)
        self._assigned = set(positions)
        self._consumer.assign([KafkaPartition(at.topic, at.partition, p) for at, p in positions.items()])
        self._poller.begin(positions)

    def poll(self, timeout: float) -> Sequence[Polled]:
        """Records, ends and troubles."""
        return self._poller.poll(timeout, POLL_MAX) if self._assigned else ()

    def position(self, at: TopicPartition) -> int | None:
        """Next offset to be read."""
        return self._poller.reached(at)

    def close(self) -> None:
        """Free everything."""
        self._consumer.close()
