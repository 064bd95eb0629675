"""The asyncio edge on aiokafka: send and wait, and read-committed tails; never a transaction (R1)."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as AioPartition
from aiokafka.errors import KafkaError as AioError
from aiokafka.errors import KafkaTimeoutError, RequestTimedOutError

from farandole.errors import TransportError
from farandole.ids import partition_of
from farandole.transport.kafka.admin import KafkaAdmin
from farandole.transport.kafka.settings import RECORD_BYTES_MAX, KafkaSettings
from farandole.transport.port import End, Isolation, NewRecord, Record, TopicPartition

BEGINNING = -2
POLL_MS = 200


class KafkaEdge:
    """Implements `Edge`; made inside a running event loop."""

    def __init__(self, settings: KafkaSettings, client_id: str) -> None:
        self._settings = settings
        self._client_id = client_id
        self._producer: AIOKafkaProducer | None = None
        self._known: set[str] = set()
        self._starting: asyncio.Lock = asyncio.Lock()

    async def send(self, record: NewRecord) -> tuple[int, int]:
        """Write and wait."""
        producer = await self._started()
        await self._look_up(record.topic)
        partition = record.partition if record.partition is not None else await self._place(producer, record)
        try:
            told = await producer.send_and_wait(
                record.topic, record.value, record.key, partition=partition, headers=list(record.headers)
            )
        except (KafkaTimeoutError, RequestTimedOutError) as error:
            raise TransportError(f"{record.topic}: in doubt, it may have been written: {error}") from error
        except (AioError, AssertionError, ValueError) as error:
            raise TransportError(f"{record.topic}: refused: {error!r}") from error
        return told.partition, told.offset

    async def tail(self, positions: Mapping[TopicPartition, int]) -> AsyncIterator[Record | End]:
        """Read-committed records from positions on, for ever."""
        consumer = AIOKafkaConsumer(
            **self._settings.asyncio(self._client_id),
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=500,
        )
        try:
            await consumer.start()
            partitions = {at: AioPartition(*at) for at in positions}
            consumer.assign(list(partitions.values()))
            for at, position in positions.items():
                if position == BEGINNING:
                    await consumer.seek_to_beginning(partitions[at])
                elif position < 0:
                    await consumer.seek_to_end(partitions[at])
                else:
                    consumer.seek(partitions[at], position)
            async for item in _follow(consumer, partitions):
                yield item
        except AioError as error:
            raise TransportError(f"{self._client_id}: the tail broke: {error!r}") from error
        finally:
            await consumer.stop()

    async def ends(self, partitions: Sequence[TopicPartition], isolation: Isolation) -> Mapping[TopicPartition, int]:
        """End offsets."""
        return await asyncio.to_thread(lambda: self._admin().ends(partitions, isolation))

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has; 0 if it does not exist."""
        found = await asyncio.to_thread(lambda: self._admin().topics([topic]))
        return found[topic].partitions if topic in found else 0

    async def close(self) -> None:
        """Free everything."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def _look_up(self, topic: str) -> None:
        """aiokafka waits 40 s for a topic that does not exist; ask once, and say so at once."""
        if topic not in self._known:
            if not await self.partitions(topic):
                raise TransportError(f"{topic}: refused: expected the topic to exist, but it does not")
            self._known.add(topic)

    def _admin(self) -> KafkaAdmin:
        return KafkaAdmin(self._settings, self._client_id)

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._settings.asyncio(self._client_id),
                    acks="all",
                    enable_idempotence=True,
                    max_request_size=RECORD_BYTES_MAX,
                )
                try:
                    await producer.start()
                except (AioError, OSError) as error:
                    await producer.stop()
                    raise TransportError(f"{self._settings.bootstrap}: cannot be reached: {error!r}") from error
                self._producer = producer
            return self._producer

    async def _place(self, producer: AIOKafkaProducer, record: NewRecord) -> int:
        try:
            partitions = await producer.partitions_for(record.topic)
        except AioError as error:
            raise TransportError(f"{record.topic}: refused: {error!r}") from error
        if not partitions:
            raise TransportError(f"{record.topic}: expected the topic to exist, but it does not")
        count = len(partitions)
        return partition_of(record.key, count) if record.key is not None else random.randrange(count)


async def _follow(
    consumer: AIOKafkaConsumer, partitions: Mapping[TopicPartition, AioPartition]
) -> AsyncIterator[Record | End]:
    told: dict[TopicPartition, int] = {}
    while True:
        batches = await consumer.getmany(timeout_ms=POLL_MS, max_records=1000)
        for at, messages in batches.items():
            for m in messages:
                yield Record(at.topic, at.partition, m.offset, m.key, m.value, m.headers, m.timestamp)
        for at, kafka in partitions.items():
            position = await consumer.position(kafka)
            stable = consumer.last_stable_offset(kafka)
            if stable is not None and position >= stable >= 0 and told.get(at) != position:
                told[at] = position
                yield End(at, position)
