"""After an outage: does the group still have what we committed?

A broker that comes back may leave out markers of a transaction that it had answered as committed, and the end of the
next one of the same writer then ends it too, the other way: it never was (docs/decisions/0123). Its results are gone,
and the next commit of a partition would pass over them without a word. So nothing is committed after a doubt before the
group was asked; and it is asked again for a while, for what was pending may come to the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from farandole.errors import MetadataUnreadable
from farandole.runtime.ownership import RETRY_S, SERVED, Ask, Ownership
from farandole.runtime.partition import Partition
from farandole.runtime.remembered import Remembered
from farandole.transport.port import Position, ReadPositions, Reply, TopicPartition

LOOKS_S = (1.0, 10.0, 30.0, 60.0)
"""When the group is asked, in seconds after the last sign of an outage: transactions run out within 10 s of it (R14),
and a client that does not come back from a call is given up within 15."""


@dataclass(slots=True)
class Recheck:
    """Asks for the positions of all partitions at work; those that went back are taken over anew."""

    ask: Ask
    ownership: Ownership
    _asked: int = 0
    _wanted: int = 0
    """Which question has to be answered before anything is committed; 0: none."""

    _dues: list[float] = field(default_factory=list)

    def outage(self, now: float) -> None:
        """The log is away; `now` is monotonic."""
        first = self._dues[:1] if self.is_wanted else []
        self._dues = [*first, *(now + seconds for seconds in LOOKS_S)]

    def doubt(self, now: float) -> None:
        """It is known how a transaction in doubt ended, but not what its end did to the one before."""
        self._dues = [now, *(now + seconds for seconds in LOOKS_S)]
        self._wanted = self._asked + 1

    @property
    def is_wanted(self) -> bool:
        """Whether nobody has been asked yet since a doubt, or has not answered."""
        return self._wanted > 0

    @property
    def next_due(self) -> float | None:
        """When the group is asked again, on the monotonic clock."""
        return self._dues[0] if self._dues else None

    def step(self, now: float) -> bool:
        """Ask, if it is time; whether it was."""
        if not self._dues or now < self._dues[0]:
            return False
        self._dues = [due for due in self._dues if due > now]
        self._asked += 1
        known = self.ownership.remembered.copy()
        ours = {p.at: p for stage in SERVED for p in self.ownership.at(stage)}
        look = _Look(self._asked, ours, known)
        if not ours:
            self._wanted = 0
        if others := sorted(known.places.difference(ours)):  # apart: of what we may not see any more none is answered
            self.ask(ReadPositions(others, stable=True), lambda reply: self._others(look, reply, now))
        elif ours:
            self._ask_ours(look, now)
        return bool(ours or others)

    def _others(self, look: "_Look", reply: Reply, now: float) -> None:
        look.found.update({} if reply.error is not None else reply.positions)
        if look.ours:
            self._ask_ours(look, now)
        else:
            self._compare(look)

    def _ask_ours(self, look: "_Look", now: float) -> None:
        def answered(reply: Reply) -> None:
            told = {} if reply.error is not None else reply.positions
            look.found.update(told)
            self._compare(look)
            if look.number < self._wanted:
                return
            if look.ours.keys() <= told.keys():
                self._wanted = 0
            elif self.is_wanted:  # no answer, or pending: nothing is committed before it is told
                self._dues = [now + RETRY_S, *self._dues]

        self.ask(ReadPositions(sorted(look.ours), stable=True), answered)

    def _compare(self, look: "_Look") -> None:
        """Pending ones are not told: they are asked for again, if there is another look to come."""
        now, known = self.ownership.remembered, look.known
        behind = {
            at: position
            for at, position in look.found.items()
            if position is not None and now.position(at) == known.position(at) and _is_behind(known, at, position)
        }
        self.ownership.anew(look.ours[at] for at in behind if at in look.ours)
        if known.are_torn(behind):
            for at in behind.keys() - self.ownership.partitions.keys():
                now.undo(at)  # who has it now does it once more


@dataclass(slots=True)
class _Look:
    """One question to the group, what was known when it was asked, and what was found."""

    number: int
    ours: Mapping[TopicPartition, Partition]
    known: Remembered
    found: dict[TopicPartition, Position | None] = field(default_factory=dict)


def _is_behind(known: Remembered, at: TopicPartition, position: Position) -> bool:
    try:
        return known.is_behind(at, position)
    except MetadataUnreadable:
        return False  # its next owner is of a newer version
