"""A member in memory: one consumer in a group and one transactional producer."""

from collections import deque
from collections.abc import Collection, Sequence
from itertools import count

from farandole.errors import FatalTransportError
from farandole.transport.memory.assignors import ASSIGNORS
from farandole.transport.memory.broker import Broker
from farandole.transport.memory.cursors import Cursor, Cursors
from farandole.transport.memory.hub import Hub, Watch
from farandole.transport.memory.meeting import HubMeeting
from farandole.transport.memory.membership import Membership, Snapshot
from farandole.transport.memory.requests import Requests, check_commit
from farandole.transport.port import (
    Commit,
    MemberSettings,
    Polled,
    Rebalance,
    Reply,
    Request,
    TopicPartition,
    Trouble,
)

NO_PARTITION = -1
"""Of a topic as a whole, as librdkafka has it (`RD_KAFKA_PARTITION_UA`)."""


class MemoryMember:
    """Implements `Member`; every request is answered when it is made, and told by the next `replies`."""

    def __init__(self, hub: Hub, settings: MemberSettings) -> None:
        if settings.assignor not in ASSIGNORS:
            raise ValueError(
                f"{settings.client_id}: expected an assignor of {', '.join(ASSIGNORS)}, but it is {settings.assignor!r}"
            )
        self._hub = hub
        self._settings = settings
        self._cursors = Cursors()
        self._membership = Membership(HubMeeting(hub), settings, self._drop)
        self._requests = Requests(settings)
        self._replies: deque[Reply] = deque()
        self._tickets = count(1)
        self._changed = hub.condition()
        self._answered = hub.condition()
        self._woken = False
        self._rung = False
        self._closed = False
        self._unknown: set[str] = set()
        self._watch = Watch(self._ring, settings.group)
        with hub:
            hub.watch(self._watch)

    @property
    def client_id(self) -> str:
        """Client id and transactional id in one."""
        return self._settings.client_id

    # --- reading ------------------------------------------------------------------------------

    def subscribe(self, topics: Sequence[str], rebalance: Rebalance) -> None:
        """Join the group for these topics, at the next poll."""
        self._require_open()
        self._membership.subscribe(frozenset(topics), rebalance)
        self._ring()

    def poll(self, timeout: float) -> Sequence[Polled]:
        """Records, ends and troubles; rebalances happen in here."""
        self._require_open()
        clock = self._hub.clock
        until = clock.monotonic() + timeout
        while True:
            self._rung = False
            moved = False
            while self._membership.step(self._add):
                moved = True
            with self._hub as broker:
                found = self._unknown_topics(broker) + self._cursors.fetch(broker, self._settings.poll_max_records)
                # After a rebalance the loop has something to do: it is not kept waiting.
                if found or moved:
                    return found
                if not self._rung and not self._hub.wait(self._changed, until - clock.monotonic()):
                    return found

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        """Deliver nothing more from them."""
        for cursor in self._cursors.known(partitions):
            cursor.paused = True

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        """Deliver again."""
        for cursor in self._cursors.known(partitions):
            cursor.paused = False

    def seek(self, at: TopicPartition, position: int) -> None:
        """Go on from there; a partition that has gone meanwhile is left alone."""
        if position < 0:
            raise ValueError(f"{self.client_id}: expected a position to seek in {at}, but it is {position}")
        for cursor in self._cursors.known([at]):
            cursor.move(position)

    def assignment(self) -> frozenset[TopicPartition]:
        """The partitions that are ours now."""
        return frozenset(self._membership.owned)

    # --- asking -------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """The group's view of this member."""
        return self._membership.snapshot()

    def call(self, request: Request) -> int:
        """Make a request; it is answered at once, and told by `replies`."""
        self._require_open()
        if isinstance(request, Commit):
            check_commit(request, self.client_id)
        ticket = next(self._tickets)
        with self._hub as broker:
            self._replies.append(self._requests.answer(broker, ticket, request))
        return ticket

    def replies(self, timeout: float) -> Sequence[Reply]:
        """Replies that have not been told; there is nothing to wait for but `wake`."""
        until = self._hub.clock.monotonic() + timeout
        while not self._replies and self._sleep(until):
            pass
        self._woken = False
        told = list(self._replies)
        self._replies.clear()
        return told

    def wake(self) -> None:
        """End the wait in `replies`, or the next one if there is none."""
        with self._answered:
            self._woken = True
            self._answered.notify_all()

    # --- the end ------------------------------------------------------------------------------

    def close(self) -> None:
        """Leave the group at once; doing it twice is harmless."""
        if self._closed:
            return
        self._membership.leave()
        self._closed = True
        self._hub.unwatch(self._watch)

    def _sleep(self, until: float) -> bool:
        """Wait shortly for `wake`; False when it came or the time is over."""
        with self._hub:
            return not self._woken and self._hub.wait(self._answered, until - self._hub.clock.monotonic())

    def _require_open(self) -> None:
        if self._closed:
            raise FatalTransportError(f"{self.client_id}: expected an open member, but it was closed")

    def _add(self, partitions: Collection[TopicPartition]) -> None:
        for at in partitions:
            self._cursors.add(Cursor(at, paused=True))
        self._watch.partitions = set(self._membership.owned)

    def _drop(self, partitions: Collection[TopicPartition]) -> None:
        self._cursors.drop(partitions)
        self._watch.partitions = set(self._membership.owned)

    def _ring(self) -> None:
        with self._changed:
            self._rung = True
            self._changed.notify_all()

    def _unknown_topics(self, broker: Broker) -> list[Polled]:
        """Subscribed topics that do not exist, told once each."""
        topics = self._membership.topics
        if all(broker.partitions(topic) for topic in topics):
            self._unknown.clear()
            return []
        missing = {topic for topic in topics if not broker.partitions(topic)}
        told, self._unknown = self._unknown, missing
        return [
            Trouble(
                "unknown_topic",
                f"{topic}: expected the topic to exist, but it does not. Nothing comes from it",
                TopicPartition(topic, NO_PARTITION),
            )
            for topic in sorted(missing - told)
        ]
