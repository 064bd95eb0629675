"""What a step is given: its condition and its inbox value, from the values around it.

The one place where both an agent (firing its successor) and the coordinator (firing
everything else) evaluate an edge, so that they cannot differ. Values are plain: what Avro
decodes to.
"""

from collections.abc import Mapping, Sequence

from farandole.definition.expressions import ExpressionError, compile_expression
from farandole.definition.model import Input, Step

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

    A step name that is missing from `env` or None there was skipped: an optional input takes None.

    Raises:
        ExpressionError: an expression cannot be evaluated.
    """
    values = {name: _value(given, env) for name, given in step.inputs.items()}
    return next(iter(values.values())) if step.whole else values


def _value(given: Input, env: Mapping[str, object]) -> object:
    expression = compile_expression(given.expression)
    if given.optional and any(env.get(root) is None for root in expression.roots):
        return None
    return expression.evaluate(env)
