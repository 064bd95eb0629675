"""Fold one fact into a run. The only writer of run state, live and in restore alike.

Never decides: each function here is the plain effect of one fact. A fact that has no effect
(answered before, too late, of another attempt) leaves the run as it is; the rules are R10's.
"""

from collections.abc import Callable
from dataclasses import replace
from sys import intern
from typing import cast

import msgspec

from farandole.definition.graph import Graph
from farandole.errors import InvariantViolation
from farandole.events import facts
from farandole.ids import NO_ITEM
from farandole.kernel.state import (
    HOLDING,
    OPEN,
    TERMINAL,
    Head,
    Phase,
    Run,
    Status,
    Unit,
    fresh_chunks,
    instant,
    ms,
)

ERROR_MAX = 500
"""Characters of an error kept in state: enough to say why a run waits; the fact on the log has all of it."""


def start(graph: Graph, event: facts.RunStarted) -> Run:
    """The run that `RunStarted` brings into being; every step is pending but a root whose trigger was the start."""
    head = Head(
        run=event.run,
        pipeline=intern(event.pipeline),
        definition=intern(event.definition),
        params_hash=event.params_hash,
        started_at=ms(event.started_at),
        due=ms(event.deadline) if event.deadline else 0,
        pending=len(graph.names),
    )
    run = Run(graph, head, fresh_chunks(len(graph.names)), event.params)
    for root in event.fired:
        run = _replace(run, graph.number[root], status=Status.SCHEDULED, attempt=1, waiting=(1,))
    return run


def started_again(run: Run) -> facts.RunStarted:
    """The fact by which the run was started, for one that could not even fire its first steps."""
    deadline = run.graph.definition.deadline
    at = instant(run.head.started_at)
    return facts.RunStarted(
        run.id,
        run.head.pipeline,
        run.head.definition,
        run.params,
        run.head.params_hash,
        at,
        at + deadline if deadline else None,
    )


def begun_unread(run: Run) -> Run:
    """A run that was begun directly under a definition that its coordinator could not read, for one who can: as if it
    had been begun, and held at once."""
    root = run.graph.direct_root
    begun = start(run.graph, replace(started_again(run), fired=(root,) if root else ()))
    held = run.head
    return begun.with_head(
        kernel_error=held.kernel_error,
        unfolded_from=held.unfolded_from,
        due=held.due,
        due_before_error=held.due_before_error,
    )


def evolve(run: Run, event: facts.Event) -> Run:
    """The run after `event`.

    Raises:
        InvariantViolation: the event names a step or an item that the run does not have.
    """
    if run.is_settled:
        return run  # terminal is terminal: only a stub is left, and a late report finds it as it is
    fold = _FOLDS[type(event)]
    try:
        return fold(run, event)
    except (KeyError, IndexError) as unknown:
        raise InvariantViolation(f"run {run.id}: {event!r} names a step or item it does not have") from unknown


def _replace(run: Run, number: int, **changes: object) -> Run:
    """Replace fields of one unit and keep the head's counters true."""
    old = run.unit(number)
    new = msgspec.structs.replace(old, **changes)
    run = run.with_unit(number, new)
    waiting = run.head.waiting + len(new.waiting) - len(old.waiting)
    holds = run.head.holds + (new.status in HOLDING) - (old.status in HOLDING)
    pending = run.head.pending
    if number < len(run.graph.names):
        pending -= (new.status in TERMINAL) - (old.status in TERMINAL)
    if (waiting, holds, pending) != (run.head.waiting, run.head.holds, run.head.pending):
        run = run.with_head(waiting=waiting, holds=holds, pending=pending)
    return run


def _finish(run: Run, step: str, item: int, status: Status, **changes: object) -> Run:
    """End a unit; an item is counted in its step."""
    number = run.number(step, item)
    run = _replace(run, number, status=status, due=0, **changes)
    if item != NO_ITEM:
        parent = run.graph.number[step]
        above = run.unit(parent)
        won = status is Status.SUCCEEDED
        run = _replace(run, parent, done=above.done + 1, succeeded=above.succeeded + won)
    return run


def _reported(unit: Unit, attempt: int) -> tuple[int, ...]:
    return tuple(n for n in unit.waiting if n != attempt)


