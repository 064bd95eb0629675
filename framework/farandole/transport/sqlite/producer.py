"""A plain producer on the embedded log: it queues, a courier writes."""

import threading

from farandole.errors import TransportError
from farandole.transport.port import NewRecord
from farandole.transport.sqlite.courier import Courier, Placed
from farandole.transport.sqlite.shared import Shared

LINGER_S = 0.005
"""Telemetry of one moment is one transaction, not one for each line; `flush` waits for none of it."""


class SqliteProducer:
    """Implements `Producer`."""

    def __init__(self, shared: Shared, client_id: str) -> None:
        self._courier = Courier(shared, client_id, LINGER_S)
        self._settled = threading.Condition()
        self._unsettled = 0
        self._refused: TransportError | None = None

    def send(self, record: NewRecord) -> None:
        """Queue a record; that it is refused is told by `flush`."""
        with self._settled:
            self._unsettled += 1
        try:
            self._courier.send(record, self._done)
        except TransportError:
            with self._settled:
                self._unsettled -= 1
            raise

    def flush(self, timeout: float) -> int:
        """Wait for what is queued; the number that is not settled yet.

        Raises:
            TransportError: a record since the last flush was refused.
        """
        self._courier.hurry()
        with self._settled:
            self._settled.wait_for(lambda: not self._unsettled, timeout)
            refused, self._refused = self._refused, None
            if refused is not None:
                raise refused
            return self._unsettled

    def close(self) -> None:
        """Write what is queued and free everything."""
        self._courier.close()

    def _done(self, outcome: Placed | TransportError) -> None:
        with self._settled:
            self._unsettled -= 1
            if isinstance(outcome, TransportError):
                self._refused = self._refused or outcome
            if not self._unsettled:
                self._settled.notify_all()
