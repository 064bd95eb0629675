"""Markers: what came from elsewhere, and was folded while it fitted, has its effect (I8, I9).

Of cancellations and of the run's deadline `stopping` tells, of retries that came due `timers`.
"""

from collections.abc import Iterator

from farandole.events import facts
from farandole.ids import NO_ITEM
from farandole.lineage.entries import Entry
from farandole.lineage.tree import unit_text
from farandole.testing.history.cases import Case
from farandole.testing.history.report import Violation
from farandole.testing.history.standing import Standing, UnitState, walk

MARKERS = (
    facts.DeadlinePassed,
    facts.DiscardRequested,
    facts.ReplayRequested,
    facts.TriggerSuspected,
    facts.ReleaseRequested,
)
HELD = ("dead", "suspected")
WAITING = ("scheduled", "retry", "suspected")


def markers_are_heeded(case: Case) -> Iterator[Violation]:
    """I8, I9: a deadline, a replay, a discard, a suspicion or a release that is folded while its step, or its run,
    stands where it was meant has its consequence."""
    if not case.is_folded or not case.has(*MARKERS):
        return
    for each, before in walk(case.graph, case.story):
        if not isinstance(each.fact, MARKERS):
            continue
        wanted, follow = _wanted(each, before), case.following(each)
        refused = any(isinstance(one, facts.RunRefused) and one.reason == "definition_gone" for one in follow)
        if isinstance(each.fact, facts.ReleaseRequested) and refused:
            continue  # whoever read it could not read the definition, and said so
        if wanted is not None and not any(isinstance(one, wanted) for one in follow):
            scope = f" ({each.fact.scope})" if isinstance(each.fact, facts.DeadlinePassed) else ""
            about = f" of {unit_text(each.unit)}" if each.unit[0] else ""
            told = f"{type(each.fact).__name__}{scope}{about} was folded where it fitted"
            yield case.broken("I9" if _is_asked(each) else "I8", f"{told}, but no {wanted.__name__} followed", each)


def _is_asked(marker: Entry) -> bool:
    return not isinstance(marker.fact, facts.DeadlinePassed | facts.TriggerSuspected)


def _wanted(marker: Entry, before: Standing) -> type[facts.Event] | None:
    """What must follow from a marker; None where it has been overtaken, or nothing can be said."""
    if before.phase == "settled":
        return None
    if before.kernel_error is not None:
        # Who reads the release of an unread run may not be able to either: it is asked for again then.
        is_release = isinstance(marker.fact, facts.ReleaseRequested) and not before.is_unread
        return facts.RunReleased if is_release else None
    if before.phase == "stopping":
        is_stop = isinstance(marker.fact, facts.DeadlinePassed) and marker.fact.scope == "stop"
        return facts.RunSettled if is_stop else None
    if isinstance(marker.fact, facts.ReleaseRequested):
        is_suspected = any(unit.status == "suspected" for unit in before.units.values())
        return facts.RunReleased if is_suspected else None
    return _of_unit(marker, before.of(marker)) if marker.unit[0] else None


def _of_unit(marker: Entry, unit: UnitState) -> type[facts.Event] | None:
    if unit.attempt != marker.attempt:
        return None
    match marker.fact:
        case facts.DiscardRequested() if unit.status == "dead":
            return facts.StepSkipped
        case facts.DeadlinePassed(scope="step") if unit.status in WAITING:
            return facts.StepDeadLettered
        case facts.DeadlinePassed(scope="hold") if unit.status in HELD and unit.hold_is_over(marker.time):
            return facts.RunStopping
        case facts.TriggerSuspected() if unit.status == "scheduled":
            return facts.RunHeld
        case facts.ReplayRequested() if unit.status in HELD and _has_input(marker.fact, unit):
            return facts.StepScheduled
        case _:
            return None


def _has_input(asked: facts.ReplayRequested, unit: UnitState) -> bool:
    """Whether there surely is an input for one more attempt: repaired, of a failure, or of an item of a list.

    That of a step which an agent fired may be known to nobody until it fails.
    """
    failed = unit.failure.fact if unit.failure is not None else None
    known = isinstance(failed, facts.StepFailed) and bool(failed.input)
    return bool(asked.input) or known or asked.item != NO_ITEM
