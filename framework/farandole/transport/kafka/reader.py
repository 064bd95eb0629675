"""A reader on Kafka: a consumer that is only ever assigned, never in a group."""

import sys
from collections.abc import Mapping, Sequence

from confluent_kafka import Consumer, KafkaError
from confluent_kafka import TopicPartition as KafkaPartition

from farandole.errors import FatalTransportError
from farandole.transport.kafka.polling import Outage, polled, read
from farandole.transport.kafka.settings import KafkaSettings
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

        self._is_closed = False

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read exactly these."""
        self._require_open()
        self._places = {at: None if position < 0 else position for at, position in positions.items()}
        self._consumer.assign([KafkaPartition(*at, position) for at, position in positions.items()])

    def poll(self, timeout: float) -> Sequence[Polled]:
        """Records, ends and troubles."""
        self._require_open()
        out: list[Polled] = []
        for message in read(self._consumer, timeout, POLL_MAX):
            each = polled(message, self._outage)
            if each is not None and self._take(each):
                out.append(each)
        out += self._outage.troubles()
        return out

    def position(self, at: TopicPartition) -> int | None:
        """Next offset to be read."""
        return self._places.get(at)

    def close(self) -> None:
        """Free everything; doing it twice is harmless."""
        if not self._is_closed:
            self._is_closed = True
            self._consumer.close()

    def _take(self, each: Polled) -> bool:
        """Whether it is to be told; the places move on behind it."""
        if isinstance(each, Record):
            at, reached = TopicPartition(each.topic, each.partition), each.offset
            behind = reached + 1
        elif isinstance(each, End):
            at, reached = each.at, each.position
            behind = reached
        else:
            return True
        place = self._places.get(at, _ELSEWHERE)
        if place is not None and reached < place:
            return False
        self._places[at] = behind
        return True

    def _require_open(self) -> None:
        if self._is_closed:
            raise FatalTransportError(f"{self._client_id}: expected an open reader, but it was closed")
