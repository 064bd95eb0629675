"""One run played in memory around the pure kernel: the log, the agents, and time, stepped by hand.

    stage = Stage(define(node("a"), node("b", "a")))
    stage.succeed("a", n=3)
    stage.succeed("b")
    assert stage.outcome == "succeeded"

Everything that would stand on a topic is kept: `log` is the run's home partition of `events`,
each fact having gone through its bytes; `table` is `runs`; `tasks` are triggers nobody has
answered. Nothing is folded twice, and nothing is hidden: an error of the kernel is raised.
"""

import heapq
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar, cast

from farandole.definition.graph import Graph, graph_of
from farandole.definition.model import Definition
from farandole.events import facts
from farandole.events.avro import Schema
from farandole.events.catalogue import decode, encode
from farandole.events.commands import StartRun
from farandole.events.outgoing import Origin, Outgoing
from farandole.events.tables import SettledRun
from farandole.events.topics import Topics
from farandole.ids import NO_ITEM
from farandole.kernel.admission import admit
from farandole.kernel.decide import follow
from farandole.kernel.decision import Decision, Moment
from farandole.kernel.evolve import start
from farandole.kernel.outbox import Cause, outbox
from farandole.kernel.rebuild import Logged
from farandole.kernel.snapshot import state_records
from farandole.kernel.state import Run, Status, Unit, instant, ms
from farandole.kernel.timers import Timer, marker, timers_after
from farandole.kernel.values import Values
from farandole.testing.answers import Task, failure, refusal, success, task_of
from farandole.testing.sketch import framed, framed_params

BEGINNING = datetime(2026, 1, 1, 0, 0, 0, 999, tzinfo=UTC)
"""Not a whole millisecond: what is cut on the way must be cut everywhere."""

_E = TypeVar("_E", bound=facts.Event)


def through_bytes(event: _E) -> _E:
    """The event as whoever reads it from the log sees it."""
    return cast(_E, decode(encode(event)))


@dataclass(slots=True)
class Kept:
    """What one run has put on topics other than `events`, in order."""

    triggers: list[Task] = field(default_factory=list)
    dead: list[Outgoing] = field(default_factory=list)
    control: list[Outgoing] = field(default_factory=list)
    settled: list[SettledRun] = field(default_factory=list)
    fired_by_agents: list[Task] = field(default_factory=list)


