"""Reports triggers that seem lost; it never triggers (DESIGN section 6.8).

A scheduled attempt that stood two looks is suspicious: the read-uncommitted ends of its inbox
are noted, and only when the committed positions have passed them all without a result is it
suspected. All, since nobody knows where its trigger stands: it was placed by the number of
partitions that the inbox had then. A backlog of hours is never suspected. The suspicion is a
marker fact: it is judged again when it is read back, after every result that stands before it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from farandole.coordinator.home import Home
from farandole.coordinator.settings import CoordinatorSettings
from farandole.errors import TransportError
from farandole.events.facts import TriggerSuspected
from farandole.ids import partition_of
from farandole.kernel.state import Phase, Run, Status
from farandole.transport.port import Isolation, Position, ReadEnds, ReadPositions, Reply, Request, TopicPartition

Ask = Callable[[Request, Callable[[Reply], None]], None]


@dataclass(slots=True, eq=False)
class Noted:
    """Where all partitions of an inbox ended at one look, for all whose triggers stand before; empty: not known."""

    group: str
    partitions: tuple[TopicPartition, ...]
    ends: Mapping[TopicPartition, int] = field(default_factory=dict)

    def is_passed(self, positions: Mapping[TopicPartition, Position | None]) -> bool:
        """Whether the group has consumed all that stood there."""
        return bool(self.ends) and all(
            (position := positions.get(at)) is not None and position.offset >= end for at, end in self.ends.items()
        )


@dataclass(slots=True)
class Inboxes:
    """How the watchdog finds an inbox: partitions of a topic, and the unit that consumes an agent's inbox.

    `partitions` asks the log, blocking, and is 0 if there is no such topic. What it told is kept for one look: an inbox
    may be given more partitions. Once it got no answer it is left alone until the next look.
    """

    partitions: Callable[[str], int]
    unit_of: Callable[[str], str | None]
    known: dict[str, int] = field(default_factory=dict)
    is_away: bool = False

    def look_again(self) -> None:
        """Forget what was told."""
        self.known.clear()
        self.is_away = False

    def size(self, topic: str) -> int:
        """How many partitions an inbox has; 0 if nobody knows now."""
        if topic in self.known or self.is_away:
            return self.known.get(topic, 0)
        try:
            count = self.partitions(topic)
        except TransportError:
            self.is_away = True
            return 0
        if count:
            self.known[topic] = count
        return count


@dataclass(slots=True)
class Watchdog:
    """`seen`: attempts found scheduled at the last look; `suspected`: facts to write, by home, each once, in order."""

    settings: CoordinatorSettings
    ask: Ask
    inboxes: Inboxes
    home_partitions: int
    next_look: float = 0.0
    seen: dict[TriggerSuspected, Noted | None] = field(default_factory=dict)
    suspected: dict[int, dict[TriggerSuspected, None]] = field(default_factory=lambda: defaultdict(dict))

    def step(self, monotonic: float, homes: Iterable[Home]) -> bool:
        """Look, if it is time; whether it was."""
        if monotonic < self.next_look:
            return False
        first = self.next_look == 0.0
        self.next_look = monotonic + self.settings.watch_every.total_seconds()
        if first:
            return False
        self.inboxes.look_again()
        standing = {fact: run for home in homes for run in home.runs.values() for fact in _scheduled(run)}
        fresh: dict[str, Noted] = {}
        self.seen = {fact: self._second_look(fact, run, fresh) for fact, run in standing.items()}
        noted = {each for each in self.seen.values() if each is not None}
        self._ask_ends([each for each in noted if not each.ends])
        self._ask_positions([each for each in noted if each.ends])
        return True

    def take(self, home: int) -> list[TriggerSuspected]:
        """Suspicions to write for a home; they are told once."""
        return list(self.suspected.pop(home, {}))

    def suspects(self, home: int) -> bool:
        """Whether there are such."""
        return home in self.suspected

    def _second_look(self, fact: TriggerSuspected, run: Run, fresh: dict[str, Noted]) -> Noted | None:
        """What was noted of its inbox when it grew suspicious; `fresh` are those of this look, by topic."""
        if (known := self.seen.get(fact)) is not None or fact not in self.seen:
            return known
        agent = run.graph.step(fact.step).agent
        unit, topic = self.inboxes.unit_of(agent), self.settings.topics.inbox(agent)
        if unit is None or not (count := self.inboxes.size(topic)):
            return None
        if topic not in fresh:
            places = tuple(TopicPartition(topic, number) for number in range(count))
            fresh[topic] = Noted(self.settings.topics.group(unit), places)
        return fresh[topic]

    def _ask_ends(self, unknown: list[Noted]) -> None:
        if not unknown:
            return

        def answered(reply: Reply) -> None:
            for noted in unknown:
                if reply.ends.keys() >= set(noted.partitions):
                    noted.ends = {at: reply.ends[at] for at in noted.partitions}

        wanted = sorted({at for noted in unknown for at in noted.partitions})
        self.ask(ReadEnds(wanted, Isolation.UNCOMMITTED), answered)

    def _ask_positions(self, known: list[Noted]) -> None:
        by_group: dict[str, list[Noted]] = defaultdict(list)
        for noted in known:
            by_group[noted.group].append(noted)
        for group, members in sorted(by_group.items()):
            wanted = sorted({at for noted in members for at in noted.partitions})
            self.ask(ReadPositions(wanted, stable=True, group=group), self._judge(members))

    def _judge(self, members: list[Noted]) -> Callable[[Reply], None]:
        def answered(reply: Reply) -> None:
            passed = {noted for noted in members if noted.is_passed(reply.positions)}
            for fact, noted in self.seen.items() if passed else ():
                if noted in passed:
                    self.suspected[partition_of(fact.run, self.home_partitions)][fact] = None

        return answered


def _scheduled(run: Run) -> Iterator[TriggerSuspected]:
    """The attempts of a running run that have a trigger and no result."""
    if run.is_settled or run.head.phase is not Phase.RUNNING or run.head.kernel_error or not run.head.waiting:
        return
    for step, item, unit in run.units():
        if unit.status is Status.SCHEDULED:
            yield TriggerSuspected(run.id, step, unit.attempt, item)
