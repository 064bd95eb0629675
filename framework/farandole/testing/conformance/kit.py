"""What a conformance case is given: names of its own, members with the simplest loop, waits with a deadline.

Everything runs in the caller's thread: waiting means to poll all members and readers of the case
in turn until something has become true. Nothing sleeps for a fixed time, and that something does
*not* happen is shown by what comes after it. With a `ManualClock` the waits take virtual time.
"""

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Protocol, TypeVar

from farandole.clock import Clock, ManualClock, SystemClock
from farandole.testing.conformance.driven import Driven, Reading
from farandole.transport.port import (
    Admin,
    Isolation,
    MemberSettings,
    NewRecord,
    Position,
    Producer,
    TopicPartition,
    TopicSpec,
    Transport,
)

T = TypeVar("T")

SETTLE = timedelta(seconds=30)
"""Longest that anything may take: a rebalance on a loaded machine takes seconds."""

SESSION = timedelta(seconds=6)
"""Session of a member that is to die: the shortest that a broker allows by default."""

_LOOK = 0.01

BEGINNING, LATEST = -2, -1
"""Kafka's logical offsets, as `Reader.assign` takes them."""


class Hang(Protocol):
    """Leaves a transaction open as a writer does that was killed: the port has no such primitive.

    The writer has begun a transaction under `client_id` (with a time-out of a minute or more), its `records`
    have reached the log and its `positions`, if there are any, are pending for `group`; nothing follows.
    """

    def __call__(
        self,
        transport: Transport,
        client_id: str,
        records: Sequence[NewRecord],
        group: str,
        positions: Mapping[TopicPartition, Position],
    ) -> None:
        """Do so."""
        ...


class Kit:
    """A transport under test, and the parts of it that one case uses; a context that closes them."""

    def __init__(
        self,
        make: Callable[[], Transport],
        *,
        hang: Hang,
        settle: timedelta = SETTLE,
        session: timedelta = SESSION,
        clock: Clock | None = None,
    ) -> None:
        self.settle = settle
        self.session = session
        self.transport = make()
        self._hang = hang
        self._clock = clock or SystemClock()
        self._unique = uuid.uuid4().hex[:8]
        self._pumped: list[Driven | Reading] = []
        self._closed: list[Callable[[], None]] = []
        self.admin: Admin = self.transport.admin()
        self._closed.append(self.admin.close)

    def __enter__(self) -> "Kit":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for each in reversed(self._pumped):
            each.close()
        for close in reversed(self._closed):
            close()

    # --- names and topics -----------------------------------------------------------------

    def name(self, text: str) -> str:
        """A name that no other case uses: of a group, a client, a topic."""
        return f"c{self._unique}.{text}"

    def topic(self, text: str = "in", partitions: int = 2, config: Mapping[str, str] | None = None) -> str:
        """A new topic that is ready to be used; its name."""
        name = self.name(text)
        self.admin.create([TopicSpec(name, partitions, config=config or {})])
        self.until(lambda: name in self.admin.topics([name]), f"{name} to exist")
        return name

    def topic_of(self, values: Iterable[Sequence[bytes]], text: str = "in") -> list[TopicPartition]:
        """A new topic with these values on its partitions, in order; the partitions."""
        given = [list(each) for each in values]
        name = self.topic(text, len(given))
        self.write(NewRecord(name, None, value, (), n) for n, each in enumerate(given) for value in each)
        return places(name, len(given))

    # --- parts ----------------------------------------------------------------------------

    def member(
        self,
        topics: Sequence[str],
        group: str = "group",
        client_id: str = "client",
        *,
        assignor: str = "cooperative-sticky",
        start: int | None = 0,
        session: timedelta | None = None,
        poll_max_records: int = 500,
    ) -> Driven:
        """A member that wants these topics; it reads what it is assigned from `start` on, or leaves it paused."""
        limits = {} if session is None else {"session_timeout": session, "poll_interval": session}
        settings = MemberSettings(
            self.name(group), self.name(client_id), assignor, poll_max_records=poll_max_records, **limits
        )
        driven = Driven(self, self.transport.member(settings), start)
        self._pumped.append(driven)
        driven.subscribe(topics)
        return driven

    def joined(
        self,
        topics: Sequence[str],
        group: str = "group",
        client_id: str = "client",
        *,
        start: int | None = 0,
        poll_max_records: int = 500,
    ) -> Driven:
        """A member that is alone in its group and has been assigned everything."""
        driven = self.member(topics, group, client_id, start=start, poll_max_records=poll_max_records)
        everything = {at for topic in topics for at in self.places(topic)}
        self.until(
            lambda: driven.owned == everything, f"{driven.client_id} to be assigned {len(everything)} partitions"
        )
        return driven

    def reading(self, positions: Mapping[TopicPartition, int], client_id: str = "reader") -> Reading:
        """A reader of these partitions."""
        reading = Reading(self, self.transport.reader(self.name(client_id)))
        reading.assign(positions)
        self._pumped.append(reading)
        return reading

    def producer(self) -> Producer:
        """A plain producer."""
        producer = self.transport.producer(self.name("producer"))
        self._closed.append(producer.close)
        return producer

    def write(self, records: Iterable[NewRecord]) -> None:
        """Write outside any transaction, and wait until it is on the log."""
        producer = self.producer()
        for record in records:
            producer.send(record)
        self.until(lambda: producer.flush(1.0) == 0, "plain records to be acknowledged")

    def hang(
        self,
        client_id: str,
        records: Sequence[NewRecord] = (),
        group: str = "",
        positions: Mapping[TopicPartition, Position] | None = None,
    ) -> None:
        """Leave a transaction open under a client id (whole, as `name` gives it), as a dead writer does."""
        self._hang(self.transport, client_id, records, group, positions or {})

    def places(self, topic: str) -> list[TopicPartition]:
        """All partitions of a topic."""
        return places(topic, self.admin.topics([topic])[topic].partitions)

    def sees(self, at: TopicPartition, values: Sequence[bytes]) -> None:
        """A committed reader finds exactly these values, once nothing is open any more.

        Raises:
            AssertionError: it finds others.
        """
        reading = self.reading({at: BEGINNING})
        reading.reaches(at, self.admin.ends([at], Isolation.UNCOMMITTED)[at])
        assert reading.values() == list(values), f"expected {values} in {at}, but found {reading.values()}"

    # --- waiting --------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Seconds, of which only differences mean anything."""
        return self._clock.monotonic()

    def pump(self) -> None:
        """Poll everything once."""
        for each in self._pumped:
            each.pump(_LOOK)
        if isinstance(self._clock, ManualClock):
            self._clock.advance(timedelta(seconds=_LOOK))
        elif not self._pumped:
            time.sleep(_LOOK)

    def until(self, is_so: Callable[[], T | None], what: str) -> T:
        """Pump until it is so; what it is then.

        Raises:
            AssertionError: it did not become so within `settle`.
        """
        deadline = self.now + self.settle.total_seconds()
        while not (found := is_so()):
            if self.now > deadline:
                seen = "; ".join(each.seen() for each in self._pumped)
                raise AssertionError(f"expected {what} within {self.settle}, but it did not come. Seen: {seen}")
            self.pump()
        return found


def places(topic: str, partitions: int) -> list[TopicPartition]:
    """The partitions 0 to `partitions` - 1."""
    return [TopicPartition(topic, number) for number in range(partitions)]
