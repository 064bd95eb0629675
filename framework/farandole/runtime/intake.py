"""From what a poll brings to admitted records: windows, bounds, ends, troubles.

Whoever is full is paused, never left unpolled. Belongs to the loop's thread.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from farandole.clock import Clock
from farandole.runtime.committing import Committer
from farandole.runtime.offsets import Admission
from farandole.runtime.ownership import Ownership
from farandole.runtime.partition import Partition, Stage
from farandole.runtime.recording import Counts, Troubles
from farandole.runtime.settings import AgentSettings
from farandole.runtime.working import Workplace
from farandole.transport.port import End, Member, Polled, Record, Trouble

STOPPING_TROUBLES = {
    "position_out_of_range": "its records were deleted, or the topic was; "
    "stop the unit and run `farandole agent reposition {agent}`",
    "position_missing": "run `farandole apply`",
    "unknown_topic": "its topic is not there; run `farandole apply`",
}
"""A partition with one of these is stopped, for going on elsewhere would lose or repeat records (R8); the way out."""


@dataclass(slots=True)
class Intake:
    """The way in. `is_open` is false once the process drains."""

    settings: AgentSettings
    clock: Clock
    member: Member
    ownership: Ownership
    committer: Committer
    workplace: Workplace
    counts: Counts
    troubles: Troubles
    is_open: bool = True
    _is_throttled: bool = False

    def take(self, polled: Sequence[Polled]) -> None:
        """What a poll has brought."""
        for each in polled:
            match each:
                case Record():
                    self._record(each)
                case End():
                    self._end(each)
                case Trouble():
                    self._trouble(each)

    def begin(self, partition: Partition) -> None:
        """A partition is open: read from its position."""
        self.member.seek(partition.at, partition.offsets.position)
        self._resume([partition])

    def settle(self, partitions: Iterable[Partition]) -> None:
        """Positions have moved: records beyond the window may be within it now."""
        for p in partitions:
            while p.later and self._admit(p, p.later[0]):
                p.later.popleft()
            if not p.later:
                self._reach_end(p)
                self._resume([p])

    def throttle(self) -> None:
        """Pause everything when full, go on at half."""
        load = self.workplace.load
        if not self._is_throttled and load.is_full:
            self._is_throttled = True
            self._pause(self.ownership.at(Stage.RUNNING))
        elif self._is_throttled and load.is_low:
            self._is_throttled = False
            self._resume(self.ownership.at(Stage.RUNNING))

    def shut(self) -> None:
        """Take no more."""
        self.is_open = False
        self._pause(self.ownership.at(Stage.RUNNING))
        for p in self.ownership.partitions.values():
            p.later.clear()

    def _record(self, record: Record) -> None:
        p = self.ownership.partitions.get(record.at)
        if p is None or p.stage is not Stage.RUNNING or not self.is_open:
            return  # not ours to work on now: it stays unfinished, and is read again by who may
        if p.later or not self._admit(p, record):
            p.later.append(record)
            self._pause([p])

    def _admit(self, p: Partition, record: Record) -> bool:
        """Whether the record is dealt with; false if it is beyond the window."""
        match p.offsets.admit(record.offset):
            case Admission.ADMITTED:
                self.workplace.take(p, record)
            case Admission.DONE:
                self.counts.redelivered += 1
            case Admission.LATER:
                return False
        return True

    def _end(self, end: End) -> None:
        p = self.ownership.partitions.get(end.at)
        if p is None or p.stage is not Stage.RUNNING or not self.is_open:
            return
        p.ended_at = end.position
        if not p.later:
            self._reach_end(p)

    def _reach_end(self, p: Partition) -> None:
        """Nothing before its end is still to come: markers and gaps there may be committed over (R9)."""
        p.offsets.reached_end(p.ended_at)
        p.look_clean()
        self.committer.look_at_end(p)

    def _trouble(self, trouble: Trouble) -> None:
        p = None if trouble.at is None else self.ownership.partitions.get(trouble.at)
        if trouble.at is None:
            self.committer.outage()
        if p is None or p.stage is not Stage.RUNNING or trouble.kind not in STOPPING_TROUBLES:
            self.troubles.tell_trouble(trouble, self.clock.monotonic())
            return
        way_out = STOPPING_TROUBLES[trouble.kind].format(agent=p.at.topic.rpartition(".")[2])
        self._pause([p])
        self.ownership.give_up(p, f"{trouble.kind}: {trouble.error}; {way_out}", self.clock.monotonic())
        self.workplace.forget_queued(lambda each: not self.ownership.is_current(each))
        self.workplace.give_up_lost()
        self.committer.forget(self.ownership.is_current)

    def _pause(self, partitions: Iterable[Partition]) -> None:
        chosen = [p for p in partitions if not p.is_paused]
        for p in chosen:
            p.is_paused = True
        if chosen:
            self.member.pause([p.at for p in chosen])

    def _resume(self, partitions: Iterable[Partition]) -> None:
        if self._is_throttled or not self.is_open:
            return
        chosen = [p for p in partitions if p.is_paused and not p.later and p.stage is Stage.RUNNING]
        for p in chosen:
            p.is_paused = False
        if chosen:
            self.member.resume([p.at for p in chosen])
