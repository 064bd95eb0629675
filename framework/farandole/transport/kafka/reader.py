"""A reader on Kafka: a consumer that is only ever assigned, never in a group."""

from collections.abc import Mapping, Sequence

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from farandole.transport.kafka.polling import Poller
from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.port import Polled, TopicPartition, Trouble

POLL_MAX = 1_000
LOOK_UP_TIMEOUT = 5.0
"""Longest that looking a topic up may hold up an assignment, seconds; usually a millisecond."""


class KafkaReader:
    """Implements `Reader`. The group id is never used: no position is committed, none is read."""

    def __init__(self, settings: KafkaSettings, client_id: str) -> None:
        self._consumer = Consumer(settings.consumer(client_id, f"{client_id}.none"))
        self._poller = Poller(self._consumer, client_id)
        self._assigned: set[TopicPartition] = set()
        self._known: set[str] = set()

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read exactly these."""
        self._poller.drop(self._assigned)
        self._assigned = set(positions)
        self._consumer.assign([KafkaPartition(at.topic, at.partition, p) for at, p in positions.items()])
        self._poller.begin(positions)
        for topic in sorted({at.topic for at in positions} - self._known):
            self._look_up(topic)

    def _look_up(self, topic: str) -> None:
        """librdkafka says nothing of a topic that does not exist if it was assigned rather than subscribed to."""
        try:
            found = self._consumer.list_topics(topic, timeout=LOOK_UP_TIMEOUT).topics[topic]
        except KafkaException:
            return  # unreachable: polling tells
        if found.error is None:
            self._known.add(topic)
        else:
            self._poller.tell(Trouble("unknown_topic", f"{topic}: {found.error.str()}", TopicPartition(topic, -1)))

    def poll(self, timeout: float) -> Sequence[Polled]:
        """Records, ends and troubles."""
        return self._poller.poll(timeout, POLL_MAX) if self._assigned else ()

    def position(self, at: TopicPartition) -> int | None:
        """Next offset to be read."""
        return self._poller.reached(at)

    def close(self) -> None:
        """Free everything."""
        self._consumer.close()
