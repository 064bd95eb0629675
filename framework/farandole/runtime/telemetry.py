"""Signals about attempts under way: hints on `telemetry`, never the truth, dropped rather than waited for.

The producer is plain and thread-safe: handlers call `progress` from wherever they run.
"""

from datetime import datetime

from farandole.errors import TransportError
from farandole.events.catalogue import encode, type_name
from farandole.events.envelope import Envelope
from farandole.events.tables import AttemptProgress, AttemptStarted, Signal
from farandole.events.topics import Topics
from farandole.ids import attempt_id
from farandole.runtime.attempts import Call
from farandole.transport.outgoing import home_of
from farandole.transport.port import NewRecord, Producer


class Signals:
    """Writes signals; `dropped` counts those that found the queue full."""

    def __init__(self, producer: Producer, topics: Topics, source: str, home_partitions: int) -> None:
        self._producer = producer
        self._topics = topics
        self._source = source
        self._home_partitions = home_partitions
        self.dropped = 0

    def started(self, call: Call, agent: str, at: datetime) -> None:
        """A handler was called at `at`."""
        self._send(AttemptStarted(call.run, call.step, call.attempt, agent, at, call.item), at)

    def progress(self, call: Call, at: datetime, done: float, total: float | None, note: str) -> None:
        """A handler says how far it is."""
        self._send(AttemptProgress(call.run, call.step, call.attempt, at, done, total, note, call.item), at)

    def close(self) -> None:
        """Send what is queued, briefly."""
        self._producer.close()

    def _send(self, signal: Signal, at: datetime) -> None:
        name = attempt_id(signal.run, signal.step, signal.item, signal.attempt)
        envelope = Envelope(
            id=f"{name}/{type(signal).__name__}/{round(at.timestamp() * 1000)}",
            type=type_name(type(signal)),
            source=self._source,
            time=at,
            run=signal.run,
            step=signal.step,
            item=signal.item,
            attempt=signal.attempt,
        )
        home = home_of(signal.run, self._home_partitions)
        record = NewRecord(self._topics.telemetry, signal.run.encode(), encode(signal), envelope.headers(), home)
        try:
            self._producer.send(record)
        except TransportError:
            self.dropped += 1
