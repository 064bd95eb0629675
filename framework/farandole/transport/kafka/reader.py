"""A reader on Kafka: a consumer that is only ever assigned, never in a group.

librdkafka asks the broker that it used last who leads what: so one that is cut off from the others, and has nothing new
to tell, is asked about itself for as long as it is read from. Only a broker that is thought to be blocked is passed
over, which is one that may hold a fetch for a second or more (`rd_kafka_broker_weight_usable`, `rdkafka_fetcher.c`).
But what is assigned then waits for so long, too. Hence two kinds of client: a quick one, and a wary one once nothing
has come for a while (decision 0104).
"""

import sys
import threading
import time
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


WARY_AFTER = 5.0
"""Seconds in which nothing came, until others are asked who leads. Most that tells nothing has come to its end."""

WARY_WAIT_MS = 1_000
"""Least `fetch.wait.max.ms` at which a broker that holds our fetch is passed over."""


class KafkaReader:
    """Implements `Reader`. The group id is a formality: no position is read or committed."""

    def __init__(self, settings: KafkaSettings, client_id: str) -> None:
        self._client_id = client_id
        # The client looks for the coordinator of the group that it will never join.
        self._outage = Outage(client_id, frozenset({KafkaError.GROUP_AUTHORIZATION_FAILED}))
        config = settings.consumer(client_id, f"{client_id}.none")
        self._config = {**config, "queued.min.messages": PREFETCH_RECORDS, "error_cb": self._outage}
        self._consumer, self._is_wary = Consumer(self._config), False
        self._moved = time.monotonic()
        """When something came, or was assigned."""

        self._asked: Mapping[TopicPartition, int] = {}
        self._places: dict[TopicPartition, int | None] = {}
        """Next offset to deliver; None: where a logical offset will turn out to be."""

        self._is_closed = False

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read exactly these."""
        self._require_open()
        self._asked = positions
        self._places = {at: None if position < 0 else position for at, position in positions.items()}
        if self._is_wary:
            self._replace(wary=False)
        else:
            self._assign()

    def poll(self, timeout: float) -> Sequence[Polled]:
        """Records, ends and troubles."""
        self._require_open()
        out: list[Polled] = []
        for message in read(self._consumer, timeout, POLL_MAX):
            each = polled(message, self._outage)
            if each is not None and self._take(each):
                out.append(each)
        if out:
            self._moved = time.monotonic()
        elif not self._is_wary and self._places and time.monotonic() - self._moved > WARY_AFTER:
            self._replace(wary=True)
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

    def _assign(self) -> None:
        self._moved = time.monotonic()
        places = {at: self._asked[at] if place is None else place for at, place in self._places.items()}
        self._consumer.assign([KafkaPartition(*at, position) for at, position in places.items()])

    def _replace(self, *, wary: bool) -> None:
        """Go on with another client from where this one is."""
        threading.Thread(target=self._consumer.close, name=f"{self._client_id}.leaving", daemon=True).start()
        more = {"fetch.wait.max.ms": WARY_WAIT_MS} if wary else {}
        self._consumer, self._is_wary = Consumer({**self._config, **more}), wary
        self._assign()

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
