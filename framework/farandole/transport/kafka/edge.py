"""The asyncio edge: aiokafka to send and wait, a reader in a thread of its own for each tail; never a transaction (R1).

Tails are not aiokafka's: it decodes the names of headers, so that one record of which they are not
UTF-8 (kcat sends any bytes) stops every tail at its offset for good.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from aiokafka import AIOKafkaProducer
from aiokafka import errors as aio
from aiokafka.structs import RecordMetadata

from farandole.errors import TransportError
from farandole.ids import partition_of
from farandole.transport.kafka.aio_errors import AWAY, denied, unreached
from farandole.transport.kafka.edge_queries import EdgeQueries
from farandole.transport.kafka.reader import KafkaReader
from farandole.transport.kafka.security import for_aiokafka
from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.kafka.sharing import begun, shared
from farandole.transport.port import End, Isolation, NewRecord, Record, TopicPartition, Trouble
from farandole.transport.topology import RECORD_BYTES_MAX

SLICE = 0.2
"""Longest that a tail's thread waits at once, seconds: how long it outlives its tail."""

STOP_S = 5.0
"""Longest wait for a producer to end. While the cluster is away it would wait for what is in doubt, for ever."""

COUNT_IS_FRESH = 60.0
"""Seconds for which the number of partitions of a topic is remembered."""

_REFUSALS = (
    aio.MessageSizeTooLargeError,
    aio.RecordTooLargeError,
    aio.UnknownTopicOrPartitionError,
    aio.InvalidTopicError,
    aio.RecordListTooLargeError,
    aio.InvalidTimestampError,
    aio.TopicAuthorizationFailedError,
    aio.ClusterAuthorizationFailedError,
    aio.UnsupportedVersionError,
)
"""After these a record has certainly not been written; after any other nobody knows."""


