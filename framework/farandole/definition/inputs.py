"""What a step is given: its condition and its inbox value, from the values around it.

The one place where both an agent (firing its successor) and the coordinator (firing
everything else) evaluate an edge, so that they cannot differ. Values are plain: what Avro
decodes to.
"""

from collections.abc import Mapping, Sequence

from farandole.definition.expressions import Expression, ExpressionError, compile_expression
from farandole.definition.model import Step
from farandole.errors import RecordError
from farandole.events.avro import Schema

ITEMS_MAX = 1000
"""Most items of one mapped step; more will run as chunk runs (DESIGN section 6)."""


def holds(step: Step, env: Mapping[str, object]) -> bool:
    """Whether the step's `when` lets it run; True if it has none.

    Raises:
        ExpressionError: it cannot be evaluated, or does not give a bool.
    """
    if step.when is None:
        return True
    answer = compile_expression(step.when).evaluate(env)
    if not isinstance(answer, bool):
        raise ExpressionError(f"{step.name}.when: expected a bool from {step.when!r}, but it gave {answer!r}")
    return answer


def items(step: Step, env: Mapping[str, object]) -> Sequence[object]:
    """The list over which a mapped step runs.

    Raises:
        ExpressionError: it is no list, or has more than `ITEMS_MAX` items.
    """
    found = compile_expression(step.map_over or "").evaluate(env)
    if not isinstance(found, list):
        raise ExpressionError(
            f"{step.name}.map: expected a list from {step.map_over!r}, but it gave {type(found).__name__}"
        )
    if len(found) > ITEMS_MAX:
        raise ExpressionError(f"{step.name}.map: expected at most {ITEMS_MAX} items, but found {len(found)}")
    return found


def inbox_value(step: Step, env: Mapping[str, object]) -> object:
    """The value of the step's trigger: the single record parameter itself, or a record of all parameters.

    A step name that is missing from `env` or None there was skipped. An optional input that reads one takes what its
    expression makes of None, as in `quick == null ? slow : quick`, and None where that is nothing that fits.

    Raises:
        ExpressionError: an expression cannot be evaluated.
    """
    read = {name: compile_expression(given.expression) for name, given in step.inputs.items()}
    lacking = [name for name, given in step.inputs.items() if given.optional and _lacks(read[name], env)]
    values = {name: None if name in lacking else each.evaluate(env) for name, each in read.items()}
    for name in lacking:
        values = _guarded(step, values, name, read[name], env)
    return next(iter(values.values())) if step.whole else values


def _lacks(expression: Expression, env: Mapping[str, object]) -> bool:
    return any(env.get(root) is None for root in expression.roots)


def _guarded(
    step: Step, values: dict[str, object], name: str, expression: Expression, env: Mapping[str, object]
) -> dict[str, object]:
    """The values with that of an input that reads what was skipped, if it has one all the same."""
    if expression.is_path:
        return values
    try:
        made = {**values, name: expression.evaluate({root: env.get(root) for root in expression.roots})}
        Schema.parse(step.input_schema).encode_body(made[name] if step.whole else made)
    except RecordError:
        return values
    return made
