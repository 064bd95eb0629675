"""What a coordinator counts of runs and steps: only what was committed, at the moment it is.

Written by the loop's thread alone, and read by whoever scrapes. Nothing here is restored: after
a take-over the live runs are counted anew, and the totals begin at zero with the process.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from farandole.coordinator.batch import Batch
from farandole.coordinator.home import Home
from farandole.events import facts
from farandole.kernel.state import HOLDING, Head, Phase, Run
from farandole.telemetry.catalogue import LONG, SHORT
from farandole.telemetry.measures import Distribution, Totals

_OUTCOME: dict[type[facts.Event], str] = {facts.StepSucceeded: "succeeded", facts.StepCancelled: "cancelled"}


@dataclass(slots=True)
class Live:
    """The live runs of one home: when each began (in that order), how many there are of each state, and who is held."""

    began: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Start in ms and pipeline. Oldest first, so that finding the stale ones costs their number only."""

    states: Totals = field(default_factory=Totals)
    held: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Measures:
    """Totals since the process began, and the live runs by home."""

    started: Totals = field(default_factory=Totals)
    settled: Totals = field(default_factory=Totals)
    refused: Totals = field(default_factory=Totals)
    attempts: Totals = field(default_factory=Totals)
    retries: Totals = field(default_factory=Totals)
    dead_letters: Totals = field(default_factory=Totals)
    replays: Totals = field(default_factory=Totals)
    start_delay: Distribution = field(default_factory=lambda: Distribution(LONG))
    duration: Distribution = field(default_factory=lambda: Distribution(LONG))
    hold: Distribution = field(default_factory=lambda: Distribution(LONG))
    restore: Distribution = field(default_factory=lambda: Distribution(LONG))
    went_back: int = 0
    transactions: Distribution = field(default_factory=lambda: Distribution(SHORT))
    live: dict[int, Live] = field(default_factory=dict)
    taken_at: dict[int, float] = field(default_factory=dict)
    """When homes that are not running yet were assigned, on the monotonic clock."""

    def claimed(self, number: int, monotonic: float) -> None:
        """A home was assigned, or must be restored."""
        self.live.pop(number, None)
        self.taken_at.setdefault(number, monotonic)

    def running(self, home: Home, monotonic: float, now_ms: int) -> None:
        """A home is served from now on, with the runs it has."""
        since = self.taken_at.pop(home.number, None)
        if since is not None:
            self.restore.observe(monotonic - since)
        live = self.live[home.number] = Live()
        for run in sorted([*home.runs.values(), *home.standing.values()], key=_began):
            self._moved(live, None, run, now_ms)
            if run.id in live.held:
                live.held[run.id] = _held_since(run, now_ms)

    def left(self, number: int) -> None:
        """A home is another's."""
        self.live.pop(number, None)
        self.taken_at.pop(number, None)

    def committed(self, batch: Batch, now_ms: int) -> None:
        """A batch stands; called before its state replaces the old one. Its home may have left while it was written."""
        live = self.live.get(batch.home.number)
        for run_id, after in batch.runs.items():
            was = batch.home.run(run_id)
            if was is None and after is not None:
                self._started(batch, after)
            if live is not None:
                self._moved(live, was, after, now_ms)
            if after is not None and after.is_settled and not (was is not None and was.is_settled):
                self._ended(after.head)
        for pipeline, events in batch.told:
            for event in events:
                self._count(pipeline, event)
        for refusal in batch.refusals:
            self.refused.add((refusal.reason,))

    def stale(self, before_ms: int) -> Mapping[tuple[str, ...], float]:
        """Live runs that began before an instant, by pipeline."""
        found = Totals()
        for live in list(self.live.values()):
            for began, pipeline in list(live.began.values()):
                if began >= before_ms:
                    break
                found.add((pipeline,))
        return found.values

    def states(self) -> Mapping[tuple[str, ...], float]:
        """Live runs by pipeline and state."""
        found = Totals()
        for live in list(self.live.values()):
            for labels, count in live.states.copy().items():
                found.add(labels, count)
        return found.values

    def _started(self, batch: Batch, run: Run) -> None:
        head = run.head
        self.started.add((head.pipeline,))
        asked = batch.asked.get(head.run)
        if asked:
            self.start_delay.observe(max(0, head.started_at - asked) / 1000, (head.pipeline,))

    def _moved(self, live: Live, before: Run | None, after: Run | None, now_ms: int) -> None:
        was, now = _state(before), _state(after)
        known = after or before
        if was == now or known is None:
            return
        head = known.head
        if was:
            live.states.add((head.pipeline, was), -1)
        if now:
            live.states.add((head.pipeline, now))
            live.began.setdefault(head.run, (head.started_at, head.pipeline))
        else:
            live.began.pop(head.run, None)
        if now == "held":
            live.held[head.run] = now_ms
        elif was == "held":
            self.hold.observe(max(0, now_ms - live.held.pop(head.run, now_ms)) / 1000, (head.pipeline,))

    def _ended(self, head: Head) -> None:
        self.settled.add((head.pipeline, head.outcome))
        self.duration.observe(max(0, head.settled_at - head.started_at) / 1000, (head.pipeline,))

    def _count(self, pipeline: str, event: facts.Event) -> None:
        match event:
            case facts.StepSucceeded() | facts.StepCancelled():
                self.attempts.add((pipeline, event.step, _OUTCOME[type(event)]))
            case facts.StepFailed():
                self.attempts.add((pipeline, event.step, event.kind))
            case facts.RetryScheduled():
                self.retries.add((pipeline, event.step))
            case facts.StepDeadLettered():
                self.dead_letters.add((pipeline, event.step))
            case facts.ReplayRequested():
                self.replays.add((pipeline, event.step))
            case _:
                pass


def _began(run: Run) -> int:
    return run.head.started_at


def _state(run: Run | None) -> str:
    """`running`, `held` or `stopping`; empty if it is not live."""
    if run is None or run.is_settled:
        return ""
    if run.is_held:
        return "held"
    return "stopping" if run.head.phase is Phase.STOPPING else "running"


def _held_since(run: Run, now_ms: int) -> int:
    """When the hold of a run began whose end its state tells: a coordinator that takes it over did not see it begin."""
    ends = [unit.due for _, _, unit in run.units() if unit.status in HOLDING and unit.due]
    if run.head.kernel_error and run.head.due:
        ends.append(run.head.due)
    return min(ends, default=now_ms + _hold_max(run)) - _hold_max(run)


def _hold_max(run: Run) -> int:
    return run.graph.definition.hold_max // timedelta(milliseconds=1)
