"""Whether the process stood still (SIGSTOP, a suspended machine), which is no fault of its handlers.

A blocked event loop, or a thread that is stuck, lets the loop's own thread go on; a freeze stops all. So that thread is
the heart: it is seen with each of its steps, and two signs of life that are far apart say that nobody could do anything
between them. What is measured in patience begins anew then.
"""

from farandole.clock import Clock

STOOD_STILL_S = 5.0
"""Signs of life so far apart. A step takes milliseconds, and waits for 10 s at most, in a rebalance: to take that for a
freeze gives handlers more time, and does no harm."""

LET_GO_S = 5.0
"""How long a handler may take to heed its cancellation, or to end after a freeze, before it counts as stuck."""


class Stillness:
    """Belongs to the loop's thread. `resumed_at`: when the process last woke; -inf if it never stood still."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen_at = clock.monotonic()
        self.resumed_at = float("-inf")

    def seen(self) -> float:
        """The loop's thread is at work; the time."""
        now = self._clock.monotonic()
        if now - self._seen_at > STOOD_STILL_S:
            self.resumed_at = now
        self._seen_at = now
        return now
