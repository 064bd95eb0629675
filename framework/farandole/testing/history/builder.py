"""Histories made by hand: writes what agents and a coordinator would, one call per transaction.

For tests of the checker and of lineage. Ids, headers and places are made by the same functions
that the running parts use; what follows from what is the test's own claim. Bad histories are
made by leaving a call out, by giving it wrong arguments, or by editing the entries.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from farandole.definition.model import Definition
from farandole.events import facts
from farandole.events.acts import ReadAgain, Repositioned
from farandole.events.catalogue import encode, type_name
from farandole.events.commands import CancelRun, Command, DiscardDeadLetter, ReleaseRun, ReplayDeadLetter, StartRun
from farandole.events.envelope import Envelope
from farandole.events.outgoing import (
    DEAD_LETTER,
    Origin,
    Outgoing,
    Trigger,
    dead_letter_record,
    event_record,
    trigger_record,
)
from farandole.events.tables import RunControl, RunHead, SettledRun
from farandole.events.topics import Topics
from farandole.ids import NO_ITEM, agent_fact_id, attempt_id, consequence_id, partition_of
from farandole.lineage.entries import Entry, from_record
from farandole.testing.history.report import Committed, History, Span
from farandole.transport.port import NewRecord

COORDINATOR = "farandole.coordinator.0"
START = datetime(2026, 1, 1, tzinfo=UTC)
TICK = timedelta(milliseconds=10)
DAY = timedelta(days=1)


@dataclass(slots=True)
class HandMade:
    """The topics of a namespace, written call by call. Every call moves the clock by a tick.

    The run `run` of `definition` is what calls are about; change `run` to write about another.
    """

    definition: Definition
    run: str = "r-1"
    partitions: int = 2
    topics: Topics = field(default_factory=Topics)
    now: datetime = START
    entries: dict[str, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    written: list[NewRecord] = field(default_factory=list)
    """The same records as a log takes them, in their order."""

    last: Entry | None = None
    """The record that the next consequence follows from, unless it is told otherwise."""

    consumed: Entry | None = None
    """The trigger that reports are made of, where an attempt has several; else the only one."""

    repositions: list[Repositioned] = field(default_factory=list)
    _counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    _failing: dict[tuple[str, str, int], datetime] = field(default_factory=dict)

    # --- what clients ask -----------------------------------------------------------------

    def asked(self, command: Command) -> Entry:
        """A command on its run's home, with an envelope."""
        name = f"{self.run}/asked/{len(self.entries[self.topics.commands])}"
        envelope = Envelope(name, type_name(type(command)), "client", self.now, run=self.run)
        record = Outgoing(self.topics.commands, self.run, encode(command), envelope.headers(), home=self.run)
        self.last = self._write(record)
        return self.last

    def asked_by_hand(self, text: str) -> Entry:
        """What kcat writes: JSON on its run's home, without an envelope."""
        self.last = self._write(Outgoing(self.topics.commands, self.run, text.encode(), (), home=self.run))
        return self.last

    def refused(self, reason: str = "params") -> Entry:
        """A start that is refused."""
        asked = self.asked(StartRun(self.definition.name, b"", self.run))
        return self.follows(facts.RunRefused(self.run, self.definition.name, reason, "why"), asked)

    def started(self, *roots: str, params: bytes = b"", deadline: timedelta | None = None) -> Entry:
        """`StartRun`, its `RunStarted`, and the roots scheduled. `deadline`: another than the definition says."""
        asked = self.asked(StartRun(self.definition.name, params, self.run))
        span = deadline or self.definition.deadline
        until = self.now + span if span is not None else None
        fact = facts.RunStarted(self.run, self.definition.name, self.definition.hash, params, "hash", self.now, until)
        started = self.follows(fact, asked)
        for root in roots:
            self.scheduled(root, cause=started)
        self.last = started
        return started

    def cancel_asked(self, reason: str = "") -> Entry:
        """`CancelRun` and the marker that it becomes."""
        asked = self.asked(CancelRun(self.run, reason))
        return self.marked(facts.CancelRequested(self.run, reason), asked)

    def release_asked(self) -> Entry:
        """`ReleaseRun` and the marker that it becomes."""
        asked = self.asked(ReleaseRun(self.run))
        return self.marked(facts.ReleaseRequested(self.run), asked)

    def replay_asked(self, step: str, attempt: int, letter: Entry, item: int = NO_ITEM, given: bytes = b"") -> Entry:
        """`ReplayDeadLetter` and the marker that it becomes. `given`: a repaired input."""
        asked = self.asked(ReplayDeadLetter(self.run, step, attempt, letter.place, given or None, item))
        return self.marked(facts.ReplayRequested(self.run, step, attempt, letter.place, given or None, item), asked)

    def discard_asked(self, step: str, attempt: int, letter: Entry, item: int = NO_ITEM) -> Entry:
        """`DiscardDeadLetter` and the marker that it becomes."""
        asked = self.asked(DiscardDeadLetter(self.run, step, attempt, letter.place, "", item))
        return self.marked(facts.DiscardRequested(self.run, step, attempt, letter.place, "", item), asked)

    # --- what agents do -------------------------------------------------------------------

    def succeeded(
        self, step: str, attempt: int = 1, item: int = NO_ITEM, *, fired: Sequence[str] = (), output: bytes = b""
    ) -> Entry:
        """A result, with the triggers that its agent fires."""
        fact = facts.StepSucceeded(self.run, step, attempt, output, tuple(fired), item, 7)
        told = self.reported(fact)
        for child in fired:
            trigger = Trigger(self.run, child, self._agent(child), 1, b"")
            self._write(trigger_record(self.topics, trigger, cause=told.id, origin=self._agents_origin(fact)))
        return told

    def failed(
        self,
        step: str,
        attempt: int = 1,
        item: int = NO_ITEM,
        *,
        kind: str = "exception",
        error: str = "boom",
        retryable: bool = True,
        given: bytes = b"",
        lasted_ms: int = 7,
    ) -> Entry:
        """A failure, with the dead letter if it is final. `given`: the input that it keeps."""
        fact = facts.StepFailed(
            self.run, step, attempt, kind, error, "fp", retryable, given, not retryable, None, item, lasted_ms
        )
        told = self.reported(fact)
        if not retryable:
            self.dead_letter(told, kind)
        return told

    def cancelled(self, step: str, attempt: int = 1, item: int = NO_ITEM) -> Entry:
        """A trigger answered without a run of its handler."""
        return self.reported(facts.StepCancelled(self.run, step, attempt, "stopping", item))

    def started_directly(self, root: str) -> Entry:
        """The trigger that starts a run, and what its agent says of it before its report; the beginning."""
        origin = Origin("client", self.now, definition=self.definition.hash)
        trigger = Trigger(self.run, root, self._agent(root), 1, b"", start=b"params")
        asked = self._write(trigger_record(self.topics, trigger, cause="", origin=origin))
        fact = facts.RunStarted(self.run, self.definition.name, self.definition.hash, b"", "", self.now, fired=(root,))
        unit = self._agents_origin(facts.StepCancelled(self.run, root, 1, ""))
        begun = consequence_id(asked.id, "RunStarted", 0)
        self.last = self._write(event_record(self.topics, fact, event_id=begun, cause=asked.id, origin=unit))
        return self.last

    def reported(self, fact: facts.AgentFact, fused_with: Entry | None = None) -> Entry:
        """What an agent reports, with the place of the trigger that it consumed, or that its parent consumed."""
        fact_id = agent_fact_id(fact.run, fact.step, fact.item, fact.attempt, type(fact).__name__)
        cause = attempt_id(fact.run, fact.step, fact.item, fact.attempt) + "/trigger"
        if fused_with is not None:
            cause = fused_with.id
            origin = Origin(fused_with.source, self.now, self.definition.hash, fused_with.input, self._agent(fact.step))
        else:
            origin = self._agents_origin(fact)
        self.last = self._write(event_record(self.topics, fact, event_id=fact_id, cause=cause, origin=origin))
        return self.last

    def published(self, topic: str, cause: Entry, key: str = "k") -> Entry:
        """A record of the user's, written with a result."""
        envelope = Envelope(
            f"{cause.id}/publish/0", topic, cause.source, self.now, run=self.run, step=cause.unit[0],
            item=cause.unit[1], attempt=cause.attempt, cause=cause.id, input=cause.input,
        )  # fmt: skip
        return self._write(Outgoing(topic, key, b"{}", envelope.headers()))

    # --- what the coordinator writes ------------------------------------------------------

    def follows(self, fact: facts.Consequence, cause: Entry | None = None, *, folded: int | None = None) -> Entry:
        """A consequence of `cause` (the last fact or command), folded up to behind it, and nothing else."""
        cause = cause or self.last
        assert cause is not None
        kind = type(fact).__name__
        n = self._counts[cause.place, kind]
        self._counts[cause.place, kind] += 1
        origin = self._coordinators_origin(cause, folded)
        record = event_record(
            self.topics, fact, event_id=consequence_id(cause.id, kind, n), cause=cause.id, origin=origin
        )
        return self._write(record)

    def marked(self, marker: facts.Marker, asked: Entry | None = None) -> Entry:
        """A marker: of a command, or of a timer or the watchdog."""
        kind = type(marker).__name__
        about = f"{self.run}/{kind}/{getattr(marker, 'attempt', 0)}"
        event_id = consequence_id(asked.place, kind, 0) if asked is not None else about
        cause = asked.id if asked is not None else event_id
        if isinstance(marker, facts.TriggerSuspected):
            cause = attempt_id(marker.run, marker.step, marker.item, marker.attempt) + "/trigger"
        origin = Origin(COORDINATOR, self.now, self.definition.hash, asked.place if asked is not None else "")
        self.last = self._write(event_record(self.topics, marker, event_id=event_id, cause=cause, origin=origin))
        return self.last

    def scheduled(
        self,
        step: str,
        attempt: int = 1,
        item: int = NO_ITEM,
        *,
        cause: Entry | None = None,
        deadline: timedelta | None = None,
        replay: bool = False,
    ) -> Entry:
        """`StepScheduled` with its trigger. `deadline`: another than the definition says."""
        cause = cause or self.last
        assert cause is not None
        if attempt == 1 or replay:
            self._failing.pop((self.run, step, item), None)
            deadline = deadline or self.definition.steps[step].deadline
        until = self.now + deadline if deadline is not None else None
        told = self.follows(facts.StepScheduled(self.run, step, attempt, item, until, replay), cause)
        trigger = Trigger(self.run, step, self._agent(step), attempt, b"", item)
        origin = self._coordinators_origin(cause, None)
        self._write(trigger_record(self.topics, trigger, cause=told.id, origin=origin))
        return told

    def retry(self, step: str, attempt: int, wait: timedelta = timedelta(seconds=2), item: int = NO_ITEM) -> Entry:
        """`RetryScheduled` for the attempt after a failure, the wait, `RetryDue`, and the attempt scheduled."""
        due = self.now + wait
        since = self._failing.setdefault((self.run, step, item), self.now)
        self.follows(facts.RetryScheduled(self.run, step, attempt, due, since, item))
        self.wait(wait)
        self.marked(facts.RetryDue(self.run, step, attempt, item))
        return self.scheduled(step, attempt, item)

    def given_up(self, step: str, attempt: int, reason: str, item: int = NO_ITEM, by: str = "coordinator") -> Entry:
        """`StepDeadLettered`, with the dead letter if the coordinator writes it; the dead letter, else the fact."""
        told = self.follows(facts.StepDeadLettered(self.run, step, attempt, reason, by, item))
        return self.dead_letter(told, reason) if by == "coordinator" else told

    def held(self, step: str, reason: str = "dead_letter", item: int = NO_ITEM) -> Entry:
        """`RunHeld` for a step."""
        return self.follows(facts.RunHeld(self.run, reason, "", step, item, self.now + DAY))

    def stopping(self, outcome: str = "cancelled", *, tell: bool = True) -> Entry:
        """`RunStopping`, told to the agents in `control`."""
        told = self.follows(facts.RunStopping(self.run, outcome, "", self.now + timedelta(minutes=10)))
        if tell:
            key = f"run:{self.run}"
            self._table(self.topics.control, key, RunControl(self.run, "stopping"), told, home=False)
        return told

    def settled(self, outcome: str = "succeeded", output: bytes | None = None) -> Entry:
        """`RunSettled`, with the record on `settled` and the stub in `runs`."""
        told = self.follows(facts.RunSettled(self.run, outcome, self.now, self.now + DAY, "", output))
        row = SettledRun(self.run, self.definition.name, self.definition.hash, outcome, "", START, self.now, (), output)
        self._table(self.topics.settled, self.run, row, told)
        self.head("settled", outcome)
        return told

    def head(self, status: str, outcome: str = "") -> Entry:
        """The run's head in `runs`, which has no envelope."""
        row = RunHead(self.run, self.definition.name, self.definition.hash, status, START, self.now, outcome, "", b"")
        return self._write(Outgoing(self.topics.runs, self.run, encode(row), (), home=self.run))

    # --- what either does -----------------------------------------------------------------

    def dead_letter(self, cause: Entry, reason: str) -> Entry:
        """The dead letter that a fact tells of."""
        step, item = cause.unit
        trigger = Trigger(self.run, step, self._agent(step), cause.attempt, b"", item)
        origin = Origin(cause.source, self.now, self.definition.hash, cause.input)
        record = dead_letter_record(
            self.topics, trigger, reason=reason, error="boom", fingerprint="fp", cause=cause.id, origin=origin
        )
        return self._write(record)

    def stranger(self, step: str) -> Entry:
        """An inbox record that is not ours."""
        return self._write(Outgoing(self.topics.inbox(self._agent(step)), "key", b"?", ()))

    def quarantined(self, step: str, record: Entry) -> Entry:
        """The dead letter of a record that is not ours."""
        agent = self._agent(step)
        envelope = Envelope(f"{record.place}/dead", DEAD_LETTER, f"farandole/{agent}/0", self.now, input=record.place)
        return self._write(Outgoing(self.topics.dead(agent), "key", b"?", envelope.headers()))

    def wait(self, time: timedelta) -> None:
        """Let time pass."""
        self.now += time

    def read_again(self, step: str, begin: int = 0, end: int | None = None) -> None:
        """A person let the inbox of a step be read again: by default all that is in it."""
        agent = self._agent(step)
        ends = [
            sum(each.partition == n for each in self.entries[self.topics.inbox(agent)]) for n in range(self.partitions)
        ]
        ranges = (ReadAgain(n, begin, there if end is None else end) for n, there in enumerate(ends))
        self.repositions.append(Repositioned(agent, "unit", self.now, tuple(ranges)))

    # --- what came of it ------------------------------------------------------------------

    def trigger_of(self, step: str, attempt: int = 1, item: int = NO_ITEM) -> Entry:
        """The inbox record of an attempt."""
        wanted = attempt_id(self.run, step, item, attempt) + "/trigger"
        return next(each for each in self._inboxes() if each.id == wanted)

    def history(self, *, quiescent: bool = True) -> History:
        """Everything written so far, and consumed by its owners to the end."""
        ends = {(topic, number): 0 for topic in [*self.entries] for number in range(self.partitions)}
        for each in (entry for several in self.entries.values() for entry in several):
            at = each.topic, each.partition
            ends[at] = max(ends[at], each.offset + 1)
        spans = {at: Span(0, end, end) for at, end in ends.items()}
        return History(
            topics=self.topics,
            events=tuple(self.entries[self.topics.events]),
            commands=tuple(self.entries[self.topics.commands]),
            inboxes=tuple(self._inboxes()),
            dead=tuple(e for topic, several in self.entries.items() if ".dead." in topic for e in several),
            runs=tuple(self.entries[self.topics.runs]),
            settled=tuple(self.entries[self.topics.settled]),
            control=tuple(self.entries[self.topics.control]),
            definitions={str(self.definition.hash): self.definition},
            spans=spans,
            committed=tuple(self._committed(spans)),
            repositions=tuple(self.repositions),
            quiescent=quiescent,
        )

    def _inboxes(self) -> list[Entry]:
        return [each for topic, several in self.entries.items() if ".inbox." in topic for each in several]

    def _committed(self, spans: "dict[tuple[str, int], Span]") -> list[Committed]:
        """Coordinators have read everything; agents what they have answered."""
        homes = {self.topics.events, self.topics.commands}
        out = []
        for (topic, number), span in spans.items():
            if topic in homes:
                out.append(Committed(COORDINATOR, topic, number, span.end))
            elif ".inbox." in topic:
                out.append(self._answered(topic, number, span.end))
        return out

    def _answered(self, topic: str, number: int, end: int) -> Committed:
        told = [*self.entries[self.topics.events], *(e for t, es in self.entries.items() if ".dead." in t for e in es)]
        places = {each.input for each in told}
        done = {n for n in range(end) if f"{topic}/{number}/{n}" in places}
        base = next((n for n in range(end) if n not in done), end)
        return Committed(self.topics.group("unit"), topic, number, base, frozenset(n for n in done if n > base))

    def _agent(self, step: str) -> str:
        return self.definition.steps[step].agent

    def _agents_origin(self, fact: facts.AgentFact) -> Origin:
        agent = self._agent(fact.step)
        try:
            consumed = (self.consumed or self.trigger_of(fact.step, fact.attempt, fact.item)).place
        except StopIteration:
            consumed = ""
        return Origin(f"farandole/{agent}/0", self.now, self.definition.hash, consumed, agent)

    def _coordinators_origin(self, cause: Entry, folded: int | None) -> Origin:
        home = partition_of(self.run, self.partitions)
        events = [e for e in self.entries[self.topics.events] if e.partition == home and not e.is_consequence]
        behind = 1 + max((each.offset for each in events), default=-1) if folded is None else folded
        return Origin(COORDINATOR, self.now, self.definition.hash, cause.place, folded=f"{home}/{behind}")

    def _table(self, topic: str, key: str, row: RunControl | SettledRun, cause: Entry, *, home: bool = True) -> None:
        name, kind = f"{cause.id}/{type(row).__name__}", type_name(type(row))
        envelope = Envelope(name, kind, COORDINATOR, self.now, run=self.run, cause=cause.id)
        self._write(Outgoing(topic, key, encode(row), envelope.headers(), home=self.run if home else None))

    def _write(self, record: Outgoing) -> Entry:
        self.now += TICK
        number = partition_of(record.home or record.key, self.partitions)
        log = self.entries[record.topic]
        offset = sum(each.partition == number for each in log)
        stamp = round(self.now.timestamp() * 1000)
        entry = from_record(record.topic, number, offset, record.key.encode(), record.value, record.headers, stamp)
        log.append(entry)
        self.written.append(NewRecord(record.topic, record.key.encode(), record.value, record.headers, number))
        return entry
