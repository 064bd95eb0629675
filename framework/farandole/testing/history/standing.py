"""How the steps of a run stand at each point of its story: the checker's own reading of the rules.

A second, plain statement of DESIGN sections 6 and 7 (R10), so that a mistake in the kernel is
not made twice. It follows what is on the log without judging it; the predicates judge.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from farandole.definition.graph import Graph
from farandole.events import facts
from farandole.ids import NO_ITEM
from farandole.lineage.entries import Entry, Unit

OPEN = frozenset({"pending", "scheduled", "retry", "dead", "suspected"})
"""A success counts while its unit is one of these: an edge that an agent fired may not be known yet (`pending`)."""

ENDED = frozenset({"succeeded", "skipped"})
"""How a step, or an item, ends in a running run. A failure leads to a retry or a dead letter first, and a trigger is
answered by `StepCancelled` only where the run is stopping and nothing goes any more."""


def is_over(held: Entry, now: datetime) -> bool:
    """Whether a hold has ended; one without an end never does."""
    return isinstance(held.fact, facts.RunHeld) and held.fact.until is not None and held.fact.until <= now


@dataclass(slots=True)
class UnitState:
    """A step or an item.

    `status`: `pending`, `scheduled`, `retry`, `dead`, `suspected`, `expanded`, `succeeded`, `skipped`, `failed`
    or `cancelled`; a failure that the coordinator has not answered yet is `failed` too. `attempt` is the last one
    known, `budget_from` the attempt after which retries are counted, `failing_since` the instant from which their time
    is. `reported` holds the attempts with a result; `holds`, `deadlines` and `retries_set` are the facts that set its
    timers.
    """

    status: str = "pending"
    attempt: int = 0
    budget_from: int = 0
    failing_since: datetime | None = None
    accepted: Entry | None = None
    failure: Entry | None = None
    retry: Entry | None = None
    triggered: set[int] = field(default_factory=set)
    reported: set[int] = field(default_factory=set)
    holds: list[Entry] = field(default_factory=list)
    deadlines: list[Entry] = field(default_factory=list)
    retries_set: dict[int, Entry] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether a success would count."""
        return self.status in OPEN

    @property
    def unreported(self) -> set[int]:
        """Attempts that were triggered and have not reported."""
        return self.triggered - self.reported

    def hold_is_over(self, now: datetime) -> bool:
        """Whether what holds it now has ended: an earlier hold of the same attempt may have ended before."""
        return any(is_over(held, now) for held in self.holds[-1:])


