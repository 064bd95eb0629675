"""A reader in memory: partitions outside any group, read-committed."""

from collections.abc import Mapping, Sequence

from farandole.errors import FatalTransportError
from farandole.transport.memory.cursors import Cursor, Cursors, Readable
from farandole.transport.memory.hub import Hub, Watch
from farandole.transport.memory.refusals import UnknownTopic
from farandole.transport.port import Polled, TopicPartition

POLL_MAX_RECORDS = 500
"""Records of one poll, as `MemberSettings.poll_max_records` has it by default."""


def cursor_at(broker: Readable, at: TopicPartition, position: int) -> Cursor:
    """A cursor at a position, logical ones resolved as of now; of a topic that does not exist, later."""
    try:
        return Cursor(at, broker.resolve(at, position))
    except UnknownTopic:
        return Cursor(at, position)


class MemoryReader:
    """Implements `Reader`."""

    def __init__(self, hub: Hub, client_id: str) -> None:
        self._hub = hub
        self._client_id = client_id
        self._cursors = Cursors()
        self._changed = hub.condition()
        self._closed = False
        self._watch = Watch(self._ring)
        with hub:
            hub.watch(self._watch)

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read exactly these from now on."""
        with self._hub as broker:
            self._cursors.clear()
            for at, position in positions.items():
                self._cursors.add(cursor_at(broker, at, position))
            self._watch.partitions = set(positions)

    def poll(self, timeout: float) -> Sequence[Polled]:
        """Records, ends and troubles."""
        if self._closed:
            raise FatalTransportError(f"{self._client_id}: expected an open reader, but it was closed")
        clock = self._hub.clock
        until = clock.monotonic() + timeout
        while True:
            with self._hub as broker:
                found = self._cursors.fetch(broker, POLL_MAX_RECORDS)
                if found or not self._hub.wait(self._changed, until - clock.monotonic()):
                    return found

    def position(self, at: TopicPartition) -> int | None:
        """Next offset to be read; None before anything was told."""
        cursor = self._cursors.get(at)
        return None if cursor is None else cursor.reached

    def close(self) -> None:
        """Free everything."""
        self._closed = True
        self._cursors.clear()
        self._hub.unwatch(self._watch)

    def _ring(self) -> None:
        self._changed.notify_all()