def _step_succeeded(run: Run, event: facts.StepSucceeded) -> Run:
    unit = run.unit(run.number(event.step, event.item))
    known = unit.attempt >= event.attempt
    rest = _reported(unit, event.attempt)
    if unit.status not in OPEN:
        return _replace(run, run.number(event.step, event.item), waiting=rest) if rest != unit.waiting else run
    kept = run.graph.keeps_output(event.step) or event.item != NO_ITEM or _left_out(run, event)
    run = _finish(
        run,
        event.step,
        event.item,
        Status.SUCCEEDED,
        attempt=unit.attempt if known else event.attempt,
        waiting=rest,
        output=event.output or None if kept else None,
        input=None,
        reason="",
        error="",
    )
    for child in event.fired:
        number = run.graph.number[child]
        if run.unit(number).status is Status.PENDING:
            run = _replace(run, number, status=Status.SCHEDULED, attempt=1, waiting=(1,))
    return run


def _left_out(run: Run, event: facts.StepSucceeded) -> bool:
    """Whether the agent left out an edge that it might have fired: the coordinator needs the output for it now."""
    return any(child not in event.fired for child in run.graph.fired_by_agent[event.step])


def _step_failed(run: Run, event: facts.StepFailed) -> Run:
    number = run.number(event.step, event.item)
    unit = run.unit(number)
    if unit.status is Status.PENDING:
        unit = msgspec.structs.replace(unit, status=Status.SCHEDULED, attempt=event.attempt)
    rest = _reported(unit, event.attempt)
    if unit.status not in (Status.SCHEDULED, Status.SUSPECTED) or event.attempt != unit.attempt:
        return _replace(run, number, waiting=rest) if rest != unit.waiting else run
    return _finish(
        run,
        event.step,
        event.item,
        Status.FAILED,
        attempt=unit.attempt,
        waiting=rest,
        input=event.input or None,  # an agent that could not repeat the input reports an empty one
        reason=event.fingerprint,
        error=event.error[:ERROR_MAX],
    )


def _step_cancelled(run: Run, event: facts.StepCancelled) -> Run:
    """Counts in a run that is stopping; else its agent was told of an earlier run, and the watchdog will miss it."""
    if run.head.phase is not Phase.STOPPING:
        return run
    number = run.number(event.step, event.item)
    unit = run.unit(number)
    rest = _reported(unit, event.attempt)
    if unit.status in (Status.PENDING, Status.SCHEDULED, Status.SUSPECTED) and unit.attempt in (0, event.attempt):
        return _finish(run, event.step, event.item, Status.CANCELLED, attempt=event.attempt, waiting=rest)
    return _replace(run, number, waiting=rest) if rest != unit.waiting else run


def _revive(run: Run, step: str, item: int) -> Run:
    """Take back the count of an item whose failure turned out not to be its end."""
    if item == NO_ITEM or run.unit(run.number(step, item)).status is not Status.FAILED:
        return run
    parent = run.graph.number[step]
    return _replace(run, parent, done=run.unit(parent).done - 1)


def _step_scheduled(run: Run, event: facts.StepScheduled) -> Run:
    run = _revive(run, event.step, event.item)
    number = run.number(event.step, event.item)
    unit = run.unit(number)
    return _replace(
        run,
        number,
        status=Status.SCHEDULED,
        attempt=event.attempt,
        waiting=(*unit.waiting, event.attempt),
        due=0,
        deadline=ms(event.deadline) if event.deadline else unit.deadline,
        budget_from=event.attempt - 1 if event.fresh_budget else unit.budget_from,
        failing_since=0 if event.fresh_budget else unit.failing_since,
        reason="",
    )


def _step_expanded(run: Run, event: facts.StepExpanded) -> Run:
    first = run.size
    run = run.with_items(event.items) if event.items else run
    number = run.graph.number[event.step]
    return _replace(run, number, status=Status.EXPANDED, first=first, items=event.items)


def _step_skipped(run: Run, event: facts.StepSkipped) -> Run:
    run = _revive(run, event.step, event.item)
    run = _finish(run, event.step, event.item, Status.SKIPPED, reason=event.reason, input=None)
    return run.with_head(partial=True) if event.reason == "dead_letter" else run


