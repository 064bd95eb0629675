"""Making the next batch of a home from what is buffered: events first, then commands, then timers."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from farandole.artifacts import ArtifactStore
from farandole.coordinator.batch import Batch, StoreAway
from farandole.coordinator.definitions import is_held_for_definition
from farandole.coordinator.home import RELEASE, Home
from farandole.coordinator.measures import Measures
from farandole.coordinator.reading import Definitions, DefinitionWanted, RunWanted, give_up, read_command, read_event
from farandole.coordinator.refold import Refold, RefoldWanted
from farandole.coordinator.releasing import releases
from farandole.coordinator.settings import CoordinatorSettings
from farandole.errors import TransportError
from farandole.events.facts import ReleaseRequested, TriggerSuspected
from farandole.ids import attempt_id
from farandole.kernel.decision import Moment
from farandole.kernel.state import Phase, ms
from farandole.kernel.timers import Timer, marker
from farandole.kernel.values import ClaimNeeded

log = logging.getLogger("farandole.coordinator")

BATCH_BYTES_MAX = 4 * 2**20
"""Bytes of what a batch has read after which it takes no more: as an agent's transaction (`transaction_bytes_max`)."""


@dataclass(slots=True)
class Builder:
    """What every batch needs beside its inputs. `words` counts what became of records, for the metrics."""

    settings: CoordinatorSettings
    moment: Callable[[], Moment]
    artifacts: ArtifactStore
    suspects: Callable[[int], list[TriggerSuspected]]
    refold: Refold
    monotonic: Callable[[], float]
    words: Counter[str] = field(default_factory=Counter)
    measures: Measures = field(default_factory=Measures)
    wanted: bool = False
    """Whether the last batch stopped at a record that wants a fresh table of definitions."""

    wanted_run: bool = False
    """Whether it stopped at a command that is about a run which may stand further on in `events`."""

    size: int = 0
    """Most records of a home in a batch, at present; the setting is the most that it grows to."""

    def __post_init__(self) -> None:
        self.size = self.settings.batch_records

    def shrink(self) -> None:
        """A transaction was not answered in time: the next ones are half as large, so that a slow log keeps up."""
        self.size = max(1, self.size // 2)

    def grow(self) -> None:
        """A transaction was committed: the next ones may be larger by a tenth of the setting."""
        self.size = min(self.settings.batch_records, self.size + max(1, self.settings.batch_records // 10))

    def answered(self, batch: Batch) -> None:
        """What a batch has read is passed for good: it stands, or led to nothing."""
        self.words.update(batch.words)

    def build(self, home: Home, definitions: Definitions, partitions: int) -> tuple[Batch, bool]:
        """The next batch of a home: its draft, gone on with.

        Also tells whether it cannot go on: something has to be read first, or as many records as a batch may hold
        are in it.

        Raises:
            StoreAway: a payload cannot be read now. The home is as it was, without a draft.
        """
        batch = home.draft or self._fresh(home)
        home.draft = batch
        left = (home.limit or self.size) - sum(batch.read)
        if home.refused:
            kind = "command_" if home.refused.record.topic == self.settings.topics.commands else "event_"
            batch.words[kind + give_up(batch, home.refused)] += 1
            left = 0
        self.wanted = self.wanted_run = False
        try:
            left, is_stuck = self._events(batch, home, definitions, left)
            if not is_stuck:  # a command may be about a run that begins with an event which has to wait
                self._commands(batch, home, definitions, (left, partitions))
        except StoreAway:
            home.forsake()
            raise
        if not home.limit:  # while a culprit is looked for, nothing but the records in question is in a batch
            self._unasked(batch, home)
        for run_id, detail in batch.errors[batch.logged :]:
            log.error("run %s is held by an error: %s", run_id, detail, extra={"run_id": run_id})
        batch.logged = len(batch.errors)
        is_full = left <= 0 or batch.size >= BATCH_BYTES_MAX
        return batch, is_stuck or self.wanted or self.wanted_run or is_full

    def _fresh(self, home: Home) -> Batch:
        return Batch(
            home,
            self.settings.topics,
            self.settings.client_id,
            self.moment,
            partial(self._fetch, home),
            self.refold.take,
            home.events_at,
            home.commands_at,
            self.monotonic(),
        )

    def _events(self, batch: Batch, home: Home, definitions: Definitions, left: int) -> tuple[int, bool]:
        """Fold what the draft has not; how many more records the batch may hold, and whether one has to wait."""
        events, commands = batch.read
        try:
            for record in islice(home.events, events, events + max(0, left)):
                if batch.size >= BATCH_BYTES_MAX:
                    return 0, False
                batch.words["event_" + read_event(batch, record, definitions)] += 1
                batch.size += len(record.value or b"")
                left -= 1
                events += 1
        except RefoldWanted as wanted_first:
            self.refold.want(wanted_first, releases(home))
            return left, True
        except DefinitionWanted:
            self.wanted = True
            return left, True
        finally:
            batch.read = events, commands
        return left, False

    def _commands(self, batch: Batch, home: Home, definitions: Definitions, bounds: tuple[int, int]) -> None:
        """Answer what the draft has not, up to one that waits for something to be read first."""
        left, partitions = bounds
        events, commands = batch.read
        try:
            for record in islice(home.commands, commands, commands + max(0, left)):
                if batch.size >= BATCH_BYTES_MAX:
                    return
                batch.words["command_" + read_command(batch, record, definitions, partitions)] += 1
                batch.size += len(record.value or b"")
                commands += 1
        except DefinitionWanted:
            self.wanted = True
        except RunWanted:
            self.wanted_run = True
        finally:
            batch.read = events, commands

    def _unasked(self, batch: Batch, home: Home) -> None:
        """Write what no record leads to: timers that are due, and suspicions."""
        if ms(self.moment().now) >= home.late.until:
            self._timers(batch, home)
        for fact in self.suspects(home.number):
            about = attempt_id(fact.run, fact.step, fact.item, fact.attempt)
            batch.mark(fact, event_id=f"{about}/suspected", cause=f"{about}/trigger", now=self.moment().now)

    def _timers(self, batch: Batch, home: Home) -> None:
        now = self.moment().now
        taken = home.due(ms(now), min(self.size, self.settings.timers_per_batch))
        batch.taken += taken
        for timer in taken:
            run = batch.run(timer.run)
            if run is None:
                continue
            if timer.kind == "forget" and run.head.phase is Phase.SETTLED and run.head.expires <= timer.due:
                batch.forget(run, now)
            elif timer.kind == RELEASE and is_held_for_definition(run):
                missed = run.head.unfolded_from
                place = f"{self.settings.topics.events}/{home.number}/{missed}"
                # Who reads it may not be able to release the run: then it is asked for once more.
                asked = f"{run.id}/{RELEASE}/{missed}/{ms(now)}"
                batch.mark(ReleaseRequested(run.id), event_id=asked, cause=place, now=now)
            elif (fact := marker(run, timer)) is not None:
                batch.mark(fact, event_id=timer_id(timer), cause=timer_id(timer), now=now)

    def _fetch(self, home: Home, needed: ClaimNeeded) -> bytes:
        try:
            return self.artifacts.get(needed.claim)
        except TransportError as error:
            lasts = home.store.lasts(ms(self.moment().now))
            if lasts > self.settings.store_patience.total_seconds() * 1000:
                raise
            raise StoreAway(str(error)) from error


def timer_id(timer: Timer) -> str:
    """Id of the marker that a timer becomes: the same timer written twice has one id."""
    about = attempt_id(timer.run, timer.step, timer.item, timer.attempt) if timer.step else timer.run
    return f"{about}/{timer.kind}/{timer.due}"
