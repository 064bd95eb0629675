"""The coordinator's sense of now: never back, and never far from the wall clock for long.

Starts at the later of the wall and what predecessors persisted, goes on with the monotonic
clock, and is slewed to the wall by at most a tenth of the time that passes (DESIGN section 8).
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from farandole.clock import Clock

SLEW = 0.1

_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(slots=True)
class LogClock:
    """`reading` is the last instant told; `monotonic` the seconds at which it was told, None before the first."""

    reading: datetime = _EPOCH
    monotonic: float | None = None

    def raise_to(self, persisted: datetime) -> None:
        """A predecessor has told this instant: ours is no earlier."""
        self.reading = max(self.reading, persisted)

    def tell(self, wall: datetime, monotonic: float) -> datetime:
        """The instant now, from both clocks."""
        if self.monotonic is None:
            self.reading, self.monotonic = max(self.reading, wall), monotonic
            return self.reading
        passed = timedelta(seconds=max(0.0, monotonic - self.monotonic))
        straight = self.reading + passed
        bound = passed * SLEW
        correction = min(max(wall - straight, -bound), bound)
        self.reading, self.monotonic = straight + correction, monotonic
        return self.reading


@dataclass(slots=True)
class Instants:
    """One instant for all that is done between two waits."""

    clock: Clock
    log_clock: LogClock = field(default_factory=LogClock)
    _instant: datetime | None = None

    def now(self) -> datetime:
        """The instant at which everything happens until the next wait."""
        if self._instant is None:
            self._instant = self.log_clock.tell(self.clock.now(), self.clock.monotonic())
        return self._instant

    def waited(self) -> None:
        """Time has passed."""
        self._instant = None

    def raise_to(self, persisted: datetime) -> None:
        """A predecessor has told this instant: what is told from here on is no earlier, in this very step too."""
        self.log_clock.raise_to(persisted)
        self._instant = None
