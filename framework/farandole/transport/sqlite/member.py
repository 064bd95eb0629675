"""A member on the embedded log: one consumer in a group and one transactional producer."""

import time
from collections import deque
from collections.abc import Collection, Sequence
from itertools import count

from farandole.errors import FatalTransportError, NotJoined, TransportError
from farandole.transport.memory.assignors import ASSIGNORS
from farandole.transport.memory.cursors import Cursor
from farandole.transport.memory.membership import Membership, Snapshot
from farandole.transport.memory.requests import check_commit
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
from farandole.transport.sqlite.groups import SqliteMeeting
from farandole.transport.sqlite.requests import Requests
from farandole.transport.sqlite.shared import Shared
from farandole.transport.sqlite.view import Feed

NO_PARTITION = -1
"""Of a topic as a whole, as librdkafka has it (`RD_KAFKA_PARTITION_UA`)."""

TROUBLE_PAUSE_S = 0.2
"""Before the next try when the log did not answer: a full disk is not emptier a moment later."""


class SqliteMember:
    """Implements `Member`; every request is answered when it is made, and told by the next `replies`."""

    def __init__(self, shared: Shared, settings: MemberSettings) -> None:
        if settings.assignor not in ASSIGNORS:
            raise ValueError(
                f"{settings.client_id}: expected an assignor of {', '.join(ASSIGNORS)}, but it is {settings.assignor!r}"
            )
        self._settings = settings
        self._shared = shared
        self._file = shared.open()
        try:
            self._bell = shared.bell()
        except BaseException:
            self._file.close()
            shared.part_closed()
            raise
        self._feed = Feed(self._file)
        self._cursors = self._feed.cursors
        self._meeting = SqliteMeeting(self._file, self._feed.view.catalog, shared.bells, self._bell.name)
        self._membership = Membership(self._meeting, settings, self._drop)
        self._requests = Requests(self._file, self._feed.view, shared.bells, settings)
        self._replies: deque[tuple[float, Reply]] = deque()
        self._tickets = count(1)
        self._woken = False
        self._closed = False
        self._unknown: set[str] = set()
        shared.member_opened()

    @property
    def client_id(self) -> str:
        """Client id and transactional id in one."""
        return self._settings.client_id

    # --- reading ------------------------------------------------------------------------------

    def subscribe(self, topics: Sequence[str], rebalance: Rebalance) -> None:
        """Join the group for these topics, at the next poll."""
        self._require_open()
        self._membership.subscribe(frozenset(topics), rebalance)

    def poll(self, timeout: float) -> Sequence[Polled]:
        """Records, ends and troubles; rebalances happen in here."""
        self._require_open()
        until = time.monotonic() + timeout
        while True:
            try:
                self._file.observe()
                moved = self._membership.step(self._add)
                while self._membership.step(self._add):
                    pass
                found = self._feed.fetch(self._settings.poll_max_records)
            except (FatalTransportError, NotJoined):
                raise
            except TransportError as error:
                time.sleep(max(0.0, min(TROUBLE_PAUSE_S, until - time.monotonic())))
                return [Trouble("unreachable", str(error))]
            found = self._unknown_topics() + found
            # After a rebalance the loop has something to do: it is not kept waiting.
            if found or moved:
                self._bell.awake()
                return found
            now = time.monotonic()
            if now >= until:
                return found
            self._bell.wait(min(until, max(now, self._meeting.beat_at)) - now)

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        """Deliver nothing more from them."""
        for cursor in self._cursors.known(partitions):
            cursor.paused = True

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        """Deliver again."""
        for cursor in self._cursors.known(partitions):
            cursor.paused = False
        self._feed.touch()

    def seek(self, at: TopicPartition, position: int) -> None:
        """Go on from there; a partition that has gone meanwhile is left alone."""
        if position < 0:
            raise ValueError(f"{self.client_id}: expected a position to seek in {at}, but it is {position}")
        for cursor in self._cursors.known([at]):
            cursor.move(position)
        self._feed.touch()

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
        reply = self._requests.answer(ticket, request)
        # When the log did not do it, whoever asked will ask again: not at once.
        ready = 0.0 if reply.error is None or not self._requests.was_in_trouble else time.monotonic() + TROUBLE_PAUSE_S
        self._replies.append((ready, reply))
        if reply.error is None:
            self._shared.bells.ring(self._bell.name)
        return ticket

    def replies(self, timeout: float) -> Sequence[Reply]:
        """Replies that have not been told. A wait for them ends with `wake`, and when the log has news for `poll`."""
        until = time.monotonic() + timeout
        while not (told := self._ready()) and not self._woken:
            left = until - time.monotonic()
            if left <= 0 or self._bell.wait(min(left, TROUBLE_PAUSE_S)):
                break
        self._woken = False
        return told or self._ready()

    def wake(self) -> None:
        """End the wait in `replies`, or the next one if there is none."""
        self._woken = True
        self._bell.ring()

    # --- the end ------------------------------------------------------------------------------

    def close(self) -> None:
        """Leave the group at once; doing it twice is harmless."""
        if self._closed:
            return
        try:
            self._membership.leave()
        except TransportError:
            pass  # the others see by the bell, or by the session, that we are gone
        finally:
            self._closed = True
            self._bell.close()
            self._file.close()
            self._shared.member_closed()
            self._shared.part_closed()

    def _ready(self) -> list[Reply]:
        if not self._replies:
            return []
        now = time.monotonic()
        told = [reply for ready, reply in self._replies if ready <= now]
        if len(told) == len(self._replies):
            self._replies.clear()
        else:
            self._replies = deque(each for each in self._replies if each[0] > now)
        return told

    def _require_open(self) -> None:
        if self._closed:
            raise FatalTransportError(f"{self.client_id}: expected an open member, but it was closed")

    def _add(self, partitions: Collection[TopicPartition]) -> None:
        for at in partitions:
            self._cursors.add(Cursor(at, paused=True))
        self._feed.touch()

    def _drop(self, partitions: Collection[TopicPartition]) -> None:
        self._cursors.drop(partitions)

    def _unknown_topics(self) -> list[Polled]:
        """Subscribed topics that do not exist, told once each."""
        known = self._feed.view.catalog.topics
        missing = {topic for topic in self._membership.topics if topic not in known}
        told, self._unknown = self._unknown, missing
        return [
            Trouble(
                "unknown_topic",
                f"{topic}: expected the topic to exist, but it does not. Nothing comes from it",
                TopicPartition(topic, NO_PARTITION),
            )
            for topic in sorted(missing - told)
        ]
