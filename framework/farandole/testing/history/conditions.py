"""Conditions and lists: `when` decides whether a step runs, and a map runs over every element of its list (I6).

Evaluates the definition's own expressions over the results on the log; where a payload is in
the artifact store, or an expression cannot be evaluated, nothing is said.
"""

from collections.abc import Iterator

from farandole.definition.expressions import compile_expression
from farandole.definition.inputs import holds
from farandole.definition.model import Step
from farandole.errors import RecordError
from farandole.events import facts
from farandole.ids import NO_ITEM
from farandole.lineage.entries import Entry
from farandole.lineage.tree import unit_text
from farandole.testing.history.cases import Case
from farandole.testing.history.report import Violation
from farandole.testing.history.standing import Standing, walk
from farandole.testing.history.values import UnknownValue, Values


def conditions_are_obeyed(case: Case) -> Iterator[Violation]:
    """I6: `when` decides whether a step runs, whoever fires it."""
    for each, before in walk(case.graph, case.story):
        match each.fact:
            case (
                facts.StepScheduled(attempt=1, step=step, item=item)
                | facts.StepSkipped(reason="condition", step=step, item=item)
            ):
                ran = isinstance(each.fact, facts.StepScheduled)
                yield from _judge(case, each, before, (case.graph.step(step), item), ran=ran)
            case facts.StepExpanded(step=step):
                yield from _judge(case, each, before, (case.graph.step(step), NO_ITEM), ran=True)
            case facts.StepSucceeded(fired=fired) if before.counts(each):
                for child in fired:
                    yield from _judge(case, each, before, (case.graph.step(child), NO_ITEM), ran=True)
            case _:
                pass


def _judge(case: Case, entry: Entry, before: Standing, unit: tuple[Step, int], *, ran: bool) -> Iterator[Violation]:
    step, item = unit
    if step.when is None or _is_per_item(step) != (item != NO_ITEM):
        return
    try:
        allowed = holds(step, Values(case, before, entry).env(step, item, step.when))
    except (UnknownValue, RecordError):
        return
    if allowed != ran:
        word = "ran" if ran else "was skipped"
        told = f"{unit_text((step.name, item))} {word}, but its condition {step.when!r} gives {allowed}"
        yield case.broken("I6", told, entry)


def _is_per_item(step: Step) -> bool:
    """Whether the condition is about each item; else it decides about the step as a whole."""
    return step.is_mapped and step.item_name in compile_expression(step.when or "true").roots


def conditions_exist(case: Case) -> Iterator[Violation]:
    """I6: who is skipped for a condition has one: as a whole, or as an item where it is about items."""
    if not case.has(facts.StepSkipped):
        return
    for each in case.events:
        match each.fact:
            case facts.StepSkipped(reason="condition", step=name, item=item):
                step = case.graph.step(name)
                if step.when is None or _is_per_item(step) != (item != NO_ITEM):
                    told = f"{unit_text(each.unit)} was skipped for a condition, but it has none"
                    yield case.broken("I6", told, each)
            case _:
                pass


def lists_are_run_over_whole(case: Case) -> Iterator[Violation]:
    """I6: a map has as many items as its list has elements, or the map that it follows has items."""
    if not case.has(facts.StepExpanded):
        return
    for each, before in walk(case.graph, case.story):
        if not isinstance(each.fact, facts.StepExpanded):
            continue
        step = case.graph.step(each.fact.step)
        above = case.graph.items_of(step)
        try:
            count = before.items.get(above) if above is not None else len(Values(case, before, each).elements(step))
        except (UnknownValue, RecordError):
            continue
        if count not in (None, each.fact.items):
            told = f"{step.name} was expanded to {each.fact.items} items, but what it runs over has {count}"
            yield case.broken("I6", told, each)
