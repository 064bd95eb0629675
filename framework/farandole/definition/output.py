"""The result of a pipeline: its expression, its schema, and whether it is what was annotated."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from farandole.definition.cel_types import TypeProblem, expression_type
from farandole.definition.draft import Draft, Given
from farandole.definition.expressions import ExpressionError, compile_expression
from farandole.definition.model import Step
from farandole.definition.policy import JoinKind, OnDeadLetter
from farandole.definition.problems import problem
from farandole.definition.shapes import MISSING, type_name
from farandole.definition.types import canonical_json, is_optional, schema_text
from farandole.definition.value_types import ValueType, avro_of, described, misfit, value_type
from farandole.errors import DefinitionError


@dataclass(frozen=True, slots=True)
class Output:
    """A checked output: canonical text and schema."""

    text: str
    schema: str


def check_output(draft: Draft, steps: Mapping[str, Step], types: Mapping[str, ValueType]) -> Output | None:
    """The output of a draft whose steps are fine; `steps` are in topological order.

    Raises:
        DefinitionError: it cannot be read, has no schema, or is not what the pipeline declares.
    """
    if draft.output is None:
        if draft.declared not in (MISSING, None, type(None)):
            fact = f"expected the body to return {type_name(draft.declared)}, but it returns nothing"
            raise problem(draft.place, f"{draft.name}.output", fact)
        return None
    where, place = f"{draft.name}.output", draft.output.place
    try:
        expression = compile_expression(draft.output.text)
        expression.check_compiles()
        for root in sorted(expression.roots - set(steps) - {"params", "run"}):
            raise TypeProblem(f"expected a step, params or run, but found {root!r}")
        found = expression_type(expression.node, types)
    except (ExpressionError, TypeProblem) as bad:
        raise problem(place, where, str(bad)) from None
    _check_declared(draft, draft.output, found, skippable(steps) & expression.roots)
    return Output(expression.canonical, _schema(draft, expression.canonical, found, steps))


def _schema(draft: Draft, text: str, found: ValueType, steps: Mapping[str, Step]) -> str:
    if text in steps:
        step = steps[text]
        if not step.is_mapped:
            return step.output_schema
        return canonical_json({"type": "array", "items": json.loads(step.output_schema)})
    schema = avro_of(found)
    if schema is None:
        assert draft.output is not None
        fact = f"expected a step's output or a plain value, but found {described(found)}, which has no schema"
        raise problem(draft.output.place, f"{draft.name}.output", fact)
    return canonical_json(schema)


def _check_declared(draft: Draft, output: Given, found: ValueType, may_skip: frozenset[str]) -> None:
    if draft.declared is MISSING:
        return
    where = f"{draft.name}.output"
    try:
        declared, takes_none = value_type(schema_text(draft.declared)), is_optional(draft.declared)
    except DefinitionError as bad:
        raise problem(draft.place, where, bad.message) from None
    if wrong := misfit(found, declared):
        raise problem(draft.place, where, f"{wrong} in the returned value")
    if may_skip and not takes_none:
        fact = f"expected -> {type_name(draft.declared)} | None, since the step {min(may_skip)!r} may be skipped"
        raise problem(output.place, where, fact)


def skippable(steps: Mapping[str, Step]) -> frozenset[str]:
    """Steps that may end without an output in a run that succeeds; `steps` are in topological order."""
    found: set[str] = set()
    for name, step in steps.items():
        required = [each.expression for each in step.inputs.values() if not each.optional]
        required += [text for text in (step.map_over, step.when) if text]
        roots = frozenset().union(*(compile_expression(text).roots for text in required))
        conditional = step.when is not None and not (step.is_mapped and "item" in compile_expression(step.when).roots)
        skipped = step.on_dead_letter is OnDeadLetter.SKIP and not step.is_mapped
        if conditional or skipped or roots & found or step.join.kind in (JoinKind.ANY, JoinKind.N_OF):
            found.add(name)
    return frozenset(found)
