"""How often a process is fenced before it gives way to another that seems to have its slot.

A fencing is doubt like any other: a new producer, and what was in flight is judged (R4). Who is fenced again right
after that shares its id with somebody. Mostly with its own past: an InitProducerId that was repeated, or held up on its
way, raises the epoch when it arrives, and fences the producer that came after it. There are a few of those at most, for
the client sends one at a time; another process in the slot fences as often as it has something to say.
"""

from collections import deque
from dataclasses import dataclass, field

from farandole.errors import FatalTransportError

FENCED_MAX = 5
"""Fencings after which a process gives way: in a row, or within `SOON_S` whatever was committed between them.

An initialisation that takes all of a call's patience (10 s) is sent at once, after the 6 s of `socket.timeout.ms`, and
when its connection is cut: two copies may come late, of it and of the one before. An heir that takes a slow process for
dead fences it once in a session (6 s or more).
"""

SOON_S = 10.0


@dataclass(slots=True)
class Fencings:
    """Of one process; instants are on a monotonic clock, in seconds."""

    client_id: str
    _in_a_row: int = 0
    _last: deque[float] = field(default_factory=lambda: deque(maxlen=FENCED_MAX))

    def over(self) -> None:
        """A transaction has committed."""
        self._in_a_row = 0

    def fenced(self, now: float) -> None:
        """It was fenced once more.

        Raises:
            FatalTransportError: too often.
        """
        self._in_a_row += 1
        self._last.append(now)
        is_soon = len(self._last) == FENCED_MAX and now - self._last[0] < SOON_S
        if self._in_a_row < FENCED_MAX and not is_soon:
            return
        raise FatalTransportError(
            f"{self.client_id}: its producer was fenced {FENCED_MAX} times in {now - self._last[0]:.0f} s: another "
            "process has this slot (give each a slot of its own), or answers that were long overdue came in between: "
            "started anew, it goes on"
        )
