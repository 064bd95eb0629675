"""A compacted topic read to its end and written to, blocking: for what is asked rarely.

Loops that must not block follow tables with `tables.Follower`; this is for schemas met for
the first time, and for the command line. The end is asked of the log, read-uncommitted, so
that a row in a transaction that is still open is waited for, not missed (R12, R13).
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

from farandole.clock import Clock, SystemClock
from farandole.errors import ConfigError, TransportError
from farandole.transport.port import (
    Isolation,
    NewRecord,
    Record,
    TopicPartition,
    Transport,
    Trouble,
)

BEGINNING = -2

PATIENCE = timedelta(seconds=30)
"""How long nothing may come before the log counts as unreachable: three times the longest open transaction (R14)."""

_POLL_SECONDS = 0.2


class CompactedTopic:
    """One topic over any transport; belongs to one thread."""

    def __init__(
        self,
        transport: Transport,
        topic: str,
        client_id: str,
        *,
        patience: timedelta = PATIENCE,
        clock: Clock | None = None,
    ) -> None:
        """Reads nothing yet."""
        self._topic = topic
        self._patience = patience.total_seconds()
        self._clock = clock or SystemClock()
        self._admin = transport.admin()
        self._reader = transport.reader(client_id)
        self._producer = transport.producer(client_id)
        self._positions: dict[TopicPartition, int] = {}

    def news(self) -> Iterator[tuple[bytes | None, bytes | None]]:
        """Keys and values since the last call (at first: since the beginning), up to the end of now.

        Raises:
            ConfigError: the topic does not exist.
            TransportError: the end was not reached while patience lasted.
        """
        for record in self._records():
            yield record.key, record.value

    def append(self, rows: Sequence[tuple[bytes, bytes]]) -> None:
        """Write rows and wait until they are safe.

        Raises:
            TransportError: one is not, as far as we know.
        """
        for key, value in rows:
            self._producer.send(NewRecord(self._topic, key, value))
        if rows and (left := self._producer.flush(self._patience)):
            raise TransportError(f"{self._topic}: expected {len(rows)} rows written, but {left} are unacknowledged")

    def close(self) -> None:
        """Free everything."""
        self._reader.close()
        self._producer.close()
        self._admin.close()

    def _records(self) -> Iterator[Record]:
        if not self._positions:
            self._begin()
        ends = self._admin.ends(list(self._positions), Isolation.UNCOMMITTED)
        if not (missing := self._missing(ends)):
            return
        self._reader.assign(self._positions)
        deadline, trouble = self._clock.monotonic() + self._patience, "nothing came"
        while missing:
            before = dict(self._positions)
            for polled in self._reader.poll(_POLL_SECONDS):
                if isinstance(polled, Record):
                    self._positions[polled.at] = polled.offset + 1
                    yield polled
                elif isinstance(polled, Trouble):
                    trouble = f"{polled.kind}: {polled.error}"
            self._pass_gaps()
            missing = self._missing(ends)
            if self._positions != before:
                deadline = self._clock.monotonic() + self._patience
            elif missing and self._clock.monotonic() > deadline:
                at = missing[0]
                raise TransportError(f"{at.topic}[{at.partition}]: expected to reach {ends[at]}, but {trouble}")

    def _begin(self) -> None:
        spec = self._admin.topics([self._topic]).get(self._topic)
        if spec is None:
            raise ConfigError(f"{self._topic}: expected the topic, but it does not exist; `farandole apply` creates it")
        self._positions = {TopicPartition(self._topic, n): BEGINNING for n in range(spec.partitions)}

    def _pass_gaps(self) -> None:
        """Markers and compacted records bring no record, only a position."""
        for at, position in self._positions.items():
            self._positions[at] = max(position, self._reader.position(at) or BEGINNING)

    def _missing(self, ends: Mapping[TopicPartition, int]) -> list[TopicPartition]:
        return [at for at, end in ends.items() if end > 0 and self._positions[at] < end]
