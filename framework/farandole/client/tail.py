"""One live tail over `events`, shared by everybody in the process who waits for a run.

It starts at the ends that stood before the first command was sent, so whoever follows a run
before sending its command misses nothing. Records are picked by their run header alone;
nothing is decoded here.
"""

import asyncio
import logging
from collections.abc import Callable
from weakref import WeakSet

from farandole.client.scan import closing, existing_places, header
from farandole.errors import FarandoleError, FatalTransportError, RecordError, TransportError
from farandole.events.topics import Topics
from farandole.transport.port import Edge, Isolation, Record, TopicPartition

log = logging.getLogger("farandole.client")

BACKOFF_MIN = 0.2
"""Shortest wait before the tail is begun anew after an error, seconds."""

BACKOFF_MAX = 10.0
"""Longest wait before the tail is begun anew after an error, seconds: as long as a broker takes to restart."""

SWEEP_MIN = 64
"""Runs that are followed before those are looked for whose followers were all forgotten."""


class Subscription:
    """Records of one run, handed to `on_record` on the event loop; ends when it is closed or forgotten.

    `on_end` is told when the tail itself ends, or of a record that `on_record` could not take, so that nobody waits
    for what does not come any more.
    """

    def __init__(
        self,
        run_id: str,
        on_record: Callable[[Record], None],
        on_end: Callable[[FarandoleError], None],
        position: int,
    ) -> None:
        self.run = run_id.encode()
        self.on_record = on_record
        self.on_end = on_end
        self.position = position
        """Next offset of the run's home partition: everything from there on is handed over."""


class EventTail:
    """The tail and those who follow it; belongs to one event loop."""

    def __init__(self, edge: Edge, topics: Topics) -> None:
        self._edge = edge
        self._topic = topics.events
        self._task: asyncio.Task[None] | None = None
        self._starting: asyncio.Task[None] | None = None
        self._positions: dict[TopicPartition, int] = {}
        self._following: dict[bytes, WeakSet[Subscription]] = {}
        self._sweep_at = SWEEP_MIN
        self._fatal: FatalTransportError | None = None
        self._is_closed = False

    async def follow(
        self, run_id: str, home: int, on_record: Callable[[Record], None], on_end: Callable[[FarandoleError], None]
    ) -> Subscription:
        """Hand over what `events` will hold about a run; keep the subscription for as long as it matters.

        Raises:
            TransportError: the tail was closed, or cannot be begun.
        """
        if not self._is_closed:
            await self._started()
        if self._is_closed:
            raise _closed(run_id)
        if self._fatal is not None:
            raise _lost(run_id, self._fatal)
        position = self._positions.get(TopicPartition(self._topic, home), 0)
        if len(self._following) >= self._sweep_at:
            self._sweep()
        subscription = Subscription(run_id, on_record, on_end, position)
        self._following.setdefault(subscription.run, WeakSet()).add(subscription)
        return subscription

    def unfollow(self, subscription: Subscription) -> None:
        """Hand over nothing more; doing it twice is harmless."""
        followers = self._following.get(subscription.run)
        if followers is not None:
            followers.discard(subscription)
            if not followers:
                del self._following[subscription.run]

    def _sweep(self) -> None:
        """Let go of runs whose followers were all forgotten, of which no event comes any more that would do so.

        Not at once, by a finalizer, which runs in any thread; but when twice as many are kept as were of use last time.
        """
        self._following = {run: followers for run, followers in self._following.items() if followers}
        self._sweep_at = max(SWEEP_MIN, 2 * len(self._following))

    async def close(self) -> None:
        """Stop reading, and tell all who follow."""
        self._is_closed = True
        self._tell_all(_closed)
        for task in (self._starting, self._task):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def _tell_all(self, error: Callable[[str], TransportError]) -> None:
        """Nobody reads any more: say so to all who follow, each by the id of its run."""
        following, self._following = self._following, {}
        for run, followers in following.items():
            for subscription in list(followers):
                subscription.on_end(error(run.decode(errors="replace")))

    async def _started(self) -> None:
        if self._starting is None or (self._starting.done() and self._starting.exception() is not None):
            self._starting = asyncio.create_task(self._start(), name="farandole-tail-start")
        try:
            await asyncio.shield(self._starting)
        except asyncio.CancelledError:
            us = asyncio.current_task()
            if not self._is_closed or (us is not None and us.cancelling()):
                raise
            # else it was the start that `close` has cancelled, and not whoever waits for it

    async def _start(self) -> None:
        places = await existing_places(self._edge, self._topic)
        self._positions = dict(await self._edge.ends(places, Isolation.COMMITTED))
        self._fatal = None
        self._task = asyncio.create_task(self._read(), name="farandole-tail")

    async def _read(self) -> None:
        """Read for ever, whatever happens: if this ended by itself, all would wait for what nobody reads."""
        pause = BACKOFF_MIN
        while True:
            before = dict(self._positions)
            unexpected: Exception | None = None
            try:
                await self._read_on()
                reason = "it ended"
            except FatalTransportError as error:
                self._lose(error)
                return
            except TransportError as error:
                reason = str(error)
            except Exception as error:  # a client that cannot be made just now: no thread, a certificate half written
                reason, unexpected = f"{type(error).__name__}: {error}", error
            pause = BACKOFF_MIN if self._positions != before else min(BACKOFF_MAX, 2 * pause)
            log.warning("%s: the tail broke: %s; it goes on in %.1f s", self._topic, reason, pause, exc_info=unexpected)
            await asyncio.sleep(pause)

    def _lose(self, error: FatalTransportError) -> None:
        """Trying again cannot help: all who follow are told, and who comes later begins anew, or is told by the log."""
        log.error("%s: the tail broke for good: %s", self._topic, error)
        self._fatal, self._starting = error, None
        self._tell_all(lambda run: _lost(run, error))

    async def _read_on(self) -> None:
        async with closing(self._edge.tail(dict(self._positions))) as tail:
            async for item in tail:
                if isinstance(item, Record):
                    self._positions[item.at] = item.offset + 1
                    self._hand_over(item)
                else:
                    self._positions[item.at] = item.position

    def _hand_over(self, record: Record) -> None:
        run = header(record, "ce_run")
        followers = self._following.get(run)
        if followers is None:
            return
        if not followers:
            del self._following[run]  # all were forgotten
        for subscription in list(followers):
            try:
                subscription.on_record(record)
            except Exception as error:
                name = run.decode(errors="replace")
                log.exception("%s: a follower of run %s failed", record.place, name)
                subscription.on_end(_not_taken(name, record, error))


def _closed(run_id: str) -> TransportError:
    return TransportError(f"run {run_id}: expected an open client, but it was closed; make a new one. The run goes on")


def _lost(run_id: str, error: FatalTransportError) -> FatalTransportError:
    return FatalTransportError(
        f"run {run_id}: expected to read its events, but {error}. What becomes of it is not told"
    )


def _not_taken(run_id: str, record: Record, error: Exception) -> RecordError:
    return RecordError(
        f"{record.place}: expected an event of run {run_id} that this client can read, but {error}. What became of the "
        "run is not told here; a client as new as the coordinator reads it"
    )
