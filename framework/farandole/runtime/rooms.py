"""Attempts for which their executor had no room, in the order in which they came."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from farandole.runtime.attempts import Attempt


@dataclass(slots=True)
class Rooms:
    """What waits for room, by isolation: a full pool of processes holds up no coroutine."""

    _waiting: dict[str, deque[Attempt]] = field(default_factory=dict)

    def wait(self, attempt: Attempt) -> None:
        """It is the last to get room."""
        self._waiting.setdefault(attempt.spec.isolation, deque()).append(attempt)

    def freed(self, has_room: Callable[[Attempt], bool]) -> Iterator[Attempt]:
        """Those that get room now, each looked at once the one before has taken its own."""
        for waiting in self._waiting.values():
            while waiting and has_room(waiting[0]):
                yield waiting.popleft()

    def drop(self, is_meant: Callable[[Attempt], bool]) -> list[Attempt]:
        """Take those out that are meant; what was taken."""
        dropped = []
        for waiting in self._waiting.values():
            for attempt in [each for each in waiting if is_meant(each)]:
                waiting.remove(attempt)
                dropped.append(attempt)
        return dropped
