"""Edges: a step goes when its parents allow it, once, and never in a run that is stopping (I6, I14)."""

from collections.abc import Iterator

from farandole.definition.graph import Graph, Parent
from farandole.definition.model import Step
from farandole.definition.policy import JoinKind, OnDeadLetter
from farandole.events import facts
from farandole.ids import NO_ITEM
from farandole.lineage.entries import Entry
from farandole.lineage.tree import unit_text
from farandole.testing.history.cases import Case
from farandole.testing.history.report import Violation
from farandole.testing.history.standing import ENDED, Standing, walk


def steps_go_when_their_parents_allow(case: Case) -> Iterator[Violation]:
    """I6, I14: the coordinator schedules, expands or skips a pending step of a running run, and only when it may."""
    for each, before in walk(case.graph, case.story):
        match each.fact:
            case facts.StepSkipped(reason="dead_letter"):
                yield from _may_go_on_without(case, each, before)
            case facts.StepScheduled(attempt=1, step=step, item=item) | facts.StepSkipped(step=step, item=item):
                if before.phase != "running":
                    yield case.broken("I14", f"{_did(each)} while the run was {before.phase}", each)
                yield from _may_go(case, each, before, case.graph.step(step), item)
            case facts.StepExpanded(step=step):
                if before.phase != "running":
                    yield case.broken("I14", f"{_did(each)} while the run was {before.phase}", each)
                yield from _may_go(case, each, before, case.graph.step(step), NO_ITEM)
            case facts.StepCompleted(step=step, succeeded=succeeded):
                yield from _may_complete(case, each, before, step, succeeded)
            case facts.StepScheduled():
                if before.phase != "running":
                    yield case.broken("I14", f"{_did(each)} while the run was {before.phase}", each)
            case _:
                pass


def _did(entry: Entry) -> str:
    return f"{type(entry.fact).__name__} of {unit_text(entry.unit)}"


def _may_go(case: Case, entry: Entry, before: Standing, step: Step, item: int) -> Iterator[Violation]:
    fact, unit = entry.fact, before.unit(step.name, item)
    if unit.status != "pending":
        yield case.broken("I4", f"{_did(entry)}, though it was {unit.status} already", entry)
        return
    allowed = item_ready(case.graph, before, step, item) if item != NO_ITEM else ready(case.graph, before, step)
    wanted = fact.reason if isinstance(fact, facts.StepSkipped) else "go"
    if wanted == "condition":
        wanted = "go"  # whether the condition held is judged by `conditions`
    if wanted not in allowed:
        told = f"{_did(entry)} ({wanted}), but its parents say: {' or '.join(sorted(allowed))}"
        yield case.broken("I6", told, entry)


def _may_go_on_without(case: Case, entry: Entry, before: Standing) -> Iterator[Violation]:
    """A dead letter is skipped by its step's policy, or because somebody discarded this very attempt."""
    unit, (step, item) = before.of(entry), entry.unit
    asked = next((each.fact for each in case.events if each.id == entry.cause), None)
    match asked:
        case facts.DiscardRequested():
            is_meant = (asked.step, asked.item, asked.attempt) == (step, item, unit.attempt)
        case _:
            is_meant = case.graph.step(step).on_dead_letter is OnDeadLetter.SKIP
    if before.phase != "running":
        yield case.broken("I14", f"{_did(entry)} while the run was {before.phase}", entry)
    if unit.status != "dead" or not is_meant:
        yield case.broken("I6", f"{_did(entry)} for a dead letter, but it was {unit.status}", entry)


def _may_complete(case: Case, entry: Entry, before: Standing, step: str, succeeded: int) -> Iterator[Violation]:
    count = before.items.get(step)
    states = [before.unit(step, item).status for item in range(count or 0)]
    if count is None or before.unit(step).status != "expanded":
        yield case.broken("I6", f"{step} was completed, but it was {before.unit(step).status}", entry)
    elif any(each not in ENDED for each in states):
        yield case.broken("I6", f"{step} was completed while items of it were under way", entry)
    elif states.count("succeeded") != succeeded:
        told = f"{step} was completed with {succeeded} results, but {states.count('succeeded')} items succeeded"
        yield case.broken("I6", told, entry)


def ready(graph: Graph, now: Standing, step: Step) -> frozenset[str]:
    """What may happen to a pending step: `go`, `input` or `join` (skips), or `wait`."""
    parents = graph.parents[step.name]
    data = [p for p in parents if not p.ordering]
    ended = {p.name: _has_ended(graph, now, step, p) for p in parents}
    if not all(ended[p.name] for p in parents if p.ordering):
        return frozenset({"wait"})
    won = {p.name: _has_won(graph, now, step, p) for p in parents}
    over = all(ended[p.name] for p in data)
    lacks = any(p.required and ended[p.name] and not won[p.name] for p in data)
    needed = {JoinKind.ANY: 1, JoinKind.N_OF: step.join.needed}.get(step.join.kind)
    if needed is not None:
        count = sum(won[p.name] for p in data)
        if count < needed:
            return frozenset({"join"}) if over else frozenset({"wait"})
        unsure = any(p.required and not won[p.name] for p in data)
        return frozenset({"input"}) if unsure else frozenset({"go"})
    if step.join.kind is JoinKind.ALL_SUCCEEDED and lacks:
        return frozenset({"input"})
    if not over:
        return frozenset({"wait"})
    return frozenset({"input"}) if lacks else frozenset({"go"})


def item_ready(graph: Graph, now: Standing, step: Step, item: int) -> frozenset[str]:
    """The same for an item of an expanded step."""
    if now.unit(step.name).status != "expanded" or not 0 <= item < now.items.get(step.name, 0):
        return frozenset({"wait"})
    above = graph.items_of(step)
    if above is None:
        return frozenset({"go"})
    status = now.unit(above, item).status
    if status == "succeeded":
        return frozenset({"go"})
    return frozenset({"input"}) if status in ENDED else frozenset({"wait"})


def _has_ended(graph: Graph, now: Standing, step: Step, parent: Parent) -> bool:
    item_wise = graph.items_of(step) == parent.name and now.unit(parent.name).status == "expanded"
    return item_wise or now.has_ended(parent.name)


def _has_won(graph: Graph, now: Standing, step: Step, parent: Parent) -> bool:
    item_wise = graph.items_of(step) == parent.name and now.unit(parent.name).status == "expanded"
    return item_wise or now.has_won(parent.name)


def nothing_that_may_go_waits(case: Case) -> Iterator[Violation]:
    """I6: once everything is folded, no step of a running run is pending that could go."""
    if not case.is_folded:
        return
    now = case.final()
    if now.phase != "running" or now.kernel_error is not None:
        return
    for step in case.graph.steps:
        if now.unit(step.name).status == "pending" and "wait" not in (may := ready(case.graph, now, step)):
            told = f"{step.name} is still pending, but its parents say: {' or '.join(sorted(may))}"
            yield case.broken("I6", told, case.story[-1])
        for item in range(now.items.get(step.name, 0)):
            waits = now.unit(step.name, item).status == "pending"
            if waits and "wait" not in item_ready(case.graph, now, step, item):
                yield case.broken("I6", f"{unit_text((step.name, item))} is still pending, but may go", case.story[-1])
