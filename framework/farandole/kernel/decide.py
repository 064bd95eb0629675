"""Decide what follows from a fact, given all that came before it.

Knows nothing of Kafka, threads or the clock: the moment is an argument, and a timer reaches
us as the fact it became on the log. Restore never calls `decide`. Each consequence is folded
(by `evolve`) before the next is looked for, so that what is decided is what will be seen.
"""

from datetime import timedelta
from typing import assert_never

from farandole.definition.policy import OnDeadLetter, Retry
from farandole.events import facts
from farandole.ids import NO_ITEM
from farandole.kernel.advance import advance, consider, schedule
from farandole.kernel.decision import Decision, Moment
from farandole.kernel.evolve import evolve
from farandole.kernel.settle import settle, settle_if_over, stop
from farandole.kernel.state import HOLDING, OPEN, Phase, Run, Status, Unit, instant, ms
from farandole.kernel.values import Values

JITTER = 0.25
"""Most that the jitter adds to a wait, as a share of it. Source: Kafka's `retry.backoff` jitter is 0.2 (KIP-580)."""


_RELEASED_BY: dict[type, str] = {
    facts.ReplayRequested: "replayed",
    facts.DiscardRequested: "discarded",
    facts.StepFailed: "reported",
    facts.DeadlinePassed: "skipped",
}
"""Why a run is no longer held, by what ended the hold; a success of the step itself is what is left.

A failure ends a suspicion: a retry is left, or the step is skipped. So does the step's deadline, if it is skipped.
"""


def decide(run: Run, given: facts.Event, moment: Moment, values: Values) -> list[facts.Event]:
    """Facts that follow from `given`, in order; empty if it was answered before. See `follow`."""
    return follow(run, given, moment, values).events


def follow(run: Run, given: facts.Event, moment: Moment, values: Values) -> Decision:
    """What follows from `given`, with the run after `given` and all of it.

    Raises:
        ClaimNeeded: a payload must be fetched first; ask again.
        RecordError: an expression of the definition cannot be evaluated; the run is to be held.
    """
    if run.head.kernel_error:
        return _standing(run, given, moment, values)
    it = Decision(evolve(run, given), moment, values)
    if run.is_settled:
        return it  # the stub answers: nothing follows
    _answer(it, run, given)
    advance(it)
    if run.head.holds and not it.run.head.holds and _runs(it) and not isinstance(given, facts.ReleaseRequested):
        it.emit(facts.RunReleased(run.id, _RELEASED_BY.get(type(given), "succeeded")))
    settle_if_over(it)
    return it


def _answer(it: Decision, before: Run, given: facts.Event) -> None:
    """The direct consequences of a fact."""
    match given:
        case facts.RunStarted():
            for name in it.run.graph.roots:
                consider(it, name)
        case facts.StepSucceeded(step=step, item=item):
            if _counts(before, step, item):
                it.ended(step, item)
        case facts.StepFailed(step=step, item=item):
            if it.run.head.phase is Phase.RUNNING and _unit(it.run, step, item).status is Status.FAILED:
                _failed(it, given)
        case facts.RetryDue(step=step, item=item, attempt=attempt):
            if _stands(it, step, item, attempt - 1, Status.RETRY):
                schedule(it, it.run.graph.step(step), item, attempt)
        case facts.ReplayRequested():
            _replay(it, given)
        case facts.DiscardRequested():
            _discard(it, given)
        case facts.DeadlinePassed():
            _deadline(it, given)
        case facts.CancelRequested(reason=reason):
            stop(it, "cancelled", reason)
        case facts.TriggerSuspected(step=step, item=item, attempt=attempt):
            if _stands(it, step, item, attempt, Status.SCHEDULED):
                _hold(it, step, item, "trigger_suspected", f"attempt {attempt} was consumed without a result")
        case facts.ReleaseRequested():
            if _runs(it) and any(unit.status is Status.SUSPECTED for _, _, unit in it.run.units()):
                it.emit(facts.RunReleased(it.run.id, "released"))
        case facts.StepCancelled():
            pass
        case (
            facts.RunRefused()
            | facts.StepScheduled()
            | facts.StepExpanded()
            | facts.StepSkipped()
            | facts.StepCompleted()
            | facts.RetryScheduled()
            | facts.StepDeadLettered()
            | facts.RunHeld()
            | facts.RunReleased()
            | facts.RunStopping()
            | facts.RunSettled()
        ):
            pass  # a consequence: what followed from it was decided with it
        case _:
            assert_never(given)


def _standing(run: Run, given: facts.Event, moment: Moment, values: Values) -> Decision:
    """A run held by a kernel error is ended or released without its definition being asked."""
    it = Decision(run, moment, values)
    match given:
        case facts.CancelRequested(reason=reason):
            _end_standing(it, "cancelled", reason)
        case facts.DeadlinePassed(scope="hold", step="") if _is_over(it, run.head.due):
            _end_standing(it, "failed", run.head.kernel_error)
        case facts.ReleaseRequested():
            it.emit(facts.RunReleased(run.id, "kernel_error"))
        case _:
            pass  # stays unfolded until the run is released
    return it


def _end_standing(it: Decision, outcome: str, reason: str) -> None:
    """End it without waiting for attempts, whose reports cannot be folded; agents are told, so that none begins."""
    stop(it, outcome, reason)
    settle(it, outcome, reason)


def _unit(run: Run, step: str, item: int) -> Unit:
    return run.unit(run.number(step, item))


def _stands(it: Decision, step: str, item: int, attempt: int, status: Status) -> bool:
    """Whether a running run's unit is where a marker found it: the marker may have been overtaken on the log."""
    unit = _unit(it.run, step, item)
    return _runs(it) and unit.status is status and unit.attempt == attempt


