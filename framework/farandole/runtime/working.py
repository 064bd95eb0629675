"""From records whose turn has come to answers: look up, dispatch, time out, react.

Belongs to the loop's thread. Everything that an attempt needs of the world is checked at the
moment of its dispatch, so that what waits in a lane can still be answered otherwise: by the
run's stopping, or by a partition's going.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from farandole.clock import Clock
from farandole.definition.spec import AgentSpec
from farandole.events.outgoing import Outgoing
from farandole.runtime import reactions
from farandole.runtime.attempts import (
    Arrival,
    Attempt,
    Done,
    Executor,
    Failed,
    LaneKey,
    Succeeded,
    attempt_of,
)
from farandole.runtime.fusion import Fusion
from farandole.runtime.handlers.calls import failure_of, overtaken, timed_out
from farandole.runtime.inbound import Quarantine, UnknownDefinition, read_trigger
from farandole.runtime.lanes import Lanes, Load
from farandole.runtime.ownership import Ownership
from farandole.runtime.partition import Partition
from farandole.runtime.planner import Answer, Planner
from farandole.runtime.reactions import Surroundings
from farandole.runtime.recording import Counts, log_failure
from farandole.runtime.retreats import Retreat
from farandole.runtime.rooms import Rooms
from farandole.runtime.settings import AgentSettings
from farandole.runtime.spans import Spans
from farandole.runtime.tables import AgentTables
from farandole.runtime.telemetry import Signals
from farandole.runtime.timing import Lasting, Timeouts
from farandole.transport.outgoing import new_records, size_of
from farandole.transport.port import Record

log = logging.getLogger("farandole.runtime")


@dataclass(slots=True)
class Workplace:
    """Attempts under way, and what waits for them. `agents` by inbox topic."""

    settings: AgentSettings
    clock: Clock
    executor: Executor
    tables: AgentTables
    ownership: Ownership
    planner: Planner
    signals: Signals
    counts: Counts
    around: Surroundings
    agents: Mapping[str, AgentSpec]
    home_partitions: int
    load: Load
    fusion: Fusion
    spans: Spans | None = None
    """None where nobody traces, which costs nothing then."""

    lanes: Lanes[Arrival] = field(default_factory=Lanes)
    running: dict[Attempt, None] = field(default_factory=dict)
    _bounded: dict[LaneKey, Attempt] = field(default_factory=dict)
    """Those of steps with a deadline, which alone are given up by the log while they are at work."""

    _rooms: Rooms = field(default_factory=Rooms)
    _timeouts: Timeouts = field(default_factory=Timeouts)
    _lasting: Lasting = field(init=False)
    """Those of which telemetry is to be told if they last."""

    def __post_init__(self) -> None:
        """Set how long that is."""
        after = self.settings.started_after
        self._lasting = Lasting(None if after is None else after.total_seconds())

    # --- in -------------------------------------------------------------------------------

    def take(self, partition: Partition, record: Record) -> None:
        """An admitted record: it gets its turn in its lane."""
        arrival = Arrival(partition, record)
        partition.out += 1
        self.counts.records += 1
        self.load.add(arrival.charge)
        lane = arrival.lane
        self.lanes.put(lane, arrival)
        if self._bounded and lane in self._bounded:
            self._overtake(self._bounded[lane], record)

    def step(self) -> bool:
        """Take results, time out, dispatch; whether anything was done."""
        did = self._take_results()
        did |= self._time_out()
        did |= self._dispatch()
        self._tell_started()
        return did

    def next_due(self) -> float | None:
        """When `step` has to look again, on the monotonic clock."""
        return self._timeouts.next_due()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is queued, running or waiting for a definition."""
        return self.lanes.is_empty and not self.running

    # --- out ------------------------------------------------------------------------------

    def forget_queued(self, is_gone: Callable[[Partition], bool]) -> None:
        """Drop what has not begun of partitions that go; it stays unfinished, so the next owner gets it."""
        for arrival in self.lanes.drop(lambda each: is_gone(each.partition)):
            self._leave(arrival.partition, arrival.charge)
        for arrival in self.tables.forget(lambda each: is_gone(each.partition)):
            self._leave(arrival.partition, arrival.charge)
            self.lanes.done(arrival.lane)
        for attempt in self._rooms.drop(lambda each: is_gone(each.partition)):
            self._forget(attempt)
        for attempt in [a for a in self.running if a.started is None and is_gone(a.partition)]:
            self.executor.call_off(attempt)
            self._forget(attempt)

    def give_up_lost(self) -> None:
        """Stop handlers of partitions that are no longer ours, as far as that goes: their results are dropped."""
        for attempt in [a for a in self.running if not self.ownership.is_current(a.partition)]:
            self.executor.call_off(attempt)
            self.counts.dropped += 1
            self._forget(attempt)

    def _forget(self, attempt: Attempt) -> None:
        self._end(attempt)
        if self.spans is not None:
            self.spans.end(attempt, None)
        self._leave(attempt.partition, len(attempt.record.value or b""))
        self.lanes.done(attempt.lane)

    def _overtake(self, attempt: Attempt, record: Record) -> None:
        """Give up an attempt if `record` is a later one of its step: its deadline has passed and somebody replayed it.

        Nothing else has a step tried again before its attempt has reported; left alone, it would keep the replay
        waiting, up to that one's own deadline.
        """
        if attempt.ended is not None or attempt_of(record) <= attempt.trigger.attempt:
            return
        if not self._rooms.drop(lambda each: each is attempt):
            self.executor.call_off(attempt)
        self._react(Done(attempt, overtaken(attempt.call)))

    def _leave(self, partition: Partition, charge: int) -> None:
        partition.out -= 1
        self.load.remove(charge)

    # --- dispatch -------------------------------------------------------------------------

    def control_changed(self) -> None:
        """Answer what waits for room although its run is stopping meanwhile: cancelling does not wait for it."""
        for attempt in self._rooms.drop(lambda each: self.tables.stopping(each.trigger.run) is not None):
            self._start(attempt)

    def _dispatch(self) -> bool:
        did = False
        for attempt in self._rooms.freed(lambda each: self.executor.has_room(each.spec)):
            self._start(attempt)
            did = True
        for arrival in self.tables.retry():
            self._resolve(arrival, is_certain=True)
            did = True
        while (next_arrival := self.lanes.take()) is not None:
            self._resolve(next_arrival, is_certain=False)
            did = True
        return did

    def _resolve(self, arrival: Arrival, *, is_certain: bool) -> None:
        """Look up what a record asks for, and do it if it can be done now."""
        record, partition = arrival.record, arrival.partition
        spec = self.agents[record.topic]
        found = read_trigger(partition, record, spec, self.tables.definition)
        if isinstance(found, UnknownDefinition) and not is_certain:
            self.tables.want(arrival)
            return
        match found:
            case Attempt():
                self._begin(found)
            case UnknownDefinition(quarantine=quarantine):
                self._quarantine(arrival, spec, quarantine)
            case Quarantine():
                self._quarantine(arrival, spec, found)

    def _begin(self, attempt: Attempt) -> None:
        self.running[attempt] = None
        if attempt.step.deadline is not None:
            self._bounded[attempt.lane] = attempt
            if self._is_given_up(attempt):
                return self._react(Done(attempt, overtaken(attempt.call)))
        if self.executor.has_room(attempt.spec) or self.tables.stopping(attempt.trigger.run) is not None:
            self._start(attempt)
        else:
            self._rooms.wait(attempt)

    def _is_given_up(self, attempt: Attempt) -> bool:
        """Whether a replay waits behind it already, as after a restart. Where the run stops, both are cancelled."""
        behind = self.lanes.waiting(attempt.lane)
        is_overtaken = any(attempt_of(arrival.record) > attempt.trigger.attempt for arrival in behind)
        return is_overtaken and self.tables.stopping(attempt.trigger.run) is None

    def _start(self, attempt: Attempt) -> None:
        """Call the handler, or answer without it: `control` is looked at as late as possible."""
        stopping = self.tables.stopping(attempt.trigger.run)
        if stopping is None:
            self._submit(attempt)
            return
        self.counts.attempts["cancelled"] += 1
        self._answer(attempt, reactions.cancelled(self.around, attempt, stopping, self.clock.now()))

    def _submit(self, attempt: Attempt) -> None:
        now = self.clock.monotonic()
        self.counts.handler_runs += 1
        if self.spans is not None:
            self.spans.begin(attempt)
        self._timeouts.add(attempt, now, len(self.running))
        self._lasting.add(attempt, now)
        self.executor.submit(attempt)

    # --- results --------------------------------------------------------------------------

    def _take_results(self) -> bool:
        ended = self.executor.drain()
        if any(self.fusion.may_follow(done.attempt) for done in ended) and self.tables.step():
            self.control_changed()  # read again between hops: what is said of a run counts from here on
        for done in ended:
            if not done.attempt.is_over:
                self._react(done)
        return bool(ended)

    def _time_out(self) -> bool:
        """Give up attempts whose time, counted from the handler's start, is over."""
        did = False
        for attempt in self._timeouts.over(self.clock.monotonic()):
            self.executor.call_off(attempt)
            self._react(Done(attempt, timed_out(attempt.call)))
            did = True
        return did

    def _react(self, done: Done) -> None:
        attempt, outcome = done.attempt, done.outcome
        if not self.ownership.is_current(attempt.partition) or attempt.partition.is_released:
            self.counts.dropped += 1
            self._forget(attempt)
            return
        if self.spans is not None:
            self.spans.end(attempt, outcome)
        self.fusion.observe(attempt, self.clock.monotonic())
        now, began = self.clock.now(), attempt.started
        lasted = timedelta(seconds=0 if began is None else self.clock.monotonic() - began)
        self.counts.ended(attempt, outcome, now, lasted)
        if isinstance(outcome, Succeeded):
            self._succeeded(attempt, outcome, (now, lasted))
        else:
            self._answer(attempt, self._failure(attempt, outcome, (now, lasted)))

    def _succeeded(self, attempt: Attempt, outcome: Succeeded, when: tuple[datetime, timedelta]) -> None:
        """Answer, or go on with the one successor at once."""
        is_free = self.tables.is_free(attempt.trigger.run)
        try:
            children = reactions.children_of(self.around, attempt, outcome.output) if is_free else []
            child = self.fusion.follows(attempt, children, is_free=is_free)
            if child is not None and not self.executor.has_room(self.fusion.agents[child.agent]):
                child = None
            told = reactions.told(self.around, attempt, outcome, when, children, fused=child is not None)
        except Exception as error:  # else every process that gets this record would end of it
            about = attempt.call.log_fields
            log.exception("what came of %s/%s cannot be told", attempt.trigger.run, attempt.step.name, extra=about)
            return self._answer(attempt, self._failure(attempt, failure_of(error), when))
        again = partial(reactions.told, self.around, attempt, outcome, when)
        unfired = [partial(again, ())] if children else []
        if child is None:
            return self._answer(attempt, told, unfired)
        apart = [partial(again, children), *unfired]
        self._end(attempt)
        self.counts.fused += 1
        self._begin(self.fusion.go_on(attempt, child, told, apart))

    def _failure(self, attempt: Attempt, outcome: Failed, when: tuple[datetime, timedelta]) -> list[Outgoing]:
        if outcome.kind == "undecodable":
            self.counts.quarantined["undecodable"] += 1
        log_failure(attempt, outcome)
        return reactions.failed(self.around, attempt, outcome, *when)

    def _answer(
        self, attempt: Attempt, outgoing: list[Outgoing], milder: Sequence[Callable[[], list[Outgoing]]] = ()
    ) -> None:
        """The record that the attempt came from has all its facts, those of the hops before included.

        `milder`: successes that may be told instead.
        """
        self._end(attempt)
        chain, about = attempt.chain, attempt
        if chain is not None:
            milder = chain.apart
            about, outgoing = chain.first, [*chain.told, *outgoing]
        self._in_hand(Arrival(attempt.partition, attempt.record), outgoing, about, milder)

    def _end(self, attempt: Attempt) -> None:
        attempt.is_over = True
        self.running.pop(attempt, None)
        if attempt.step.deadline is not None:
            self._bounded.pop(attempt.lane, None)

    def _quarantine(self, arrival: Arrival, spec: AgentSpec, it: Quarantine) -> None:
        self.counts.quarantined[it.reason] += 1
        record = arrival.record
        fields = {"topic": record.topic, "partition": record.partition, "offset": record.offset, "reason": it.reason}
        log.warning("%s", it.error, extra=fields | it.log_fields)
        outgoing = reactions.quarantined(self.around, arrival.record, spec.name, it, self.clock.now())
        self._in_hand(arrival, outgoing, it)

    def _in_hand(
        self,
        arrival: Arrival,
        outgoing: list[Outgoing],
        about: Attempt | Quarantine,
        milder: Sequence[Callable[[], list[Outgoing]]] = (),
    ) -> None:
        """The record is answered: its result waits for the next transaction, its lane is free."""
        opening = reactions.opening(self.around, about, self.clock.now()) if isinstance(about, Attempt) else []
        records = new_records([*opening, *outgoing], self.home_partitions)
        retreat = Retreat(self.around, self.clock, self.home_partitions, arrival.record, about, milder, opening)
        size = sum(size_of(record) for record in records)
        self.planner.add(
            Answer(arrival.partition, arrival.record.offset, records, size, arrival.charge, retreat.records)
        )
        arrival.partition.out -= 1
        self.lanes.done(arrival.lane)

    # --- telling --------------------------------------------------------------------------

    def _tell_started(self) -> None:
        """Tell telemetry of attempts that last."""
        now = self.clock.monotonic()
        for attempt, began in self._lasting.ripe(now):
            at = self.clock.now() - timedelta(seconds=now - began)
            self.signals.started(attempt.call, attempt.spec.name, at)
