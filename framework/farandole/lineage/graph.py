"""The records of one run as a graph of causes, and as the tree of its steps.

Edges come from `ce_cause` (an id, or the place of a record without one) and `ce_input` (the
consumed record). Two kinds of record name their cause otherwise: a timer's marker follows
from the fact that set the timer, a replay or discard from the dead letter that it names.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from farandole.definition.model import Definition
from farandole.events import facts
from farandole.events.commands import DiscardDeadLetter, ReplayDeadLetter
from farandole.lineage.entries import Entry


class Lineage:
    """One run. `entries` in causal order: by time, then by place, as far as their writers' clocks agree.

    `definition`, where it is known, places a join under the parent that released it and names the others.
    """

    def __init__(self, run: str, entries: Iterable[Entry], definition: Definition | None = None) -> None:
        own = {each.place: each for each in entries if each.run == run}
        self.run = run
        self.definition = definition
        self.entries: tuple[Entry, ...] = tuple(sorted(own.values(), key=_order))
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
    """Which fact set the timer that a marker tells of: the last one of its kind before the marker."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = [each for each in entries if each.fact is not None]

    def of(self, entry: Entry) -> list[Entry]:
        """The fact behind a timer's marker; none for anything else."""
        marker = entry.fact
        match marker:
            case facts.RetryDue():
                found = [e for e in self._entries if _sets_retry(e.fact, marker)]
            case facts.DeadlinePassed():
                found = [e for e in self._entries if _sets_deadline(e.fact, marker)]
            case _:
                return []
        before = [each for each in found if each.offset < entry.offset]
        return before[-1:]


def _sets_retry(fact: facts.Event | None, due: facts.RetryDue) -> bool:
    match fact:
        case facts.RetryScheduled(step=due.step, item=due.item, attempt=due.attempt):
            return True
        case _:
            return False


def _sets_deadline(fact: facts.Event | None, passed: facts.DeadlinePassed) -> bool:
    match passed.scope, fact:
        case "run", facts.RunStarted():
            return True
        case "stop", facts.RunStopping():
            return True
        case "hold", facts.RunHeld(step=passed.step, item=passed.item):
            return True
        case "step", facts.StepScheduled(step=passed.step, item=passed.item, deadline=deadline):
            return deadline is not None
        case _:
            return False
