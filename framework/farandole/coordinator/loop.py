"""The coordinator as a loop that can be stepped by hand, by a thread or by a simulator.

Each step takes replies, polls, moves takeovers on, and submits the next transaction if none
is under way. Nothing here blocks but `poll` and `replies`, no longer than `wait`.
"""

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from farandole.artifacts import ArtifactStore
from farandole.clock import Clock
from farandole.coordinator.asking import Asking
from farandole.coordinator.building import Builder
from farandole.coordinator.claimed import Claimed, Stage
from farandole.coordinator.definitions import DefinitionTable
from farandole.coordinator.flight import Flight
from farandole.coordinator.home import Home
from farandole.coordinator.intake import Intake, halves
from farandole.coordinator.logclock import Instants
from farandole.coordinator.measures import Measures
from farandole.coordinator.refold import Refold
from farandole.coordinator.repair import Repair
from farandole.coordinator.restore import Restore
from farandole.coordinator.settings import CoordinatorSettings
from farandole.coordinator.takeover import Takeover
from farandole.coordinator.view import View
from farandole.coordinator.watchdog import Inboxes, Watchdog
from farandole.coordinator.writing import Writer
from farandole.kernel.decision import Moment
from farandole.kernel.state import ms
from farandole.transport.port import (
    End,
    Record,
    TopicPartition,
    Transport,
    Trouble,
)

log = logging.getLogger("farandole.coordinator")


@dataclass(frozen=True, slots=True)
class Environment:
    """What a loop is given from outside: the log, time, chance and artifacts."""

    transport: Transport
    clock: Clock
    artifacts: ArtifactStore
    draw: Callable[[], float] = random.random