@dataclass(slots=True)
class Standing:
    """A run. `phase`: `running`, `stopping` or `settled`; `kernel_error`: the hold that makes it stand still."""

    graph: Graph
    units: dict[Unit, UnitState] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    phase: str = "running"
    started: Entry | None = None
    stopping: Entry | None = None
    settled: Entry | None = None
    kernel_error: Entry | None = None
    kernel_holds: list[Entry] = field(default_factory=list)
    is_partial: bool = False

    def unit(self, step: str, item: int = NO_ITEM) -> UnitState:
        """A step or item, pending if nothing is known of it."""
        return self.units.setdefault((step, item), UnitState())

    def of(self, entry: Entry) -> UnitState:
        """The unit that an entry is about."""
        return self.unit(*entry.unit)

    def has_ended(self, step: str) -> bool:
        """Whether nothing more comes of the step by itself."""
        return self.unit(step).status in ENDED

    def has_won(self, step: str) -> bool:
        """Whether the step gave a result that counts."""
        return self.unit(step).status == "succeeded"

    @property
    def is_held(self) -> bool:
        """Whether it waits for a person."""
        return self.kernel_error is not None or any(u.status in ("dead", "suspected") for u in self.units.values())

    @property
    def is_unread(self) -> bool:
        """Whether it stands still for want of its definition."""
        held = self.kernel_error.fact if self.kernel_error is not None else None
        return isinstance(held, facts.RunHeld) and held.is_unread

    def counts(self, entry: Entry) -> bool:
        """Whether the result that an entry reports has an effect, were it folded now."""
        unit = self.of(entry)
        if self.phase == "settled" or (self.phase == "running" and isinstance(entry.fact, facts.StepCancelled)):
            return False
        if isinstance(entry.fact, facts.StepSucceeded):
            return unit.is_open
        current = unit.status in ("pending", "scheduled", "suspected")
        return current and unit.attempt in (0, entry.attempt)

    def apply(self, entry: Entry) -> None:
        """Take in the next event of the story."""
        fact = entry.fact
        if isinstance(fact, facts.AgentFact):
            self._report(entry, fact)
        elif fact is not None and entry.unit[0]:
            self._step(entry, fact)
        elif fact is not None:
            self._run(entry, fact)

    def _report(self, entry: Entry, fact: facts.AgentFact) -> None:
        unit, counts = self.of(entry), self.counts(entry)
        unit.triggered.add(fact.attempt)
        unit.reported.add(fact.attempt)
        if not counts:
            self._fired_too_late(fact)
            return
        unit.attempt = max(unit.attempt, fact.attempt)
        match fact:
            case facts.StepSucceeded(fired=fired):
                unit.status, unit.accepted = "succeeded", entry
                for child in fired:
                    self._fired(child)
            case facts.StepFailed():
                unit.status, unit.failure = "failed", entry
            case facts.StepCancelled():
                unit.status = "cancelled"

    def _fired_too_late(self, fact: facts.AgentFact) -> None:
        """A success after the end changes nothing; what its agent had fired is answered all the same."""
        if self.phase == "settled" and isinstance(fact, facts.StepSucceeded):
            for child in fact.fired:
                self.unit(child).triggered.add(1)

    def _fired(self, child: str) -> None:
        unit = self.unit(child)
        if unit.status == "pending":
            unit.status, unit.attempt = "scheduled", 1
            unit.triggered.add(1)

    def _step(self, entry: Entry, fact: facts.Event) -> None:
        unit = self.of(entry)
        match fact:
            case facts.StepScheduled(attempt=attempt, deadline=deadline, fresh_budget=fresh):
                unit.status, unit.attempt = "scheduled", attempt
                unit.triggered.add(attempt)
                if deadline is not None:
                    unit.deadlines.append(entry)
                unit.budget_from = attempt - 1 if fresh else unit.budget_from
                unit.failing_since = None if fresh else unit.failing_since
            case facts.StepExpanded(items=items):
                unit.status = "expanded"
                self.items[fact.step] = items
            case facts.StepSkipped(reason=reason):
                unit.status = "skipped"
                self.is_partial |= reason == "dead_letter"
            case facts.StepCompleted():
                unit.status = "succeeded"
            case facts.RetryScheduled(attempt=attempt, failing_since=since):
                unit.status, unit.retry = "retry", entry
                unit.failing_since = unit.failing_since or since
                unit.retries_set[attempt] = entry
            case facts.StepDeadLettered():
                unit.status = "dead"
            case facts.RunHeld(reason=reason):
                unit.status = "suspected" if reason == "trigger_suspected" else "dead"
                unit.holds.append(entry)
            case _:
                pass

    def _run(self, entry: Entry, fact: facts.Event) -> None:
        match fact:
            case facts.RunStarted(fired=fired):
                self.started = self.started or entry
                for root in fired:
                    self._fired(root)
            case facts.RunHeld():
                self.kernel_error = entry
                self.kernel_holds.append(entry)
            case facts.RunReleased(reason="kernel_error"):
                self.kernel_error = None
            case facts.RunReleased():
                for unit in self.units.values():
                    if unit.status == "suspected":
                        unit.status = "scheduled"
            case facts.RunStopping():
                self.phase, self.stopping = "stopping", entry
            case facts.RunSettled():
                self.phase, self.settled = "settled", self.settled or entry
            case _:
                pass


def walk(graph: Graph, told: Sequence[Entry]) -> Iterator[tuple[Entry, Standing]]:
    """Each event of a story with the run as it stood before it; the standing is one object that goes on."""
    standing = Standing(graph)
    for entry in told:
        yield entry, standing
        standing.apply(entry)


def final(graph: Graph, told: Sequence[Entry]) -> Standing:
    """The run after all of its story."""
    standing = Standing(graph)
    for entry in told:
        standing.apply(entry)
    return standing
