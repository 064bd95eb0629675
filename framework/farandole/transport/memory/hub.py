"""The one lock around the broker, its clock, and who is told when something has changed.

    with hub as broker:        # alone with the broker, at the present moment
        ...

Time in which nobody used the broker counts for at most a second: after a leap of a test's clock,
or the sleep of a laptop, nobody has been silent while others went on, so nobody is taken for
dead. Whoever waits does so in real time, and only if the clock is real; with any other clock
nothing ever blocks.
"""

import threading
from collections.abc import Callable
from types import TracebackType

from farandole.clock import Clock, SystemClock
from farandole.transport.memory.broker import Broker, Changes
from farandole.transport.port import TopicPartition

STANDSTILL_MAX = 1.0
"""Most seconds that a pause of everybody counts: below any session, which is at least 6 s in Kafka."""

LOOK_AGAIN = 0.5
"""Longest wait without a look, seconds: sessions and transactions of others end without anybody's call."""


class Watch:
    """What somebody wants to hear of; `ring` is called with the lock held, and must only pass it on."""

    __slots__ = ("group", "partitions", "ring")

    def __init__(self, ring: Callable[[], None], group: str = "") -> None:
        self.ring = ring
        self.group = group
        self.partitions: set[TopicPartition] = set()

    def concerns(self, changes: Changes) -> bool:
        """Whether any of it is of interest; a new topic is, to all."""
        if changes.topics or self.group in changes.groups:
            return True
        return not self.partitions.isdisjoint(changes.partitions)


class Hub:
    """Gives the broker to one thread at a time."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.blocks = isinstance(clock, SystemClock)
        """Whether waiting makes sense: time passes by itself."""
        self._broker = Broker()
        # Re-entrant: `wake` may be called by a signal handler, in the very thread that holds it.
        self._lock = threading.RLock()
        self._watches: set[Watch] = set()
        self._seen = clock.monotonic()
        self._awake = 0.0

    def __enter__(self) -> Broker:
        self._lock.acquire()
        now = self.clock.monotonic()
        self._awake += min(now - self._seen, STANDSTILL_MAX)
        self._seen = now
        self._broker.tick(self._awake, int(self.clock.now().timestamp() * 1000))
        self._broker.settle()
        return self._broker

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._tell()
        finally:
            self._lock.release()

    def condition(self) -> threading.Condition:
        """A condition on the lock."""
        return threading.Condition(self._lock)

    def wait(self, condition: threading.Condition, timeout: float) -> bool:
        """Wait inside `with hub`, shortly at most; False if there is nothing to wait for: look, and give up.

        The condition must be looked at again in a new `with hub`: time has passed.
        """
        if not self.blocks or timeout <= 0:
            return False
        self._tell()
        condition.wait(min(timeout, LOOK_AGAIN))
        return True

    def watch(self, watch: Watch) -> None:
        """Tell it of changes from now on; call with the lock held."""
        self._watches.add(watch)

    def unwatch(self, watch: Watch) -> None:
        """Tell it no more; harmless if it was not told."""
        with self._lock:
            self._watches.discard(watch)

    def _tell(self) -> None:
        changes = self._broker.take_changes()
        if changes is None:
            return
        for watch in self._watches:
            if watch.concerns(changes):
                watch.ring()
