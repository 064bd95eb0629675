"""Attempts by the clock: whose time is over, and which have lasted long enough to be told of.

Times are seconds on the loop's monotonic clock.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

from farandole.runtime.attempts import Attempt

TELL_AGAIN_S = 0.02
"""Wait before an attempt that was not old enough to tell of is looked at again."""

ENDED_MAX = 1_000
"""Attempts that ended before their time and are kept nevertheless, beside as many as are under way."""


@dataclass(slots=True)
class Timeouts:
    """Attempts that may last only so long, counted from when their handlers begin."""

    _heap: list[tuple[float, int, Attempt]] = field(default_factory=list)
    _tick: Callable[[], int] = field(default_factory=lambda: count().__next__)

    def add(self, attempt: Attempt, now: float, running: int) -> None:
        """An attempt is handed over to be run; one without a time-out is not looked at. `running`: under way by now."""
        if attempt.call.timeout_s is not None:
            heapq.heappush(self._heap, (now + attempt.call.timeout_s, self._tick(), attempt))
            self._weed(running)

    def next_due(self) -> float | None:
        """When the first may be over."""
        while self._heap and self._heap[0][2].is_over:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def over(self, now: float) -> Iterator[Attempt]:
        """Those whose time is over, each once."""
        while self._heap and self._heap[0][0] <= now:
            _, tick, attempt = heapq.heappop(self._heap)
            if attempt.is_over or attempt.call.timeout_s is None:
                continue
            due = (now if attempt.started is None else attempt.started) + attempt.call.timeout_s
            if due > now:
                heapq.heappush(self._heap, (due, tick, attempt))
            else:
                yield attempt

    def _weed(self, running: int) -> None:
        """Let go of attempts that ended long before their time: they hold their inputs."""
        if len(self._heap) > 2 * running + ENDED_MAX:
            self._heap = [each for each in self._heap if not each[2].is_over]
            heapq.heapify(self._heap)


@dataclass(slots=True)
class Lasting:
    """Attempts that are told of once they have lasted `after` seconds; None: none is ever."""

    after: float | None
    _untold: deque[tuple[float, Attempt]] = field(default_factory=deque)

    def add(self, attempt: Attempt, now: float) -> None:
        """An attempt is handed over to be run."""
        if self.after is not None:
            self._untold.append((now + self.after, attempt))

    def ripe(self, now: float) -> Iterator[tuple[Attempt, float]]:
        """Those that have lasted so long by now and have no result yet, each once, and when their handlers began."""
        while self._untold and (self._untold[0][0] <= now or self._untold[0][1].is_over):
            _, attempt = self._untold.popleft()
            if attempt.is_over or attempt.ended is not None or self.after is None:
                continue  # its result has been taken, or is about to be
            due = (now if attempt.started is None else attempt.started) + self.after
            if attempt.started is None or due > now:
                self._untold.append((max(due, now + TELL_AGAIN_S), attempt))
            else:
                yield attempt, attempt.started
