"""From a draft to a `Definition`, or to one precise error.

Linear in the graph. Each error names file and line, the step, what was expected and what was
found. Both front ends come through here, so both are checked alike and compile to the same text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from farandole.definition.cel_guards import not_null
from farandole.definition.cel_nodes import Name, null_checks
from farandole.definition.cel_parser import VARIABLES_TAKEN
from farandole.definition.cel_text import written
from farandole.definition.cel_types import TypeProblem, expression_type
from farandole.definition.choices import choice_misfit
from farandole.definition.draft import Draft, Given, StepDraft
from farandole.definition.expressions import Expression, ExpressionError, compile_expression
from farandole.definition.inputs import ITEMS_MAX
from farandole.definition.model import HOLD_MAX, STOP_MAX, Definition, Input, Step
from farandole.definition.naming import check_draft_names, check_item_name
from farandole.definition.ordering import cycle, topological
from farandole.definition.output import check_output
from farandole.definition.policy import Join, JoinKind
from farandole.definition.problems import problem
from farandole.definition.published import read_published
from farandole.definition.shapes import shape_of
from farandole.definition.spec import members_text
from farandole.definition.value_types import (
    STRING,
    Many,
    Member,
    Nullable,
    Record,
    Simple,
    ValueType,
    described,
    misfit,
    value_type,
)
from farandole.errors import DefinitionError

RUN = Record("run", (Member("id", STRING), Member("pipeline", STRING)))
"""What expressions may read of the run itself."""


@dataclass(frozen=True, slots=True)
class _Read:
    """The expressions of one step, compiled; names of steps they read."""

    draft: StepDraft
    inputs: Mapping[str, tuple[Given, Expression]]
    when: tuple[Given, Expression] | None
    over: tuple[Given, Expression] | None
    parents: frozenset[str]


def compile_draft(draft: Draft) -> Definition:
    """The definition of a draft.

    Raises:
        DefinitionError: the first thing that is wrong with it.
    """
    check_draft_names(draft)
    params_schema = members_text(f"{draft.name}_params", draft.params)
    types = _types(draft, params_schema)
    read = {step.name: _read_step(draft, step) for step in draft.steps}
    order = _order(draft, read)
    steps = {name: _step(draft, read[name], types, read) for name in order}
    output = check_output(draft, steps, types)
    made = Definition(
        name=draft.name,
        params_schema=params_schema,
        steps=steps,
        output=output.text if output else None,
        output_schema=output.schema if output else None,
        deadline=draft.deadline,
        hold_max=draft.hold_max or HOLD_MAX,
        stop_max=draft.stop_max or STOP_MAX,
        owner=draft.owner,
        tags=draft.tags,
        description=draft.description,
    )
    try:
        read_published(made.hash, made.to_json())
    except DefinitionError as bad:  # better here than in each process that is to run it
        raise problem(draft.place, draft.name, bad.message) from None
    return made


def check_owner(definition: Definition) -> None:
    """Nothing is applied that nobody answers for.

    Raises:
        DefinitionError: the pipeline names no owner.
    """
    if not definition.owner.strip():
        raise DefinitionError("expected an owner (a mail address or a team), but found none", place=definition.name)


def _types(draft: Draft, params_schema: str) -> dict[str, ValueType]:
    params = value_type(params_schema)
    assert isinstance(params, Record)
    types: dict[str, ValueType] = {"params": Record("params", params.members), "run": RUN}
    for step in draft.steps:
        output = value_type(step.spec.output_schema)
        types[step.name] = output if step.over is None else Many(output)
    return types


def _read_step(draft: Draft, step: StepDraft) -> _Read:
    known = frozenset(each.name for each in draft.steps)
    if step.over is not None:
        check_item_name(draft, step, known)

    def read(given: Given, what: str, *, local: bool = True) -> tuple[Given, Expression]:
        where = f"{draft.name}.{step.name}.{what}"
        expression = _compiled(given, where)
        item = step.item_name if local and step.over is not None else None
        for root in sorted(expression.roots - known - {"params", "run", item}):
            raise problem(given.place, where, _unknown_root(root, known, mapped=step.over is not None))
        return given, expression

    inputs = {name: read(given, f"with.{name}") for name, given in step.inputs.items()}
    when = read(step.when, "when") if step.when else None
    over = read(step.over, "map", local=False) if step.over else None
    for name in step.after:
        if name.text not in known:
            where = f"{draft.name}.{step.name}.after"
            raise problem(name.place, where, f"expected {_near(name.text, known)}, but found {name.text!r}")
    local = {"params", "run", step.item_name} if step.over else {"params", "run"}
    roots: set[str] = set()
    for pair in (*inputs.values(), when):
        roots |= pair[1].roots - local if pair else set()
    roots |= over[1].roots - {"params", "run"} if over else set()
    return _Read(step, inputs, when, over, frozenset(roots))


def _compiled(given: Given, where: str) -> Expression:
    try:
        expression = compile_expression(given.text)
        expression.check_compiles()
    except ExpressionError as bad:
        raise problem(given.place, where, str(bad)) from None
    return expression


def _near(name: str, known: frozenset[str]) -> str:
    near = get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return f"the step {near[0]!r}" if near else f"one of the steps {', '.join(sorted(known)) or '(none)'}"


def _unknown_root(root: str, known: frozenset[str], *, mapped: bool) -> str:
    if root == "item":
        expected = "in a mapped step whose item has another name" if mapped else "in a step that is not mapped"
        return f"expected a step, params or run, but found 'item' {expected}"
    return f"expected {_near(root, known)}, params or run, but found {root!r}"


def _order(draft: Draft, read: Mapping[str, _Read]) -> list[str]:
    parents = {name: each.parents | {after.text for after in each.draft.after} for name, each in read.items()}
    order = topological(parents)
    if len(order) < len(parents):
        way = cycle(parents, order)
        where = f"{draft.name}.{way[0]}"
        raise problem(read[way[0]].draft.place, where, f"expected no cycle, but found {' -> '.join(way)}")
    return order


def _step(draft: Draft, read: _Read, types: Mapping[str, ValueType], all_read: Mapping[str, _Read]) -> Step:
    step, spec, chosen = read.draft, read.draft.spec, read.draft.options
    where = f"{draft.name}.{step.name}"
    local = dict(types)
    if read.over is not None:
        local[step.item_name] = _check_over(read, read.over, where, types)
        _check_item_wise(read, where, all_read)
    if read.when is not None:
        _check_when(read.when, where, local)
    _check_inputs(read, where, local)
    join = chosen.join or Join()
    _check_join(read, join, where)
    _check_when_is_asked(read, join, where, local)
    timeout, deadline = chosen.timeout or spec.timeout, chosen.deadline or spec.deadline
    if timeout and deadline and timeout > deadline:
        raise problem(step.place, where, f"expected a timeout within the deadline {deadline}, but found {timeout}")
    return Step(
        name=step.name,
        agent=spec.name,
        inputs={
            each.name: Input(_text(read.inputs[each.name], step), each.optional)
            for each in spec.parameters
            if each.name in read.inputs
        },
        input_schema=spec.input_schema,
        output_schema=spec.output_schema,
        whole=spec.whole,
        when=_text(read.when, step) if read.when else None,
        map_over=read.over[1].canonical if read.over else None,
        after=tuple(sorted({each.text for each in step.after} - read.parents)),
        join=join,
        retry=chosen.retry or spec.retry,
        timeout=timeout,
        deadline=deadline,
        on_dead_letter=chosen.on_dead_letter or spec.on_dead_letter,
    )


def _text(pair: tuple[Given, Expression], step: StepDraft) -> str:
    """Canonical text, in which an item is always called `item`."""
    expression = pair[1]
    return expression.canonical if step.over is None else expression.renamed(step.item_name, "item")


def _typed(pair: tuple[Given, Expression], where: str, types: Mapping[str, ValueType]) -> ValueType:
    given, expression = pair
    try:
        return expression_type(expression.node, types)
    except TypeProblem as bad:
        raise problem(given.place, where, str(bad)) from None


def _check_when(pair: tuple[Given, Expression], where: str, types: Mapping[str, ValueType]) -> None:
    found = _typed(pair, f"{where}.when", types)
    if not isinstance(found, Simple) or found.name != "bool":
        fact = f"expected a bool, but {pair[0].text!r} is {described(found)}"
        raise problem(pair[0].place, f"{where}.when", fact)


def _check_over(read: _Read, pair: tuple[Given, Expression], where: str, types: Mapping[str, ValueType]) -> ValueType:
    found = _typed(pair, f"{where}.map", types)
    _check_no_vain_guard(read, pair, f"{where}.map", types, ("no guard {} in a map", "but found one"))
    if not isinstance(found, Many):
        raise problem(pair[0].place, f"{where}.map", f"expected a list, but {pair[0].text!r} is {described(found)}")
    if found.item is None:
        raise problem(pair[0].place, f"{where}.map", f"expected a list of 1 to {ITEMS_MAX} items, but found []")
    return found.item


def _check_item_wise(read: _Read, where: str, all_read: Mapping[str, _Read]) -> None:
    """A map over a mapped step goes item by item, so the whole list is not there yet."""
    above = read.over[1].canonical if read.over else ""
    if above not in all_read or all_read[above].over is None:
        return
    for what, pair in (("when", read.when), *((f"with.{name}", each) for name, each in read.inputs.items())):
        if pair is not None and above in pair[1].roots:
            raise problem(
                pair[0].place,
                f"{where}.{what}",
                f"expected only the item of {above!r}, over which it is mapped item by item, but found the whole list",
            )


def _check_inputs(read: _Read, where: str, types: Mapping[str, ValueType]) -> None:
    spec = read.draft.spec
    for name, (given, _) in read.inputs.items():
        if spec.parameter(name) is None:
            names = ", ".join(each.name for each in spec.parameters) or "none"
            fact = f"expected parameters of agent {spec.name} ({names}), but found {name!r}"
            raise problem(given.place, f"{where}.with.{name}", fact)
    members = value_type(spec.input_schema)
    assert isinstance(members, Record)
    for each in spec.parameters:
        if each.name not in read.inputs:
            if each.has_default and not spec.whole:
                continue
            why = ", whose record is all that the step is given (its default is not used)" if each.has_default else ""
            fact = f"expected the input {each.name!r} of agent {spec.name}{why}, but found nothing"
            raise problem(read.draft.place, where, fact)
        pair, place = read.inputs[each.name], f"{where}.with.{each.name}"
        found = _typed(pair, place, types)
        if not each.optional:
            expected = f"{each.name}: T | None for the guard {{}}", "but the agent takes no None"
            _check_no_vain_guard(read, pair, place, types, expected)
        member = None if spec.whole else members.member(each.name)
        bad = misfit(found, member.type if member else members, each.name)
        if bad := bad or choice_misfit(found, shape_of(each.type), each.name):
            hint = " (a value that may be null needs a guard)" if isinstance(found, Nullable) else ""
            raise problem(pair[0].place, place, f"{bad}{hint}")


def _check_no_vain_guard(
    read: _Read, pair: tuple[Given, Expression], where: str, types: Mapping[str, ValueType], said: tuple[str, str]
) -> None:
    """A step does not run without what a map or a required input reads, so a guard in it would never be asked."""
    expected, found = said
    for guarded, node in null_checks(pair[1].node):
        if guarded in read.parents and not isinstance(types[guarded], Nullable):
            why = f"since the step does not run where {guarded} was skipped"
            fact = f"expected {expected.format(repr(written(node)))}, {why}, {found}"
            raise problem(pair[0].place, where, fact)


def _check_when_is_asked(read: _Read, join: Join, where: str, types: Mapping[str, ValueType]) -> None:
    """A condition that can hold where a step was skipped must be asked then: only `all_done` goes on."""
    if read.when is None:
        return
    needed: set[str] = set(read.over[1].roots) if read.over else set()
    needed |= {root for each in read.draft.spec.parameters if not each.optional for root in _roots_of(read, each.name)}
    condition = read.when[1].node
    refused = not_null(condition)  # null makes it false, and a step that is not asked is skipped as well
    for guarded, node in null_checks(condition):
        if guarded not in read.parents or isinstance(types[guarded], Nullable) or Name(guarded) in refused:
            continue
        why = f"since the step does not run where {guarded} was skipped"
        if guarded in needed:
            fact = f"expected no input that needs {guarded} beside the guard {written(node)!r}, {why}, but found one"
        elif join.kind is not JoinKind.ALL_DONE:
            found = join.kind.value
            fact = f"expected the join all_done with the guard {written(node)!r}, {why} otherwise, but found {found}"
        else:
            continue
        raise problem(read.when[0].place, f"{where}.when", fact)


def _roots_of(read: _Read, name: str) -> frozenset[str]:
    return read.inputs[name][1].roots if name in read.inputs else frozenset()


def _check_join(read: _Read, join: Join, where: str) -> None:
    if join.kind not in (JoinKind.ANY, JoinKind.N_OF):
        return
    needed, count = max(join.needed, 1), len(read.parents)
    if needed > count:
        fact = f"expected n_of(k) with k of at most {count}, the steps it reads, but found {needed}"
        raise problem(read.draft.place, f"{where}.join", fact)
    if needed == count:
        return
    optional = {each.name for each in read.draft.spec.parameters if each.optional}
    for name, (given, expression) in read.inputs.items():
        if name not in optional and expression.roots & read.parents:
            fact = f"expected {name}: T | None, since {join.kind} may go without it, but the agent takes no None"
            raise problem(given.place, f"{where}.join", fact)
    for what, pair in (("when", read.when), ("map", read.over)):
        if pair is not None and pair[1].roots & read.parents - VARIABLES_TAKEN:
            fact = f"expected no `{what}` on a step that {join.kind} may go without, but found {pair[0].text!r}"
            raise problem(pair[0].place, f"{where}.join", fact)
