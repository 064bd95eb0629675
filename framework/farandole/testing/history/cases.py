"""The history sorted for judging: look-ups over all records, and one case per run.

Only runs whose start is on the log are judged one by one: of others too much may have expired.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from farandole.definition.graph import Graph, graph_of
from farandole.definition.model import Definition
from farandole.events import facts
from farandole.ids import NO_ITEM, partition_of
from farandole.lineage.entries import Entry
from farandole.lineage.tree import unit_text
from farandole.testing.history.repeats import Readings, readings_of, repeats_of
from farandole.testing.history.report import History, Violation
from farandole.testing.history.standing import Standing, final
from farandole.testing.history.story import folded_at, story

MARGIN = timedelta(seconds=30)
"""How old a record must be before a missing counterpart is a violation: topics of a live cluster are read one after
the other, and a transaction lasts 10 s at most (R14)."""

AttemptKey = tuple[str, int, int]
"""Step, item and attempt, within a run."""


@dataclass(slots=True)
class Case:
    """One run. `starts`: its `RunStarted`, more than one only after it was forgotten and started again.

    `repeats`: the places, of this run and of others, of what stands twice because a person let it be read again.
    """

    run: str
    starts: tuple[Entry, ...]
    definition: Definition | None
    events: tuple[Entry, ...] = ()
    story: tuple[Entry, ...] = ()
    triggers: dict[AttemptKey, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    reports: dict[AttemptKey, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    dead: list[Entry] = field(default_factory=list)
    settled: list[Entry] = field(default_factory=list)
    repeats: frozenset[str] = frozenset()
    void: tuple[Entry, ...] = ()
    """Direct starts that were refused: they began nothing."""

    is_folded: bool = False
    """Whether the coordinator has folded all of its facts, so that what must follow must be there."""

    strangers: list[tuple[str, Entry]] = field(default_factory=list)
    """Steps that its definition does not have, and the records that name them."""

    garbled: list[Entry] = field(default_factory=list)
    """Events of which the value names another run, step, item or attempt than the headers."""

    _kinds: set[type] = field(default_factory=set)
    _by_id: dict[str, Entry] = field(default_factory=dict)
    _by_cause: dict[str, list[Entry]] = field(default_factory=dict)

    def is_repeat(self, entry: Entry) -> bool:
        """Whether it stands there once more for an act of a person, and is to have no effect."""
        return entry.place in self.repeats

    def own(self, entries: Iterable[Entry]) -> list[Entry]:
        """Those that are no repeats."""
        return [each for each in entries if not self.is_repeat(each)]

    @property
    def graph(self) -> Graph:
        """The graph of its definition."""
        assert self.definition is not None
        return graph_of(self.definition)

    @property
    def is_judged(self) -> bool:
        """Whether its story can be followed: one start, and a definition that is known."""
        return len(self.starts) == 1 and self.definition is not None and not self.strangers and not self.garbled

    def take_in(self) -> None:
        """Look once at what stands there: predicates ask for it again and again."""
        triggers = [each for several in self.triggers.values() for each in several]
        self.strangers = list(_strangers(self.definition, [*self.events, *triggers]))
        self.garbled = [each for each in self.events if _is_garbled(each)]
        self._kinds = {type(each.fact) for each in self.events}
        for each in self.events:
            self._by_id.setdefault(each.id, each)
            self._by_cause.setdefault(each.cause, []).append(each)

    def has(self, *kinds: type[facts.Event]) -> bool:
        """Whether there is any event of these kinds: most runs never stop, nor fail, and need not be walked for it."""
        return not self._kinds.isdisjoint(kinds)

    def cause_of(self, entry: Entry) -> Entry | None:
        """The event of this run that an event follows from, the first of its copies; None if there is none."""
        return self._by_id.get(entry.cause)

    def following(self, entry: Entry) -> list[facts.Event]:
        """What events of this run name it as their cause: one decision, or its repeats."""
        return [each.fact for each in self._by_cause.get(entry.id, ()) if each.fact is not None]

    def final(self) -> Standing:
        """How it stands after all that is known."""
        return final(self.graph, self.story)

    def broken(self, invariant: str, message: str, *evidence: Entry) -> Violation:
        """A violation of this run."""
        return Violation(invariant, self.run, message, tuple(each.place for each in evidence))


def _strangers(definition: Definition | None, entries: Iterable[Entry]) -> Iterator[tuple[str, Entry]]:
    if definition is None:
        return
    for each in entries:
        for name in _named(each):
            if name not in definition.steps:
                yield name, each


def _is_garbled(entry: Entry) -> bool:
    """Whether an event's value is about something else than its headers: kernel and readers would not agree on it."""
    fact = entry.fact
    if fact is None or entry.envelope is None:
        return False
    said = (
        fact.run,
        getattr(fact, "step", ""),
        getattr(fact, "item", NO_ITEM),
        getattr(fact, "attempt", 0),
    )
    return said != (entry.run, *entry.unit, entry.attempt)


def _named(entry: Entry) -> tuple[str, ...]:
    fired = entry.fact.fired if isinstance(entry.fact, facts.StepSucceeded) else ()
    return (*filter(None, [entry.unit[0]]), *fired)


