"""Time as an argument: the port through which the shell reads clocks.

Pure packages never import this module; they are handed instants.
"""

import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What the shell may ask about time."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC; it may step."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean anything."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        """The wall clock in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some start, those included in which the machine slept."""
        return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


_COUNTS_SLEEP = {"linux": "CLOCK_BOOTTIME", "darwin": "CLOCK_MONOTONIC"}
"""`time.monotonic()` stands still there while a machine sleeps: hours would be missing after it.

Source: clock_gettime(2) of Linux, clock_gettime(3) of macOS.
"""

_CLOCK: int | None = getattr(time, _COUNTS_SLEEP.get(sys.platform, ""), None)


class ManualClock:
    """A clock that stands still until it is moved; wall and monotonic time move together."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed = timedelta()
        self._seconds = 0.0  # asked for ten times as often as it changes

    def now(self) -> datetime:
        """The instant to which it was moved."""
        return self._start + self._elapsed

    def monotonic(self) -> float:
        """Seconds since it was made."""
        return self._seconds

    def advance(self, by: timedelta) -> None:
        """Move forward; never back.

        Raises:
            ValueError: `by` is negative.
        """
        if by < timedelta():
            raise ValueError(f"a clock cannot go back: advance by {by}")
        self._elapsed += by
        self._seconds = self._elapsed.total_seconds()
