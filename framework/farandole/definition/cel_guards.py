"""What a condition says of null: the paths that are not null where it holds, or where it does not.

Knows nothing of types nor of steps.
"""

from farandole.definition.cel_nodes import Binary, Literal, Node, Unary, path_of

_NULL = Literal(None)


def not_null(condition: Node, *, holds: bool = True) -> frozenset[Node]:
    """Names and fields (`a`, `a.b`) that cannot be null where the condition is true; with `holds=False`, false.

    So where one of them is null, a condition that is to hold is false whatever else it says.
    """
    match condition:
        case Unary(operator="!", operand=operand):
            return not_null(operand, holds=not holds)
        case Binary(operator="&&" | "||" as operator, left=left, right=right):
            one, other = not_null(left, holds=holds), not_null(right, holds=holds)
            return one | other if holds is (operator == "&&") else one & other
        case Binary(operator="==" | "!=" as operator, left=left, right=right) if holds is (operator == "!="):
            sides = ((left, right), (right, left))
            return frozenset(side for side, beside in sides if beside == _NULL and path_of(side) is not None)
    return frozenset()
