"""A plain producer on Kafka: idempotent, outside any transaction."""

import contextlib
import threading

from confluent_kafka import KafkaError, Message
from confluent_kafka import Producer as Client

from farandole.errors import TransportError
from farandole.transport.kafka.errors import CLIENT_ERRORS, error_of, told
from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.port import NewRecord

CLOSE_TIMEOUT = 5.0
"""Longest that `close` waits for what is queued, seconds."""


class KafkaProducer:
    """Implements `Producer`."""

    def __init__(self, settings: KafkaSettings, client_id: str) -> None:
        self._settings = settings
        self._client_id = client_id
        self._client = Client(settings.producer(client_id))
        self._lock = threading.Lock()
        self._refused = 0
        self._first = ""

    def send(self, record: NewRecord) -> None:
        """Queue a record."""
        try:
            # Reports of earlier records, which would else fill the queue.
            self._client.poll(0)
            self._client.produce(
                record.topic,
                record.value,
                record.key,
                partition=-1 if record.partition is None else record.partition,
                on_delivery=self._delivered,
                headers=list(record.headers),
            )
        except CLIENT_ERRORS as error:
            raise self._failed(error, f"{record.topic}: the record was not queued") from error

    def flush(self, timeout: float) -> int:
        """Wait for what is queued."""
        try:
            left = self._client.flush(timeout)
        except CLIENT_ERRORS as error:
            raise self._failed(error, "what was queued is in doubt") from error
        with self._lock:
            refused, self._refused = self._refused, 0
        if refused:
            raise TransportError(f"{self._client_id}: {refused} records were refused, the first: {self._first}")
        return left

    def close(self) -> None:
        """Flush briefly."""
        with contextlib.suppress(*CLIENT_ERRORS):
            self._client.flush(CLOSE_TIMEOUT)

    def _failed(self, exception: BaseException, what: str) -> TransportError:
        error = error_of(exception)
        if error.fatal() or error.code() == KafkaError._FATAL:
            # The client is of no use any more; what it had is lost, as the one who asks is told.
            with self._lock:
                self._client = Client(self._settings.producer(self._client_id))
        return TransportError(f"{self._client_id}: {what}: {told(exception)}")

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            with self._lock:
                if not self._refused:
                    self._first = f"{message.topic()}: {error.name()}: {error.str()}"
                self._refused += 1
