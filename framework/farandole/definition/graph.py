"""The edges of a definition, and who fires each (DESIGN section 5).

Derived from a `Definition` alone, so that every process comes to the same answer: an
agent fires an edge only where it can know everything that the edge needs. Computed once
per definition and shared.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from farandole.definition.expressions import compile_expression
from farandole.definition.model import Definition, Step
from farandole.definition.policy import JoinKind, OnDeadLetter
from farandole.definition.schemas import project_fields

RESERVED = frozenset({"params", "run"})
"""Roots of expressions that are not steps; a mapped step adds the name of its item."""


@dataclass(frozen=True, slots=True)
class Parent:
    """One incoming edge. `required`: a skip of the parent skips the step; `ordering`: only `.after()`, no data."""

    name: str
    required: bool
    ordering: bool


class Graph:
    """Steps by number, parents, children, and the edges that agents fire."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.names: tuple[str, ...] = tuple(definition.steps)
        self.number: Mapping[str, int] = {name: n for n, name in enumerate(self.names)}
        self.steps: tuple[Step, ...] = tuple(definition.steps.values())
        # In the steps' order: equal definitions may hold their inputs in different orders, and share one graph.
        self.parents: Mapping[str, tuple[Parent, ...]] = {
            s.name: tuple(sorted(_parents(s), key=lambda parent: self.number.get(parent.name, -1))) for s in self.steps
        }
        self.children: Mapping[str, tuple[str, ...]] = _children(self.parents)
        self.roots: tuple[str, ...] = tuple(name for name in self.names if not self.parents[name])
        self.fired_by_agent: Mapping[str, tuple[str, ...]] = {
            name: tuple(c for c in self.children[name] if self._agent_may_fire(name, c)) for name in self.names
        }

    def step(self, name: str) -> Step:
        """The step of that name; KeyError if there is none."""
        return self.definition.steps[name]

    def items_of(self, step: Step) -> str | None:
        """The mapped step over which `step` is mapped item-wise, if that is what its `map_over` names."""
        over = step.map_over
        return over if over in self.definition.steps and over is not None and self.step(over).is_mapped else None

    def keeps_output(self, name: str) -> bool:
        """Whether the coordinator may need the step's output later: for an edge it fires, or the pipeline's output."""
        return name in self._kept

    @cached_property
    def _kept(self) -> frozenset[str]:
        kept = set(compile_expression(self.definition.output).roots) if self.definition.output else set()
        for child, parents in self.parents.items():
            for parent in parents:
                if not parent.ordering and child not in self.fired_by_agent[parent.name]:
                    kept.add(parent.name)
        return frozenset(kept - RESERVED)

    @cached_property
    def carried_params(self) -> tuple[str, ...]:
        """Pipeline parameters that agent-fired steps read; they travel in `ce_params` (at most 8 KiB)."""
        fired = {child for children in self.fired_by_agent.values() for child in children}
        names = {path[1] for step in fired for path in _paths(self.step(step)) if path[0] == "params" and len(path) > 1}
        return tuple(sorted(names))

    @cached_property
    def carried_schema(self) -> str:
        """Avro schema of the projected params, as JSON text: the params record with only the carried fields."""
        schema = json.loads(self.definition.params_schema)
        return json.dumps({**schema, "fields": project_fields(schema, self.carried_params)})

    def chain_above(self, name: str) -> tuple[str, ...]:
        """The steps from which agents alone may lead to this one: an attempt of it may have run with one of theirs."""
        above: list[str] = []
        while len(parents := self.parents[name]) == 1 and name in self.fired_by_agent[parents[0].name]:
            name = parents[0].name
            above.append(name)
        return tuple(above)

    @cached_property
    def last(self) -> str | None:
        """The step whose success is the end of the run, and its output the run's: of chains that agents fire alone.

        None if anything else might still be under way then, or make more of the run than `succeeded`.
        """
        *above, last = self.names
        one_way = all(len(self.children[n]) == 1 and self.fired_by_agent[n] == self.children[n] for n in above)
        plain = len(self.roots) == 1 and not self.children[last] and not self.step(last).is_mapped
        no_verdict = all(s.deadline is None and s.on_dead_letter is not OnDeadLetter.SKIP for s in self.steps)
        tells = self.definition.output == last
        return last if one_way and plain and no_verdict and tells else None

    @cached_property
    def direct_root(self) -> str | None:
        """The step whose trigger may itself start a run; None where a coordinator must have a say in it.

        One root that runs whatever the params are, and no deadline of the run: while no agent has taken the trigger
        nobody would know of it.
        """
        if len(self.roots) != 1 or self.definition.deadline is not None:
            return None
        root = self.step(self.roots[0])
        plain = not root.is_mapped and root.when is None and root.deadline is None
        known = {path[0] for path in _paths(root)} <= {"params"}
        return root.name if plain and known else None

    def _agent_may_fire(self, parent: str, child: str) -> bool:
        step, above = self.step(child), self.step(parent)
        plain = step.join.kind is JoinKind.ALL_SUCCEEDED and not step.is_mapped and not above.is_mapped
        no_verdict = above.deadline is None and step.deadline is None
        known = {path[0] for path in _paths(step)} <= {parent, "params"}
        return plain and no_verdict and known and len(self.parents[child]) == 1 and _params_are_named(step)


@lru_cache(maxsize=1024)
def graph_of(definition: Definition) -> Graph:
    """The graph of a definition, made once."""
    return Graph(definition)


def _expressions(step: Step) -> Iterator[str]:
    yield from (given.expression for given in step.inputs.values())
    yield from (text for text in (step.when, step.map_over) if text is not None)


def _paths(step: Step) -> Iterator[tuple[str, ...]]:
    for text in _expressions(step):
        yield from compile_expression(text).paths


def _params_are_named(step: Step) -> bool:
    """Whether each use of `params` names a field, so that a projection can carry it."""
    return all(len(path) > 1 for path in _paths(step) if path[0] == "params")


def _parents(step: Step) -> Iterator[Parent]:
    local = RESERVED | ({step.item_name} if step.is_mapped else frozenset())
    required: dict[str, bool] = {}
    for text in (step.when, step.map_over):
        for root in compile_expression(text).roots if text else ():
            required[root] = True
    if step.when is not None and step.join.kind is JoinKind.ALL_DONE:
        # A guard that asks for null has an answer for what was skipped; the other joins do not go without it.
        over = compile_expression(step.map_over).roots if step.map_over else frozenset()
        required |= dict.fromkeys(compile_expression(step.when).asked_for_null - over, False)
    for given in step.inputs.values():
        for root in sorted(compile_expression(given.expression).roots):
            required[root] = required.get(root, False) or not given.optional
    for name, needed in required.items():
        if name not in local:
            yield Parent(name, required=needed, ordering=False)
    for name in step.after:
        if name not in required:
            yield Parent(name, required=False, ordering=True)


def _children(parents: Mapping[str, tuple[Parent, ...]]) -> Mapping[str, tuple[str, ...]]:
    children: dict[str, list[str]] = {name: [] for name in parents}
    for name, above in parents.items():
        for parent in above:
            children[parent.name].append(name)
    return {name: tuple(below) for name, below in children.items()}
