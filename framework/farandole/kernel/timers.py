"""Which instants a run waits for, and the marker fact that each becomes when it comes.

A timer is a hint: it is compared with the state when it is due, and again by `decide` when
its marker is read back. The heap of a coordinator is rebuilt from states alone.
"""

from collections.abc import Iterator
from typing import NamedTuple

from farandole.events import facts
from farandole.ids import NO_ITEM
from farandole.kernel.state import HOLDING, Phase, Run, Status, Unit


class Timer(NamedTuple):
    """`due` in ms since the epoch; `kind` is `retry`, `step`, `hold`, `run`, `stop` or `forget`."""

    due: int
    run: str
    kind: str
    step: str = ""
    item: int = NO_ITEM
    attempt: int = 0


def timers(run: Run) -> Iterator[Timer]:
    """Every instant the run waits for now."""
    head = run.head
    if head.phase is Phase.SETTLED:
        yield Timer(head.expires, run.id, "forget")
        return
    if head.due:
        yield Timer(head.due, run.id, _head_kind(run))
    if _waits_for_units(run) and _has_timer(run):  # most runs of a restore have none: their units need no names
        for step, item, unit in run.units():
            yield from _unit_timers(run.id, step, item, unit)


def _has_timer(run: Run) -> bool:
    for chunk in run.chunks:
        for unit in chunk:
            if unit.due or unit.deadline or unit.status is Status.RETRY:
                return True
    return False


def _waits_for_units(run: Run) -> bool:
    """Whether instants of its steps lead to anything: while it stops or stands still, their markers have no effect.

    A marker without effect leaves its timer in the state, and each owner of the home would write it again.
    """
    return run.head.phase is Phase.RUNNING and not run.head.kernel_error


def _timers_of(run: Run, step: str, item: int) -> Iterator[Timer]:
    if _waits_for_units(run):
        yield from _unit_timers(run.id, step, item, run.unit(run.number(step, item)))


def _unit_timers(run: str, step: str, item: int, unit: Unit) -> Iterator[Timer]:
    if unit.status is Status.RETRY:
        yield Timer(unit.due, run, "retry", step, item, unit.attempt)
    elif unit.status in HOLDING and unit.due:
        yield Timer(unit.due, run, "hold", step, item, unit.attempt)
    if unit.deadline and unit.status in (Status.SCHEDULED, Status.RETRY, Status.SUSPECTED):
        yield Timer(unit.deadline, run, "step", step, item, unit.attempt)


def timers_after(run: Run, events: list[facts.Event]) -> Iterator[Timer]:
    """The timers that `events`, now folded into `run`, may have set; cheaper than all of `timers(run)`."""
    head_changed = False
    for event in events:
        match event:
            case facts.RetryScheduled(step=step, item=item) | facts.StepScheduled(step=step, item=item):
                yield from _timers_of(run, step, item)
            case facts.RunHeld(step=step, item=item) if step:
                yield from _timers_of(run, step, item)
            case facts.RunReleased(reason="kernel_error") if not run.is_settled:
                yield from timers(run)  # those that came due while the run stood still were dropped
            case facts.RunStarted() | facts.RunStopping() | facts.RunSettled() | facts.RunHeld():
                head_changed = True
            case _:
                pass
    if head_changed and run.is_settled:
        yield Timer(run.head.expires, run.id, "forget")
    elif head_changed and run.head.due:
        yield Timer(run.head.due, run.id, _head_kind(run))


def marker(run: Run, timer: Timer) -> facts.Marker | None:
    """The fact that a due timer becomes; None if the run has gone on since (a `forget` becomes no fact)."""
    if run.is_settled or timer.kind == "forget" or timer not in _current(run, timer):
        return None
    if timer.kind == "retry":
        return facts.RetryDue(run.id, timer.step, timer.attempt + 1, timer.item)
    return facts.DeadlinePassed(run.id, timer.kind, timer.step, timer.attempt, timer.item)


def _current(run: Run, timer: Timer) -> list[Timer]:
    if not timer.step:
        return [Timer(run.head.due, run.id, _head_kind(run))] if run.head.due else []
    try:
        return list(_timers_of(run, timer.step, timer.item))
    except (KeyError, IndexError):
        return []  # the timer of an earlier run that had the same id


def _head_kind(run: Run) -> str:
    if run.head.kernel_error:
        return "hold"
    return "stop" if run.head.phase is Phase.STOPPING else "run"
