"""Order and bounds of the records in flight.

A lane is one ordering key: its entries come out one at a time, in order; lanes run beside
each other. Bounds count what was taken and not yet committed. Pure; knows nothing of
partitions, handlers or time.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Entry = TypeVar("Entry")


@dataclass(slots=True)
class Lanes(Generic[Entry]):
    """Entries by lane. A lane is busy from the moment its entry is ready until `done`."""

    _busy: dict[Hashable, deque[Entry] | None] = field(default_factory=dict)
    """Entries that wait behind the one that is out; None instead of an empty queue."""

    _ready: deque[tuple[Hashable, Entry]] = field(default_factory=deque)

    def put(self, lane: Hashable, entry: Entry) -> None:
        """Add an entry at the end of its lane."""
        if lane not in self._busy:
            self._busy[lane] = None
            self._ready.append((lane, entry))
            return
        waiting = self._busy[lane]
        if waiting is None:
            self._busy[lane] = deque((entry,))
        else:
            waiting.append(entry)

    def take(self) -> Entry | None:
        """The next entry whose turn it is, in the order in which lanes became free."""
        return self._ready.popleft()[1] if self._ready else None

    def done(self, lane: Hashable) -> None:
        """The lane's entry has its result: the next one may go. An unknown lane is no error: it was dropped."""
        if lane not in self._busy:
            return
        waiting = self._busy[lane]
        if waiting:
            self._ready.append((lane, waiting.popleft()))
        else:
            del self._busy[lane]

    def waiting(self, lane: Hashable) -> Iterable[Entry]:
        """The entries behind the one that is out."""
        return self._busy.get(lane) or ()

    def drop(self, is_gone: Callable[[Entry], bool]) -> list[Entry]:
        """Take out every entry that has not come out yet and is gone; a lane left with nothing is free again."""
        out: list[Entry] = []
        for lane, waiting in self._busy.items():
            if waiting and (dropped := [entry for entry in waiting if is_gone(entry)]):
                out.extend(dropped)
                self._busy[lane] = deque(entry for entry in waiting if not is_gone(entry)) or None
        ready, self._ready = self._ready, deque()
        for lane, entry in ready:
            if is_gone(entry):
                out.append(entry)
                self.done(lane)
            else:
                self._ready.append((lane, entry))
        return out

    @property
    def is_empty(self) -> bool:
        """Whether no lane is busy."""
        return not self._busy


@dataclass(slots=True)
class Load:
    """Records and bytes in flight, against their bounds."""

    records_max: int
    bytes_max: int
    records: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        """One more record."""
        self.records += 1
        self.bytes += size

    def remove(self, size: int) -> None:
        """One less."""
        self.records -= 1
        self.bytes -= size

    @property
    def is_full(self) -> bool:
        """Whether no more should be taken."""
        return self.records >= self.records_max or self.bytes >= self.bytes_max

    @property
    def is_low(self) -> bool:
        """Whether there is room again: half of each bound, so that partitions are not paused at every record."""
        return self.records * 2 <= self.records_max and self.bytes * 2 <= self.bytes_max
