"""From what a consumer brings to what the port promises: records, ends, troubles."""

import operator
import re
import time
from collections.abc import Iterator, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from farandole.errors import FatalTransportError
from farandole.transport.kafka.access import words
from farandole.transport.kafka.errors import told, trouble_kind
from farandole.transport.port import End, Polled, Record, TopicPartition, Trouble

UNREACHABLE_EVERY = 1.0
"""Least seconds between two tellings that the cluster is unreachable."""

NO_PARTITION = -1
"""Of a topic as a whole (`RD_KAFKA_PARTITION_UA`)."""

_OF_PARTITION = re.compile(r"([a-zA-Z0-9._-]+) \[(-?\d+)\]: ")
"""How librdkafka begins what it says of a partition to `error_cb`, as when the topic of an assigned one does not
exist [measured]: no message is there to name it."""


class Outage:
    """A consumer's `error_cb`: errors of the connection (and of topics that are not there), told not too often.

    `ignored`: codes of errors that are none for this consumer.
    """

    def __init__(self, client_id: str, ignored: frozenset[int] = frozenset()) -> None:
        self.ignored = ignored
        self._client_id = client_id
        self._error: KafkaError | None = None
        self._fatal: KafkaError | None = None
        self._told = -UNREACHABLE_EVERY

    def __call__(self, error: KafkaError) -> None:
        """An error; the first one since the last telling counts."""
        if error.fatal():
            self._fatal = error
        elif self._error is None and error.code() not in self.ignored:
            self._error = error

    def troubles(self) -> Iterator[Trouble]:
        """The trouble to tell now, if there is any.

        Raises:
            FatalTransportError: the consumer can not go on.
        """
        if self._fatal is not None:
            raise FatalTransportError(f"{self._client_id}: {self._fatal.str()}. The process must be started anew")
        now = time.monotonic()
        if self._error is not None and now - self._told >= UNREACHABLE_EVERY:
            error, self._error, self._told = self._error, None, now
            kind, place = trouble_kind(error), _OF_PARTITION.match(error.str())
            at = TopicPartition(place[1], int(place[2])) if place and kind != "unreachable" else None
            yield Trouble(kind, words(error), at)


def read(consumer: Consumer, timeout: float, most: int) -> Sequence[Message]:
    """Up to `most` messages, waiting at most `timeout` seconds for the first; callbacks run in here.

    Raises:
        FatalTransportError: the consumer can not go on.
    """
    try:
        if timeout <= 0:
            return consumer.consume(most, 0)
        # `consume` alone would wait for the last one too.
        first = consumer.poll(timeout)
        if first is None:
            return ()
        return (first, *consumer.consume(most - 1, 0)) if most > 1 else (first,)
    except KafkaException as error:
        raise FatalTransportError(f"the consumer does not poll: {told(error)}") from error


def polled(message: Message, outage: Outage) -> Polled | None:
    """What a message says; None if it is told by `outage` in its own time."""
    error = message.error()
    topic, partition, offset = message.topic() or "", message.partition(), message.offset()
    if partition is None:
        partition = NO_PARTITION
    if error is None:
        key, value, headers = message.key(), message.value(), _headers(message)
        return Record(topic, partition, offset or 0, key, value, headers, message.timestamp()[1])
    at = TopicPartition(topic, partition)
    if error.code() in outage.ignored:
        return None
    if error.code() == KafkaError._PARTITION_EOF:
        return End(at, offset or 0)
    kind = trouble_kind(error)
    if error.fatal() or kind == "unreachable":
        outage(error)
        return None
    return Trouble(kind, words(error), at if topic else None)


_headers_of = operator.methodcaller("headers")
"""`message.headers()` with the check that CPython makes after a call into C.

For a name that is not UTF-8 (kcat sends any bytes) the client returns tuples with a hole in them *and* sets an
exception. The check turns that into SystemError; a plain method call loses it once the interpreter has
specialised the line (3.11 and later), and the first look at such a tuple is a segmentation fault [measured].
"""


def _headers(message: Message) -> Sequence[tuple[str, bytes]]:
    """Headers with text as names and bytes as values, whatever a foreign client wrote.

    A record whose headers cannot be read is told without any, so that it is refused like any other that is not
    ours, and its partition goes on.
    """
    try:
        found = _headers_of(message)
    except (SystemError, UnicodeDecodeError):
        return ()
    return [(name, value or b"") for name, value in found] if found else ()
