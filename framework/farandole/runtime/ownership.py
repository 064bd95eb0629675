"""Which partitions are ours, and how a new one gets as far as `EPOCH`: whose it was is fenced, its position is read.

Asks the broker through `ask`, never blocks, reads no clock.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from farandole.errors import MetadataUnreadable
from farandole.runtime.partition import Partition, Stage
from farandole.runtime.remembered import Remembered
from farandole.transport.metadata import WINDOW, decode
from farandole.transport.port import (
    FenceWriter,
    Isolation,
    ListMembers,
    Position,
    ReadEnds,
    ReadPositions,
    Reply,
    Request,
    TopicPartition,
)

Ask = Callable[[Request, Callable[[Reply], None]], None]

SERVED = (Stage.RUNNING, Stage.RELEASING)
"""Stages in which a partition is worked on."""

RETRY_S = 0.1
"""Wait before positions that are still pending, or that could not be read, are asked for again."""

MISSING_RETRY_S = 5.0
"""Wait before a partition without start position is looked at again: `apply` may be under way."""

FENCE_TRIES = 5
"""Tries to end a departed writer's transaction before the broker's own time-out (10 s, R14) is left to do it."""

SLOW_S = 30.0
"""How long a partition may be on its way until it is told what it waits for, and then again; a home has as long."""

_WAITS_FOR = {
    Stage.LAST_WRITER: "the position that its last owner left",
    Stage.FENCING: "what its last owner left open to be ended",
    Stage.POSITIONS: "its position, on which a transaction is still open",
    Stage.EPOCH: "its epoch to be committed",
}

_OTHERS = "positions of its group went back, which are kept in one log with its own"

LOST = (
    "the broker has lost some of what it had been told. Stop every process of the unit, which does no harm; run "
    "`farandole agent reposition {agent}`, and so for each other agent of the unit: it finds on `events` what was "
    "answered; then start them. Started anew without that, they would do it all once more. It is looked at again"
)
"""What is to be done where positions went back, for a person."""

TORN = "a broker did not keep the last transaction, which it had said was committed. What it answered is done once more"
"""What happens where one transaction alone is missing, for a person."""

log = logging.getLogger("farandole.runtime")


class Ownership:
    """The partitions that are ours, and the way of new ones to `EPOCH`. `writer` is our transactional id."""

    def __init__(
        self, writer: str, ask: Ask, *, window: int = WINDOW, pause: Callable[[Sequence[TopicPartition]], None]
    ) -> None:
        self._writer = writer
        self._ask = ask
        self._pause = pause
        self._window = window
        self._number = 0
        self._fenced: set[str] = set()
        self._departed: set[str] = set()
        self._failures: dict[str, int] = {}
        self._back: dict[TopicPartition, Position | None] = {}
        """What the group said of partitions of which that is less than we know, when it was last asked."""
        self._is_torn = False
        """Whether that is one transaction of ours, which a broker tore."""
        self._suspected: set[TopicPartition] = set()
        """Those of which it says so now, until it is known that the topic is still the one that we knew."""
        self._excused: set[TopicPartition] = set()
        """Those that have no position, and whose topic is not there either."""
        self.remembered = Remembered()
        self.partitions: dict[TopicPartition, Partition] = {}
        self.stopped = 0
        self.went_back = self.torn = 0
        self.fenced = 0
        self._is_moving = False
        """False once every partition stands still, so that a step costs nothing."""
        self.has_anew = False
        """Whether some were begun anew, of which there may be work under way: until the loop has seen to that."""
        self.is_fencing = False
        """Whether a `FenceWriter` is in flight, beside which no transaction may be."""

    def assigned(self, ats: Iterable[TopicPartition]) -> None:
        """Partitions are ours from now on; nothing is known of them."""
        self._fenced.clear()
        self._departed.clear()
        self._failures.clear()
        self._is_moving = True
        for at in ats:
            self._number += 1
            self.partitions[at] = Partition(at, self._number, self._window)

    def gone(self, ats: Iterable[TopicPartition]) -> list[Partition]:
        """Partitions are no longer ours."""
        return [self.partitions.pop(at) for at in ats if at in self.partitions]

    def anew(self, partitions: Iterable[Partition]) -> None:
        """The group has less of these than we know: they are taken over from what it has, as if from another."""
        if lacking := [p.at for p in partitions if self.is_current(p) and p.stage in SERVED]:
            self._pause(lacking)  # what is still to come of them was asked for before
            self.assigned(lacking)
            self.has_anew = True

    def is_current(self, partition: Partition) -> bool:
        """Whether this assignment is still the one that stands (R6)."""
        return self.partitions.get(partition.at) is partition

    def opening(self) -> list[Partition]:
        """Partitions whose epoch is to be committed."""
        return self.at(Stage.EPOCH) if self._is_moving else []

    def at(self, stage: Stage) -> list[Partition]:
        """Partitions at a stage."""
        return [p for p in self.partitions.values() if p.stage is stage]

    @property
    def is_settled(self) -> bool:
        """Whether no partition is on its way."""
        if not self._is_moving:
            return True
        settled = (Stage.RUNNING, Stage.RELEASING, Stage.STOPPED)
        return all(p.stage in settled for p in self.partitions.values())

    def step(self, now: float, *, may_fence: bool) -> bool:
        """Ask what can be asked now; whether anything was. `may_fence`: no transaction of ours is under way."""
        if not self._is_moving:
            return False
        self._is_moving = not self.is_settled or any(p._not_before > 0 for p in self.partitions.values())
        for p in self._due(Stage.STOPPED, now):
            if p._not_before > 0:
                p.stage = Stage.LAST_WRITER
        asked = self._ask_positions(Stage.LAST_WRITER, now, stable=False)
        asked |= self._ask_members(now)
        if not may_fence:
            return asked
        # Not while a transaction of ours is under way: it might name a partition that has come back to us.
        asked |= self._fence(now)
        return self._ask_positions(Stage.POSITIONS, now, stable=True) or asked

    def tell_slow(self, now: float) -> None:
        """Say of partitions that are long on their way what they wait for."""
        if not self._is_moving:
            return
        for p in self.partitions.values():
            if p.stage not in _WAITS_FOR:
                continue
            if p.since is None:
                p.since = now
            elif now - p.since >= SLOW_S:
                p.since = now
                what = _WAITS_FOR[p.stage]
                log.warning("%s[%d] is not served yet: it waits for %s", p.at.topic, p.at.partition, what)

    def stop(self, p: Partition, why: str, again: float = 0.0) -> None:
        """An operator is needed; the others go on. `again`: when its position is looked at once more."""
        p.stage, p._not_before, p.since = Stage.STOPPED, again, None
        if p.why != why:
            p.why = why
            self.stopped += 1
            log.error("%s[%d] is stopped: %s", p.at.topic, p.at.partition, why)

    def give_up(self, p: Partition, why: str, now: float) -> None:
        """What it was read from is not there any more: nothing that we know of it counts.

        Another assignment takes its place, stopped until the group has a position that is not the refused one.
        """
        self.assigned([p.at])
        self.remembered.forget(p.at)
        fresh = self.partitions[p.at]
        fresh.refused, fresh.found, fresh.why = p.committed, p.committed, p.why
        self.stop(fresh, why, now + MISSING_RETRY_S)

    def next_due(self, *, may_fence: bool) -> float | None:
        """The earliest time at which `step` has something to ask again; what must not go now waits for an answer."""
        if not self._is_moving:
            return None
        paused = [p for p in self.partitions.values() if not p._asked and p._not_before > 0]
        return min((p._not_before for p in paused if self._may_ask(p, may_fence)), default=None)

    # --- asking ---------------------------------------------------------------------------

    def _may_ask(self, p: Partition, may_fence: bool) -> bool:
        """Whether neither a transaction nor a fencing that is under way keeps it from going on."""
        if p.stage is Stage.FENCING and p.last_writer in self._departed:
            return may_fence and not self.is_fencing
        return may_fence or p.stage is not Stage.POSITIONS

    def _due(self, stage: Stage, now: float) -> list[Partition]:
        return [p for p in self.at(stage) if not p._asked and p._not_before <= now]

    def _send(self, request: Request, group: Sequence[Partition], then: Callable[[Reply], None]) -> None:
        """Ask for a group; the answer counts for those that are still ours and where they were."""
        for p in group:
            p._asked, p._not_before = True, 0.0

        def answered(reply: Reply) -> None:
            for p in group:
                p._asked = False
            then(reply)

        self._ask(request, answered)

    def _ask_positions(self, stage: Stage, now: float, *, stable: bool) -> bool:
        group = self._due(stage, now)
        if not group:
            return False

        def answered(reply: Reply) -> None:
            found = {} if reply.error is not None else reply.positions
            for p in group:
                if not self.is_current(p) or p.stage is not stage:
                    continue
                if p.at in found and not (stable and self._suspected):
                    self._take(p, found[p.at], now)
                else:
                    p._not_before = now + RETRY_S

        asked = ReadPositions([p.at for p in group], stable=stable)
        known = self.remembered.copy()
        if stable:  # else it may be a moment behind
            self._look_back_first(asked, group, known, answered)
        else:
            self._send(asked, group, answered)
        return True

    def _look_back_first(
        self, asked: ReadPositions, group: Sequence[Partition], known: Remembered, then: Callable[[Reply], None]
    ) -> None:
        """Ask for a group, and before that for all else that is known, by itself: of a topic that we may not see any
        more there is no answer, and the group is to have one."""

        found: dict[TopicPartition, Position | None] = {}

        def looked(reply: Reply) -> None:
            found.update({} if reply.error is not None else reply.positions)
            self._send(asked, group, answered)

        def answered(reply: Reply) -> None:
            found.update({} if reply.error is not None else reply.positions)
            self._look_back(found, known)
            then(reply)

        if others := sorted(known.places.difference(asked.partitions)):
            self._send(ReadPositions(others, stable=True), group, looked)
        else:
            self._send(asked, group, answered)

    def _look_back(self, positions: Mapping[TopicPartition, Position | None], known: Remembered) -> None:
        """Which of them are behind what we had committed when they were asked for, in the topic that we knew."""
        behind = {at for at, position in positions.items() if self._is_behind(known, at, position)}
        places = self.remembered.places
        kept = {at: positions.get(at, found) for at, found in self._back.items() if at in places}
        self._back = {at: found for at, found in kept.items() if at in behind or at not in positions}
        self._look_for_torn()
        self._excused &= behind
        if self._suspected or not (fresh := behind - self._back.keys() - self._excused):
            return
        self._suspected = set(fresh)
        for topic in sorted({at.topic for at in fresh}):  # of one that is not there nothing is told, of others it is
            of_topic = sorted(at for at in fresh if at.topic == topic)
            told = partial(self._ended, {at: positions[at] for at in of_topic})
            self._ask(ReadEnds(of_topic, Isolation.UNCOMMITTED), told)

    def _ended(self, suspected: Mapping[TopicPartition, Position | None], reply: Reply) -> None:
        """Where their topic ends, if it is there: is it the one that we knew?"""
        for at, position in suspected.items():
            self._suspected.discard(at)
            if not self._is_behind(self.remembered, at, position):
                continue  # it was seen to meanwhile
            end = None if reply.error is not None else reply.ends.get(at)
            if end is not None and self.remembered.is_beyond(at, end):
                self.remembered.forget(at)
            elif end is None and position is None:
                self._excused.add(at)  # neither a position nor an end: its topic was deleted
            else:
                self._back[at] = position
        self._look_for_torn()

    def _look_for_torn(self) -> None:
        """Is it one transaction that is missing? Who has its partitions now does it once more; if we have, so do we."""
        self._is_torn = self.remembered.are_torn(self._back)
        if not self._is_torn:
            return
        for at in self._back.keys() - self.partitions.keys():
            self.remembered.undo(at)
            del self._back[at]
        self.anew(
            self.partitions[at] for at in list(self._back) if self._is_behind(self.remembered, at, self._back[at])
        )

    def _is_behind(self, known: Remembered, at: TopicPartition, position: Position | None) -> bool:
        try:
            return known.is_behind(at, position)
        except MetadataUnreadable:
            return False  # a stop of its own

    def _take(self, p: Partition, position: Position | None, now: float) -> None:
        agent = p.at.topic.rpartition(".")[2]
        if position is None:
            way_out = (
                "it is looked for again, for a broker that has just started may not have read it yet; if it never had "
                f"one, run `farandole apply`; if it had one, stop the unit and run `farandole agent reposition {agent}`"
            )
            self.stop(p, f"it has no start position (R8): {way_out}", now + MISSING_RETRY_S)
            return
        p.found = position.offset
        if self._back and p.stage is Stage.POSITIONS and not self._is_torn:
            # A group has one log of positions: what was lost of it, was lost of all, also where it is not known here.
            is_known = p.at in self._back
            self.went_back += 1
            how = f"its position went back {self.remembered.told(p.at, position)}" if is_known else _OTHERS
            self.stop(p, f"{how}: {LOST.format(agent=agent)}", now + MISSING_RETRY_S)
            return
        if position.offset == p.refused:
            self.stop(p, p.why, now + MISSING_RETRY_S)
            return
        try:
            metadata = decode(position.metadata)
        except MetadataUnreadable as bad:
            self.stop(p, str(bad))
            return
        if p.stage is Stage.POSITIONS:
            if p.at in self._back:
                self.torn += 1
                log.warning("%s[%d]: its position went back %s: %s", *p.at, self.remembered.told(p.at, position), TORN)
                del self._back[p.at]
            p.restore(position, metadata)
            p.epoch = max(p.epoch, self.remembered.epoch_of(p.at))
            self.remembered.take_over(p.at, position)
            return
        p.last_writer = "" if metadata.clean else metadata.writer
        p.stage = Stage.POSITIONS if self._is_harmless(p.last_writer) else Stage.FENCING

    def _is_harmless(self, writer: str) -> bool:
        """Whether the writer can have left no transaction open: none, we ourselves (our start ended it), or fenced."""
        return writer in ("", self._writer) or writer in self._fenced

    def _ask_members(self, now: float) -> bool:
        for p in self.at(Stage.FENCING):
            if not p._asked and self._is_harmless(p.last_writer):
                p.stage = Stage.POSITIONS
        group = [p for p in self._due(Stage.FENCING, now) if p.last_writer not in self._departed]
        if not group:
            return False

        def answered(reply: Reply) -> None:
            for p in group:
                if not self.is_current(p) or p.stage is not Stage.FENCING:
                    continue
                if reply.error is not None:
                    p._not_before = now + RETRY_S
                elif p.last_writer in reply.members:
                    # It lives: it will learn by itself that the partition is gone.
                    p.stage = Stage.POSITIONS
                else:
                    self._departed.add(p.last_writer)

        self._send(ListMembers(), group, answered)
        return True

    def _fence(self, now: float) -> bool:
        """End what one departed writer may have left open."""
        waiting = [p for p in self._due(Stage.FENCING, now) if p.last_writer in self._departed]
        if not waiting or self.is_fencing:
            return False
        writer = waiting[0].last_writer
        group = [p for p in waiting if p.last_writer == writer]

        def answered(reply: Reply) -> None:
            self.is_fencing = False
            failed = self._failures[writer] = self._failures.get(writer, 0) + (reply.error is not None)
            if reply.error is not None and failed < FENCE_TRIES:
                for p in group:
                    p._not_before = now + RETRY_S
                return
            self._departed.discard(writer)
            self._fenced.add(writer)
            self.fenced += reply.error is None
            log.info("took over from %s, which is gone%s", writer, f" ({reply.error})" if reply.error else "")

        self.is_fencing = True
        self._send(FenceWriter(writer), group, answered)
        return True
