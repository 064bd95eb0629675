"""Where executors leave what has ended, and wake the loop: one lock-free box for all of them."""

from collections import deque
from collections.abc import Callable

from farandole.runtime.attempts import Attempt, Done, Outcome


class Results:
    """Filled by any thread, emptied by the loop's. A wake-up is asked for once per emptying, not per result."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._box: deque[Done] = deque()
        self._is_woken = False

    def put(self, attempt: Attempt, outcome: Outcome) -> None:
        """An attempt has ended."""
        self._box.append(Done(attempt, outcome))
        if not self._is_woken:
            self._is_woken = True
            self._wake()

    def drain(self) -> list[Done]:
        """All that has ended; the next `put` wakes again."""
        # Cleared before the box is emptied: a result that comes in between wakes once too often, never once too few.
        self._is_woken = False
        out: list[Done] = []
        while self._box:
            out.append(self._box.popleft())
        return out