def _step_completed(run: Run, event: facts.StepCompleted) -> Run:
    return _replace(run, run.graph.number[event.step], status=Status.SUCCEEDED)


def _retry_scheduled(run: Run, event: facts.RetryScheduled) -> Run:
    run = _revive(run, event.step, event.item)
    number = run.number(event.step, event.item)
    since = run.unit(number).failing_since or ms(event.failing_since)
    return _replace(run, number, status=Status.RETRY, due=ms(event.due), failing_since=since)


def _step_dead_lettered(run: Run, event: facts.StepDeadLettered) -> Run:
    run = _revive(run, event.step, event.item)
    number = run.number(event.step, event.item)
    return _replace(run, number, status=Status.DEAD, due=0)


def _run_held(run: Run, event: facts.RunHeld) -> Run:
    until = ms(event.until) if event.until else 0
    if event.reason == "kernel_error":
        if run.head.kernel_error:
            return run  # it stands still already, from an earlier event on
        return run.with_head(
            kernel_error=event.detail, unfolded_from=event.offset, due=until, due_before_error=run.head.due
        )
    number = run.number(event.step, event.item)
    status = Status.SUSPECTED if event.reason == "trigger_suspected" else Status.DEAD
    return _replace(run, number, status=status, due=until)


def _run_released(run: Run, event: facts.RunReleased) -> Run:
    if event.reason == "kernel_error":
        return run.with_head(kernel_error="", unfolded_from=-1, due=run.head.due_before_error, due_before_error=0)
    for name, item, unit in run.units():
        if unit.status is Status.SUSPECTED:
            run = _replace(run, run.number(name, item), status=Status.SCHEDULED, due=0)
    return run


def _run_stopping(run: Run, event: facts.RunStopping) -> Run:
    return run.with_head(phase=Phase.STOPPING, outcome=event.outcome, reason=event.reason, due=ms(event.until))


def _run_settled(run: Run, event: facts.RunSettled) -> Run:
    """Only the stub stays: enough to answer a second start, or a late report."""
    stub = Head(
        run=run.head.run,
        pipeline=run.head.pipeline,
        definition=run.head.definition,
        params_hash=run.head.params_hash,
        started_at=run.head.started_at,
        phase=Phase.SETTLED,
        outcome=event.outcome,
        reason=event.reason,
        settled_at=ms(event.settled_at),
        expires=ms(event.forget_at),
    )
    return Run(run.graph, stub, (), b"")


def _replay_requested(run: Run, event: facts.ReplayRequested) -> Run:
    """Keeps a repaired input for the attempt that may follow."""
    number = run.number(event.step, event.item)
    unit = run.unit(number)
    if not event.input or unit.status not in HOLDING or unit.attempt != event.attempt:
        return run
    return _replace(run, number, input=event.input)


def _no_change(run: Run, event: facts.Event) -> Run:
    """Markers bring something into the log's order; what follows from them are facts of their own."""
    return run


_FOLDS: dict[type, Callable[[Run, facts.Event], Run]] = {
    kind: cast(Callable[[Run, facts.Event], Run], fold)
    for kind, fold in {
        facts.StepSucceeded: _step_succeeded,
        facts.StepFailed: _step_failed,
        facts.StepCancelled: _step_cancelled,
        facts.StepScheduled: _step_scheduled,
        facts.StepExpanded: _step_expanded,
        facts.StepSkipped: _step_skipped,
        facts.StepCompleted: _step_completed,
        facts.RetryScheduled: _retry_scheduled,
        facts.StepDeadLettered: _step_dead_lettered,
        facts.RunHeld: _run_held,
        facts.RunReleased: _run_released,
        facts.RunStopping: _run_stopping,
        facts.RunSettled: _run_settled,
        facts.CancelRequested: _no_change,
        facts.ReplayRequested: _replay_requested,
        facts.DiscardRequested: _no_change,
        facts.RetryDue: _no_change,
        facts.DeadlinePassed: _no_change,
        facts.TriggerSuspected: _no_change,
        facts.ReleaseRequested: _no_change,
        facts.RunStarted: _no_change,
        facts.RunRefused: _no_change,
    }.items()
}
