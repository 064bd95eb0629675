"""Conditions: a step that ran was allowed to by its `when`, and one that was skipped for it was not (I6).

Evaluates the definition's own expressions over the results on the log; where a payload is in
the artifact store, or an expression cannot be evaluated, nothing is said.
"""

from collections.abc import Iterator

from farandole.definition.expressions import compile_expression
from farandole.definition.inputs import holds, items
from farandole.definition.model import Step
from farandole.errors import RecordError
from farandole.events import facts
from farandole.events.avro import Schema
from farandole.events.claims import is_claim
from farandole.ids import NO_ITEM
from farandole.lineage.entries import Entry
from farandole.lineage.tree import unit_text
from farandole.testing.history.cases import Case
from farandole.testing.history.report import Violation
from farandole.testing.history.standing import Standing, walk


class _UnknownValue(Exception):
    """A value that is not on the log."""


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
        allowed = holds(step, _Values(case, before, entry).env(step, item))
    except (_UnknownValue, RecordError):
        return
    if allowed != ran:
        word = "ran" if ran else "was skipped"
        told = f"{unit_text((step.name, item))} {word}, but its condition {step.when!r} gives {allowed}"
        yield case.broken("I6", told, entry)


def _is_per_item(step: Step) -> bool:
    """Whether the condition is about each item; else it decides about the step as a whole."""
    return step.is_mapped and step.item_name in compile_expression(step.when or "true").roots


class _Values:
    """What expressions may read at one point of a story."""

    def __init__(self, case: Case, before: Standing, entry: Entry) -> None:
        self._case = case
        self._before = before
        self._entry = entry

    def env(self, step: Step, item: int) -> dict[str, object]:
        roots = compile_expression(step.when or "true").roots
        env = {root: self._root(root) for root in roots if not (step.is_mapped and root == step.item_name)}
        if item != NO_ITEM:
            env[step.item_name] = self._element(step, item)
        return env

    def _element(self, step: Step, item: int) -> object:
        above = self._case.graph.items_of(step)
        if above is not None:
            return self._output(above, item)
        roots = compile_expression(step.map_over or "").roots
        return items(step, {root: self._root(root) for root in roots})[item]

    def _root(self, root: str) -> object:
        start = self._case.starts[0].fact
        assert isinstance(start, facts.RunStarted)
        if root == "params":
            return _decoded(self._case.graph.definition.params_schema, start.params)
        if root == "run":
            return {"id": self._case.run, "pipeline": start.pipeline}
        step = self._case.graph.step(root)
        if not step.is_mapped:
            return self._output(root, NO_ITEM)
        count = self._before.items.get(root, 0)
        won = [n for n in range(count) if self._before.unit(root, n).status == "succeeded"]
        return [self._output(root, n) for n in won] if self._before.has_won(root) else None

    def _output(self, step: str, item: int) -> object:
        told = self._before.unit(step, item).accepted
        if self._entry.unit == (step, item) and isinstance(self._entry.fact, facts.StepSucceeded):
            told = self._entry
        if told is None or not isinstance(told.fact, facts.StepSucceeded):
            return None
        return _decoded(self._case.graph.step(step).output_schema, told.fact.output)


def _decoded(schema: str, framed: bytes) -> object:
    if is_claim(framed) is not None:
        raise _UnknownValue
    return Schema.parse(schema).decode(framed)
