"""A reader on the embedded log: partitions outside any group, read-committed."""

import time
from collections.abc import Mapping, Sequence

from farandole.errors import FatalTransportError, TransportError
from farandole.transport.memory.reader import POLL_MAX_RECORDS, cursor_at
from farandole.transport.port import Polled, TopicPartition, Trouble
from farandole.transport.sqlite.bell import Bell
from farandole.transport.sqlite.file import File
from farandole.transport.sqlite.member import TROUBLE_PAUSE_S
from farandole.transport.sqlite.shared import Shared
from farandole.transport.sqlite.view import Feed


class SqliteReader:
    """Implements `Reader`."""

    def __init__(self, shared: Shared, client_id: str) -> None:
        self._shared = shared
        self._client_id = client_id
        self._file = shared.open()
        self._feed = Feed(self._file)
        self._bell: Bell | None = None
        self._closed = False

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read exactly these from now on."""
        assign(self._file, self._feed, positions)

    def poll(self, timeout: float) -> Sequence[Polled]:
        """Records, ends and troubles."""
        if self._closed:
            raise FatalTransportError(f"{self._client_id}: expected an open reader, but it was closed")
        until = time.monotonic() + timeout
        while True:
            try:
                self._file.observe()
                found = self._feed.fetch(POLL_MAX_RECORDS)
                left = until - time.monotonic()
                if found or left <= 0:
                    return found
                if self._bell is None:  # most readers never wait
                    self._bell = self._shared.bell()
            except FatalTransportError:
                raise
            except TransportError as error:
                time.sleep(max(0.0, min(TROUBLE_PAUSE_S, until - time.monotonic())))
                return [Trouble("unreachable", str(error))]
            self._bell.wait(left)

    def position(self, at: TopicPartition) -> int | None:
        """Next offset to be read; None before anything was told."""
        cursor = self._feed.cursors.get(at)
        return None if cursor is None else cursor.reached

    def close(self) -> None:
        """Free everything; doing it twice is harmless."""
        if self._closed:
            return
        self._closed = True
        if self._bell is not None:
            self._bell.close()
        self._file.close()
        self._shared.part_closed()


def assign(file: File, feed: Feed, positions: Mapping[TopicPartition, int]) -> None:
    """Put cursors at these positions, logical ones resolved as of now, and at no others."""
    with file.reading:
        file.observe()
        feed.view.look()
        feed.cursors.clear()
        for at, position in positions.items():
            feed.cursors.add(cursor_at(feed.view, at, position))
    feed.touch()
