"""The asyncio side in memory: send and wait, and tails that sleep until something concerns them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

from farandole.errors import TransportError
from farandole.transport.memory.cursors import Cursors
from farandole.transport.memory.hub import Hub, Watch
from farandole.transport.memory.reader import POLL_MAX_RECORDS, cursor_at
from farandole.transport.memory.refusals import Refusal
from farandole.transport.port import End, Isolation, NewRecord, Polled, Record, TopicPartition, Trouble


class _Bell:
    """Rung by any thread, heard in one event loop; rung often, it wakes the loop once."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._on_its_way = False

    def ring(self) -> None:
        """Wake whoever waits; the lock is held."""
        if self._on_its_way or self._loop.is_closed():
            return
        self._on_its_way = True
        self._loop.call_soon_threadsafe(self._event.set)

    def silence(self) -> None:
        """What happens from now on rings anew; call with the lock held."""
        self._on_its_way = False
        self._event.clear()

    async def heard(self) -> None:
        """Wait for it to ring."""
        await self._event.wait()


class MemoryEdge:
    """Implements `Edge`; belongs to the event loop in which it was made."""

    def __init__(self, hub: Hub, client_id: str) -> None:
        self._hub = hub
        self._client_id = client_id
        self._bells: set[_Bell] = set()
        self._closed = False

    async def send(self, record: NewRecord) -> tuple[int, int]:
        """Write, and say where: (partition, offset)."""
        if self._closed:
            raise TransportError(f"{self._client_id}: expected an open edge, but it was closed. Nothing was sent")
        try:
            with self._hub as broker:
                return broker.append(record)
        except Refusal as refusal:
            raise TransportError(f"{refusal}. It was refused, nothing was written") from refusal

    def tail(self, positions: Mapping[TopicPartition, int]) -> AsyncIterator[Record | End]:
        """Records from positions on, as they stand at this call."""
        cursors = Cursors()
        with self._hub as broker:
            for at, position in positions.items():
                cursors.add(cursor_at(broker, at, position))
        return self._follow(cursors, set(positions))

    async def ends(self, partitions: Sequence[TopicPartition], isolation: Isolation) -> Mapping[TopicPartition, int]:
        """End offsets."""
        try:
            with self._hub as broker:
                return {at: broker.end(at, isolation) for at in partitions}
        except Refusal as refusal:
            raise TransportError(str(refusal)) from refusal

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has; 0 if it does not exist."""
        with self._hub as broker:
            return broker.partitions(topic)

    async def close(self) -> None:
        """End the tails."""
        self._closed = True
        with self._hub:
            for bell in self._bells:
                bell.ring()

    async def _follow(self, cursors: Cursors, partitions: set[TopicPartition]) -> AsyncGenerator[Record | End, None]:
        bell = _Bell()
        watch = Watch(bell.ring)
        watch.partitions = partitions
        with self._hub:
            self._hub.watch(watch)
        self._bells.add(bell)
        try:
            while not self._closed:
                with self._hub as broker:
                    bell.silence()
                    found = cursors.fetch(broker, POLL_MAX_RECORDS)
                for polled in found:
                    yield _delivered(polled)
                if found:
                    await asyncio.sleep(0)  # other tasks have their turn, however much there is to read
                elif not self._closed:
                    await bell.heard()
        finally:
            self._bells.discard(bell)
            self._hub.unwatch(watch)


def _delivered(polled: Polled) -> Record | End:
    if isinstance(polled, Trouble):
        raise TransportError(f"{polled.error} ({polled.kind}). The tail has ended")
    return polled
