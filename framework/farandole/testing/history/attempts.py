"""Attempts: each reports once, failures are tried again as the policy says, late results change nothing (I5, I7)."""

from collections.abc import Iterator
from datetime import timedelta

from farandole.definition.policy import Retry
from farandole.events import facts
from farandole.lineage.entries import Entry
from farandole.lineage.tree import unit_text
from farandole.testing.history.cases import Case, attempt_text
from farandole.testing.history.report import Violation
from farandole.testing.history.standing import Standing, UnitState, walk

ROUNDING = timedelta(milliseconds=2)
"""Instants on the log are whole milliseconds, each rounded in its own way."""


def results_are_unique(case: Case) -> Iterator[Violation]:
    """I5: an attempt reports once, and once more for each act that let its trigger be read again."""
    for key, several in case.reports.items():
        if len(case.own(several)) > 1:
            yield case.broken("I5", f"{attempt_text(key)} reported {len(several)} times", *several)


def results_belong_to_triggers(case: Case) -> Iterator[Violation]:
    """I3: an attempt that reports was triggered before."""
    for each, before in walk(case.graph, case.story):
        if isinstance(each.fact, facts.AgentFact) and each.fact.attempt not in before.of(each).triggered:
            key = (each.fact.step, each.fact.item, each.fact.attempt)
            yield case.broken("I3", f"{attempt_text(key)} reported, but nothing before it says that it was fired", each)


def results_without_effect_have_none(case: Case) -> Iterator[Violation]:
    """I5: of a result that comes after a verdict nothing follows but, perhaps, the end of the run.

    A repeat has the id of what it repeats: where that counted, `consequences_are_written_once` judges what follows.
    """
    idle: dict[str, Entry] = {}
    counted: set[str] = set()
    for each, before in walk(case.graph, case.story):
        if isinstance(each.fact, facts.AgentFact):
            if before.counts(each):
                counted.add(each.id)
            elif not (case.is_repeat(each) and each.id in counted):
                idle[each.id] = each
        elif each.is_consequence and each.cause in idle and not _may_follow_idly(each):
            told = f"{type(each.fact).__name__} follows from a result that came after the verdict"
            yield case.broken("I5", told, idle[each.cause], each)


def _may_follow_idly(entry: Entry) -> bool:
    """A late report may be the one that the run's end waited for; an error of ours may hold it."""
    held = isinstance(entry.fact, facts.RunHeld) and entry.fact.reason == "kernel_error"
    return held or isinstance(entry.fact, facts.RunSettled)


def attempts_have_no_gaps(case: Case) -> Iterator[Violation]:
    """I7: attempts count from 1, and each further one follows from a retry that came due or from a replay."""
    by_id = {each.id: each for each in case.events}
    for each, before in walk(case.graph, case.story):
        fact = each.fact
        if not isinstance(fact, facts.StepScheduled):
            continue
        unit = before.of(each)
        if fact.attempt != unit.attempt + 1:
            told = f"attempt {fact.attempt} of {unit_text(each.unit)} was scheduled after attempt {unit.attempt}"
            yield case.broken("I7", told, each)
        elif fact.attempt > 1:
            yield from _again(case, each, fact, unit, by_id.get(each.cause))


def _again(
    case: Case, entry: Entry, fact: facts.StepScheduled, unit: UnitState, cause: Entry | None
) -> Iterator[Violation]:
    told = f"attempt {fact.attempt} of {unit_text(entry.unit)}"
    shown = (cause, entry) if cause is not None else (entry,)
    match cause.fact if cause is not None else None:
        case facts.RetryDue(step=fact.step, item=fact.item, attempt=fact.attempt):
            if unit.status != "retry":
                yield case.broken("I7", f"{told} came due, but the step was {unit.status}", *shown)
            if fact.fresh_budget:
                yield case.broken("I7", f"{told} is a retry, but its budget counts anew", *shown)
        case facts.ReplayRequested(step=fact.step, item=fact.item, attempt=attempt):
            if unit.status not in ("dead", "suspected") or attempt != unit.attempt:
                given = f"attempt {attempt} was replayed while attempt {unit.attempt} was {unit.status}"
                yield case.broken("I7", f"{told}: {given}", *shown)
            if not fact.fresh_budget:
                yield case.broken("I7", f"{told} is a replay, but its budget does not count anew", *shown)
        case _:
            yield case.broken("I7", f"{told} follows neither from a retry that came due nor from a replay", *shown)


