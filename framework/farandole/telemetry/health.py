"""Whether a process is alive and of use, as its loop said last.

Live: the loop made a step not long ago; if not, the process hangs and had better be restarted.
Ready: it has joined, its tables are read and what it was given is its own; if not, waiting helps
or a person must, and the reasons say which.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

LIVE_WITHIN_S = 30.0
"""A step waits at most a second; a callback of a rebalance a few. Half a minute is a hang."""

LOOK_EVERY_S = 0.5
"""How often the loop is asked for its reasons, so that a beat costs nothing."""


@dataclass(slots=True)
class Pulse:
    """Written by the loop's thread, read by the one that answers questions. `clock` is monotonic."""

    clock: Callable[[], float]
    live_within_s: float = LIVE_WITHIN_S
    _at: float = field(init=False)
    _looked_at: float = field(init=False, default=float("-inf"))
    _unready: Sequence[str] = ("the loop has not begun",)

    def __post_init__(self) -> None:
        self._at = self.clock()

    def beat(self, unready: Callable[[], Sequence[str]]) -> None:
        """The loop has made a step; now and then it is asked why it is not ready."""
        self._at = now = self.clock()
        if now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at, self._unready = now, tuple(unready())

    @property
    def age_s(self) -> float:
        """Seconds since the last step."""
        return max(0.0, self.clock() - self._at)

    def not_live(self) -> Sequence[str]:
        """Why the process is not live; empty if it is."""
        age = self.age_s
        if age <= self.live_within_s:
            return ()
        return (f"the loop made its last step {age:.0f} s ago, more than the {self.live_within_s:.0f} s allowed",)

    def not_ready(self) -> Sequence[str]:
        """Why the process is not ready; empty if it is."""
        return (*self.not_live(), *self._unready)
