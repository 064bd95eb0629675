"""Values as expressions see them at one point of a story: params, results that count, elements of lists.

A payload that is in the artifact store is not known here, nor is an element beyond the list: whoever asks says
nothing then. Written beside the kernel's own reading, which is code under test.
"""

from collections.abc import Sequence

from farandole.definition.expressions import compile_expression
from farandole.definition.inputs import items
from farandole.definition.model import Step
from farandole.events import facts
from farandole.events.avro import Schema
from farandole.events.claims import is_claim
from farandole.ids import NO_ITEM
from farandole.lineage.entries import Entry
from farandole.testing.history.cases import Case
from farandole.testing.history.standing import Standing


class UnknownValue(Exception):  # noqa: N818 - no error: it is not on the log
    """A value that is not on the log."""


class Values:
    """What expressions may read at one point of a story: `before` it, with what `entry` itself reports."""

    def __init__(self, case: Case, before: Standing, entry: Entry) -> None:
        self._case = case
        self._before = before
        self._entry = entry

    def env(self, step: Step, item: int, *texts: str) -> dict[str, object]:
        """What expressions of a step, or of an item of it, may read.

        Raises:
            UnknownValue: a value is not on the log.
            RecordError: one that is cannot be read.
        """
        roots = frozenset().union(*(compile_expression(text).roots for text in texts))
        env = {root: self.root(root) for root in roots if not (step.is_mapped and root == step.item_name)}
        if item != NO_ITEM:
            env[step.item_name] = self._element(step, item)
        return env

    def elements(self, step: Step) -> Sequence[object]:
        """The list over which a mapped step runs. Raises as `env`."""
        return items(step, {root: self.root(root) for root in compile_expression(step.map_over or "").roots})

    def root(self, root: str) -> object:
        """What a free name stands for; None for a step without a result. Raises as `env`."""
        start = self._case.starts[0].fact
        assert isinstance(start, facts.RunStarted)
        if root == "params":
            return decoded(self._case.graph.definition.params_schema, start.params)
        if root == "run":
            return {"id": self._case.run, "pipeline": start.pipeline}
        step = self._case.graph.step(root)
        if not step.is_mapped:
            return self._output(root, NO_ITEM)
        count = self._before.items.get(root, 0)
        won = [n for n in range(count) if self._before.unit(root, n).status == "succeeded"]
        return [self._output(root, n) for n in won] if self._before.has_won(root) else None

    def _element(self, step: Step, item: int) -> object:
        above = self._case.graph.items_of(step)
        if above is not None:
            return self._output(above, item)
        found = self.elements(step)
        if item >= len(found):
            raise UnknownValue
        return found[item]

    def _output(self, step: str, item: int) -> object:
        told = self._before.unit(step, item).accepted
        if self._entry.unit == (step, item) and isinstance(self._entry.fact, facts.StepSucceeded):
            told = self._entry
        if told is None or not isinstance(told.fact, facts.StepSucceeded):
            return None
        return decoded(self._case.graph.step(step).output_schema, told.fact.output)


def decoded(schema: str, framed: bytes) -> object:
    """The plain value of a framed payload. Raises as `Values.env`."""
    if is_claim(framed) is not None:
        raise UnknownValue
    return Schema.parse(schema).decode(framed)


def is_same(one: object, other: object) -> bool:
    """Whether two plain values are the same: NaN is no other than itself here."""
    return one == other or repr(one) == repr(other)
