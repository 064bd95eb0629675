"""The asyncio side of the embedded log: sends go through a courier, tails read in the loop, briefly."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

from farandole.errors import TransportError
from farandole.transport.memory.reader import POLL_MAX_RECORDS
from farandole.transport.memory.refusals import Refusal
from farandole.transport.port import End, Isolation, NewRecord, Polled, Record, TopicPartition, Trouble
from farandole.transport.sqlite.bell import LOOK_MAX_S, LOOK_S, Bell
from farandole.transport.sqlite.courier import Courier, Placed
from farandole.transport.sqlite.errors import LogBusy
from farandole.transport.sqlite.reader import assign
from farandole.transport.sqlite.shared import Shared
from farandole.transport.sqlite.view import Feed


class SqliteEdge:
    """Implements `Edge`; belongs to the event loop in which it was made."""

    def __init__(self, shared: Shared, client_id: str) -> None:
        self._shared = shared
        self._client_id = client_id
        self._loop = asyncio.get_running_loop()
        self._file = shared.open()
        self._feed = Feed(self._file)  # for questions; each tail has cursors of its own
        self._courier = Courier(shared, client_id)
        self._bell: Bell | None = None
        self._sleepers: set[asyncio.Event] = set()
        self._closed = False

    async def send(self, record: NewRecord) -> tuple[int, int]:
        """Write, and say where: (partition, offset)."""
        sent: asyncio.Future[tuple[int, int]] = self._loop.create_future()

        def settle(outcome: Placed | TransportError) -> None:
            if sent.done():
                return
            if isinstance(outcome, TransportError):
                sent.set_exception(outcome)
            else:
                sent.set_result(outcome)

        self._courier.send(record, lambda outcome: self._tell(settle, outcome))
        return await sent

    def tail(self, positions: Mapping[TopicPartition, int]) -> AsyncIterator[Record | End]:
        """Records from positions on, as they stand at this call."""
        feed = Feed(self._file)
        assign(self._file, feed, positions)
        return self._follow(feed)

    async def ends(self, partitions: Sequence[TopicPartition], isolation: Isolation) -> Mapping[TopicPartition, int]:
        """End offsets."""
        try:
            with self._file.reading:
                self._look()
                return {at: self._feed.view.span(at).end_of(isolation) for at in partitions}
        except Refusal as refusal:
            raise TransportError(str(refusal)) from refusal

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has; 0 if it does not exist."""
        with self._file.reading:
            self._look()
            return self._feed.view.catalog.count(topic)

    async def close(self) -> None:
        """End the tails and write what waits; doing it twice is harmless."""
        if self._closed:
            return
        self._closed = True
        self._wake()
        await asyncio.to_thread(self._courier.close)
        if self._bell is not None:
            with contextlib.suppress(NotImplementedError):  # as in `_listen`: nothing was added there
                self._loop.remove_reader(self._bell.fileno())
            self._bell.close()
        self._file.close()
        self._shared.part_closed()

    def _look(self) -> None:
        self._file.observe()
        self._feed.view.look()

    def _tell(self, settle: object, outcome: Placed | TransportError) -> None:
        """In the courier's thread; whoever waited may have gone, and its loop with it."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(settle, outcome)  # type: ignore[arg-type]

    async def _follow(self, feed: Feed) -> AsyncGenerator[Record | End, None]:
        self._listen()
        sleeper = asyncio.Event()
        self._sleepers.add(sleeper)
        try:
            while not self._closed:
                sleeper.clear()
                try:
                    self._file.observe()
                    found = feed.fetch(POLL_MAX_RECORDS)
                except LogBusy:  # the file is being recovered after a crash, or closed by the last but us
                    found = []
                for polled in found:
                    yield _delivered(polled)
                if found:
                    await asyncio.sleep(0)  # other tasks have their turn, however much there is to read
                elif not self._closed:
                    await self._sleep(sleeper)
        finally:
            self._sleepers.discard(sleeper)

    async def _sleep(self, sleeper: asyncio.Event) -> None:
        """Until the bell rings, or it is time to look."""
        look = LOOK_S if self._bell is not None and self._bell.name else LOOK_MAX_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(look):
                await sleeper.wait()

    def _listen(self) -> None:
        if self._bell is not None:
            return
        self._bell = self._shared.bell()
        with contextlib.suppress(NotImplementedError):  # an event loop without pipes: tails look by themselves
            self._loop.add_reader(self._bell.fileno(), self._rang)

    def _rang(self) -> None:
        assert self._bell is not None
        self._bell.silence()
        self._wake()

    def _wake(self) -> None:
        for each in self._sleepers:
            each.set()


def _delivered(polled: Polled) -> Record | End:
    if isinstance(polled, Trouble):
        raise TransportError(f"{polled.error} ({polled.kind}). The tail has ended")
    return polled
