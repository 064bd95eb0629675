"""Names in a pipeline: what they may be, and which are taken.

A step's bare name is its output in expressions, so it must be a name there too.
"""

import re
from collections.abc import Iterable

from farandole.definition.cel_parser import VARIABLES_TAKEN
from farandole.definition.cel_tokens import KEYWORDS, RESERVED_WORDS
from farandole.definition.draft import Draft, StepDraft
from farandole.definition.problems import problem
from farandole.definition.spec import AgentSpec
from farandole.ids import is_name

STEP_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")
"""A step: what `ids.NAME` allows, without `-`, which is a minus in expressions."""

PARAM_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,126}\Z")
"""A parameter: a field of an Avro record and of `params` in expressions."""

STEPS_MAX = 1000
"""Steps of one pipeline. Larger fan-outs are maps."""

NOT_NAMES = KEYWORDS | RESERVED_WORDS | VARIABLES_TAKEN


def check_draft_names(draft: Draft) -> None:
    """Names of the pipeline, its parameters, steps and agents.

    Raises:
        DefinitionError: one of them is malformed, reserved or used twice.
    """
    if not is_name(draft.name):
        raise problem(draft.place, f"pipeline {draft.name!r}", "expected a name of a-z 0-9 _ - (a letter first)")
    _check_params(draft)
    if not draft.steps:
        raise problem(draft.place, draft.name, "expected at least one step, but found none")
    if len(draft.steps) > STEPS_MAX:
        raise problem(draft.place, draft.name, f"expected at most {STEPS_MAX} steps, but found {len(draft.steps)}")
    seen: dict[str, StepDraft] = {}
    agents: dict[str, AgentSpec] = {}
    for step in draft.steps:
        where = f"{draft.name}.{step.name}"
        if bad := _bad_step_name(step.name):
            raise problem(step.place, where, bad)
        if before := seen.get(step.name):
            raise problem(step.place, where, f"expected a new name, but a step at {before.place} has it already")
        seen[step.name] = step
        other = agents.setdefault(step.spec.name, step.spec)
        if other is not step.spec:
            fact = f"expected one agent of the name {step.spec.name!r}, but found {other.place} and {step.spec.place}"
            raise problem(step.place, where, fact)


def _bad_step_name(name: str) -> str | None:
    if name in NOT_NAMES:
        return (
            f"expected a name that is not reserved, but found {name!r}, which means something in expressions (CEL); "
            f'give the step another one: .options(name="{name}_step")'
        )
    if not STEP_NAME.match(name):
        return f"expected a step's name of a-z 0-9 _ (a letter first, at most 63), but found {name!r}"
    return None


def check_item_name(draft: Draft, step: StepDraft, steps: Iterable[str]) -> None:
    """How a mapped step calls its item.

    Raises:
        DefinitionError: the name is malformed, reserved, or that of a step.
    """
    name, where = step.item_name, f"{draft.name}.{step.name}.as"
    if name != "item" and (bad := _bad_step_name(name)):
        raise problem(step.place, where, bad)
    if name in steps:
        raise problem(step.place, where, f"expected a name that is no step's, but found {name!r}")


def _check_params(draft: Draft) -> None:
    seen: dict[str, str] = {}
    for each in draft.params:
        where = f"{draft.name}.params"
        if not PARAM_NAME.match(each.name) or each.name in KEYWORDS:
            fact = f"expected a parameter's name of A-Z a-z 0-9 _, but found {each.name!r}"
            raise problem(draft.place, where, fact)
        if before := seen.get(each.name.casefold()):
            fact = f"expected names that differ by more than case, but found {before!r} and {each.name!r}"
            raise problem(draft.place, where, fact)
        seen[each.name.casefold()] = each.name
