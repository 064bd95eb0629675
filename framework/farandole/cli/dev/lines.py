"""What is to be shown, in the order in which it came; who says more than a screen can show waits, as at any terminal.

Knows nothing of what a line is.
"""

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")

ROOM = 2_000
"""Lines that may wait to be shown: half a second's work of a terminal. Without a bound a handler that prints in a loop
fills the memory, and is still shown minutes after it has ended."""

AT_ONCE = 200
"""Lines that are shown before anything else is looked at: Ctrl-C, a save, a process that has ended."""


class Lines(Generic[T]):
    """Written by many threads, read by one."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._lines: deque[T] = deque()
        self._changed = threading.Condition()
        self._is_closed = False

    def put(self, line: T) -> None:
        """Add a line at once, for what is rare and for who must not wait."""
        with self._changed:
            self._lines.append(line)
            self._changed.notify_all()

    def put_in_turn(self, line: T) -> None:
        """Add a line as soon as there is room."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or len(self._lines) < self._room)
            self._lines.append(line)
            self._changed.notify_all()

    def take(self, timeout: float) -> list[T]:
        """The next lines, not too many; none if none has come in so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._lines, timeout)
            taken = [self._lines.popleft() for _ in range(min(AT_ONCE, len(self._lines)))]
            self._changed.notify_all()
        return taken

    def close(self) -> list[T]:
        """All that are left; nobody waits from now on."""
        with self._changed:
            self._is_closed = True
            left = list(self._lines)
            self._lines.clear()
            self._changed.notify_all()
        return left
