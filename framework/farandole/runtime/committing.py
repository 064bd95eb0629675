"""Transactions one at a time: submitted, judged, made again (R2 to R6, R11).

    idle ──submit──► in flight ──committed──► idle
                        │ aborted, stale: results are in hand again, after a pause that grows
                        │ refused: halves, until the culprit stands alone; if nothing of it is taken, that pause too
                        └ doubt, fenced: renew the producer, read every position, judge

Belongs to the loop's thread; asks through `ask`, never blocks.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from farandole.clock import Clock
from farandole.errors import FatalTransportError, MetadataUnreadable, NotJoined
from farandole.runtime.lanes import Load
from farandole.runtime.ownership import LOST, MISSING_RETRY_S, Ask, Ownership
from farandole.runtime.partition import Partition, Stage
from farandole.runtime.planner import Flight, Planner
from farandole.runtime.rechecking import Recheck
from farandole.runtime.recording import Counts, Troubles
from farandole.transport.doubt import judge_all
from farandole.transport.fencing import Fencings
from farandole.transport.port import (
    Commit,
    Member,
    Position,
    ReadPositions,
    RenewProducer,
    Reply,
    TopicPartition,
    Verdict,
)

PAUSE_MIN_S, PAUSE_MAX_S = 0.02, 1.0
"""Wait before a transaction is made again, doubling: a rebalance takes tens of milliseconds, an election a second."""

SETTLE_LATEST_S = 5.0
"""Longest that markers and gaps at a partition's end wait for a transaction that goes anyway. One of its own costs
those behind it 5 to 20 ms, and under way in a chain there is always another a few milliseconds later [measured]."""

SLOW_S = 5.0
"""A transaction that was aborted after so long wanted time: half of what it may take (R14). For any other reason it is
aborted within milliseconds, or within the second that an election takes."""

log = logging.getLogger("farandole.runtime")


@dataclass(slots=True)
class Committer:
    """The one transaction, and what it waits for. `committed` is told of each that stands."""

    member: Member
    ask: Ask
    planner: Planner
    ownership: Ownership
    load: Load
    counts: Counts
    clock: Clock
    committed: Callable[[Flight], None]
    settle_after_s: float
    recheck: Recheck
    troubles: Troubles = field(default_factory=lambda: Troubles(log))
    flight: Flight | None = None
    is_dead: bool = False
    """Whether this process has to be started anew: it submits nothing more, and no flight of it ends any more."""

    _not_before: float = 0.0
    _pause: float = 0.0
    _fencings: Fencings = field(init=False)
    _submitted: float = 0.0
    _again: tuple[float, Callable[[], None]] | None = None
    """A question about a doubtful transaction that got no answer, and when it is asked again."""

    _settling: dict[Partition, float] = field(default_factory=dict)
    _busy_at: float = float("-inf")
    """When results last went."""

    def __post_init__(self) -> None:
        self._fencings = Fencings(self.member.client_id)

    @property
    def is_free(self) -> bool:
        """Whether a transaction, or the ending of another's, may begin."""
        return self.flight is None

    @property
    def is_due(self) -> bool:
        """Whether results are in hand that could go now."""
        return self.planner.has_answers and self.is_free and self.clock.monotonic() >= self._not_before

    def next_due(self) -> float | None:
        """When something has to be submitted that cannot be now, on the monotonic clock."""
        if self._again is not None:
            return self._again[0]
        if self.flight is not None or self.ownership.is_fencing:
            return None  # its end is what is waited for
        if self.recheck.is_wanted:
            return None  # its answer is, and it knows when it is asked for
        dues = [] if (settling := self._settling_due()) is None else [max(settling, self._not_before)]
        if (self.planner.has_answers or self.ownership.opening()) and self._not_before > 0:
            dues.append(self._not_before)
        return min(dues, default=None)

    def look_at_end(self, partition: Partition) -> None:
        """Commit over the markers and gaps at its end after a while, with whatever goes then (R9).

        Not of one that is no longer ours, which a transaction in doubt may have touched: its position is another's.
        """
        if not self.ownership.is_current(partition):
            return
        if partition.offsets.is_settled and partition.offsets.base > partition.committed:
            self._settling[partition] = self.clock.monotonic() + self.settle_after_s

    def outage(self) -> None:
        """The log is away: once it is back, see that it has what we committed."""
        self.recheck.outage(self.clock.monotonic())

    def forget(self, is_current: Callable[[Partition], bool]) -> None:
        """Results of partitions that are no longer ours are dropped (R6)."""
        for answer in self.planner.drop(is_current):
            self.load.remove(answer.charge)
            self.counts.dropped += 1
        self._settling = {p: due for p, due in self._settling.items() if is_current(p)}

    def submit(self, closing: list[Partition] | None = None) -> bool:
        """Begin the next transaction, if there is something to say and nothing in the way."""
        now = self.clock.monotonic()
        if self._again is not None and self._again[0] <= now:
            (_, ask), self._again = self._again, None
            ask()
            return True
        if self.flight is not None or self.ownership.is_fencing or now < self._not_before or self.recheck.is_wanted:
            return False
        opening = self.ownership.opening()
        lone_due = self._settling_due()
        may_go_alone = lone_due is not None and lone_due <= now
        if not (self.planner.has_answers or opening or closing or may_go_alone):
            return False
        if self.planner.has_answers:
            self._busy_at = now
        self.forget(self.ownership.is_current)
        try:
            snapshot = self.member.snapshot()
        except NotJoined:
            return False
        settling = [p for p, due in self._settling.items() if due <= now and p.stage is Stage.RUNNING]
        flight = self.planner.plan(opening, closing or (), settling)
        if flight is None:
            return False
        self.flight, self._submitted = flight, now
        try:
            self.ask(Commit(flight.records, flight.positions, snapshot), self._landed)
        except NotJoined:
            self._without_effect(flight)
            return False
        return True

    def _settling_due(self) -> float | None:
        """When the ends of partitions are worth a transaction of their own: after a quiet while, or at the latest."""
        dues = [due for p, due in self._settling.items() if p.stage is Stage.RUNNING]
        if not dues:
            return None
        first = min(dues)
        return max(first, min(self._busy_at + self.settle_after_s, first + SETTLE_LATEST_S))

    # --- how it ended ---------------------------------------------------------------------

    def _landed(self, reply: Reply) -> None:
        flight = self.flight
        assert flight is not None
        verdict, took = reply.verdict or Verdict.DOUBT, self.clock.monotonic() - self._submitted
        self.counts.transactions[verdict.value] += 1
        self.counts.transaction_seconds.observe(took, (verdict.value,))
        if flight.answers:
            self._fit(verdict, took)
        match verdict:
            case Verdict.COMMITTED:
                self._fencings.over()
                self._stands(flight)
            case Verdict.STALE | Verdict.ABORTED:
                self._without_effect(flight)
                self._wait()
            case Verdict.REFUSED:
                self._refused(flight, str(reply.error))
            case Verdict.DOUBT | Verdict.FENCED:
                self._doubt(flight, verdict, reply)

    def _fit(self, verdict: Verdict, took: float) -> None:
        """What a slow log cannot take in time is made smaller (docs/decisions/0052). Fencing says nothing of speed."""
        if verdict is Verdict.COMMITTED:
            self.planner.grow()
        elif verdict is Verdict.DOUBT or (verdict is Verdict.ABORTED and took >= SLOW_S):
            self.planner.shrink()

    def _stands(self, flight: Flight) -> None:
        self.flight, self._pause, self._not_before = None, 0.0, 0.0
        self.planner.committed(flight, self.ownership.is_current)
        ours = {at for at, p in flight.touched.items() if self.ownership.is_current(p)}
        self.ownership.remembered.note({at: flight.positions[at] for at in ours})
        for answer in flight.answers:
            self.load.remove(answer.charge)
        for p in flight.touched.values():
            self._settling.pop(p, None)
            self.look_at_end(p)
        self.committed(flight)

    def _without_effect(self, flight: Flight) -> None:
        self.flight = None
        self.planner.without_effect(flight)

    def _refused(self, flight: Flight, error: str) -> None:
        self.flight = None
        if not flight.answers:
            self._wait_for_log(f"Commit had no effect: {error}")
            return
        culprit = self.planner.refused(flight, error)
        if culprit is None:
            return
        place = f"{culprit.partition.at.topic}[{culprit.partition.at.partition}]@{culprit.offset}"
        if not culprit.refused:
            self._wait_for_log(f"{place}: expected the log to take at least a failure without its input, but {error}")
        elif not culprit.rounds:
            log.error("%s: expected its records to be taken, but %s. Less is told instead", place, error)

    def _wait_for_log(self, why: str) -> None:
        """No record of ours is to blame, as where a topic is gone: another one, or this process anew, fares alike."""
        self.troubles.tell("Commit refused", self.clock.monotonic(), f"{why}; trying again")
        self._wait()

    def _wait(self) -> None:
        """The first repetition goes at once, with a fresh snapshot; after that, the pause grows."""
        self._not_before = self.clock.monotonic() + self._pause if self._pause else 0.0
        self._pause = min(PAUSE_MAX_S, self._pause * 2 if self._pause else PAUSE_MIN_S)

    # --- doubt ----------------------------------------------------------------------------

    def _doubt(self, flight: Flight, verdict: Verdict, reply: Reply) -> None:
        if verdict is Verdict.FENCED:
            try:
                self._fencings.fenced(self.clock.monotonic())
            except FatalTransportError:
                self.is_dead = True
                raise
        log.warning("a transaction of %d results is in doubt: %s", len(flight.answers), reply.error or verdict.value)
        self._renew(flight)

    def _renew(self, flight: Flight) -> None:
        """Throw the producer away: nothing can be added to the transaction any more."""

        def renewed(reply: Reply) -> None:
            if reply.error is not None:
                self._again = (self.clock.monotonic() + PAUSE_MAX_S, partial(self._renew, flight))
                return
            self.counts.renewals += 1
            self._judge(flight)

        self.ask(RenewProducer(), renewed)

    def _judge(self, flight: Flight) -> None:
        """Any position with our writer and number says that it committed; none, if all are known, that it did not."""
        asked = list(flight.positions)

        def answered(reply: Reply) -> None:
            try:
                stands = judge_all(asked, reply.positions, self.planner.writer, flight.number)
                lost = not stands and self._have_gone_back(flight, reply.positions)
            except MetadataUnreadable as bad:
                # Its next owner is of a newer version. What was in flight is on the log or in the inbox: begin anew.
                self.is_dead = True
                raise FatalTransportError(f"a transaction in doubt cannot be judged: {bad}") from bad
            if lost:
                agent = next(iter(flight.touched)).topic.rpartition(".")[2]
                why = f"a transaction is in doubt, and the positions that would tell of it went back: {LOST}"
                self.troubles.tell("Judging", self.clock.monotonic(), why.format(agent=agent))
                self._again = (self.clock.monotonic() + MISSING_RETRY_S, partial(self._judge, flight))
            elif reply.error is not None or stands is None:
                self._again = (self.clock.monotonic() + PAUSE_MIN_S, partial(self._judge, flight))
            else:
                self.counts.judged["committed" if stands else "without_effect"] += 1
                (self._stands if stands else self._without_effect)(flight)
                self.recheck.doubt(self.clock.monotonic())  # of this one it is known, not of the one before

        self.ask(ReadPositions(asked, stable=True), answered)

    def _have_gone_back(self, flight: Flight, found: Mapping[TopicPartition, Position | None]) -> bool:
        """Whether the group says less than we know of a partition that is ours still: so nor of what came since.

        What is pending is not told yet, and of an inbox that was deleted there is nothing: neither is a loss. If it is
        the one transaction before that is missing, the end of this one ended it too: this one has had no effect.
        """
        known = self.ownership.remembered
        ours = {at for at, p in flight.touched.items() if self.ownership.is_current(p)}
        told = {at: position for at, position in found.items() if at in ours and position is not None}
        behind = {at: position for at, position in told.items() if known.is_behind(at, position)}
        return bool(behind) and not known.are_torn(behind)
