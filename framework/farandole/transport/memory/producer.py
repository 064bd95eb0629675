"""A plain producer in memory: what it sends is on the log when `send` returns."""

from farandole.errors import TransportError
from farandole.transport.memory.hub import Hub
from farandole.transport.memory.refusals import RecordTooLarge, UnknownTopic
from farandole.transport.port import NewRecord


class MemoryProducer:
    """Implements `Producer`."""

    def __init__(self, hub: Hub, client_id: str) -> None:
        self._hub = hub
        self._client_id = client_id
        self._refused = ""
        self._closed = False

    def send(self, record: NewRecord) -> None:
        """Write a record; that its topic does not exist is told by `flush`, as Kafka tells it.

        Raises:
            TransportError: the record is too large, or the producer was closed.
        """
        if self._closed:
            raise TransportError(f"{self._client_id}: expected an open producer, but it was closed")
        try:
            with self._hub as broker:
                broker.append(record)
        except UnknownTopic as refusal:
            self._refused = self._refused or str(refusal)
        except RecordTooLarge as refusal:
            raise TransportError(str(refusal)) from refusal

    def flush(self, timeout: float) -> int:
        """Nothing waits, ever.

        Raises:
            TransportError: a record since the last flush was refused.
        """
        refused, self._refused = self._refused, ""
        if refused:
            raise TransportError(refused)
        return 0

    def close(self) -> None:
        """Free everything."""
        self._closed = True
