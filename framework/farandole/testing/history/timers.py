"""Timers: what was set comes due once, never early, and changes nothing that has gone on (I8)."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from farandole.definition.model import STOP_MAX
from farandole.events import facts
from farandole.lineage.entries import Entry
from farandole.lineage.tree import unit_text
from farandole.testing.history.attempts import ROUNDING
from farandole.testing.history.cases import Case, Docket
from farandole.testing.history.report import Violation
from farandole.testing.history.standing import Standing, UnitState, walk


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
    """I8: what waits for an instant that has long passed has been heard of: timers survive their coordinator."""
    if docket.history.now is None:
        return
    for case in docket.judged:
        if not case.is_folded:
            continue
        for told, setter in _waits(case.final()):
            instant = _instant(setter)
            if instant is not None and docket.is_past(instant):
                yield case.broken("I8", f"{told} was due at {instant}, and nothing came of it", setter)


def _waits(standing: Standing) -> Iterator[tuple[str, Entry]]:
    """What a run waits for now, in words, with the fact that set its instant."""
    if standing.phase == "settled":
        return
    if standing.kernel_error is not None:
        yield "the end of the hold", standing.kernel_error
    elif standing.stopping is not None:
        yield "the end of its patience", standing.stopping
    else:
        if standing.started is not None:
            yield "its deadline", standing.started
        for unit, state in standing.units.items():
            yield from ((f"{told} {unit_text(unit)}", setter) for told, setter in _unit_waits(state))


def _unit_waits(state: UnitState) -> Iterator[tuple[str, Entry]]:
    if state.status == "retry" and state.retry is not None:
        yield f"attempt {state.retry.attempt} of", state.retry
    if state.status in ("dead", "suspected"):
        yield from (("the end of the hold for", held) for held in state.holds[-1:])
    if state.status in ("scheduled", "retry", "suspected"):
        yield from (("the deadline of", scheduled) for scheduled in state.deadlines[-1:])


def deadlines_are_set(case: Case) -> Iterator[Violation]:
    """I8: what the definition gives a time has it: a run, the first attempt of a step, one replayed, a hold, a stop.

    A run that an error holds may be stopped by a coordinator that cannot read its definition: it has the usual time;
    one that is held for that, whatever time.
    """
    is_standing = is_unread = False
    for each in case.events:
        match each.fact:
            case facts.RunHeld(reason="kernel_error") as held:
                is_standing, is_unread = True, is_unread or held.is_unread
            case facts.RunReleased(reason="kernel_error"):
                is_standing = is_unread = False
            case facts.RunStopping() if is_unread:
                continue
            case _:
                pass
        wanted = _span(case, each)
        if wanted is None:
            continue
        instant, span = _instant(each), wanted[0]
        is_usual = is_standing and isinstance(each.fact, facts.RunStopping) and _lasts(each, instant, STOP_MAX)
        if not is_usual and not _lasts(each, instant, span):
            told = f"{_set(each)} has until {instant}, but its definition gives it {span} from {each.time} on"
            yield case.broken("I8", told, each)


def _span(case: Case, entry: Entry) -> tuple[timedelta | None] | None:
    """How long what a fact begins may last (None: without end); None for facts that begin nothing of the kind."""
    definition = case.graph.definition
    match entry.fact:
        case facts.RunStarted():
            return (definition.deadline,)
        case facts.StepScheduled(step=step, attempt=attempt, fresh_budget=fresh):
            return (case.graph.step(step).deadline if attempt == 1 or fresh else None,)
        case facts.RunHeld(is_unread=True):
            return (None,)  # who held it did not know its definition
        case facts.RunHeld():
            return (definition.hold_max,)
        case facts.RunStopping():
            return (definition.stop_max,)
        case _:
            return None


def _lasts(entry: Entry, instant: datetime | None, span: timedelta | None) -> bool:
    if span is None or instant is None:
        return span is None and instant is None
    return abs(instant - _after(entry, span)) <= ROUNDING


def _after(entry: Entry, span: timedelta) -> datetime:
    """The instant so much later, or the last that there is."""
    last = datetime.max.replace(tzinfo=UTC)
    return entry.time + min(span, last - entry.time)


def _set(entry: Entry) -> str:
    about = f" of {unit_text(entry.unit)}" if entry.unit[0] else ""
    return f"{type(entry.fact).__name__}{about}"
