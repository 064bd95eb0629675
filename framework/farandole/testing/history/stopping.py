"""Stopping: a run stops because somebody or something asks for it, and then it does, and its agents are told (I14)."""

from collections.abc import Iterator
from datetime import timedelta

from farandole.definition.policy import OnDeadLetter
from farandole.events import facts
from farandole.events.commands import CancelRun, ReleaseRun
from farandole.lineage.entries import Entry
from farandole.testing.history.attempts import ROUNDING
from farandole.testing.history.cases import Case, Docket
from farandole.testing.history.report import Violation
from farandole.testing.history.standing import ENDED, Standing, is_over, walk

LIVED_ON = timedelta(days=1)
"""How much later than a request a run must have ended to have lived when that was consumed: clocks differ, and a home
without a coordinator reads nothing for hours."""


def a_run_stops_for_a_reason(case: Case) -> Iterator[Violation]:
    """I14: what stops a run is a request, a deadline that passed, a dead letter of a step with policy `fail`, or its
    end while an attempt has not reported; one that an error of ours held says that it stops before it ends."""
    if not case.has(facts.RunStopping, facts.RunHeld):
        return
    for each, before in walk(case.graph, case.story):
        match each.fact:
            case facts.RunStopping(outcome=outcome) if not _is_meant(case, each, outcome, before):
                yield case.broken("I14", f"it stops, to end {outcome}, but nothing asks for that", each)
            case facts.RunSettled(outcome=outcome) if before.phase == "running" and before.kernel_error is not None:
                told = f"an error held it, and it ended {outcome} without stopping: its agents were not told"
                yield case.broken("I14", told, before.kernel_error, each)
            case _:
                pass


def _is_meant(case: Case, stopping: Entry, outcome: str, before: Standing) -> bool:
    cause, now = case.cause_of(stopping), stopping.time + ROUNDING
    match outcome, cause.fact if cause is not None else None:
        case "cancelled", facts.CancelRequested():
            return True
        case "timed_out", facts.DeadlinePassed(scope="run"):
            return True
        case "failed", facts.DeadlinePassed(scope="hold", step=""):
            return before.kernel_error is not None and is_over(before.kernel_error, now)
        case "failed", facts.DeadlinePassed(scope="hold"):
            assert cause is not None
            unit = before.of(cause)
            return unit.status in ("dead", "suspected") and unit.hold_is_over(now)
        case "failed", facts.StepFailed() | facts.DeadlinePassed(scope="step"):
            assert cause is not None
            dead = [each for each in case.following(cause) if isinstance(each, facts.StepDeadLettered)]
            return any(case.graph.step(each.step).on_dead_letter is OnDeadLetter.FAIL for each in dead)
        case "succeeded" | "partial", _:
            over = all(before.unit(name).status in ENDED for name in case.graph.names)
            return over and any(unit.unreported for unit in before.units.values())
        case _:
            return False


def requests_are_marked(docket: Docket) -> Iterator[Violation]:
    """I14: a cancellation, or a release, that was consumed at its run's home while the run lived became a marker.

    No clock says whether the run lived then, but the order of the log does: the start before the request, and no end,
    or one long after it.
    """
    history = docket.history
    committed = {c.partition: c for c in history.committed if c.topic == history.topics.commands and not c.trouble}
    for asked in history.commands:
        position, case = committed.get(asked.partition), docket.cases.get(asked.run)
        if not isinstance(asked.command, CancelRun | ReleaseRun) or case is None or not case.is_judged:
            continue
        start = docket.by_place.get(case.starts[0].input)
        if start is None or start.topic != asked.topic or start.partition != asked.partition:
            continue  # started directly, or forwarded since
        is_consumed = position is not None and position.is_done(asked.offset) and start.offset < asked.offset
        if is_consumed and _has_lived_on(case, asked) and not _is_answered(case, asked):
            word = type(asked.command).__name__
            yield case.broken("I14", f"a {word} was consumed while it ran, but no marker says so", asked)


def _has_lived_on(case: Case, asked: Entry) -> bool:
    end = next((each for each in case.events if isinstance(each.fact, facts.RunSettled)), None)
    return end is None or end.time > asked.time + LIVED_ON


def _is_answered(case: Case, asked: Entry) -> bool:
    """By its marker, or by a refusal where its answer failed."""
    return any(each.input == asked.place or each.cause in (asked.id, asked.place) for each in case.events)


def stopping_runs_are_told(docket: Docket) -> Iterator[Violation]:
    """I14: who stops a run tells its agents, in the same transaction; what they were told goes when it is forgotten."""
    history = docket.history
    if not history.control and not any(topic == history.topics.control for topic, _ in history.spans):
        return  # nobody has looked there
    told = {each.key for each in history.control}
    for case in docket.judged:
        stopping = next((each for each in case.events if isinstance(each.fact, facts.RunStopping)), None)
        if stopping is None or not docket.is_old(stopping) or f"run:{case.run}" in told:
            continue
        end = case.final().settled
        if end is None or not (isinstance(end.fact, facts.RunSettled) and docket.is_past(end.fact.forget_at)):
            yield case.broken("I14", "it is stopping, but `control` does not say so", stopping)


def requests_to_stop_are_heeded(case: Case) -> Iterator[Violation]:
    """I14: a cancellation, or the run's deadline, that is folded while the run goes on stops it."""
    if not case.is_folded or not case.has(facts.CancelRequested, facts.DeadlinePassed):
        return
    answers = (facts.RunStopping, facts.RunSettled)
    for each, before in walk(case.graph, case.story):
        is_stop = isinstance(each.fact, facts.CancelRequested) or (
            isinstance(each.fact, facts.DeadlinePassed) and each.fact.scope == "run"
        )
        stands = before.kernel_error is not None and not isinstance(each.fact, facts.CancelRequested)
        is_idle = not any(isinstance(one, answers) for one in case.following(each))
        if is_stop and not stands and before.phase == "running" and is_idle:
            yield case.broken("I14", f"{type(each.fact).__name__} was folded while it ran, but did not stop it", each)
