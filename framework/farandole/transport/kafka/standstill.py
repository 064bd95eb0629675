"""Whether a member's partitions have more than comes of them: their leader, as its client knows it, is cut off.

Such a leader answers every fetch, with nothing new, and while a client reads from it alone it asks nobody else who
leads (decision 0104). From inside that looks as if there were nothing to do. So partitions of which nothing comes are
compared now and then with the ends that their real leaders tell.
"""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence

from farandole.errors import TransportError
from farandole.transport.kafka.errors import CLIENT_ERRORS
from farandole.transport.port import TopicPartition

LOOK_EVERY = 20.0
"""Seconds between two looks, and from the first look that sees more than came to the one that is sure."""

Places = Mapping[TopicPartition, int]
"""The next offset to be delivered of each partition."""


class Standstill:
    """`ends` asks the real leaders how far committed readers may read; `brokers` which brokers know of these leaders.

    Both block. The leader that is cut off may name the same coordinator of our group as all the others do.
    """

    def __init__(
        self, ends: Callable[[Sequence[TopicPartition]], Places], brokers: Callable[[Sequence[TopicPartition]], str]
    ) -> None:
        self.bootstrap = ""
        """The brokers that knew, at the last look, who leads what had more than came."""

        self._ends = ends
        self._brokers = brokers
        self._looked = time.monotonic()
        """When the last look began, or was answered: one that takes long says nothing of what came meanwhile."""

        self._is_looking = False
        self._places: Places = {}
        """As they were at the last look."""

        self._behind: frozenset[TopicPartition] = frozenset()
        """What had more than came at the last look."""

        self._found: Places | None = None

    def step(self, places: Callable[[], Places], submit: Callable[[Callable[[], None]], None]) -> bool:
        """Look when it is time; whether a partition had more at two looks in a row, and nothing came between them.

        `places` are of the partitions whose records are wanted. For the loop's thread: nothing here blocks.
        """
        now = time.monotonic()
        if self._is_looking or (self._found is None and now - self._looked < LOOK_EVERY):
            return False
        here, is_stuck = places(), False
        if self._found is not None:
            found, self._found, self._looked = self._found, None, now
            behind = frozenset(at for at, end in found.items() if self._places.get(at) == here.get(at, end) < end)
            is_stuck, self._behind = bool(behind & self._behind), behind
        if now - self._looked >= LOOK_EVERY:
            quiet = [at for at, place in here.items() if self._places.get(at) == place]
            self._looked, self._places = now, here
            self._behind &= frozenset(quiet)
            if quiet:
                self._is_looking = True
                submit(lambda: self._look(quiet))
        if is_stuck:
            self._behind = frozenset()
        return is_stuck

    # --- on a helper thread ---------------------------------------------------------------

    def _look(self, quiet: Sequence[TopicPartition]) -> None:
        try:
            with contextlib.suppress(TransportError, *CLIENT_ERRORS):  # the next look may be answered
                found = self._ends(quiet)
                if behind := [at for at, end in found.items() if self._places.get(at, end) < end]:
                    self.bootstrap = self._brokers(behind)
                self._found = found
        finally:
            self._is_looking = False
