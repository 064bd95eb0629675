"""A reader on Kafka: a consumer that is only ever assigned, never in a group."""

import sys
import time
from collections.abc import Mapping, Sequence

from confluent_kafka import Consumer, KafkaError
from confluent_kafka import TopicPartition as KafkaPartition

from farandole.errors import FatalTransportError
from farandole.transport.kafka.polling import Outage, polled, read
from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.kafka.silence import Silence
from farandole.transport.port import End, Polled, Record, TopicPartition

POLL_MAX = 2_000
"""Most that one poll brings: about 10 ms of work."""

_ELSEWHERE = sys.maxsize
"""The place in a partition of the assignment before: all that still comes of it lies below."""

PREFETCH_RECORDS = 100_000
"""It is never paused, so that nothing fetched ahead is in vain; bounded by bytes."""


class KafkaReader:
    """Implements `Reader`. The group id is a formality: no position is read or committed."""

    def __init__(self, settings: KafkaSettings, client_id: str) -> None:
        self._client_id = client_id
        # The client looks for the coordinator of the group that it will never join.
        self._outage = Outage(client_id, frozenset({KafkaError.GROUP_AUTHORIZATION_FAILED}))
        config = {**settings.consumer(client_id, f"{client_id}.none"), "queued.min.messages": PREFETCH_RECORDS}
        self._consumer = Consumer({**config, "error_cb": self._outage})
        self._places: dict[TopicPartition, int | None] = {}
        """Next offset to deliver; None: where a logical offset will turn out to be."""

        self._begin: dict[TopicPartition, int] = {}
        """Where reading was to begin, perhaps a logical offset."""

        self._silence = Silence()
        self._is_closed = False

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read exactly these."""
        self._require_open()
        self._begin = dict(positions)
        self._places = {at: None if position < 0 else position for at, position in positions.items()}
        self._silence.clear()
        self._silence.expect(positions, time.monotonic())
        self._consumer.assign([KafkaPartition(*at, position) for at, position in positions.items()])

    def poll(self, timeout: float) -> Sequence[Polled]:
        """Records, ends and troubles."""
        self._require_open()
        out: list[Polled] = []
        messages, now = read(self._consumer, timeout, POLL_MAX), time.monotonic()
        for message in messages:
            each = polled(message, self._outage)
            if each is not None and self._take(each, now):
                out.append(each)
        for trouble in self._outage.troubles():
            out.append(trouble)
            self._silence.expect(self._places, now)
        if self._silence.overdue(now):
            self._go_on()
        return out

    def position(self, at: TopicPartition) -> int | None:
        """Next offset to be read."""
        return self._places.get(at)

    def close(self) -> None:
        """Free everything; doing it twice is harmless."""
        if not self._is_closed:
            self._is_closed = True
            self._consumer.close()

    def _go_on(self) -> None:
        """Assign all once more, from where each is."""
        places = {at: self._begin[at] if place is None else place for at, place in self._places.items()}
        self._consumer.assign([KafkaPartition(*at, place) for at, place in places.items()])

    def _take(self, each: Polled, now: float) -> bool:
        """Whether it is to be told; the places move on behind it."""
        if isinstance(each, Record):
            at, reached = TopicPartition(each.topic, each.partition), each.offset
            behind = reached + 1
            self._silence.heard(at, now)
        elif isinstance(each, End):
            at, reached = each.at, each.position
            behind = reached
            self._silence.ended(at)
        else:
            if each.at is not None:
                self._silence.ended(each.at)
            return True
        place = self._places.get(at, _ELSEWHERE)
        if place is not None and reached < place:
            return False
        self._places[at] = behind
        return True

    def _require_open(self) -> None:
        if self._is_closed:
            raise FatalTransportError(f"{self._client_id}: expected an open reader, but it was closed")
