"""What stands twice on the log because a person let it be read again (`agent reposition`), and only that.

Each act names partitions of an inbox and the offsets that may have been answered before it. Such a record may have one
outcome more for each act that names it. The first outcome is what it always is; those that follow are repeats, and so
is what an agent wrote in one transaction with a repeat: triggers that it fired once more, reports of what ran at once
with it, a start that it told again. A trigger that is a repeat is answered too: what is made of it is a repeat as well.

A repeat is excused for standing there, never for having an effect: that it is folded once is judged as for any other
late result (I5, I9). An outcome too many of a record that no act names is what it was before: a violation.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from farandole.events import facts
from farandole.events.acts import LATE
from farandole.lineage.entries import Entry
from farandole.testing.history.report import History, Partition


@dataclass(frozen=True, slots=True)
class Readings:
    """How often records may have been read: `acts` are the first offset, the end and the instant, by partition.

    What was written later than an act stood not in its inbox yet: where a topic was made anew, another record has the
    place that the act names.
    """

    acts: Mapping[Partition, Sequence[tuple[int, int, datetime]]] = field(default_factory=dict)

    def of(self, record: Entry) -> int:
        """How often this one may have been read to its outcome."""
        acts = self.acts.get((record.topic, record.partition), ())
        return 1 + sum(begin <= record.offset < end and record.time <= at + LATE for begin, end, at in acts)


def readings_of(history: History) -> Readings:
    """What the acts say."""
    acts: dict[Partition, list[tuple[int, int, datetime]]] = defaultdict(list)
    for act in history.repositions:
        for each in act.partitions:
            acts[history.topics.inbox(act.agent), each.partition].append((each.begin, each.end, act.at))
    return Readings(acts)


def repeats_of(history: History, readings: Readings) -> frozenset[str]:
    """The places of all repeats; none where nobody did anything."""
    if not readings.acts:
        return frozenset()
    spread = _Spread(history, readings)
    spread.follow(each for each in history.inboxes if readings.of(each) > 1)
    return frozenset(spread.found)


Writing = tuple[str, str, str]
"""What the records of an agent's transaction have in common: the id of its fact, its writer, the record it consumed."""


class _Spread:
    """Goes from records that were read again to what was made of them. Each place is found once, so that it ends."""

    def __init__(self, history: History, readings: Readings) -> None:
        self.found: set[str] = set()
        self._readings = readings
        self._made: dict[str, list[Entry]] = defaultdict(list)
        self._starts: dict[str, list[Entry]] = defaultdict(list)
        self._copies: dict[Writing, list[Entry]] = defaultdict(list)
        self._fused: dict[Writing, list[Entry]] = defaultdict(list)
        self._fired: dict[Writing, list[Entry]] = defaultdict(list)
        for each in sorted(history.events, key=lambda e: (e.partition, e.offset)):
            self._sort(each)
        for each in sorted(history.inboxes, key=lambda e: (e.topic, e.partition, e.offset)):
            if each.is_trigger:
                self._fired[each.cause, each.source, each.input].append(each)
        for each in sorted(history.dead, key=lambda e: (e.topic, e.partition, e.offset)):
            if each.is_dead_letter and not each.run:
                self._made[each.input].append(each)

    def _sort(self, event: Entry) -> None:
        if isinstance(event.fact, facts.RunStarted) and event.fact.fired:
            self._starts[event.input].append(event)
        if not isinstance(event.fact, facts.AgentFact):
            return
        self._copies[event.id, event.source, event.input].append(event)
        if event.is_fused:
            self._fused[event.cause, event.source, event.input].append(event)
        else:
            self._made[event.input].append(event)

    def follow(self, records: Iterable[Entry]) -> None:
        """From these records on."""
        left = [*records]
        while left:
            left += self._look_at(left.pop())

    def _look_at(self, record: Entry) -> Iterator[Entry]:
        """Of a record that was read again the first outcome is no repeat, unless the record is one itself.

        Gives the triggers that repeats have fired.
        """
        read = self._readings.of(record)
        first = 0 if record.place in self.found else 1
        self.found.update(each.place for each in self._starts[record.place][first:read])
        for each in self._made[record.place][first:read]:
            yield from self._repeat(each)

    def _repeat(self, outcome: Entry) -> Iterator[Entry]:
        fact = outcome.fact
        if outcome.place in self.found:
            return
        self.found.add(outcome.place)
        for child in fact.fired if isinstance(fact, facts.StepSucceeded) else ():
            together = _fires(outcome, child, together=True)
            for each in self._written_with(outcome, child, together=together):
                if together:
                    yield from self._repeat(each)
                elif each.place not in self.found:
                    self.found.add(each.place)
                    yield each

    def _written_with(self, outcome: Entry, child: str, *, together: bool) -> list[Entry]:
        """What the repeats among the copies of an outcome wrote for a successor: the last of what all copies did."""
        writing = outcome.id, outcome.source, outcome.input
        copies = [each for each in self._copies[writing] if _fires(each, child, together=together)]
        again = sum(each.place in self.found for each in copies)
        written = [each for each in (self._fused if together else self._fired)[writing] if each.unit[0] == child]
        return written[max(0, len(written) - again) :]


def _fires(entry: Entry, child: str, *, together: bool) -> bool:
    """Whether it is a success that fires a successor, and runs it at once or not."""
    fact = entry.fact
    return isinstance(fact, facts.StepSucceeded) and child in fact.fired and (child in fact.fused) == together
