"""The records of one run as a graph of causes, and as the tree of its steps.

Edges come from `ce_cause` (an id, or the place of a record without one) and `ce_input` (the
consumed record). Two kinds of record name their cause otherwise: a timer's marker follows
from the fact that set the timer, a replay or discard from the dead letter that it names.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from farandole.definition.model import Definition
from farandole.events import facts
from farandole.events.commands import DiscardDeadLetter, ReplayDeadLetter
from farandole.ids import NO_ITEM
from farandole.lineage.entries import Entry

_Timer = tuple[str, str, int, int]
"""Kind, step, item, and of a retry its attempt: what a marker and the fact that set its timer have in common."""


class Lineage:
    """One run. `entries` in causal order: by time, then by place, as far as their writers' clocks agree.

    `definition`, where it is known, places a join under the parent that released it and names the others.
    """

    def __init__(self, run: str, entries: Iterable[Entry], definition: Definition | None = None) -> None:
        own = {each.place: each for each in entries if each.run == run}
        self.run = run
        self.definition = definition
        self.entries: tuple[Entry, ...] = tuple(sorted(own.values(), key=_order))
        self.fired = frozenset(step for each in self.entries for step in getattr(each.fact, "fired", ()))
        """Steps whose first trigger an agent wrote, as a fact tells: the trigger itself may have expired."""

        self._by_place = own
        self._by_id: dict[str, list[Entry]] = defaultdict(list)
        for each in self.entries:
            self._by_id[each.id].append(each)
        self._setters = _Setters(self.entries)
        self._causes = {each.place: tuple(self._find_causes(each)) for each in self.entries}
        self._effects: dict[str, list[Entry]] = defaultdict(list)
        for each in self.entries:
            for cause in self._causes[each.place]:
                self._effects[cause.place].append(each)

    def find(self, id_or_place: str) -> tuple[Entry, ...]:
        """Records of that id, or the one at that place; more than one only where an id was written twice."""
        at = self._by_place.get(id_or_place)
        return (at,) if at is not None else tuple(self._by_id.get(id_or_place, ()))

    def causes(self, entry: Entry) -> tuple[Entry, ...]:
        """What a record follows from directly."""
        return self._causes.get(entry.place, ())

    def effects(self, entry: Entry) -> tuple[Entry, ...]:
        """What follows from a record directly."""
        return tuple(self._effects.get(entry.place, ()))

    def up(self, id_or_place: str) -> tuple[Entry, ...]:
        """Everything that a record follows from, nearest first, down to the command that started the run."""
        return self._walk(id_or_place, self._causes)

    def down(self, id_or_place: str) -> tuple[Entry, ...]:
        """Everything that follows from a record, nearest first."""
        return self._walk(id_or_place, self._effects)

    @property
    def events(self) -> tuple[Entry, ...]:
        """Its facts, in the order of the log."""
        return tuple(sorted((e for e in self.entries if e.fact is not None), key=lambda e: (e.partition, e.offset)))

    @property
    def commands(self) -> tuple[Entry, ...]:
        """What was asked of it, forwarded copies included."""
        return tuple(each for each in self.entries if each.command is not None)

    @property
    def triggers(self) -> tuple[Entry, ...]:
        """Inbox records."""
        return tuple(each for each in self.entries if each.is_trigger)

    @property
    def dead_letters(self) -> tuple[Entry, ...]:
        """Dead letters."""
        return tuple(each for each in self.entries if each.is_dead_letter)

    @property
    def published(self) -> tuple[Entry, ...]:
        """What its handlers wrote to topics of the user's own."""
        return tuple(each for each in self.entries if each.is_published)

    def _walk(self, start: str, neighbours: Mapping[str, Sequence[Entry]]) -> tuple[Entry, ...]:
        front = [each.place for each in self.find(start)]
        seen, out = set(front), []
        while front:
            found = [each for place in front for each in neighbours.get(place, ())]
            front = []
            for each in found:
                if each.place not in seen:
                    seen.add(each.place)
                    front.append(each.place)
                    out.append(each)
        return tuple(out)

    def _find_causes(self, entry: Entry) -> Iterator[Entry]:
        named = [*self.find(entry.cause)] if entry.cause else []
        named += [*self.find(entry.input)] if entry.input else []
        named += self._setters.of(entry)
        if isinstance(entry.fact, facts.ReplayRequested | facts.DiscardRequested):
            named += self.find(entry.fact.dead_letter)
        if isinstance(entry.command, ReplayDeadLetter | DiscardDeadLetter):
            named += self.find(entry.command.dead_letter)
        seen = {entry.place}
        for each in named:
            if each.place not in seen and each.id != entry.id:
                seen.add(each.place)
                yield each


def _order(entry: Entry) -> tuple[object, ...]:
    return entry.time, entry.topic, entry.partition, entry.offset


class _Setters:
    """Which fact set the timer that a marker tells of: the last one of its kind before the marker.

    Indexed once: a map of a thousand items has as many timers as retries, and each would look at all facts.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._by_timer: dict[_Timer, list[Entry]] = defaultdict(list)
        for each in sorted(entries, key=lambda e: e.offset):
            timer = _set_by(each.fact)
            if timer is not None:
                self._by_timer[timer].append(each)

    def of(self, entry: Entry) -> list[Entry]:
        """The fact behind a timer's marker; none for anything else."""
        timer = _told_by(entry.fact)
        setters = self._by_timer.get(timer, []) if timer is not None else []
        before = bisect_left(setters, entry.offset, key=lambda e: e.offset)
        return setters[before - 1 : before] if before else []


def _set_by(fact: facts.Event | None) -> _Timer | None:
    match fact:
        case facts.RetryScheduled(step=step, item=item, attempt=attempt):
            return "retry", step, item, attempt
        case facts.RunStarted():
            return "run", "", NO_ITEM, 0
        case facts.RunStopping():
            return "stop", "", NO_ITEM, 0
        case facts.RunHeld(step=step, item=item):
            return "hold", step, item, 0
        case facts.StepScheduled(step=step, item=item, deadline=deadline) if deadline is not None:
            return "step", step, item, 0
        case _:
            return None


def _told_by(fact: facts.Event | None) -> _Timer | None:
    match fact:
        case facts.RetryDue(step=step, item=item, attempt=attempt):
            return "retry", step, item, attempt
        case facts.DeadlinePassed(scope="run" | "stop" as scope):
            return scope, "", NO_ITEM, 0
        case facts.DeadlinePassed(scope=scope, step=step, item=item):
            return scope, step, item, 0
        case _:
            return None
