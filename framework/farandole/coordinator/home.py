"""What a coordinator knows of one home partition: its runs, its timers, how far it has folded.

Memory only; nothing here reads a log or a clock. The state is replaced by a committed batch
and by nothing else.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from farandole.coordinator.definitions import is_held_for_definition
from farandole.coordinator.patience import Patience
from farandole.events.envelope import TRACE_CHARACTERS_MAX
from farandole.events.facts import DeadlinePassed, Fact, Marker, RetryDue, StepFailed, StepSucceeded
from farandole.events.topics import Topics
from farandole.ids import is_run_id
from farandole.kernel.state import Run
from farandole.kernel.timers import Timer, timers
from farandole.transport.port import Record, TopicPartition

if TYPE_CHECKING:
    from farandole.coordinator.batch import Batch

TRACES_SPARE = 1_000
"""Trace contexts of ended runs that may lie about before they are cleared away."""

RELEASE = "release"
"""The kind of a timer that is due at once: a run was held while its definition was gone, and that is there again."""

TRACE_HEADER = "traceparent"
"""Of head records of runs that are traced."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that was alone in its batch when the log refused that, and why: this one is given up, no other."""

    record: Record
    why: str


@dataclass(slots=True)
class Home:
    """Partition `number` of `commands`, `events` and `runs`.

    `events_at`, `commands_at`: next offsets to fold. `marked`: markers written (or being written) and not yet
    read back, so that a timer is not written twice. `number_committed` is the transaction number last committed
    for it, by which a parked home recognises that nobody else has written since.
    """

    number: int
    epoch: int = 0
    events_at: int = 0
    commands_at: int = 0
    events: deque[Record] = field(default_factory=deque)
    commands: deque[Record] = field(default_factory=deque)
    runs: dict[str, Run] = field(default_factory=dict)
    timers: list[Timer] = field(default_factory=list)
    marked: set[Marker] = field(default_factory=set)
    number_committed: int = -1
    committed_at: tuple[int, int] = (-1, -1)
    """Positions of the last commit; those in memory may be ahead, past our own consequences, markers and gaps."""

    ends: tuple[int, int] = (0, 0)
    """Where the ends of both were last told: each is told once, and records before it may still be buffered then."""

    read_first: int = 0
    """Where `events` ended when the home was taken over: markers of its predecessor may stand before, not read back
    yet, and a timer would become the same marker again; so may the start of a run that a command is about, since a
    client that sees a run begun directly may cancel it. Timers and commands wait until all of that is folded."""

    looked: tuple[int, int] = (0, 0)
    """Commands before the first of these offsets were there when `events` ended at the second: a run that they are
    about has begun before that, or never. A client cancels a run as soon as it sees it begun; we may be behind."""

    limit: int = 0
    """Most records in the next batch while a batch that could not be produced is bisected; 0 = the usual."""

    draft: "Batch | None" = None
    """The batch in the making, kept from one look to the next while nothing in it is urgent."""

    refused: Refused | None = None
    """What the next batch gives up: what it leads to cannot be produced, and is held instead."""

    store: Patience = field(default_factory=Patience)
    """While the artifact store is away, nothing of the home is folded: order is kept, and no run is held for it."""

    traces: dict[str, str] = field(default_factory=dict)
    """Trace context of what was read last of a run, if anybody traces: timers go on with it. A hint, beside the state:
    it travels in a header of the head record, where neither the fold nor an older coordinator looks."""

    failed: dict[str, dict[tuple[str, int], str]] = field(default_factory=dict)
    """Trace context of the last failure of each step and item, by run, where it was told one: its retry follows from
    that, whatever else is read of the run meanwhile. Until a timer has used it, the unit went well or the run ended."""

    late: Patience = field(default_factory=Patience)
    """While markers of timers alone are refused by the log, timers wait; records are folded all the same."""

    left_out: dict[str, str] = field(default_factory=dict)
    """Runs whose definition (the hash) is not on the log: they stand still, and nothing may take their ids."""

    standing: dict[str, Run] = field(default_factory=dict)
    """Those of them of which nothing was read yet, as `runs` holds them but without their graph; not those whose state
    is damaged too. The first fact that comes holds such a run, so that what it misses is folded at its release."""

    missing: frozenset[str] = frozenset()
    """These definitions, once each."""

    unwritten: set[str] = field(default_factory=set)
    """Runs of which `runs` holds less than is known here: the next change of one writes all of it."""

    def restore(
        self, runs: Iterable[Run], left_out: Mapping[str, str] | None = None, rebuilt: Iterable[str] = ()
    ) -> None:
        """Take over runs, those that are left out among them; the timer heap is rebuilt from them alone.

        `rebuilt` were folded anew from their events, because `runs` does not tell them.
        """
        self.left_out = dict(left_out or {})
        self.missing = frozenset(self.left_out.values())
        self.runs = {run.id: run for run in runs}
        self.standing = {run: self.runs.pop(run) for run in self.left_out if run in self.runs}
        # An ended run is forgotten in its time without its graph.
        ended = [run for run in self.standing.values() if run.is_settled]
        self.timers = [timer for run in (*self.runs.values(), *ended) for timer in timers(run)]
        there_again = [run.id for run in self.runs.values() if is_held_for_definition(run)]
        self.timers += [Timer(0, run, RELEASE) for run in there_again]
        self.unwritten = {*rebuilt, *there_again}  # of one that was begun unread, there is a head alone
        heapq.heapify(self.timers)
        self.marked.clear()

    def leave_out(self, more: Mapping[str, str]) -> None:
        """These were begun under definitions that are not on the log."""
        if more:
            self.left_out |= more
            self.missing |= frozenset(more.values())

    def run(self, run_id: str) -> Run | None:
        """The run of that id; one that is left out is without its graph."""
        return self.runs.get(run_id) or self.standing.get(run_id)

    def replace(self, run_id: str, run: Run | None) -> None:
        """The state of a run is another now; None: it is forgotten."""
        self.standing.pop(run_id, None)
        self.unwritten.discard(run_id)
        if run is None:
            self.runs.pop(run_id, None)
            self.left_out.pop(run_id, None)
        else:
            self.runs[run_id] = run

    def remind(self, more: Iterable[Timer]) -> None:
        """Add timers."""
        for timer in more:
            heapq.heappush(self.timers, timer)

    def due(self, now_ms: int, most: int) -> list[Timer]:
        """Take up to `most` timers whose instant has come; none while there is something to read first."""
        out: list[Timer] = []
        while not self.is_behind and self.timers and self.timers[0].due <= now_ms and len(out) < most:
            out.append(heapq.heappop(self.timers))
        return out

    def trace(self, run_id: str, told: str) -> str:
        """The trace context that a record of a run goes on with: its own, else that of the run's record before."""
        if not told:
            return self.traces.get(run_id, "")
        if len(self.traces) > 2 * len(self.runs) + TRACES_SPARE:
            self.traces = {each: context for each, context in self.traces.items() if each in self.runs}
        if is_run_id(run_id):  # no other ever runs, and it may be of any length
            self.traces[run_id] = told
        return told

    def note(self, fact: Fact, told: str) -> None:
        """Remember the trace context of a failure, and forget it when its step has gone well."""
        match fact:
            case StepFailed(run=run, step=step, item=item) if 0 < len(told) <= TRACE_CHARACTERS_MAX:
                self.failed.setdefault(run, {})[step, item] = told
            case StepSucceeded():
                self._forget(fact)

    def trace_of(self, marker: Marker) -> str:
        """The trace context that a marker goes on with: a timer's that of the failure which set it, if one is known."""
        if isinstance(marker, RetryDue | DeadlinePassed):
            told = self.failed.get(marker.run, {}).get((marker.step, marker.item), "")
            return told or self.traces.get(marker.run, "")
        return self.traces.get(marker.run, "")

    def written(self, marker: Marker) -> None:
        """A marker stands on the log: it is not written again, and what a retry's goes on with has been used."""
        self.marked.add(marker)
        if isinstance(marker, RetryDue):
            self._forget(marker)

    def _forget(self, done: StepSucceeded | RetryDue) -> None:
        its = self.failed.get(done.run)
        if its is not None and its.pop((done.step, done.item), None) is not None and not its:
            del self.failed[done.run]

    def trace_headers(self, run_id: str) -> tuple[tuple[str, bytes], ...]:
        """What the head record of a run says of its trace: nothing where nobody traces."""
        told = self.traces.get(run_id, "")
        return ((TRACE_HEADER, told.encode()),) if 0 < len(told) <= TRACE_CHARACTERS_MAX else ()

    def places(self, topics: Topics) -> dict[TopicPartition, int]:
        """How far `events` and `commands` were folded."""
        ours = ((topics.events, self.events_at), (topics.commands, self.commands_at))
        return {TopicPartition(topic, self.number): at for topic, at in ours}

    @property
    def at(self) -> tuple[int, int]:
        """Positions of `events` and `commands`."""
        return self.events_at, self.commands_at

    def move(self, events_at: int, commands_at: int) -> None:
        """Go forward past what was folded or needs no folding; never back."""
        self.events_at = max(self.events_at, events_at)
        self.commands_at = max(self.commands_at, commands_at)
        self._drop_folded()
        # What lies between the last record folded and an end is markers and gaps.
        if not self.events:
            self.events_at = max(self.events_at, self.ends[0])
        if not self.commands:
            self.commands_at = max(self.commands_at, self.ends[1])

    def ended(self, events_end: int, commands_end: int) -> None:
        """An end was told (0: not of this one): gone to at once, or when what is buffered before it is folded."""
        self.ends = max(self.ends[0], events_end), max(self.ends[1], commands_end)
        self.move(0, 0)

    @property
    def seen(self) -> dict[TopicPartition, int]:
        """Offset of the last record that is buffered, of each topic."""
        return {queue[-1].at: queue[-1].offset for queue in (self.events, self.commands) if queue}

    @property
    def has_unread(self) -> bool:
        """Whether records are buffered that the draft has not answered."""
        events, commands = self.draft.read if self.draft is not None else (0, 0)
        return len(self.events) > events or len(self.commands) > commands

    def forsake(self) -> None:
        """Throw the draft away: what it folded will be folded again."""
        if self.draft is not None:
            self.draft.abandon()

    def emptied(self) -> None:
        """Nothing is buffered, and no end known: reading begins anew.

        A culprit is looked for anew too: what is read first need not be what was refused.
        """
        self.events.clear()
        self.commands.clear()
        self.ends = (0, 0)
        self.limit, self.refused = 0, None
        self.forsake()

    def _drop_folded(self) -> None:
        """Forget buffered records that are behind the positions now."""
        while self.events and self.events[0].offset < self.events_at:
            self.events.popleft()
        while self.commands and self.commands[0].offset < self.commands_at:
            self.commands.popleft()

    @property
    def is_behind(self) -> bool:
        """Whether something that stood on `events` at the take-over is not folded yet."""
        return self.events_at < self.read_first

    def has_seen(self, command: Record, events_at: int) -> bool:
        """Whether all that stood on `events` when this command was there is folded; a batch has come to `events_at`."""
        commands, events = self.looked
        return command.offset < commands and events <= max(events_at, self.events_at)

    @property
    def next_due(self) -> int | None:
        """When something is to be done without a record, ms: a timer, or another try; None if there is nothing."""
        instants = [max(self.timers[0].due, self.late.until)] if self.timers and not self.is_behind else []
        if self.store.failures and (self.events or self.commands):
            instants.append(self.store.until)
        return max(min(instants), self.store.until) if instants else None

    def has_work(self, now: int) -> bool:
        """Whether there is something to fold or a timer to write, and nothing to wait for first."""
        due = self.next_due
        if now < self.store.until:
            return False
        return self.has_unread or (due is not None and due <= now)
