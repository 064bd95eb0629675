"""Which offsets of one partition are done, and what may therefore be committed (R9).

Handlers finish in any order, so the committed position is the lowest unfinished offset, with
a bitmap of what is done above it. Offsets that never arrive (transaction markers, compacted
and aborted records) count as done once something behind them was seen. Knows nothing of
transactions: what is in one that has not committed is handed in as `extra`.
"""

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import Enum

from farandole.transport.metadata import WINDOW


class Admission(Enum):
    """What to do with a record that arrived."""

    ADMITTED = "admitted"
    DONE = "done"
    """Finished by an earlier owner, or delivered twice: nothing to do."""
    LATER = "later"
    """Beyond the window: keep it until the base has moved."""


@dataclass(slots=True)
class OffsetMap:
    """`position` is the next offset to arrive; `open` are admitted offsets in order, done ones removed lazily."""

    position: int
    window: int = WINDOW
    _open: deque[int] = field(default_factory=deque)
    _origin: int = 0
    """Offset of the lowest bit of `_done`."""
    _done: int = 0

    @classmethod
    def restored(cls, position: int, bitmap: bytes, window: int = WINDOW) -> "OffsetMap":
        """As committed by an earlier owner."""
        return cls(position, window, _origin=position, _done=int.from_bytes(bitmap, "little"))

    @property
    def base(self) -> int:
        """Lowest unfinished offset, or the next to arrive."""
        return self._open[0] if self._open else self.position

    @property
    def is_settled(self) -> bool:
        """Whether nothing that was admitted is unfinished."""
        return not self._open

    def admit(self, offset: int) -> Admission:
        """Take in an offset that arrived; offsets between it and the last one are gaps."""
        if offset < self.position:
            return Admission.DONE
        if offset - (self._open[0] if self._open else offset) >= self.window:
            return Admission.LATER
        self.position = offset + 1
        if self._is_done(offset):
            self._trim()
            return Admission.DONE
        self._open.append(offset)
        return Admission.ADMITTED

    def reached_end(self, position: int) -> None:
        """Everything before `position` has arrived or never will."""
        if position > self.position:
            self.position = position
            self._trim()

    def finish(self, offsets: Iterable[int]) -> None:
        """These are done for good: their transaction has committed."""
        for offset in offsets:
            if offset >= self._origin:
                self._done |= 1 << (offset - self._origin)
        while self._open and self._is_done(self._open[0]):
            self._open.popleft()
        self._trim()

    def commit_point(self, extra: Collection[int] = ()) -> tuple[int, bytes]:
        """Position and bitmap to commit if `extra` is done with the same transaction; never below an earlier one."""
        base = self._base_with(extra)
        done = self._done
        for offset in extra:
            if offset >= self._origin:
                done |= 1 << (offset - self._origin)
        done >>= base - self._origin
        return base, done.to_bytes((done.bit_length() + 7) // 8, "little")

    def _base_with(self, extra: Collection[int]) -> int:
        for offset in self._open:
            if offset not in extra and not self._is_done(offset):
                return offset
        return self.position

    def _is_done(self, offset: int) -> bool:
        return offset >= self._origin and bool(self._done >> (offset - self._origin) & 1)

    def _trim(self) -> None:
        """Forget the bits below the base: they are told by the position."""
        step = self.base - self._origin
        if step > 0:
            self._done >>= step
            self._origin += step