@dataclass(slots=True)
class Docket:
    """The history with look-ups. `cases` hold every run that anything says something about, foreign ones left out."""

    history: History
    by_id: Mapping[str, list[Entry]]
    by_place: Mapping[str, Entry]
    cases: Mapping[str, Case]
    judged: tuple[Case, ...] = ()
    """The runs whose story can be followed."""

    readings: Readings = field(default_factory=Readings)

    def home_of(self, run: str) -> int | None:
        """The run's home partition; None if P is not known."""
        count = self.history.home_partitions
        return partition_of(run, count) if count else None

    def is_old(self, entry: Entry) -> bool:
        """Whether what belongs to a record must have been seen too: while the log goes on, only after a while."""
        now = self.history.now
        return self.history.quiescent or now is None or entry.time < now - MARGIN

    def is_past(self, instant: datetime) -> bool:
        """Whether an instant is so long gone that what it was to bring must have been seen."""
        now = self.history.now
        return now is not None and instant < now - MARGIN

    def may_have_expired(self, place: str) -> bool:
        """Whether a record at that place may be missing because its topic no longer keeps it."""
        topic, _, rest = place.rpartition("/")[0].rpartition("/")
        offset = place.rpartition("/")[2]
        if not rest.isdigit() or not offset.isdigit():
            return False
        span = self.history.spans.get((topic, int(rest)))
        return span is not None and int(offset) < span.begin


def docket_of(history: History) -> Docket:
    """The history, sorted."""
    by_id: dict[str, list[Entry]] = defaultdict(list)
    by_place: dict[str, Entry] = {}
    for each in history.entries:
        by_id[each.id].append(each)
        by_place[each.place] = each
    readings = readings_of(history)
    cases = _cases(history, repeats_of(history, readings))
    reached = _folded(history)
    for case in cases.values():
        case.story = story(case.events)
        told = [each for each in case.events if not each.is_consequence]
        last = max(told, key=lambda e: e.offset, default=None)
        case.is_folded = last is None or reached.get(last.partition, 0) > last.offset
        case.take_in()
    judged = tuple(case for case in cases.values() if case.is_judged)
    return Docket(history, dict(by_id), by_place, cases, judged, readings)


def _cases(history: History, repeats: frozenset[str]) -> dict[str, Case]:
    events = _by_run(history.events)
    triggers, dead, settled = _by_run(history.inboxes), _by_run(history.dead), _by_run(history.settled)
    cases: dict[str, Case] = {}
    for run in dict.fromkeys([*events, *triggers, *dead, *settled]):
        if run in history.foreign:
            continue
        own = tuple(sorted(events.get(run, ()), key=lambda e: (e.partition, e.offset)))
        void = _refused(own)
        starts = tuple(
            e for e in own if isinstance(e.fact, facts.RunStarted) and e.place not in repeats and e not in void
        )
        case = cases[run] = Case(run, starts, _definition(history, starts), own, repeats=repeats, void=void)
        for each in triggers.get(run, ()):
            if each.is_trigger:
                case.triggers[*each.unit, each.attempt].append(each)
        for each in own:
            if isinstance(each.fact, facts.AgentFact):
                case.reports[*each.unit, each.attempt].append(each)
        case.dead.extend(dead.get(run, ()))
        case.settled.extend(settled.get(run, ()))
    return cases


def _refused(own: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Direct starts that were refused because their id was too old."""
    named = {e.cause for e in own if isinstance(e.fact, facts.RunRefused) and e.fact.reason == "expired_id"}
    begun = [e for e in own if isinstance(e.fact, facts.RunStarted) and e.fact.fired and e.id in named]
    # A copy that was written again has the id of the first one, which may have stood: the last ones are refused.
    return tuple(begun[1:] or begun)


def _by_run(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    out: dict[str, list[Entry]] = defaultdict(list)
    for each in entries:
        if each.run:
            out[each.run].append(each)
    return out


def _definition(history: History, starts: tuple[Entry, ...]) -> Definition | None:
    first = starts[0].fact if starts else None
    return history.definitions.get(first.definition) if isinstance(first, facts.RunStarted) else None


def _folded(history: History) -> dict[int, int]:
    """How far each partition of `events` is known to be folded: by commits, or by what consequences say."""
    reached: dict[int, int] = defaultdict(int)
    for each in history.events:
        folded = folded_at(each)
        if folded is not None:
            reached[folded[0]] = max(reached[folded[0]], folded[1])
    for committed in history.committed:
        if committed.topic == history.topics.events:
            reached[committed.partition] = max(reached[committed.partition], committed.position)
    return reached


def fired_apart(entry: Entry) -> list[str]:
    """What a success fired by a trigger, and did not run at once."""
    fact = entry.fact
    return [name for name in fact.fired if name not in fact.fused] if isinstance(fact, facts.StepSucceeded) else []


def attempt_text(key: AttemptKey) -> str:
    """`attempt 2 of clean[14]`."""
    return f"attempt {key[2]} of {unit_text(key[:2])}"
