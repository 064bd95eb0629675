"""Reports triggers that seem lost; it never triggers (DESIGN section 6.8).

A scheduled attempt that stood two looks is suspicious: the read-uncommitted end of its inbox
partition is noted, and only when the inbox's committed position has passed that end without
a result is it suspected. A backlog of hours never is. The suspicion is a marker fact: it is
judged again when it is read back, after every result that stands before it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from farandole.coordinator.home import Home
from farandole.coordinator.settings import CoordinatorSettings
from farandole.errors import TransportError
from farandole.events.facts import TriggerSuspected
from farandole.ids import inbox_key, partition_of
from farandole.kernel.state import Phase, Run, Status
from farandole.transport.port import Isolation, ReadEnds, ReadPositions, Reply, Request, TopicPartition

Ask = Callable[[Request, Callable[[Reply], None]], None]


@dataclass(slots=True)
class Suspicion:
    """One scheduled attempt: where its trigger must be, and the end that its inbox must pass."""

    fact: TriggerSuspected
    at: TopicPartition
    group: str
    end: int | None = None


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
    """`seen`: attempts found scheduled at the last look; `suspected`: facts to write, by home."""

    settings: CoordinatorSettings
    ask: Ask
    inboxes: Inboxes
    home_partitions: int
    next_look: float = 0.0
    seen: dict[TriggerSuspected, Suspicion | None] = field(default_factory=dict)
    suspected: dict[int, list[TriggerSuspected]] = field(default_factory=lambda: defaultdict(list))

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
        self.seen = {fact: self._second_look(fact, run) for fact, run in standing.items()}
        self._ask_ends([s for s in self.seen.values() if s is not None and s.end is None])
        self._ask_positions([s for s in self.seen.values() if s is not None and s.end is not None])
        return True

    def take(self, home: int) -> list[TriggerSuspected]:
        """Suspicions to write for a home; they are told once."""
        return self.suspected.pop(home, [])

    def _second_look(self, fact: TriggerSuspected, run: Run) -> Suspicion | None:
        if fact not in self.seen:
            return None
        known = self.seen[fact]
        if known is not None:
            return known
        agent = run.graph.step(fact.step).agent
        unit, topic = self.inboxes.unit_of(agent), self.settings.topics.inbox(agent)
        if unit is None or not (count := self.inboxes.size(topic)):
            return None
        at = TopicPartition(topic, partition_of(inbox_key(fact.run, fact.step, fact.item), count))
        return Suspicion(fact, at, self.settings.topics.group(unit))

    def _ask_ends(self, suspicions: list[Suspicion]) -> None:
        if not suspicions:
            return

        def answered(reply: Reply) -> None:
            for suspicion in suspicions:
                suspicion.end = reply.ends.get(suspicion.at)

        self.ask(ReadEnds(sorted({s.at for s in suspicions}), Isolation.UNCOMMITTED), answered)

    def _ask_positions(self, suspicions: list[Suspicion]) -> None:
        by_group: dict[str, list[Suspicion]] = defaultdict(list)
        for suspicion in suspicions:
            by_group[suspicion.group].append(suspicion)
        for group, members in by_group.items():
            wanted = sorted({s.at for s in members})
            self.ask(ReadPositions(wanted, stable=True, group=group), self._judge(members))

    def _judge(self, suspicions: list[Suspicion]) -> Callable[[Reply], None]:
        def answered(reply: Reply) -> None:
            for suspicion in suspicions:
                position = reply.positions.get(suspicion.at)
                passed = position is not None and suspicion.end is not None and position.offset >= suspicion.end
                if passed and suspicion.fact in self.seen:
                    home = partition_of(suspicion.fact.run, self.home_partitions)
                    self.suspected[home].append(suspicion.fact)

        return answered


def _scheduled(run: Run) -> Iterator[TriggerSuspected]:
    """The attempts of a running run that have a trigger and no result."""
    if run.is_settled or run.head.phase is not Phase.RUNNING or run.head.kernel_error or not run.head.waiting:
        return
    for step, item, unit in run.units():
        if unit.status is Status.SCHEDULED:
            yield TriggerSuspected(run.id, step, unit.attempt, item)
