"""What a coordinator shows of itself: its metrics, its readiness, the partitions whose lag is its own.

Reads, never writes. All but `unready` may be called from another thread: what is copied is copied
in one step, and may be a moment old.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from farandole.coordinator.building import Builder
from farandole.coordinator.claimed import Claimed, Stage
from farandole.coordinator.definitions import DefinitionTable
from farandole.coordinator.home import Home
from farandole.coordinator.intake import halves
from farandole.coordinator.restore import Restore
from farandole.coordinator.takeover import Takeover
from farandole.definition.model import Definition
from farandole.errors import NotJoined
from farandole.events.topics import Topics
from farandole.kernel.state import ms
from farandole.telemetry import catalogue as m
from farandole.telemetry.samples import Sample, by_word, from_zero, plain, words_of
from farandole.transport.port import Member, TopicPartition

OUTCOMES = ("succeeded", "partial", "failed", "cancelled", "timed_out")
STATES = ("running", "held", "stopping")


@dataclass(frozen=True, slots=True)
class View:
    """The parts of a loop that there is something to say about."""

    builder: Builder
    takeover: Takeover
    restore: Restore
    definitions: DefinitionTable
    member: Member
    topics: Topics
    homes: Mapping[int, Home]

    def samples(self, now: datetime, stale_after: timedelta) -> Iterator[Sample]:
        """Every metric of a coordinator loop."""
        applied = self.definitions.applied()
        yield from self._counted(applied)
        homes = self._homes()
        live = self.builder.measures.states()
        total = sum(len(home.runs) + len(home.standing) for home in homes)
        yield from_zero(m.RUNS, live, ((it.name, state) for it in applied for state in STATES))
        stale = self.builder.measures.stale(ms(now - stale_after))
        yield from_zero(m.RUNS_STALE, stale, ((it.name,) for it in applied))
        yield by_word(m.HOMES, dict.fromkeys((stage.value for stage in Stage), 0) | self._stages())
        yield m.STATE_RUNS, {("live",): sum(live.values()), ("ended",): total - sum(live.values())}
        yield plain(m.TIMERS, sum(len(home.timers) for home in homes))
        yield plain(m.BUFFERED, sum(len(home.events) + len(home.commands) for home in homes))
        yield plain(m.RESTORED_RECORDS, self.restore.read)
        yield plain(m.WENT_BACK, self.builder.measures.went_back)

    def unready(self) -> list[str]:
        """Why it does not serve all of its homes yet; belongs to the loop's thread, between two steps."""
        reasons = [] if self.definitions.is_ready else ["`definitions` is not read to its end yet"]
        try:
            self.member.snapshot()
        except NotJoined:
            reasons.append("it has not joined its group yet")
        claimed = self._claimed()
        coming = sorted(c.home.number for c in claimed if not c.why)
        stopped = sorted(c.home.number for c in claimed if c.why)
        if coming:
            reasons.append(f"homes are being taken over and restored: {', '.join(map(str, coming))}")
        if stopped:
            reasons.append(f"homes are stopped and need a person, the log says why: {', '.join(map(str, stopped))}")
        if alone := halves(self.member.assignment(), self.topics):
            reasons.append(
                f"homes of which it has one half only: {', '.join(f'{at.topic}/{at.partition}' for at in alone)}"
            )
        return reasons

    def positions(self) -> dict[TopicPartition, int]:
        """How far its homes have folded `events` and `commands`, those too that it does not serve yet."""
        served = [home.places(self.topics) for home in self._homes()]
        coming = [claimed.folded_to(self.topics) for claimed in self._claimed()]
        return {at: position for places in (*coming, *served) for at, position in places.items()}

    def kept(self) -> list[TopicPartition]:
        """The partitions of which it tells how old their oldest record is."""
        topics = (self.topics.events, self.topics.settled, self.topics.runs)
        return [TopicPartition(topic, home.number) for topic in topics for home in self._homes()]

    def _counted(self, applied: Sequence[Definition]) -> Iterator[Sample]:
        it = self.builder.measures
        steps = [(each.name, step) for each in applied for step in each.steps]
        ends = ((each.name, outcome) for each in applied for outcome in OUTCOMES)
        yield from_zero(m.RUNS_STARTED, it.started.copy(), ((each.name,) for each in applied))
        yield from_zero(m.RUNS_SETTLED, it.settled.copy(), ends)
        yield from_zero(m.RUNS_REFUSED, it.refused.copy(), words_of(m.RUNS_REFUSED))
        yield m.RUN_START_DELAY, it.start_delay
        yield m.RUN_DURATION, it.duration
        yield m.RUN_HOLD, it.hold
        yield m.STEP_ATTEMPTS, it.attempts.copy()
        yield from_zero(m.RETRIES, it.retries.copy(), steps)
        yield from_zero(m.DEAD_LETTERS, it.dead_letters.copy(), steps)
        yield m.REPLAYS, it.replays.copy()
        yield m.RESTORE, it.restore
        yield m.TRANSACTIONS, it.transactions
        words = dict(self.builder.words)
        for metric, prefix in ((m.EVENTS, "event_"), (m.COMMANDS, "command_")):
            yield by_word(metric, {w.removeprefix(prefix): n for w, n in words.items() if w.startswith(prefix)})

    def _stages(self) -> Counter[str]:
        return Counter({"running": len(self.homes), **Counter(c.stage.value for c in self._claimed())})

    def _homes(self) -> list[Home]:
        return list(self.homes.values())

    def _claimed(self) -> list[Claimed]:
        return list(self.takeover.claimed.values())
