"""How long readers of committed records stand still: an open transaction holds back all that comes after it.

Samples the ends of partitions at both isolation levels. A partition stalls while its committed end
stays where it is below its high watermark.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing

from farandole.errors import TransportError
from farandole.transport.port import Admin, Isolation, TopicPartition, Transport

EVERY_S = 0.25
"""Time between two samples; the resolution of what is found."""


class Stalls:
    """Watches until `close`; `longest_s` is the longest stall so far, and `at` where it was."""

    def __init__(self, transport: Transport, places: Callable[[Admin], Sequence[TopicPartition]]) -> None:
        self.longest_s = 0.0
        self.at: TopicPartition | None = None
        self._transport = transport
        self._places = places
        self._since: dict[TopicPartition, tuple[int, float]] = {}
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Watch no more."""
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.is_set():
            try:
                with closing(self._transport.admin()) as admin:
                    places = self._places(admin)
                    while not self._is_over.wait(EVERY_S):
                        self._sample(admin, places)
            except TransportError:
                # Nobody reads while the broker is away: that is an outage, not a stall.
                self._since.clear()
                self._is_over.wait(EVERY_S)

    def _sample(self, admin: Admin, places: Sequence[TopicPartition]) -> None:
        stable = admin.ends(places, Isolation.COMMITTED)
        ends = admin.ends(places, Isolation.UNCOMMITTED)
        now = time.monotonic()
        for at in places:
            where, since = self._since.get(at, (-1, now))
            if stable[at] >= ends[at] or stable[at] != where:
                self._since[at] = stable[at], now
            elif now - since > self.longest_s:
                self.longest_s, self.at = now - since, at
