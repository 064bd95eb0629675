"""What ran at once with its parent (hop fusion), in one transaction: it has a report and no trigger (I4, I10)."""

from collections.abc import Iterator

from farandole.events import facts
from farandole.ids import NO_ITEM
from farandole.lineage.entries import Entry
from farandole.testing.history.cases import AttemptKey, Case, Docket, attempt_text, fired_apart
from farandole.testing.history.report import Violation


def fused_steps_report_with_their_parent(docket: Docket) -> Iterator[Violation]:
    """I4, I10: what ran at once has no trigger, and its report stands behind its parent's: they are one transaction."""
    for case in docket.judged:
        for each in case.events:
            if isinstance(each.fact, facts.StepSucceeded) and each.fact.fused:
                yield from _fused(case, each, each.fact)
            elif each.is_fused and not _is_told(docket, each):
                told = f"{attempt_text((*each.unit, 1))} was run at once, but its parent does not say so"
                yield case.broken("I4", told, each)


def _fused(case: Case, parent: Entry, fact: facts.StepSucceeded) -> Iterator[Violation]:
    if len(fact.fused) > 1 or fact.fused != fact.fired or case.graph.children[fact.step] != fact.fused:
        told = f"{fact.step} was gone on from at once, but {', '.join(fact.fused)} is not its only successor"
        yield case.broken("I4", told, parent)
    for child in fact.fused:
        key = child, NO_ITEM, 1
        reports = _reports_with(case, parent, key)
        if not reports:
            yield case.broken("I10", f"{attempt_text(key)} was run at once with {fact.step}, but has no report", parent)
        if triggers := _triggers_beside(case, parent, key):
            told = f"{attempt_text(key)} was run at once with {fact.step}, and triggered too"
            yield case.broken("I4", told, parent, *triggers)
        for report in reports:
            same = (report.source, report.input, report.partition) == (parent.source, parent.input, parent.partition)
            if not same or report.offset < parent.offset:
                told = f"{attempt_text(key)} was run at once with {fact.step}, but they are not one transaction"
                yield case.broken("I10", told, parent, report)


def _reports_with(case: Case, parent: Entry, key: AttemptKey) -> list[Entry]:
    """The reports that name a parent as their cause; of its copies, each has those up to the next repeat."""
    copies = [each.offset for each in case.events if each.id == parent.id and case.is_repeat(each)]
    since = parent.offset if case.is_repeat(parent) else -1
    until = min((offset for offset in copies if offset > parent.offset), default=None)
    named = [each for each in case.reports.get(key, ()) if each.cause == parent.id]
    return [each for each in named if since <= each.offset and (until is None or each.offset < until)]


def _triggers_beside(case: Case, parent: Entry, key: AttemptKey) -> list[Entry]:
    """Triggers of what ran at once with its parent, but those of copies of the parent that did not run it at once."""
    own = case.own(case.triggers.get(key, ()))
    if not case.is_repeat(parent):
        return own
    first = [each for each in case.events if each.id == parent.id and not case.is_repeat(each)]
    apart = any(key[0] in fired_apart(each) for each in first)
    return [each for each in own if not (apart and each.cause == parent.id)]


def _is_told(docket: Docket, report: Entry) -> bool:
    step = report.unit[0]
    causes = [each.fact for each in docket.by_id.get(report.cause, ()) if each.run == report.run]
    return any(isinstance(fact, facts.StepSucceeded) and step in fact.fused for fact in causes)