class KafkaEdge:
    """Implements `Edge`; made and used inside one running event loop."""

    def __init__(self, settings: KafkaSettings, client_id: str) -> None:
        self._settings = settings
        self._client_id = client_id
        self._queries = EdgeQueries(settings, client_id)
        self._producer: AIOKafkaProducer | None = None
        self._connecting: asyncio.Task[AIOKafkaProducer] | None = None
        """What all wait for who send before there is a producer; while the cluster is away each would connect anew."""

        self._is_closed = False
        self._leaving: set[asyncio.Task[None]] = set()
        """Ends of producers that are not used any more."""

        self._counts: dict[str, tuple[int, float]] = {}

    async def send(self, record: NewRecord) -> tuple[int, int]:
        """Write and wait; each of its questions (where to, a connection, the answer) at most `call_timeout`.

        Raises:
            AccessDenied: we may not write there, or not at all.
            TransportError: it was refused, or is in doubt, or nothing was sent.
        """
        partition = await self._place(record)
        while True:
            producer = await self._started()
            try:
                return await self._written(producer, record, partition)
            except aio.ProducerClosed:
                self._retire(producer)  # it is ending already, because of another record

    async def _written(self, producer: AIOKafkaProducer, record: NewRecord, partition: int) -> tuple[int, int]:
        """Where it stands now.

        Raises:
            ProducerClosed: it takes nothing more. The record has not been written, and nothing is wrong with it.
            AccessDenied: we may not write there.
            TransportError: it was refused, or is in doubt.
        """
        try:
            # aiokafka's own limit does not hold for an idempotent producer.
            told = await asyncio.wait_for(_answered(producer, record, partition), self._settings.patience)
        except (AssertionError, ValueError, TypeError) as error:
            raise TransportError(f"{record.topic}: the record was refused: {error!r}") from error
        except aio.ProducerClosed:
            raise
        except aio.KafkaError as error:
            self._retire(producer)
            is_refused = isinstance(error, _REFUSALS)
            what = "the record was refused" if is_refused else "in doubt, the record may have been written"
            about = f"{record.topic}: {what}"
            told = denied(error, about) if is_refused else None  # what is in doubt may have been written
            raise told or TransportError(f"{about}: {error!r}") from error
        except TimeoutError as error:
            raise TransportError(f"{record.topic}: in doubt, the record may have been written: {error!r}") from error
        return told.partition, told.offset

    async def tail(self, positions: Mapping[TopicPartition, int]) -> AsyncIterator[Record | End]:
        """Read-committed records from positions on, until the edge is closed.

        Raises:
            TransportError: a partition does not deliver; that the cluster is away is waited for.
        """
        reader = KafkaReader(self._settings, self._client_id)
        thread = ThreadPoolExecutor(1, f"{self._client_id}.tail")
        loop = asyncio.get_running_loop()
        try:
            reader.assign(positions)
            while not self._is_closed:
                for each in await loop.run_in_executor(thread, reader.poll, SLICE):
                    if not isinstance(each, Trouble):
                        yield each
                    elif each.at is not None:
                        raise TransportError(f"{each.at.topic}/{each.at.partition}: {each.kind}: {each.error}")
        finally:
            # Its last poll ends within a slice; nobody waits for that.
            thread.submit(reader.close)
            thread.shutdown(wait=False)

    async def ends(self, partitions: Sequence[TopicPartition], isolation: Isolation) -> Mapping[TopicPartition, int]:
        """End offsets."""
        return await self._queries.ends(partitions, isolation)

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has; 0 if it does not exist."""
        return await self._queries.partitions(topic)

    async def close(self) -> None:
        """Free everything, in a bounded time: neither what is in doubt is waited for, nor a cluster that is away."""
        self._is_closed = True
        self._queries.close()
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        if self._producer is not None:
            self._retire(self._producer)
        if self._leaving:
            await asyncio.wait(self._leaving)

    def _retire(self, producer: AIOKafkaProducer) -> None:
        """Send nothing more with it, and end it.

        A record that the broker refuses leaves a gap in the numbers that it expects of an idempotent producer: with
        aiokafka each later one to that partition is out of order then, for ever. So is what follows any other failure.
        """
        if self._producer is producer:
            self._producer = None
            self._leave(producer)

    def _leave(self, producer: AIOKafkaProducer) -> None:
        leaving = asyncio.get_running_loop().create_task(_ended(producer), name=f"{self._client_id}.leaving")
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def _started(self) -> AIOKafkaProducer:
        """A producer that is connected: the one there is, or else the one that all wait for who need it now.

        Raises:
            NotReady: the cluster cannot be reached.
            AccessDenied: it does not let us in, or write.
            TransportError: the edge was closed.
        """
        if self._is_closed:
            raise self._closed()
        if self._producer is not None:
            return self._producer
        if self._connecting is None or self._connecting.done():
            self._connecting = begun(self._connect(), f"{self._client_id}.connecting")
        return await shared(self._connecting, self._closed)

    async def _connect(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._settings.bootstrap,
            client_id=self._client_id,
            acks="all",
            enable_idempotence=True,
            max_request_size=RECORD_BYTES_MAX,
            request_timeout_ms=round(self._settings.patience * 1000),
            **for_aiokafka(self._settings.extra),
        )
        try:
            async with asyncio.timeout(self._settings.patience):
                await producer.start()
        except AWAY as error:
            self._leave(producer)
            raise _unsent(unreached(error, self._settings.bootstrap)) from error
        except BaseException:
            await _ended(producer)
            raise
        self._producer = producer
        return producer

    def _closed(self) -> TransportError:
        return TransportError(f"{self._client_id}: expected an open edge, but it was closed. Nothing was sent")

    async def _place(self, record: NewRecord) -> int:
        """The partition to write to, the same that Java and the members choose.

        Raises:
            TransportError: the topic or the partition does not exist, of which aiokafka would say nothing for long.
        """
        count, known = self._counts.get(record.topic, (0, 0.0))
        if not count or time.monotonic() - known > COUNT_IS_FRESH:
            count = await self.partitions(record.topic)
            self._counts[record.topic] = count, time.monotonic()
        if not count:
            raise TransportError(f"{record.topic}: the record was refused: the topic does not exist")
        if record.partition is None:
            return random.randrange(count) if record.key is None else partition_of(record.key, count)
        if not 0 <= record.partition < count:
            raise TransportError(
                f"{record.topic}/{record.partition}: the record was refused: it has {count} partitions"
            )
        return record.partition


def _unsent(error: TransportError) -> TransportError:
    return type(error)(f"{error}. Nothing was sent")


async def _answered(producer: AIOKafkaProducer, record: NewRecord, partition: int) -> RecordMetadata:
    """What the broker says of a record.

    Raises:
        ValueError: it is larger than any request, and has no number yet that would be missed. What a broker refuses for
            its size, under the same name in aiokafka, has one.
    """
    try:
        sent = await producer.send(
            record.topic, record.value, record.key, partition=partition, headers=list(record.headers)
        )
    except aio.MessageSizeTooLargeError as error:
        raise ValueError(str(error)) from error
    return await sent


async def _ended(producer: AIOKafkaProducer) -> None:
    """End a producer, whatever it waits for."""
    with contextlib.suppress(aio.KafkaError, OSError, TimeoutError):
        await asyncio.wait_for(producer.stop(), STOP_S)
        return
    sender = producer._sender.sender_task if producer._sender is not None else None
    if sender is not None:
        sender.cancel()
        await asyncio.wait([sender], timeout=STOP_S)
    with contextlib.suppress(aio.KafkaError, OSError, TimeoutError):
        await asyncio.wait_for(producer.client.close(), STOP_S)
