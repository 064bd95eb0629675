"""Dead letters and holds: a step is given up on for a reason, and what follows is what its policy says (I7)."""

from collections.abc import Iterator
from datetime import timedelta

from farandole.definition.policy import OnDeadLetter
from farandole.events import facts
from farandole.lineage.entries import Entry
from farandole.lineage.tree import unit_text
from farandole.testing.history.attempts import ROUNDING, wait_after
from farandole.testing.history.cases import Case
from farandole.testing.history.report import Violation
from farandole.testing.history.standing import Standing, UnitState, walk

JITTER_MAX = 1.25
"""Most that a wait is lengthened by, as a factor."""

ASKED_BY: dict[str, type[facts.Event]] = {
    "kernel_error": facts.ReleaseRequested,
    "released": facts.ReleaseRequested,
    "replayed": facts.ReplayRequested,
    "discarded": facts.DiscardRequested,
}
"""What somebody asked for where a release says so."""


def giving_up_has_a_reason(case: Case) -> Iterator[Violation]:
    """I7: a step is dead-lettered for a final failure, for want of attempts or budget, or for a deadline."""
    if not case.has(facts.StepDeadLettered):
        return
    for each, before in walk(case.graph, case.story):
        if isinstance(each.fact, facts.StepDeadLettered):
            yield from _given_up(case, each, each.fact, before)


def _given_up(case: Case, entry: Entry, fact: facts.StepDeadLettered, before: Standing) -> Iterator[Violation]:
    unit, retry = before.of(entry), case.graph.step(fact.step).retry
    told = f"{unit_text(entry.unit)} was dead-lettered ({fact.reason})"
    if before.phase != "running":
        yield case.broken("I7", f"{told} while the run was {before.phase}", entry)
    if fact.attempt != unit.attempt:
        yield case.broken("I7", f"{told} for attempt {fact.attempt}, but attempt {unit.attempt} is the last", entry)
    if fact.reason == "step_deadline" and unit.status in ("scheduled", "retry", "suspected"):
        if not _is_of_a_deadline(case, entry):
            yield case.broken("I7", f"{told}, but no deadline of it has passed", entry)
        return
    failed = unit.failure.fact if unit.failure is not None else None
    if unit.status != "failed" or not isinstance(failed, facts.StepFailed):
        yield case.broken("I7", f"{told}, but it was {unit.status}", entry)
        return
    assert unit.failure is not None
    used = failed.attempt - unit.budget_from
    if fact.reason == "attempts_exhausted" and used < retry.attempts:
        yield case.broken("I7", f"{told} after {used} of {retry.attempts} attempts", unit.failure, entry)
    final = failed.dead_lettered or not failed.retryable
    if final != (fact.reason == failed.kind):
        yield case.broken("I7", f"{told}, but its failure says {failed.kind}", unit.failure, entry)
    if not final and fact.reason != "attempts_exhausted" and not _is_out_of_time(case, entry, fact, before, failed):
        yield case.broken("I7", f"{told}, but another attempt was in time", unit.failure, entry)
    if fact.written_by != ("agent" if failed.dead_lettered else "coordinator"):
        yield case.broken(
            "I15", f"{told} by the {fact.written_by}, but its failure says otherwise", unit.failure, entry
        )


def _is_of_a_deadline(case: Case, entry: Entry) -> bool:
    cause = case.cause_of(entry)
    passed = cause is not None and isinstance(cause.fact, facts.DeadlinePassed) and cause.fact.scope == "step"
    return passed and cause is not None and cause.unit == entry.unit


def _is_out_of_time(
    case: Case, entry: Entry, fact: facts.StepDeadLettered, before: Standing, failed: facts.StepFailed
) -> bool:
    """Whether the wait before a further attempt, with the most that jitter may add to it, ends too late."""
    unit, retry = before.of(entry), case.graph.step(fact.step).retry
    due = entry.time + _longest_wait(case, fact.step, unit, failed) + ROUNDING
    match fact.reason:
        case "retry_budget":
            return retry.total is not None and due - (unit.failing_since or entry.time) > retry.total
        case "run_deadline":
            start = before.started.fact if before.started is not None else None
            return isinstance(start, facts.RunStarted) and start.deadline is not None and due > start.deadline
        case "step_deadline":
            set_by = unit.deadlines[-1].fact if unit.deadlines else None
            return isinstance(set_by, facts.StepScheduled) and set_by.deadline is not None and due > set_by.deadline
        case _:
            return False


def _longest_wait(case: Case, step: str, unit: UnitState, failed: facts.StepFailed) -> timedelta:
    asked = timedelta(milliseconds=failed.retry_after_ms or 0)
    plain = wait_after(case.graph.step(step).retry, unit, failed)
    return max(plain * JITTER_MAX, asked)


def dead_letters_lead_on(case: Case) -> Iterator[Violation]:
    """I7: a dead letter holds the run, stops it or skips the step, as the step's policy says and in one decision."""
    for each in case.events:
        fact = each.fact
        if not isinstance(fact, facts.StepDeadLettered):
            continue
        cause, policy = case.cause_of(each), case.graph.step(fact.step).on_dead_letter
        decided = case.following(cause) if cause is not None else []
        if not any(_is_by(policy, one, fact) for one in decided):
            yield case.broken("I7", f"the dead letter of {unit_text(each.unit)} did not {policy.value} it", each)


def _is_by(policy: OnDeadLetter, decided: facts.Event, fact: facts.StepDeadLettered) -> bool:
    match policy, decided:
        case OnDeadLetter.HOLD, facts.RunHeld(step=fact.step, item=fact.item):
            return True
        case OnDeadLetter.FAIL, facts.RunStopping(outcome="failed"):
            return True
        case OnDeadLetter.SKIP, facts.StepSkipped(step=fact.step, item=fact.item, reason="dead_letter"):
            return True
        case _:
            return False


def holds_have_a_reason(case: Case) -> Iterator[Violation]:
    """I7: a run is held for a dead letter whose policy says so, a suspected trigger or an error of ours, and released
    when somebody asks for it or nothing holds it any more."""
    if not case.has(facts.RunHeld, facts.RunReleased):
        return
    for each, before in walk(case.graph, case.story):
        cause = case.cause_of(each)
        match each.fact:
            case facts.RunHeld(step=step, reason=reason) if step and not _may_hold(case, each, reason, before):
                told = f"it was held for {unit_text(each.unit)} ({reason}), which was {before.of(each).status}"
                yield case.broken("I7", told, each)
            case facts.RunReleased(reason=reason) if reason in ASKED_BY:
                if cause is None or not isinstance(cause.fact, ASKED_BY[reason]):
                    yield case.broken("I7", f"it was released ({reason}), but nobody asked for that", each)
            case _:
                pass


def _may_hold(case: Case, held: Entry, reason: str, before: Standing) -> bool:
    unit, cause = before.of(held), case.cause_of(held)
    if reason == "trigger_suspected":
        asked = cause.fact if cause is not None else None
        return unit.status == "scheduled" and isinstance(asked, facts.TriggerSuspected)
    policy = case.graph.step(held.unit[0]).on_dead_letter
    return reason == "dead_letter" and unit.status == "dead" and policy is OnDeadLetter.HOLD