class Stage:
    """A run of `definition`, started; `luck` is what the shell draws for each jitter."""

    def __init__(
        self,
        definition: Definition,
        *,
        n: int = 0,
        items: Sequence[int] = (),
        pad: str = "",
        run_id: str = "r-1",
        luck: float = 0.0,
    ) -> None:
        self.definition = definition
        self.graph: Graph = graph_of(definition)
        self.topics = Topics()
        self.luck = luck
        self.now = BEGINNING
        self.log: list[Logged] = []
        self.at = 0
        """The next offset to fold."""
        self.table: dict[str, bytes] = {}
        self.tasks: list[Task] = []
        self.timers: list[Timer] = []
        self.kept = Kept()
        self.lived: list[tuple[int, Run]] = []
        """How long the log was when the run was so."""
        command = StartRun(definition.name, framed_params(n, items, pad), run_id)
        started = admit(command, run_id, definition, None, self.moment)
        assert isinstance(started, facts.RunStarted), started
        self.run: Run = start(self.graph, started)
        self._log([started])
        self._write_state(None)
        self.timers.extend(timers_after(self.run, [started]))
        self.follow(started)

    # --- what the coordinator does --------------------------------------------------------

    @property
    def moment(self) -> Moment:
        """The instant and the draw."""
        return Moment(self.now, self.luck)

    def follow(self, given: facts.Event) -> list[facts.Event]:
        """Fold a fact, write what follows; the consequences."""
        it = follow(self.run, given, self.moment, Values())
        self.keep(it, f"cause-{self.at}")
        return it.events

    def keep(self, it: Decision, cause: str) -> None:
        """Write what a decision implies, and go on with the run as it is then."""
        before = self.run
        records = outbox(it.steps, Cause(cause, Origin("tests", self.now)), self.topics, it.values)
        self.run = it.run
        self._log(it.events)
        self._write_state(before)
        for timer in timers_after(it.run, it.events):
            heapq.heappush(self.timers, timer)
        for record in records:
            self._deliver(record)

    def fold(self, most: int = 1_000_000) -> None:
        """Fold up to `most` facts that were written and not yet read back."""
        while most and self.at < len(self.log):
            logged = self.log[self.at]
            self.at += 1
            if logged.folded is None:
                most -= 1
                self.follow(logged.event)

    def write(self, *given: facts.Fact) -> None:
        """Put facts on the log without folding them."""
        at = len(self.log)  # before the log grows under what is drawn from it
        self.log.extend(Logged(at + n, through_bytes(fact)) for n, fact in enumerate(given))

    def tell(self, *given: facts.Fact) -> None:
        """Put facts on the log and fold all there is."""
        self.write(*given)
        self.fold()

    def _log(self, consequences: Iterable[facts.Event]) -> None:
        for event in consequences:
            self.log.append(Logged(len(self.log), through_bytes(event), folded=self.at))

    def _write_state(self, before: Run | None) -> None:
        for key, content in state_records(before, self.run, self.now):
            if content is None:
                self.table.pop(key, None)
            else:
                self.table[key] = content
        self.lived.append((len(self.log), self.run))

    def _deliver(self, record: Outgoing) -> None:
        kind = record.topic.removeprefix(f"{self.topics.namespace}.").partition(".")[0]
        if kind == "inbox":
            task = task_of(record.headers, record.value)
            self.tasks.append(task)
            self.kept.triggers.append(task)
        elif kind == "dead":
            self.kept.dead.append(record)
        elif kind == "control":
            self.kept.control.append(record)
        elif kind == "settled":
            settled = decode(record.value or b"")
            assert isinstance(settled, SettledRun)
            self.kept.settled.append(settled)

    # --- what agents do -------------------------------------------------------------------

    def take(self, step: str, item: int = NO_ITEM, attempt: int | None = None) -> Task:
        """Take a task out of its inbox: the oldest of that step and item, or a certain attempt."""
        for task in self.tasks:
            if task.is_of == (step, item) and attempt in (None, task.attempt):
                self.tasks.remove(task)
                return task
        raise LookupError(f"no trigger of {step}, item {item}, attempt {attempt} waits; there are {self.tasks}")

    def report(self, task: Task, output: bytes, leave_out: Collection[str] = ()) -> facts.StepSucceeded:
        """Write the result of a task and the triggers that its agent fires, unfolded."""
        fact, fired = success(self.graph, task, output, leave_out)
        self.write(fact)
        self.tasks.extend(fired)
        self.kept.fired_by_agents.extend(fired)
        return fact

    def succeed(
        self,
        step: str,
        item: int = NO_ITEM,
        *,
        n: int = 0,
        items: Sequence[int] = (),
        pad: str = "",
        attempt: int | None = None,
        leave_out: Collection[str] = (),
    ) -> facts.StepSucceeded:
        """A waiting task succeeds, and all there is is folded."""
        fact = self.report(self.take(step, item, attempt), framed(n, items, pad), leave_out)
        self.fold()
        return fact

    def fail(
        self,
        step: str,
        item: int = NO_ITEM,
        *,
        attempt: int | None = None,
        retryable: bool = True,
        error: str = "boom",
        retry_after_ms: int | None = None,
    ) -> facts.StepFailed:
        """A waiting task fails, and all there is is folded."""
        task = self.take(step, item, attempt)
        fact = failure(task, retryable=retryable, error=error, retry_after_ms=retry_after_ms)
        self.tell(fact)
        return fact

    def answer(self, step: str, item: int = NO_ITEM) -> None:
        """A waiting task is answered without being run, because its agent knows that the run is stopping."""
        self.tell(refusal(self.take(step, item)))

    def replay(self, step: str, item: int = NO_ITEM, *, repaired: bytes | None = None) -> None:
        """Somebody replays the last attempt of a step."""
        self.tell(facts.ReplayRequested(self.run.id, step, self.unit(step, item).attempt, "dead/0/0", repaired, item))

    def discard(self, step: str, item: int = NO_ITEM) -> None:
        """Somebody discards the dead letter of a step."""
        self.tell(facts.DiscardRequested(self.run.id, step, self.unit(step, item).attempt, "dead/0/0", "enough", item))

    # --- time -----------------------------------------------------------------------------

    def pass_time(self, by: timedelta) -> None:
        """Let time pass; timers that come due become markers, which are folded."""
        until = self.now + by
        while (due := self.next_due()) is not None and due <= until:
            self.now = max(self.now, due)
            self.write(*self.due_markers())
            self.fold()
        self.now = until

    def next_due(self) -> datetime | None:
        """When the next timer of the run comes; forgetting a settled run is none of it."""
        return None if self.run.is_settled or not self.timers else instant(self.timers[0].due)

    def due_markers(self) -> list[facts.Marker]:
        """Take the timers that are due, as the markers they become."""
        found: list[facts.Marker] = []
        while self.timers and self.timers[0].due <= ms(self.now):
            if (fact := marker(self.run, heapq.heappop(self.timers))) is not None:
                found.append(fact)
        return found

    # --- what tests look at ---------------------------------------------------------------

    @property
    def waiting(self) -> set[tuple[str, int, int]]:
        """Step, item and attempt of each task that nobody has answered."""
        return {(task.step, task.item, task.attempt) for task in self.tasks}

    @property
    def steps_waiting(self) -> set[str]:
        """The steps that have a task which nobody has answered."""
        return {task.step for task in self.tasks}

    @property
    def outcome(self) -> str:
        """How the run ended; empty while it has not, even where it is known how it will."""
        return self.run.head.outcome if self.run.is_settled else ""

    def unit(self, step: str, item: int = NO_ITEM) -> Unit:
        """The state of a step or an item."""
        return self.run.unit(self.run.number(step, item))

    def status(self, step: str, item: int = NO_ITEM) -> Status:
        """Where a step or an item stands; of an ended run only steps are known."""
        if self.run.is_settled:
            return next(Status[it.status.upper()] for it in self.final().steps if it.step == step)
        return self.unit(step, item).status

    def events(self, kind: type[_E]) -> list[_E]:
        """Everything of one kind that stands on the log, in order."""
        return [it.event for it in self.log if isinstance(it.event, kind)]

    def given(self, step: str, item: int = NO_ITEM) -> object:
        """What the waiting task of a step was given, decoded."""
        task = next(task for task in self.tasks if task.is_of == (step, item))
        return Schema.parse(self.graph.step(step).input_schema).decode(task.input)

    def final(self) -> SettledRun:
        """The record of the ended run."""
        assert len(self.kept.settled) == 1, self.kept.settled
        return self.kept.settled[0]

    def output(self) -> object:
        """What the run gave, decoded; None if nothing."""
        framed_output, schema = self.final().output, self.definition.output_schema
        return None if framed_output is None or schema is None else Schema.parse(schema).decode(framed_output)
