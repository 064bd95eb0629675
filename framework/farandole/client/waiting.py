"""What a live run waits for, and since when: from its state and the instants of its events.

Pure: a run and instants in, sentences out.
"""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from farandole.events.facts import DEFINITION_GONE
from farandole.ids import NO_ITEM
from farandole.kernel.state import TERMINAL, Phase, Run, Status, Unit, instant

Changed = Mapping[tuple[str, int], datetime]
"""When the last event about a step (or an item of it) was written."""

Answered = Set[tuple[str, int, int]]
"""Step, item and attempt of each result that stands on the log, whether a coordinator has taken it up or not."""


@dataclass(frozen=True, slots=True)
class Wait:
    """One thing that a run waits for.

    `kind` is `agent`, `answered`, `retry`, `dead_letter`, `suspected`, `parents`, `reports` or `kernel_error`; who asks
    the groups adds `coordinator`. `until` is when the coordinator stops waiting for it, where it does, and `then` the
    outcome that the run has if it ends so.
    """

    kind: str
    text: str
    step: str = ""
    item: int = NO_ITEM
    attempt: int = 0
    since: datetime | None = None
    until: datetime | None = None
    then: str = ""


def waits(run: Run, changed: Changed, answered: Answered = frozenset()) -> list[Wait]:
    """Everything the run waits for, what needs a person first."""
    if run.is_settled:
        return []
    if run.head.kernel_error:
        text = f"{run.head.kernel_error}; {_ENDS[remedy(run.head.kernel_error)]}"
        return [Wait("kernel_error", text, until=_instant(run.head.due), then="failed" if run.head.due else "")]
    told = _of_unit if run.head.phase is Phase.RUNNING else _of_report
    found = [_seen(wait, answered) for name, item, unit in run.units() for wait in told(run, name, item, unit, changed)]
    return sorted(found, key=lambda each: _ORDER.index(each.kind))


class Remedy(Enum):
    """What lets a run go on that an error holds."""

    APPLY = "apply"
    RELEASE = "release"
    RERUN = "rerun"


_ENDS = {
    Remedy.APPLY: "apply its definition again, or cancel it",
    Remedy.RELEASE: "release or cancel it",
    Remedy.RERUN: "cancel it and run it again: it keeps its definition",
}

_OUTSIDE = ("StoreError", "ClaimBroken", "InvariantViolation")
"""Names that begin an error whose cause a person can mend around the run: a store that is away or lacks a payload, and
a defect of ours, which an upgrade mends."""

_UNWRITTEN = "cannot be written"
"""In an error of what the log refused: a topic that is missing, or takes no record so large."""


def remedy(error: str) -> Remedy:
    """What to do about the error that holds a run: its definition is pinned, so what that gets wrong stays wrong."""
    if error.startswith(DEFINITION_GONE):
        return Remedy.APPLY
    return Remedy.RELEASE if error.startswith(_OUTSIDE) or _UNWRITTEN in error else Remedy.RERUN


_ORDER = ("kernel_error", "dead_letter", "suspected", "retry", "agent", "answered", "reports", "parents")


def _seen(wait: Wait, answered: Answered) -> Wait:
    """An agent is not to blame for an attempt that it has answered: its coordinator is behind, or away."""
    if wait.kind != "agent" or (wait.step, wait.item, wait.attempt) not in answered:
        return wait
    text = f"attempt {wait.attempt} has been answered, and no coordinator has taken that up yet"
    return replace(wait, kind="answered", text=text, until=None, then="")


def _of_unit(run: Run, name: str, item: int, unit: Unit, changed: Changed) -> Iterator[Wait]:
    since, agent = changed.get((name, item)), run.graph.step(name).agent
    at = (name, item, unit.attempt, since)
    match unit.status:
        case Status.SCHEDULED:
            yield Wait("agent", f"attempt {unit.attempt} is with agent {agent}", *at, _instant(unit.deadline))
        case Status.RETRY:
            yield Wait("retry", f"attempt {unit.attempt + 1} waits for its time: {unit.error}", *at, _instant(unit.due))
        case Status.DEAD:
            yield Wait("dead_letter", f"dead letter: {unit.why_dead}", *at, *_end_of_hold(run, unit))
        case Status.SUSPECTED:
            text = f"attempt {unit.attempt} was consumed by agent {agent} without a result; release or cancel the run"
            yield Wait("suspected", text, *at, *_end_of_hold(run, unit))
        case Status.PENDING if item == NO_ITEM:
            parents = [each.name for each in run.graph.parents[name] if run.step(each.name).status not in TERMINAL]
            yield Wait("parents", f"waits for {', '.join(parents)}", *at)
        case _ if unit.waiting:
            yield Wait("reports", f"attempt {unit.waiting[-1]} has not reported yet", *at)


def _of_report(run: Run, name: str, item: int, unit: Unit, changed: Changed) -> Iterator[Wait]:
    """A run that is stopping waits for reports alone: no retry comes any more, and no replay is taken."""
    at = (name, item, unit.attempt, changed.get((name, item)), _instant(run.head.due), run.head.outcome)
    if unit.waiting and unit.status is Status.SCHEDULED:
        yield Wait("agent", f"attempt {unit.attempt} is with agent {run.graph.step(name).agent}", *at)
    elif unit.waiting:
        yield Wait("reports", f"attempt {unit.waiting[-1]} has not reported yet", *at)


def _end_of_hold(run: Run, unit: Unit) -> tuple[datetime | None, str]:
    """When nobody waits for a person any more, and how the run ends then: its own deadline goes on while it is held."""
    deadline = run.head.due
    if deadline and (not unit.due or deadline < unit.due):
        return _instant(deadline), "timed_out"
    return _instant(unit.due), "failed" if unit.due else ""


def _instant(milliseconds: int) -> datetime | None:
    return instant(milliseconds) if milliseconds else None
