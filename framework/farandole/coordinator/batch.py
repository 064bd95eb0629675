"""One transaction in the making, for one home: inputs are folded over the committed state.

Nothing here touches the committed state: `settle` publishes the new one after the commit,
and after an abort the batch is thrown away. An exception over one run holds that run and
leaves the others alone.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from msgspec import structs

from farandole.coordinator.definitions import NO_GRAPH, DefinitionGone
from farandole.coordinator.home import Home
from farandole.coordinator.refold import Missed
from farandole.definition.graph import Graph
from farandole.events import facts
from farandole.events.envelope import Envelope
from farandole.events.facts import DEFINITION_GONE
from farandole.events.outgoing import Origin, Outgoing, event_record
from farandole.events.topics import Topics
from farandole.ids import consequence_id
from farandole.kernel.decide import follow
from farandole.kernel.decision import Moment
from farandole.kernel.evolve import evolve, start
from farandole.kernel.outbox import Cause, outbox
from farandole.kernel.place import Place
from farandole.kernel.settle import WITH_OUTPUT
from farandole.kernel.snapshot import state_records, tombstones, whole_records
from farandole.kernel.state import Run, ms
from farandole.kernel.timers import Timer, timers_after
from farandole.kernel.values import ClaimNeeded, Values

TEXT_MAX = 500
"""Characters of an error or a reason that a record carries: it stands in several, and a command may hold a megabyte."""

RUN_ID_MAX = 128
"""Characters of a valid run id."""


class StoreAway(Exception):  # noqa: N818 - a request to the loop, not an error
    """The artifact store cannot be used now: the batch is thrown away, and made again later."""


FetchClaim = Callable[[ClaimNeeded], bytes]


@dataclass(slots=True)
class Batch:
    """`runs`: touched runs as they will be (None: forgotten). `fetch` gets a payload from the artifact store."""

    home: Home
    topics: Topics
    source: str
    moment: Callable[[], Moment]
    fetch: FetchClaim
    missed: Callable[[str, range], Missed | None]
    """What a held run missed at these offsets, once it has been read again; None before."""

    events_at: int
    commands_at: int
    begun: float = 0.0
    """When it was begun, on the monotonic clock."""

    read: tuple[int, int] = (0, 0)
    """How many of the home's buffered events and commands it has answered."""

    size: int = 0
    """Bytes of the records that it has read."""

    runs: dict[str, Run | None] = field(default_factory=dict)
    records: list[Outgoing] = field(default_factory=list)
    timers: list[Timer] = field(default_factory=list)
    markers: list[facts.Marker] = field(default_factory=list)
    taken: list[Timer] = field(default_factory=list)
    """Timers taken from the home: given back if the batch is thrown away."""

    read_again: list[str] = field(default_factory=list)
    """Runs of which `missed` was used: what was read again is let go of once the batch stands."""

    read_back: list[facts.Marker] = field(default_factory=list)
    values: Values = field(default_factory=Values)
    errors: list[tuple[str, str]] = field(default_factory=list)
    """Each run that was held by an error of ours or of its definition, and that error."""

    logged: int = 0
    """How many of these were logged: a draft is gone on with."""

    told: list[tuple[str, Sequence[facts.Event]]] = field(default_factory=list)
    """What was folded and what follows from it, by pipeline: counted once the batch stands."""

    direct: set[str] = field(default_factory=set)
    """Runs that a client started without us, and that it takes for ended when their last success says so."""

    foretold: int = 0
    """Records and timers of such ends: nobody waits for those."""

    words: Counter[str] = field(default_factory=Counter)
    """What became of the records that it has answered: counted once it stands."""

    left_out: dict[str, str] = field(default_factory=dict)
    """Runs that were begun directly under a definition (the hash) that is not on the log."""

    refusals: list[facts.RunRefused] = field(default_factory=list)
    asked: dict[str, int] = field(default_factory=dict)
    """When the start of a run was asked for: the timestamp of its command, ms."""

    def run(self, run_id: str) -> Run | None:
        """The run as this batch sees it."""
        return self.runs[run_id] if run_id in self.runs else self.home.run(run_id)

    def missing(self, run_id: str) -> str | None:
        """The definition (its hash) for want of which a run is left out; None if it is not."""
        return self.left_out.get(run_id) or self.home.left_out.get(run_id)

    def origin(self, now: datetime, input_: str = "", traceparent: str = "", *, folded: bool = True) -> Origin:
        """Where this batch's records come from; consequences say how far the log was folded."""
        at = f"{self.home.number}/{self.events_at}" if folded else ""
        return Origin(self.source, now, input=input_, folded=at, traceparent=traceparent)

    def begin(self, graph: Graph, event: facts.RunStarted, cause: Cause) -> None:
        """Start a run: `RunStarted` and what follows from it, folded at once."""
        run = start(graph, event)
        self._keep(run, [event])
        started = consequence_id(cause.id, "RunStarted", 0)
        self.records.append(event_record(self.topics, event, event_id=started, cause=cause.id, origin=cause.origin))
        self.fold(run, event, Cause(started, cause.origin), offset=-1)

    def begin_directly(self, graph: Graph, event: facts.RunStarted, cause: Cause, offset: int) -> None:
        """Take in a run that was started without us; its first agent says so (direct start)."""
        run = start(graph, event)
        self.direct.add(run.id)
        self._keep(run, [event])
        self.fold(run, event, cause, offset=offset)

    def begin_left_out(self, event: facts.RunStarted, cause: Cause, offset: int) -> None:
        """Take in a run that was started without us, under a definition that is not on the log: it is held from its
        beginning on, and whoever has the definition folds that, and what comes after it."""
        run = start(NO_GRAPH, replace(event, fired=()))
        self.left_out[run.id] = event.definition
        self._hold(run, DefinitionGone(event.definition), cause, offset)

    def fold(self, run: Run, given: facts.Event, cause: Cause, *, offset: int, blame: Cause | None = None) -> None:
        """Fold a fact and write what follows; if that fails, hold the run at `offset` instead, because of `blame`.

        `blame` is the cause, unless that has held the run before: its record would have the same id again.

        Raises:
            StoreAway: a payload cannot be read now; this batch is not to be used.
        """
        while True:
            try:
                moment = self.moment()
                it = follow(run, given, moment, self.values)
                records = outbox(it.steps, cause, self.topics, self.values)
                break
            except ClaimNeeded as needed:
                try:
                    self.values.fetched[needed.claim.sha256] = self.fetch(needed)
                except StoreAway:
                    raise
                except Exception as error:  # the store is broken for this payload: this run stands still
                    return self._hold(run, error, blame or cause, offset)
            except Exception as error:  # one bad run never stops a partition (DESIGN section 8)
                return self._hold(run, error, blame or cause, offset)
        before = self._written
        self.records.extend(records)
        if it.run is not run:
            self.told.append((run.head.pipeline, (given,)))
        self._keep(it.run, it.events)
        if run.id in self.direct and _is_foretold(given, it.events):
            self.foretold += self._written - before

    def _hold(self, run: Run, error: Exception, cause: Cause, offset: int) -> None:
        moment = self.moment()
        detail = f"{type(error).__name__}: {error}"[:TEXT_MAX]
        # Nobody knows how long a run may be held whose definition is gone, and it is not to end for that.
        until = None if isinstance(error, DefinitionGone) else moment.after(run.graph.definition.hold_max)
        event = facts.RunHeld(run.id, "kernel_error", detail, until=until, offset=offset)
        self._write_hold(event, cause, run.head.definition)
        self._keep(evolve(run, event), [event])

    def hold_unreadable(self, run: Run, error: Exception, cause: Cause, offset: int) -> None:
        """Hold a run whose event cannot be read: folding past it would be a guess."""
        if not run.is_settled and not run.head.kernel_error:
            self._hold(run, error, cause, offset)

    def hold_left_out(self, run_id: str, gone: DefinitionGone, cause: Cause, offset: int) -> Run | None:
        """Hold a run whose definition is gone at the first fact that comes; the run, if it can be read.

        Whose state is damaged too is held by the event alone, at each fact: folded anew from its events, it will be
        held from the first on.
        """
        run = self.run(run_id)
        if run is None:
            event = facts.RunHeld(run_id, "kernel_error", f"{DEFINITION_GONE}: {gone}", offset=offset)
            self._write_hold(event, cause, gone.digest)
            return None
        self.hold_unreadable(run, gone, cause, offset)
        return self.run(run_id)

    def _write_hold(self, event: facts.RunHeld, cause: Cause, definition: str) -> None:
        """Its id is of a kind of its own: the fact may hold the run once more, folded after the release."""
        held = consequence_id(cause.id, "RunHeld/kernel_error", 0)
        origin = structs.replace(cause.origin, definition=definition)
        self.records.append(event_record(self.topics, event, event_id=held, cause=cause.id, origin=origin))
        self.errors.append((event.run, event.detail))

    def mark(self, marker: facts.Marker, *, event_id: str, cause: str, now: datetime, input_: str = "") -> None:
        """Write a marker: it is folded when it is read back, after everything before it in the log."""
        if marker in self.home.marked or marker in self.markers:
            return
        self.markers.append(marker)
        run = self.run(marker.run)
        origin = self.origin(now, input_, self.home.trace_of(marker), folded=False)
        if run is not None:
            origin = structs.replace(origin, definition=run.head.definition)
        self.records.append(event_record(self.topics, marker, event_id=event_id, cause=cause, origin=origin))

    def refuse(self, event: facts.RunRefused, cause: Cause) -> None:
        """Write a refusal; no run is touched. What a stranger chose is cut, so that it can be written."""
        run, pipeline, detail = event.run[:RUN_ID_MAX], event.pipeline[:RUN_ID_MAX], event.detail[:TEXT_MAX]
        event = replace(event, run=run, pipeline=pipeline, detail=detail)
        self.refusals.append(event)
        refused = consequence_id(cause.id, "RunRefused", 0)
        self.records.append(event_record(self.topics, event, event_id=refused, cause=cause.id, origin=cause.origin))

    def refuse_left_out(self, run_id: str, gone: str, cause: Cause, pipeline: str = "") -> None:
        """Refuse what is asked of a run whose definition (the hash) is not on the log."""
        detail = f"the run exists, but its definition {gone[:12]} is not on `definitions`"
        self.refuse(facts.RunRefused(run_id, pipeline, "definition_gone", detail), cause)

    def forget(self, run: Run, now: datetime) -> None:
        """Drop the stub of an ended run, and what `control` says of it."""
        self.runs[run.id] = None
        headers = Envelope(f"{run.id}/forgotten", "farandole.Forgotten", self.source, now, run=run.id).headers()
        if run.head.reason or run.head.outcome not in WITH_OUTPUT:  # it was stopping before it ended
            self.records.append(Outgoing(self.topics.control, f"run:{run.id}", None, headers))

    def _keep(self, run: Run, events: list[facts.Event]) -> None:
        self.runs[run.id] = run
        self.told.append((run.head.pipeline, events))
        self.timers.extend(timers_after(run, events))

    @property
    def at(self) -> tuple[int, int]:
        """Positions of `events` and `commands` once it stands."""
        return max(self.events_at, self.home.events_at), max(self.commands_at, self.home.commands_at)

    def place(self, now: datetime) -> Place:
        """Where the home stands once it stands."""
        return Place(*self.at, self.home.epoch, ms(now))

    def state(self, now: datetime) -> list[Outgoing]:
        """The state records of all touched runs."""
        out: list[Outgoing] = []
        for run_id, after in self.runs.items():
            before = self.home.run(run_id)
            pairs: list[tuple[str, bytes | None]] = []
            if after is None:
                pairs += [] if before is None else tombstones(before)
            elif before is not None and run_id in self.home.unwritten and not after.is_settled:
                pairs += whole_records(before, after, now)
            else:
                pairs += state_records(before, after, now)
            headers = () if after is None or after.is_settled else self.home.trace_headers(run_id)
            for key, value in pairs:
                out.append(Outgoing(self.topics.runs, key, value, headers if key == run_id else (), home=run_id))
        return out

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write, so that only positions may have moved."""
        return not self.records and not self.runs

    @property
    def is_urgent(self) -> bool:
        """Whether somebody waits for what it says; else it only remembers what was folded."""
        return bool(self._written > self.foretold or self.taken or self.read_again)

    @property
    def _written(self) -> int:
        return len(self.records) + len(self.timers)

    def publish(self) -> None:
        """After the commit: the new state replaces the old."""
        home = self.home
        home.move(self.events_at, self.commands_at)
        home.leave_out(self.left_out)
        for run_id, run in self.runs.items():
            home.replace(run_id, run)
            if run is None or run.is_settled:
                home.failed.pop(run_id, None)
        home.remind(self.timers)
        for marker in self.markers:
            home.written(marker)
        home.marked.difference_update(self.read_back)
        home.draft = None

    def abandon(self) -> None:
        """After an abort: the home is as if the batch had never been."""
        self.home.draft = None
        self.home.remind(self.taken)


def _is_foretold(given: facts.Event, consequences: Sequence[facts.Event]) -> bool:
    """Whether a run ends with its final success: whoever waits for the result has it from that (direct end)."""
    is_final = isinstance(given, facts.StepSucceeded) and given.final
    return is_final and [type(each) for each in consequences] == [facts.RunSettled]