def _runs(it: Decision) -> bool:
    return it.run.head.phase is Phase.RUNNING


def _counts(before: Run, step: str, item: int) -> bool:
    return before.head.phase is Phase.RUNNING and _unit(before, step, item).status in OPEN


def _failed(it: Decision, given: facts.StepFailed) -> None:
    """Another attempt if the policy has one left, else the dead letter."""
    retry = it.run.graph.step(given.step).retry
    unit = _unit(it.run, given.step, given.item)
    since = instant(unit.failing_since) if unit.failing_since else it.now
    if given.retryable and not given.dead_lettered:
        due = it.now + _wait(it, retry, unit, given)
        refused = _refusal(it, retry, unit, (due - since, due.timestamp() * 1000))
    else:
        due, refused = it.now, given.kind
    if refused:
        by = "agent" if given.dead_lettered else "coordinator"
        return _dead_letter(it, given.step, given.item, given.attempt, refused, by)
    it.emit(facts.RetryScheduled(it.run.id, given.step, given.attempt + 1, due, since, given.item))


def _wait(it: Decision, retry: Retry, unit: Unit, given: facts.StepFailed) -> timedelta:
    wait = retry.delay(unit.attempt - unit.budget_from) * (1 + JITTER * it.moment.luck)
    return max(wait, timedelta(milliseconds=given.retry_after_ms or 0))


def _refusal(it: Decision, retry: Retry, unit: Unit, when: tuple[timedelta, float]) -> str:
    """Why there is no further attempt, or nothing if there is."""
    age, due_ms = when
    if unit.attempt - unit.budget_from >= retry.attempts:
        return "attempts_exhausted"
    if retry.total is not None and age > retry.total:
        return "retry_budget"
    if it.run.head.due and due_ms > it.run.head.due:
        return "run_deadline"
    if unit.deadline and due_ms > unit.deadline:
        return "step_deadline"
    return ""


def _dead_letter(it: Decision, step: str, item: int, attempt: int, reason: str, by: str) -> None:
    it.emit(facts.StepDeadLettered(it.run.id, step, attempt, reason, by, item))
    match it.run.graph.step(step).on_dead_letter:
        case OnDeadLetter.HOLD:
            _hold(it, step, item, "dead_letter", reason)
        case OnDeadLetter.FAIL:
            stop(it, "failed", f"{step}: {reason}")
        case OnDeadLetter.SKIP:
            _go_on_without(it, step, item)


def _go_on_without(it: Decision, step: str, item: int) -> None:
    """Skip what was dead-lettered, by policy or because somebody discarded it: the run will end `partial`."""
    it.emit(facts.StepSkipped(it.run.id, step, "dead_letter", item))
    it.ended(step, item)


def _hold(it: Decision, step: str, item: int, reason: str, detail: str) -> None:
    until = it.moment.after(it.run.graph.definition.hold_max)
    it.emit(facts.RunHeld(it.run.id, reason, detail, step, item, until))


def _replay(it: Decision, given: facts.ReplayRequested) -> None:
    """One more attempt with a fresh budget: once per dead letter, because the attempt must match."""
    unit = _unit(it.run, given.step, given.item)
    if not _runs(it) or unit.status not in HOLDING or unit.attempt != given.attempt or not _has_input(it.run, given):
        return
    schedule(it, it.run.graph.step(given.step), given.item, given.attempt + 1, fresh_budget=True)


def _discard(it: Decision, given: facts.DiscardRequested) -> None:
    """Go on without the step, if this very attempt is still dead-lettered."""
    if _stands(it, given.step, given.item, given.attempt, Status.DEAD):
        _go_on_without(it, given.step, given.item)


def _has_input(run: Run, given: facts.ReplayRequested) -> bool:
    """Whether there is an input for another attempt: that of a step fired by an agent is unknown until it fails."""
    if _unit(run, given.step, given.item).input is not None or given.item != NO_ITEM:
        return True
    data = [parent.name for parent in run.graph.parents[given.step] if not parent.ordering]
    plain = [run.step(name) for name in data if not run.graph.step(name).is_mapped]
    return all(unit.status is not Status.SUCCEEDED or unit.output is not None for unit in plain)


def _deadline(it: Decision, given: facts.DeadlinePassed) -> None:
    if given.scope == "stop":
        if it.run.head.phase is Phase.STOPPING:
            settle(it, it.run.head.outcome, it.run.head.reason or "stop_max passed")
        return
    if not _runs(it):
        return
    if given.scope == "run":
        return stop(it, "timed_out", "the run's deadline passed")
    if not given.step:
        return  # of a hold by a kernel error, and the run was released before it was read back
    unit = _unit(it.run, given.step, given.item)
    if unit.attempt != given.attempt:
        return
    if given.scope == "hold" and unit.status in HOLDING and _is_over(it, unit.due):
        stop(it, "failed", f"{given.step}: nobody replayed it within hold_max")
    elif given.scope == "step" and unit.status in (Status.SCHEDULED, Status.RETRY, Status.SUSPECTED):
        _dead_letter(it, given.step, given.item, given.attempt, "step_deadline", "coordinator")


def _is_over(it: Decision, due: int) -> bool:
    """Whether a hold has ended that ends at `due` (0: never), so that its marker is not that of an earlier hold.

    A marker does not say its instant. The log's clock never goes back: a true one is due when it is read back, and
    where what owners have told is lost, so that the clock may go back once, the timer still stands in the state.
    """
    return 0 < due <= ms(it.now)
