"""One assignment of one partition: the stages of its life, from its assignment until it is let go (R6, R7).

    last_writer ──► fencing ──► positions ──► epoch ──► running ──► releasing
         │                          │
         └──────────► stopped ◄─────┘      an operator is needed

Nothing is dispatched before `epoch + 1, unclean` is committed. The assignment is this very
object: a result whose `Partition` is no longer the one in `Ownership` came from before a
revocation and is dropped.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

from farandole.runtime.offsets import OffsetMap
from farandole.transport.metadata import WINDOW, Metadata
from farandole.transport.port import Position, Record, TopicPartition


class Stage(Enum):
    """How far a partition has come."""

    LAST_WRITER = "last_writer"
    FENCING = "fencing"
    POSITIONS = "positions"
    EPOCH = "epoch"
    RUNNING = "running"
    RELEASING = "releasing"
    STOPPED = "stopped"


@dataclass(slots=True, eq=False)
class Partition:
    """One assignment of one partition. `number` is the local assignment epoch (R6), `epoch` the committed one.

    `later` holds records beyond the window; `out` counts records that are queued or with a handler.
    """

    at: TopicPartition
    number: int
    window: int = WINDOW
    stage: Stage = Stage.LAST_WRITER
    offsets: OffsetMap = field(default_factory=lambda: OffsetMap(0))
    epoch: int = 0
    last_writer: str = ""
    committed: int = -1
    is_clean: bool = True
    """Whether its last owner let go of it in order, or everything that one may have begun is answered."""

    later: deque[Record] = field(default_factory=deque)
    is_paused: bool = True
    out: int = 0
    release_until: float | None = None
    is_released: bool = False
    ended_at: int = -1
    """Where its end was told while records beyond the window were waiting."""

    clean_from: int = 0
    """The last owner cannot have begun anything from here on."""

    refused: int = -1
    """A committed position that the log does not have any more: not gone on with until it is another one."""

    found: int = -1
    """Where the group stood when that was read; -1 while it was not, or there was nothing."""

    why: str = ""
    """Why it is stopped, as it was told."""

    since: float | None = None
    """When it was first seen on its way, or when it was last told, on the monotonic clock."""

    _asked: bool = False
    _not_before: float = 0.0

    @property
    def was_opened(self) -> bool:
        """Whether our epoch is committed, so that a clean release has something to say."""
        return self.stage in (Stage.RUNNING, Stage.RELEASING) and self.committed >= 0

    @property
    def answered_to(self) -> int:
        """The lowest unfinished offset, also of one that is not served, as far as it is known; else -1."""
        return self.offsets.base if self.stage in (Stage.EPOCH, Stage.RUNNING, Stage.RELEASING) else self.found

    def restore(self, position: Position, metadata: Metadata) -> None:
        """Begin where the last owner ended."""
        self.offsets = OffsetMap.restored(position.offset, metadata.bitmap, self.window)
        self.is_clean, self.clean_from = metadata.clean, position.offset + WINDOW
        self.epoch = metadata.epoch
        self.stage = Stage.EPOCH

    def look_clean(self) -> None:
        """Note that all that the last owner may have begun is answered: up to its window, or to an end told since."""
        if not self.is_clean:
            base = self.offsets.base
            self.is_clean = base >= self.clean_from or base >= self.ended_at >= 0

    def opened(self) -> None:
        """Our epoch is committed: records may be taken."""
        self.epoch += 1
        self.stage, self.refused, self.why = Stage.RUNNING, -1, ""