def retries_keep_to_the_policy(case: Case) -> Iterator[Violation]:
    """I7: a retry follows a retryable failure with attempts left, after the back-off and what the handler asked for."""
    for each, before in walk(case.graph, case.story):
        if isinstance(each.fact, facts.RetryScheduled):
            yield from _retry(case, each, each.fact, before)


def _retry(case: Case, entry: Entry, fact: facts.RetryScheduled, before: Standing) -> Iterator[Violation]:
    unit, retry = before.of(entry), case.graph.step(fact.step).retry
    failed = unit.failure.fact if unit.failure is not None else None
    told = f"a retry of {unit_text(entry.unit)}"
    if before.phase != "running" or unit.status != "failed" or not isinstance(failed, facts.StepFailed):
        yield case.broken("I7", f"{told} was scheduled, but it was {unit.status} and the run {before.phase}", entry)
        return
    assert unit.failure is not None
    shown = (unit.failure, entry)
    if not failed.retryable or failed.dead_lettered:
        yield case.broken("I7", f"{told} follows a failure that is not to be tried again", *shown)
    if fact.attempt != failed.attempt + 1:
        yield case.broken("I7", f"{told} is attempt {fact.attempt} after attempt {failed.attempt}", *shown)
    if failed.attempt - unit.budget_from >= retry.attempts:
        yield case.broken("I7", f"{told} was scheduled, though {retry.attempts} attempts were made", *shown)
    if fact.due + ROUNDING < entry.time + wait_after(retry, unit, failed):
        wait = wait_after(retry, unit, failed)
        yield case.broken("I7", f"{told} is due after {fact.due - entry.time}, but the policy says {wait}", *shown)
    if retry.total is not None and fact.due - fact.failing_since > retry.total + ROUNDING:
        yield case.broken("I7", f"{told} is beyond the budget of {retry.total}", *shown)


def wait_after(retry: Retry, unit: UnitState, failed: facts.StepFailed) -> timedelta:
    """The shortest wait before the attempt that follows a failure: doubling up to the cap; jitter only adds to it."""
    wait = retry.base
    for _ in range(failed.attempt - unit.budget_from - 1):
        wait = min(wait * 2, retry.cap)
    return max(wait, timedelta(milliseconds=failed.retry_after_ms or 0))


def failures_are_answered(case: Case) -> Iterator[Violation]:
    """I7: a failure that counts leads to a retry or a dead letter, unless the run is stopping."""
    if not case.is_folded:
        return
    now = case.final()
    if now.phase != "running" or now.kernel_error is not None:
        return
    for unit, state in now.units.items():
        if state.status == "failed" and state.failure is not None:
            yield case.broken("I7", f"the failure of {unit_text(unit)} led to nothing", state.failure)


def budgets_count_from_the_first_failure(case: Case) -> Iterator[Violation]:
    """I7: the time that a step has been failing counts from its first failure, or the first one after a replay."""
    if not case.has(facts.RetryScheduled):
        return
    for each, before in walk(case.graph, case.story):
        if not isinstance(each.fact, facts.RetryScheduled):
            continue
        since = before.of(each).failing_since or each.time
        if abs(each.fact.failing_since - since) > ROUNDING:
            told = f"a retry of {unit_text(each.unit)} says that it has failed since {each.fact.failing_since}"
            yield case.broken("I7", f"{told}, but its first failure was at {since}", each)
