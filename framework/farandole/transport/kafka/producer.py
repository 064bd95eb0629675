"""A plain producer on Kafka: idempotent, outside any transaction."""

import threading

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as Client

from farandole.errors import TransportError
from farandole.transport.kafka.placing import Placing
from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.port import NewRecord

CLOSE_TIMEOUT = 5.0


class KafkaProducer:
    """Implements `Producer`."""

    def __init__(self, settings: KafkaSettings, client_id: str, placing: Placing) -> None:
        self._client = Client(settings.producer(client_id))
        self._client_id = client_id
        self._placing = placing
        self._refused: list[str] = []
        self._lock = threading.Lock()

    def send(self, record: NewRecord) -> None:
        """Queue a record."""
        try:
            self._client.produce(
                record.topic,
                record.value,
                record.key,
                partition=self._placing.partition(record),
                on_delivery=self._delivered,
                headers=list(record.headers),
            )
        except (BufferError, KafkaException) as error:
            raise TransportError(f"{self._client_id}: {record.topic}: {error}") from error
        self._client.poll(0)

    def flush(self, timeout: float) -> int:
        """Wait for what is queued."""
        left = int(self._client.flush(timeout))
        with self._lock:
            refused, self._refused = self._refused, []
        if refused:
            raise TransportError(f"{self._client_id}: {len(refused)} records were refused, the first: {refused[0]}")
        return left

    def close(self) -> None:
        """Flush briefly."""
        self._client.flush(CLOSE_TIMEOUT)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            with self._lock:
                self._refused.append(f"{message.topic()}: {error.str()}")
