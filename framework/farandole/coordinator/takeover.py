"""How a home partition becomes ours: positions, dead writers, epoch, restore (R6, R7, R12).

One `Takeover` handles all partitions that were assigned together. It never blocks: each step
asks the broker something and goes on when the answer is there. Nothing of a home is folded
before its epoch is committed and its state restored.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from farandole.coordinator.asking import Ask
from farandole.coordinator.claimed import WAITS_FOR, Claimed, Stage
from farandole.coordinator.home import Home
from farandole.coordinator.patience import RETRY_S
from farandole.errors import MetadataUnreadable
from farandole.events.topics import Topics
from farandole.transport.metadata import decode
from farandole.transport.port import (
    FenceWriter,
    Isolation,
    ListMembers,
    Position,
    ReadEnds,
    ReadPositions,
    Reply,
    TopicPartition,
)

log = logging.getLogger("farandole.coordinator")

FENCE_TRIES = 5
"""Tries to end a departed writer's transaction before the broker's own time-out (10 s, R14) is left to do it."""

_WAY_OUT = "stop all coordinators and run `farandole coordinator reposition`"
_DELETED = f"were deleted, or the topic was; the home is stopped: {_WAY_OUT}"
_MISSING = (
    "it is looked for again, for a broker that has just started may not have read it yet; "
    f"if it never had one, run `farandole apply`; if it had, it has expired: {_WAY_OUT}"
)


MISSING_RETRY_S = 5.0
"""Wait before a home without start positions is looked at again: `apply` may be under way, as agents assume too."""

SLOW_S = 30.0
"""How long a home may be on its way until it is told what it waits for, and then again: two sessions of the dead."""


@dataclass(slots=True)
class Takeover:
    """The homes that are not running yet. `parked` are homes whose state outlived a revocation."""

    topics: Topics
    writer: str
    ask: Ask
    claimed: dict[int, Claimed] = field(default_factory=dict)
    parked: dict[int, Home] = field(default_factory=dict)
    fenced: set[str] = field(default_factory=set)
    is_fencing: bool = False
    """Whether a `FenceWriter` is in flight, beside which no transaction may be."""

    _now: float = 0.0
    """At the last step, on the monotonic clock."""

    _departed: set[str] = field(default_factory=set)
    _failures: Counter[str] = field(default_factory=Counter)

    def begin(self, number: int) -> None:
        """A home was assigned, or must be restored after doubt."""
        self.fenced.clear()
        self._departed.clear()
        self._failures.clear()
        home = self.parked.pop(number, None) or Home(number)
        home.emptied()
        self.claimed[number] = Claimed(home)

    def refuse(self, number: int, at: TopicPartition, position: int) -> None:
        """A home that was begun anew is stopped, until the group has another position there than this one."""
        claimed = self.claimed[number]
        claimed.refused = at, position
        claimed.stop(f"{at.topic}/{at.partition}: the records from its position {position} on {_DELETED}", again=True)

    def drop(self, number: int) -> None:
        """The home is gone before it ran."""
        self.claimed.pop(number, None)

    def at(self, stage: Stage) -> list[Claimed]:
        """Homes at a stage with no answer under way."""
        return [c for c in self.claimed.values() if c.stage is stage and not c.waiting]

    def step(self, now: float, *, may_fence: bool) -> bool:
        """Ask what can be asked now; whether anything was. `may_fence`: nothing of ours is under way as a writer."""
        self._now = now
        asked = self._ask_positions(Stage.LAST_WRITER, stable=False)
        asked |= self._ask_members()
        asked |= may_fence and self._fence()
        asked |= self._ask_positions(Stage.POSITIONS, stable=True)
        asked |= self._ask_ends()
        return asked

    def look_again(self, now: float) -> None:
        """Ask once more for the positions of stopped homes, every `MISSING_RETRY_S`."""
        for claimed in self.claimed.values():
            if claimed.stage is not Stage.STOPPED or not claimed.looks_again:
                continue
            if claimed.since is None:
                claimed.since = now
            elif now - claimed.since >= MISSING_RETRY_S:
                claimed.stage, claimed.since = Stage.LAST_WRITER, None

    @property
    def next_due(self) -> float | None:
        """When something is asked for again, on the monotonic clock; None if nothing waits for that."""
        waiting = [c.not_before for c in self.claimed.values() if not c.waiting and c.not_before > self._now]
        return min(waiting, default=None)

    @property
    def is_moving(self) -> bool:
        """Whether any home is on its way, and not stopped."""
        return any(c.stage is not Stage.STOPPED for c in self.claimed.values())

    def tell_slow(self, now: float) -> None:
        """Say of homes that are long on their way what they wait for."""
        for claimed in self.claimed.values():
            if claimed.stage is Stage.STOPPED:
                continue
            if claimed.since is None:
                claimed.since = now
            elif now - claimed.since >= SLOW_S:
                claimed.since = now
                log.warning("home %d is not served yet: it waits for %s", claimed.home.number, WAITS_FOR[claimed.stage])

    def epoch_positions(self, claimed: Claimed, encode: Callable[[int], str]) -> dict[TopicPartition, Position]:
        """What the epoch transaction commits for a home; `encode` makes the metadata for its epoch."""
        home = claimed.home
        home.epoch = (claimed.metadata.epoch if claimed.metadata else 0) + 1
        text = encode(home.epoch)
        events, commands = self._partitions(home.number)
        return {events: Position(home.events_at, text), commands: Position(home.commands_at, text)}

    def _due(self, stage: Stage) -> list[Claimed]:
        return [c for c in self.at(stage) if c.not_before <= self._now]

    def _later(self, claimed: Claimed) -> None:
        """It stands where it was: there was no answer, or what it waits for is not there yet."""
        claimed.not_before = self._now + RETRY_S

    def _partitions(self, number: int) -> tuple[TopicPartition, TopicPartition]:
        return TopicPartition(self.topics.events, number), TopicPartition(self.topics.commands, number)

    def _ask_positions(self, stage: Stage, *, stable: bool) -> bool:
        group = self._due(stage)
        if not group:
            return False
        wanted = [at for c in group for at in self._partitions(c.home.number)]

        def answered(reply: Reply) -> None:
            for c in group:
                c.waiting = False
                if reply.error is None:
                    self._take_positions(c, reply.positions)
                if c.stage is stage:
                    self._later(c)

        _wait(group)
        self.ask(ReadPositions(wanted, stable=stable), answered)
        return True

    def _take_positions(self, claimed: Claimed, found: Mapping[TopicPartition, Position | None]) -> None:
        events, commands = self._partitions(claimed.home.number)
        if events not in found or commands not in found:
            return  # pending: asked for again
        at_events, at_commands = found[events], found[commands]
        if at_events is None or at_commands is None:
            at = events if at_events is None else commands
            claimed.stop(f"{at.topic}/{at.partition} has no start position; {_MISSING}", again=True)
            return
        if claimed.refused is not None and claimed.refused in {
            (events, at_events.offset),
            (commands, at_commands.offset),
        }:
            claimed.stop(claimed.why, again=True)
            return
        try:
            claimed.metadata = decode(at_events.metadata)
        except MetadataUnreadable as bad:
            claimed.stop(f"{events.topic}/{events.partition}: {bad}; the partition is stopped")
            return
        claimed.why = ""
        if claimed.stage is Stage.LAST_WRITER:
            claimed.stage = Stage.FENCING
            return
        self._accept(claimed, at_events.offset, at_commands.offset)

    def _accept(self, claimed: Claimed, events_at: int, commands_at: int) -> None:
        """Positions are final: is the state in memory still the committed one?"""
        home, known = claimed.home, claimed.metadata
        assert known is not None
        ours = known.writer == self.writer and known.number == home.number_committed
        claimed.keeps_state = ours and (events_at, commands_at) == (home.events_at, home.commands_at)
        home.events_at, home.commands_at = events_at, commands_at
        claimed.stage = Stage.EPOCH

    def _ask_members(self) -> bool:
        for c in self.at(Stage.FENCING):
            if self._writer_of(c) in ("", self.writer) or self._writer_of(c) in self.fenced:
                c.stage = Stage.POSITIONS
        group = [c for c in self._due(Stage.FENCING) if self._writer_of(c) not in self._departed]
        if not group:
            return False

        def answered(reply: Reply) -> None:
            for c in group:
                c.waiting = False
                if reply.error is not None:
                    self._later(c)
                elif self._writer_of(c) in reply.members:
                    c.stage = Stage.POSITIONS  # it lives: it will notice by itself that the partition is gone
                else:
                    self._departed.add(self._writer_of(c))

        _wait(group)
        self.ask(ListMembers(), answered)
        return True

    def _fence(self) -> bool:
        """End what one departed writer may have left open; the one that failed least comes first."""
        waiting = [c for c in self._due(Stage.FENCING) if self._writer_of(c) in self._departed]
        if not waiting or self.is_fencing:
            return False
        writer = min((self._writer_of(c) for c in waiting), key=lambda it: (self._failures[it], it))
        group = [c for c in waiting if self._writer_of(c) == writer]

        def done(reply: Reply) -> None:
            self.is_fencing = False
            for c in group:
                c.waiting = False
            self._failures[writer] += reply.error is not None
            if reply.error is not None and self._failures[writer] < FENCE_TRIES:
                for c in group:
                    self._later(c)
                return
            self._departed.discard(writer)
            self.fenced.add(writer)
            log.info("took over from %s, which is gone%s", writer, f" ({reply.error})" if reply.error else "")

        self.is_fencing = True
        _wait(group)
        self.ask(FenceWriter(writer), done)
        return True

    def _writer_of(self, claimed: Claimed) -> str:
        return claimed.metadata.writer if claimed.metadata else ""

    def _read(self, number: int) -> tuple[TopicPartition, ...]:
        """What is read to the end that it has now: `runs` before anything else, unless the state was kept; `events`
        before timers are written and commands answered, kept or not: agents wrote there while the home was away.
        Of `commands` it tells whether a place can be meant."""
        return (TopicPartition(self.topics.runs, number), *self._partitions(number))

    def _ask_ends(self) -> bool:
        group = self._due(Stage.ENDS)
        if not group:
            return False

        def answered(reply: Reply) -> None:
            for c in group:
                c.waiting = False
                runs, events, commands = self._read(c.home.number)
                if reply.error is None and {runs, events, commands} <= reply.ends.keys():
                    c.end, c.home.read_first, c.commands_end = (reply.ends[at] for at in (runs, events, commands))
                    c.stage = Stage.RESTORE
                    c.definitions = reply.ends.get(definitions, 0)
                else:
                    self._later(c)

        _wait(group)
        definitions = TopicPartition(self.topics.definitions, 0)
        wanted = [definitions, *(at for c in group for at in self._read(c.home.number))]
        self.ask(ReadEnds(wanted, Isolation.UNCOMMITTED), answered)
        return True


def _wait(group: list[Claimed]) -> None:
    for c in group:
        c.waiting = True
