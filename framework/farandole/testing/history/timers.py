"""Timers: what was set comes due once, never early, and changes nothing that has gone on (I8)."""

from collections.abc import Iterator
from datetime import datetime

from farandole.events import facts
from farandole.lineage.entries import Entry
from farandole.lineage.tree import unit_text
from farandole.testing.history.attempts import ROUNDING
from farandole.testing.history.cases import Case, Docket
from farandole.testing.history.report import Violation
from farandole.testing.history.standing import Standing, walk


def timers_were_set(case: Case) -> Iterator[Violation]:
    """I8: a marker tells of a timer that was set before it, and is not written before the timer is due."""
    for each, before in walk(case.graph, case.story):
        if not isinstance(each.fact, facts.RetryDue | facts.DeadlinePassed):
            continue
        due = [(instant, setter) for setter in _setters(before, each.fact) if (instant := _instant(setter)) is not None]
        if not due:
            yield case.broken("I8", f"{_named(each)} came due, but nothing set it", each)
        elif each.time + ROUNDING < (first := min(due, key=lambda pair: pair[0]))[0]:
            yield case.broken("I8", f"{_named(each)} came due {first[0] - each.time} early", first[1], each)


def _setters(before: Standing, marker: facts.RetryDue | facts.DeadlinePassed) -> list[Entry]:
    """The facts that may have set the timer; a marker may be about one that was set anew since it was written."""
    unit = before.unit(marker.step, marker.item)
    match marker:
        case facts.RetryDue(attempt=attempt):
            return [entry for n, entry in unit.retries_set.items() if n == attempt]
        case facts.DeadlinePassed(scope="run"):
            return [before.started] if before.started is not None else []
        case facts.DeadlinePassed(scope="stop"):
            return [before.stopping] if before.stopping is not None else []
        case facts.DeadlinePassed(scope="hold", step=""):
            return before.kernel_holds
        case facts.DeadlinePassed(scope="hold"):
            return unit.holds
        case facts.DeadlinePassed(attempt=attempt):
            return [entry for entry in unit.deadlines if entry.attempt <= attempt]


def _instant(setter: Entry) -> datetime | None:
    match setter.fact:
        case facts.RetryScheduled(due=due):
            return due
        case facts.RunStarted(deadline=deadline) | facts.StepScheduled(deadline=deadline):
            return deadline
        case facts.RunStopping(until=until):
            return until
        case facts.RunHeld(until=held_until):
            return held_until
        case _:
            return None


def _named(marker: Entry) -> str:
    match marker.fact:
        case facts.RetryDue(attempt=attempt):
            return f"the retry (attempt {attempt}) of {unit_text(marker.unit)}"
        case facts.DeadlinePassed(scope=scope):
            return f"the {scope} deadline" + (f" of {unit_text(marker.unit)}" if marker.unit[0] else "")
        case _:
            return "a timer"


def deadlines_judge_what_is_open(case: Case) -> Iterator[Violation]:
    """I8: a step's or hold's deadline changes a unit only if that is still open, with all successes before it read."""
    markers = {each.id: each for each in case.events if isinstance(each.fact, facts.DeadlinePassed)}
    for each, before in walk(case.graph, case.story):
        marker = markers.get(each.cause)
        if marker is None or not each.is_consequence or not isinstance(each.fact, facts.StepDeadLettered):
            continue
        unit = before.of(each)
        if unit.accepted is not None:
            told = f"the deadline of {unit_text(each.unit)} fired over its success"
            yield case.broken("I8", told, unit.accepted, marker, each)


def due_retries_are_triggered(case: Case) -> Iterator[Violation]:
    """I8: a retry that came due and is still wanted is triggered."""
    if not case.is_folded:
        return
    answered = {each.cause for each in case.events if isinstance(each.fact, facts.StepScheduled)}
    for each, before in walk(case.graph, case.story):
        if not isinstance(each.fact, facts.RetryDue) or before.phase != "running" or before.kernel_error is not None:
            continue
        unit = before.of(each)
        retry = unit.retry.fact if unit.retry is not None else None
        current = isinstance(retry, facts.RetryScheduled) and retry.attempt == each.fact.attempt
        if unit.status == "retry" and current and each.id not in answered:
            told = f"attempt {each.fact.attempt} of {unit_text(each.unit)} came due, but was not triggered"
            yield case.broken("I8", told, each)


def timers_come_due(docket: Docket) -> Iterator[Violation]:
    """I8: a retry whose instant has long passed has been triggered: timers survive their coordinator."""
    now = docket.history.now
    if now is None:
        return
    for case in docket.judged:
        standing = case.final()
        if not case.is_folded or standing.phase != "running" or standing.kernel_error is not None:
            continue
        for unit, state in standing.units.items():
            fact = state.retry.fact if state.status == "retry" and state.retry is not None else None
            if isinstance(fact, facts.RetryScheduled) and docket.is_past(fact.due):
                assert state.retry is not None
                told = f"attempt {fact.attempt} of {unit_text(unit)} was due at {fact.due}, and nothing came of it"
                yield case.broken("I8", told, state.retry)