class CoordinatorLoop:
    """One coordinator process's share of the home partitions."""

    def __init__(self, environment: Environment, settings: CoordinatorSettings, partitions: int) -> None:
        self._env = environment
        self._settings = settings
        self._topics = settings.topics
        self.partitions = partitions
        self._member = environment.transport.member(settings.member())
        self._time = Instants(environment.clock)
        self._asking = Asking(self._member, environment.clock, measures := Measures())
        ask = self._asking.ask
        self._definitions = DefinitionTable(environment.transport, settings.topics, settings.client_id, ask)
        reader, graph = environment.transport.reader, self._definitions.graph
        repair = Repair(lambda: reader(settings.client_id + ".repair"), self._topics.events, graph)
        self._restore = Restore(reader(settings.client_id + ".restore"), self._topics.runs, graph, repair)
        self._takeover = Takeover(self._topics, settings.client_id, ask)
        self._watchdog = Watchdog(settings, ask, self._inboxes(), partitions)
        self._refold = Refold(lambda: reader(settings.client_id + ".refold"))
        monotonic = environment.clock.monotonic
        self._builder = Builder(
            settings,
            self._moment,
            environment.artifacts,
            self._watchdog.take,
            self._refold,
            monotonic,
            measures=measures,
        )
        self._writer = Writer(
            settings,
            self._member,
            ask,
            self._builder,
            self._definitions,
            environment.artifacts,
            partitions,
            self._time.now,
            self._epoch_committed,
            self._doubted,
        )
        self._intake = Intake(self._member, settings.topics)
        self._releasing: set[int] = set()
        self._told_unreachable = -60.0
        self._quiet_since = 0.0
        self._is_closed = False
        self.homes: dict[int, Home] = {}
        self.view = View(
            self._builder, self._takeover, self._restore, self._definitions, self._member, self._topics, self.homes
        )
        self._member.subscribe([self._topics.commands, self._topics.events], self)

    # --- one step -----------------------------------------------------------------------

    def step(self, wait: float) -> bool:
        """Do what can be done now, waiting at most `wait` seconds for something to do; whether anything was done.

        Raises:
            FatalTransportError: this process must be started anew.
        """
        busy = self._asking.waits
        self._time.waited()
        did = self._asking.take(wait if busy else 0.0)
        did |= self._poll(0.0 if busy or did else self._patience(wait))
        self._time.waited()
        now = self._env.clock.monotonic()
        did |= self._definitions.step(now)
        did |= self._takeover.step(now, may_fence=self._writer.is_free)
        self._takeover.look_again(now)
        self._takeover.tell_slow(now)
        self._take_back()
        did |= self._restored()
        did |= self._refold.step()
        did |= self._watchdog.step(self._env.clock.monotonic(), self.homes.values())
        did |= self._submit()
        return did | self._intake.caught_up(self.homes)

    def next_due(self) -> datetime | None:
        """When there is something to do by itself, such as a timer to write, for whoever drives virtual time."""
        timers = [home.next_due for home in self.homes.values() if home.next_due is not None]
        others = [self._writer.draft_due(home) for home in self.homes.values()]
        others += [self._takeover.next_due, self._definitions.next_due, self._writer.look_due]
        waits = [due for due in others if due is not None]
        rest_ms = max(0, self._writer.waits_until - ms(self._time.now()))
        if rest_ms and any(home.has_unread for home in self.homes.values()):
            timers.append(self._writer.waits_until)
        if not timers and not waits:
            return None
        aheads = [(min(timers) - ms(self._time.now())) / 1000] if timers else []
        aheads += [min(waits) - self._env.clock.monotonic()] if waits else []
        return self._env.clock.now() + timedelta(seconds=max(rest_ms / 1000, min(aheads)))

    @property
    def client_id(self) -> str:
        """Its name in the group and as a writer."""
        return self._settings.client_id

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way or waiting to be folded; timers may still be ahead."""
        waiting = any(home.events or home.commands for home in self.homes.values())
        return not (self._asking.waits or self._takeover.claimed or waiting)

    def close(self) -> None:
        """Leave the group, homes released cleanly, and free everything; doing it twice is harmless."""
        if self._is_closed:
            return
        self._is_closed = True
        self._member.close()
        self._restore.close()
        self._refold.close()
        self._definitions.close()

    # --- polling ------------------------------------------------------------------------

    def _patience(self, wait: float) -> float:
        """How long a poll may wait: not past the next timer, and not while a restore is under way."""
        if self._restore.has_more:
            return 0.0
        if self._restore.reading or self._takeover.is_moving:
            return min(wait, 0.005)
        due = self.next_due()
        if due is None:
            return wait
        return max(0.0, min(wait, (due - self._env.clock.now()).total_seconds()))

    def _poll(self, wait: float) -> bool:
        polled = self._member.poll(wait)
        for item in polled:
            if isinstance(item, Record):
                home = self.homes.get(item.partition)
                if home is not None:
                    (home.events if item.topic == self._topics.events else home.commands).append(item)
            elif isinstance(item, End):
                self._at_end(item)
            else:
                self._trouble(item)
        self._intake.throttle(self.homes.values(), came=bool(polled))
        return bool(polled)

    def _at_end(self, end: End) -> None:
        """Nothing is left before the end but what is buffered, markers and gaps."""
        home = self.homes.get(end.at.partition)
        if home is None:
            return
        if end.at.topic == self._topics.events:
            home.ended(end.position, 0)
        elif end.at.topic == self._topics.commands:
            home.ended(0, end.position)

    def _trouble(self, trouble: Trouble) -> None:
        now = self._env.clock.monotonic()
        if trouble.at is None:
            if now - self._told_unreachable >= 60:
                self._told_unreachable = now
                log.warning("the log is unreachable: %s; trying again", trouble.error)
            return
        log.error("%s/%d does not deliver: %s (%s)", *trouble.at, trouble.error, trouble.kind)
        home = self.homes.get(trouble.at.partition)
        if (
            home is not None
            and trouble.kind == "position_out_of_range"
            and trouble.at in self._intake.pair(home.number)
        ):
            self._stop(home, trouble.at)

    def _stop(self, home: Home, at: TopicPartition) -> None:
        """Records that were not folded are gone: to go on elsewhere would lose them without a word (R8)."""
        del self.homes[home.number]
        self._intake.stop(home.number)
        self._refold.drop(home.number)
        self._begin(home.number)
        refused = dict(zip((self._topics.events, self._topics.commands), home.committed_at, strict=True))[at.topic]
        self._takeover.refuse(home.number, at, refused)

    def _inboxes(self) -> Inboxes:
        """How the watchdog finds an inbox."""

        def partitions(topic: str) -> int:
            admin = self._env.transport.admin()
            try:
                found = admin.topics([topic])
            finally:
                admin.close()
            return found[topic].partitions if topic in found else 0

        return Inboxes(partitions, self._definitions.unit_of)

    # --- taking over ----------------------------------------------------------------------

    def _restored(self) -> bool:
        fresh = self._takeover.at(Stage.RESTORE)
        waiting = [c for c in fresh if not self._restore.has(c.home.number)]
        # A definition may have been applied, and a run begun, since the table was last read (R13).
        ready = self._definitions.is_ready
        if to_read := [c for c in waiting if c.keeps_state or (ready and self._definitions.has_read(c.definitions))]:
            self._restore.begin(to_read)
        done = self._restore.step(self._settings.restore_slice)
        for claimed in done:
            self._run(claimed)
        return bool(done)

    def _run(self, claimed: Claimed) -> None:
        """The home is ours, its state is here: take records from where it was folded."""
        home = claimed.home
        self._builder.measures.went_back += claimed.went_back
        self._time.raise_to(claimed.told_by_its_last_owner)  # with what `runs` says of it
        self._takeover.drop(home.number)
        self.homes[home.number] = home
        self._builder.measures.running(home, self._env.clock.monotonic(), ms(self._time.now()))
        self._intake.begin(home)
        state = "kept in memory" if claimed.keeps_state else "restored"
        log.info("home %d: %d runs, epoch %d, %s", home.number, len(home.runs), home.epoch, state)

    def _take_back(self) -> None:
        """Read homes anew of which runs were left out whose definition is there again."""
        there = self._definitions.by_hash
        back = [number for number, home in self.homes.items() if any(there(each) for each in home.missing)]
        if back and self._may_write:
            self._doubted(frozenset(back), frozenset())

    # --- writing --------------------------------------------------------------------------

    def _submit(self) -> bool:
        """The next transaction: epochs first, then batches."""
        if not self._may_write or 0 < ms(self._time.now()) < self._writer.waits_until:
            return False
        if ready := self._takeover.at(Stage.EPOCH):
            for claimed in ready:
                # Before our first commit: an instant that a predecessor has told is never taken back.
                self._time.raise_to(claimed.told_by_its_last_owner)
            return self._writer.epochs(self._takeover, ready)
        ours = [home for home in self.homes.values() if home.number not in self._releasing]
        is_time = self._writer.is_time(ours)
        busy = [home for home in ours if self._has_work(home, is_time=is_time)]
        if busy:
            self._quiet_since = self._env.clock.monotonic()
            return self._writer.batches(busy)
        behind = [home for home in ours if home.draft is None and home.at != home.committed_at]
        quiet = self._env.clock.monotonic() - self._quiet_since
        return bool(behind) and quiet >= self._settings.idle_commit.total_seconds() and self._writer.positions(behind)

    @property
    def _may_write(self) -> bool:
        """Whether nothing is under way as a writer: a transaction, a new producer, the end of somebody else's."""
        return self._writer.is_free and not self._takeover.is_fencing

    def _has_work(self, home: Home, *, is_time: bool) -> bool:
        """`is_time`: a draft has waited long enough; the others go with it, in one transaction.

        A suspicion is work of its own: where a trigger is lost nothing else need come.
        """
        now = ms(self._time.now())
        others = (is_time and home.draft is not None) or (self._watchdog.suspects(home.number) and not home.limit)
        return home.has_work(now) or (now >= home.store.until and others)

    def _epoch_committed(self, flight: Flight) -> None:
        for claimed in self._takeover.claimed.values():
            if claimed.home in flight.homes and claimed.stage is Stage.EPOCH:
                claimed.stage = Stage.ENDS

    def _doubted(self, numbers: frozenset[int], last: frozenset[int]) -> None:
        """Take these over anew; of the `last` ones the state may stay, if the log says that it is the committed one."""
        running = last.intersection(self.homes) - numbers  # another is on its way, or not ours
        for number in running:
            self.homes[number].forsake()
            self._takeover.parked[number] = self.homes[number]
        for number in numbers | running:
            if self.homes.pop(number, None) is not None or number in self._takeover.claimed:
                self._intake.stop(number)
                self._refold.drop(number)
                self._begin(number)

    # --- Rebalance: partitions come and go ---------------------------------------------------

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Take over each home of which we have both partitions."""
        ours = self._member.assignment() | frozenset(partitions)
        for number in sorted({at.partition for at in partitions}):
            if all(at in ours for at in self._intake.pair(number)):
                self._begin(number)
        if alone := halves(ours, self._topics):
            log.error(
                "%s: expected the other half of each home, of %s and %s, to be ours too, but it is not: nobody serves "
                "them. The topics differ in their partitions; `farandole doctor` says which was changed",
                ", ".join(f"{at.topic}/{at.partition}" for at in alone),
                self._topics.commands,
                self._topics.events,
            )

    def _begin(self, number: int) -> None:
        self._takeover.begin(number)
        self._builder.measures.claimed(number, self._env.clock.monotonic())

    def releasing(self, partitions: Sequence[TopicPartition]) -> bool:
        """Let what is under way end, then commit the homes as clean, so that the next owner knows."""
        self._time.waited()
        self._asking.take(0.02)
        if not self._may_write:
            return False
        homes = [self.homes[n] for n in sorted({at.partition for at in partitions}) if n in self.homes]
        unclean = [home for home in homes if home.number not in self._releasing]
        for home in unclean:
            home.forsake()
        self._releasing.update(home.number for home in unclean)
        return not (unclean and self._writer.positions(unclean, clean=True))

    def gone(self, partitions: Sequence[TopicPartition], *, lost: bool) -> None:
        """Forget the homes, or keep their state aside: it may be ours again (R12)."""
        for number in {at.partition for at in partitions}:
            self._takeover.drop(number)
            self._restore.drop(number)
            self._refold.drop(number)
            self._releasing.discard(number)
            self._intake.forget(number)
            self._builder.measures.left(number)
            home = self.homes.pop(number, None)
            if home is not None:
                home.forsake()
            if home is not None and not lost:
                self._takeover.parked[number] = home

    def _moment(self) -> Moment:
        settings = self._settings
        now, luck, wall = self._time.now(), self._env.draw(), self._env.clock.now()
        return Moment(now, luck, settings.dedupe_window, settings.stopped_window, wall)
